//! Health checks and `up --wait`.

use crate::env::{PATIENCE, TestEnv};

#[test]
fn health_checks_have_all_their_fields() {
    let env = TestEnv::with(
        "health",
        r#"
x-box: &box { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL }
services:
  shell: { <<: *box, healthcheck: { test: "test -e /bin/sh && echo fine", interval: 100ms } }
  words: { <<: *box, healthcheck: { test: ["CMD", "true"], interval: 100ms } }
  failing: { <<: *box, healthcheck: { test: ["CMD-SHELL", "echo no; exit 3"], interval: 50ms, retries: 2 } }
  slow: { <<: *box, healthcheck: { test: ["CMD", "sleep", "1000"], interval: 50ms, timeout: 100ms, retries: 2 } }
  late: { <<: *box, healthcheck: { test: ["CMD", "test", "-e", "/ready"], interval: 20s, start_period: 60s, start_interval: 50ms, retries: 1 } }
  off: { <<: *box, healthcheck: { disable: true } }
  none: { <<: *box, healthcheck: { test: ["NONE"] } }
"#,
    );
    env.ok(&["up", "-d"]);
    let becomes = |service: &str, health: &str| {
        support::eventually(&format!("{service} is {health}"), PATIENCE, || {
            let now = env.ps_field(service, "Health");
            if now == health { Ok(()) } else { Err(now) }
        });
    };
    becomes("shell", "healthy");
    becomes("words", "healthy");
    becomes("failing", "unhealthy");
    becomes("slow", "unhealthy");
    // Failures of the start period do not count, and its own interval is what makes this quick.
    assert_eq!(env.ps_field("late", "Health"), "starting");
    env.sh("late", "touch /ready");
    becomes("late", "healthy");
    for service in ["off", "none"] {
        assert_eq!(env.ps_field(service, "Health"), "");
    }
    assert!(env.ps_field("shell", "Status").contains("(healthy)"));
    env.down();
}

#[test]
fn wait_returns_when_everything_is_healthy() {
    let env = TestEnv::with(
        "waiting",
        r#"
services:
  web:
    image: "busybox:1.35"
    command: sh -c "sleep 0.3; touch /ready; exec sleep 1000"
    stop_signal: SIGKILL
    healthcheck: { test: ["CMD", "test", "-e", "/ready"], interval: 50ms, retries: 100 }
"#,
    );
    env.ok(&["up", "--wait"]);
    assert_eq!(env.ps_field("web", "Health"), "healthy");
    env.down();
}

#[test]
fn a_process_of_a_probe_that_timed_out_is_gone() {
    let env = TestEnv::with(
        "probe",
        r#"
services:
  box:
    image: "busybox:1.35"
    command: sleep 1000
    stop_signal: SIGKILL
    healthcheck: { test: ["CMD-SHELL", "sleep 77 & sleep 78"], interval: 50ms, timeout: 100ms, retries: 3 }
"#,
    );
    env.ok(&["up", "-d"]);
    support::eventually("it is unhealthy", PATIENCE, || {
        let now = env.ps_field("box", "Health");
        if now == "unhealthy" { Ok(()) } else { Err(now) }
    });
    let probes: usize = env.sh("box", "ps | grep -c '[s]leep 78' || true").parse().unwrap();
    assert!(probes <= 1, "{probes} probes at the same time");
    env.down();
}
