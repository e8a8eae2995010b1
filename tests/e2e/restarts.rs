//! What is started again by itself.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::env::{PATIENCE, TestEnv};
use crate::lifecycle::{pid_of, running_pid_of};

fn lines(env: &TestEnv, file: &str) -> usize {
    fs::read_to_string(env.folder().join("marks").join(file)).map_or(0, |text| text.lines().count())
}

fn state_becomes(env: &TestEnv, service: &str, state: &str) {
    support::eventually(&format!("{service} is {state}"), PATIENCE, || {
        let now = env.ps_field(service, "State");
        if now == state { Ok(()) } else { Err(now) }
    });
}

fn another_process(env: &TestEnv, service: &str, before: i32) {
    support::eventually(&format!("{service} has another process"), PATIENCE, || match running_pid_of(env, service) {
        Some(now) if now != before => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn attempts_are_limited() {
    let env = TestEnv::with(
        "attempts",
        r#"
x-box: &box { x-windlass: { rootfs: host }, volumes: ["./marks:/marks"] }
services:
  limited:
    <<: *box
    command: sh -c "echo x >> /marks/limited; exit 1"
    deploy: { restart_policy: { condition: any, max_attempts: 2, delay: 10ms } }
  success:
    <<: *box
    command: sh -c "echo x >> /marks/success; exit 0"
    deploy: { restart_policy: { condition: on-failure } }
  never: { <<: *box, command: sh -c "echo x >> /marks/never; exit 1", restart: always, deploy: { restart_policy: { condition: none } } }
"#,
    );
    env.ok(&["up", "-d"]);
    for (service, count) in [("limited", 3), ("success", 1), ("never", 1)] {
        state_becomes(&env, service, "exited");
        assert_eq!(lines(&env, service), count, "{service}");
    }
    // Started by hand, it may fail as often again.
    env.ok(&["start", "limited"]);
    support::eventually("it has tried again", PATIENCE, || {
        let count = lines(&env, "limited");
        if count == 6 { Ok(()) } else { Err(count.to_string()) }
    });
    state_becomes(&env, "limited", "exited");
    env.down();
}

#[test]
fn what_is_unhealthy_is_restarted_when_it_says_so() {
    let env = TestEnv::with(
        "unhealthy",
        r#"
x-box: &box
  command: sleep 1000
  init: true
  healthcheck: { test: ["CMD", "test", "!", "-e", "/tmp/sick"], interval: 50ms, retries: 2 }
  tmpfs: [/tmp]
services:
  healed: { <<: *box, x-windlass: { rootfs: host, restart_unhealthy: true } }
  left: { <<: *box, x-windlass: { rootfs: host } }
"#,
    );
    env.ok(&["up", "-d", "--wait"]);
    let before = (pid_of(&env, "healed"), pid_of(&env, "left"));
    env.sh("healed", "touch /tmp/sick");
    env.sh("left", "touch /tmp/sick");
    another_process(&env, "healed", before.0);
    support::eventually("it is healthy again", PATIENCE, || {
        let health = env.ps_field("healed", "Health");
        if health == "healthy" { Ok(()) } else { Err(health) }
    });
    support::eventually("the other one is sick", PATIENCE, || {
        let health = env.ps_field("left", "Health");
        if health == "unhealthy" { Ok(()) } else { Err(health) }
    });
    assert_eq!(pid_of(&env, "left"), before.1);
    // A person's stop is final all the same.
    env.sh("healed", "touch /tmp/sick");
    env.ok(&["stop"]);
    assert_eq!(env.ps_field("healed", "State"), "exited");
    env.down();
}

#[test]
fn dependents_are_restarted_after_a_crash() {
    let env = TestEnv::with(
        "cascade",
        r#"
x-box: &box { x-windlass: { rootfs: host }, command: sleep 1000, init: true }
services:
  db: { <<: *box, restart: always }
  web: { <<: *box, depends_on: { db: { condition: service_started, restart: true } } }
  front: { <<: *box, depends_on: { web: { condition: service_started, restart: true } } }
  other: { <<: *box, depends_on: [db] }
  stopped: { <<: *box, depends_on: { db: { condition: service_started, restart: true } } }
"#,
    );
    env.ok(&["up", "-d"]);
    env.ok(&["stop", "stopped"]);
    let before: Vec<i32> = ["db", "web", "front", "other"].iter().map(|service| pid_of(&env, service)).collect();
    kill(Pid::from_raw(before[0]), Signal::SIGKILL).unwrap();
    another_process(&env, "db", before[0]);
    another_process(&env, "web", before[1]);
    another_process(&env, "front", before[2]);
    assert_eq!(pid_of(&env, "other"), before[3]);
    assert_eq!(env.ps_field("stopped", "State"), "exited");
    env.down();
}
