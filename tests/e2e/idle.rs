//! Supervisor and keeper end when nothing runs any more; whoever follows a project goes on over that.

use nix::sys::signal::Signal;

use crate::env::{PATIENCE, TestEnv};
use crate::watch::Watch;

/// A service that ends at once, whatever its program is changed to.
fn broken(name: &str) -> TestEnv {
    let env = TestEnv::with(
        name,
        r#"
services:
  app:
    x-windlass: { rootfs: host }
    command: sh /app/main.sh
    stop_signal: SIGKILL
    develop: { watch: [{ path: ./src, action: sync+restart, target: /app, initial_sync: true }] }
"#,
    );
    env.file("src/main.sh", "echo broken; exit 3");
    env
}

/// Waits until nobody keeps the project.
fn ends(env: &TestEnv) {
    let folder = env.home().join("run/projects").join(env.name());
    support::eventually("keeper and supervisor have ended", PATIENCE, || {
        if folder.exists() { Err(format!("{} is there", folder.display())) } else { Ok(()) }
    });
    assert_eq!(env.ps_field("app", "State"), "exited");
}

#[test]
fn a_watch_goes_on_over_the_end_of_supervisor_and_keeper() {
    let env = broken("idle-watch");
    let mut watch = Watch::start(&env, &[]);
    support::eventually("the first copy is done", PATIENCE, || {
        let events = watch.events();
        if events.iter().any(|event| event["initial"] == true) { Ok(()) } else { Err(format!("{events:#?}")) }
    });
    for round in 0..2 {
        ends(&env);
        env.file("src/main.sh", &format!("echo mended {round}; exit 3"));
        assert_eq!(watch.applied("main.sh")["copied"], 1);
        support::eventually("it has run", PATIENCE, || {
            let lines = env.ok(&["logs", "--no-log-prefix", "app"]).stdout;
            if lines.contains(&format!("mended {round}")) { Ok(()) } else { Err(lines) }
        });
    }
    watch.end();
    env.down();
}

#[test]
fn a_foreground_up_goes_on_over_the_end_of_supervisor_and_keeper() {
    let env = broken("idle-up");
    let mut up = env.start(&["up", "--watch"]);
    up.wait_for("Watch enabled: app");
    up.wait_for("app-1 exited with code 3");
    for round in 0..2 {
        ends(&env);
        env.file("src/main.sh", &format!("echo mended {round}; exit {}", 10 + round));
        up.wait_for(&format!("app-1  | mended {round}"));
        up.wait_for(&format!("app-1 exited with code {}", 10 + round));
    }
    up.signal(Signal::SIGINT);
    let output = up.finish(PATIENCE);
    assert_eq!(output.code, 130, "{}", output.text());
    env.down();
}
