//! Flags and variables, by what they change: one that is taken and does nothing would not be seen otherwise.

use nix::sys::signal::Signal;

use crate::env::{PATIENCE, TestEnv};
use crate::terminal::Terminal;

const BOXES: &str = "
x-box: &box { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL }
services:
  web: { <<: *box, depends_on: [db] }
  db: *box
";

const PULLED: &str = "services: { one: { image: 'busybox:1.35', command: sleep 1000, stop_signal: SIGKILL } }";

fn id(env: &TestEnv, service: &str) -> String {
    env.ps_field(service, "ID")
}

fn services(env: &TestEnv) -> Vec<String> {
    let mut names: Vec<String> = env.ps().iter().map(|row| row["Service"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn the_project_is_where_the_flags_say() {
    let env = TestEnv::new("where");
    let file = "services:\n  web:\n    image: ${IMAGE:-none}\n    volumes: ['./data:/data']\n  extra: { image: b, profiles: [more] }\nvolumes: { unused: }\n";
    env.file("sub/compose.yaml", file);
    env.file("image.env", "IMAGE=seven\n");
    let config = |arguments: &[&str]| env.ok(&[arguments, &["config"]].concat()).stdout;
    let inside = config(&["--project-directory", "sub"]);
    assert!(inside.contains("name: sub\n") && inside.contains("/sub/data"), "{inside}");
    let outside = config(&["-f", "sub/compose.yaml", "--project-directory", "."]);
    assert!(outside.contains("name: where\n") && outside.contains("/where/data"), "{outside}");
    assert!(!outside.contains("unused") && !outside.contains("extra:"), "{outside}");
    let all = config(&["--all-resources", "-f", "sub/compose.yaml"]);
    assert!(all.contains("unused"), "{all}");
    assert!(config(&["--profile", "more", "-f", "sub/compose.yaml"]).contains("extra:"));
    assert!(config(&["--env-file", "image.env", "-f", "sub/compose.yaml"]).contains("image: seven"));
    assert!(config(&["-p", "other", "-f", "sub/compose.yaml"]).contains("name: other\n"));
}

#[test]
fn a_number_names_the_replica() {
    let env = TestEnv::with(
        "numbers",
        "services:\n  web: { image: 'busybox:1.35', scale: 2, stop_signal: SIGKILL, command: [sh, -c, 'hostname > /me; while true; do cat /me; sleep 0.1; done'] }\n  copy: { image: 'copy:2', pull_policy: never, profiles: [later], entrypoint: cat }\n",
    );
    env.ok(&["up", "-d"]);
    let me = env.ok(&["exec", "-T", "--index", "2", "web", "hostname"]).stdout;
    let me = me.trim();
    let other = env.ok(&["exec", "-T", "--index", "1", "web", "hostname"]).stdout;
    assert_ne!(me, other.trim());
    let mut attached = env.start(&["attach", "--no-stdin", "--index", "2", "web"]);
    attached.wait_for(me);
    assert!(!attached.stdout().contains(other.trim()));
    drop(attached);
    env.ok(&["export", "--index", "2", "-o", "web.tar", "web"]);
    let archive = std::fs::read(env.folder().join("web.tar")).unwrap();
    assert!(archive.windows(me.len()).any(|part| part == me.as_bytes()));
    env.ok(&["commit", "--index", "2", "web", "copy:2"]);
    assert_eq!(env.ok(&["run", "-T", "--rm", "copy", "/me"]).stdout.trim(), me);
    env.down();
}

#[test]
fn a_copy_goes_to_those_of_run_too() {
    let env = TestEnv::with("copy-all", BOXES);
    env.ok(&["up", "-d", "db"]);
    let waiting = ["run", "-T", "--name", "one", "db", "sh", "-c", "until test -e /tmp/x; do sleep 0.02; done"];
    let running = env.start(&waiting);
    support::eventually("it runs", PATIENCE, || {
        let rows = env.ps();
        if rows.iter().any(|row| row["Name"] == "one" && row["State"] == "running") {
            Ok(())
        } else {
            Err(format!("{rows:?}"))
        }
    });
    env.ok(&["cp", "--all", "compose.yaml", "db:/tmp/x"]);
    assert_eq!(running.finish(PATIENCE).code, 0);
    env.down();
}

/// `--pull`, `--quiet-pull` and the `--quiet` of others.
#[test]
fn images_come_as_the_flags_say() {
    let env = TestEnv::with("pulling", PULLED);
    let commands: [&[&'static str]; 3] = [&["create"], &["up", "-d"], &["run", "-T", "--rm"]];
    for command in commands {
        let run = |flags: &[&'static str]| {
            let tail: &[&'static str] = if command[0] == "run" { &["one", "true"] } else { &[] };
            [&["--progress", "plain"], command, flags, tail].concat()
        };
        let refused = env.fails(&run(&["--pull", "never"])).stderr;
        assert!(refused.contains("is not available"), "{command:?}: {refused}");
        let loud = env.ok(&run(&[])).stderr;
        assert!(loud.contains("Image busybox:1.35  Pull"), "{command:?}: {loud}");
        let again = env.ok(&run(&[])).stderr;
        assert!(!again.contains("Image"), "{command:?}: {again}");
        let always = env.ok(&run(&["--pull", "always"])).stderr;
        assert!(always.contains("Image busybox:1.35  Pull"), "{command:?}: {always}");
        env.ok(&["down", "--rmi", "all"]);
        let quiet = env.ok(&run(&["--quiet-pull"])).stderr;
        assert!(!quiet.contains("Image"), "{command:?}: {quiet}");
        env.ok(&["down", "--rmi", "all"]);
    }
    assert_eq!(env.ok(&["run", "-T", "--rm", "-q", "one", "true"]).stderr, "");
    assert_eq!(env.ok(&["pull", "-q"]).stderr, "");
    // Who asks for a command's output in a script gets that alone.
    let output = env.ok(&["run", "-T", "--rm", "one", "echo", "it"]);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("it\n", ""), "{}", output.text());
    env.down();
}

#[test]
fn orphans_go_where_that_is_asked_for() {
    let env = TestEnv::with("orphans-of", BOXES);
    for command in [&["create"][..], &["up", "-d"], &["run", "-T", "--rm"]] {
        env.file("compose.yaml", &BOXES.replace("  db: *box", "  db: *box\n  old: *box"));
        env.ok(&["up", "-d"]);
        env.file("compose.yaml", BOXES);
        let tail: &[&str] = if command[0] == "run" { &["web", "true"] } else { &[] };
        env.ok(&[command, tail].concat());
        assert_eq!(services(&env), ["db", "old", "web"], "{command:?}");
        env.ok(&[command, &["--remove-orphans"], tail].concat());
        assert_eq!(services(&env), ["db", "web"], "{command:?}");
    }
    env.file("compose.yaml", &BOXES.replace("  db: *box", "  db: *box\n  old: *box"));
    env.ok(&["up", "-d"]);
    env.file("compose.yaml", BOXES);
    env.ok(&["up", "-d"]);
    env.ok(&["kill"]);
    assert_eq!(env.ps_field("old", "State"), "running");
    env.ok(&["kill", "--remove-orphans"]);
    support::eventually("it is killed", PATIENCE, || {
        let state = env.ps_field("old", "State");
        if state == "exited" { Ok(()) } else { Err(state) }
    });
    env.ok(&["down"]);
    assert_eq!(services(&env), ["old"]);
    env.down();
}

#[test]
fn what_is_kept_and_what_is_made_anew() {
    let env = TestEnv::with("anew", BOXES);
    env.ok(&["up", "-d", "--no-start"]);
    assert!(env.ps().iter().all(|row| row["State"] == "created"), "{:?}", env.ps());
    env.ok(&["up", "-d"]);
    let (web, db) = (id(&env, "web"), id(&env, "db"));
    env.ok(&["up", "-d", "--force-recreate", "web"]);
    assert!(id(&env, "web") != web && id(&env, "db") == db, "dependencies stay");
    env.ok(&["up", "-d", "--always-recreate-deps", "web"]);
    assert_ne!(id(&env, "db"), db);
    let web = id(&env, "web");
    env.file("compose.yaml", &BOXES.replace("sleep 1000", "sleep 2000"));
    env.ok(&["up", "-d", "--no-recreate"]);
    assert_eq!(id(&env, "web"), web);
    env.ok(&["up", "-d"]);
    assert_ne!(id(&env, "web"), web);
    // What runs is stopped first.
    assert!(env.ok(&["rm", "-f", "web"]).stderr.contains("No stopped containers"));
    env.ok(&["rm", "-f", "-s", "web"]);
    assert_eq!(services(&env), ["db"]);
    env.down();
}

#[test]
fn all_capabilities_whole_ids_and_versions() {
    let env = TestEnv::with("assorted", BOXES);
    env.ok(&["up", "-d", "db"]);
    let capabilities = |flags: &[&str]| {
        let output = env.ok(&[&["exec", "-T"], flags, &["db", "grep", "CapEff", "/proc/self/status"]].concat()).stdout;
        u64::from_str_radix(output.split_whitespace().last().unwrap(), 16).unwrap()
    };
    let (few, all) = (capabilities(&[]), capabilities(&["--privileged"]));
    assert!(few.count_ones() < 20 && all.count_ones() > 35, "{few:x} {all:x}");
    let ids = |flags: &[&str]| env.ok(&[&["ps", "--format", "{{.ID}}"], flags].concat()).stdout.trim().len();
    assert_eq!((ids(&[]), ids(&["--no-trunc"])), (12, 64));
    assert!(env.ok(&["version", "-f", "json"]).stdout.contains("\"version\":\"v"));
    assert_eq!(env.run(&["--progress", "tty", "--ansi", "never", "ps"]).code, 2);
    env.down();
}

#[test]
fn watch_starts_nothing_when_told_so() {
    let env = TestEnv::with(
        "no-up",
        "services: { web: { image: 'busybox:1.35', command: sleep 1000, stop_signal: SIGKILL, develop: { watch: [{ path: ./src, action: sync, target: /src }] } } }",
    );
    env.file("src/a", "");
    let mut watching = env.start(&["watch", "--no-up"]);
    watching.wait_for("Watch");
    assert!(env.ps().is_empty());
    watching.signal(Signal::SIGINT);
    watching.finish(PATIENCE);
    let mut watching = env.start(&["watch", "--quiet"]);
    watching.wait_for("Watch");
    assert!(!watching.stderr().contains("Image"), "{}", watching.stderr());
    assert_eq!(services(&env), ["web"]);
    watching.signal(Signal::SIGINT);
    watching.finish(PATIENCE);
    env.down();
}

#[test]
fn there_are_no_keys_where_none_are_wanted() {
    let mut env = TestEnv::with(
        "no-keys",
        "services: { web: { x-windlass: { rootfs: host }, command: sh -c 'echo here; exec sleep 1000', stop_signal: SIGKILL } }",
    );
    let without = |env: &TestEnv, arguments: &[&str]| {
        let mut terminal = Terminal::start(env, arguments);
        terminal.wait_for("here");
        terminal.type_text("\x03");
        terminal.finish();
        !terminal.screen().contains("detach")
    };
    assert!(!without(&env, &["up"]));
    assert!(without(&env, &["up", "--menu=false"]));
    env.file(".env", "COMPOSE_MENU=false\n");
    assert!(without(&env, &["up"]));
    env.file(".env", "");
    env.set("COMPOSE_MENU", "0");
    assert!(without(&env, &["up"]));
    env.down();
}

#[test]
fn variables_say_how_it_is_shown() {
    let mut env = TestEnv::with("shown", BOXES);
    env.set("COMPOSE_PROGRESS", "json");
    let output = env.ok(&["up", "-d"]);
    assert!(output.stderr.lines().all(|line| line.starts_with('{')), "{}", output.text());
    assert!(!env.ok(&["--progress", "plain", "restart", "db"]).stderr.contains('{'));
    env.set("COMPOSE_STATUS_STDOUT", "1");
    let output = env.ok(&["restart", "db"]);
    assert!(output.stderr.is_empty() && output.stdout.contains("Container shown-db-1"), "{}", output.text());
    env.set("COMPOSE_ANSI", "always");
    let told = env.fails(&["logs", "wbe"]).stderr;
    assert!(told.contains('\x1b'), "{told:?}");
    assert!(!env.fails(&["--ansi", "never", "logs", "wbe"]).stderr.contains('\x1b'));
    env.set("COMPOSE_ANSI", "sometimes");
    let output = env.fails(&["ps"]);
    assert!(output.code == 2 && output.stderr.contains("COMPOSE_ANSI is `sometimes`"), "{}", output.text());
    env.set("COMPOSE_ANSI", "auto");
    env.set("COMPOSE_PROGRESS", "loud");
    assert!(env.fails(&["ps"]).stderr.contains("auto, tty, plain, json, quiet"));
    env.set("COMPOSE_PROGRESS", "");
    env.file("pulled.yaml", PULLED);
    env.set("COMPOSE_PARALLEL_LIMIT", "many");
    assert!(env.fails(&["-f", "pulled.yaml", "pull"]).stderr.contains("COMPOSE_PARALLEL_LIMIT is `many`"));
    env.set("COMPOSE_PARALLEL_LIMIT", "1");
    env.set("DOCKER_DEFAULT_PLATFORM", "linux/riscv64");
    assert!(env.fails(&["-f", "pulled.yaml", "pull"]).stderr.contains("linux/riscv64"));
    env.set("DOCKER_DEFAULT_PLATFORM", "");
    env.down();
}

/// A list with its header, once all of it has come.
fn whole(terminal: &mut Terminal) -> String {
    assert_eq!(terminal.finish(), 0);
    support::eventually("a list is seen", PATIENCE, || {
        let screen = terminal.screen();
        if screen.lines().count() > 1 && screen.ends_with('\n') { Ok(screen) } else { Err(screen) }
    })
}

#[test]
fn lists_do_not_wrap_on_a_narrow_terminal() {
    let env = TestEnv::with(
        "narrow",
        "services: { a-service-with-a-long-name: { image: 'busybox:1.35', command: sleep 1000, stop_signal: SIGKILL, ports: ['80', '443', '8080/udp'], volumes: ['data-of-this-service:/data'] } }\nvolumes: { data-of-this-service: }",
    );
    env.ok(&["up", "-d"]);
    for columns in [40, 80] {
        for command in [
            &["ps"][..],
            &["ps", "-a", "--no-trunc"],
            &["ls"],
            &["images"],
            &["volumes"],
            &["top"],
            &["stats", "--no-stream"],
            &["image", "ls"],
            &["network", "ls"],
            &["volume", "ls"],
            &["system", "df"],
            &["system", "df", "-v"],
        ] {
            let mut terminal = Terminal::sized(&env, command, 30, columns);
            let screen = whole(&mut terminal);
            for line in screen.lines() {
                assert!(line.trim_end().chars().count() <= usize::from(columns), "{command:?}, {columns}:\n{screen}");
            }
        }
        let mut terminal = Terminal::sized(&env, &["ps"], 30, columns);
        assert!(whole(&mut terminal).contains("STATUS"), "{}", terminal.screen());
    }
    // Where nobody reads along, everything is there.
    assert!(env.ok(&["ps"]).stdout.contains("COMMAND"));
    env.down();
}

#[test]
fn pull_takes_what_the_flags_say() {
    let env = TestEnv::with(
        "pull-flags",
        "services:\n  one: { image: 'busybox:1.35', depends_on: [two] }\n  two: { image: 'nginx:1.26' }\n  built: { image: 'busybox:nowhere', build: ., profiles: [more] }\n  gone: { image: 'busybox:nowhere', profiles: [more] }\n",
    );
    let pulled = |arguments: &[&str]| {
        let told = env.ok(&[&["pull"], arguments].concat()).stderr;
        (told.contains("Image busybox:1.35  Pulling"), told.contains("Image nginx:1.26  Pulling"))
    };
    assert_eq!(pulled(&["one"]), (true, false));
    assert_eq!(pulled(&["--include-deps", "--policy", "missing", "one"]), (false, true));
    assert_eq!(pulled(&["--policy", "always", "one"]), (true, false));
    assert!(env.fails(&["pull", "gone"]).stderr.contains("nowhere"));
    assert_eq!(pulled(&["--ignore-pull-failures", "gone", "two"]), (false, true));
    env.fails(&["pull", "built"]);
    assert_eq!(pulled(&["--ignore-buildable", "built"]), (false, false));
}

#[test]
fn an_anonymous_volume_is_kept_or_renewed() {
    let env = TestEnv::with(
        "renewed",
        "services: { web: { image: 'busybox:1.35', command: sleep 1000, stop_signal: SIGKILL, volumes: [/data] } }",
    );
    env.ok(&["up", "-d"]);
    env.sh("web", "echo kept > /data/file");
    env.ok(&["up", "-d", "--force-recreate"]);
    assert_eq!(env.sh("web", "cat /data/file"), "kept");
    env.ok(&["up", "-d", "--force-recreate", "-V"]);
    assert_eq!(env.sh("web", "ls /data"), "");
    env.down();
}

#[test]
fn lines_of_a_foreground_up_have_colours_or_none() {
    let env = TestEnv::with("coloured", "services: { web: { x-windlass: { rootfs: host }, command: echo here } }");
    let up = |flags: &[&str]| {
        let arguments = [&["--ansi", "always", "--progress", "plain", "up", "--force-recreate"], flags].concat();
        let out = env.ok(&arguments).stdout;
        assert!(out.contains("here"), "{out}");
        out.contains('\x1b')
    };
    assert!(up(&[]) && !up(&["--no-color"]));
    env.down();
}
