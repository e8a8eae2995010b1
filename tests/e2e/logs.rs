//! `logs`

use nix::sys::signal::Signal;

use crate::env::{PATIENCE, TestEnv};

#[test]
fn logs_have_prefixes_tails_and_times() {
    let env = TestEnv::with(
        "logs",
        r#"
services:
  web: { image: "busybox:1.35", command: "sh -c 'for i in 1 2 3; do echo line $$i; done; echo wrong >&2; printf unfinished'" }
  other: { image: "busybox:1.35", command: "echo other" }
"#,
    );
    env.ok(&["up", "-d"]);
    support::eventually("both have ended", PATIENCE, || {
        let states = (env.ps_field("web", "State"), env.ps_field("other", "State"));
        if states == ("exited".into(), "exited".into()) { Ok(()) } else { Err(format!("{states:?}")) }
    });
    let all = env.ok(&["logs"]).stdout;
    assert!(all.contains("web-1    | line 1\n") && all.contains("other-1  | other\n"), "{all}");
    assert_eq!(env.ok(&["logs", "--no-log-prefix", "web"]).stdout.matches("line").count(), 3);
    assert!(env.ok(&["logs", "web"]).stdout.contains("unfinished"), "a line without an end is a line too");
    assert_eq!(env.ok(&["logs", "--no-log-prefix", "other"]).stdout, "other\n");
    let tail = env.ok(&["logs", "--tail", "1", "other", "web"]).stdout;
    assert_eq!(tail.lines().count(), 2, "{tail}");
    assert_eq!(env.ok(&["logs", "-n", "0"]).stdout, "");
    let timed = env.ok(&["logs", "-t", "--no-log-prefix", "other"]).stdout;
    let time = timed.split(' ').next().unwrap_or_default();
    assert!(time.starts_with("20") && time.ends_with('Z') && time.contains('T'), "{timed}");
    assert!(env.fails(&["logs", "nobody"]).stderr.contains("nobody"));
    // One stream, as the peer has it; two where that is asked for.
    let joined = env.ok(&["logs", "--no-log-prefix", "web"]);
    assert_eq!((joined.stdout.matches("wrong\n").count(), joined.stderr.as_str()), (1, ""));
    let split = env.ok(&["logs", "--split-streams", "--no-log-prefix", "web"]);
    assert_eq!((split.stderr.as_str(), split.stdout.contains("wrong")), ("wrong\n", false));
    env.down();
}

#[test]
fn following_shows_what_comes_and_ends_with_ctrl_c() {
    let env = TestEnv::with(
        "follow",
        r#"
services:
  web: { image: "busybox:1.35", stop_signal: SIGKILL, command: "sh -c 'echo begun; until [ -e /go ]; do sleep 0.02; done; echo gone on; exec sleep 1000'" }
"#,
    );
    env.ok(&["up", "-d"]);
    let mut following = env.start(&["logs", "-f"]);
    following.wait_for("begun");
    env.sh("web", "touch /go");
    following.wait_for("gone on");
    following.signal(Signal::SIGINT);
    let code = following.finish(PATIENCE).code;
    assert!([0, 130].contains(&code), "{code}");
    assert_eq!(env.ps_field("web", "State"), "running");
    env.down();
}

#[test]
fn following_ends_when_the_last_container_does() {
    let env = TestEnv::with(
        "ending",
        r#"services: { web: { image: "busybox:1.35", command: "sh -c 'sleep 0.3; echo the end'" } }"#,
    );
    env.ok(&["up", "-d"]);
    let output = env.ok(&["logs", "-f", "--no-log-prefix"]);
    let lines: Vec<&str> = output.stdout.lines().filter(|line| !line.contains("exited with code")).collect();
    assert_eq!(lines, ["the end"]);
    env.down();
}

#[test]
fn a_flood_of_output_arrives_whole() {
    let env = TestEnv::with("flood", r#"services: { web: { image: "busybox:1.35", command: "sh -c 'seq 200000'" } }"#);
    env.ok(&["up", "-d"]);
    let output = env.ok(&["logs", "-f", "--no-log-prefix"]);
    let lines: Vec<&str> = output.stdout.lines().filter(|line| !line.contains("exited with code")).collect();
    assert_eq!(lines.len(), 200_000);
    assert_eq!(lines.last(), Some(&"200000"));
    env.down();
}

#[test]
fn logs_of_a_span_of_time_and_of_one_replica() {
    let env = TestEnv::with(
        "spans",
        r#"
services:
  web:
    x-windlass: { rootfs: host }
    stop_signal: SIGKILL
    scale: 2
    command: [sh, -c, "echo early; echo early >&2; until [ -e /go ]; do sleep 0.02; done; echo late; exec sleep 1000"]
"#,
    );
    env.ok(&["up", "-d"]);
    let lines = |arguments: &[&str]| -> Vec<String> {
        let output = env.ok(&[&["logs", "--no-log-prefix"], arguments].concat());
        output.stdout.lines().chain(output.stderr.lines()).map(str::to_owned).collect()
    };
    support::eventually("both have begun", PATIENCE, || {
        let lines = lines(&[]);
        if lines.len() == 4 { Ok(()) } else { Err(format!("{lines:?}")) }
    });
    let between = jiff::Timestamp::now().to_string();
    for index in ["1", "2"] {
        env.ok(&["exec", "-T", "--index", index, "web", "touch", "/go"]);
    }
    support::eventually("both have gone on", PATIENCE, || {
        let lines = lines(&[]);
        if lines.len() == 6 { Ok(()) } else { Err(format!("{lines:?}")) }
    });
    assert_eq!(lines(&["--since", &between]), ["late", "late"]);
    assert_eq!(lines(&["--until", &between]), ["early"; 4]);
    assert_eq!(lines(&["--until", &between, "--index", "2", "web"]), ["early"; 2]);
    assert_eq!(lines(&["-n", "1", "--index", "1", "web"]), ["late"]);
    assert_eq!(lines(&["--since", "1h"]).len(), 6);
    assert!(env.fails(&["logs", "--since", "yesterday"]).stderr.contains("--since"));
    let prefixed = env.ok(&["--ansi", "always", "logs", "--index", "1", "-n", "1", "web"]).stdout;
    assert!(prefixed.contains("web-1") && prefixed.contains('\x1b'), "{prefixed:?}");
    let plain = env.ok(&["--ansi", "always", "logs", "--no-color", "--index", "1", "-n", "1", "web"]).stdout;
    assert_eq!(plain, "web-1  | late\n");
    env.down();
}

#[test]
fn logs_are_rotated_by_size_and_kept_by_driver() {
    let env = TestEnv::with(
        "rotated",
        r#"
services:
  small: { x-windlass: { rootfs: host }, command: [sh, -c, "seq -w 1 5000"], logging: { driver: json-file, options: { max-size: 100k, max-file: "3" } } }
  local: { x-windlass: { rootfs: host }, command: echo local, logging: { driver: local } }
  none: { x-windlass: { rootfs: host }, command: [sh, -c, "seq 100000; exit 4"], logging: { driver: none } }
"#,
    );
    env.ok(&["up", "-d"]);
    support::eventually("all have ended", PATIENCE, || {
        let states = ["small", "local", "none"].map(|service| env.ps_field(service, "State"));
        if states.iter().all(|state| state == "exited") { Ok(()) } else { Err(format!("{states:?}")) }
    });
    // Whoever has no log is emptied all the same.
    assert_eq!(env.ps_field("none", "ExitCode"), "4");
    let logs = |service: &str| env.ok(&["logs", "--no-log-prefix", service]).stdout;
    assert_eq!(logs("local"), "local\n");
    assert_eq!(logs("none"), "");
    let kept = logs("small");
    let lines: Vec<&str> = kept.lines().collect();
    // The last ones, without a gap, and no more than three files hold.
    assert!(lines.len() > 1000 && lines.len() < 5000, "{}", lines.len());
    assert_eq!(lines.last(), Some(&"5000"));
    assert_eq!(lines[0].parse::<usize>().unwrap(), 5000 - lines.len() + 1);
    let id = env.ok(&["ps", "-aq", "small"]).stdout.trim().to_owned();
    let folder = env.home().join("data/projects/rotated/containers").join(id);
    let mut sizes: Vec<(String, u64)> = std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|file| (file.file_name().into_string().unwrap(), file.metadata().unwrap().len()))
        .filter(|(name, _)| name.starts_with("log.json"))
        .collect();
    sizes.sort();
    assert_eq!(
        sizes.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["log.json", "log.json.1", "log.json.2"]
    );
    assert!(sizes.iter().all(|(_, size)| *size < 101 * 1024), "{sizes:?}");
    // Each line has the time at which it was written.
    let time = env.ok(&["logs", "-t", "--no-log-prefix", "-n", "1", "small"]).stdout;
    assert!(time.split(' ').next().unwrap().parse::<jiff::Timestamp>().is_ok(), "{time}");
    env.file(
        "wrong.yaml",
        "services: { x: { x-windlass: { rootfs: host }, command: 'true', logging: { options: { max-size: lots } } } }",
    );
    let told = env.fails(&["-f", "wrong.yaml", "up", "-d"]).stderr;
    assert!(told.contains("`max-size` must be a size") && told.contains("wrong.yaml:1:"), "{told}");
    env.file(
        "wrong.yaml",
        "services: { x: { x-windlass: { rootfs: host }, command: 'true', logging: { driver: syslog } } }",
    );
    let told = env.fails(&["-f", "wrong.yaml", "up", "-d"]).stderr;
    assert!(told.contains("no logging driver `syslog`") && told.contains("wrong.yaml:1:"), "{told}");
    env.down();
}
