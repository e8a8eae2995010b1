//! Processes of ours that are killed before and after each change that they make: the same command again finishes the
//! work, and `down` leaves nothing. Needs the feature `fault-points`.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::env::{Output, PATIENCE, Running, TestEnv};

const STACK: &str = r#"
services:
  web:
    x-windlass: { rootfs: host }
    command: sleep 1000
    stop_signal: SIGKILL
    ports: ["80"]
    volumes: ["data:/data", "/anonymous"]
    configs: [settings]
    depends_on: [db]
  db:
    x-windlass: { rootfs: host, install: { command: touch /opt/packages/whole, lock: compose.yaml, target: /opt/packages } }
    command: sleep 1000
    stop_signal: SIGKILL
    tty: true
volumes: { data: }
configs: { settings: { content: x } }
"#;

const UP: &[&str] = &["up", "-d"];
const DOWN: &[&str] = &["down", "-v", "-t", "1"];
/// The same in every home: it is part of the names of some points.
const NAME: &str = "faulty";
/// Projects at the same time.
const WORKERS: usize = 4;

/// A kill: during `up` or `down`, at the line of a recording, of the one process or of all of ours.
#[derive(Debug, Clone)]
struct Case {
    command: &'static [&'static str],
    line: String,
    all: bool,
    /// It is reached in a home that has nothing yet.
    fresh: bool,
}

/// Runs a command with an order for the points.
fn run(env: &TestEnv, arguments: &[&str], order: &str) -> Output {
    let mut command = env.command(arguments);
    command.env("WINDLASS_FAULT_POINTS", order);
    Running::start(command, format!("windlass {} with {order}", arguments.join(" "))).finish(PATIENCE)
}

/// The first and the last time that each point is reached, by each process, while a command runs.
fn record(env: &TestEnv, arguments: &[&str]) -> Vec<String> {
    let file = env.folder().join("points");
    let earlier = fs::read_to_string(&file).unwrap_or_default().lines().count();
    let output = run(env, arguments, &format!("record {}", file.display()));
    assert_eq!(output.code, 0, "{}", output.text());
    let mut reached: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    let mut order = Vec::new();
    for line in fs::read_to_string(&file).unwrap().lines().skip(earlier) {
        let (point, count) = line.rsplit_once(' ').unwrap();
        let count = count.parse().unwrap();
        let entry = reached.entry(point.to_owned()).or_insert_with(|| {
            order.push(point.to_owned());
            (count, count)
        });
        entry.1 = entry.1.max(count);
    }
    let lines = order.into_iter().flat_map(|point| {
        let (first, last) = reached[&point];
        let again = (last > first).then(|| format!("{point} {last}"));
        [Some(format!("{point} {first}")), again].into_iter().flatten().collect::<Vec<_>>()
    });
    lines.collect()
}

fn cases() -> Vec<Case> {
    let env = TestEnv::with(NAME, STACK);
    let first = record(&env, UP);
    record(&env, DOWN);
    let up = record(&env, UP);
    let down = record(&env, DOWN);
    assert!(up.len() > 60 && down.len() > 15, "too few points: {up:#?} {down:#?}");
    let fresh = first.into_iter().filter(|line| !up.contains(line)).map(|line| (UP, line, true));
    let known =
        up.iter().map(|line| (UP, line.clone(), false)).chain(down.iter().map(|line| (DOWN, line.clone(), false)));
    let mut cases = Vec::new();
    for (command, line, fresh) in known.chain(fresh) {
        // From a pid namespace of its own nobody else can be reached; and a command has no relatives at first.
        let alls =
            if line.starts_with("clone ") || line.starts_with("command ") { &[false][..] } else { &[false, true] };
        cases.extend(alls.iter().map(|&all| Case { command, line: line.clone(), all, fresh }));
    }
    cases
}

/// `false`: the point was not reached.
fn try_case(env: &TestEnv, case: &Case) -> bool {
    let mark = env.folder().join("mark");
    let _ = fs::remove_file(&mark);
    let order = format!("{} {} {}", if case.all { "kill-all" } else { "kill" }, mark.display(), case.line);
    if case.command == DOWN {
        // What serves the command was started by this one, and counts from then on.
        let raised = if case.line.starts_with("command ") { env.run(UP) } else { run(env, UP, &order) };
        // How often a lock is taken differs from run to run where things go on at once: a point of `down` may come up in
        // this one already, and then the same `up` again has to finish.
        let raised = if mark.exists() { env.run(UP) } else { raised };
        assert_eq!(raised.code, 0, "{}", raised.text());
    }
    let killed = run(env, case.command, &order);
    let reached = mark.exists();
    if case.command == UP {
        let again = env.run(UP);
        assert_eq!(again.code, 0, "the second up failed:\n{}\nthe first:\n{}", again.text(), killed.text());
        let rows = env.ps();
        let running = rows.iter().filter(|row| row["State"] == "running").count();
        assert_eq!((rows.len(), running), (2, 2), "{rows:?}");
        let port = env.ok(&["port", "web", "80"]).stdout.trim().rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
        TcpStream::connect(("127.0.0.1", port)).expect("the published port answers");
        assert_eq!(env.sh("db", "ls /opt/packages"), "whole");
    }
    env.ok(DOWN);
    env.assert_nothing_left();
    reached
}

#[test]
fn whatever_is_killed_the_same_command_finishes_and_down_leaves_nothing() {
    let only = std::env::var("FAULT").ok();
    let cases: Vec<Case> =
        cases().into_iter().filter(|case| only.as_ref().is_none_or(|only| case.line.contains(only))).collect();
    let (next, unreached) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            let (cases, next, unreached, failures) = (&cases, &next, &unreached, &failures);
            scope.spawn(move || {
                let mut env = TestEnv::with(NAME, STACK);
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if case.fresh {
                        drop(std::mem::replace(&mut env, TestEnv::with(NAME, STACK)));
                    }
                    match catch_unwind(AssertUnwindSafe(|| try_case(&env, case))) {
                        Ok(true) => {}
                        Ok(false) => {
                            eprintln!("not reached: {case:?}");
                            unreached.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(panic) => {
                            let text = panic.downcast_ref::<String>().map_or("", String::as_str);
                            eprintln!("FAILED {case:?}: {text}");
                            failures.lock().unwrap().push(format!("{case:?}: {text}"));
                            let old = std::mem::replace(&mut env, TestEnv::with(NAME, STACK));
                            let _ = catch_unwind(AssertUnwindSafe(|| drop(old)));
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let (count, unreached) = (cases.len(), unreached.into_inner());
    println!("{count} kills, {unreached} of them at points that were not reached again");
    assert!(failures.is_empty(), "{} of {count} kills:\n{}", failures.len(), failures.join("\n"));
    // Threads meet in another order from time to time, no more.
    assert!(only.is_some() || unreached * 10 < count, "{unreached} of {count} points were not reached again");
}

#[test]
fn a_new_version_takes_over_what_an_old_one_runs() {
    let file = "services:\n  web:\n    x-windlass: { rootfs: host }\n    command: sh -c 'i=0; while :; do i=$$((i+1)); echo $$i; sleep 0.02; done'\n    stop_signal: SIGKILL\n    ports: [\"80\"]\n";
    let mut env = TestEnv::with("take-over", file);
    env.set("WINDLASS_PROTOCOL", "0");
    env.ok(&["up", "-d"]);
    let pid = crate::lifecycle::running_pid_of(&env, "web");
    let port = env.ok(&["port", "web", "80"]).stdout;
    env.set("WINDLASS_PROTOCOL", "1");
    assert_eq!(env.sh("web", "echo inside"), "inside");
    assert_eq!(crate::lifecycle::running_pid_of(&env, "web"), pid, "the container went on");
    assert_eq!(env.ok(&["port", "web", "80"]).stdout, port);
    // An old command does not take it back.
    env.set("WINDLASS_PROTOCOL", "0");
    assert!(env.fails(&["exec", "web", "true"]).stderr.contains("use that version"));
    env.set("WINDLASS_PROTOCOL", "1");
    let lines = || env.ok(&["logs", "--no-log-prefix", "web"]).stdout.lines().count();
    let before = lines();
    support::eventually("lines go on", PATIENCE, || {
        if lines() > before + 10 { Ok(()) } else { Err(format!("{before} lines")) }
    });
    let printed = env.ok(&["logs", "--no-log-prefix", "web"]).stdout;
    let numbers: Vec<usize> = printed.lines().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.iter().enumerate().all(|(index, number)| *number == index + 1), "a line is lost: {numbers:?}");
    env.down();
}

#[test]
fn a_new_version_takes_over_terminals() {
    let mut stack = crate::survival::Terminals::up("take-over-tty", |env| env.set("WINDLASS_PROTOCOL", "0"));
    stack.env.set("WINDLASS_PROTOCOL", "1");
    assert_eq!(stack.env.sh("free", "echo inside"), "inside");
    stack.go_on();
    stack.env.down();
}

const CONNECT: &[&str] = &["network", "connect", "--alias", "extra", "faulty-net", "a"];
const DISCONNECT: &[&str] = &["network", "disconnect", "faulty-net", "a"];

/// The points that the supervisor of a project reaches for a command.
fn served(env: &TestEnv, points: &std::path::Path, arguments: &[&str]) -> Vec<String> {
    let earlier = fs::read_to_string(points).unwrap_or_default().lines().count();
    env.ok(arguments);
    fs::read_to_string(points).unwrap().lines().skip(earlier).map(str::to_owned).collect()
}

#[test]
fn a_container_is_in_a_network_or_is_not_whenever_its_supervisor_is_killed() {
    let file = "services: { a: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL } }";
    let env = TestEnv::with("faulty-connected", file);
    env.ok(&["network", "create", "faulty-net"]);
    let points = env.folder().join("points");
    run(&env, UP, &format!("record {}", points.display()));
    let connecting = served(&env, &points, CONNECT);
    let disconnecting = served(&env, &points, DISCONNECT);
    env.ok(DOWN);
    assert!(connecting.len() > 5 && disconnecting.len() > 3, "{connecting:#?} {disconnecting:#?}");
    let cases = connecting.iter().map(|line| (line, true)).chain(disconnecting.iter().map(|line| (line, false)));
    let mut reached = 0;
    for (line, connects) in cases {
        let mark = env.folder().join("mark");
        let _ = fs::remove_file(&mark);
        assert_eq!(run(&env, UP, &format!("kill {} {line}", mark.display())).code, 0, "{line}");
        env.ok(CONNECT);
        if !connects {
            env.ok(DISCONNECT);
        }
        reached += usize::from(mark.exists());
        let interfaces = env.sh("a", "ls /sys/class/net");
        assert_eq!(interfaces.contains("eth1"), connects, "{line}: {interfaces}");
        let inspected = env.ok(&["network", "inspect", "faulty-net"]).stdout;
        assert_eq!(inspected.contains("faulty-connected-a-1"), connects, "{line}: {inspected}");
        env.ok(DOWN);
        env.assert_nothing_left();
        assert!(!env.ok(&["network", "inspect", "faulty-net"]).stdout.contains("faulty-connected-a-1"), "{line}");
    }
    let count = connecting.len() + disconnecting.len();
    assert!(reached * 10 > count * 8, "{reached} of {count} points were reached again");
    env.ok(&["network", "rm", "faulty-net"]);
}
