//! `stats`, `events`, `attach`: what goes on now.

use std::io::Write;
use std::process::Stdio;

use nix::sys::signal::Signal;

use crate::env::{PATIENCE, Running, TestEnv};
use crate::terminal::Terminal;

#[test]
fn stats_are_the_kernels_counters() {
    let env = TestEnv::with(
        "figures",
        r#"
services:
  busy: { x-windlass: { rootfs: host }, stop_signal: SIGKILL, mem_limit: 64m, command: [sh, -c, "while :; do :; done"] }
  idle: { x-windlass: { rootfs: host }, stop_signal: SIGKILL, command: [sh, -c, "sleep 1000 & exec sleep 1000"] }
  once: { x-windlass: { rootfs: host }, command: "true" }
"#,
    );
    env.ok(&["up", "-d"]);
    let table = env.ok(&["stats", "--no-stream"]).stdout;
    assert!(table.starts_with("CONTAINER ID") && table.contains("MEM USAGE / LIMIT"), "{table}");
    assert_eq!(table.lines().count(), 3, "{table}");
    let busy: serde_json::Value =
        serde_json::from_str(&env.ok(&["stats", "--no-stream", "--format", "json", "busy"]).stdout).unwrap();
    let number = |key: &str| busy[key].as_str().unwrap().trim_end_matches('%').parse::<f64>().unwrap();
    // Other tests want the processors, too.
    assert!(number("CPUPerc") > 2.0 && number("CPUPerc") < 150.0, "{busy}");
    assert!(busy["MemUsage"].as_str().unwrap().ends_with("/ 64MiB") && number("MemPerc") > 0.0, "{busy}");
    let of = |format: &str, service: &str| env.ok(&["stats", "--no-stream", "--format", format, service]).stdout;
    support::eventually("both processes of idle are counted", PATIENCE, || {
        let text = of("{{.PIDs}} {{.Name}}", "idle");
        if text == "2 figures-idle-1\n" { Ok(()) } else { Err(text) }
    });
    let all = env.ok(&["stats", "--no-stream", "-a", "--no-trunc", "--format", "{{.Name}} {{.ID}}"]).stdout;
    assert_eq!(all.lines().count(), 3, "{all}");
    assert!(all.lines().all(|line| line.split(' ').nth(1).is_some_and(|id| id.len() == 64)), "{all}");
    assert!(env.fails(&["stats", "nobody"]).stderr.contains("no such service"));
    let mut streaming = env.start(&["stats", "--format", "{{.Name}}", "idle"]);
    streaming.wait_for("figures-idle-1\nfigures-idle-1\n");
    streaming.signal(Signal::SIGINT);
    assert_eq!(streaming.finish(PATIENCE).code, 130);
    env.down();
}

#[test]
fn events_are_told_as_they_happen_and_afterwards() {
    let env = TestEnv::with(
        "happening",
        r#"
services:
  web:
    x-windlass: { rootfs: host }
    command: [sh, -c, "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"]
    labels: { tier: front }
    healthcheck: { test: "true", interval: 1s }
  other: { x-windlass: { rootfs: host }, stop_signal: SIGKILL, command: sleep 1000 }
"#,
    );
    // Before there is anything.
    let mut live = env.start(&["events", "--json"]);
    let mut web = env.start(&["events", "web"]);
    support::eventually("both listen", PATIENCE, || {
        let watches = |running: &Running| {
            let folder = format!("/proc/{}/fdinfo", running.pid());
            let files = std::fs::read_dir(folder).map_err(|error| error.to_string())?;
            let texts = files.flatten().filter_map(|file| std::fs::read_to_string(file.path()).ok());
            if texts.into_iter().any(|text| text.contains("inotify wd")) { Ok(()) } else { Err("no watch".to_owned()) }
        };
        watches(&live).and_then(|()| watches(&web))
    });
    env.ok(&["up", "-d", "--wait"]);
    env.ok(&["pause", "web"]);
    env.ok(&["unpause", "web"]);
    support::eventually("web handles signals", PATIENCE, || {
        if env.ok(&["logs", "web"]).stdout.contains("ready") { Ok(()) } else { Err("no line".to_owned()) }
    });
    env.ok(&["stop", "web"]);
    let between = jiff::Timestamp::now().to_string();
    let past = env.ok(&["events", "--json", "--since", "1h", "--until", &between, "web"]).stdout;
    let actions = |text: &str, service: &str| -> Vec<String> {
        let events = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let of = events.filter(|event| event["service"] == service);
        of.map(|event| event["action"].as_str().unwrap().to_owned()).collect()
    };
    let expected =
        ["create", "start", "health_status: healthy", "pause", "unpause", "kill", "die", "stop"].map(str::to_owned);
    assert_eq!(actions(&past, "web"), expected);
    let die: serde_json::Value = serde_json::from_str(past.lines().find(|line| line.contains("die")).unwrap()).unwrap();
    assert_eq!(die["attributes"]["exitCode"], "5", "{die}");
    assert_eq!((&die["attributes"]["tier"], &die["attributes"]["name"]), (&"front".into(), &"happening-web-1".into()));
    assert_eq!((&die["type"], die["id"].as_str().unwrap().len()), (&"container".into(), 64));
    assert_eq!(env.ok(&["events", "--since", &between, "--until", &between]).stdout, "");
    env.ok(&["down", "-t", "1"]);
    support::eventually("the end is told, too", PATIENCE, || {
        let text = live.stdout();
        let ends = [actions(&text, "web"), actions(&text, "other")].map(|actions| actions.last().cloned());
        if ends == [Some("destroy".to_owned()), Some("destroy".to_owned())] { Ok(()) } else { Err(text) }
    });
    // And what comes after.
    env.ok(&["up", "-d", "other"]);
    support::eventually("a new beginning is seen", PATIENCE, || {
        let text = live.stdout();
        if actions(&text, "other").last().is_some_and(|action| action == "start") { Ok(()) } else { Err(text) }
    });
    web.wait_for("container destroy");
    let text = web.stdout();
    assert!(text.contains("name=happening-web-1") && !text.contains("happening-other-1"), "{text}");
    for running in [live, web] {
        running.signal(Signal::SIGINT);
        assert_eq!(running.finish(PATIENCE).code, 130);
    }
    env.down();
}

#[test]
fn attach_is_the_containers_input_and_output() {
    let env = TestEnv::with(
        "attached",
        r#"
services:
  cat: { x-windlass: { rootfs: host }, stdin_open: true, command: [sh, -c, "echo before; trap 'echo caught; exit 7' INT; while :; do read line && echo \"got $$line\"; done"] }
"#,
    );
    assert!(env.fails(&["attach", "cat"]).stderr.contains("service \"cat\" is not running"));
    env.ok(&["up", "-d"]);
    let mut command = env.command(&["attach", "cat"]);
    command.stdin(Stdio::piped());
    let mut input = None;
    let mut attached = Running::start_with(command, "attach".into(), |child| input = child.stdin.take());
    attached.wait_for("before");
    let mut input = input.unwrap();
    writeln!(input, "hello").unwrap();
    attached.wait_for("got hello");
    // A further one that says nothing, and leaves alone.
    let silent = env.command(&["attach", "--no-stdin", "--sig-proxy=false", "cat"]);
    let mut silent = Running::start(silent, "attach --no-stdin".into());
    silent.wait_for("got hello");
    silent.signal(Signal::SIGINT);
    assert_eq!(silent.finish(PATIENCE).code, 130);
    assert_eq!(env.ps_field("cat", "State"), "running");
    attached.signal(Signal::SIGINT);
    // A shell handles it when its read returns.
    let _ = writeln!(input, "again");
    let output = attached.finish(PATIENCE);
    assert_eq!(output.code, 7, "{}", output.text());
    assert!(output.stdout.contains("caught"), "{}", output.text());
    env.down();
}

#[test]
fn attach_on_a_terminal_is_left_with_keys() {
    let env = TestEnv::with(
        "shell",
        r#"services: { sh: { x-windlass: { rootfs: host }, stop_signal: SIGKILL, tty: true, stdin_open: true, command: sh } }"#,
    );
    env.ok(&["up", "-d"]);
    let mut terminal = Terminal::start(&env, &["attach", "sh"]);
    terminal.type_text("stty size; echo a$((1+1))b\n");
    terminal.wait_for("a2b");
    terminal.wait_for("30 100");
    terminal.type_text("\x10\x11");
    assert_eq!(terminal.finish(), 0);
    assert_eq!(env.ps_field("sh", "State"), "running");
    let mut terminal = Terminal::start(&env, &["attach", "--detach-keys", "ctrl-x,x", "sh"]);
    terminal.wait_for("a2b");
    terminal.type_text("\x18x");
    assert_eq!(terminal.finish(), 0);
    let mut terminal = Terminal::start(&env, &["attach", "sh"]);
    terminal.type_text("exit 3\n");
    assert_eq!(terminal.finish(), 3);
    assert!(env.fails(&["attach", "--detach-keys", "ctrl-1", "sh"]).stderr.contains("detach"));
    env.down();
}

#[test]
fn who_follows_a_project_sees_its_end_and_its_next_beginning() {
    let env = TestEnv::with(
        "rests",
        r#"services: { web: { image: "busybox:1.35", command: "sh -c 'echo begun; exec sleep 1000'", stop_signal: SIGKILL } }"#,
    );
    env.ok(&["up", "-d"]);
    let mut events = env.start(&["events", "--since", "1h"]);
    events.wait_for("container start");
    let turns: [(&[&str], &[&str]); 3] =
        [(&["stop"], &["start"]), (&["kill"], &["up", "-d"]), (&["down"], &["up", "-d"])];
    for (before, (ends, begins)) in turns.into_iter().enumerate() {
        let mut logs = env.start(&["logs", "-f"]);
        logs.wait_for("begun");
        env.ok(ends);
        // As with the peer: nothing comes any more.
        let output = logs.finish(PATIENCE);
        assert_eq!(output.code, 0, "{ends:?}: {}", output.text());
        let run = env.home().join("run/projects").join(env.name());
        support::eventually("keeper and supervisor have ended", PATIENCE, || {
            if run.exists() { Err(format!("{} is there", run.display())) } else { Ok(()) }
        });
        env.ok(begins);
        support::eventually(&format!("events after {ends:?} and {begins:?}"), PATIENCE, || {
            let text = events.stdout();
            let starts = text.lines().filter(|line| line.contains(" container start ")).count();
            if starts == before + 2 { Ok(()) } else { Err(text) }
        });
    }
    let text = events.stdout();
    for what in ["container stop", "container kill", "container die", "container destroy"] {
        assert!(text.contains(what), "{what}: {text}");
    }
    events.signal(Signal::SIGINT);
    assert_eq!(events.finish(PATIENCE).code, 130);
    env.down();
}
