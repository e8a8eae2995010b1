//! Whatever goes wrong in `up`: one clear reason, a code that says so, and nothing that `down` cannot clean.

use std::fs;

use crate::env::{Output, TestEnv};
use crate::net::free_port;
use crate::volumes::Mounted;

/// Starts a project that cannot start, and cleans up after it.
#[track_caller]
fn refused(name: &str, compose: &str, reasons: &[&str]) -> Output {
    let env = TestEnv::with(name, compose);
    let output = env.fails(&["up", "-d"]);
    for reason in reasons {
        assert!(output.stderr.contains(reason), "{reason:?} is missing in:\n{}", output.stderr);
    }
    assert!(output.stderr.matches("error:").count() <= 1, "one message:\n{}", output.stderr);
    env.down();
    output
}

#[test]
fn what_fails_at_once_is_told_by_a_detached_up() {
    let env = TestEnv::with(
        "fails-at-once",
        r#"
services:
  broken: { x-windlass: { rootfs: host }, command: ["sh", "-c", "echo no such table >&2; exit 3"] }
  fine: { x-windlass: { rootfs: host }, command: "true" }
  last:
    x-windlass: { rootfs: host }
    command: sleep 1000
    stop_signal: SIGKILL
    healthcheck: { test: ["CMD-SHELL", "sleep 0.2"], interval: 50ms }
  after: { x-windlass: { rootfs: host }, command: "true", depends_on: { last: { condition: service_healthy } } }
"#,
    );
    let output = env.ok(&["up", "-d"]);
    let text = &output.stderr;
    assert!(text.contains("warning: container fails-at-once-broken-1 has exited with code 3 already"), "{text}");
    assert!(text.contains("  | no such table") && text.contains("`windlass logs broken`"), "{text}");
    assert_eq!(text.matches("has exited").count(), 1, "{text}");
    env.down();
}

#[test]
fn an_image_that_is_not_there() {
    refused("no-image", r#"services: { web: { image: "busybox:9.99" } }"#, &["busybox:9.99"]);
    refused("no-name", r#"services: { web: { image: "no-such-image" } }"#, &["no-such-image"]);
}

#[test]
fn a_registry_that_is_not_there() {
    let port = free_port();
    refused(
        "no-registry",
        &format!(r#"services: {{ web: {{ image: "127.0.0.1:{port}/app:1" }} }}"#),
        &[&port.to_string()],
    );
}

#[test]
fn a_bind_source_that_must_exist() {
    refused(
        "no-bind",
        r#"
services:
  web:
    image: "busybox:1.35"
    volumes: [{ type: bind, source: ./absent, target: /data, bind: { create_host_path: false } }]
"#,
        &["absent", "web"],
    );
}

#[test]
fn a_command_that_is_not_there_or_cannot_run() {
    refused(
        "no-command",
        r#"services: { web: { image: "busybox:1.35", command: no-such-command } }"#,
        &["no-such-command", "web"],
    );
    refused("no-program", r#"services: { web: { image: "busybox:1.35", command: /etc/passwd } }"#, &["/etc/passwd"]);
    refused(
        "no-user",
        r#"services: { web: { image: "busybox:1.35", user: stranger, command: sleep 1 } }"#,
        &["stranger"],
    );
}

#[test]
fn a_dependency_that_is_unhealthy_tells_its_last_words() {
    let output = refused(
        "unhealthy",
        r#"
services:
  web: { image: "busybox:1.35", command: sleep 1000, depends_on: { db: { condition: service_healthy } } }
  db:
    image: "busybox:1.35"
    command: sh -c "echo the disk is tired; exec sleep 1000"
    stop_signal: SIGKILL
    healthcheck: { test: "echo probe says no; exit 1", interval: 50ms, retries: 2 }
"#,
        &["db", "unhealthy", "probe says no", "the disk is tired"],
    );
    assert_eq!(output.code, 1);
}

#[test]
fn a_dependency_that_fails_or_ends() {
    refused(
        "failed",
        r#"
services:
  web: { image: "busybox:1.35", command: sleep 1000, depends_on: { job: { condition: service_completed_successfully } } }
  job: { image: "busybox:1.35", command: sh -c "echo no such table; exit 4" }
"#,
        &["job", "4"],
    );
    refused(
        "ended",
        r#"
services:
  web: { image: "busybox:1.35", command: sleep 1000, depends_on: { db: { condition: service_healthy } } }
  db: { image: "busybox:1.35", command: sh -c "exit 6", healthcheck: { test: "true", interval: 10s } }
"#,
        &["db", "6"],
    );
}

#[test]
fn a_full_disk() {
    let env = TestEnv::with("full", r#"services: { db: { image: "redis:8" } }"#);
    fs::create_dir_all(env.home()).unwrap();
    let home = env.home();
    let disk = Mounted::tmpfs(&home, "size=10m");
    let output = env.fails(&["up", "-d"]);
    assert!(output.stderr.contains("No space left on device"), "{}", output.stderr);
    let left = walk(&home.join("data/images"));
    assert!(left < 2 << 20, "an interrupted pull leaves nothing half made, not {left} bytes");
    env.ok(&["down", "-v"]);
    drop(disk);
    env.assert_nothing_left();
}

#[test]
fn a_file_that_is_wrong_touches_nothing() {
    let env = TestEnv::with("wrong", "services: { web: { image: busybox, prots: ['80:80'] } }");
    let output = env.fails(&["up", "-d"]);
    assert!(output.stderr.contains("compose.yaml:1:") && output.stderr.contains("prots"), "{}", output.stderr);
    assert!(output.stderr.contains("ports"), "did you mean: {}", output.stderr);
    assert!(!env.home().join("run").exists() || fs::read_dir(env.home().join("run")).unwrap().next().is_none());
    env.file("compose.yaml", "services: { web: { image: busybox } }");
    let env = TestEnv::new("empty");
    assert!(env.fails(&["up", "-d"]).stderr.contains("compose.yaml"));
}

#[test]
fn a_failed_wait_says_what_happened() {
    let env = TestEnv::with(
        "unwell",
        r#"
services:
  web:
    image: "busybox:1.35"
    command: sleep 1000
    stop_signal: SIGKILL
    healthcheck: { test: "echo not today; exit 1", interval: 50ms, retries: 2 }
"#,
    );
    let output = env.fails(&["up", "--wait"]);
    assert!(output.stderr.contains("web") && output.stderr.contains("not today"), "{}", output.stderr);
    let slow = env.fails(&["up", "--wait", "--wait-timeout", "0"]);
    assert_eq!(slow.code, 1);
    env.down();
}

fn walk(folder: &std::path::Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => walk(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}

#[test]
fn without_root_it_says_so() {
    let env = TestEnv::with("ordinary", r#"services: { web: { image: "busybox:1.35" } }"#);
    let mut command = std::process::Command::new("setpriv");
    env.prepare(&mut command);
    command
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(crate::env::binary())
        .args(["up", "-d"]);
    let output = crate::env::Running::start(command, "up as nobody".into()).finish(crate::env::PATIENCE);
    assert_eq!(output.code, 1, "{}", output.text());
    assert!(output.stderr.contains("root") && output.stderr.contains("sudo"), "{}", output.stderr);
}

#[test]
fn a_home_with_a_long_path_works() {
    // Longer than the name of a socket may be.
    let mut env = TestEnv::with(
        "long",
        r#"services: { box: { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL } }"#,
    );
    let home =
        env.home().join("a-rather-long-name-of-a-folder".repeat(4)).join("and another one, with spaces: and a colon");
    env.set("WINDLASS_HOME", &home.to_string_lossy());
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("box", "echo here"), "here");
    env.ok(&["down", "-v"]);
    let id = windlass::state::Paths::from_home(Some(&home)).project("long").id().to_owned();
    let left = crate::leaks::settled(&home, &[("long".into(), id)]);
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn without_root_every_command_says_so() {
    let env = TestEnv::with(
        "no-root",
        "services: { web: { image: \"busybox:1.35\", command: sleep 1000, stop_signal: SIGKILL } }",
    );
    env.ok(&["up", "-d"]);
    // Where another user can read and execute it.
    let shared = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(shared.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let program = shared.path().join("windlass");
    fs::copy(crate::env::binary(), &program).unwrap();
    let nobody = |arguments: &str| {
        let mut command = std::process::Command::new("setpriv");
        env.prepare(&mut command);
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program);
        command.args(arguments.split_whitespace());
        crate::env::Running::start(command, arguments.to_owned()).finish(crate::env::PATIENCE)
    };
    // These need only the files of the project; what they write is the caller's own.
    let is_of_files = |command: &str, arguments: &[&str]| match command {
        "config" | "graph" | "version" | "completion" => true,
        "explain" => arguments != ["web"],
        _ => false,
    };
    let table = crate::dry::COMMANDS.iter().map(|(command, _, arguments)| (*command, *arguments));
    let more: [(&str, &[&str]); 3] =
        [("explain", &["--variables"]), ("logs", &["-f"]), ("exec", &["-T", "web", "true"])];
    for (command, arguments) in table.chain(more) {
        let line = format!("{command} {}", arguments.join(" "));
        let output = nobody(&line);
        let told = output.stderr.contains("needs root") && output.stderr.contains("sudo");
        match is_of_files(command, arguments) {
            true => {
                let writes = arguments.contains(&"--output") || arguments.contains(&"--install");
                assert!(output.code == 0 || writes, "{line}: {}", output.text());
                assert!(!output.stderr.contains("what windlass keeps in"), "{line}: {}", output.text());
            }
            false => {
                assert!(output.code == 1 && told, "{line}: {}", output.text());
                assert!(!output.stderr.contains("os error"), "{line}: {}", output.text());
            }
        }
    }
    env.down();
}
