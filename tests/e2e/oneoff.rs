//! `run` and `wait`.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use nix::sys::signal::Signal;

use crate::env::{PATIENCE, TestEnv};
use crate::lifecycle::running_pid_of;
use crate::net::free_port;
use crate::terminal::Terminal;

const STACK: &str = r#"
services:
  tool:
    x-windlass: { rootfs: host }
    command: echo default
    environment: { FROM_FILE: "yes", KEPT: "1" }
    working_dir: /tmp
    ports: ["127.0.0.1:PORT:80"]
    volumes: ["./marks:/marks"]
    depends_on: { db: { condition: service_healthy } }
  db:
    x-windlass: { rootfs: host }
    command: ["sh", "-c", "sleep 0.2; touch /tmp/ready; exec sleep 1000"]
    stop_signal: SIGKILL
    healthcheck: { test: ["CMD", "test", "-e", "/tmp/ready"], interval: 50ms, retries: 100 }
  plain: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL, volumes: ["data:/data"] }
volumes: { data: {}, spare: {} }
"#;

fn stack(name: &str) -> (TestEnv, u16) {
    let port = free_port();
    (TestEnv::with(name, &STACK.replace("PORT", &port.to_string())), port)
}

#[test]
fn a_command_runs_in_a_container_of_its_own() {
    let (env, _) = stack("run-own");
    let output = env.ok(&["run", "tool"]);
    assert_eq!(output.stdout, "default\n", "{}", output.text());
    let rows = env.ps();
    let own = rows.iter().find(|row| row["Service"] == "tool").expect("its container is kept");
    let name = own["Name"].as_str().unwrap();
    let slug = name.strip_prefix("run-own-tool-run-").unwrap_or_else(|| panic!("{name}"));
    assert!(slug.len() == 12 && slug.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    assert!(own["Labels"].as_str().unwrap().contains("com.docker.compose.oneoff=True"), "{own}");
    assert_eq!(env.ps_field("db", "Health"), "healthy", "what it depends on was waited for");
    // It is nobody's replica.
    env.ok(&["up", "-d", "--no-deps", "tool"]);
    assert_eq!(env.ps().iter().filter(|row| row["Service"] == "tool").count(), 2);
    env.down();
}

#[test]
fn exit_codes_and_streams_are_the_commands() {
    let env = TestEnv::with("run-streams", "services: { tool: { x-windlass: { rootfs: host } } }");
    let output = env.run(&["run", "--rm", "-T", "tool", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!(output.code, 7, "{}", output.text());
    assert_eq!(output.stdout, "out\n");
    assert!(output.stderr.lines().any(|line| line == "err"), "{}", output.text());
    assert_eq!(env.ps().len(), 0, "--rm");
    assert_eq!(env.run(&["run", "--rm", "tool", "/nonexistent"]).code, 127);
    assert_eq!(env.run(&["run", "--rm", "tool", "/etc/passwd"]).code, 126);
    assert_eq!(env.ps().len(), 0, "--rm, also of what did not start");
    // Every byte passes, in both directions.
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let mut child = env
        .command(&["run", "--rm", "-T", "tool", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&sent).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.stdout == bytes, "{} of {} bytes came back", output.stdout.len(), bytes.len());
    let output = env.ok(&["run", "--rm", "-i=false", "tool", "sh", "-c", "cat; readlink /proc/self/fd/0"]);
    assert_eq!(output.stdout, "/dev/null\n");
    env.down();
}

#[test]
fn flags_change_the_container() {
    let (env, port) = stack("run-flags");
    env.file("more.env", "A=file\nB=file\n");
    let mut env = env;
    env.set("PASSED", "on");
    let run = |flags: &[&str], script: &str| {
        let command = [&["run", "--rm", "--no-deps"], flags, &["tool", "sh", "-c", script]].concat();
        env.ok(&command).stdout.trim_end().to_owned()
    };
    assert_eq!(
        run(&["-e", "B=flag", "-e", "PASSED", "--env-from-file", "more.env"], "echo $FROM_FILE $KEPT $A $B $PASSED"),
        "yes 1 file flag on"
    );
    assert!(env.ps().is_empty(), "--no-deps, --rm: {:?}", env.ps());
    assert_eq!(run(&["-w", "/usr", "-u", "12:34"], "pwd; id -u; id -g"), "/usr\n12\n34");
    fs::write(env.folder().join("bound"), "from outside").unwrap();
    assert_eq!(
        run(&["-v", "./bound:/in/bound:ro", "-v", "spare:/spare"], "cat /in/bound; test -d /spare && echo; ls /marks"),
        "from outside"
    );
    assert!(env.fails(&["run", "-v", "nope:/x", "tool"]).stderr.contains("declares no volume `nope`"));
    let output = env.ok(&["run", "--rm", "--no-deps", "--entrypoint", "printf '%s-'", "tool", "a", "b"]);
    assert_eq!(output.stdout, "a-b-");
    let caps = |flags: &[&str]| run(flags, "grep CapEff /proc/self/status | cut -f2");
    let default = u64::from_str_radix(&caps(&[]), 16).unwrap();
    let added = u64::from_str_radix(&caps(&["--cap-add", "NET_ADMIN"]), 16).unwrap();
    let dropped = u64::from_str_radix(&caps(&["--cap-drop", "CHOWN"]), 16).unwrap();
    assert_eq!(added, default | 1 << 12);
    assert_eq!(dropped, default & !1);
    // Detached: the id is printed, the name and labels are ours, and ports only when asked for.
    let output = env.ok(&["run", "-d", "--no-deps", "--name", "mine", "-l", "a.b=c", "tool", "sleep", "1000"]);
    let id = output.stdout.trim();
    assert_eq!(id.len(), 64, "{}", output.text());
    let row = env.ps().into_iter().find(|row| row["Name"] == "mine").expect("mine");
    assert!(id.starts_with(row["ID"].as_str().unwrap()));
    assert!(row["Labels"].as_str().unwrap().contains("a.b=c"));
    assert_eq!(row["Ports"], "");
    env.ok(&["kill", "tool"]);
    env.ok(&["run", "-d", "--no-deps", "-P", "--name", "published", "tool", "sleep", "1000"]);
    let ports = |name: &str| env.ps().into_iter().find(|row| row["Name"] == name).map(|row| row["Ports"].clone());
    assert_eq!(ports("published").unwrap(), format!("127.0.0.1:{port}->80/tcp"));
    env.ok(&["kill", "tool"]);
    let other = free_port();
    env.ok(&[
        "run",
        "-d",
        "--no-deps",
        "-p",
        &format!("127.0.0.1:{other}:81"),
        "--name",
        "other",
        "tool",
        "sleep",
        "1000",
    ]);
    assert_eq!(ports("other").unwrap(), format!("127.0.0.1:{other}->81/tcp"));
    assert_eq!(env.run(&["run", "-P", "-p", "1:1", "tool"]).code, 2);
    assert!(env.fails(&["run", "nope"]).stderr.contains("no such service: nope"));
    assert!(env.ok(&["--dry-run", "run", "plain"]).stderr.contains("start container run-flags-plain-run-"));
    env.ok(&["kill"]);
    env.down();
}

#[test]
fn names_are_the_services_only_when_asked_for() {
    let env = TestEnv::with(
        "run-aliases",
        "services: { tool: { x-windlass: { rootfs: host } }, box: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL } }",
    );
    env.ok(&["up", "-d", "box"]);
    env.ok(&["run", "-d", "--name", "without", "tool", "sleep", "1000"]);
    assert_eq!(env.sh("box", "getent hosts tool || echo nobody"), "nobody");
    env.ok(&["run", "-d", "--use-aliases", "--name", "with", "tool", "sleep", "1000"]);
    assert!(env.sh("box", "getent hosts tool").contains("tool"));
    assert!(env.sh("box", "getent hosts without").contains("without"));
    env.ok(&["kill", "tool"]);
    env.down();
}

#[test]
fn a_terminal_is_passed_by_descriptor() {
    let env = TestEnv::with("run-tty", "services: { tool: { x-windlass: { rootfs: host } } }");
    let mut terminal =
        Terminal::start(&env, &["run", "--rm", "tool", "sh", "-c", "stty size; read line; echo got:$line; read more"]);
    terminal.wait_for("30 100");
    terminal.type_text("hello\r");
    terminal.wait_for("got:hello");
    terminal.type_text("\x03");
    assert_eq!(terminal.finish(), 130);
    assert_eq!(env.ps().len(), 0, "--rm after Ctrl-C");
    // Its size is there before the process is.
    for command in [&["run", "--rm", "tool", "stty", "size"][..], &["run", "--rm", "tool", "tput", "cols"]] {
        let mut terminal = Terminal::start(&env, command);
        terminal.wait_for("100");
        assert_eq!(terminal.finish(), 0);
    }
    // Detached by its keys, it goes on, and what it writes is not lost.
    let mut terminal = Terminal::start(&env, &["run", "tool", "sh", "-c", "echo ready; while :; do sleep 0.05; done"]);
    terminal.wait_for("ready");
    terminal.type_text("\x10\x11");
    assert_eq!(terminal.finish(), 0);
    assert_eq!(env.ps_field("tool", "State"), "running");
    env.ok(&["kill"]);
    env.down();
}

#[test]
fn ctrl_c_reaches_the_command() {
    let env = TestEnv::with("run-ctrl-c", "services: { tool: { x-windlass: { rootfs: host } } }");
    let script = "trap 'echo bye; exit 9' INT; echo ready; while :; do sleep 0.02; done";
    let mut run = env.start(&["run", "--rm", "-T", "tool", "sh", "-c", script]);
    run.wait_for("ready");
    run.signal(Signal::SIGINT);
    let output = run.finish(PATIENCE);
    assert_eq!((output.code, output.stdout.as_str()), (9, "ready\nbye\n"), "{}", output.text());
    assert_eq!(env.ps().len(), 0);
    // One that does not hear it is killed in the end.
    let mut run = env.start(&[
        "run",
        "--rm",
        "-T",
        "tool",
        "sh",
        "-c",
        "trap '' INT TERM; echo ready; while :; do sleep 0.02; done",
    ]);
    run.wait_for("ready");
    for _ in 0..3 {
        run.signal(Signal::SIGINT);
        // Signals that are pending at once are one.
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(run.finish(PATIENCE).code, 137);
    assert_eq!(env.ps().len(), 0);
    // While it waits for what it needs, nothing has begun that would have to hear it.
    let env = TestEnv::with(
        "run-give-up",
        r#"
services:
  tool: { x-windlass: { rootfs: host }, depends_on: { db: { condition: service_healthy } } }
  db:
    x-windlass: { rootfs: host }
    command: sleep 1000
    stop_signal: SIGKILL
    healthcheck: { test: ["CMD", "false"], interval: 50ms, retries: 1000000 }
"#,
    );
    let run = env.start(&["run", "-T", "tool", "true"]);
    support::eventually("what it needs runs", PATIENCE, || match &env.ps()[..] {
        [row, ..] if row["Service"] == "db" && row["State"] == "running" => Ok(()),
        rows => Err(format!("{rows:?}")),
    });
    run.signal(Signal::SIGINT);
    assert_eq!(run.finish(PATIENCE).code, 130);
    assert_eq!(env.ps().len(), 1, "the container that never ran is gone: {:?}", env.ps());
    env.down();
}

#[test]
fn rm_happens_without_the_command() {
    let env = TestEnv::with("run-rm", "services: { tool: { x-windlass: { rootfs: host }, volumes: ['/anonymous'] } }");
    let printed = fs::File::create(env.folder().join("printed")).unwrap();
    let mut run = env
        .command(&["run", "--rm", "-T", "tool", "sh", "-c", "echo ready; while :; do sleep 0.02; done"])
        .stdout(printed)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    support::eventually("it runs", PATIENCE, || {
        let text = fs::read_to_string(env.folder().join("printed")).unwrap();
        if text == "ready\n" { Ok(()) } else { Err(text) }
    });
    run.kill().unwrap();
    run.wait().unwrap();
    assert!(running_pid_of(&env, "tool").is_some(), "it outlives its command");
    env.ok(&["kill"]);
    support::eventually("it is removed with its end", PATIENCE, || {
        let rows = env.ps();
        if rows.is_empty() { Ok(()) } else { Err(format!("{rows:?}")) }
    });
    env.ok(&["run", "-d", "--rm", "tool", "true"]);
    support::eventually("it is removed with its end", PATIENCE, || {
        let rows = env.ps();
        if rows.is_empty() { Ok(()) } else { Err(format!("{rows:?}")) }
    });
    support::eventually("its anonymous volumes go with it", PATIENCE, || {
        let volumes = fs::read_dir(env.home().join("data/volumes"))
            .map_or(0, |folder| folder.flatten().filter(|entry| entry.path().is_dir()).count());
        if volumes == 0 { Ok(()) } else { Err(format!("{volumes} are left")) }
    });
    env.down();
}

#[test]
fn wait_tells_how_containers_end() {
    let env = TestEnv::with(
        "waits",
        r#"
services:
  quick: { x-windlass: { rootfs: host }, command: sh -c "exit 4" }
  slow: { x-windlass: { rootfs: host }, command: ["sh", "-c", "while ! test -e /marks/end; do sleep 0.02; done; exit 6"], volumes: ["./marks:/marks"] }
"#,
    );
    assert!(env.fails(&["wait", "quick"]).stderr.contains("no containers for project \"waits\""));
    env.ok(&["up", "-d"]);
    let output = env.run(&["wait", "quick"]);
    assert_eq!(output.code, 4, "also of one that has ended already: {}", output.text());
    assert!(output.stdout.contains("exited with status code 4"), "{}", output.text());
    let mut both = env.start(&["wait", "quick", "slow", "--down-project"]);
    both.wait_for("status code 4");
    env.file("marks/end", "");
    let output = both.finish(PATIENCE);
    assert_eq!(output.code, 6, "{}", output.text());
    assert!(output.stdout.contains("exited with status code 6"), "{}", output.text());
    env.assert_nothing_left();
}
