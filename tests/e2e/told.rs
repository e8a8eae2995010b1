//! What a command has told has happened when it returns: in the kernel and on the disk, looked at once and at once.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use crate::env::{PATIENCE, TestEnv};
use crate::leaks;
use crate::lifecycle::{is_frozen, pid_of};
use crate::net::free_port;
use crate::networks::{HOST, on_a_machine_of_its_own};

fn lives(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn what_is_told_has_happened() {
    let port = free_port();
    let env = TestEnv::with(
        "told",
        &format!(
            r#"
services:
  web:
    image: "busybox:1.35"
    command: httpd -f -p 80 -h /etc
    stop_signal: SIGKILL
    ports: ["127.0.0.1:{port}:80"]
    volumes: ["data:/data"]
volumes: {{ data: }}
"#
        ),
    );
    let at_port = ("127.0.0.1", port);
    let told = |arguments: &[&str], word: &str| {
        let output = env.ok(arguments);
        let line = output.stderr.lines().any(|line| line.contains("told-web-1") && line.contains(word));
        assert!(line, "{arguments:?} tells {word:?}: {}", output.text());
    };
    for round in 0..3 {
        told(&["up", "-d"], "Started");
        let first = pid_of(&env, "web");
        assert!(lives(first), "{round}: up");
        TcpStream::connect(at_port).unwrap();
        told(&["pause"], "Paused");
        assert!(is_frozen(first), "{round}: pause");
        told(&["unpause"], "Unpaused");
        assert!(!is_frozen(first), "{round}: unpause");
        let copied = env.file("copied", &round.to_string());
        told(&["cp", "copied", "web:/told"], "Copied");
        assert_eq!(fs::read_to_string(format!("/proc/{first}/root/told")).unwrap(), round.to_string());
        told(&["cp", "web:/etc/hostname", "copied"], "Copied");
        assert_eq!(fs::read(&copied).unwrap(), fs::read(format!("/proc/{first}/root/etc/hostname")).unwrap());
        told(&["restart"], "Started");
        let second = pid_of(&env, "web");
        assert!(!lives(first) && lives(second), "{round}: restart");
        told(&["kill"], "Killed");
        assert!(!lives(second), "{round}: kill");
        drop(TcpListener::bind(at_port).unwrap());
        assert!(env.ps_field("web", "Status").starts_with("Exited (137)"), "{round}: kill");
        told(&["start"], "Started");
        let third = pid_of(&env, "web");
        TcpStream::connect(at_port).unwrap();
        told(&["stop"], "Stopped");
        assert!(!lives(third), "{round}: stop");
        drop(TcpListener::bind(at_port).unwrap());
        assert_eq!(env.ps_field("web", "ExitCode"), "137");
        let containers = env.home().join("data/projects/told/containers");
        assert_eq!(fs::read_dir(&containers).unwrap().count(), 1);
        told(&["rm", "-f"], "Removed");
        assert_eq!(fs::read_dir(&containers).map_or(0, Iterator::count), 0, "{round}: rm");
        env.ok(&["up", "-d"]);
        let last = pid_of(&env, "web");
        told(&["down", "-v", "-t", "0"], "Removed");
        assert!(!lives(last), "{round}: down");
        assert!(!env.home().join("data/volumes/told_data").exists(), "{round}: down -v");
        let left = leaks::find(&env.home(), &[("told".to_owned(), env.id())]);
        assert!(left.is_empty(), "{round}: down: {left:?}");
    }
    env.down();
}

/// Starts a command and returns at the moment at which it has told something.
fn until_told(env: &TestEnv, arguments: &[&str], told: &str) -> crate::env::Running {
    let mut running = env.start(arguments);
    support::eventually(&format!("{arguments:?} tells {told:?}"), PATIENCE, || {
        let said = format!("{}{}", running.stdout(), running.stderr());
        let has = |line: &str| told.split(' ').all(|word| line.contains(word));
        if said.lines().any(has) { Ok(()) } else { Err(said) }
    });
    running
}

/// The bridge of a network, as its lease on disk has it.
fn bridge_of(env: &TestEnv, name: &str) -> Option<String> {
    let leases = fs::read_dir(env.home().join("data/networks")).into_iter().flatten().flatten();
    let mut leases = leases.filter_map(|lease| fs::read_to_string(lease.path()).ok());
    let lease = leases.find_map(|text| {
        let lease: serde_json::Value = serde_json::from_str(&text).ok()?;
        (lease["name"] == name).then_some(lease)
    });
    lease.map(|lease| lease["bridge"].as_str().unwrap().to_owned())
}

/// Whether the bridge is there and up, in the namespace of the calling thread.
fn is_up(bridge: &str) -> bool {
    let shown = std::process::Command::new("ip").args(["link", "show", bridge, "up"]).output().unwrap();
    !shown.stdout.is_empty()
}

#[test]
fn what_is_told_of_networks_and_volumes_has_happened() {
    on_a_machine_of_its_own();
    let file = format!("services:\n  web: {{ {HOST}, command: sleep 1000 }}\n");
    let env = TestEnv::with("told-objects", &file);
    env.ok(&["up", "-d"]);
    let pid = pid_of(&env, "web");
    let interfaces = || fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap().matches("eth").count();
    let volume = |name: &str| env.home().join("data/volumes").join(name).join("_data");
    for round in 0..3 {
        let create = env.start(&["network", "create", "lan"]).finish(PATIENCE);
        assert_eq!(create.code, 0, "{}", create.text());
        let bridge = bridge_of(&env, "lan").unwrap();
        assert!(is_up(&bridge), "{round}: network create");
        env.ok(&["network", "connect", "lan", "told-objects-web-1"]);
        assert_eq!(interfaces(), 2, "{round}: network connect");
        env.ok(&["network", "disconnect", "lan", "told-objects-web-1"]);
        assert_eq!(interfaces(), 1, "{round}: network disconnect");
        let gone = |how: &str| {
            assert_eq!(bridge_of(&env, "lan"), None, "{round}: {how}");
            assert!(!is_up(&bridge), "{round}: {how}");
        };
        let running = until_told(&env, &["network", "rm", "lan"], "lan");
        gone("network rm");
        assert_eq!(running.finish(PATIENCE).code, 0);
        env.ok(&["network", "create", "lan"]);
        let running = until_told(&env, &["network", "prune", "-f"], "lan");
        gone("network prune");
        assert_eq!(running.finish(PATIENCE).code, 0);
        let running = until_told(&env, &["volume", "create", "kept"], "kept");
        assert!(volume("kept").is_dir(), "{round}: volume create");
        assert_eq!(running.finish(PATIENCE).code, 0);
        let running = until_told(&env, &["volume", "rm", "kept"], "kept");
        assert!(!volume("kept").exists(), "{round}: volume rm");
        assert_eq!(running.finish(PATIENCE).code, 0);
        env.ok(&["volume", "create", "kept"]);
        let running = until_told(&env, &["volume", "prune", "-a", "-f"], "kept");
        assert!(!volume("kept").exists(), "{round}: volume prune");
        assert_eq!(running.finish(PATIENCE).code, 0);
    }
    env.down();
}

#[test]
fn what_is_told_while_a_project_comes_up_has_happened() {
    on_a_machine_of_its_own();
    let file = format!(
        r#"
services:
  web:
    {HOST_LINES}
    command: sh -c "touch /tmp/well; exec sleep 1000"
    healthcheck: {{ test: "test -e /tmp/well", interval: 50ms }}
    volumes: ["data:/data"]
volumes: {{ data: }}
"#
    );
    let env = TestEnv::with("told-up", &file);
    let containers = env.home().join("data/projects/told-up/containers");
    let made =
        || fs::read_dir(&containers).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    for round in 0..3 {
        let created = |command: &[&str]| {
            let running = until_told(&env, command, "Network told-up_default Created");
            let table = std::process::Command::new("nft").args(["list", "tables"]).output().unwrap();
            assert!(String::from_utf8_lossy(&table.stdout).contains(&env.id()), "{round}: the network's rules");
            let bridge = bridge_of(&env, "told-up_default").unwrap();
            assert!(is_up(&bridge), "{round}: the network's bridge");
            running
        };
        let running = created(&["create"]);
        assert_eq!(running.finish(PATIENCE).code, 0);
        env.ok(&["down", "-v", "-t", "0"]);
        let running = until_told(&env, &["create"], "Volume told-up_data Created");
        assert!(env.home().join("data/volumes/told-up_data/_data").is_dir(), "{round}: the volume");
        assert_eq!(running.finish(PATIENCE).code, 0);
        env.ok(&["down", "-v", "-t", "0"]);
        let running = until_told(&env, &["create"], "Container told-up-web-1 Created");
        let now = made();
        assert_eq!(now.len(), 1, "{round}: one container");
        assert!(now[0].join("record.json").is_file() && now[0].join("state.json").is_file(), "{round}: {now:?}");
        assert_eq!(running.finish(PATIENCE).code, 0);
        let running = until_told(&env, &["up", "-d", "--wait"], "Container told-up-web-1 Healthy");
        assert_eq!(env.ps_field("web", "Health"), "healthy", "{round}");
        assert_eq!(running.finish(PATIENCE).code, 0);
        env.ok(&["down", "-v", "-t", "0"]);
    }
    env.down();
}

const HOST_LINES: &str = "x-windlass: { rootfs: host }\n    stop_signal: SIGKILL";
