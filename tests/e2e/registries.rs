//! Registries as companies have them: a certificate of their own authority, passwords, a proxy in between.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use support::Registry;
use support::registry::Guard;

use crate::env::TestEnv;

/// `htpasswd -B` of "open sesame".
const PASSWORDS: &str = "ali:$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy\n";
const HELPER: &str = r#"#!/bin/sh
[ "$1" = get ] || exit 2
read -r server
echo "$server" >> "$HOME/asked"
echo '{"ServerURL": "'"$server"'", "Username": "ali", "Secret": "open sesame"}'
"#;

struct Company {
    registry: Registry,
    authority: PathBuf,
}

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").current_dir(folder).args(arguments.split_whitespace()).output();
    let output = output.expect("this test needs openssl: the test script installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A registry for `127.0.0.1` and `registry.test`, with a certificate that only who has `authority` trusts.
fn company(env: &TestEnv) -> Company {
    let folder = env.folder();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&folder, &format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"));
    openssl(&folder, &format!("req {key} -keyout server.key -out server.csr -subj /CN=registry.test"));
    env.file("names", "subjectAltName=IP:127.0.0.1,DNS:registry.test\nextendedKeyUsage=serverAuth\n");
    openssl(&folder, "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -days 2 -extfile names -out server.pem");
    let guard = Guard {
        certificate: folder.join("server.pem"),
        key: folder.join("server.key"),
        passwords: env.file("passwords", PASSWORDS),
    };
    Company { registry: crate::images().0.serve_guarded(&guard).unwrap(), authority: folder.join("ca.pem") }
}

fn helper(env: &mut TestEnv, server: &str) -> PathBuf {
    let program = env.file("tools/docker-credential-test", HELPER);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let tools = program.parent().unwrap().display().to_string();
    env.set("PATH", &format!("{tools}:/usr/sbin:/usr/bin:/sbin:/bin"));
    env.file("docker/config.json", &format!(r#"{{"credHelpers": {{"{server}": "test"}}}}"#));
    env.set("DOCKER_CONFIG", &env.folder().join("docker").display().to_string());
    env.set("HOME", &env.folder().display().to_string());
    env.folder().join("asked")
}

#[test]
fn a_registry_with_a_certificate_and_passwords() {
    let mut env = TestEnv::new("company");
    let company = company(&env);
    let host = company.registry.host();
    let image = format!("{host}/library/busybox:1.35");
    env.file("compose.yaml", &format!("services: {{ box: {{ image: '{image}', command: sleep 1000, init: true }} }}"));

    let unknown = env.fails(&["pull"]);
    assert!(unknown.stderr.contains("certificate"), "{}", unknown.text());
    env.set("SSL_CERT_FILE", &company.authority.display().to_string());
    let stranger = env.fails(&["pull"]);
    assert!(stranger.stderr.contains(&host), "{}", stranger.text());
    assert!(stranger.stderr.contains("docker login") || stranger.stderr.contains("config.json"), "{}", stranger.text());

    let asked = helper(&mut env, &host);
    env.ok(&["up", "-d"]);
    assert_eq!(fs::read_to_string(asked).unwrap().lines().next(), Some(host.as_str()));
    env.down();
}

/// Answers `CONNECT` and passes bytes on, wherever it is said to go.
fn proxy(to: String) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (log, to) = (log.clone(), to.clone());
            std::thread::spawn(move || connect(client, &to, &log));
        }
    });
    (port, asked)
}

fn connect(client: TcpStream, to: &str, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    log.lock().unwrap().push(first.trim_end().to_owned());
    let server = TcpStream::connect(to)?;
    (&client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut up, mut back) = (server.try_clone()?, client.try_clone()?);
    let other = std::thread::spawn(move || std::io::copy(&mut &server, &mut back));
    std::io::copy(&mut reader, &mut up)?;
    up.shutdown(std::net::Shutdown::Write)?;
    let _ = other.join();
    Ok(())
}

#[test]
fn a_registry_behind_a_proxy() {
    let mut env = TestEnv::with(
        "behind",
        "services: { box: { image: 'registry.test/library/busybox:1.35', command: sleep 1000, init: true } }",
    );
    let company = company(&env);
    let (port, asked) = proxy(company.registry.host());
    env.set("SSL_CERT_FILE", &company.authority.display().to_string());
    env.set("HTTPS_PROXY", &format!("http://127.0.0.1:{port}"));
    helper(&mut env, "registry.test");
    env.ok(&["up", "-d"]);
    let asked = asked.lock().unwrap().clone();
    assert!(!asked.is_empty() && asked.iter().all(|line| line.starts_with("CONNECT registry.test:443 ")), "{asked:?}");
    env.down();
}
