//! `x-windlass.install`: packages in volumes by image and lock file, never half made and never stale.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use nix::sys::signal::{Signal, kill};

use crate::crash::keeper;
use crate::env::{PATIENCE, TestEnv};
use crate::watch::Watch;

/// The step copies the lock file, and leaves a line in the project's folder each time it runs.
const STEP: &str = "cat requirements.txt >/opt/packages/lock && echo run >>runs";

fn project(name: &str, step: &str) -> TestEnv {
    let env = TestEnv::with(
        name,
        &format!(
            "services:\n  web:\n    x-windlass:\n      rootfs: host\n      install: {{ command: '{step}', target: /opt/packages }}\n    \
             working_dir: /app\n    volumes: [\".:/app\"]\n    command: sleep 1000\n    stop_signal: SIGKILL\n    network_mode: none\n"
        ),
    );
    env.file("requirements.txt", "one\n");
    env
}

/// How often the step ran.
fn runs(env: &TestEnv) -> usize {
    fs::read_to_string(env.folder().join("runs")).map_or(0, |text| text.lines().count())
}

fn volumes(env: &TestEnv) -> Vec<String> {
    env.ok(&["volume", "ls", "-q"]).stdout.lines().map(str::to_owned).collect()
}

fn id(env: &TestEnv) -> String {
    env.ps_field("web", "ID")
}

#[test]
fn packages_are_installed_once_for_each_content_of_the_lock_file() {
    let env = project("install-once", STEP);
    env.ok(&["up", "-d"]);
    assert_eq!((env.sh("web", "cat /opt/packages/lock"), runs(&env)), ("one".into(), 1));
    let first = id(&env);
    assert_eq!(env.ps().len(), 1, "the step's container is gone");
    assert_eq!(env.ok(&["up", "--dry-run"]).stderr.trim(), "nothing to do");
    env.ok(&["up", "-d", "--force-recreate"]);
    env.ok(&["up", "-d"]);
    assert_eq!(runs(&env), 1);
    assert_ne!(id(&env), first);
    // Another content: why, and then what.
    let kept = id(&env);
    env.file("requirements.txt", "two\n");
    let planned = env.ok(&["up", "--dry-run"]).stderr;
    let step = "install the packages of web: requirements.txt changed (compose.yaml:5)";
    assert!(planned.contains(step) && planned.contains("recreate container"), "{planned}");
    assert!(env.ok(&["explain", "web"]).stdout.contains(step));
    assert_eq!((id(&env), runs(&env)), (kept, 1), "nothing was done");
    env.ok(&["up", "-d"]);
    assert_eq!((env.sh("web", "cat /opt/packages/lock"), runs(&env)), ("two".into(), 2));
    // What was there is there.
    env.file("requirements.txt", "one\n");
    env.ok(&["up", "-d"]);
    assert_eq!((env.sh("web", "cat /opt/packages/lock"), runs(&env)), ("one".into(), 2));
    assert_eq!(volumes(&env).len(), 2);
    // Those of no container can go, and `down` leaves the others.
    env.ok(&["volume", "prune", "-f"]);
    assert_eq!(volumes(&env).len(), 1);
    env.ok(&["down", "-t", "0"]);
    assert_eq!(env.ok(&["run", "--rm", "-T", "web", "cat", "/opt/packages/lock"]).stdout, "one\n");
    assert_eq!(runs(&env), 2);
    env.file("requirements.txt", "three\n");
    assert_eq!(env.ok(&["run", "--rm", "-T", "-w", "/", "web", "cat", "/opt/packages/lock"]).stdout, "three\n");
    // Also when nothing else of the project is left.
    env.ok(&["down"]);
    assert!(!env.home().join("data/projects/install-once").exists() && !volumes(&env).is_empty());
    env.ok(&["down", "-v"]);
    assert_eq!(volumes(&env), Vec::<String>::new());
    env.assert_nothing_left();
}

#[test]
fn a_watch_installs_when_the_lock_file_changes() {
    let env = project("install-watch", &format!("{STEP} && echo \"all of it is here\""));
    let needs = "depends_on: { web: { condition: service_started, restart: true } }";
    env.file(
        "compose.override.yaml",
        &format!(
            "services: {{ worker: {{ x-windlass: {{ rootfs: host }}, command: sleep 1000, stop_signal: SIGKILL, network_mode: none, {needs} }} }}"
        ),
    );
    let mut watch = Watch::start(&env, &[]);
    let first = id(&env);
    let began = || env.sh("worker", "cut -d' ' -f22 /proc/1/stat");
    let mut worker = began();
    for (content, installed, times) in [("two\n", true, 2), ("one\n", false, 2)] {
        env.file("requirements.txt", content);
        let event = watch.applied("requirements.txt");
        assert_eq!(event["actions"], serde_json::json!(["install"]));
        assert_eq!(event["installed"], installed, "{event:#}");
        assert_eq!(event["restarted"].as_array().unwrap().len(), 2, "with the dependent that asks for it: {event:#}");
        let now = began();
        assert_ne!(now, worker);
        worker = now;
        assert_eq!((env.sh("web", "cat /opt/packages/lock"), runs(&env)), (content.trim().into(), times));
    }
    // The step's own lines, as they came.
    let said = watch.events();
    let lines = said.iter().filter(|event| event["event"] == "install" && event["text"] == "all of it is here");
    assert_eq!(lines.count(), 1, "{said:#?}");
    assert_ne!(id(&env), first);
    // Touched, and the same.
    let before = id(&env);
    env.file("requirements.txt", "one\n");
    assert_eq!(watch.applied("requirements.txt")["restarted"], serde_json::json!([]));
    assert_eq!((id(&env), runs(&env)), (before, 2));
    watch.end();
    env.down();
}

#[test]
fn a_container_that_is_made_anew_has_the_files_that_were_copied() {
    let env = TestEnv::with(
        "install-image",
        r#"
services:
  web:
    image: "busybox:1.35"
    user: "1234:99"
    x-windlass: { install: { command: "id -u >/opt/packages/who; cat /locks/my.lock >/opt/packages/lock", lock: ./locks/my.lock, target: /opt/packages } }
    volumes: [./locks:/locks]
    command: sleep 1000
    stop_signal: SIGKILL
    network_mode: none
    develop: { watch: [{ path: ./src, action: sync, target: /tmp/src }] }
"#,
    );
    env.file("locks/my.lock", "one\n");
    env.file("src/a", "1");
    env.ok(&["up", "-d"]);
    let mut watch = Watch::start(&env, &[]);
    assert_eq!(env.sh("web", "cat /opt/packages/*"), "one\n1234");
    env.file("src/a", "2");
    watch.applied("src/a");
    env.file("locks/my.lock", "two\n");
    assert_eq!(watch.applied("my.lock")["installed"], true);
    assert_eq!(env.sh("web", "cat /opt/packages/* /tmp/src/a"), "two\n1234\n2");
    watch.end();
    env.down();
}

#[test]
fn a_step_that_fails_under_watch_is_told_and_mended() {
    let env = project("install-watch-fails", "grep -v bad requirements.txt >/opt/packages/lock");
    let mut watch = Watch::start(&env, &[]);
    let first = id(&env);
    env.file("requirements.txt", "bad\n");
    support::eventually("the failure is told", PATIENCE, || {
        let events = watch.events();
        let told =
            |event: &serde_json::Value| event["error"].as_str().is_some_and(|text| text.contains("install step"));
        if events.iter().any(told) { Ok(()) } else { Err(format!("{events:#?}")) }
    });
    assert_eq!((id(&env), env.sh("web", "cat /opt/packages/lock")), (first, "one".into()));
    env.file("requirements.txt", "two\n");
    support::eventually("the next one is installed", PATIENCE, || {
        let output = env.run(&["exec", "-T", "web", "cat", "/opt/packages/lock"]);
        if output.stdout == "two\n" { Ok(()) } else { Err(output.text()) }
    });
    watch.end();
    env.down();
}

#[test]
fn what_changes_while_it_is_installed_is_installed_again() {
    let step = "cat requirements.txt >/opt/packages/lock; grep -q tidy requirements.txt || echo tidy >>requirements.txt; echo run >>runs";
    let env = project("install-changing", step);
    let output = env.ok(&["up", "-d"]);
    assert!(output.stderr.contains("has changed while the packages of web were installed"), "{}", output.text());
    for _ in 0..2 {
        env.ok(&["up", "-d"]);
        assert_eq!((env.sh("web", "cat /opt/packages/lock"), runs(&env)), ("one\ntidy".into(), 2));
    }
    // What nobody knows the content of is not taken for what it was meant to be.
    env.file("requirements.txt", "one\n");
    env.ok(&["up", "-d"]);
    assert_eq!(runs(&env), 3);
    env.down();
}

#[test]
fn a_step_that_fails_leaves_nothing_and_what_ran_goes_on() {
    let env = project(
        "install-fails",
        "cat requirements.txt >/opt/packages/lock; grep -q bad requirements.txt || exit 0; echo cannot find it >&2; exit 3",
    );
    env.ok(&["up", "-d"]);
    let (first, kept) = (id(&env), volumes(&env));
    env.file("requirements.txt", "bad\n");
    let output = env.fails(&["up", "-d"]);
    for part in ["the install step of web failed with exit code 3", "cannot find it", "mend requirements.txt"] {
        assert!(output.stderr.contains(part), "{part}: {}", output.text());
    }
    assert_eq!((id(&env), volumes(&env)), (first, kept));
    assert_eq!(env.sh("web", "cat /opt/packages/lock"), "one");
    assert_eq!(env.ps().len(), 1);
    env.file("requirements.txt", "two\n");
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("web", "cat /opt/packages/lock"), "two");
    env.down();
}

#[test]
fn a_step_that_is_killed_begins_again_with_nothing() {
    let step = "ls -A /opt/packages >>seen; touch /opt/packages/half && echo run >>runs; while ! [ -e go ]; do sleep 0.05; done; rm /opt/packages/half; touch /opt/packages/whole";
    let env = project("install-killed", step);
    let until = |count| {
        support::eventually("the step is under way", PATIENCE, || match runs(&env) {
            found if found == count => Ok(()),
            found => Err(format!("it ran {found} times")),
        });
    };
    let killed = env.start(&["up", "-d"]);
    until(1);
    // Everything of ours: keeper, supervisor and, with the keeper, the step.
    let keeper = keeper(&env);
    let children = fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).unwrap();
    kill(keeper, Signal::SIGKILL).unwrap();
    for child in children.split_whitespace() {
        let _ = kill(nix::unistd::Pid::from_raw(child.parse().unwrap()), Signal::SIGKILL);
    }
    killed.signal(Signal::SIGKILL);
    drop(killed);
    // Interrupted by a person.
    let interrupted = env.start(&["up"]);
    until(2);
    interrupted.signal(Signal::SIGINT);
    assert_eq!(interrupted.finish(PATIENCE).code, 130);
    assert_eq!(volumes(&env), Vec::<String>::new());
    env.file("go", "");
    env.ok(&["up", "-d"]);
    assert_eq!((env.sh("web", "ls -A /opt/packages"), runs(&env)), ("whole".into(), 3));
    assert_eq!(fs::read_to_string(env.folder().join("seen")).unwrap(), "");
    env.down();
}

#[test]
fn services_with_the_same_packages_share_them() {
    let env = TestEnv::with(
        "install-shared",
        r#"
x-app: &app
  x-windlass:
    rootfs: host
    install: { command: "id -u >>/opt/packages/users", lock: [./locks/my.lock], target: /opt/packages }
  user: "1234:99"
  volumes: [./locks:/locks]
  command: sleep 1000
  stop_signal: SIGKILL
  network_mode: none
services:
  web: *app
  worker: { <<: *app, deploy: { replicas: 2 } }
"#,
    );
    env.file("locks/my.lock", "x");
    env.ok(&["up", "-d"]);
    for service in ["web", "worker"] {
        assert_eq!(env.sh(service, "cat /opt/packages/users"), "1234");
    }
    assert_eq!(volumes(&env).len(), 1);
    env.down();
}

#[test]
fn python_gets_a_virtual_environment() {
    let env = TestEnv::with(
        "install-venv",
        "services:\n  web:\n    x-windlass: { rootfs: host, install: 'command -v pip >where' }\n    working_dir: /app\n    \
         volumes: [\".:/app\"]\n    command: sleep 1000\n    stop_signal: SIGKILL\n    network_mode: none\n",
    );
    env.file("requirements-dev.txt", "");
    env.ok(&["up", "-d"]);
    assert_eq!(fs::read_to_string(env.folder().join("where")).unwrap(), "/opt/venv/bin/pip\n");
    assert_eq!(
        env.sh("web", "command -v python3; python3 -c 'import sys; print(sys.prefix)'"),
        "/opt/venv/bin/python3\n/opt/venv"
    );
    env.down();
}

#[test]
fn what_cannot_be_installed_is_told_with_its_place() {
    let web = |install: &str| {
        format!(
            "services:\n  web:\n    x-windlass:\n      rootfs: host\n      install: {install}\n    working_dir: /app\n    \
             volumes: [\".:/app\", \"/opt/taken\"]\n    command: sleep 1000\n    network_mode: none\n"
        )
    };
    let env = TestEnv::with("install-faults", &web("\"true\""));
    let told = |install: &str, wanted: &str| {
        env.file("compose.yaml", &web(install));
        let output = env.fails(&["up", "-d"]);
        assert!(
            output.stderr.contains(wanted) && output.stderr.contains("compose.yaml:5"),
            "{wanted}: {}",
            output.text()
        );
    };
    told("\"true\"", "there is no lock file in");
    told("{ command: 'true', lock: missing.lock }", "missing.lock");
    env.file("my.lock", "");
    told("{ command: 'true', lock: my.lock }", "it is not known where the packages of");
    told("{ command: 'true', lock: my.lock, target: here }", "`here` is no absolute path");
    told("{ command: 'true', lock: my.lock, target: /opt/taken }", "something is mounted at /opt/taken");
    told("{ lock: my.lock }", "command");
    env.file("requirements.txt", "");
    env.file("package-lock.json", "");
    told("[\"true\"]", "are of different tools");
    // Whoever makes the first lock file does it in a container.
    fs::remove_file(env.folder().join("requirements.txt")).unwrap();
    fs::remove_file(env.folder().join("package-lock.json")).unwrap();
    env.ok(&["run", "--rm", "-T", "web", "touch", "/app/package-lock.json"]);
    chown(env.folder(), Some(1234), Some(99)).unwrap();
    env.ok(&["up", "-d", "-t", "0"]);
    assert!(env.sh("web", "cat /proc/self/mounts").contains(" /app/node_modules "));
    // What had to be made for the mount belongs to whom the folder belongs to.
    assert_eq!(fs::metadata(env.folder().join("node_modules")).unwrap().uid(), 1234);
    env.ok(&["down", "-v", "-t", "0"]);
    env.assert_nothing_left();
}
