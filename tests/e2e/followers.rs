//! Containers in the namespaces of others.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::env::TestEnv;
use crate::lifecycle::pid_of;

const STACK: &str = r#"
x-box: &box { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL }
services:
  vpn: *box
  net: { <<: *box, network_mode: "service:vpn" }
  ipc: { <<: *box, ipc: "service:vpn" }
  pid: { <<: *box, pid: "service:vpn" }
  free: *box
"#;

fn namespace(env: &TestEnv, service: &str, kind: &str) -> u64 {
    fs::metadata(format!("/proc/{}/ns/{kind}", pid_of(env, service))).unwrap().ino()
}

#[track_caller]
fn assert_shared(env: &TestEnv) {
    for kind in ["net", "ipc", "pid"] {
        assert_eq!(namespace(env, kind, kind), namespace(env, "vpn", kind), "{kind}");
        assert_ne!(namespace(env, "free", kind), namespace(env, "vpn", kind), "{kind}");
    }
}

fn ids(env: &TestEnv) -> Vec<String> {
    ["net", "ipc", "pid", "free"].iter().map(|service| env.ps_field(service, "ID")).collect()
}

#[test]
fn they_are_made_anew_with_the_one_that_they_follow() {
    let env = TestEnv::with("followers", STACK);
    env.ok(&["up", "-d"]);
    assert_shared(&env);
    for change in [
        &["rm", "-sf", "vpn"][..],
        &["up", "-d", "--force-recreate", "--no-deps", "vpn"],
        &["up", "-d", "-V", "--force-recreate", "vpn"],
    ] {
        let before = ids(&env);
        env.ok(change);
        env.ok(&["up", "-d"]);
        let now = ids(&env);
        for place in 0..3 {
            assert_ne!(now[place], before[place], "{change:?}: {place}");
        }
        assert_eq!(now[3], before[3], "{change:?}");
        assert_shared(&env);
        assert!(env.ok(&["--dry-run", "up", "-d"]).text().contains("nothing to do"));
    }
    env.down();
}

#[test]
fn they_are_started_again_when_the_one_that_they_follow_was() {
    let env = TestEnv::with("followers-restart", STACK);
    env.ok(&["up", "-d"]);
    let (before, free) = (ids(&env), pid_of(&env, "free"));
    for change in [&["stop", "vpn"][..], &["kill", "vpn"], &["up", "-d", "--no-deps", "vpn"]] {
        env.ok(change);
        if change[0] == "stop" {
            env.ok(&["start", "vpn"]);
        }
        let plan = env.ok(&["--dry-run", "up", "-d"]).stderr;
        if change[0] == "stop" {
            let expected =
                "stop container followers-restart-net-1: the network of followers-restart-vpn-1 that it shares";
            assert!(plan.contains(expected), "{plan}");
        }
        env.ok(&["up", "-d"]);
        assert_shared(&env);
        assert_eq!(ids(&env), before, "they stay what they are");
        assert_eq!(pid_of(&env, "free"), free);
    }
    env.down();
}

#[test]
fn a_container_of_another_project_is_followed_too() {
    let env = TestEnv::with("followers-away", STACK);
    env.file(
        "away.yaml",
        r#"
x-box: &box { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL }
services:
  net: { <<: *box, network_mode: "container:followers-away-vpn-1" }
  ipc: { <<: *box, ipc: "container:followers-away-vpn-1" }
  pid: { <<: *box, pid: "container:followers-away-vpn-1" }
  own: { <<: *box, network_mode: "container:followers-there-net-1", depends_on: [net] }
"#,
    );
    let away = ["-p", "followers-there", "-f", "away.yaml"];
    let there = |arguments: &[&str]| env.run(&[&away[..], arguments].concat());
    let output = there(&["up", "-d"]);
    assert_ne!(output.code, 0);
    assert!(output.stderr.contains("there is no container followers-away-vpn-1"), "{}", output.text());
    env.ok(&["up", "-d"]);
    let up = || {
        let output = there(&["up", "-d"]);
        assert_eq!(output.code, 0, "{}", output.text());
    };
    let inode = |service: &str, kind: &str| {
        let output = there(&["exec", "-T", service, "stat", "-Lc", "%i", &format!("/proc/self/ns/{kind}")]);
        assert_eq!(output.code, 0, "{}", output.text());
        output.stdout.trim().parse::<u64>().unwrap()
    };
    let assert_followed = || {
        for kind in ["net", "ipc", "pid"] {
            assert_eq!(inode(kind, kind), namespace(&env, "vpn", kind), "{kind}");
        }
        assert_eq!(inode("own", "net"), namespace(&env, "vpn", "net"));
    };
    up();
    assert_followed();
    // One of the same name is another one.
    env.ok(&["up", "-d", "--force-recreate", "vpn"]);
    up();
    assert_followed();
    env.ok(&["down", "-t", "0"]);
    assert_eq!(there(&["down", "-t", "0"]).code, 0);
    env.down();
}

#[test]
fn what_only_the_leader_can_have_is_refused_with_its_place() {
    let env = TestEnv::new("followers-conflict");
    let stack = r#"
x-box: &box { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL }
services:
  vpn: { <<: *box, container_name: followers-conflict-leader }
  a:
    <<: *box
    network_mode: "service:vpn"
    ports: ["127.0.0.1::80"]
    mac_address: 02:42:ac:11:00:09
  b:
    <<: *box
    network_mode: "container:followers-conflict-leader"
    dns: [192.0.2.1]
    extra_hosts: ["a:192.0.2.2"]
"#;
    env.file("compose.yaml", stack);
    let text = env.fails(&["up", "-d"]).stderr;
    for (what, line) in [("ports", 8), ("mac_address", 9), ("dns", 13), ("extra_hosts", 14)] {
        assert!(text.contains(&format!("conflicting options: `{what}` and")), "{what}: {text}");
        assert!(text.contains(&format!("compose.yaml:{line}:")), "line {line}: {text}");
    }
    assert!(text.contains("write `ports` there"), "{text}");
    env.assert_nothing_left();
    env.ok(&["config", "-q"]);
    let search = "services:\n  vpn: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL }\n  a: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL, network_mode: \"service:vpn\", dns_search: [test] }\n";
    env.file("compose.yaml", search);
    let text = env.ok(&["up", "-d"]).stderr;
    assert!(text.contains("`dns_search` of a has no effect: its network is that of vpn"), "{text}");
    env.down();
}

#[test]
fn one_that_follows_a_sibling_by_its_name_starts_after_it() {
    let env = TestEnv::with(
        "followers-sibling",
        r#"
x-box: &box { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL }
services:
  a: { <<: *box, network_mode: "container:followers-sibling-leader" }
  b: { <<: *box, ipc: "container:followers-sibling-slow-1", network_mode: "container:followers-sibling-leader" }
  slow: { <<: *box, depends_on: { checked: { condition: service_healthy } } }
  vpn: { <<: *box, container_name: followers-sibling-leader, depends_on: [slow] }
  checked:
    <<: *box
    healthcheck: { test: ["CMD-SHELL", "sleep 0.3"], interval: 50ms }
"#,
    );
    for _ in 0..2 {
        env.ok(&["up", "-d"]);
        for service in ["a", "b"] {
            assert_eq!(namespace(&env, service, "net"), namespace(&env, "vpn", "net"), "{service}");
        }
        assert_eq!(namespace(&env, "b", "ipc"), namespace(&env, "slow", "ipc"));
        env.ok(&["stop"]);
        env.ok(&["start"]);
        assert_eq!(namespace(&env, "a", "net"), namespace(&env, "vpn", "net"));
        env.ok(&["down"]);
    }
    env.down();
}
