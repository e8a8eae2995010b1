//! A process behind a project that stands still: whoever waits for it says so, and it goes on where it stood.

use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::crash::{keeper, supervisor};
use crate::env::{PATIENCE, TestEnv};

const BOX: &str = r#"
services:
  box: { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL }
"#;

/// Lets a process go on when the test fails, too.
struct Stopped(Pid);

impl Stopped {
    fn process(pid: Pid) -> Self {
        kill(pid, Signal::SIGSTOP).unwrap();
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

#[test]
fn a_stopped_supervisor_is_named_and_not_waited_for() {
    let env = TestEnv::with("stuck-supervisor", BOX);
    env.ok(&["up", "-d"]);
    // One command that was there before.
    let running = env.start(&["exec", "-T", "box", "sleep", "1000"]);
    support::eventually("it runs", PATIENCE, || {
        let processes = env.sh("box", "ps");
        if processes.matches("sleep 1000").count() == 2 { Ok(()) } else { Err(processes) }
    });
    let pid = supervisor(&env).expect("a supervisor");
    let stopped = Stopped::process(pid);
    let named =
        format!("the supervisor of project stuck-supervisor (process {pid}) does not answer: it is stopped (state T)");
    let commands: [&[&str]; 3] = [&["exec", "-T", "box", "true"], &["down"], &["stop"]];
    let begun = commands.map(|command| (command, env.start(command)));
    for (command, output) in begun.map(|(command, begun)| (command, begun.finish(PATIENCE))) {
        assert_eq!(output.code, 1, "{command:?}: {}", output.text());
        assert!(output.stderr.contains(&named), "{command:?}: {}", output.text());
        assert!(output.stderr.contains(&format!("kill -CONT {pid}")), "{command:?}: {}", output.text());
    }
    assert!(running.finish(PATIENCE).stderr.contains(&named));
    drop(stopped);
    assert_eq!(env.sh("box", "echo on"), "on");
    env.down();
}

#[test]
fn a_stopped_keeper_is_named_and_not_waited_for() {
    let env = TestEnv::with("stuck-keeper", BOX);
    env.ok(&["up", "-d"]);
    let pid = keeper(&env);
    let stopped = Stopped::process(pid);
    let commands: [&[&str]; 3] = [&["exec", "-T", "box", "true"], &["restart", "-t", "0"], &["down", "-t", "0"]];
    for command in commands {
        let output = env.run(command);
        assert!(output.code > 0 && output.code < 128, "{command:?}: {}", output.text());
        let named = format!("the keeper of the project (process {pid}) does not answer: it is stopped (state T)");
        assert!(output.stderr.contains(&named), "{command:?}: {}", output.text());
        assert!(output.stderr.contains(&format!("kill -CONT {pid}")), "{command:?}: {}", output.text());
    }
    drop(stopped);
    // Nobody's turn is held, and what was asked for in vain has not come to be.
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("box", "echo on"), "on");
    env.down();
}

#[test]
fn a_moment_is_no_reason_to_give_up() {
    let env = TestEnv::with("stuck-moment", BOX);
    env.ok(&["up", "-d"]);
    let begun = Instant::now();
    let running = env.start(&["exec", "-T", "box", "sh", "-c", "sleep 12; echo done"]);
    let stopped = Stopped::process(keeper(&env));
    let short = env.start(&["exec", "-T", "box", "echo", "later"]);
    support::eventually("the command waits", PATIENCE, || {
        let waits = begun.elapsed() > std::time::Duration::from_secs(2);
        if waits { Ok(()) } else { Err("not yet".to_owned()) }
    });
    drop(stopped);
    let short = short.finish(PATIENCE);
    assert_eq!((short.code, short.stdout.as_str()), (0, "later\n"), "{}", short.text());
    let output = running.finish(PATIENCE);
    assert_eq!((output.code, output.stdout.as_str()), (0, "done\n"), "a long command is no silence: {}", output.text());
    env.down();
}

#[test]
fn who_waits_for_an_end_that_a_stopped_keeper_does_not_tell_hears_it() {
    let env = TestEnv::with(
        "stuck-ends",
        r#"
services:
  box: { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL }
  other: { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL }
"#,
    );
    env.ok(&["up", "-d"]);
    let container = crate::lifecycle::pid_of(&env, "box");
    let mut follows = env.start(&["up", "--no-log-prefix"]);
    support::eventually("it follows", PATIENCE, || {
        let said = follows.stderr();
        if said.contains("Attaching to") { Ok(()) } else { Err(said) }
    });
    let commands: [&[&str]; 2] = [&["wait", "box"], &["attach", "--no-stdin", "box"]];
    let begun = commands.map(|command| (command, env.start(command)));
    support::eventually("they wait", PATIENCE, || {
        let waiting = begun.iter().all(|(_, running)| connected(running.pid()));
        if waiting { Ok(()) } else { Err("not connected".to_owned()) }
    });
    let pid = keeper(&env);
    let stopped = Stopped::process(pid);
    kill(Pid::from_raw(container), Signal::SIGKILL).unwrap();
    let named = format!("the keeper of the project (process {pid}) does not answer: it is stopped (state T)");
    let mut all: Vec<_> = begun.into_iter().collect();
    all.push((&["up"], follows));
    for (command, running) in all {
        let output = running.finish(PATIENCE);
        assert!(output.code > 0 && output.code < 128, "{command:?}: {}", output.text());
        assert!(output.stderr.contains(&named), "{command:?}: {}", output.text());
    }
    drop(stopped);
    // The end is told after all.
    assert_eq!(env.run(&["wait", "box"]).code, 137);
    env.down();
}

/// Whether a process has a connection, with which it waits.
fn connected(pid: Pid) -> bool {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).map(Iterator::flatten);
    links.is_ok_and(|mut links| {
        links.any(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:")))
    })
}

#[test]
fn who_follows_files_hears_that_nobody_writes_them() {
    let env = TestEnv::with(
        "stuck-followed",
        r#"services: { box: { image: "busybox:1.35", command: "sh -c 'echo begun; until [ -e /go ]; do sleep 0.1; done; echo gone on; exec sleep 1000'", stop_signal: SIGKILL } }"#,
    );
    env.ok(&["up", "-d"]);
    let pids = [
        ("the keeper of the project", keeper(&env)),
        ("the supervisor of project stuck-followed", supervisor(&env).unwrap()),
    ];
    for (what, pid) in pids {
        let mut logs = env.start(&["logs", "-f"]);
        logs.wait_for("begun");
        let mut events = env.start(&["events", "--since", "1h"]);
        events.wait_for("container start");
        let stopped = Stopped::process(pid);
        let named = format!("warning: {what} (process {pid}) does not answer: it is stopped (state T)");
        for (name, running) in [("logs", &mut logs), ("events", &mut events)] {
            support::eventually(&format!("{name} says that {what} stands still"), PATIENCE, || {
                let said = running.stderr();
                if said.contains(&named) { Ok(()) } else { Err(said) }
            });
        }
        // What only reads does not wait.
        for command in [
            &["ps"][..],
            &["logs"],
            &["top"],
            &["stats", "--no-stream"],
            &["cp", "box:/etc/passwd", "-"],
            &["export", "-o", "box.tar", "box"],
        ] {
            env.ok(command);
        }
        drop(stopped);
        // It goes on with what it was about.
        env.sh("box", "touch /go");
        logs.wait_for("gone on");
        env.ok(&["pause"]);
        events.wait_for("container pause");
        env.ok(&["unpause"]);
    }
    env.down();
}

/// Not stopped, and yet it never comes to anything: a file that it writes has become a pipe that nobody reads.
#[test]
fn a_supervisor_that_hangs_is_named_and_not_waited_for() {
    let env = TestEnv::with("stuck-hangs", BOX);
    env.ok(&["up", "-d"]);
    let pid = supervisor(&env).expect("a supervisor");
    let id = env.ok(&["ps", "-q", "box"]).stdout.trim().to_owned();
    let hosts = env.home().join("data/projects/stuck-hangs/containers").join(id).join("etc/hosts");
    std::fs::remove_file(&hosts).unwrap();
    nix::unistd::mkfifo(&hosts, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let restart = env.start(&["restart", "-t", "0"]);
    support::eventually("it has come to the pipe", PATIENCE, || match crate::lifecycle::running_pid_of(&env, "box") {
        None => Ok(()),
        Some(runs) => Err(format!("{runs} runs")),
    });
    // Somebody who comes now, and somebody who waits for an answer already.
    let commands: [&[&str]; 2] = [&["up", "-d"], &["down", "-t", "0"]];
    let mut begun: Vec<_> = commands.map(|command| (command, env.start(command))).into_iter().collect();
    begun.push((&["restart"], restart));
    let named =
        format!("the supervisor of project stuck-hangs (process {pid}) does not answer: it is asleep (state S)");
    for (command, running) in begun {
        let output = running.finish(3 * PATIENCE);
        assert_eq!(output.code, 1, "{command:?}: {}", output.text());
        assert!(output.stderr.contains(&named), "{command:?}: {}", output.text());
        assert!(output.stderr.contains(&format!("kill -KILL {pid}")), "{command:?}: {}", output.text());
    }
    // What it says helps.
    std::fs::remove_file(&hosts).unwrap();
    kill(pid, Signal::SIGKILL).unwrap();
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("box", "echo on"), "on");
    env.down();
}
