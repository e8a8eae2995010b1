//! Limits are written, and enforced by the kernel.

use windlass::runtime::cgroup::{ControlGroup, Layout};
use windlass::runtime::spec::{ExitStatus, Limits};

use crate::support::{Direct, groups, read_until, until};

fn read(spec_path: &str, controller: &str, files: &[&str]) -> String {
    let folders = groups(spec_path);
    let named = folders.iter().find(|f| f.starts_with(format!("/sys/fs/cgroup/{controller}"))).or(folders.first());
    let folder = named.unwrap();
    let found = files.iter().find_map(|file| std::fs::read_to_string(folder.join(file)).ok());
    found.unwrap_or_else(|| panic!("none of {files:?} in {}", folder.display())).trim().to_owned()
}

#[test]
fn they_are_written_where_the_kernel_reads_them() {
    let mut keeper = Direct::new();
    let mut spec = keeper.spec(&["sleep", "1000"]);
    spec.cgroup.limits = Limits {
        nano_cpus: Some(250_000_000),
        cpu_shares: Some(512),
        cpuset_cpus: Some("0".into()),
        memory: Some(32 << 20),
        pids: Some(64),
        ..Limits::default()
    };
    let running = keeper.start(&spec);
    let path = &spec.cgroup.path;
    assert!(["25000", "25000 100000"].contains(&read(path, "cpu", &["cpu.cfs_quota_us", "cpu.max"]).as_str()));
    assert_eq!(read(path, "memory", &["memory.limit_in_bytes", "memory.max"]), "33554432");
    assert_eq!(read(path, "pids", &["pids.max"]), "64");
    assert_eq!(read(path, "cpuset", &["cpuset.cpus"]), "0");
    for folder in groups(path) {
        let pids = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap();
        assert!(pids.contains(&running.pid.to_string()), "not in {}", folder.display());
    }
    keeper.kill(running);
}

#[test]
fn memory_and_processes_are_limited() {
    let mut keeper = Direct::new();
    let mut spec = keeper.shell("x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo survived");
    spec.cgroup.limits.memory = Some(16 << 20);
    spec.cgroup.limits.memory_swap = Some(16 << 20);
    let outcome = keeper.run(&spec);
    assert!(outcome.oom_killed && outcome.status != ExitStatus::Code(0), "{outcome:?}");

    let mut spec = keeper.shell("for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; wait");
    spec.cgroup.limits.pids = Some(4);
    let outcome = keeper.run(&spec);
    assert!(outcome.stderr.contains("can't fork") && !outcome.oom_killed, "{outcome:?}");
}

#[test]
fn freeze_thaw_and_kill_reach_every_process() {
    let mut keeper = Direct::new();
    let spec = keeper.shell("(trap '' TERM; sleep 1000) & i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done");
    let running = keeper.start(&spec);
    read_until(&running.fds[1], "1\n");
    // As another process would: by the path alone.
    let group = ControlGroup::new(&Layout::detect().unwrap(), &spec.cgroup.path);
    group.freeze().unwrap();
    crate::support::drain(&running.fds[1]);
    std::thread::sleep(std::time::Duration::from_millis(30));
    assert_eq!(crate::support::drain(&running.fds[1]), "");
    group.thaw().unwrap();
    read_until(&running.fds[1], "\n");
    assert!(group.pids().unwrap().len() >= 2);
    group.kill().unwrap();
    assert_eq!(keeper.finish(running).status, ExitStatus::Signal(9));
    until("no process", || group.pids().unwrap().is_empty());
}
