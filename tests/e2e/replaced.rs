//! What a container is to be replaced by cannot be had after all, though it could when that was checked: what runs goes
//! on running.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::env::{Output, PATIENCE, TestEnv};
use crate::net::{free_port, get_eventually};
use crate::volumes::Mounted;

/// Two services, of which the first ends when it is let, so that something can happen between the check and the start of
/// what takes the second's place. `second` are the second's other attributes.
fn stack(version: u32, second: &str) -> String {
    format!(
        r#"
services:
  first:
    x-windlass: {{ rootfs: host }}
    environment: {{ VERSION: "{version}" }}
    command: [sh, -c, "trap 'touch /gate/reached; while [ ! -e /gate/open ]; do sleep 0.05; done; exit' TERM; while :; do sleep 0.05; done"]
    stop_grace_period: 60s
    volumes: ["./gate:/gate"]
  second:
    environment: {{ VERSION: "{version}" }}
    stop_signal: SIGKILL
    depends_on: [first]
    {second}
"#
    )
}

/// Ids of the containers with what they do.
fn containers(env: &TestEnv) -> Vec<(String, String, String)> {
    let text = |container: &serde_json::Value, field: &str| container[field].as_str().unwrap_or_default().to_owned();
    let mut all: Vec<_> = env.ps().iter().map(|it| (text(it, "Service"), text(it, "State"), text(it, "ID"))).collect();
    all.sort();
    all
}

fn gate(env: &TestEnv, name: &str) -> PathBuf {
    env.folder().join("gate").join(name)
}

/// Brings the changed project up; `deed` happens when all was checked and the first service is on its way out.
fn changed(env: &TestEnv, to: &str, deed: impl FnOnce()) -> Output {
    env.file("compose.yaml", to);
    let up = env.start(&["up", "-d"]);
    support::eventually("the first one is told to stop", PATIENCE, || {
        if gate(env, "reached").exists() { Ok(()) } else { Err(format!("{:?}", containers(env))) }
    });
    deed();
    fs::write(gate(env, "open"), "").unwrap();
    up.finish(PATIENCE)
}

/// One row each, both run, and the second is the one that it was.
#[track_caller]
fn goes_on(env: &TestEnv, before: &[(String, String, String)], up: &Output) {
    let now = containers(env);
    let said = format!("{now:#?}\nbefore: {before:#?}\n{}", up.text());
    assert_eq!(now.len(), 2, "one row each: {said}");
    assert!(now.iter().all(|(_, state, _)| state == "running"), "{said}");
    assert_eq!(now[1].2, before[1].2, "the second is the one that it was: {said}");
    assert_eq!(env.sh("second", "echo $VERSION"), "1");
}

const HOST: &str = "x-windlass: { rootfs: host }\n    command: sleep 1000\n    ";

#[test]
fn a_port_that_was_checked_is_nobody_elses_until_the_start() {
    let (old, new) = (free_port(), free_port());
    let second = |port: u16| {
        format!("image: busybox:1.35\n    command: httpd -f -p 80 -h /etc\n    ports: [\"127.0.0.1:{port}:80\"]")
    };
    let env = TestEnv::with("stolen", &stack(1, &second(old)));
    env.ok(&["up", "-d"]);
    // A new port is held from the check on.
    let output = changed(&env, &stack(2, &second(new)), || {
        assert!(TcpListener::bind(("127.0.0.1", new)).is_err(), "it could be stolen");
    });
    assert_eq!(output.code, 0, "{}", output.text());
    get_eventually(new, "/hostname");
    // One that goes from the old container to the new one is never free.
    let (ended, env) = (AtomicBool::new(false), &env);
    std::thread::scope(|scope| {
        let thief = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                if let Ok(stolen) = TcpListener::bind(("127.0.0.1", new)) {
                    return Some(stolen);
                }
                std::thread::yield_now();
            }
            None
        });
        env.file("compose.yaml", &stack(3, &second(new)));
        let output = env.run(&["up", "-d"]);
        ended.store(true, Ordering::Relaxed);
        let stolen = thief.join().unwrap();
        assert!(stolen.is_none(), "the port was free for a moment: {}", output.text());
        assert_eq!(output.code, 0, "{}", output.text());
    });
    get_eventually(new, "/hostname");
    assert_eq!(env.ps().len(), 2);
    env.down();
}

#[test]
fn a_bind_source_that_vanishes_leaves_what_ran() {
    let second = |source: &str| {
        format!(
            "{HOST}volumes: [{{ type: bind, source: {source}, target: /bound, bind: {{ create_host_path: false }} }}]"
        )
    };
    let env = TestEnv::with("vanished", &stack(1, &second("./old")));
    fs::create_dir_all(env.folder().join("old")).unwrap();
    fs::create_dir_all(env.folder().join("new")).unwrap();
    env.ok(&["up", "-d"]);
    let before = containers(&env);
    let output = changed(&env, &stack(2, &second("./new")), || fs::remove_dir(env.folder().join("new")).unwrap());
    assert_eq!(output.code, 1, "{}", output.text());
    assert!(output.stderr.contains(env.folder().join("new").to_str().unwrap()), "{}", output.text());
    goes_on(&env, &before, &output);
    fs::create_dir_all(env.folder().join("new")).unwrap();
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("second", "echo $VERSION"), "2");
    env.down();
}

#[test]
fn an_image_that_is_removed_meanwhile_leaves_what_ran() {
    let second = |image: &str| format!("image: {image}\n    command: sleep 1000");
    let env = TestEnv::with("pruned", &stack(1, &second("busybox:1.35")));
    env.ok(&["up", "-d"]);
    env.ok(&["commit", "second", "other:1"]);
    let before = containers(&env);
    let output = changed(&env, &stack(2, &second("other:1\n    pull_policy: never")), || {
        env.run(&["image", "rm", "-f", "other:1"]);
        env.run(&["image", "prune", "-a", "-f"]);
    });
    // It is held for whom it was checked, or it is missed.
    if output.code != 0 {
        assert!(output.stderr.contains("other:1"), "{}", output.text());
        goes_on(&env, &before, &output);
    } else {
        assert_eq!(env.sh("second", "echo $VERSION"), "2");
    }
    assert_eq!(containers(&env).len(), 2);
    env.down();
}

#[test]
fn a_disk_that_gets_full_leaves_what_ran() {
    let mut env = TestEnv::new("filled");
    let disk = env.folder().join("disk");
    fs::create_dir(&disk).unwrap();
    let mounted = Mounted::tmpfs(&disk, "size=64m");
    env.set("WINDLASS_HOME", disk.join("home").to_str().unwrap());
    env.file("compose.yaml", &stack(1, HOST));
    env.ok(&["up", "-d"]);
    let before = containers(&env);
    let filling = disk.join("filling");
    let output = changed(&env, &stack(2, HOST), || assert!(fs::write(&filling, vec![0; 128 << 20]).is_err()));
    assert_eq!(output.code, 1, "{}", output.text());
    assert!(output.stderr.contains("No space left") && output.stderr.contains("system df"), "{}", output.text());
    goes_on(&env, &before, &output);
    fs::remove_file(&filling).unwrap();
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("second", "echo $VERSION"), "2");
    env.ok(&["down", "-v", "-t", "1"]);
    drop(mounted);
}
