//! Starting, ending, and the errors in between.

use std::fs;

use windlass::runtime::spec::{ExitStatus, Rlimit};

use crate::support::{Direct, read_until};

#[test]
fn a_container_runs_and_its_output_and_status_come_back() {
    let mut keeper = Direct::new();
    let spec = keeper.shell("echo out; echo err >&2; exit 7");
    let outcome = keeper.run(&spec);
    assert_eq!(
        (outcome.status, outcome.stdout.as_str(), outcome.stderr.as_str()),
        (ExitStatus::Code(7), "out\n", "err\n")
    );
}

#[test]
fn a_signal_is_told_apart_from_a_code() {
    let mut keeper = Direct::new();
    let spec = keeper.spec(&["sleep", "1000"]);
    let running = keeper.start(&spec);
    assert_eq!(keeper.kill(running).status, ExitStatus::Signal(9));
}

#[test]
fn it_runs_again_with_what_it_has_written() {
    let mut keeper = Direct::new();
    let spec = keeper.shell("cat /data/n 2>/dev/null; echo more >> /data/n");
    assert_eq!(keeper.output(&spec), "");
    assert_eq!(keeper.output(&spec), "more\n");
    assert_eq!(keeper.output(&spec), "more\nmore\n");
}

#[test]
fn commands_that_cannot_be_executed() {
    let mut keeper = Direct::new();
    let mut check = |args: &[&str], code: i32, words: &str| {
        let spec = keeper.spec(args);
        let error = keeper.failure(&spec);
        assert_eq!(error.exit_code, code, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    check(&["nonesuch"], 127, "exec \"nonesuch\": executable file not found in $PATH");
    check(&["/bin/nonesuch"], 127, "no such file or directory");
    check(&["/etc/passwd"], 126, "permission denied");
    check(&["/etc"], 126, "is a directory");
    check(&[""], 127, "the command is empty");
    fs::write(keeper.lower().join("bin/wrong"), "\x7fELFnonsense").unwrap();
    fs::write(keeper.lower().join("bin/lost"), "#!/no/such/interpreter\n").unwrap();
    for file in ["wrong", "lost"] {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(keeper.lower().join("bin").join(file), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut check = |args: &[&str], code: i32, words: &str| {
        let spec = keeper.spec(args);
        let error = keeper.failure(&spec);
        assert_eq!(error.exit_code, code, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    check(&["wrong"], 126, "exec format error");
    check(&["lost"], 127, "interpreter");
}

#[test]
fn environment_user_and_working_directory() {
    let mut keeper = Direct::new();
    let mut spec = keeper.shell("id -u; id -g; id -G; pwd; echo $HOME $HOSTNAME $A $PATH; hostname");
    spec.process.user = "web".into();
    spec.process.groups = vec!["77".into()];
    spec.process.cwd = "/made/by/start".into();
    spec.process.env = vec!["A=1 2".into()];
    assert_eq!(
        keeper.output(&spec),
        "1000\n1001\n1001 4 77\n/made/by/start\n/home/web box 1 2 \
         /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nbox\n"
    );
    let mut spec = keeper.shell("true");
    spec.process.user = "nobody".into();
    assert!(keeper.failure(&spec).to_string().contains("no user `nobody`"));
}

#[test]
fn a_user_may_open_its_own_output() {
    let mut keeper = Direct::new();
    let mut spec = keeper.shell("echo a > /dev/stdout; echo b > /dev/stderr; echo c > /proc/self/fd/1");
    spec.process.user = "web".into();
    let outcome = keeper.run(&spec);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("a\nc\n", "b\n"), "{outcome:?}");
}

#[test]
fn limits_of_the_process() {
    let mut keeper = Direct::new();
    let mut spec = keeper.shell("ulimit -n; ulimit -c; cat /proc/self/oom_score_adj; umask");
    let limit = |name: &str, soft, hard| Rlimit { name: name.into(), soft, hard };
    spec.process.rlimits = vec![limit("nofile", 100, 200), limit("core", 0, 0)];
    spec.process.oom_score_adj = Some(300);
    assert_eq!(keeper.output(&spec), "100\n0\n300\n0022\n");
    spec.process.rlimits = vec![limit("nofiles", 1, 1)];
    assert!(keeper.failure(&spec).to_string().contains("ulimit nofiles: there is no such limit"));
}

#[test]
fn a_limit_above_what_is_allowed_is_a_warning() {
    let mut keeper = Direct::new();
    let mut spec = keeper.shell("ulimit -n");
    spec.process.rlimits = vec![Rlimit { name: "nofile".into(), soft: 1 << 40, hard: 1 << 40 }];
    let running = keeper.start(&spec);
    assert!(running.warnings[0].contains("ulimit nofile"), "{:?}", running.warnings);
    assert_eq!(keeper.finish(running).status, ExitStatus::Code(0));
}

#[test]
fn stdin_is_a_pipe_that_can_be_closed_or_nothing() {
    let mut keeper = Direct::new();
    let spec = keeper.shell("cat; echo end");
    assert_eq!(keeper.output(&spec), "end\n");
    let mut spec = keeper.shell("cat; echo end");
    spec.process.stdin_open = true;
    let mut running = keeper.start(&spec);
    rustix::io::write(&running.fds[0], b"hello\n").unwrap();
    read_until(&running.fds[1], "hello");
    running.fds[0] = fs::File::open("/dev/null").unwrap().into();
    let request = windlass::keeper::protocol::KeeperRequest::CloseStdin { container: spec.id.clone() };
    keeper.send(&request, &[]);
    assert_eq!(keeper.finish(running).stdout, "end\n");
}

#[test]
fn a_terminal() {
    let mut keeper = Direct::new();
    let mut spec = keeper.shell("tty; test -c /dev/console && echo console; read line; echo got $line; echo $TERM");
    spec.process.tty = true;
    let running = keeper.start(&spec);
    assert_eq!(running.fds.len(), 1);
    read_until(&running.fds[0], "console");
    rustix::io::write(&running.fds[0], b"hi\n").unwrap();
    let text = read_until(&running.fds[0], "xterm");
    assert!(text.contains("got hi"), "{text}");
    assert_eq!(keeper.finish(running).status, ExitStatus::Code(0));
}

#[test]
fn the_terminal_interrupts_the_program() {
    for init in [false, true] {
        let mut keeper = Direct::new();
        let mut spec = keeper.shell("trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.01; done");
        spec.process.tty = true;
        spec.init = init;
        let running = keeper.start(&spec);
        read_until(&running.fds[0], "ready");
        rustix::io::write(&running.fds[0], &[3]).unwrap();
        read_until(&running.fds[0], "caught");
        assert_eq!(keeper.finish(running).status, ExitStatus::Code(3));
    }
}

#[test]
fn our_init_reaps_forwards_and_ends_as_the_program_does() {
    let mut keeper = Direct::new();
    let mut spec = keeper
        .shell("trap 'exit 9' TERM; echo $$; (sh -c 'sleep 0.02 & exit' ); echo ready; while :; do sleep 0.01; done");
    spec.init = true;
    let running = keeper.start(&spec);
    let text = read_until(&running.fds[1], "ready");
    assert!(text.starts_with("2\n"), "the program is not the init: {text}");
    assert_eq!(fs::read_to_string(format!("/proc/{}/comm", running.pid)).unwrap(), "init\n");
    let title = fs::read(format!("/proc/{}/cmdline", running.pid)).unwrap();
    assert_eq!(String::from_utf8_lossy(&title).trim_end_matches('\0'), "windlass-init");
    rustix::process::pidfd_send_signal(&running.pidfd, rustix::process::Signal::TERM).unwrap();
    assert_eq!(keeper.finish(running).status, ExitStatus::Code(9));

    let mut spec = keeper.spec(&["nonesuch"]);
    spec.init = true;
    assert_eq!(keeper.failure(&spec).exit_code, 127);

    let mut spec = keeper.shell("kill -9 $$");
    spec.init = true;
    assert_eq!(keeper.run(&spec).status, ExitStatus::Code(137));
}
