//! Further processes in a running container.

use windlass::runtime::spec::{ExecSpec, ExitStatus, TerminalSize};

use crate::support::Direct;

fn exec(script: &str) -> ExecSpec {
    let args = ["sh", "-c", script].map(str::to_owned).to_vec();
    ExecSpec { args, env: vec![], cwd: None, user: None, tty: false, size: TerminalSize::default(), privileged: false }
}

#[test]
fn it_is_inside_in_every_respect() {
    let mut keeper = Direct::new();
    let mut spec = keeper.spec(&["sleep", "1000"]);
    spec.process.env = vec!["A=own".into(), "B=own".into()];
    spec.process.cwd = "/data".into();
    spec.process.user = "web".into();
    let running = keeper.start(&spec);

    let mut question = exec(
        "hostname; id -u; pwd; echo $A $B; cat /proc/1/comm; for n in mnt pid ipc uts net cgroup; do readlink /proc/self/ns/$n; done; exit 4",
    );
    question.env = vec!["B=exec".into()];
    let outcome = keeper.exec(&spec.id, question).unwrap();
    assert_eq!(outcome.status, ExitStatus::Code(4), "{outcome:?}");
    let lines: Vec<_> = outcome.stdout.lines().collect();
    assert_eq!(lines[..5], ["box", "1000", "/data", "own exec", "sleep"]);
    for (line, name) in lines[5..].iter().zip(["mnt", "pid", "ipc", "uts", "net", "cgroup"]) {
        let own = std::fs::read_link(format!("/proc/{}/ns/{name}", running.pid)).unwrap();
        assert_eq!(*line, own.to_str().unwrap());
    }

    // The files that it was given stay their owner's.
    use std::os::unix::fs::MetadataExt;
    let owners = std::fs::read_dir(keeper.folder.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().uid());
    assert!(owners.into_iter().all(|uid| uid == 0));

    let mut root = exec("id -u; pwd; grep -E 'Cap(Inh|Eff|Bnd|Amb)|Seccomp:' /proc/self/status");
    root.user = Some("0".into());
    root.cwd = Some("/etc".into());
    let outcome = keeper.exec(&spec.id, root.clone()).unwrap();
    assert_eq!(
        outcome.stdout,
        "0\n/etc\nCapInh:\t0000000000000000\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\n\
         CapAmb:\t0000000000000000\nSeccomp:\t2\n"
    );
    root.privileged = true;
    let outcome = keeper.exec(&spec.id, root).unwrap();
    assert!(outcome.stdout.contains("Seccomp:\t0") && !outcome.stdout.contains("CapEff:\t00000000a8"), "{outcome:?}");

    let own = std::fs::read_to_string(format!("/proc/{}/cgroup", running.pid)).unwrap();
    let mut privileged = exec("cat /proc/self/cgroup");
    privileged.privileged = true;
    let outcome = keeper.exec(&spec.id, privileged).unwrap();
    for line in outcome.stdout.lines().filter(|line| line.contains("memory") || line.starts_with("0::")) {
        assert!(line.ends_with(":/"), "not in the container's group: {line} ({own})");
    }
    keeper.kill(running);
}

#[test]
fn errors_and_terminals() {
    let mut keeper = Direct::new();
    let spec = keeper.spec(&["sleep", "1000"]);
    let running = keeper.start(&spec);
    let command = |args: &[&str]| ExecSpec { args: args.iter().map(|a| (*a).to_owned()).collect(), ..exec("") };
    let mut failure = |spec_: ExecSpec| keeper.exec(&spec.id, spec_).unwrap_err();
    assert_eq!(failure(command(&["nonesuch"])).exit_code, 127);
    assert_eq!(failure(command(&["/etc/passwd"])).exit_code, 126);
    let user = failure(ExecSpec { user: Some("nobody".into()), ..exec("true") });
    assert!(user.to_string().contains("no user `nobody`"), "{user}");
    let cwd = failure(ExecSpec { cwd: Some("/proc/self/fd/3".into()), ..exec("true") });
    assert!(cwd.to_string().contains("working directory"), "{cwd}");

    let outcome = keeper.exec(&spec.id, ExecSpec { tty: true, ..exec("tty; exit 5") }).unwrap();
    assert_eq!((outcome.status, outcome.stdout.as_str()), (ExitStatus::Code(5), "/dev/pts/0\r\n"));
    keeper.kill(running);
    assert!(keeper.exec(&spec.id, exec("true")).unwrap_err().to_string().contains("is not running"));
}

#[test]
fn a_privileged_exec_sees_the_groups_of_the_container() {
    let mut keeper = Direct::new();
    let spec = keeper.spec(&["sleep", "1000"]);
    let running = keeper.start(&spec);
    let outcome = keeper.exec(&spec.id, exec("sleep 1000 & echo $!")).unwrap();
    assert_eq!(outcome.status, ExitStatus::Code(0));
    // The process that the exec left behind ends with the container.
    assert_eq!(keeper.kill(running).status, ExitStatus::Signal(9));
}
