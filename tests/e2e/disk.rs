//! Records that are damaged or of another version, a full disk, a disk that cannot be written.

use std::fs;
use std::path::PathBuf;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::crash::supervisor;
use crate::env::{PATIENCE, TestEnv};

const STACK: &str = r#"
services:
  web: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL, environment: { SETTING: "${SETTING:-1}" } }
  db: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL, volumes: ["data:/data"] }
volumes: { data: }
"#;

fn pid(env: &TestEnv, service: &str) -> Pid {
    let text = env.ok(&["top", service]).stdout;
    let cells: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
    Pid::from_raw(cells[3].parse().unwrap())
}

/// The next supervisor reads what is on disk.
fn new_supervisor(env: &TestEnv) {
    let old = supervisor(env).unwrap();
    kill(old, Signal::SIGKILL).unwrap();
    support::eventually("there is another supervisor", PATIENCE, || match supervisor(env) {
        Some(pid) if pid != old => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn a_record_that_cannot_be_read_is_named_with_its_remedy_and_costs_nothing_else() {
    let env = TestEnv::with("unreadable", STACK);
    for (content, remedy) in
        [("{\"version\":1,\"na", "windlass down"), ("", "windlass down"), ("{\"version\":99}", "newer")]
    {
        env.ok(&["up", "-d"]);
        env.sh("db", "echo kept > /data/file");
        let (web, db) = (pid(&env, "web"), pid(&env, "db"));
        let id = env.ok(&["ps", "-q", "web"]).stdout.trim().to_owned();
        let path: PathBuf = env.home().join("data/projects/unreadable/containers").join(&id).join("record.json");
        fs::write(&path, content).unwrap();
        new_supervisor(&env);
        for arguments in [&["ps"][..], &["up", "-d"], &["ls"]] {
            let output = env.fails(arguments);
            assert!(output.stderr.contains(path.to_str().unwrap()), "{arguments:?}: {}", output.text());
            assert!(output.stderr.contains(remedy), "{arguments:?}: {}", output.text());
        }
        for pid in [web, db] {
            assert!(kill(pid, None).is_ok(), "{pid} goes on");
        }
        env.ok(&["down", "-t", "1"]);
        assert!(kill(web, None).is_err());
        env.ok(&["up", "-d"]);
        assert_eq!(env.sh("db", "cat /data/file"), "kept");
    }
    env.down();
}

#[test]
fn a_disk_that_is_full_or_read_only_is_told_and_costs_nothing() {
    let mut env = TestEnv::with("tight", STACK);
    let disk = env.folder().join("disk");
    fs::create_dir(&disk).unwrap();
    mount(Some("tmpfs"), &disk, Some("tmpfs"), MsFlags::empty(), Some("size=64m")).unwrap();
    env.set("WINDLASS_HOME", disk.join("home").to_str().unwrap());
    env.ok(&["up", "-d"]);
    let db = pid(&env, "db");
    let filling = disk.join("filling");
    assert!(fs::write(&filling, vec![0; 128 << 20]).is_err());
    env.set("SETTING", "2");
    let output = env.fails(&["up", "-d"]);
    assert!(output.stderr.contains("No space left") && output.stderr.contains("system df"), "{}", output.text());
    assert_eq!(pid(&env, "db"), db);
    fs::remove_file(&filling).unwrap();
    env.ok(&["up", "-d"]);
    assert_eq!(pid(&env, "db"), db);
    assert_eq!(env.sh("web", "echo $SETTING"), "2");
    env.ok(&["down", "-t", "1"]);
    let remount = |flags| mount(None::<&str>, &disk, None::<&str>, MsFlags::MS_REMOUNT | flags, None::<&str>);
    support::eventually("nothing is open for writing", PATIENCE, || {
        remount(MsFlags::MS_RDONLY).map_err(|error| error.to_string())
    });
    let output = env.fails(&["up", "-d"]);
    assert!(output.stderr.contains("ead-only") && output.stderr.contains("WINDLASS_HOME"), "{}", output.text());
    assert!(env.ps().is_empty());
    remount(MsFlags::empty()).unwrap();
    env.ok(&["up", "-d"]);
    env.ok(&["down", "-v", "-t", "1"]);
    support::eventually("the disk is not used any more", PATIENCE, || {
        umount2(&disk, MntFlags::empty()).map_err(|error| error.to_string())
    });
}
