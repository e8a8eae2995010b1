//! Limits are the kernel's, not a wish.

use std::fs;
use std::path::Path;

use crate::env::{PATIENCE, TestEnv};

/// The contents of all files of this name in the project's cgroups, in every hierarchy.
fn cgroup_files(env: &TestEnv, name: &str) -> Vec<String> {
    fn walk(folder: &Path, id: &str, inside: bool, name: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let inside = inside || entry.file_name().to_string_lossy().contains(id);
                walk(&entry.path(), id, inside, name, found);
            } else if inside && entry.file_name() == name {
                found.extend(fs::read_to_string(entry.path()));
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), &env.id(), false, name, &mut found);
    found
}

/// A block device of this machine, which has at least one for loops; an emulated one may have none.
pub fn disk() -> Option<String> {
    let names = fs::read_dir("/sys/block").unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
    // Without a medium in it, a drive takes no limits.
    let is_drive = |name: &str| name.starts_with("fd") || name.starts_with("sr");
    let mut names: Vec<String> = names.filter(|name| !is_drive(name)).collect();
    names.sort();
    let mut paths = names.into_iter().map(|name| format!("/dev/{name}"));
    paths.find(|path| Path::new(path).exists())
}

#[test]
fn memory_is_limited() {
    let env = TestEnv::with(
        "memory",
        r#"
services:
  hog: { image: "busybox:1.35", command: "sh -c 'head -c 200m /dev/zero | tail'", mem_limit: 32m, memswap_limit: 32m, init: true }
  fit: { image: "busybox:1.35", command: "sh -c 'head -c 8m /dev/zero | tail > /dev/null && echo fits'", mem_limit: 64m }
"#,
    );
    env.ok(&["up", "-d"]);
    support::eventually("the hog is killed and the other one ends", PATIENCE, || {
        let states = (env.ps_field("hog", "State"), env.ps_field("fit", "State"));
        if states == ("exited".into(), "exited".into()) { Ok(()) } else { Err(format!("{states:?}")) }
    });
    assert_eq!(env.ps_field("hog", "ExitCode"), "137");
    assert_eq!(env.ps_field("fit", "ExitCode"), "0");
    assert!(env.ok(&["logs", "fit"]).stdout.contains("fits"));
    env.down();
}

#[test]
fn processes_are_limited() {
    let env = TestEnv::with(
        "processes",
        r#"services: { box: { image: "busybox:1.35", command: sleep 1000, pids_limit: 10, stop_signal: SIGKILL } }"#,
    );
    env.ok(&["up", "-d"]);
    let output = env.run(&[
        "exec",
        "-T",
        "box",
        "sh",
        "-c",
        "for i in $(seq 30); do sleep 100 > /dev/null 2>&1 & done; echo all",
    ]);
    assert!(output.stderr.contains("can't fork"), "{}", output.text());
    env.down();
}

#[test]
fn processor_time_is_limited() {
    let env = TestEnv::with(
        "processor",
        r#"
services:
  box: { image: "busybox:1.35", command: "sh -c 'while :; do :; done'", cpus: 0.2, cpu_shares: 512, stop_signal: SIGKILL }
"#,
    );
    env.ok(&["up", "-d"]);
    support::eventually("the kernel holds it back", PATIENCE, || {
        let texts = cgroup_files(&env, "cpu.stat");
        let held = texts
            .iter()
            .flat_map(|text| text.lines())
            .filter_map(|line| line.strip_prefix("nr_throttled ")?.parse().ok())
            .max();
        if held > Some(3_u64) { Ok(()) } else { Err(format!("{texts:?}")) }
    });
    let quotas = [cgroup_files(&env, "cpu.cfs_quota_us"), cgroup_files(&env, "cpu.max")].concat();
    assert!(quotas.iter().any(|quota| quota.starts_with("20000")), "{quotas:?}");
    env.down();
}

#[test]
fn whoever_runs_in_a_container_can_read_its_limits() {
    let env = TestEnv::with(
        "readable",
        r#"
services:
  box: { image: "busybox:1.35", user: "1000:1000", command: sleep 1000, mem_limit: 64m, pids_limit: 50, stop_signal: SIGKILL }
"#,
    );
    env.ok(&["up", "-d"]);
    let read = "cd /sys/fs/cgroup; cat memory.max memory/memory.limit_in_bytes 2>/dev/null; :";
    assert_eq!(env.sh("box", read), "67108864");
    assert_eq!(env.sh("box", "cd /sys/fs/cgroup; cat pids.max pids/pids.max 2>/dev/null; :"), "50");
    assert_eq!(env.sh("box", "cd /sys/fs/cgroup; for d in . */; do mkdir $d/x 2>/dev/null && echo $d; done; :"), "");
    env.down();
}

#[test]
fn every_limit_is_where_the_kernel_reads_it() {
    let file = r#"
x-box: &box { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL }
services:
  box:
    <<: *box
    cpuset: "0"
    cpu_period: 50000
    cpu_quota: 25000
    mem_limit: 64m
    memswap_limit: 96m
    mem_reservation: 24m
    mem_swappiness: 11
    oom_kill_disable: true
BLKIO
  deployed:
    <<: *box
    deploy: { resources: { limits: { cpus: "0.3", memory: 48m, pids: 33 }, reservations: { memory: 20m } } }
"#;
    let blkio = |disk: &str| {
        r"    blkio_config:
      device_read_bps: [{ path: DEVICE, rate: 11mb }]
      device_read_iops: [{ path: DEVICE, rate: 12 }]
      device_write_bps: [{ path: DEVICE, rate: 13mb }]
      device_write_iops: [{ path: DEVICE, rate: 14 }]"
            .replace("DEVICE", disk)
    };
    let disk = disk();
    let env = TestEnv::with("everylimit", &file.replace("BLKIO", &disk.as_deref().map(blkio).unwrap_or_default()));
    let output = env.ok(&["up", "-d"]);
    // In one hierarchy or in many: the name and the value of either.
    let unified = !Path::new("/sys/fs/cgroup/memory").exists();
    let holds = |many: (&str, &str), one: (&str, &str)| {
        let (file, value) = if unified { one } else { many };
        let found = cgroup_files(&env, file);
        assert!(found.iter().any(|text| text.contains(value)), "{file}: {value} in {found:?}");
    };
    holds(("cpuset.cpus", "0"), ("cpuset.cpus", "0"));
    holds(("cpu.cfs_period_us", "50000"), ("cpu.max", "25000 50000"));
    holds(("cpu.cfs_quota_us", "25000"), ("cpu.max", "25000 50000"));
    holds(("memory.limit_in_bytes", "67108864"), ("memory.max", "67108864"));
    // A kernel may be told not to count what is swapped.
    if !unified || !cgroup_files(&env, "memory.swap.max").is_empty() {
        holds(("memory.memsw.limit_in_bytes", "100663296"), ("memory.swap.max", "33554432"));
    }
    holds(("memory.soft_limit_in_bytes", "25165824"), ("memory.low", "25165824"));
    if disk.is_some() {
        holds(("blkio.throttle.read_bps_device", " 11534336"), ("io.max", "rbps=11534336"));
        holds(("blkio.throttle.read_iops_device", " 12"), ("io.max", "riops=12"));
        holds(("blkio.throttle.write_bps_device", " 13631488"), ("io.max", "wbps=13631488"));
        holds(("blkio.throttle.write_iops_device", " 14"), ("io.max", "wiops=14"));
    }
    holds(("cpu.cfs_quota_us", "30000"), ("cpu.max", "30000 100000"));
    holds(("memory.limit_in_bytes", "50331648"), ("memory.max", "50331648"));
    holds(("pids.max", "33"), ("pids.max", "33"));
    holds(("memory.soft_limit_in_bytes", "20971520"), ("memory.low", "20971520"));
    if unified {
        for lacking in ["mem_swappiness", "oom_kill_disable"] {
            assert!(output.text().contains(lacking), "{lacking} is told of: {}", output.text());
        }
    } else {
        holds(("memory.swappiness", "11"), ("", ""));
        holds(("memory.oom_control", "oom_kill_disable 1"), ("", ""));
    }
    env.down();
}
