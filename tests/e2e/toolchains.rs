//! Node.js and Python over the host root file system: chosen, fetched, locked, kept, and each project with its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use base64::Engine as _;
use nix::sys::signal::Signal;
use serde_json::json;
use sha2::{Digest, Sha256, Sha512};
use support::packages::{NODE, NPM, node_archives, node_package};

use crate::env::{PATIENCE, TestEnv};
use crate::net::{free_port, get_eventually};

/// A web server on loopback with files in memory.
pub struct Server {
    pub port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    files: Mutex<BTreeMap<String, Arc<Vec<u8>>>>,
    asked: Mutex<Vec<String>>,
    /// Half of an archive is sent, then nothing until this is over.
    holds: Mutex<bool>,
    goes_on: Condvar,
    is_held: AtomicBool,
    archives: AtomicU32,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || state.answer(stream));
            }
        });
        Self { port, state }
    }

    /// A registry of npm with the versions of Node.js that the tests have.
    pub fn npm() -> Self {
        let server = Self::start();
        let folder = node_archives().unwrap_or_else(|error| panic!("no archives: {error:?}"));
        let node: Vec<(&str, Vec<u8>)> = NODE
            .iter()
            .map(|version| (*version, fs::read(folder.join(format!("{}-{version}.tgz", node_package()))).unwrap()))
            .collect();
        server.package(node_package(), node);
        server.package("npm", vec![(NPM, fs::read(folder.join(format!("npm-{NPM}.tgz"))).unwrap())]);
        server
    }

    fn package(&self, name: &str, versions: Vec<(&str, Vec<u8>)>) {
        let mut listed = serde_json::Map::new();
        for (version, archive) in versions {
            let integrity =
                format!("sha512-{}", base64::engine::general_purpose::STANDARD.encode(Sha512::digest(&archive)));
            let path = format!("/{name}/-/{name}-{version}.tgz");
            let tarball = format!("http://127.0.0.1:{}{path}", self.port);
            listed.insert(
                version.to_owned(),
                json!({ "dist": { "tarball": tarball, "integrity": integrity }, "engines": { "node": ">=18" } }),
            );
            self.file(&path, archive);
        }
        self.file(&format!("/{name}"), json!({ "versions": listed }).to_string().into_bytes());
    }

    pub fn file(&self, path: &str, content: Vec<u8>) {
        self.state.files.lock().unwrap().insert(path.to_owned(), Arc::new(content));
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn asked(&self) -> Vec<String> {
        self.state.asked.lock().unwrap().clone()
    }

    fn archives(&self) -> u32 {
        self.state.archives.load(Ordering::SeqCst)
    }

    fn hold(&self, holds: bool) {
        *self.state.holds.lock().unwrap() = holds;
        self.state.goes_on.notify_all();
    }
}

impl State {
    fn answer(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        let mut stream = stream;
        while reader.read_line(&mut line).is_ok_and(|read| read > 0) {
            let path = line.split(' ').nth(1).unwrap_or_default().replace("%2B", "+");
            let mut header = String::new();
            while reader.read_line(&mut header).is_ok_and(|read| read > 0) && header.trim() != "" {
                header.clear();
            }
            self.asked.lock().unwrap().push(path.clone());
            let content = self.files.lock().unwrap().get(&path).cloned();
            let (status, body) = match &content {
                Some(content) => ("200 OK", content.as_slice()),
                None => ("404 Not Found", &b"{}"[..]),
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
            let (first, second) = body.split_at(body.len() / 2);
            if stream.write_all(head.as_bytes()).is_err() || stream.write_all(first).is_err() {
                return;
            }
            if path.ends_with("gz") {
                self.archives.fetch_add(1, Ordering::SeqCst);
                let mut holds = self.holds.lock().unwrap();
                while *holds {
                    self.is_held.store(true, Ordering::SeqCst);
                    holds = self.goes_on.wait(holds).unwrap();
                }
            }
            if stream.write_all(second).is_err() {
                return;
            }
            line.clear();
        }
    }
}

const RUN: [&str; 4] = ["--progress=quiet", "run", "--rm", "-T"];

fn run<'a>(rest: &[&'a str]) -> Vec<&'a str> {
    [&RUN[..], rest].concat()
}

fn node(name: &str, server: &Server, version: &str) -> TestEnv {
    let mut env = TestEnv::with(
        name,
        &format!(
            "services:\n  web:\n    x-windlass: {{ rootfs: host, toolchain: {{ node: \"{version}\" }} }}\n    command: sleep infinity\n    network_mode: none\n"
        ),
    );
    env.set("NPM_CONFIG_REGISTRY", &server.url());
    env
}

/// What is in the folder of the toolchains, without what is on its way.
fn kept(env: &TestEnv) -> Vec<String> {
    let Ok(entries) = fs::read_dir(env.home().join("data/toolchains")) else { return vec![] };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with('.')).collect()
}

/// The interpreters of this machine that make virtual environments, by their minor version.
pub fn pythons() -> BTreeMap<(u32, u32), PathBuf> {
    let mut found = BTreeMap::new();
    let home = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().dir;
    let folders = [home.join(".pyenv/versions"), home.join(".local/share/uv/python")];
    let own = folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    let own = own.map(|entry| entry.path().join("bin/python3"));
    let system = (8..20).map(|minor| PathBuf::from(format!("/usr/bin/python3.{minor}")));
    for program in own.chain(system).filter(|program| program.exists()) {
        let script = "import sys, ensurepip; print(*sys.version_info[:2])";
        let Ok(output) = std::process::Command::new(&program).args(["-c", script]).output() else { continue };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if let Some((major, minor)) = text.trim().split_once(' ')
            && output.status.success()
        {
            found.entry((major.parse().unwrap(), minor.parse().unwrap())).or_insert(program);
        }
    }
    found.retain(|version, _| *version >= (3, 9));
    found
}

#[test]
fn projects_with_clashing_versions_run_side_by_side() {
    let server = Server::npm();
    let pythons: Vec<(u32, u32)> = pythons().into_keys().collect();
    assert!(!pythons.is_empty(), "this machine has no Python with ensurepip");
    let has = |version| pythons.contains(&version);
    let pair = if has((3, 11)) && has((3, 13)) { [(3, 11), (3, 13)] } else { [pythons[0], pythons[pythons.len() - 1]] };
    let start = |name: &str, node: &str, (major, minor): (u32, u32), package: &str| {
        let port = free_port();
        let mut env = TestEnv::with(
            name,
            &format!(
                "services:\n  web:\n    x-windlass: {{ rootfs: host, toolchain: {{ node: auto, python: auto }} }}\n    \
                 working_dir: /app\n    command: node server.js\n    volumes: [\".:/app:ro\"]\n    ports: [\"{port}:3000\"]\n"
            ),
        );
        env.set("NPM_CONFIG_REGISTRY", &server.url());
        env.file(".nvmrc", node);
        env.file(".python-version", &format!("{major}.{minor}"));
        env.file("node_modules/greeting/index.js", &format!("module.exports = '{package}';"));
        env.file(
            "server.js",
            "const { execSync } = require('child_process');\nconst python = execSync('python -V').toString().trim();\n\
             require('http').createServer((_, answer) => answer.end(`${process.version} ${python} ${require('greeting')}`)).listen(3000);\n",
        );
        env.ok(&["up", "-d"]);
        (env, port)
    };
    let (old, old_port) = start("clash-old", "18", pair[0], "of the old");
    let (new, new_port) = start("clash-new", "22", pair[1], "of the new");
    for (port, node, (major, minor), package) in
        [(old_port, NODE[0], pair[0], "of the old"), (new_port, NODE[1], pair[1], "of the new")]
    {
        let said = get_eventually(port, "/");
        assert!(said.starts_with(&format!("v{node} Python {major}.{minor}.")) && said.ends_with(package), "{said}");
    }
    // Also for whoever is not root, wherever the interpreter lies.
    let script = "python -c 'import ssl, sqlite3' && python -m venv /tmp/v && /tmp/v/bin/pip --version";
    let said = new.ok(&run(&["-u", "1234:1234", "web", "sh", "-c", script])).stdout;
    assert!(said.contains(&format!("(python {}.{})", pair[1].0, pair[1].1)), "{said}");
    // Nothing of one is in the other.
    assert_eq!(old.sh("web", "ls /opt | grep -c node"), "1");
    assert_eq!(old.sh("web", "npm -v; npx -v"), format!("{NPM}\n{NPM}"));
    old.down();
    new.down();
}

#[test]
fn a_toolchain_is_first_on_the_path_and_cannot_be_written() {
    let server = Server::npm();
    let env = node("toolchain-path", &server, "22");
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("web", "command -v node"), format!("/opt/node-{}/bin/node", NODE[1]));
    assert_eq!(env.sh("web", "echo $PATH").split(':').next(), Some(format!("/opt/node-{}/bin", NODE[1]).as_str()));
    assert_eq!(env.sh("web", "echo $NODE_VERSION"), NODE[1]);
    assert_eq!(env.sh("web", "touch $(dirname $(command -v node))/x 2>/dev/null || echo no"), "no");
    // What the archive says of owners is nobody's business; nothing in it is another's.
    assert_eq!(env.sh("web", "find /opt ! -user 0 -o -perm /6022 ! -type l | wc -l"), "0");
    env.down();
}

#[test]
fn what_was_chosen_is_locked_and_kept() {
    let server = Server::npm();
    let env = node("toolchain-lock", &server, ">=18 <23");
    chown(env.folder(), Some(1501), Some(1502)).unwrap();
    assert_eq!(env.ok(&run(&["web", "node", "-v"])).stdout.trim(), format!("v{}", NODE[1]));
    let path = env.folder().join("windlass.lock");
    let (lock, metadata) = (fs::read_to_string(&path).unwrap(), path.metadata().unwrap());
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o777), (1501, 1502, 0o644));
    assert!(lock.contains(&format!("version = \"{}\"", NODE[1])) && lock.contains("sha512-"), "{lock}");
    // From now on nobody is asked.
    let asked = server.asked().len();
    assert_eq!(env.ok(&run(&["web", "node", "-v"])).stdout.trim(), format!("v{}", NODE[1]));
    assert_eq!(server.asked().len(), asked);
    assert_eq!(kept(&env).len(), 1);
    // Another home knows what was chosen, and only fetches it: the registry's list says something else by now.
    server.file(&format!("/{}", node_package()), br#"{"versions": {}}"#.to_vec());
    let mut other = node("toolchain-lock-2", &server, ">=18 <23");
    other.file("windlass.lock", &lock);
    assert_eq!(other.ok(&run(&["web", "node", "-v"])).stdout.trim(), format!("v{}", NODE[1]));
    // What is not what was locked is not unpacked.
    let archive = format!("/{0}/-/{0}-{1}.tgz", node_package(), NODE[1]);
    server.file(&archive, b"something else".to_vec());
    other.set("WINDLASS_HOME", other.home().join("second").to_str().unwrap());
    let output = other.fails(&run(&["web", "true"]));
    assert!(output.stderr.contains("wrong content"), "{}", output.text());
    assert!(
        fs::read_dir(other.home().join("second/data/toolchains"))
            .unwrap()
            .flatten()
            .all(|entry| { entry.file_name().to_string_lossy().ends_with(".lock") })
    );
    other.set("WINDLASS_HOME", other.home().to_str().unwrap());
    other.down();
    env.down();
}

#[test]
fn an_installed_npm_is_asked_for_the_registry_when_something_is_fetched() {
    let server = Server::npm();
    let mut env = node("toolchain-npm", &server, "22");
    let program = env.file("bin/npm", "#!/bin/sh\nexit 1\n");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let asked = env.folder().join("asked");
    env.set("PATH", &format!("{}:/usr/bin:/bin", program.parent().unwrap().display()));
    env.set("NPM_CONFIG_REGISTRY", "");
    let output = env.fails(&run(&["web", "node", "-v"]));
    let (told, remedy) = ("not known which registry of npm", "set NPM_CONFIG_REGISTRY");
    assert!(output.stderr.contains(told) && output.stderr.contains(remedy), "{}", output.text());
    assert_eq!(kept(&env), Vec::<String>::new());
    let script = format!("#!/bin/sh\necho \"$*\" >>{}\necho {}/\n", asked.display(), server.url());
    fs::write(&program, script).unwrap();
    assert_eq!(env.ok(&run(&["web", "node", "-v"])).stdout.trim(), format!("v{}", NODE[1]));
    assert_eq!(fs::read_to_string(&asked).unwrap(), "config get registry\n");
    // What is here needs no registry.
    fs::write(&program, "#!/bin/sh\nexit 1\n").unwrap();
    assert_eq!(env.ok(&run(&["web", "node", "-v"])).stdout.trim(), format!("v{}", NODE[1]));
    env.down();
}

#[test]
fn what_nobody_uses_any_more_can_go() {
    let server = Server::npm();
    let service = |name: &str, version: &str| {
        format!(
            "  {name}:\n    x-windlass: {{ rootfs: host, toolchain: {{ node: \"{version}\" }} }}\n    command: sleep infinity\n    \
             stop_signal: SIGKILL\n    network_mode: none\n"
        )
    };
    let mut env =
        TestEnv::with("toolchain-prune", &format!("services:\n{}{}", service("web", "22"), service("old", "18")));
    env.set("NPM_CONFIG_REGISTRY", &server.url());
    let locked = || {
        let text = fs::read_to_string(env.folder().join("windlass.lock")).unwrap();
        let wanted = text.lines().filter_map(|line| line.strip_prefix("wanted = "));
        wanted.map(|wanted| wanted.trim_matches('"').to_owned()).collect::<Vec<_>>()
    };
    let counts = || {
        let rows = env.ok(&["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}"]).stdout;
        rows.lines().find_map(|row| row.strip_prefix("Toolchains ").map(str::to_owned)).unwrap()
    };
    env.ok(&["up", "-d", "web"]);
    env.ok(&["up", "-d", "old"]);
    assert_eq!(locked(), ["18", "22"], "one command is not all that is asked for");
    assert_eq!(counts(), "2 2");
    env.file("compose.yaml", &format!("services:\n{}", service("web", ">=22")));
    env.ok(&["up", "-d", "--remove-orphans"]);
    assert_eq!(locked(), [">=22"]);
    assert_eq!(counts(), "2 1");
    env.ok(&["system", "prune", "-f"]);
    assert_eq!(kept(&env).len(), 2);
    let output = env.ok(&["system", "prune", "-af"]).stdout;
    assert!(
        output.contains("Deleted Toolchains:") && output.contains(NODE[0]) && !output.contains(NODE[1]),
        "{output}"
    );
    assert_eq!(kept(&env).len(), 1);
    assert_eq!(env.sh("web", "node -v"), format!("v{}", NODE[1]));
    env.ok(&["down"]);
    env.ok(&["system", "prune", "-af"]);
    assert_eq!(kept(&env), Vec::<String>::new());
    assert_eq!(env.ok(&run(&["web", "node", "-v"])).stdout.trim(), format!("v{}", NODE[1]));
    env.down();
}

#[test]
fn a_download_that_is_killed_leaves_nothing_half_made_and_two_share_one() {
    let server = Server::npm();
    let env = node("toolchain-kill", &server, "18");
    server.hold(true);
    let killed = env.start(&run(&["web", "node", "-v"]));
    support::eventually("the download is under way", PATIENCE, || match server.state.is_held.load(Ordering::SeqCst) {
        true => Ok(()),
        false => Err(format!("{:?}", server.asked())),
    });
    killed.signal(Signal::SIGKILL);
    drop(killed);
    assert_eq!(kept(&env), Vec::<String>::new());
    assert!(!env.folder().join("windlass.lock").exists());
    let before = server.archives();
    let both = [env.start(&run(&["web", "node", "-v"])), env.start(&run(&["web", "node", "-v"]))];
    server.hold(false);
    for one in both {
        let output = one.finish(PATIENCE * 2);
        assert_eq!((output.code, output.stdout.trim()), (0, format!("v{}", NODE[0]).as_str()), "{}", output.text());
    }
    assert_eq!(server.archives() - before, 2, "Node.js and npm, once: {:?}", server.asked());
    assert_eq!(kept(&env).len(), 1);
    env.down();
}

/// A standalone build: what its interpreter is made of does not matter here.
fn build(version: &str, server: &Server, list: &mut String) {
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let script = format!("#!/bin/sh\necho Python {version}\n");
    let mut header = tar::Header::new_gnu();
    header.set_size(script.len() as u64);
    header.set_mode(0o775);
    header.set_uid(1000);
    header.set_gid(1000);
    archive.append_data(&mut header, "python/bin/python3.12", script.as_bytes()).unwrap();
    for name in ["python", "python3"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        archive.append_link(&mut header, format!("python/bin/{name}"), "python3.12").unwrap();
    }
    let archive = archive.into_inner().unwrap().finish().unwrap();
    let file = format!("cpython-{version}+20260101-{}-unknown-linux-gnu-install_only.tar.gz", std::env::consts::ARCH);
    *list += &format!("{}  {file}\n", hex::encode(Sha256::digest(&archive)));
    server.file(&format!("/{file}"), archive);
}

#[test]
fn python_comes_from_a_mirror_of_standalone_builds() {
    let server = Server::start();
    let mut list = String::new();
    build("3.98.1", &server, &mut list);
    build("3.98.4", &server, &mut list);
    server.file("/SHA256SUMS", list.into_bytes());
    let python = |wanted: &str| {
        format!(
            "services:\n  web:\n    x-windlass: {{ rootfs: host, toolchain: {{ python: \"{wanted}\" }} }}\n    command: sleep infinity\n    network_mode: none\n"
        )
    };
    let mut env = TestEnv::with("toolchain-mirror", &python("3.98"));
    env.set("WINDLASS_PYTHON_MIRROR", &server.url());
    assert_eq!(env.ok(&run(&["web", "python", "-V"])).stdout.trim(), "Python 3.98.4");
    assert_eq!(
        env.ok(&run(&["web", "sh", "-c", "command -v python3"])).stdout.trim(),
        "/opt/python-3.98.4/bin/python3"
    );
    let lock = fs::read_to_string(env.folder().join("windlass.lock")).unwrap();
    assert!(lock.contains("cpython-3.98.4+20260101") && lock.contains("sha256-"), "{lock}");
    let asked = server.asked().len();
    assert_eq!(env.ok(&run(&["web", "python", "-V"])).stdout.trim(), "Python 3.98.4");
    assert_eq!(server.asked().len(), asked);
    // What there is, and what can be done.
    env.file("compose.yaml", &python("3.99"));
    let said = env.fails(&run(&["web", "true"])).stderr;
    for part in ["3.98.4, 3.98.1", "this machine has", "compose.yaml:3:", "WINDLASS_PYTHON_MIRROR"] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
    env.down();
}

#[test]
fn a_version_that_is_not_there_is_told_with_its_place_and_what_there_is() {
    let server = Server::npm();
    let env = node("toolchain-missing", &server, "99");
    let said = env.fails(&run(&["web", "true"])).stderr;
    for part in [NODE[0], NODE[1], "`99`", "compose.yaml:3:"] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
    env.file(
        "compose.yaml",
        "services: { web: { x-windlass: { rootfs: host, toolchain: { node: auto } }, command: 'true' } }\n",
    );
    let said = env.fails(&run(&["web", "true"])).stderr;
    assert!(said.contains("`auto`") && said.contains(".nvmrc"), "{said}");
    env.file(".nvmrc", "lts/nobody");
    let said = env.fails(&run(&["web", "true"])).stderr;
    assert!(said.contains(".nvmrc is not understood") && said.contains("lts/nobody"), "{said}");
    env.down();
}

/// What a script says in `windlass shell`.
fn shell(env: &TestEnv, arguments: &[&str], script: &str) -> String {
    let mut command = env.command(&[&["--progress=quiet", "shell"], arguments].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    let mut faults = String::new();
    child.stderr.take().unwrap().read_to_string(&mut faults).unwrap();
    assert!(child.wait().unwrap().success(), "{output}\n{faults}");
    output.trim().to_owned()
}

#[test]
fn a_shell_in_the_services_environment() {
    let server = Server::npm();
    let mut env = TestEnv::with(
        "toolchain-shell",
        "services:\n  web:\n    x-windlass: { rootfs: host, toolchain: { node: \"22\" } }\n    command: sleep infinity\n    user: \"1234:1234\"\n    \
         working_dir: /app\n    environment: { COLOUR: green }\n    volumes: [\".:/app\"]\n    network_mode: none\n  \
         other: { x-windlass: { rootfs: host }, command: sleep infinity, network_mode: none }\n",
    );
    env.set("NPM_CONFIG_REGISTRY", &server.url());
    let script = "id -u; pwd; echo $COLOUR; node -v; hostname; [ -z \"$BASH_VERSION\" ] || echo bash";
    let bash = if Path::new("/bin/bash").exists() { "\nbash" } else { "" };
    // Not running: in a container of its own that goes with it. The one with a toolchain is meant.
    let said = shell(&env, &[], script);
    let (own, host) = said.split_once(&format!("v{}\n", NODE[1])).unwrap_or_else(|| panic!("{said}"));
    assert_eq!(own, "1234\n/app\ngreen\n");
    assert!(env.ps().is_empty() && host.ends_with(bash), "{host}");
    env.ok(&["up", "-d"]);
    let running = env.sh("web", "hostname");
    let said = shell(&env, &["web"], script);
    assert_eq!(said, format!("1234\n/app\ngreen\nv{}\n{running}{bash}", NODE[1]));
    let said = shell(&env, &["--new", "-u", "0", "-w", "/", "-e", "COLOUR=red", "web"], script);
    assert!(said.starts_with("0\n/\nred\n") && !said.contains(&running), "{said}");
    assert_eq!(shell(&env, &["other"], "pwd"), "/");
    // Two that could be meant.
    env.file(
        "compose.yaml",
        "services:\n  a: { x-windlass: { rootfs: host }, command: 'true' }\n  b: { x-windlass: { rootfs: host }, command: 'true' }\n",
    );
    let said = env.fails(&["shell"]).stderr;
    assert!(said.contains("windlass shell a|b"), "{said}");
    env.down();
}
