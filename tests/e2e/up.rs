//! `create`, `scale`, and the flags of `up`.

use nix::sys::signal::Signal;

use crate::env::{PATIENCE, TestEnv};

const BOXES: &str = r#"
x-box: &box { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL }
services:
  web: { <<: *box, depends_on: [db] }
  db: *box
"#;

fn count(env: &TestEnv, service: &str) -> usize {
    env.ps().iter().filter(|row| row["Service"] == service).count()
}

#[test]
fn create_makes_and_start_starts() {
    let env = TestEnv::with("create", BOXES);
    let output = env.ok(&["create", "--scale", "db=2"]);
    assert!(output.stderr.contains("Container create-web-1  Created"), "{}", output.text());
    assert_eq!(env.ps().iter().filter(|row| row["State"] == "created").count(), 3);
    let before = env.ps_field("web", "ID");
    env.ok(&["create"]);
    assert_eq!(env.ps_field("web", "ID"), before);
    assert_eq!(count(&env, "db"), 1, "as the file has it");
    env.ok(&["create", "--force-recreate", "web"]);
    assert_ne!(env.ps_field("web", "ID"), before);
    env.ok(&["start"]);
    assert_eq!(env.ps().iter().filter(|row| row["State"] == "running").count(), 2);
    assert_eq!(env.run(&["create", "--force-recreate", "--no-recreate"]).code, 2);
    env.down();
}

#[test]
fn scale_changes_how_many_there_are() {
    let env = TestEnv::with("scaling", BOXES);
    env.ok(&["scale", "web=3"]);
    assert_eq!((count(&env, "web"), count(&env, "db")), (3, 1));
    env.ok(&["scale", "--no-deps", "web=1", "db=2"]);
    assert_eq!((count(&env, "web"), count(&env, "db")), (1, 2));
    assert_eq!(env.ps_field("web", "Name"), "scaling-web-1", "the highest numbers go first");
    env.ok(&["up", "-d", "--scale", "web=2", "--scale", "db=0"]);
    assert_eq!((count(&env, "web"), count(&env, "db")), (2, 0));
    assert!(env.fails(&["scale", "nope=1"]).stderr.contains("no such service: nope"));
    assert_eq!(env.run(&["scale", "web"]).code, 2);
    env.down();
}

/// Ends with `code` once `marks/NAME` is there.
fn ending(name: &str, code: i32) -> String {
    format!(
        "{name}: {{ x-windlass: {{ rootfs: host }}, volumes: ['./marks:/marks'], command: [sh, -c, \"trap 'exit 11' TERM; \
         echo {name} talks; while ! test -e /marks/{name}; do sleep 0.02; done; exit {code}\"] }}"
    )
}

#[test]
fn the_end_of_one_can_end_all() {
    let env = TestEnv::new("aborting");
    let file = format!("services:\n  good: {}\n  bad: {}\n", &ending("good", 0)[6..], &ending("bad", 5)[5..]);
    env.file("compose.yaml", &file);
    for (flags, trigger, code) in [
        (&["--abort-on-container-exit"][..], "good", 0),
        (&["--abort-on-container-exit"], "bad", 5),
        (&["--abort-on-container-failure"], "bad", 5),
        (&["--exit-code-from", "bad"], "bad", 5),
        (&["--exit-code-from", "bad"], "good", 11),
    ] {
        let _ = std::fs::remove_dir_all(env.folder().join("marks"));
        std::fs::create_dir(env.folder().join("marks")).unwrap();
        let mut up = env.start(&[&["up"], flags].concat());
        up.wait_for("good-1  | good talks");
        up.wait_for("bad-1   | bad talks");
        env.file(&format!("marks/{trigger}"), "");
        let output = up.finish(PATIENCE);
        assert_eq!(output.code, code, "{flags:?} {trigger}: {}", output.text());
        assert!(output.stderr.contains("Aborting on container exit..."), "{}", output.text());
        assert!(env.ps().iter().all(|row| row["State"] == "exited"), "{:?}", env.ps());
    }
    // Success is no failure.
    let _ = std::fs::remove_dir_all(env.folder().join("marks"));
    std::fs::create_dir(env.folder().join("marks")).unwrap();
    let mut up = env.start(&["up", "--abort-on-container-failure"]);
    up.wait_for("bad talks");
    env.file("marks/good", "");
    up.wait_for("good-1 exited with code 0");
    env.file("marks/bad", "");
    assert_eq!(up.finish(PATIENCE).code, 5);
    for flag in ["--abort-on-container-exit", "--abort-on-container-failure", "--attach-dependencies"] {
        assert_eq!(env.run(&["up", "-d", flag]).code, 2, "{flag}");
        assert_eq!(env.run(&["up", "--wait", flag]).code, 2, "{flag}");
    }
    assert!(env.fails(&["up", "--exit-code-from", "nope"]).stderr.contains("no such service: nope"));
    env.down();
}

#[test]
fn what_is_attached_is_what_is_asked_for() {
    let env = TestEnv::with(
        "attaching",
        r#"
x-talk: &talk { x-windlass: { rootfs: host }, command: echo talking }
services:
  web: { <<: *talk, depends_on: [db] }
  db: *talk
  quiet: { <<: *talk, attach: false }
"#,
    );
    for (arguments, shown, hidden) in [
        (&["up"][..], &["web", "db"][..], &["quiet"][..]),
        (&["up", "web"], &["web"], &["db", "quiet"]),
        (&["up", "--attach-dependencies", "web"], &["web", "db"], &["quiet"]),
        (&["up", "--attach", "quiet"], &["quiet"], &["web", "db"]),
        (&["up", "--no-attach", "db"], &["web"], &["db", "quiet"]),
    ] {
        let output = env.ok(&[arguments, &["--force-recreate"]].concat());
        for service in shown {
            assert!(output.stdout.contains(&format!("{service}-1 ")), "{arguments:?} {service}: {}", output.text());
            assert!(output.stdout.contains(&format!("{service}-1 exited with code 0")), "{}", output.text());
        }
        for service in hidden {
            assert!(!output.stdout.contains(&format!("{service}-1 ")), "{arguments:?} {service}: {}", output.text());
        }
    }
    assert!(env.fails(&["up", "--attach", "nope"]).stderr.contains("no such service: nope"));
    let output = env.ok(&["up", "--force-recreate", "--no-log-prefix", "--timestamps", "db"]);
    let line = output.stdout.lines().find(|line| line.ends_with("talking")).unwrap_or_default();
    assert!(line.starts_with("20") && line.contains('T'), "{}", output.text());
    env.down();
}

#[test]
fn a_second_up_attaches() {
    let env = TestEnv::with(
        "second",
        r#"services: { web: { x-windlass: { rootfs: host }, stop_signal: SIGKILL, command: ["sh", "-c", "n=0; while :; do echo line $$n; n=$$((n+1)); sleep 0.05; done"] } }"#,
    );
    let mut first = env.start(&["up"]);
    first.wait_for("line 0");
    let before = env.ps_field("web", "ID");
    let mut second = env.start(&["up"]);
    second.wait_for("web-1  | line");
    assert_eq!(env.ps_field("web", "ID"), before);
    second.signal(Signal::SIGINT);
    assert_eq!(second.finish(PATIENCE).code, 130);
    assert_eq!(first.finish(PATIENCE).code, 0, "its container has ended");
    assert_eq!(env.ps_field("web", "State"), "exited");
    env.down();
}

#[test]
fn ctrl_c_while_dependencies_are_waited_for_starts_nothing_more() {
    let env = TestEnv::with(
        "impatient",
        r#"
services:
  web: { x-windlass: { rootfs: host }, command: sleep 1000, depends_on: { db: { condition: service_healthy } } }
  db:
    x-windlass: { rootfs: host }
    command: sleep 1000
    stop_signal: SIGKILL
    healthcheck: { test: ["CMD", "false"], interval: 10s, retries: 1000 }
"#,
    );
    let up = env.start(&["up"]);
    support::eventually("db runs", PATIENCE, || {
        let rows = env.ps();
        let runs = rows.iter().any(|row| row["Service"] == "db" && row["State"] == "running");
        if runs { Ok(()) } else { Err(format!("{rows:?}")) }
    });
    up.signal(Signal::SIGINT);
    assert_eq!(up.finish(PATIENCE).code, 130);
    assert_eq!(env.ps_field("db", "State"), "exited");
    assert_eq!(env.ps_field("web", "State"), "created");
    env.down();
}
