//! What a command has told has happened when it returns: in the kernel and on the disk, looked at once and at once.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use crate::env::TestEnv;
use crate::leaks;
use crate::lifecycle::{is_frozen, pid_of};
use crate::net::free_port;

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
