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
