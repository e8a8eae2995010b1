//! What gets into a container, and how bytes get in and out: pipes of windlass's own, and nothing that the caller holds.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::env::{Output, PATIENCE, Running, TestEnv, binary};
use crate::terminal::Terminal;

const BOX: &str = r#"
services:
  box: { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL }
"#;

/// The script of a person's shell, in which `$WINDLASS` is the program.
fn shell(env: &TestEnv, script: &str) -> Output {
    let mut command = Command::new("bash");
    env.prepare(&mut command);
    command.env("WINDLASS", binary()).args(["-c", script]);
    Running::start(command, script.to_owned()).finish(PATIENCE)
}

#[track_caller]
fn prints(env: &TestEnv, script: &str) -> String {
    let output = shell(env, script);
    assert_eq!(output.code, 0, "{script}: {}", output.text());
    output.stdout.trim_end().to_owned()
}

/// What descriptors 0 to 2 are, one line each.
const LINKS: &str =
    "rm -f /tmp/links; for fd in 0 1 2; do link=$(readlink /proc/$$/fd/$fd); echo $link >> /tmp/links; done";

#[test]
fn nothing_that_the_caller_holds_gets_into_a_container() {
    let env = TestEnv::with("held", BOX);
    env.ok(&["up", "-d"]);
    let read_only = env.file("read-only", "mine\n");
    let log = env.file("log", "a secret of yesterday\n");
    let hostile = format!(
        "{LINKS}; timeout 1 sh -c 'echo overwritten > /proc/self/fd/0'; cat /proc/self/fd/0/etc/hostname; ls /proc/self/fd/0/; \
         timeout 1 cat /proc/self/fd/1 > /tmp/read; echo said; true"
    );
    let tool = |command: &[&str], stdin: File| {
        let mut command = env.command(&[command, &["box", "sh", "-c", &hostile]].concat());
        let append = OpenOptions::new().append(true).read(true).open(&log).unwrap();
        command.stdin(stdin).stdout(append).stderr(File::create(env.folder().join("errors")).unwrap());
        assert!(command.status().unwrap().success(), "{}", fs::read_to_string(env.folder().join("errors")).unwrap());
    };
    for stdin in [File::open(&read_only).unwrap(), File::open("/").unwrap(), File::open("/dev/null").unwrap()] {
        tool(&["exec", "-T"], stdin);
        let links = env.sh("box", "cat /tmp/links");
        assert!(links.lines().count() == 3 && links.lines().all(|link| link.starts_with("pipe:[")), "{links}");
        assert_eq!(env.sh("box", "grep -c yesterday /tmp/read; true"), "0", "the log was read");
    }
    assert_eq!(fs::read_to_string(&read_only).unwrap(), "mine\n");
    assert_eq!(fs::read_to_string(&log).unwrap(), format!("a secret of yesterday\n{}", "said\n".repeat(3)));
    // A container of its own has its links in a log of the service's, as nothing else is left of it.
    let printed = env.folder().join("printed");
    let status = env
        .command(&["run", "--rm", "-T", "box", "sh", "-c", "for fd in 0 1 2; do readlink /proc/self/fd/$fd; done"])
        .stdin(File::open("/").unwrap())
        .stdout(File::create(&printed).unwrap())
        .stderr(File::create(env.folder().join("errors")).unwrap())
        .status();
    assert!(status.unwrap().success());
    let links = fs::read_to_string(&printed).unwrap();
    assert!(links.lines().count() == 3 && links.lines().all(|link| link.starts_with("pipe:[")), "{links}");
    env.down();
}

#[test]
fn probes_hooks_and_what_is_detached_have_the_containers_own_null_device() {
    // The file system of what is read, and of the container's own device.
    let look = r#"{ readlink /proc/self/fd/0; stat -L -c %d:%i /proc/self/fd/0; stat -c %d:%i /dev/null; }"#;
    let env = TestEnv::with(
        "null-device",
        &format!(
            r#"
services:
  box:
    image: "busybox:1.35"
    command: ["sh", "-c", '{look} > /tmp/main; exec sleep 1000']
    stop_signal: SIGKILL
    healthcheck: {{ test: ["CMD-SHELL", '{look} > /tmp/probe.new; mv /tmp/probe.new /tmp/probe'], interval: 100ms }}
    post_start: [{{ command: ["sh", "-c", '{look} > /tmp/hook'] }}]
"#
        ),
    );
    env.ok(&["up", "-d", "--wait"]);
    env.ok(&[
        "exec",
        "-d",
        "box",
        "sh",
        "-c",
        &format!("{look} > /tmp/detached.new; mv /tmp/detached.new /tmp/detached"),
    ]);
    for who in ["main", "probe", "hook", "detached"] {
        let mut lines = String::new();
        support::eventually(&format!("{who} has looked"), PATIENCE, || {
            lines = env.run(&["exec", "-T", "box", "cat", &format!("/tmp/{who}")]).stdout;
            if lines.lines().count() == 3 { Ok(()) } else { Err(lines.clone()) }
        });
        let lines: Vec<&str> = lines.lines().collect();
        assert_eq!((lines[0], lines[1]), ("/dev/null", lines[2]), "{who}");
    }
    env.down();
}

#[test]
fn exec_detached_leaves_the_callers_streams() {
    let env = TestEnv::with("detached-streams", BOX);
    env.ok(&["up", "-d"]);
    let output =
        env.ok(&["exec", "-d", "box", "sh", "-c", "echo noise; echo noise >&2; touch /tmp/done; exec sleep 1000"]);
    assert!(!output.text().contains("noise"), "{}", output.text());
    support::eventually("it runs", PATIENCE, || {
        if env.run(&["exec", "-T", "box", "test", "-e", "/tmp/done"]).code == 0 {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    });
    env.down();
}

#[test]
fn what_a_command_does_not_read_is_left_to_the_next() {
    let env = TestEnv::with("left", BOX);
    env.ok(&["up", "-d"]);
    env.file("list", "one\ntwo\nthree\n");
    let body = r#"while read -r line; do "$WINDLASS" exec -T box true; echo "$line"; done"#;
    assert_eq!(prints(&env, &format!("{body} < list")), "one\ntwo\nthree");
    assert_eq!(prints(&env, &format!("cat list | {body}")), "one\ntwo\nthree");
    let first = r#""$WINDLASS" exec -T box sh -c 'read -r line; echo "in $line"'"#;
    assert_eq!(prints(&env, &format!("{{ {first}; cat; }} < list")), "in one\ntwo\nthree");
    assert_eq!(prints(&env, &format!("cat list | {{ {first}; cat; }}")), "in one\ntwo\nthree");
    // The end comes also while somebody holds the input open.
    let mut child = env.command(&["exec", "-T", "box", "true"]).stdin(Stdio::piped()).spawn().unwrap();
    let held = child.stdin.take();
    support::eventually("it ends", PATIENCE, || match child.try_wait() {
        Ok(Some(status)) => {
            assert!(status.success());
            Ok(())
        }
        other => Err(format!("{other:?}")),
    });
    drop(held);
    env.down();
}

#[test]
fn what_a_command_leaves_behind_holds_nobody_up() {
    let env = TestEnv::with("behind", BOX);
    env.ok(&["up", "-d"]);
    let script = r#"text=$("$WINDLASS" exec -T box sh -c 'yes > /dev/null & sleep 1000 & head -c 50000 /dev/zero; echo end'); echo "${#text} ${text: -3}""#;
    assert_eq!(prints(&env, &format!("{script} 2>/dev/null")), "3 end");
    // One that goes on writing, too.
    let output = env.run(&["exec", "-T", "box", "sh", "-c", "yes & echo end >&2; exit 7"]);
    assert_eq!((output.code, output.stderr.as_str()), (7, "end\n"));
    env.down();
}

#[test]
fn each_side_hears_what_the_other_closes() {
    let env = TestEnv::with("halves", BOX);
    env.ok(&["up", "-d"]);
    for command in [&["exec", "-T"][..], &["run", "--rm", "-T", "-q"]] {
        // The program closes its output and goes on.
        let arguments =
            [command, &["box", "sh", "-c", "echo out; exec >&- 2>&-; read -r line; test \"$line\" = go"]].concat();
        let mut child = env
            .command(&arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "out\n", "{command:?}");
        assert!(child.try_wait().unwrap().is_none(), "{command:?} goes on");
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        assert!(child.wait().unwrap().success(), "{command:?}");
        // A reader that has seen enough, before and after something is written.
        let command = command.join(" ");
        let first = format!(r#""$WINDLASS" {command} box sh -c 'yes; exit $?' | head -n 1; echo "${{PIPESTATUS[0]}}""#);
        assert_eq!(prints(&env, &first), "y\n141");
        let never = format!(
            r#""$WINDLASS" {command} box sh -c 'sh -c "read -r line; echo a; echo b"; exit $?' < <(sleep 0.5; echo go) | true; echo "${{PIPESTATUS[0]}}""#
        );
        assert_eq!(prints(&env, &never), "141");
    }
    // A program that does not read: whoever writes hears it while it runs.
    let script = r#"(yes; echo "${?}" >&2) 2> status | "$WINDLASS" exec -T box sh -c 'exec <&-; while test ! -e /tmp/go; do sleep 0.05; done' & 
        until test -s status; do sleep 0.05; done; cat status; "$WINDLASS" exec -T box touch /tmp/go; wait"#;
    assert_eq!(prints(&env, script), "141");
    env.down();
}

#[test]
fn a_gigabyte_passes_in_both_directions() {
    let env = TestEnv::with("gigabyte", BOX);
    env.ok(&["up", "-d"]);
    let source = "yes 'a line that is some forty bytes in length' | head -c 1073741824";
    let sums =
        prints(&env, &format!(r#"{source} | "$WINDLASS" exec -T box cat | md5sum; {source} | md5sum; {source} > big"#));
    let sums: Vec<&str> = sums.lines().collect();
    assert_eq!(sums[0], sums[1]);
    // From a file, and into one that is appended to.
    let appended = prints(
        &env,
        r#""$WINDLASS" exec -T box cat < big >> appended; cmp big appended && rm big appended; echo same"#,
    );
    assert_eq!(appended, "same");
    env.down();
}

#[test]
fn what_is_pasted_and_what_is_printed_do_not_wait_for_each_other() {
    let env = TestEnv::with("pasted", BOX);
    env.ok(&["up", "-d"]);
    let mut terminal = Terminal::start(&env, &["exec", "box", "cat"]);
    for _ in 0..2000 {
        terminal.type_text(&format!("{}\n", "x".repeat(100)));
    }
    terminal.type_text("the last line\n");
    terminal.wait_for("the last line");
    terminal.type_text("\x04");
    assert_eq!(terminal.finish(), 0);
    env.down();
}

#[test]
fn a_run_whose_command_was_killed_goes_on_into_its_log() {
    let env =
        TestEnv::with("run-log", "services: { tool: { x-windlass: { rootfs: host }, volumes: ['./marks:/marks'] } }");
    let script = "echo ready; while ! test -e /marks/go; do sleep 0.02; done; echo later; exec sleep 1000";
    let mut run = env.start(&["run", "-T", "tool", "sh", "-c", script]);
    run.wait_for("ready");
    run.signal(nix::sys::signal::Signal::SIGKILL);
    assert_eq!(run.finish(PATIENCE).code, 1009);
    env.file("marks/go", "");
    support::eventually("what it writes is in its log", PATIENCE, || {
        let containers = fs::read_dir(env.home().join("data/projects/run-log/containers")).unwrap().flatten();
        let logs: String =
            containers.map(|one| fs::read_to_string(one.path().join("log.json")).unwrap_or_default()).collect();
        if logs.contains("later") && !logs.contains("ready") { Ok(()) } else { Err(logs) }
    });
    env.ok(&["kill"]);
    env.down();
}

/// Runs a command with signals 32 and 33, and others, ignored or blocked, as a careless parent leaves them.
fn careless(env: &TestEnv, arguments: &[&str]) -> Output {
    let (action, mask) = if cfg!(target_arch = "aarch64") { (134, 135) } else { (13, 14) };
    let script = format!(
        r#"$ignore = pack("Q4", 1, 0, 0, 0); $all = pack("Q", 0xffffffffffffffff);
        for $signal (1, 2, 3, 13, 32, 33, 34, 64) {{ syscall({action}, $signal, $ignore, 0, 8) }}
        syscall({mask}, 2, $all, 0, 8); exec @ARGV"#
    );
    let mut command = Command::new("perl");
    env.prepare(&mut command);
    command.args(["-e", &script]).arg(binary()).args(arguments);
    Running::start(command, arguments.join(" ")).finish(PATIENCE)
}

#[test]
fn every_process_starts_with_its_signals_at_their_defaults() {
    // Without a shell, which ignores some signals itself.
    let env = TestEnv::with(
        "signals",
        r#"
services:
  box:
    image: "busybox:1.35"
    command: sleep 1000
    stop_signal: SIGKILL
    healthcheck: { test: ["CMD", "cp", "/proc/self/status", "/tmp/probe"], interval: 100ms }
    post_start: [{ command: ["cp", "/proc/self/status", "/tmp/hook"] }]
  watched: { image: "busybox:1.35", init: true, command: sleep 1000, stop_signal: SIGKILL }
"#,
    );
    let up = careless(&env, &["up", "-d", "--wait"]);
    assert_eq!(up.code, 0, "{}", up.text());
    let of = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with("SigI") || line.starts_with("SigB")).map(str::to_owned).collect()
    };
    let defaults = ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"];
    for command in [&["exec", "-T"][..], &["run", "--rm", "-T", "-q"]] {
        let output = careless(&env, &[command, &["watched", "cat", "/proc/self/status"]].concat());
        assert_eq!((output.code, of(&output.stdout)), (0, defaults.map(str::to_owned).to_vec()), "{}", output.text());
    }
    // The main processes of both, of which the second is a child of the init.
    for (service, file) in
        [("box", "/proc/1/status"), ("box", "/tmp/probe"), ("box", "/tmp/hook"), ("watched", "/proc/2/status")]
    {
        // The probe writes its file again and again.
        let mut found = Vec::new();
        support::eventually(&format!("{service} {file} is whole"), PATIENCE, || {
            found = of(&env.ok(&["exec", "-T", service, "cat", file]).stdout);
            if found.len() == 2 { Ok(()) } else { Err(format!("{found:?}")) }
        });
        assert_eq!(found, defaults, "{service} {file}");
    }
    // One that the init ignores would be lost; while it waits for them, none is blocked.
    let init = of(&env.ok(&["exec", "-T", "watched", "cat", "/proc/1/status"]).stdout);
    assert_eq!(init, defaults);
    env.down();
}
