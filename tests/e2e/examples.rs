//! Every example starts, answers and goes, as its README says.

use std::fs;
use std::path::{Path, PathBuf};

use crate::env::{PATIENCE, TestEnv};
use crate::net::{free_port, get, get_eventually};
use crate::toolchains::{Server, pythons};

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A copy of an example, on a port of its own.
fn example(name: &str, project: &str) -> (TestEnv, u16) {
    let mut env = TestEnv::new(project);
    env.copy(&source("examples").join(name));
    assert!(env.folder().join("README.md").is_file(), "{name} says what it shows");
    let port = free_port();
    env.set("PORT", &port.to_string());
    (env, port)
}

#[test]
fn the_example_of_the_readme_needs_no_registry() {
    let mut env = TestEnv::new("windlass-example");
    for name in ["compose.example.yaml", "README.md"] {
        env.file(name, &fs::read_to_string(source(name)).unwrap());
    }
    let port = free_port();
    env.set("PORT", &port.to_string());
    env.set("WINDLASS_REGISTRY_MIRROR", "http://127.0.0.1:1");
    env.set("COMPOSE_FILE", "compose.example.yaml");
    env.ok(&["up", "--wait"]);
    let page = get(port, "/");
    assert!(page.contains("Raised by windlass.") && page.contains("The worker's clock"), "{page}");
    assert!(get(port, "/README.md").contains("windlass"));
    assert_eq!(env.ps_field("prepare", "ExitCode"), "0");
    // The machine's own system, but not what is private to it.
    assert_eq!(env.sh("web", "ls /home /root | grep -v : | grep -c . || true"), "0");
    assert_eq!(env.sh("web", "cat /etc/shadow 2>/dev/null | grep -c '[$]' || true"), "0");
    let output = env.run(&["exec", "-T", "web", "sh", "-c", "touch /usr/bin/new && rm /bin/ls && ! ls"]);
    assert_eq!(output.code, 0, "{}", output.text());
    assert!(Path::new("/bin/ls").exists() && !Path::new("/usr/bin/new").exists());
    env.down();
}

#[test]
fn hello() {
    let (env, port) = example("hello", "hello-example");
    env.ok(&["up", "--wait"]);
    assert!(get_eventually(port, "/").contains("Hello"));
    env.down();
}

#[test]
fn web_db() {
    let (env, port) = example("web-db", "web-db-example");
    for times in 1..=2 {
        env.ok(&["up", "--wait"]);
        assert_eq!(get_eventually(port, "/"), format!("This stack has been raised {times} times.\n"));
        env.ok(&["down"]);
    }
    env.down();
}

#[test]
fn healthcheck() {
    let (env, port) = example("healthcheck", "healthcheck-example");
    env.ok(&["up", "--wait"]);
    assert_eq!(env.ps_field("app", "Health"), "healthy");
    assert_eq!(env.ps_field("cache", "Health"), "healthy");
    get(port, "/hostname");
    env.down();
}

#[test]
fn networks() {
    let (env, port) = example("networks", "networks-example");
    env.ok(&["up", "--wait"]);
    assert_eq!(get_eventually(port, "/hostname").trim(), env.sh("api", "hostname"));
    assert_eq!(env.sh("api", "echo PING | nc -w 1 store 6379"), "+PONG");
    assert_eq!(env.sh("store", "getent hosts proxy || echo nothing"), "nothing");
    assert_eq!(env.sh("proxy", "getent hosts store || echo nothing"), "nothing");
    env.down();
}

#[test]
fn secrets() {
    let (env, port) = example("secrets", "secrets-example");
    env.ok(&["up", "--wait"]);
    assert_eq!(get_eventually(port, "/").trim(), "Good morning from a config.");
    assert!(env.ok(&["logs", "app"]).stdout.contains("token of 16 characters"));
    assert_eq!(env.sh("app", "cat /run/secrets/api_key; id -u"), "not a real key\n1000");
    assert_eq!(env.sh("app", "env | grep -ci token || true"), "0");
    env.down();
}

#[test]
fn replicas() {
    let (env, port) = example("replicas", "replicas-example");
    env.ok(&["up", "--wait"]);
    let mut seen: Vec<String> = (0..9).map(|_| get_eventually(port, "/hostname")).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 3, "{seen:?}");
    env.down();
}

/// Packages come from files that were fetched once: the tests need no network. What the registry would say besides is
/// in the environment of whoever has one.
fn without_network(env: &mut TestEnv, mounts: &str, environment: &str) {
    let service = format!("{{ volumes: [{mounts}], environment: {environment} }}");
    env.file("compose.override.yaml", &format!("services:\n  web: {service}\n"));
}

/// The example for Node.js, which needs no network; what is returned serves as long as it lives.
pub fn node_project(name: &str) -> (TestEnv, u16, Server) {
    let (mut env, port) = example("node", name);
    let server = Server::npm();
    env.set("NPM_CONFIG_REGISTRY", &server.url());
    let cache = support::packages::npm_cache(&source("examples/node")).unwrap();
    without_network(
        &mut env,
        &format!("\"{}:/npm-cache\"", cache.display()),
        "{ NPM_CONFIG_CACHE: /npm-cache, NPM_CONFIG_OFFLINE: \"true\" }",
    );
    (env, port, server)
}

/// The example for Python, and its version.
pub fn python_project(name: &str) -> (TestEnv, u16, String) {
    let (mut env, port) = example("python", name);
    let pythons = pythons();
    // The example's own version where there is one: a standalone build would be fetched otherwise.
    let (major, minor) = match pythons.contains_key(&(3, 12)) {
        true => (3, 12),
        false => *pythons.keys().next_back().expect("a Python with ensurepip"),
    };
    env.file(".python-version", &format!("{major}.{minor}\n"));
    let wheels = support::packages::wheels(&source("examples/python"), &format!("{major}.{minor}")).unwrap();
    without_network(
        &mut env,
        &format!("\"{}:/wheels:ro\"", wheels.display()),
        "{ PIP_NO_INDEX: \"1\", PIP_FIND_LINKS: /wheels }",
    );
    (env, port, format!("{major}.{minor}"))
}

#[test]
fn node() {
    let (env, port, _server) = node_project("node-example");
    env.ok(&["up", "--wait"]);
    let page = get_eventually(port, "/");
    assert!(page.contains("\"node\":\"v22.") && page.contains("A note from Express."), "{page}");
    env.down();
}

#[test]
fn python() {
    let (env, port, version) = python_project("python-example");
    env.ok(&["up", "--wait"]);
    let page = get_eventually(port, "/");
    assert!(page.contains(&format!("\"python\":\"{version}.")) && page.contains("A note from Flask."), "{page}");
    env.down();
}

#[test]
fn watch() {
    let (env, port) = example("watch", "watch-example");
    let mut running = env.start(&["watch"]);
    running.wait_for("Watch enabled");
    assert!(get_eventually(port, "/").contains("Edit me"));
    let started = |service: &str| env.ok(&["logs", "--no-log-prefix", "--split-streams", service]).stdout;
    env.file("site/index.html", "<h1>edited</h1>\n");
    support::eventually("the page is the edited one", PATIENCE, || {
        let page = get(port, "/");
        if page.contains("edited") { Ok(()) } else { Err(page) }
    });
    let program = fs::read_to_string(env.folder().join("api/main.py")).unwrap();
    env.file("api/main.py", &program.replace("edit me: api/main.py", "seen at once"));
    for service in ["api", "worker"] {
        support::eventually(&format!("{service} runs the edited program"), PATIENCE, || {
            let printed = started(service);
            if printed == "edit me: api/main.py\nseen at once\n" { Ok(()) } else { Err(printed) }
        });
    }
    running.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(running.finish(PATIENCE).code, 130);
    env.down();
}

#[test]
fn every_example_has_a_test() {
    let text = fs::read_to_string(file!()).or_else(|_| fs::read_to_string(source("tests/e2e/examples.rs"))).unwrap();
    for entry in fs::read_dir(source("examples")).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(text.contains(&format!("example(\"{name}\",")), "examples/{name} is started by no test");
    }
}
