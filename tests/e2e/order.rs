//! What waits for what, and how things end.

use std::fs;
use std::time::Instant;

use crate::env::TestEnv;

/// The lines of a file that the services of a test append to.
fn marks(env: &TestEnv) -> Vec<String> {
    let text = fs::read_to_string(env.folder().join("marks/order")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn conditions_hold_before_a_dependent_starts_and_stopping_is_the_reverse() {
    let env = TestEnv::with(
        "order",
        r#"
x-box: &box
  image: "busybox:1.35"
  volumes: ["./marks:/marks"]
  entrypoint: ["sh", "-c", "echo $$0 up >> /marks/order; trap \"echo $$0 down >> /marks/order; exit 0\" TERM; while :; do sleep 0.02; done"]
services:
  last: { <<: *box, command: [last], depends_on: { healthy: { condition: service_healthy }, done: { condition: service_completed_successfully } } }
  done:
    <<: *box
    entrypoint: ["sh", "-c", "echo done up >> /marks/order; sleep 0.2; echo done finished >> /marks/order"]
    depends_on: [first]
  healthy:
    <<: *box
    entrypoint: ["sh", "-c", "echo healthy up >> /marks/order; trap 'echo healthy down >> /marks/order; exit 0' TERM; sleep 0.3; echo healthy ready >> /marks/order; touch /ready; while :; do sleep 0.02; done"]
    healthcheck: { test: ["CMD", "test", "-e", "/ready"], interval: 50ms, retries: 100 }
    depends_on: { first: { condition: service_started } }
  first: { <<: *box, command: [first] }
"#,
    );
    env.ok(&["up", "-d"]);
    support::eventually("the last one is up", crate::env::PATIENCE, || {
        let marks = marks(&env);
        if marks.contains(&"last up".to_owned()) { Ok(()) } else { Err(format!("{marks:?}")) }
    });
    let seen = marks(&env);
    let place =
        |line: &str| seen.iter().position(|mark| mark == line).unwrap_or_else(|| panic!("no {line:?} in {seen:?}"));
    assert!(place("healthy ready") < place("last up"), "{seen:?}");
    assert!(place("done finished") < place("last up"), "{seen:?}");
    env.ok(&["down"]);
    let seen = marks(&env);
    let place =
        |line: &str| seen.iter().position(|mark| mark == line).unwrap_or_else(|| panic!("no {line:?} in {seen:?}"));
    assert!(place("last down") < place("healthy down"), "{seen:?}");
    assert!(place("healthy down") < place("first down"), "{seen:?}");
    env.assert_nothing_left();
}

#[test]
fn what_does_not_wait_starts_at_once() {
    // Each of the two ends only when it sees the other: one after the other would never finish.
    let env = TestEnv::with(
        "together",
        r#"
x-box: &box
  image: "busybox:1.35"
  volumes: ["./marks:/marks"]
services:
  a: { <<: *box, command: "sh -c 'touch /marks/a; until [ -e /marks/b ]; do sleep 0.01; done'" }
  b: { <<: *box, command: "sh -c 'touch /marks/b; until [ -e /marks/a ]; do sleep 0.01; done'" }
  after: { <<: *box, command: sleep 1000, stop_signal: SIGKILL, depends_on: { a: { condition: service_completed_successfully }, b: { condition: service_completed_successfully } } }
"#,
    );
    env.ok(&["up", "--wait"]);
    assert_eq!(env.ps_field("after", "State"), "running");
    env.down();
}

#[test]
fn a_dependency_that_is_not_required_may_fail() {
    let env = TestEnv::with(
        "optional",
        r#"
services:
  box:
    image: "busybox:1.35"
    command: sleep 1000
    stop_signal: SIGKILL
    depends_on:
      broken: { condition: service_completed_successfully, required: false }
      absent: { condition: service_started, required: false }
  broken: { image: "busybox:1.35", command: "false" }
  absent: { image: "busybox:1.35", profiles: [never] }
"#,
    );
    env.ok(&["up", "-d"]);
    assert_eq!(env.ps_field("box", "State"), "running");
    env.down();
}

#[test]
fn the_stop_signal_and_the_grace_period_are_the_files() {
    let env = TestEnv::with(
        "signals",
        r#"
services:
  polite:
    image: "busybox:1.35"
    stop_signal: SIGUSR1
    volumes: ["./marks:/marks"]
    command: ["sh", "-c", "trap 'echo usr1 >> /marks/order; exit 0' USR1; trap 'echo term >> /marks/order' TERM; while :; do sleep 0.02; done"]
  deaf:
    image: "busybox:1.35"
    stop_grace_period: 300ms
    command: ["sh", "-c", "trap '' TERM; while :; do sleep 1000; done"]
"#,
    );
    env.ok(&["up", "-d"]);
    let begin = Instant::now();
    env.ok(&["down"]);
    let took = begin.elapsed();
    assert_eq!(marks(&env), ["usr1"]);
    assert!(took.as_millis() >= 300 && took.as_secs() < 5, "the deaf one had its grace period, and no more: {took:?}");
    env.assert_nothing_left();
}
