//! `--dry-run`: no command changes anything with it, whatever there is; and what it says is what would be refused.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use clap::CommandFactory;
use support::eventually;
use windlass::cli::args::Cli;

use crate::env::{PATIENCE, TestEnv};
use crate::leaks;

/// What a command does with `--dry-run`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Reads, as without it.
    Reads,
    /// Says what it would do.
    Plans,
    /// Says that it cannot say that.
    Refuses,
}

use Form::{Plans, Reads, Refuses};

/// Every command, with arguments that would change something.
pub const COMMANDS: &[(&str, Form, &[&str])] = &[
    ("attach", Refuses, &["web"]),
    ("commit", Refuses, &["web", "made"]),
    ("completion", Refuses, &["--install"]),
    ("completion", Reads, &["bash"]),
    ("config", Refuses, &["--output", "out.yaml"]),
    ("config", Reads, &[]),
    ("cp", Refuses, &["compose.yaml", "web:/tmp"]),
    ("create", Plans, &["--force-recreate", "-y"]),
    ("down", Plans, &["-v", "--rmi", "all", "--remove-orphans"]),
    ("events", Reads, &["--since", "0", "--until", "1"]),
    ("exec", Refuses, &["web", "touch", "/x"]),
    ("explain", Reads, &["services.web.image"]),
    ("explain", Reads, &["web"]),
    ("export", Refuses, &["web", "-o", "out.tar"]),
    ("graph", Reads, &[]),
    ("image history", Reads, &["busybox:1.35"]),
    ("image inspect", Reads, &["busybox:1.35"]),
    ("image load", Refuses, &["-i", "compose.yaml"]),
    ("image ls", Reads, &[]),
    ("image prune", Plans, &["-af"]),
    ("image pull", Plans, &["busybox:1.35"]),
    ("image rm", Plans, &["-f", "busybox:1.35"]),
    ("image save", Refuses, &["-o", "out.tar", "busybox:1.35"]),
    ("image tag", Plans, &["busybox:1.35", "other:1"]),
    ("images", Reads, &[]),
    ("kill", Plans, &[]),
    ("logs", Reads, &[]),
    ("ls", Reads, &["-a"]),
    ("network connect", Refuses, &["dry_default", "web"]),
    ("network disconnect", Refuses, &["dry_default", "web"]),
    ("network create", Refuses, &["dry-made"]),
    ("network inspect", Reads, &["dry_default"]),
    ("network ls", Reads, &[]),
    ("network prune", Plans, &["-f"]),
    ("network rm", Plans, &["dry_default"]),
    ("pause", Plans, &[]),
    ("port", Reads, &["web", "80"]),
    ("ps", Reads, &["-a"]),
    ("pull", Plans, &[]),
    ("restart", Plans, &[]),
    ("rm", Plans, &["-fsv"]),
    ("run", Plans, &["--rm", "web", "true"]),
    ("scale", Plans, &["other=3"]),
    ("shell", Refuses, &["web"]),
    ("start", Plans, &[]),
    ("stats", Reads, &["--no-stream"]),
    ("stop", Plans, &["-t", "0"]),
    ("system df", Reads, &[]),
    ("system prune", Plans, &["-af", "--volumes"]),
    ("top", Reads, &[]),
    ("unpause", Plans, &[]),
    ("up", Plans, &["-V", "-y", "--force-recreate", "--pull", "always"]),
    ("up", Plans, &["-d", "--wait", "--remove-orphans"]),
    ("version", Reads, &[]),
    ("volume create", Plans, &["dry-made"]),
    ("volume inspect", Reads, &["dry_data"]),
    ("volume ls", Reads, &[]),
    ("volume prune", Plans, &["-af"]),
    ("volume rm", Plans, &["dry_data"]),
    ("volumes", Reads, &[]),
    ("wait", Plans, &["--down-project", "web"]),
    ("watch", Plans, &[]),
];

/// Every command that clap knows and that has none below it, `image ls`.
fn leaves(command: &clap::Command, before: &str, found: &mut Vec<String>) {
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        let name = format!("{before}{}", inner.get_name());
        match inner.has_subcommands() {
            true => leaves(inner, &format!("{name} "), found),
            false => found.push(name),
        }
    }
}

#[test]
fn every_command_is_in_the_table() {
    let mut known = Vec::new();
    leaves(&Cli::command(), "", &mut known);
    let listed = |name: &String| COMMANDS.iter().any(|(other, ..)| other == name);
    let missing: Vec<&String> = known.iter().filter(|name| !listed(name)).collect();
    assert!(missing.is_empty(), "nobody has looked what these do with --dry-run: {missing:?}");
    let gone: Vec<&str> =
        COMMANDS.iter().map(|(name, ..)| *name).filter(|name| !known.iter().any(|k| k == name)).collect();
    assert!(gone.is_empty(), "{gone:?} are no commands");
}

/// Everything that a command could have changed.
fn state(env: &TestEnv) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    let root = env.folder();
    files(root.parent().unwrap(), &mut state);
    for line in leaks::find(&env.home(), &[(env.name().to_owned(), env.id())]) {
        // Files are looked at above, more closely.
        if !line.starts_with("file") {
            state.insert(line, String::new());
        }
    }
    let rules =
        Command::new("nft").args(["list", "table", "inet", &format!("windlass-{}", env.id())]).output().unwrap();
    state.insert("rules".into(), String::from_utf8_lossy(&rules.stdout).into_owned());
    state
}

fn files(path: &Path, state: &mut BTreeMap<String, String>) {
    let Ok(found) = fs::symlink_metadata(path) else { return };
    let mut text = format!("{:o} {}:{}", found.mode(), found.uid(), found.gid());
    if found.is_file() {
        let mut hash = DefaultHasher::new();
        fs::read(path).unwrap_or_default().hash(&mut hash);
        _ = write!(text, " {} {:x}", found.len(), hash.finish());
    }
    _ = write!(text, " {}.{}", found.mtime(), found.mtime_nsec());
    state.insert(format!("file {}", path.display()), text);
    if found.is_dir() {
        fs::read_dir(path).into_iter().flatten().flatten().for_each(|entry| files(&entry.path(), state));
    }
}

fn compose(port: u16) -> String {
    format!(
        r#"
services:
  web:
    image: busybox:1.35
    command: sleep 1000
    stop_signal: SIGKILL
    ports: ["127.0.0.1:{port}:80"]
    volumes: ["data:/data", "/anonymous"]
    develop: {{ watch: [{{ path: ., target: /src, action: sync }}] }}
  other: {{ image: busybox:1.35, command: sleep 1000, stop_signal: SIGKILL, depends_on: [web] }}
  host: {{ x-windlass: {{ rootfs: host }}, command: sleep 1000, stop_signal: SIGKILL }}
volumes: {{ data: }}
"#
    )
}

/// Runs all of them; what differs afterwards, and whether somebody was asked for an image.
#[track_caller]
fn nothing_changes(env: &TestEnv, flag: &str, asked: &TcpListener, world: &str) {
    for (name, form, arguments) in COMMANDS {
        let before = state(env);
        let words: Vec<&str> = name.split(' ').collect();
        let output = env.run(&[&[flag][..], &words, arguments].concat());
        let after = state(env);
        let changed: Vec<String> = before
            .iter()
            .chain(&after)
            .filter(|(key, _)| before.get(*key) != after.get(*key))
            .map(|(key, _)| format!("{key}: {:?} -> {:?}", before.get(key), after.get(key)))
            .collect();
        assert!(
            changed.is_empty(),
            "{world}: {name} {arguments:?} has changed\n{}\n{}",
            changed.join("\n"),
            output.text()
        );
        assert!(asked.accept().is_err(), "{world}: {name} {arguments:?} has asked a registry");
        let refused = output.stderr.contains("has no dry form");
        assert_eq!(refused, *form == Refuses, "{world}: {name} {arguments:?}: {}", output.text());
        assert_eq!(output.code == 2, *form == Refuses, "{world}: {name} {arguments:?}: {}", output.text());
        if *form == Plans && world == "running" && output.code == 0 && *name != "start" {
            // All of it is in use; leftovers may be of the project of another test.
            let idle = name.ends_with(" prune") || *name == "watch" || arguments.contains(&"--wait");
            let others = output.stdout.contains("kernel objects of project");
            assert_eq!(output.text().contains("nothing to do"), idle && !others, "{name}: {}", output.text());
        }
    }
}

#[test]
fn no_command_changes_anything() {
    let mut env = TestEnv::with("dry", &compose(crate::net::free_port()));
    let asked = TcpListener::bind("127.0.0.1:0").unwrap();
    asked.set_nonblocking(true).unwrap();
    let nobody = format!("http://{}", asked.local_addr().unwrap());
    let mirror = format!("http://{}", crate::registry());

    env.set("WINDLASS_REGISTRY_MIRROR", &nobody);
    nothing_changes(&env, "--dry-run", &asked, "empty");
    assert!(!env.home().exists());

    env.set("WINDLASS_REGISTRY_MIRROR", &mirror);
    env.ok(&["up", "-d"]);
    env.set("WINDLASS_REGISTRY_MIRROR", &nobody);
    nothing_changes(&env, "--dry-run", &asked, "running");

    env.ok(&["stop", "-t", "0"]);
    eventually("the processes behind the project end", PATIENCE, || {
        match leaks::find(&env.home(), &[]).into_iter().find(|line| line.starts_with("process")) {
            None => Ok(()),
            Some(process) => Err(process),
        }
    });
    nothing_changes(&env, "--dry-run", &asked, "stopped");
    env.down();
}

/// What `up` is refused for, without the time that it takes.
#[track_caller]
fn refused(env: &TestEnv, arguments: &[&str], message: &str) {
    let real = env.run(arguments);
    let dry = env.run(&[&["--dry-run"], arguments].concat());
    assert_ne!(real.code, 0, "{}", real.text());
    assert!(real.stderr.contains(message), "{}", real.text());
    assert!(dry.stderr.contains(message), "{}", dry.text());
    assert_eq!(dry.code, real.code, "{}\n{}", dry.text(), real.text());
}

#[test]
fn what_would_be_refused_is_refused() {
    let env =
        TestEnv::with("dry-refused", "services: { other: { x-windlass: { rootfs: host }, command: sleep 1000 } }");
    let service =
        |rest: &str| format!("x-windlass: {{ rootfs: host }}, command: sleep 1000, stop_signal: SIGKILL, {rest}");
    let (port, listener) = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        (listener.local_addr().unwrap().port(), listener)
    };
    // With a supervisor and without one.
    for runs in [false, true] {
        if runs {
            env.file("compose.yaml", &format!("services: {{ quiet: {{ {} }} }}", service("init: true")));
            env.ok(&["up", "-d", "--remove-orphans"]);
        }
        let quiet = format!("quiet: {{ {} }}", service("init: true"));
        let twice =
            format!("a: {{ {} }}, b: {{ {} }}", service("container_name: dry-refused-b-1"), service("init: true"));
        env.file("compose.yaml", &format!("services: {{ {quiet}, {twice} }}"));
        refused(&env, &["up", "-d"], "would both make a container dry-refused-b-1");
        refused(&env, &["create"], "would both make a container dry-refused-b-1");

        let taken = service(&format!("ports: ['127.0.0.1:{port}:80']"));
        env.file("compose.yaml", &format!("services: {{ {quiet}, web: {{ {taken} }} }}"));
        refused(&env, &["up", "-d"], &format!("port 127.0.0.1:{port}/tcp"));
        refused(&env, &["run", "-P", "--rm", "web"], &format!("port 127.0.0.1:{port}/tcp"));

        let missing =
            service("volumes: [{ type: bind, source: ./nowhere, target: /x, bind: { create_host_path: false } }]");
        env.file("compose.yaml", &format!("services: {{ {quiet}, web: {{ {missing} }} }}"));
        refused(&env, &["up", "-d"], "nowhere does not exist");
    }
    drop(listener);
    // In another project of this home.
    env.file("compose.yaml", &format!("services: {{ web: {{ {} }} }}", service("container_name: dry-refused-quiet-1")));
    refused(&env, &["-p", "dry-elsewhere", "up", "-d"], "in use by container");
    let plan = env.run(&["-p", "dry-elsewhere", "--dry-run", "up", "-d"]);
    assert!(plan.stderr.contains("create container dry-refused-quiet-1"), "{}", plan.text());
    env.ok(&["-p", "dry-elsewhere", "down"]);
    env.down();
}

#[test]
fn what_is_not_known_is_said() {
    let env = TestEnv::with(
        "dry-unknown",
        "services: { web: { image: busybox:1.35 }, never: { image: 'no:1', pull_policy: never } }",
    );
    let plan = env.ok(&["--dry-run", "up", "-d", "web"]).stderr;
    assert!(plan.contains("pull image busybox:1.35: it is not here; the command, user, volumes, ports"), "{plan}");
    assert!(plan.contains("create container dry-unknown-web-1: not found"), "{plan}");
    refused(&env, &["up", "-d"], "the image no:1 of service never is not available");
    // What is here and may be another by now.
    env.ok(&["pull", "web"]);
    let plan = env.ok(&["--dry-run", "up", "-d", "--pull", "always", "web"]).stderr;
    assert!(plan.contains("pull image busybox:1.35: the registry is to be asked whether it has changed"), "{plan}");
    assert!(!env.ok(&["--dry-run", "up", "-d", "web"]).stderr.contains("pull"));
    env.ok(&["image", "rm", "busybox:1.35"]);
}
