//! `up` in the foreground, and a second `up`.

use nix::sys::signal::Signal;

use crate::env::{PATIENCE, TestEnv};
use crate::terminal::Terminal;

const TALKING: &str = r#"
services:
  web:
    image: "busybox:1.35"
    volumes: ["./marks:/marks"]
    command: ["sh", "-c", "trap 'echo goodbye; echo x > /marks/term; exit 0' TERM; echo hello; while :; do sleep 0.02; done"]
"#;

#[test]
fn ctrl_c_stops_gracefully() {
    let env = TestEnv::with("ctrl-c", TALKING);
    let mut up = env.start(&["up"]);
    up.wait_for("web-1  | hello");
    up.signal(Signal::SIGINT);
    let output = up.finish(PATIENCE);
    assert!([0, 130].contains(&output.code), "{}", output.text());
    assert!(env.folder().join("marks/term").exists(), "it was asked to end, not killed");
    assert!(output.stdout.contains("goodbye"), "the last words are shown: {}", output.text());
    assert_eq!(env.ps_field("web", "State"), "exited", "the container is stopped, not removed");
    env.down();
}

#[test]
fn a_second_ctrl_c_does_not_wait() {
    let env = TestEnv::with(
        "twice",
        r#"
services:
  web:
    image: "busybox:1.35"
    stop_grace_period: 10m
    volumes: ["./marks:/marks"]
    command: ["sh", "-c", "trap 'touch /marks/asked' TERM; echo hello; while :; do sleep 0.02; done"]
"#,
    );
    let mut up = env.start(&["up"]);
    up.wait_for("hello");
    up.signal(Signal::SIGINT);
    support::eventually("it is asked to end", PATIENCE, || {
        if env.folder().join("marks/asked").exists() { Ok(()) } else { Err("not yet".into()) }
    });
    up.signal(Signal::SIGINT);
    up.finish(PATIENCE);
    support::eventually("it is stopped", PATIENCE, || {
        let state = env.ps_field("web", "State");
        if state == "exited" { Ok(()) } else { Err(state) }
    });
    env.down();
}

#[test]
fn a_killed_command_leaves_a_project_that_runs() {
    let env = TestEnv::with("killed", TALKING);
    let mut up = env.start(&["up"]);
    up.wait_for("hello");
    up.signal(Signal::SIGKILL);
    up.finish(PATIENCE);
    assert_eq!(env.ps_field("web", "State"), "running");
    assert_eq!(env.sh("web", "echo here"), "here");
    env.down();
}

#[test]
fn it_ends_when_everything_has_ended() {
    let env = TestEnv::with(
        "oneshot",
        r#"services: { a: { image: "busybox:1.35", command: echo one }, b: { image: "busybox:1.35", command: sh -c "echo two >&2; exit 5" } }"#,
    );
    let output = env.run(&["up"]);
    assert_eq!(output.code, 0, "{}", output.text());
    assert!(output.stdout.contains("a-1  | one"), "{}", output.text());
    assert!(output.text().contains("b-1  | two"), "{}", output.text());
    assert!(output.text().contains("b-1 exited with code 5"), "{}", output.text());
    env.down();
}

#[test]
fn prefixes_are_coloured_on_a_terminal() {
    let env = TestEnv::with("colours", TALKING);
    let mut terminal = Terminal::start(&env, &["up"]);
    terminal.wait_for("hello");
    let screen = terminal.screen();
    let line = screen.lines().find(|line| line.contains("hello")).unwrap_or_default();
    assert!(line.contains("\x1b["), "{line:?}");
    terminal.type_text("\x03");
    terminal.finish();
    assert_eq!(env.ps_field("web", "State"), "exited");
    env.down();
}

#[test]
fn a_second_up_changes_only_what_changed() {
    let env = TestEnv::with(
        "again",
        r#"
services:
  same: { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL }
  other: { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL }
"#,
    );
    env.ok(&["up", "-d"]);
    let before = (env.ps_field("same", "ID"), env.ps_field("other", "ID"));
    env.ok(&["up", "-d"]);
    assert_eq!((env.ps_field("same", "ID"), env.ps_field("other", "ID")), before);
    let text = std::fs::read_to_string(env.folder().join("compose.yaml")).unwrap();
    env.file("compose.yaml", &text.replace("other: { image", "other: { environment: { NEW: '1' }, image"));
    env.ok(&["up", "-d"]);
    assert_eq!(env.ps_field("same", "ID"), before.0);
    assert_ne!(env.ps_field("other", "ID"), before.1);
    assert_eq!(env.sh("other", "echo $NEW"), "1");
    env.down();
}

#[test]
fn timings_and_traces_are_shown_on_request() {
    let env = TestEnv::with("timings", TALKING);
    let output = env.ok(&["--timings", "up", "-d"]);
    assert!(output.stderr.contains("ms"), "{}", output.text());
    let output = env.ok(&["-v", "down"]);
    assert!(!output.stderr.is_empty());
    env.assert_nothing_left();
}

#[test]
fn only_what_is_named_is_started_with_what_it_needs() {
    let env = TestEnv::with(
        "named-services",
        r#"
x-box: &box { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL }
services:
  web: { <<: *box, depends_on: [db] }
  db: *box
  other: *box
  optional: { <<: *box, profiles: [extra] }
"#,
    );
    env.ok(&["up", "-d", "web"]);
    assert_eq!(env.ok(&["ps", "-a", "--services"]).stdout, "db\nweb\n");
    env.ok(&["up", "-d"]);
    assert_eq!(env.ok(&["ps", "-a", "--services"]).stdout, "db\nother\nweb\n");
    env.ok(&["--profile", "extra", "up", "-d"]);
    assert_eq!(env.ps().len(), 4);
    env.down();
}

#[test]
fn ctrl_c_during_the_start_waits_for_nobody_else() {
    let env = TestEnv::with(
        "early-ctrl-c",
        r#"
services:
  first:
    x-windlass: { rootfs: host }
    command: sleep 1000
    stop_signal: SIGKILL
    post_start: [{ command: ["sh", "-c", "touch /marks/begun; while ! test -e /marks/go; do sleep 0.02; done"] }]
    volumes: ["./marks:/marks"]
  second: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL, depends_on: [first] }
"#,
    );
    let mut up = env.start(&["up"]);
    support::eventually("the hook runs", PATIENCE, || {
        if env.folder().join("marks/begun").exists() { Ok(()) } else { Err("not yet".to_owned()) }
    });
    up.signal(Signal::SIGINT);
    support::eventually("it says what it does", PATIENCE, || {
        let said = up.stderr();
        if said.contains("Gracefully stopping") { Ok(()) } else { Err(said) }
    });
    env.file("marks/go", "");
    let output = up.finish(PATIENCE);
    assert_eq!(output.code, 130, "{}", output.text());
    assert!(!output.stderr.contains("waiting for another"), "{}", output.text());
    assert_eq!(env.ps_field("first", "State"), "exited");
    assert_ne!(env.ps_field("second", "State"), "running");
    env.down();
}

#[test]
fn what_hooks_write_is_shown_among_the_lines() {
    let env = TestEnv::with(
        "hook-lines",
        r#"
services:
  box:
    image: "busybox:1.35"
    command: ["sh", "-c", "echo here; exec sleep 1000"]
    stop_signal: SIGKILL
    post_start: [{ command: ["sh", "-c", "echo after; echo start >&2"] }]
    pre_stop: [{ command: echo before stop }]
"#,
    );
    let mut up = env.start(&["up"]);
    up.wait_for("box-1 ->  | after\nbox-1 ->  | start\n");
    up.wait_for("here");
    up.signal(Signal::SIGINT);
    let output = up.finish(PATIENCE);
    assert!(output.stdout.contains("box-1 ->  | before stop\n"), "{}", output.text());
    assert!(!env.ok(&["up", "-d"]).text().contains("after"), "nobody is attached");
    env.down();
}
