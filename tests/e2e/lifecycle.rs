//! `start`, `stop`, `restart`, `kill`, `pause`, `unpause` and `rm`: containers as they are.

use std::fs;
use std::path::PathBuf;

use crate::env::{PATIENCE, TestEnv};
use crate::net::free_port;

/// Each service appends what it lives through to `marks/order`.
const CHAIN: &str = r#"
x-box: &box
  x-windlass: { rootfs: host }
  volumes: ["./marks:/marks"]
  entrypoint: ["sh", "-c", "echo $$0 up >> /marks/order; trap \"echo $$0 down >> /marks/order; exit 0\" TERM; while :; do sleep 0.02; done"]
services:
  web: { <<: *box, command: [web], depends_on: { db: { condition: service_healthy, restart: true } } }
  app: { <<: *box, command: [app], depends_on: [db] }
  db:
    <<: *box
    tmpfs: [/tmp]
    entrypoint: ["sh", "-c", "echo db up >> /marks/order; rm -f /tmp/ready; trap 'echo db down >> /marks/order; exit 0' TERM; sleep 0.2; echo db ready >> /marks/order; touch /tmp/ready; while :; do sleep 0.02; done"]
    healthcheck: { test: ["CMD", "test", "-e", "/tmp/ready"], interval: 50ms, retries: 100 }
"#;

/// Ends at once, whatever it is told.
const BOX: &str = "services: { box: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL } }";

fn marks(env: &TestEnv) -> Vec<String> {
    let text = fs::read_to_string(env.folder().join("marks/order")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn forget_marks(env: &TestEnv) {
    fs::write(env.folder().join("marks/order"), "").unwrap();
}

#[track_caller]
fn in_order(env: &TestEnv, lines: &[&str]) {
    // A container runs before its program has written anything.
    let (seen, places) = support::eventually(&format!("{lines:?} are noted"), PATIENCE, || {
        let seen = marks(env);
        let places: Option<Vec<usize>> = lines.iter().map(|line| seen.iter().position(|mark| mark == line)).collect();
        places.map(|places| (seen.clone(), places)).ok_or_else(|| format!("{seen:?}"))
    });
    assert!(places.is_sorted(), "{lines:?} in {seen:?}");
}

fn waits_for(env: &TestEnv, service: &str, field: &str, value: &str) {
    support::eventually(&format!("{service} has {field} {value}"), PATIENCE, || {
        let now = env.ps_field(service, field);
        if now == value { Ok(()) } else { Err(now) }
    });
}

/// The process of a container, seen from outside.
#[track_caller]
pub fn pid_of(env: &TestEnv, service: &str) -> i32 {
    running_pid_of(env, service).unwrap_or_else(|| panic!("{service} has no process"))
}

pub fn running_pid_of(env: &TestEnv, service: &str) -> Option<i32> {
    let id = env.ps_field(service, "ID");
    let folder = env.home().join("data/projects").join(env.name()).join("containers");
    let full = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let path = full
        .into_iter()
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with(&id))
        .unwrap_or_else(|| panic!("no container {id}"));
    let state: serde_json::Value = serde_json::from_slice(&fs::read(path.join("state.json")).unwrap()).unwrap();
    find_pid(&state)
}

fn find_pid(value: &serde_json::Value) -> Option<i32> {
    let map = value.as_object()?;
    match map.get("pid").and_then(serde_json::Value::as_i64) {
        Some(pid) => i32::try_from(pid).ok(),
        None => map.values().find_map(find_pid),
    }
}

#[test]
fn stop_and_start_keep_the_container() {
    let port = free_port();
    let env = TestEnv::with(
        "stop-start",
        &format!(
            r#"
services:
  box:
    x-windlass: {{ rootfs: host }}
    command: ["sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.02; done"]
    ports: ["127.0.0.1:{port}:80", "127.0.0.1::81"]
    volumes: ["/anonymous"]
"#
        ),
    );
    env.ok(&["up", "-d"]);
    env.sh("box", "echo kept > /tmp/upper; echo kept > /anonymous/file");
    let address = env.sh("box", "hostname -I || cat /etc/hosts");
    let before = (env.ps_field("box", "ID"), env.ps_field("box", "Ports"));
    let pid = pid_of(&env, "box");
    let output = env.ok(&["stop"]);
    assert!(output.stderr.contains("Container stop-start-box-1  Stopping"), "{}", output.text());
    assert!(output.stderr.contains("Container stop-start-box-1  Stopped"), "{}", output.text());
    assert!(!PathBuf::from(format!("/proc/{pid}")).exists(), "its process is gone");
    assert_eq!(env.ps_field("box", "State"), "exited");
    assert_eq!(env.ps_field("box", "ExitCode"), "3", "it was asked to end, not killed");
    assert_eq!(env.ok(&["ps", "-q"]).stdout, "");
    let output = env.ok(&["start"]);
    assert!(output.stderr.contains("Container stop-start-box-1  Starting"), "{}", output.text());
    assert!(output.stderr.contains("Container stop-start-box-1  Started"), "{}", output.text());
    assert_ne!(pid_of(&env, "box"), pid);
    assert_eq!((env.ps_field("box", "ID"), env.ps_field("box", "Ports")), before);
    assert_eq!(env.sh("box", "cat /tmp/upper /anonymous/file"), "kept\nkept");
    assert_eq!(env.sh("box", "hostname -I || cat /etc/hosts"), address);
    let pid = pid_of(&env, "box");
    env.ok(&["start", "--wait"]);
    assert_eq!(pid_of(&env, "box"), pid, "what runs is left alone");
    env.down();
}

#[test]
fn a_timeout_replaces_the_grace_period() {
    let env = TestEnv::with(
        "stop-timeout",
        r#"
services:
  deaf:
    x-windlass: { rootfs: host }
    stop_grace_period: 10m
    command: ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.02; done"]
"#,
    );
    env.ok(&["up", "-d"]);
    support::eventually("it ignores the signal", PATIENCE, || {
        let log = env.ok(&["logs"]).stdout;
        if log.contains("ready") { Ok(()) } else { Err(log) }
    });
    env.ok(&["stop", "-t", "0"]);
    assert_eq!(env.ps_field("deaf", "ExitCode"), "137");
    env.ok(&["start"]);
    env.ok(&["restart", "-t", "0"]);
    assert_eq!(env.ps_field("deaf", "State"), "running");
    env.down();
}

#[test]
fn order_holds_for_every_command() {
    let env = TestEnv::with("order-of-commands", CHAIN);
    env.ok(&["up", "-d", "--wait"]);
    env.ok(&["stop"]);
    in_order(&env, &["web down", "db down"]);
    in_order(&env, &["app down", "db down"]);

    forget_marks(&env);
    env.ok(&["start", "--wait"]);
    in_order(&env, &["db up", "db ready", "web up"]);
    in_order(&env, &["db up", "app up"]);

    forget_marks(&env);
    let output = env.ok(&["restart", "db"]);
    waits_for(&env, "web", "State", "running");
    support::eventually("web is up again", PATIENCE, || {
        if marks(&env).contains(&"web up".to_owned()) { Ok(()) } else { Err(format!("{:?}", marks(&env))) }
    });
    in_order(&env, &["web down", "db down", "db up", "db ready", "web up"]);
    assert!(!marks(&env).iter().any(|mark| mark.starts_with("app")), "it did not ask for it: {:?}", marks(&env));
    assert!(output.stderr.contains("Container order-of-commands-db-1  Restarting"), "{}", output.text());
    assert!(output.stderr.contains("Container order-of-commands-db-1  Started"), "{}", output.text());

    forget_marks(&env);
    env.ok(&["restart", "--no-deps", "db"]);
    assert!(!marks(&env).iter().any(|mark| mark.starts_with("web")), "{:?}", marks(&env));
    in_order(&env, &["db down", "db up"]);

    // With what it needs, which was stopped.
    env.ok(&["stop"]);
    forget_marks(&env);
    env.ok(&["start", "web"]);
    support::eventually("web is up", PATIENCE, || {
        if marks(&env).contains(&"web up".to_owned()) { Ok(()) } else { Err(format!("{:?}", marks(&env))) }
    });
    in_order(&env, &["db up", "db ready", "web up"]);
    assert_eq!(env.ps_field("app", "State"), "exited");
    env.down();
}

#[test]
fn what_was_stopped_by_hand_stays_stopped() {
    let env = TestEnv::with(
        "by-hand",
        r#"
services:
  always: { x-windlass: { rootfs: host }, command: sleep 1000, init: true, restart: always }
  unless: { x-windlass: { rootfs: host }, command: sleep 1000, init: true, restart: unless-stopped }
"#,
    );
    env.ok(&["up", "-d"]);
    env.ok(&["stop", "always"]);
    env.ok(&["kill", "unless"]);
    waits_for(&env, "unless", "State", "exited");
    assert_eq!(env.ps_field("always", "State"), "exited");
    // The policy would have brought them back long before a whole other command has run.
    env.ok(&["start", "always"]);
    assert_eq!(env.ps_field("unless", "State"), "exited");
    assert_eq!(env.ps_field("always", "State"), "running");
    // A crash is not by hand.
    let pid = pid_of(&env, "always");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    support::eventually("the policy brings it back", PATIENCE, || match running_pid_of(&env, "always") {
        Some(now) if now != pid => Ok(()),
        other => Err(format!("{other:?}")),
    });
    env.down();
}

#[test]
fn kill_sends_any_signal() {
    let env = TestEnv::with(
        "kill-signal",
        r#"
services:
  box:
    x-windlass: { rootfs: host }
    volumes: ["./marks:/marks"]
    command: ["sh", "-c", "trap 'touch /marks/hup' HUP; trap 'exit 7' USR1; touch /marks/ready; while :; do sleep 0.02; done"]
"#,
    );
    assert!(env.ok(&["kill"]).stderr.contains("No container to kill"));
    env.ok(&["up", "-d"]);
    let appears = |name: &str| {
        support::eventually(&format!("{name} is there"), PATIENCE, || {
            if env.folder().join("marks").join(name).exists() { Ok(()) } else { Err("not yet".into()) }
        });
    };
    appears("ready");
    env.ok(&["kill", "-s", "HUP"]);
    appears("hup");
    assert_eq!(env.ps_field("box", "State"), "running");
    let output = env.ok(&["kill", "-s", "SIGUSR1", "box"]);
    assert!(output.stderr.contains("Container kill-signal-box-1  Killed"), "{}", output.text());
    waits_for(&env, "box", "State", "exited");
    assert_eq!(env.ps_field("box", "ExitCode"), "7");
    assert!(env.ok(&["kill"]).stderr.contains("No container to kill"));
    assert!(env.fails(&["kill", "-s", "SIGNOPE"]).stderr.contains("`SIGNOPE` is not a signal"));
    assert!(env.fails(&["kill", "nope"]).stderr.contains("no such service: nope"));
    env.down();
}

/// Whether the kernel has stopped the group of a process.
pub fn is_frozen(pid: i32) -> bool {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let of = |controller: &str| {
        groups
            .lines()
            .find(|line| line.contains(controller))
            .and_then(|line| line.rsplit(':').next())
            .map(str::to_owned)
    };
    let v1 = of(":freezer:").map(|path| format!("/sys/fs/cgroup/freezer{path}/freezer.state"));
    let v2 = of("0::").map(|path| format!("/sys/fs/cgroup{path}/cgroup.events"));
    let unified = of("0::").map(|path| format!("/sys/fs/cgroup/unified{path}/cgroup.events"));
    let states: Vec<String> =
        [v1, v2, unified].into_iter().flatten().filter_map(|path| fs::read_to_string(path).ok()).collect();
    assert!(!states.is_empty(), "the container is in a group: {groups}");
    states.iter().any(|state| state.trim() == "FROZEN" || state.contains("frozen 1"))
}

#[test]
fn pause_freezes_and_unpause_thaws() {
    let env = TestEnv::with("pausing", BOX);
    env.ok(&["up", "-d"]);
    let frozen = || is_frozen(pid_of(&env, "box"));
    assert!(!frozen());
    let output = env.ok(&["pause"]);
    assert!(output.stderr.contains("Container pausing-box-1  Paused"), "{}", output.text());
    assert!(frozen());
    assert_eq!(env.ps_field("box", "State"), "paused");
    assert!(env.fails(&["pause", "box"]).stderr.contains("is paused already"));
    // Refused by the supervisor: in the frozen group it would hang.
    assert!(env.fails(&["exec", "-T", "box", "true"]).stderr.contains("is paused; unpause it first"));
    assert!(env.ok(&["unpause", "box"]).stderr.contains("Container pausing-box-1  Unpaused"));
    assert!(!frozen());
    assert_eq!(env.sh("box", "echo on"), "on");
    assert!(env.fails(&["unpause"]).stderr.contains("is not paused"));
    // What is paused can be ended.
    env.ok(&["pause"]);
    env.ok(&["stop"]);
    assert_eq!(env.ps_field("box", "State"), "exited");
    env.ok(&["start"]);
    env.ok(&["pause"]);
    env.ok(&["kill"]);
    waits_for(&env, "box", "State", "exited");
    env.down();
}

#[test]
fn rm_removes_what_is_stopped() {
    let env = TestEnv::with(
        "rm",
        r#"
services:
  box: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL, volumes: ["/anonymous"] }
  other: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL }
"#,
    );
    assert!(env.ok(&["rm", "-f"]).stderr.contains("No stopped containers"));
    env.ok(&["up", "-d"]);
    assert!(env.ok(&["rm", "-f"]).stderr.contains("No stopped containers"));
    env.ok(&["stop", "box"]);
    // Nobody answers the question.
    let output = env.ok(&["rm"]);
    assert!(output.stdout.contains("Going to remove rm-box-1"), "{}", output.text());
    assert_eq!(env.ps().len(), 2);
    let volumes = || fs::read_dir(env.home().join("data/volumes")).map_or(0, |folder| folder.flatten().count());
    let had = volumes();
    assert!(had > 0);
    let output = env.ok(&["rm", "-f"]);
    assert!(output.stderr.contains("Container rm-box-1  Removed"), "{}", output.text());
    assert_eq!(env.ps().len(), 1);
    assert_eq!(volumes(), had, "volumes are kept");
    env.ok(&["up", "-d"]);
    let output = env.ok(&["rm", "-fsv"]);
    assert!(output.stderr.contains("Stopped") && output.stderr.contains("Removed"), "{}", output.text());
    assert_eq!(env.ps().len(), 0);
    assert_eq!(volumes(), had, "the anonymous volume of the second container is gone");
    env.ok(&["up", "-d"]);
    assert_eq!(env.ps().len(), 2);
    env.down();
}

#[test]
fn what_is_not_there_is_said() {
    let env = TestEnv::with("nothing", BOX);
    for command in ["stop", "restart", "pause", "unpause"] {
        env.ok(&[command]);
        assert!(env.fails(&[command, "nope"]).stderr.contains("no such service: nope"), "{command}");
    }
    assert!(env.fails(&["start"]).stderr.contains("no container to start"));
    assert!(env.fails(&["start", "box"]).stderr.contains("service \"box\" has no container to start"));
    env.ok(&["up", "-d"]);
    // From anywhere, by name alone.
    env.file("compose.yaml", "services: [");
    env.ok(&["-p", "nothing", "stop", "box"]);
    assert!(env.fails(&["-p", "nothing", "stop", "nope"]).stderr.contains("no such service: nope"));
    env.ok(&["-p", "nothing", "start"]);
    env.ok(&["-p", "nothing", "restart", "box"]);
    env.ok(&["-p", "nothing", "down"]);
    env.file("compose.yaml", BOX);
    env.assert_nothing_left();
}

#[test]
fn a_dry_run_does_nothing() {
    let env = TestEnv::with("dry-act", BOX);
    env.ok(&["up", "-d"]);
    let pid = pid_of(&env, "box");
    for command in [&["stop"][..], &["restart"], &["kill"], &["pause"], &["rm", "-fs"]] {
        let output = env.ok(&[&["--dry-run"], command].concat());
        assert!(output.text().contains("container dry-act-box-1"), "{command:?}: {}", output.text());
        assert_eq!(pid_of(&env, "box"), pid);
        assert_eq!(env.ps_field("box", "State"), "running");
    }
    env.down();
}
