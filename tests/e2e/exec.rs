//! `exec`

use std::io::Write;
use std::process::Stdio;

use crate::env::{PATIENCE, TestEnv};
use crate::terminal::Terminal;

const BOX: &str = r#"
services:
  box: { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL, environment: { FROM: file }, working_dir: /home, scale: 2 }
  gone: { image: "busybox:1.35", command: "true" }
"#;

#[test]
fn exec_runs_a_command_and_returns_its_code() {
    let env = TestEnv::with("exec", BOX);
    env.ok(&["up", "-d"]);
    let run = |arguments: &[&str]| env.run(&[&["exec"], arguments].concat());
    assert_eq!(run(&["-T", "box", "sh", "-c", "exit 42"]).code, 42);
    assert_eq!(run(&["-T", "box", "sh", "-c", "kill -9 $$"]).code, 137);
    let split = run(&["-T", "box", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!((split.stdout.as_str(), split.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!(run(&["-T", "box", "pwd"]).stdout, "/home\n");
    assert_eq!(run(&["-T", "box", "sh", "-c", "echo $FROM $HOME"]).stdout, "file /root\n");
    assert_eq!(
        run(&["-T", "-e", "FROM=flag", "--env", "MORE=1", "box", "sh", "-c", "echo $FROM $MORE"]).stdout,
        "flag 1\n"
    );
    assert_eq!(run(&["-T", "-w", "/tmp", "box", "pwd"]).stdout, "/tmp\n");
    assert_eq!(
        run(&["-T", "-u", "user", "box", "id"]).stdout,
        "uid=1000(user) gid=1000(user) groups=1000(user),2000(extra),2001(more)\n"
    );
    assert_eq!(run(&["-T", "-u", "7:8", "box", "sh", "-c", "id -u; id -g"]).stdout, "7\n8\n");
    let first = run(&["-T", "box", "hostname"]).stdout;
    assert_eq!(run(&["-T", "--index", "1", "box", "hostname"]).stdout, first);
    assert_ne!(run(&["-T", "--index", "2", "box", "hostname"]).stdout, first);
    env.down();
}

#[test]
fn exec_passes_standard_input_through() {
    let env = TestEnv::with("stdin", BOX);
    env.ok(&["up", "-d"]);
    let mut command = env.command(&["exec", "-T", "box", "sh", "-c", "wc -c; echo end"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let text = vec![b'x'; 3_000_000];
    child.stdin.take().unwrap().write_all(&text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "3000000\nend\n");
    env.down();
}

#[test]
fn exec_on_a_terminal_is_a_terminal() {
    let env = TestEnv::with("terminal", BOX);
    env.ok(&["up", "-d"]);
    let mut terminal = Terminal::start(&env, &["exec", "box", "sh"]);
    terminal.wait_for("#");
    terminal.type_text("tty; stty size; echo a$((1+1))b\n");
    terminal.wait_for("a2b");
    let screen = terminal.screen();
    assert!(screen.contains("/dev/pts/") && screen.contains("30 100"), "{screen:?}");
    // Ctrl-C belongs to what runs inside.
    terminal.type_text("sleep 1000\n");
    terminal.wait_for("sleep 1000");
    support::eventually("it sleeps", PATIENCE, || env.asks("box", "ps | grep -c '[s]leep 1000'", "2"));
    terminal.type_text("\x03");
    terminal.type_text("exit 9\n");
    assert_eq!(terminal.finish(), 9);
    env.down();
}

#[test]
fn exec_says_why_it_cannot() {
    let env = TestEnv::with("cannot", BOX);
    env.ok(&["up", "-d"]);
    let missing = env.run(&["exec", "-T", "box", "no-such-command"]);
    assert_eq!(missing.code, 127, "{}", missing.text());
    assert!(missing.stderr.contains("no-such-command"), "{}", missing.text());
    let denied = env.run(&["exec", "-T", "box", "/etc/passwd"]);
    assert_eq!(denied.code, 126, "{}", denied.text());
    assert!(env.fails(&["exec", "-T", "nobody", "true"]).stderr.contains("nobody"));
    assert!(env.fails(&["exec", "-T", "gone", "true"]).stderr.contains("gone"));
    assert!(env.fails(&["exec", "-T", "-u", "stranger", "box", "true"]).stderr.contains("stranger"));
    assert!(env.fails(&["exec", "-T", "--index", "3", "box", "true"]).stderr.contains('3'));
    env.down();
}
