//! `watch` and `up --watch`: edits of the host, seen in the containers.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use nix::sys::signal::Signal;

use crate::env::{PATIENCE, Running, TestEnv};

/// A watch under way, with the events that it has told.
pub struct Watch {
    running: Running,
    seen: usize,
}

impl Watch {
    pub fn start(env: &TestEnv, arguments: &[&str]) -> Self {
        let mut running = env.start(&[&["watch", "--format", "json"], arguments].concat());
        running.wait_for("\"enabled\"");
        Self { running, seen: 0 }
    }

    pub fn pid(&self) -> nix::unistd::Pid {
        self.running.pid()
    }

    pub fn events(&mut self) -> Vec<serde_json::Value> {
        let text = self.running.stdout();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// Waits for the next batch that has this file.
    #[track_caller]
    pub fn applied(&mut self, file: &str) -> serde_json::Value {
        let mut found = None;
        support::eventually(&format!("{file} is dealt with"), PATIENCE, || {
            let events = self.events();
            let names = |event: &serde_json::Value| {
                let files = event["files"].as_array().cloned().unwrap_or_default();
                event["initial"] == false && files.iter().any(|name| name.as_str().unwrap().ends_with(file))
            };
            let place = events.iter().skip(self.seen).position(names).ok_or_else(|| format!("{events:#?}"))?;
            self.seen += place + 1;
            found = events.get(self.seen - 1).cloned();
            Ok(())
        });
        let event = found.unwrap();
        assert!(event["error"].is_null(), "{event:#}");
        assert_eq!(event["not_copied"], serde_json::json!([]), "{event:#}");
        event
    }

    pub fn end(self) {
        self.running.signal(Signal::SIGINT);
        let output = self.running.finish(PATIENCE);
        assert_eq!(output.code, 130, "{}", output.text());
    }
}

/// What a shell script in the container says, once it says that.
#[track_caller]
fn eventually_says(env: &TestEnv, service: &str, script: &str, wanted: &str) {
    let what = format!("`{script}` says {wanted:?}");
    support::eventually(&what, PATIENCE, || env.asks(service, script, wanted));
}

/// The process that the service's container runs, as the host counts.
fn started(env: &TestEnv, service: &str) -> String {
    // Its first process has another one's start time after a restart.
    env.sh(service, "cut -d' ' -f22 /proc/1/stat")
}

#[test]
fn edits_are_copied_as_they_are() {
    let env = TestEnv::with(
        "watch-sync",
        r#"
services:
  app:
    x-windlass: { rootfs: host }
    command: sleep 1000
    stop_signal: SIGKILL
    user: "1234:99"
    develop:
      watch:
        - { path: ./src, action: sync, target: /app, ignore: ["*.tmp", "build/"] }
        - { path: ./only, action: sync, target: /only, include: "**/*.txt" }
        - { path: ./conf.ini, action: sync, target: /etc/app/ }
"#,
    );
    env.file("src/one", "1");
    env.file("only/x", "");
    env.file("conf.ini", "a");
    let mut watch = Watch::start(&env, &[]);
    assert_eq!(env.sh("app", "ls -d /app /only 2>/dev/null || true"), "", "nothing is copied unasked");
    // Made, with a folder; owner, mode and time are right.
    let new = env.file("src/sub/run.sh", "echo ran");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o750)).unwrap();
    watch.applied("src/sub/run.sh");
    eventually_says(&env, "app", "stat -c '%u:%g %a' /app/sub/run.sh; /app/sub/run.sh", "1234:99 750\nran");
    let time = fs::metadata(&new).unwrap();
    assert_eq!(env.sh("app", "stat -c %.9Y /app/sub/run.sh"), format!("{}.{:09}", time.mtime(), time.mtime_nsec()));
    // Changed.
    env.file("src/one", "2");
    watch.applied("src/one");
    assert_eq!(env.sh("app", "cat /app/one"), "2");
    // As editors save: beside, then moved over.
    env.file("src/.one.swp", "");
    env.file("src/one.new", "3\n");
    fs::rename(env.folder().join("src/one.new"), env.folder().join("src/one")).unwrap();
    let event = watch.applied("src/one");
    assert_eq!(event["files"].as_array().unwrap().len(), 1, "{event:#}");
    assert_eq!(env.sh("app", "cat /app/one; ls -A /app"), "3\none\nsub");
    // The mode alone; a link; a new name; gone.
    fs::set_permissions(env.folder().join("src/one"), fs::Permissions::from_mode(0o444)).unwrap();
    watch.applied("src/one");
    assert_eq!(env.sh("app", "stat -c %a /app/one"), "444");
    symlink("one", env.folder().join("src/link")).unwrap();
    watch.applied("src/link");
    assert_eq!(env.sh("app", "readlink /app/link"), "one");
    fs::rename(env.folder().join("src/sub"), env.folder().join("src/moved")).unwrap();
    watch.applied("src/moved/run.sh");
    assert_eq!(env.sh("app", "ls -A /app; ls /app/moved"), "link\nmoved\none\nrun.sh");
    fs::remove_dir_all(env.folder().join("src/moved")).unwrap();
    fs::remove_file(env.folder().join("src/link")).unwrap();
    watch.applied("src/link");
    eventually_says(&env, "app", "ls -A /app", "one");
    // What is ignored and what is not included stay where they are.
    env.file("src/a.tmp", "x");
    env.file("src/build/out", "x");
    env.file("src/node_modules/left/pad.js", "x");
    env.file("only/a.bin", "x");
    env.file("only/deep/a.txt", "x");
    watch.applied("only/deep/a.txt");
    env.file("src/last", "x");
    watch.applied("src/last");
    assert_eq!(env.sh("app", "ls -A /app; find /only -type f"), "last\none\n/only/deep/a.txt");
    // A file alone, into a folder.
    env.file("conf.ini", "b");
    watch.applied("conf.ini");
    assert_eq!(env.sh("app", "cat /etc/app/conf.ini"), "b");
    watch.end();
    env.down();
}

#[test]
fn processes_are_restarted_in_their_network_and_dependents_follow() {
    let env = TestEnv::with(
        "watch-restart",
        r#"
services:
  app:
    x-windlass: { rootfs: host }
    command: sh -c 'cat /app/version; exec sleep 1000'
    develop: { watch: [{ path: ./src, action: sync+restart, target: /app, initial_sync: true }] }
  front:
    x-windlass: { rootfs: host }
    command: sleep 1000
    depends_on: { app: { condition: service_started, restart: true } }
  bound:
    x-windlass: { rootfs: host, reload: restart }
    command: sleep 1000
    volumes: ["./work:/work"]
  exec:
    x-windlass: { rootfs: host }
    command: sleep 1000
    volumes: ["./work:/work"]
    develop:
      watch:
        - path: ./work
          target: /work
          action: sync+exec
          exec: { command: sh -c 'id -u; pwd; echo $$COLOUR; cat /work/file; grep CapBnd /proc/self/status | grep -vc a80425fb', privileged: true, user: "65534", working_dir: /tmp, environment: { COLOUR: red } }
"#,
    );
    env.file("src/version", "one\n");
    env.file("work/file", "");
    let mut watch = Watch::start(&env, &[]);
    // The files were there before the process.
    eventually_says_log(&env, "app", "one");
    let address = env.sh("app", "hostname -i");
    let before: Vec<String> = ["app", "front", "bound", "exec"].map(|name| started(&env, name)).into();
    env.file("src/version", "two\n");
    let event = watch.applied("src/version");
    let restarted: Vec<&str> =
        event["restarted"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(restarted, ["watch-restart-app-1", "watch-restart-front-1"]);
    eventually_says_log(&env, "app", "one\ntwo");
    assert_eq!(env.sh("app", "hostname -i"), address);
    let after: Vec<String> = ["app", "front", "bound", "exec"].map(|name| started(&env, name)).into();
    let same: Vec<bool> = before.iter().zip(&after).map(|(before, after)| before == after).collect();
    assert_eq!(same, [false, false, true, true]);
    // Mounted files need no copy.
    env.file("work/file", "content\n");
    let mut seen = Vec::new();
    for _ in 0..2 {
        let event = watch.applied("work/file");
        assert_eq!(event["copied"], 0);
        seen.push((event["service"].as_str().unwrap().to_owned(), event["output"].clone()));
    }
    seen.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(seen[0].0, "bound");
    assert_eq!(seen[1].1[0], "65534\n/tmp\nred\ncontent\n1\n");
    assert_ne!(started(&env, "bound"), before[2]);
    // One that a person has stopped stays so, and its files are new when it is started.
    env.ok(&["stop", "-t", "0", "app"]);
    env.file("src/version", "three\n");
    let event = watch.applied("src/version");
    assert_eq!(event["restarted"], serde_json::json!([]), "{event:#}");
    assert_eq!(env.ps_field("app", "State"), "exited");
    watch.end();
    env.ok(&["start", "app"]);
    eventually_says_log(&env, "app", "one\ntwo\nthree");
    env.down();
}

#[track_caller]
fn eventually_says_log(env: &TestEnv, service: &str, wanted: &str) {
    support::eventually(&format!("{service} has said {wanted:?}"), PATIENCE, || {
        let said = env.ok(&["logs", "--no-log-prefix", service]).stdout;
        if said.trim_end() == wanted { Ok(()) } else { Err(said) }
    });
}

#[test]
fn a_service_that_has_crashed_runs_again_after_the_fix() {
    let env = TestEnv::with(
        "watch-crash",
        r#"
services:
  app:
    x-windlass: { rootfs: host }
    command: sh /app/main.sh
    develop: { watch: [{ path: ./src, action: sync+restart, target: /app, initial_sync: true }] }
"#,
    );
    env.file("src/main.sh", "echo broken; exit 3");
    let mut watch = Watch::start(&env, &[]);
    // Otherwise the first copy may already have the repaired file.
    support::eventually("the first copy is done", PATIENCE, || {
        let events = watch.events();
        if events.iter().any(|event| event["initial"] == true) { Ok(()) } else { Err(format!("{events:#?}")) }
    });
    support::eventually("it has crashed", PATIENCE, || {
        let state = env.ps_field("app", "State");
        if state == "exited" { Ok(()) } else { Err(state) }
    });
    env.file("src/main.sh", "echo repaired; exec sleep 1000");
    let event = watch.applied("main.sh");
    assert_eq!(event["copied"], 1, "into a container that does not run: {event:#}");
    eventually_says_log(&env, "app", "broken\nrepaired");
    assert_eq!(env.ps_field("app", "State"), "running");
    watch.end();
    env.down();
}

#[test]
fn a_hostile_container_gets_nothing_written_outside() {
    let env = TestEnv::with(
        "watch-hostile",
        r#"
services:
  app:
    x-windlass: { rootfs: host }
    command: sleep 1000
    stop_signal: SIGKILL
    develop: { watch: [{ path: ./src, action: sync, target: /app }] }
"#,
    );
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("victim"), "untouched").unwrap();
    fs::create_dir_all(env.folder().join("src/dir")).unwrap();
    let mut watch = Watch::start(&env, &[]);
    let host = outside.path().display();
    env.sh(
        "app",
        &format!(
            "mkdir /app; ln -s {host} /app/dir; ln -s {host}/victim /app/file; ln -s /proc/1/root/../..{host} /app/magic; \
             mkfifo /app/fifo; ln -s ../../../../../../..{host} /app/up; mkdir /app/was-dir; touch /app/was-dir/x"
        ),
    );
    for name in ["dir/victim", "file", "fifo", "magic/victim", "up/victim", "was-dir"] {
        env.file(&format!("src/{name}"), "evil");
    }
    env.file("src/last", "x");
    watch.applied("src/last");
    eventually_says(&env, "app", "cat /app/file /app/fifo /app/was-dir", "evilevilevil");
    for name in ["dir", "magic", "up"] {
        fs::remove_dir_all(env.folder().join("src").join(name)).unwrap();
    }
    env.file("src/last", "y");
    watch.applied("src/last");
    assert_eq!(fs::read_to_string(outside.path().join("victim")).unwrap(), "untouched");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    watch.end();
    env.down();
}

#[test]
fn thousands_of_files_are_one_batch() {
    let env = TestEnv::with(
        "watch-burst",
        r#"
services:
  app:
    x-windlass: { rootfs: host }
    command: sleep 1000
    stop_signal: SIGKILL
    develop: { watch: [{ path: ./src, action: sync, target: /app }] }
"#,
    );
    fs::create_dir_all(env.folder().join("src")).unwrap();
    let mut watch = Watch::start(&env, &[]);
    for number in 0..5000 {
        env.file(&format!("src/d{}/f{number}", number % 50), &number.to_string());
    }
    let mut event = watch.applied("src/d49/f4999");
    if event["files"].as_array().unwrap().len() < 5000 {
        // On a machine so busy that the writing itself came to rest.
        eprintln!("not one batch: {}", event["files"].as_array().unwrap().len());
    }
    let took = event["took_ms"].take();
    eprintln!("{} files took {took} ms", event["copied"]);
    assert!(took.as_f64().unwrap() < 20_000.0);
    assert_eq!(env.sh("app", "find /app -type f | wc -l; cat /app/d7/f4007"), "5000\n4007");
    fs::remove_dir_all(env.folder().join("src/d7")).unwrap();
    watch.applied("src/d7");
    eventually_says(&env, "app", "find /app -type f | wc -l", "4900");
    watch.end();
    env.down();
}

#[test]
fn what_is_ignored_costs_nothing() {
    let env = TestEnv::with(
        "watch-ignored",
        r#"
services:
  app:
    x-windlass: { rootfs: host, reload: restart }
    command: sleep 1000
    volumes: [".:/work:ro"]
"#,
    );
    for number in 0..400 {
        let folder = env.folder().join(format!("node_modules/p{number}/lib"));
        fs::create_dir_all(&folder).unwrap();
        for file in 0..25 {
            fs::write(folder.join(file.to_string()), "").unwrap();
        }
    }
    env.file(".gitignore", "data/\n");
    env.file(".dockerignore", "docs\n");
    fs::create_dir_all(env.folder().join("data")).unwrap();
    let mut watch = Watch::start(&env, &[]);
    let enabled = &watch.events()[0];
    assert_eq!(enabled["folders"], 2, "the project's folder and the one above: {enabled}");
    let status = fs::read_to_string(format!("/proc/{}/status", watch.running.pid())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().trim().to_owned();
    let kib: u64 = resident.trim_end_matches(" kB").trim().parse().unwrap();
    assert!(kib < 50 * 1024, "{resident}");
    let before = started(&env, "app");
    env.file("node_modules/p1/lib/3", "x");
    env.file("data/db", "x");
    env.file("docs/page", "x");
    env.file("main.py", "x");
    let event = watch.applied("main.py");
    assert_eq!(event["files"].as_array().unwrap().len(), 1, "{event:#}");
    assert_ne!(started(&env, "app"), before);
    watch.end();
    env.down();
}

#[test]
fn a_foreground_up_follows_edits_too() {
    let env = TestEnv::with(
        "watch-up",
        r#"
services:
  app:
    x-windlass: { rootfs: host }
    command: sh -c 'cat /app/version; exit 4'
    develop: { watch: [{ path: ./src, action: sync+restart, target: /app, initial_sync: true }] }
"#,
    );
    env.file("src/version", "one\n");
    let mut up = env.start(&["up", "--watch"]);
    up.wait_for("Watch enabled: app");
    up.wait_for("app-1 exited with code 4");
    env.file("src/version", "two\n");
    up.wait_for("app  sync+restart  src/version");
    up.wait_for("app-1  | two");
    support::eventually("its second end is told", PATIENCE, || {
        // The first copy may have seen the edit too, and restarted for it.
        let printed = up.stdout();
        let since = printed.rsplit("app-1  | two").next().unwrap_or_default();
        if since.contains("exited with code 4") { Ok(()) } else { Err(printed) }
    });
    up.signal(Signal::SIGINT);
    let output = up.finish(PATIENCE);
    assert_eq!(output.code, 130, "{}", output.text());
    env.down();
}

#[test]
fn rules_without_effect_are_told_with_their_place() {
    let env =
        TestEnv::with("watch-none", r#"services: { app: { x-windlass: { rootfs: host }, command: sleep 1000 } }"#);
    let output = env.fails(&["watch"]);
    assert!(output.stderr.contains("none of the selected services is configured for watch"), "{}", output.text());
    assert_eq!(env.run(&["up", "--watch", "-d"]).code, 2);
    env.file(
        "compose.yaml",
        r#"
services:
  app:
    x-windlass: { rootfs: host }
    command: sleep 1000
    stop_signal: SIGKILL
    volumes: ["./bound:/bound"]
    develop:
      watch:
        - { path: ./absent, action: sync, target: /absent }
        - { path: ./src, action: restart, ignore: "**" }
        - { path: ./bound, action: sync, target: /bound }
"#,
    );
    env.file("src/a", "");
    let mut watch = Watch::start(&env, &[]);
    watch.running.wait_for("compose.yaml:11:");
    let warnings: Vec<_> = watch.events().into_iter().filter(|event| event["event"] == "warning").collect();
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    assert!(warnings[0]["place"].as_str().unwrap().contains("compose.yaml:10:"), "{warnings:#?}");
    // It is seen once it is there, and errors do not end the watch.
    env.file("absent/now", "x");
    watch.applied("absent/now");
    assert_eq!(env.sh("app", "cat /absent/now"), "x");
    watch.running.signal(Signal::SIGINT);
    let output = watch.running.finish(PATIENCE);
    assert_eq!(output.code, 130);
    assert!(
        output.stderr.contains("compose.yaml:12:") && output.stderr.contains("nothing to copy"),
        "{}",
        output.text()
    );
    env.down();
}
