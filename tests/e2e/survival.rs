//! What goes on while processes of ours are killed, folders are cleared, commands meet, and the machine starts anew.

use std::fs;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::crash::{containers, keeper, supervisor};
use crate::env::{PATIENCE, TestEnv};
use crate::net;
use crate::terminal::Terminal;

/// `count` writes numbers, quicker than anybody reads; `ask` asks for a name; `web` serves.
fn stack(port: u16) -> String {
    format!(
        r#"
services:
  count:
    x-windlass: {{ rootfs: host }}
    stop_signal: SIGKILL
    command: [python3, -uc, "import time, itertools\nfor n in itertools.count():\n  print(n)\n  time.sleep(0.001)"]
  ask:
    x-windlass: {{ rootfs: host }}
    stop_signal: SIGKILL
    command: [sh, -c, "while :; do if getent hosts web > /dev/null; then echo yes; else echo no; fi; sleep 0.02; done"]
  web:
    x-windlass: {{ rootfs: host }}
    stop_signal: SIGKILL
    working_dir: /srv
    command: [python3, -m, http.server, "80"]
    ports: ["127.0.0.1:{port}:80"]
"#
    )
}

struct Stack {
    env: TestEnv,
    port: u16,
    pids: Vec<i32>,
}

impl Stack {
    fn up(name: &str) -> Self {
        let port = net::free_port();
        let env = TestEnv::with(name, &stack(port));
        env.ok(&["up", "-d"]);
        net::get_eventually(port, "/");
        let stack = Self { pids: pids(&env), env, port };
        stack.counts_on();
        stack
    }

    /// Returns when the log has grown.
    fn counts_on(&self) {
        let before = self.counted().len();
        support::eventually("it is counted on", PATIENCE, || {
            let now = self.counted().len();
            if now > before + 100 { Ok(()) } else { Err(format!("{now} lines, {before} before")) }
        });
    }

    fn counted(&self) -> Vec<u64> {
        let text = self.env.ok(&["logs", "--no-log-prefix", "count"]).stdout;
        text.lines().map(|line| line.parse().unwrap_or_else(|_| panic!("a torn line: {line:?}"))).collect()
    }

    /// Every number is there once.
    #[track_caller]
    fn nothing_is_lost(&self) {
        let counted = self.counted();
        let gap = counted.iter().zip(0..).find(|(found, expected)| **found != *expected);
        assert!(gap.is_none(), "line and what should be there: {gap:?} of {}", counted.len());
        assert_eq!(pids(&self.env), self.pids, "the same processes");
    }

    /// How long nobody served since `kill`, which ends processes.
    fn outage(&self, kill: impl FnOnce()) -> Duration {
        kill();
        let begin = Instant::now();
        net::get_eventually(self.port, "/");
        begin.elapsed()
    }

    /// The longest time between two answers to who asked for a name, since then; none may be a no.
    fn longest_silence(&self, since: Timestamp) -> Duration {
        let text = self.env.ok(&["logs", "-t", "--no-log-prefix", "ask"]).stdout;
        let mut last = None;
        let mut longest = Duration::ZERO;
        for line in text.lines() {
            let (time, answer) = line.split_once(' ').unwrap();
            let time: Timestamp = time.parse().unwrap();
            assert_eq!(answer, "yes", "at {time}");
            let silence = time.duration_since(last.unwrap_or(time));
            if time >= since {
                longest = longest.max(silence.try_into().unwrap());
            }
            last = Some(time);
        }
        longest
    }
}

fn pids(env: &TestEnv) -> Vec<i32> {
    let folder = env.home().join("data/projects").join(env.name()).join("containers");
    let mut pids: Vec<i32> = fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|container| {
            let state: Value = serde_json::from_slice(&fs::read(container.path().join("state.json")).unwrap()).unwrap();
            i32::try_from(state["status"]["pid"].as_i64().unwrap_or_default()).unwrap()
        })
        .collect();
    pids.sort_unstable();
    pids
}

/// Kills keeper and supervisor.
fn kill_all(env: &TestEnv) {
    let (keeper, supervisor) = (keeper(env), supervisor(env).expect("a supervisor"));
    kill(keeper, Signal::SIGKILL).unwrap();
    kill(supervisor, Signal::SIGKILL).unwrap();
    support::eventually("both are gone", PATIENCE, || {
        let left: Vec<Pid> = [keeper, supervisor].into_iter().filter(|pid| kill(*pid, None).is_ok()).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}

fn another_keeper(env: &TestEnv, old: Pid) {
    support::eventually("there is another keeper", PATIENCE, || {
        let path = env.home().join("run/projects").join(env.name()).join("keeper.json");
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        if text.contains(&format!("\"pid\":{old},")) { Err(text) } else { Ok(()) }
    });
}

#[test]
fn without_its_supervisor_a_project_is_silent_for_less_than_a_second() {
    let stack = Stack::up("headless");
    for _ in 0..3 {
        let since = Timestamp::now();
        let old = supervisor(&stack.env).unwrap();
        let outage = stack.outage(|| kill(old, Signal::SIGKILL).unwrap());
        assert!(outage < Duration::from_secs(1), "the port did not answer for {outage:?}");
        stack.counts_on();
        let silence = stack.longest_silence(since);
        assert!(silence < Duration::from_secs(1), "names were not answered for {silence:?}");
    }
    stack.nothing_is_lost();
    stack.env.down();
}

#[test]
fn without_its_keeper_a_project_goes_on() {
    let stack = Stack::up("unkept");
    for _ in 0..2 {
        let old = keeper(&stack.env);
        stack.outage(|| kill(old, Signal::SIGKILL).unwrap());
        another_keeper(&stack.env, old);
        stack.counts_on();
        stack.nothing_is_lost();
    }
    // Whose end nobody saw is told as that.
    stack.env.ok(&["kill", "count"]);
    support::eventually("its end is noted", PATIENCE, || {
        let state = stack.env.ps_field("count", "State");
        if state == "exited" { Ok(()) } else { Err(state) }
    });
    stack.env.down();
}

#[test]
fn without_any_process_of_ours_containers_go_on_and_their_lines_wait() {
    let stack = Stack::up("orphaned");
    for _ in 0..2 {
        kill_all(&stack.env);
        // What reads needs nobody.
        assert_eq!(stack.env.ps().iter().filter(|row| row["State"] == "running").count(), 3);
        stack.counted();
        assert_eq!(stack.env.ok(&["port", "web", "80"]).stdout, format!("127.0.0.1:{}\n", stack.port));
        stack.env.ok(&["up", "-d"]);
        net::get_eventually(stack.port, "/");
        stack.counts_on();
        stack.nothing_is_lost();
    }
    stack.env.down();
}

/// Containers with terminals: two that repeat what is typed, and one that has let go of its terminal and writes on it
/// when it is told to.
pub struct Terminals {
    pub env: TestEnv,
    pids: [Option<i32>; 3],
    typed: usize,
}

const TERMINALS: &str = r#"
x-echo: &echo
  x-windlass: { rootfs: host }
  stop_signal: SIGKILL
  tty: true
  stdin_open: true
  command: [sh, -c, "stty -echo; echo ready; while read line; do echo \"$$0 read $$line\"; done", one]
services:
  one: *echo
  two: { <<: *echo, init: true }
  free:
    <<: *echo
    # TIOCNOTTY
    command: ["perl", "-e", "$$SIG{HUP} = 'IGNORE'; ioctl(STDIN, 0x5422, 0) or die; $$SIG{USR1} = sub { syswrite STDOUT, \"told\\n\" }; print \"ready\\n\"; sleep 1000 while 1"]
"#;

impl Terminals {
    pub fn up(name: &str, prepare: impl FnOnce(&mut TestEnv)) -> Self {
        let mut env = TestEnv::with(name, TERMINALS);
        prepare(&mut env);
        env.ok(&["up", "-d"]);
        let pids = Self::pids(&env);
        let stack = Self { env, pids, typed: 0 };
        for service in ["one", "two", "free"] {
            stack.wait_for(service, "ready", 1);
        }
        stack
    }

    fn pids(env: &TestEnv) -> [Option<i32>; 3] {
        ["one", "two", "free"].map(|service| crate::lifecycle::running_pid_of(env, service))
    }

    fn wait_for(&self, service: &str, line: &str, count: usize) {
        support::eventually(&format!("{service} has written {line:?}"), PATIENCE, || {
            let log = self.env.ok(&["logs", "--no-log-prefix", service]).stdout;
            if log.lines().filter(|found| *found == line).count() == count { Ok(()) } else { Err(log) }
        });
    }

    /// The same containers read and write on the same terminals.
    pub fn go_on(&mut self) {
        self.typed += 1;
        let (number, line) = (self.typed, format!("line {}", self.typed));
        for service in ["one", "two"] {
            let mut terminal = Terminal::start(&self.env, &["attach", service]);
            terminal.wait_for(if number == 1 { "ready" } else { "read line" });
            terminal.type_text(&format!("{line}\n"));
            terminal.wait_for(&format!("one read {line}"));
            terminal.type_text("\x10\x11");
            assert_eq!(terminal.finish(), 0);
            self.wait_for(service, &format!("one read {line}"), 1);
        }
        self.env.ok(&["kill", "-s", "USR1", "free"]);
        self.wait_for("free", "told", number);
        assert!(self.pids.iter().all(Option::is_some));
        assert_eq!(Self::pids(&self.env), self.pids, "other containers");
    }
}

/// Nothing holds a terminal then; a first process that does not handle SIGHUP goes on without one.
#[test]
fn a_terminal_that_is_lost_with_both_is_said_to_be() {
    let env = TestEnv::with(
        "hung-up-both",
        "services: { web: { x-windlass: { rootfs: host }, tty: true, command: sleep 1000, stop_signal: SIGKILL } }",
    );
    env.ok(&["up", "-d"]);
    let pid = crate::lifecycle::running_pid_of(&env, "web");
    kill_all(&env);
    let said = "hung-up-both-web-1 runs without its terminal";
    assert!(env.ok(&["up", "-d"]).stderr.contains(said));
    assert_eq!(crate::lifecycle::running_pid_of(&env, "web"), pid);
    let refused = env.fails(&["attach", "web"]);
    assert!(refused.stderr.contains(said) && refused.stderr.contains("windlass restart web"), "{}", refused.text());
    env.ok(&["restart", "-t", "1", "web"]);
    assert!(!env.ok(&["up", "-d"]).stderr.contains("terminal"));
    env.down();
}

#[test]
fn terminals_outlive_the_keeper_and_the_supervisor() {
    let mut stack = Terminals::up("hung-up", |_| {});
    stack.go_on();
    for round in 0..4 {
        let old = keeper(&stack.env);
        if round % 2 == 0 {
            kill(old, Signal::SIGKILL).unwrap();
            another_keeper(&stack.env, old);
        } else {
            kill(supervisor(&stack.env).expect("a supervisor"), Signal::SIGKILL).unwrap();
        }
        stack.go_on();
    }
    stack.env.down();
}

#[test]
fn a_foreground_up_that_is_killed_stops_nothing() {
    let env = TestEnv::with("left-alone", &stack(net::free_port()));
    let mut up = env.start(&["up"]);
    up.wait_for("count-1");
    let before = pids(&env);
    up.signal(Signal::SIGKILL);
    drop(up);
    assert_eq!(pids(&env), before);
    assert_eq!(env.ps().iter().filter(|row| row["State"] == "running").count(), 3);
    env.down();
}

#[test]
fn a_cleared_runtime_folder_costs_nothing() {
    let stack = Stack::up("cleared");
    let before = containers(&stack.env);
    let old = keeper(&stack.env);
    fs::remove_dir_all(stack.env.home().join("run")).unwrap();
    assert_eq!(containers(&stack.env), before);
    stack.env.ok(&["up", "-d"]);
    assert_eq!(keeper(&stack.env), old, "there is one keeper, the same");
    net::get_eventually(stack.port, "/");
    stack.counts_on();
    stack.nothing_is_lost();
    fs::remove_dir_all(stack.env.home().join("run")).unwrap();
    stack.env.down();
}

#[test]
fn after_a_restart_of_the_machine_ps_tells_the_truth_and_up_and_down_work() {
    let env = TestEnv::with("rebooted", &stack(net::free_port()));
    for command in [&["up", "-d"][..], &["down", "-v", "-t", "1"]] {
        env.ok(&["up", "-d"]);
        kill_all(&env);
        for pid in pids(&env) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        }
        // The numbers are taken by others by now, and the boot is another one.
        let folder = env.home().join("data/projects/rebooted/containers");
        for container in fs::read_dir(folder).unwrap().flatten() {
            let path = container.path().join("state.json");
            let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            state["status"]["boot_id"] = "11111111-2222-3333-4444-555555555555".into();
            state["status"]["pid"] = std::process::id().into();
            fs::write(&path, state.to_string()).unwrap();
        }
        fs::remove_dir_all(env.home().join("run")).unwrap();
        let rows = env.ps();
        assert!(rows.len() == 3 && rows.iter().all(|row| row["State"] == "exited"), "{rows:?}");
        env.ok(command);
    }
    env.assert_nothing_left();
    env.ok(&["up", "-d"]);
    assert_eq!(env.ps().iter().filter(|row| row["State"] == "running").count(), 3);
    env.down();
}

#[test]
fn a_command_that_must_wait_says_for_whom_and_what_reads_does_not_wait() {
    let env = TestEnv::with(
        "queued",
        r#"
services:
  db:
    x-windlass: { rootfs: host }
    stop_signal: SIGKILL
    ports: ["5432"]
    command: [sh, -c, "echo begun; exec sleep 1000"]
    volumes: ["./marks:/marks"]
    healthcheck: { test: "test -e /marks/go", interval: 100ms, retries: 100000 }
  web: { x-windlass: { rootfs: host }, stop_signal: SIGKILL, command: sleep 1000, depends_on: { db: { condition: service_healthy } } }
"#,
    );
    let up = env.start(&["up", "-d"]);
    support::eventually("the database has begun", PATIENCE, || {
        let logs = env.run(&["logs", "db"]).stdout;
        if logs.contains("begun") { Ok(()) } else { Err(logs) }
    });
    let down = env.start(&["down", "-t", "1"]);
    let mut waiting = env.start(&["up", "-d"]);
    support::eventually("it says for whom it waits", PATIENCE, || {
        let said = waiting.stderr();
        if said.contains("waiting for another `windlass up`") { Ok(()) } else { Err(said) }
    });
    // While these wait.
    assert_eq!(env.ps_field("db", "State"), "running");
    assert!(env.ok(&["port", "db", "5432"]).stdout.contains(':'));
    assert!(env.ok(&["logs", "db"]).stdout.contains("begun"));
    assert_eq!(env.sh("db", "echo done"), "done");
    env.file("marks/go", "");
    for command in [up, down, waiting] {
        let output = command.finish(PATIENCE);
        assert_eq!(output.code, 0, "{}", output.text());
    }
    env.down();
}

#[test]
fn following_a_log_over_its_rotation_loses_and_repeats_nothing() {
    let env = TestEnv::with(
        "turning",
        r#"
services:
  count:
    x-windlass: { rootfs: host }
    logging: { driver: local, options: { max-size: 20k, max-file: "500" } }
    command: [sh, -c, "until [ -e /go ]; do sleep 0.01; done; seq -w 1 30000"]
"#,
    );
    env.ok(&["up", "-d"]);
    let follower = env.start(&["logs", "-f", "--no-log-prefix", "count"]);
    env.sh("count", "touch /go");
    let output = follower.finish(PATIENCE);
    for text in [output.stdout, env.ok(&["logs", "--no-log-prefix", "count"]).stdout] {
        let lines: Vec<usize> = text.lines().filter_map(|line| line.parse().ok()).collect();
        let gap = lines.iter().zip(1..).find(|(found, expected)| **found != *expected);
        assert!(lines.len() == 30000 && gap.is_none(), "{} lines, {gap:?}", lines.len());
    }
    env.down();
}

#[test]
fn down_of_what_nobody_knows_makes_nothing() {
    let env = TestEnv::with("unknown", &stack(net::free_port()));
    for arguments in [&["down"][..], &["down", "-v"], &["-p", "other", "down"], &["--dry-run", "down"]] {
        let output = env.ok(arguments);
        assert!(output.stderr.contains("no resource found"), "{}", output.text());
    }
    assert!(!env.home().exists(), "{:?}", fs::read_dir(env.home()).map(|found| found.flatten().collect::<Vec<_>>()));
}
