//! Processes of ours that are killed, and commands that meet.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::env::{PATIENCE, TestEnv};

const STACK: &str = r#"
services:
  web: { image: "busybox:1.35", command: "sh -c 'while :; do date; sleep 0.1; done'", init: true, ports: ["80"] }
  db: { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL }
"#;

/// The keeper, as it says itself.
pub fn keeper(env: &TestEnv) -> Pid {
    let path = env.home().join("run/projects").join(env.name()).join("keeper.json");
    let record: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    Pid::from_raw(record["pid"].as_i64().unwrap().try_into().unwrap())
}

/// The supervisor: the keeper's child that is not a container.
pub fn supervisor(env: &TestEnv) -> Option<Pid> {
    let keeper = keeper(env);
    let children = fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).ok()?;
    let supervises = |pid: &i32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains("supervisor"))
    };
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(supervises).map(Pid::from_raw)
}

pub fn containers(env: &TestEnv) -> Vec<String> {
    env.ps().iter().map(|row| format!("{} {}", row["ID"], row["State"])).collect()
}

#[test]
fn a_dead_supervisor_costs_nothing() {
    let env = TestEnv::with("supervisor-killed", STACK);
    env.ok(&["up", "-d"]);
    let before = containers(&env);
    let old = supervisor(&env).expect("a supervisor");
    kill(old, Signal::SIGKILL).unwrap();
    support::eventually("there is another supervisor", PATIENCE, || match supervisor(&env) {
        Some(pid) if pid != old => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(env.sh("web", "echo still here"), "still here");
    assert_eq!(containers(&env), before);
    env.ok(&["up", "-d"]);
    assert_eq!(containers(&env), before, "nothing has changed, nothing is made anew");
    let lines = env.ok(&["logs", "--no-log-prefix", "web"]).stdout.lines().count();
    support::eventually("the log goes on", PATIENCE, || {
        let now = env.ok(&["logs", "--no-log-prefix", "web"]).stdout.lines().count();
        if now > lines + 2 { Ok(()) } else { Err(format!("{now} lines, as before")) }
    });
    env.down();
}

#[test]
fn a_dead_keeper_leaves_what_down_cleans() {
    let env = TestEnv::with("keeper-killed", STACK);
    env.ok(&["up", "-d"]);
    kill(keeper(&env), Signal::SIGKILL).unwrap();
    env.down();
}

#[test]
fn after_the_death_of_everything_up_and_down_put_things_right() {
    let env = TestEnv::with("all-killed", STACK);
    for command in [&["up", "-d"][..], &["down", "-v"]] {
        env.ok(&["up", "-d"]);
        let keeper = keeper(&env);
        let children = fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).unwrap();
        kill(keeper, Signal::SIGKILL).unwrap();
        for pid in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        env.ok(command);
    }
    env.assert_nothing_left();
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("web", "echo again"), "again");
    env.down();
}

#[test]
fn a_command_that_is_killed_at_any_time_leaves_what_the_next_one_finishes() {
    let env = TestEnv::with("interrupted", STACK);
    env.ok(&["pull"]);
    for delay in [1, 5, 10, 20, 40, 80] {
        let up = env.start(&["up", "-d"]);
        std::thread::sleep(std::time::Duration::from_millis(delay));
        up.signal(Signal::SIGKILL);
        drop(up);
        env.ok(&["up", "-d"]);
        assert_eq!(env.ps().len(), 2, "after {delay} ms");
        assert_eq!(env.sh("web", "echo up"), "up");
        env.down();
        let up = env.start(&["up", "-d"]);
        std::thread::sleep(std::time::Duration::from_millis(delay));
        up.signal(Signal::SIGKILL);
        drop(up);
        env.down();
    }
}

#[test]
fn an_interrupted_pull_leaves_nothing_half_made() {
    let env = TestEnv::with("half", r#"services: { db: { image: "redis:8" } }"#);
    for delay in [20, 60, 120, 240] {
        let pull = env.start(&["pull"]);
        std::thread::sleep(std::time::Duration::from_millis(delay));
        pull.signal(Signal::SIGKILL);
        drop(pull);
    }
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("db", "redis-cli ping"), "PONG");
    env.down();
}

#[test]
fn commands_that_meet_agree() {
    let env = TestEnv::with("meeting", STACK);
    let ups: Vec<_> = (0..4).map(|_| env.start(&["up", "-d"])).collect();
    for up in ups {
        let output = up.finish(PATIENCE);
        assert_eq!(output.code, 0, "{}", output.text());
    }
    assert_eq!(env.ps().len(), 2);
    let downs: Vec<_> = (0..3).map(|_| env.start(&["down", "-v"])).collect();
    for down in downs {
        let output = down.finish(PATIENCE);
        assert_eq!(output.code, 0, "{}", output.text());
    }
    env.assert_nothing_left();
}

#[test]
fn projects_do_not_meet() {
    let envs: Vec<TestEnv> = (0..4).map(|number| TestEnv::with(&format!("side-{number}"), STACK)).collect();
    let ups: Vec<_> = envs.iter().map(|env| env.start(&["up", "-d"])).collect();
    for up in ups {
        let output = up.finish(PATIENCE);
        assert_eq!(output.code, 0, "{}", output.text());
    }
    for env in &envs {
        assert!(env.sh("web", "ping -c 1 -W 2 db").contains("1 packets received"));
    }
    for env in &envs {
        env.down();
    }
}
