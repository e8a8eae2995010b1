//! Images and neighbours that attack. Each test does what a published flaw needed, and looks at the host.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use windlass::runtime::spec::{ExecSpec, ExitStatus, Mount, MountKind, Propagation, Seccomp, TerminalSize};

use crate::support::{Direct, until};

fn bind(source: &Path, target: &str) -> Mount {
    let kind = MountKind::Bind {
        source: source.into(),
        subpath: None,
        read_only: false,
        recursive: true,
        propagation: Propagation::Rprivate,
    };
    Mount { target: target.into(), kind }
}

fn replace_by_link(keeper: &Direct, name: &str, target: &str) {
    let path = keeper.lower().join(name);
    if path.is_dir() {
        fs::remove_dir_all(&path).unwrap();
    } else {
        let _ = fs::remove_file(&path);
    }
    symlink(target, path).unwrap();
}

/// CVE-2019-19921, CVE-2023-27561, CVE-2023-28642.
#[test]
fn an_image_whose_proc_or_sys_is_a_link() {
    for name in ["proc", "sys", "dev"] {
        let mut keeper = Direct::new();
        fs::create_dir(keeper.lower().join("evil")).unwrap();
        replace_by_link(&keeper, name, "/evil");
        let spec = keeper.spec(&["true"]);
        let error = keeper.failure(&spec);
        assert!(error.to_string().contains(&format!("the image's /{name} is not a directory")), "{error}");
        assert_eq!(fs::read_dir(keeper.lower().join("evil")).unwrap().count(), 0);
    }
}

/// CVE-2026-41579, CVE-2026-47766: nothing is made where the link points.
#[test]
fn an_image_whose_dev_points_out() {
    let mut keeper = Direct::new();
    let outside = keeper.path("outside");
    fs::create_dir(&outside).unwrap();
    replace_by_link(&keeper, "dev", &format!("../../../../../../..{}", outside.display()));
    let spec = keeper.spec(&["true"]);
    keeper.failure(&spec);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

/// CVE-2025-31133: what masks is the null device that we made.
#[test]
fn an_image_whose_null_device_is_something_else() {
    let mut keeper = Direct::new();
    symlink("/proc/sys/kernel/core_pattern", keeper.lower().join("dev/null")).unwrap();
    let before = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let text = keeper.script("cat /proc/keys /proc/timer_list | wc -c; stat -c '%F %t:%T' /proc/keys /dev/null");
    assert_eq!(text, "0\ncharacter special file 1:3\ncharacter special file 1:3\n");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), before);
}

/// CVE-2024-21626: neither the keeper's descriptors nor its caller's are a way out.
#[test]
fn descriptors_do_not_leak() {
    // The keeper inherits this one, as it would from a careless caller.
    let root = fs::File::open("/").unwrap();
    rustix::io::fcntl_setfd(&root, rustix::io::FdFlags::empty()).unwrap();
    assert!(root.as_raw_fd() > 2);
    let mut keeper = Direct::new();
    for entry in fs::read_dir(format!("/proc/{}/fd", keeper.child.id())).unwrap() {
        let target = fs::read_link(entry.unwrap().path()).unwrap();
        assert_ne!(target, Path::new("/"), "the keeper has kept what its caller left open");
    }
    for number in 3..24 {
        let mut spec = keeper.spec(&["pwd"]);
        spec.process.cwd = format!("/proc/self/fd/{number}").into();
        let error = keeper.failure(&spec);
        assert!(error.step.contains("working directory"), "{error}");
    }
    // Only the standard streams, and the one with which `ls` reads the folder.
    let spec = keeper.spec(&["ls", "/proc/self/fd"]);
    assert_eq!(keeper.output(&spec), "0\n1\n2\n3\n");
    let mut spec = keeper.spec(&["ls", "/proc/self/fd"]);
    spec.init = true;
    assert_eq!(keeper.output(&spec), "0\n1\n2\n3\n");

    let spec = keeper.spec(&["sleep", "1000"]);
    let running = keeper.start(&spec);
    let exec = |args: &[&str], cwd: Option<&str>| ExecSpec {
        args: args.iter().map(|a| (*a).to_owned()).collect(),
        env: vec![],
        cwd: cwd.map(Into::into),
        user: None,
        tty: false,
        size: TerminalSize::default(),
        privileged: false,
    };
    for number in 3..16 {
        let cwd = format!("/proc/self/fd/{number}");
        assert!(keeper.exec(&spec.id, exec(&["pwd"], Some(&cwd))).is_err());
    }
    assert_eq!(keeper.exec(&spec.id, exec(&["ls", "/proc/self/fd"], None)).unwrap().stdout, "0\n1\n2\n3\n");
    // And none is a program.
    for number in 3..16 {
        let program = format!("/proc/self/fd/{number}");
        assert!(keeper.exec(&spec.id, exec(&[&program], None)).is_err());
    }
    keeper.kill(running);
}

/// CVE-2019-5736: a container never gets a descriptor with which the binary can be written.
#[test]
fn the_binary_stays_as_it_is() {
    let mut keeper = Direct::new();
    let binary = env!("CARGO_BIN_EXE_windlass");
    let before = fs::metadata(binary).unwrap();
    fs::write(keeper.lower().join("bin/trap"), "#!/proc/self/exe\n").unwrap();
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    fs::set_permissions(keeper.lower().join("bin/trap"), fs::Permissions::from_mode(0o755)).unwrap();
    // Looks at every process that appears, and tries to open its binary for writing.
    let mut spec = keeper.shell(
        "while :; do for e in /proc/[0-9]*/exe; do
            t=$(readlink $e 2>/dev/null); case \"$t\" in */busybox|'') ;; *) echo \"saw $t\"; : >> $e && echo WRITTEN;; esac
        done; done",
    );
    spec.init = true;
    let running = keeper.start(&spec);
    for _ in 0..30 {
        let exec = ExecSpec {
            args: vec!["trap".into()],
            env: vec![],
            cwd: None,
            user: None,
            tty: false,
            size: TerminalSize::default(),
            privileged: false,
        };
        let _ = keeper.exec(&spec.id, exec);
    }
    let outcome = keeper.kill(running);
    assert!(!outcome.stdout.contains("WRITTEN"), "{outcome:?}");
    let after = fs::metadata(binary).unwrap();
    assert_eq!((before.mtime(), before.mtime_nsec(), before.size()), (after.mtime(), after.mtime_nsec(), after.size()));
}

/// CVE-2016-9962: a process that is being set up cannot be looked into from the container, not even by its root.
#[test]
fn a_process_being_set_up_is_closed_to_the_container() {
    let mut keeper = Direct::new();
    let mut spec = keeper.shell(
        "while :; do for d in /proc/[0-9]*; do
            case $d in /proc/1|/proc/$$) continue;; esac
            n=$(readlink $d/exe) && case \"$n\" in *busybox) ;; *) echo \"LOOKED $n $(ls -l $d/fd)\";; esac
        done; done 2>/dev/null",
    );
    spec.init = false;
    let running = keeper.start(&spec);
    for _ in 0..30 {
        let args = vec!["true".to_owned()];
        let exec = ExecSpec {
            args,
            env: vec![],
            cwd: None,
            user: None,
            tty: false,
            size: TerminalSize::default(),
            privileged: false,
        };
        keeper.exec(&spec.id, exec).unwrap();
    }
    let outcome = keeper.kill(running);
    assert!(!outcome.stdout.contains("LOOKED"), "{outcome:?}");
}

/// CVE-2021-30465, CVE-2024-45310: the target of a mount is exchanged for a link while it is resolved.
#[test]
fn a_neighbour_exchanges_the_target() {
    let mut keeper = Direct::new();
    let shared = keeper.path("shared");
    let outside = keeper.path("outside");
    fs::create_dir_all(shared.join("dst")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "").unwrap();
    symlink(format!("../../../../../../..{}", outside.display()), shared.join("link")).unwrap();
    let source = keeper.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("mine"), "").unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let (folder, stopped) = (shared.clone(), Arc::clone(&stop));
    let attacker = std::thread::spawn(move || {
        let folder = fs::File::open(&folder).unwrap();
        while !stopped.load(Ordering::Relaxed) {
            let flags = rustix::fs::RenameFlags::EXCHANGE;
            let _ = rustix::fs::renameat_with(&folder, "dst", &folder, "link", flags);
        }
    });
    let mounts_before = fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    for _ in 0..60 {
        let mut spec = keeper.shell("ls /v/dst /v/link /v/dst/made; ls /etc/machine-id");
        spec.mounts = vec![bind(&shared, "/v"), bind(&source, "/v/dst"), bind(&source, "/v/dst/made/deep")];
        match keeper.try_start(&spec) {
            Ok(running) => {
                let outcome = keeper.finish(running);
                assert!(!outcome.stdout.contains("secret") && !outcome.stdout.contains("machine-id"), "{outcome:?}");
            }
            Err(error) => assert!(error.step.starts_with("mount"), "{error}"),
        }
    }
    stop.store(true, Ordering::Relaxed);
    attacker.join().unwrap();
    let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["secret"], "something was made on the host");
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count(), mounts_before);
}

/// Account files that would hang or mislead whoever reads them.
#[test]
fn account_files_are_hostile() {
    for make in ["fifo", "device", "outside", "proc", "huge", "missing"] {
        let mut keeper = Direct::new();
        let passwd = keeper.lower().join("etc/passwd");
        fs::remove_file(&passwd).unwrap();
        match make {
            "fifo" => nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            "device" => symlink("/dev/zero", &passwd).unwrap(),
            "outside" => symlink("../../../../../../../etc/passwd", &passwd).unwrap(),
            "proc" => symlink("/proc/self/environ", &passwd).unwrap(),
            "huge" => fs::File::create(&passwd).unwrap().set_len(1 << 40).unwrap(),
            _ => {}
        }
        // Not `id`, which reads the file itself.
        let mut spec = keeper.shell("grep Uid: /proc/self/status | cut -f2");
        spec.process.user = "1234:5".into();
        assert_eq!(keeper.output(&spec), "1234\n", "{make}");
        spec.process.user = "daemon".into();
        assert!(keeper.failure(&spec).to_string().contains("has no user `daemon`"), "{make}");
    }
}

/// CVE-2026-31431 and what else the default filter forbids, asked of the kernel itself.
#[test]
fn forbidden_sockets_and_a_filter_of_one_s_own() {
    let mut keeper = Direct::new();
    let mut spec = keeper.shell("mkdir /tmp/x && echo made");
    spec.security.seccomp = Seccomp::Profile(
        r#"{"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 30}]}"#
            .into(),
    );
    let outcome = keeper.run(&spec);
    assert!(outcome.stderr.contains("Read-only file system"), "{outcome:?}");
    spec.security.seccomp = Seccomp::Profile("{}".into());
    assert!(keeper.failure(&spec).to_string().contains("seccomp profile: missing field `defaultAction`"));

    // Kills the container's own process, and nothing else.
    spec.security.seccomp = Seccomp::Profile(
        r#"{"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}]}"#
            .into(),
    );
    spec.process.args = ["mkdir", "/tmp/y"].map(str::to_owned).to_vec();
    assert_eq!(keeper.run(&spec).status, ExitStatus::Signal(31));
}

/// A container in the host's network finds no socket of ours without a path.
#[test]
fn no_abstract_socket() {
    let keeper = Direct::new();
    let text = fs::read_to_string(format!("/proc/{}/net/unix", keeper.child.id())).unwrap();
    assert!(!text.lines().any(|line| line.contains('@') && line.contains("windlass")), "{text}");
}

/// What a container leaves running ends with it.
#[test]
fn nothing_outlives_the_container() {
    let mut keeper = Direct::new();
    let spec =
        keeper.shell("setsid sleep 1000 & setsid sh -c 'sleep 1000 & sleep 1000' & echo started; exec sleep 1000");
    let running = keeper.start(&spec);
    crate::support::read_until(&running.fds[1], "started");
    let layout = windlass::runtime::cgroup::Layout::detect().unwrap();
    let group = windlass::runtime::cgroup::ControlGroup::new(&layout, &spec.cgroup.path);
    until("all have started", || group.pids().unwrap().len() >= 4);
    let pids = group.pids().unwrap();
    keeper.kill(running);
    until("all have ended", || pids.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()));
}
