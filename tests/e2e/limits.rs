//! Limits are the kernel's, not a wish.

use std::fs;
use std::path::{Path, PathBuf};

use crate::env::{PATIENCE, TestEnv};

/// The first file of this name in a cgroup of the project.
fn cgroup_file(env: &TestEnv, name: &str) -> Option<PathBuf> {
    fn walk(folder: &Path, id: &str, inside: bool, name: &str) -> Option<PathBuf> {
        let mut deeper = Vec::new();
        for entry in fs::read_dir(folder).ok()?.flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                deeper.push((path.clone(), inside || entry.file_name().to_string_lossy().contains(id)));
            }
        }
        // The limits are those of the container, below the project.
        for (path, inside) in deeper {
            if let Some(found) = walk(&path, id, inside, name) {
                return Some(found);
            }
        }
        (inside && folder.join(name).is_file()).then(|| folder.join(name))
    }
    walk(Path::new("/sys/fs/cgroup"), &env.id(), false, name)
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
    let output = env.run(&["exec", "-T", "box", "sh", "-c", "for i in $(seq 30); do sleep 100 & done; echo all"]);
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
        let path = cgroup_file(&env, "cpu.stat").ok_or("no cpu.stat of the container")?;
        let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
        let held = text.lines().find_map(|line| line.strip_prefix("nr_throttled ")?.parse::<u64>().ok());
        if held > Some(3) { Ok(()) } else { Err(format!("{}:\n{text}", path.display())) }
    });
    let quota = cgroup_file(&env, "cpu.cfs_quota_us").or_else(|| cgroup_file(&env, "cpu.max")).expect("a quota");
    assert!(fs::read_to_string(quota).unwrap().starts_with("20000"));
    env.down();
}
