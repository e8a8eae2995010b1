//! What can be known to fail is known before anything is touched; and what is told has happened.

use std::fs;
use std::net::TcpListener;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

use crate::env::{PATIENCE, TestEnv};

const RUNNING: &str = r#"
services:
  web: { x-windlass: { rootfs: host }, command: sleep 1000, init: true, secrets: [token] }
  other: { x-windlass: { rootfs: host }, command: sleep 1000, init: true }
secrets: { token: { file: ./token } }
"#;

/// Ids of the containers, and what they do.
fn containers(env: &TestEnv) -> Vec<(String, String)> {
    let text = |container: &serde_json::Value, field: &str| container[field].as_str().unwrap_or_default().to_owned();
    let mut all: Vec<_> = env.ps().iter().map(|it| (text(it, "ID"), text(it, "State"))).collect();
    all.sort();
    all
}

#[test]
fn a_stack_runs_on_when_its_change_cannot_be_made() {
    let env = TestEnv::new("untouched");
    env.file("token", "hush");
    env.file("compose.yaml", RUNNING);
    env.ok(&["up", "-d"]);
    let before = containers(&env);
    assert_eq!(before.len(), 2);
    fs::remove_file(env.folder().join("token")).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let broken = format!(
        r#"
services:
  web:
    x-windlass: {{ rootfs: host }}
    command: sleep 1001
    secrets: [token]
    ports: ["127.0.0.1:{port}:80"]
    volumes:
      - {{ type: bind, source: ./absent, target: /absent, bind: {{ create_host_path: false }} }}
    devices: ["/dev/no-such-device"]
    device_cgroup_rules: ["nonsense"]
    cpuset: "0-9999"
    mem_limit: 1m
    ulimits: {{ nofile: {{ soft: 20, hard: 10 }} }}
    sysctls: {{ kernel.panic: "1" }}
  other: {{ x-windlass: {{ rootfs: host }}, command: sleep 1001, init: true }}
secrets: {{ token: {{ file: ./token }} }}
"#
    );
    env.file("compose.yaml", &broken);
    let output = env.fails(&["up", "-d"]);
    let text = &output.stderr;
    let (line, column) = (|what: &str| broken.lines().position(|line| line.contains(what)).unwrap() + 1, ":");
    for what in [
        "secrets: { token",
        "127.0.0.1:",
        "./absent",
        "no-such-device",
        "nonsense",
        "cpuset",
        "mem_limit",
        "nofile",
        "kernel.panic",
    ] {
        let place = format!("compose.yaml:{}{column}", line(what));
        assert!(text.contains(&place), "{what} at {place} is missing in:\n{text}");
    }
    assert!(text.contains("/token does not exist"), "{text}");
    assert!(!text.contains("create_host_path: true` for a secret"), "{text}");
    assert_eq!(containers(&env), before, "what runs goes on running, and nothing stands beside it");
    // What no machine could make is told before this one is looked at.
    let wrong = "    cap_add: [NO_SUCH]\n    stop_signal: SIGNOTHING\n    image: no-such.invalid/image\n  other:";
    let wrong =
        broken.replace("    x-windlass: { rootfs: host }\n    command", "    command").replace("  other:", wrong);
    env.file("compose.yaml", &wrong);
    let text = env.fails(&["up", "-d"]).stderr;
    for what in ["NO_SUCH", "SIGNOTHING"] {
        let line = wrong.lines().position(|line| line.contains(what)).unwrap() + 1;
        assert!(text.contains(what) && text.contains(&format!("compose.yaml:{line}:")), "{what}:\n{text}");
    }
    assert!(!text.contains("no-such"), "nothing is fetched for it: {text}");
    assert_eq!(containers(&env), before);
    env.down();
}

#[test]
fn a_start_of_what_is_there_touches_nothing_either() {
    let env = TestEnv::new("restart-untouched");
    env.file("token", "hush");
    env.file("compose.yaml", RUNNING);
    env.ok(&["up", "-d"]);
    let before = containers(&env);
    fs::remove_file(env.folder().join("token")).unwrap();
    for command in [&["restart"][..], &["up", "-d", "--force-recreate"], &["up", "-d", "--scale", "web=3"]] {
        let output = env.fails(command);
        assert!(output.stderr.contains("/token does not exist"), "{command:?}: {}", output.stderr);
        assert_eq!(containers(&env), before, "{command:?}");
    }
    let output = env.fails(&["run", "--rm", "web", "true"]);
    assert!(output.stderr.contains("/token does not exist"), "{}", output.stderr);
    env.down();
}

#[test]
fn a_pipe_is_no_secret_and_nothing_is_waited_for() {
    let env = TestEnv::new("pipes");
    nix::unistd::mkfifo(&env.folder().join("token"), Mode::S_IRWXU).unwrap();
    env.file("compose.yaml", RUNNING);
    let output = env.start(&["up", "-d"]).finish(PATIENCE);
    assert_eq!(output.code, 1, "{}", output.text());
    assert!(
        output.stderr.contains("it is a named pipe") && output.stderr.contains("compose.yaml:"),
        "{}",
        output.stderr
    );
    env.file("compose.yaml", "services: { web: { x-windlass: { rootfs: host }, command: 'true', env_file: [token] } }");
    let output = env.start(&["up", "-d"]).finish(PATIENCE);
    assert_eq!(output.code, 1, "{}", output.text());
    assert!(output.stderr.contains("it is a named pipe"), "{}", output.stderr);
    env.assert_nothing_left();
}

#[test]
fn only_what_is_asked_for_is_read() {
    let env = TestEnv::with(
        "asked-for",
        r#"
services:
  web: { x-windlass: { rootfs: host }, command: sleep 1000, init: true }
  other: { x-windlass: { rootfs: host }, command: sleep 1000, env_file: [absent.env] }
"#,
    );
    env.ok(&["run", "--rm", "web", "true"]);
    env.ok(&["up", "-d", "web"]);
    env.ok(&["exec", "web", "true"]);
    assert!(env.fails(&["up", "-d"]).stderr.contains("absent.env"));
    env.down();
}

#[test]
fn a_kill_returns_when_the_end_is_recorded() {
    let env = TestEnv::with(
        "kill-recorded",
        r#"
services:
  a: { x-windlass: { rootfs: host }, command: sleep 1000, init: true }
  b: { x-windlass: { rootfs: host }, command: sleep 1000, init: true, restart: always }
"#,
    );
    for signal in ["SIGKILL", "SIGTERM"] {
        env.ok(&["up", "-d"]);
        env.ok(&["kill", "-s", signal]);
        for service in ["a", "b"] {
            assert_eq!(env.ps_field(service, "State"), "exited", "{service} after {signal}");
        }
        env.ok(&["start", "a"]);
        assert_eq!(env.ps_field("a", "State"), "running");
    }
    env.ok(&["kill"]);
    env.ok(&["rm", "-f"]);
    assert!(env.ps().is_empty());
    env.down();
}

#[test]
fn up_starts_what_waits_to_be_restarted() {
    let env = TestEnv::with(
        "not-yet",
        r#"
services:
  web:
    x-windlass: { rootfs: host }
    command: ["sh", "-c", "test -e /marks/go && exec sleep 1000; exit 1"]
    stop_signal: SIGKILL
    volumes: ["./marks:/marks"]
    deploy: { restart_policy: { condition: any, delay: 1h } }
"#,
    );
    env.ok(&["up", "-d"]);
    support::eventually("it waits to be restarted", PATIENCE, || {
        let state = env.ps_field("web", "State");
        if state == "restarting" { Ok(()) } else { Err(state) }
    });
    fs::write(env.folder().join("marks/go"), "").unwrap();
    env.ok(&["up", "-d"]);
    assert_eq!(env.ps_field("web", "State"), "running");
    // And a kill ends what waits, too.
    fs::remove_file(env.folder().join("marks/go")).unwrap();
    env.ok(&["restart"]);
    support::eventually("it waits to be restarted", PATIENCE, || {
        let state = env.ps_field("web", "State");
        if state == "restarting" { Ok(()) } else { Err(state) }
    });
    env.ok(&["kill"]);
    assert_eq!(env.ps_field("web", "State"), "exited");
    env.down();
}

#[test]
fn wait_does_not_take_the_first_instant_for_success() {
    let env = TestEnv::with(
        "settled",
        r#"
services:
  early: { x-windlass: { rootfs: host }, command: ["sh", "-c", "exit 3"] }
  late: { x-windlass: { rootfs: host }, command: ["sh", "-c", "sleep 0.1; exit 4"] }
  again: { x-windlass: { rootfs: host }, command: ["sh", "-c", "exit 5"], restart: always }
  done: { x-windlass: { rootfs: host }, command: "true" }
  fine: { x-windlass: { rootfs: host }, command: sleep 1000, init: true }
"#,
    );
    for (service, code) in [("early", "(3)"), ("late", "(4)")] {
        let output = env.fails(&["up", "-d", "--wait", service]);
        assert_eq!(output.code, 1);
        assert!(output.stderr.contains("exited") && output.stderr.contains(code), "{}", output.stderr);
    }
    let output = env.fails(&["up", "--wait", "--wait-timeout", "2", "again"]);
    assert!(output.stderr.contains("not healthy after 2s"), "{}", output.stderr);
    env.ok(&["up", "--wait", "done", "fine"]);
    env.down();
}

#[test]
fn hooks_run_also_without_a_grace_period() {
    let env = TestEnv::with(
        "hooks-at-once",
        r#"
services:
  web:
    x-windlass: { rootfs: host }
    command: sleep 1000
    volumes: ["./marks:/marks"]
    pre_stop: [{ command: ["sh", "-c", "sleep 0.2; echo done > /marks/stopped"] }]
"#,
    );
    env.ok(&["up", "-d"]);
    env.ok(&["down", "-t", "0"]);
    assert_eq!(fs::read_to_string(env.folder().join("marks/stopped")).unwrap(), "done\n");
    env.assert_nothing_left();
}

#[test]
fn a_stop_that_takes_the_whole_grace_period_says_what_helps() {
    let env = TestEnv::with(
        "patient",
        r#"
services:
  deaf: { x-windlass: { rootfs: host }, command: ["sh", "-c", "trap '' TERM; sleep 1000"], stop_grace_period: 200ms }
  quick: { x-windlass: { rootfs: host }, command: sleep 1000, init: true }
"#,
    );
    env.ok(&["up", "-d"]);
    let text = env.ok(&["stop"]).stderr;
    assert!(
        text.contains("deaf-1: still running after its grace period of 0.2s") && text.contains("init: true"),
        "{text}"
    );
    assert!(!text.contains("quick-1: still"), "{text}");
    env.down();
}

#[test]
fn an_interrupted_up_leaves_what_it_only_depends_on() {
    let env = TestEnv::with(
        "leaves-deps",
        r#"
services:
  app: { x-windlass: { rootfs: host }, command: ["sh", "-c", "echo hello; exec sleep 1000"], init: true, depends_on: [db] }
  db: { x-windlass: { rootfs: host }, command: sleep 1000, init: true }
"#,
    );
    let mut up = env.start(&["up", "app"]);
    up.wait_for("hello");
    up.signal(Signal::SIGINT);
    up.finish(PATIENCE);
    assert_eq!(env.ps_field("app", "State"), "exited");
    assert_eq!(env.ps_field("db", "State"), "running");
    env.down();
}

#[test]
fn followers_go_on_with_what_takes_the_place_of_a_container() {
    let env = TestEnv::with(
        "successor",
        r#"
services:
  web: { x-windlass: { rootfs: host }, command: ["sh", "-c", "echo I am $$HOSTNAME; exec sleep 1000"], init: true }
"#,
    );
    let mut up = env.start(&["up"]);
    up.wait_for("I am ");
    let mut logs = env.start(&["logs", "-f"]);
    logs.wait_for("I am ");
    env.ok(&["up", "-d", "--force-recreate"]);
    let id = env.ps_field("web", "ID");
    for follower in [&mut up, &mut logs] {
        follower.wait_for(&format!("I am {}", &id[..12]));
    }
    env.ok(&["stop"]);
    assert_eq!(logs.finish(PATIENCE).code, 0);
    up.finish(PATIENCE);
    env.down();
}

#[test]
fn replicas_that_need_one_port_are_told_of_a_range() {
    let port = crate::net::free_port();
    let env = TestEnv::with(
        "one-port",
        &format!(
            r#"
services:
  web: {{ x-windlass: {{ rootfs: host }}, command: sleep 1000, init: true, ports: ["127.0.0.1:{port}:80"] }}
"#
        ),
    );
    env.ok(&["up", "-d"]);
    let text = env.fails(&["up", "-d", "--scale", "web=2"]).stderr;
    assert!(text.contains("container one-port-web-1") && text.contains("compose.yaml:3:"), "{text}");
    assert!(text.contains(&format!("publish the range {port}-{}", port + 1)), "{text}");
    assert_eq!(containers(&env).len(), 1);
    let other = TestEnv::with("one-port-elsewhere", &fs::read_to_string(env.folder().join("compose.yaml")).unwrap());
    assert!(other.fails(&["up", "-d"]).stderr.contains("already used by"));
    other.down();
    env.down();
}

/// What the error says of each place, with nothing changed.
#[track_caller]
fn refused_untouched(env: &TestEnv, broken: &str, command: &[&str], wanted: &[(&str, &str)]) {
    let before = containers(env);
    env.file("compose.yaml", broken);
    let text = env.fails(command).stderr;
    for (what, reason) in wanted {
        let (line, _) = broken.lines().enumerate().filter(|(_, line)| line.contains(what)).last().unwrap();
        let line = line + 1;
        assert!(text.contains(&format!("compose.yaml:{line}:")), "line {line} ({what}) is missing in:\n{text}");
        assert!(text.contains(reason), "{reason:?} is missing in:\n{text}");
    }
    assert_eq!(containers(env), before, "what runs goes on running, and nothing stands beside it:\n{text}");
}

#[test]
fn a_program_that_is_not_in_the_image_is_known_before() {
    let env = TestEnv::new("no-program");
    let running = "services:\n  a: { image: busybox:1.35, command: sleep 1000, init: true }\n";
    env.file("compose.yaml", running);
    env.ok(&["up", "-d"]);
    let broken = r#"
services:
  a: { image: "busybox:1.35", init: true, command: sleep 1001 }
  absent: { image: "busybox:1.35", command: no-such-program }
  path: { image: "busybox:1.35", environment: { PATH: /no/such }, command: [sh, -c, "true"] }
  relative: { image: "busybox:1.35", working_dir: /etc, command: ./no-such-file }
  file: { image: "busybox:1.35", entrypoint: /etc/passwd }
  folder: { image: "busybox:1.35", entrypoint: /etc }
  linked: { image: "busybox:1.35", working_dir: /bin, command: ./sleep 1000 }
  mounted: { image: "busybox:1.35", command: /opt/run, volumes: ["./programs:/opt"] }
  config: { image: "busybox:1.35", command: /run-it, configs: [{ source: run, target: /run-it, mode: 0755 }] }
configs: { run: { content: "x" } }
"#;
    let missing = "exec \"no-such-program\": executable file not found in $PATH";
    let wanted = [
        ("no-such-program", missing),
        ("/no/such", "exec \"sh\": executable file not found in $PATH"),
        ("no-such-file", "exec \"./no-such-file\": no such file or directory"),
        ("/etc/passwd", "exec \"/etc/passwd\": permission denied"),
        ("entrypoint: /etc }", "exec \"/etc\": /etc is a directory"),
    ];
    refused_untouched(&env, broken, &["up", "-d"], &wanted);
    let text = env.fails(&["up", "-d"]).stderr;
    for name in ["linked", "mounted", "config"] {
        assert!(!text.contains(&format!("service {name}:")), "{name} may well run:\n{text}");
    }
    let fine = running.to_owned()
        + "  linked: { image: busybox:1.35, working_dir: /bin, command: ./sleep 1000, init: true }\n";
    env.file("compose.yaml", &fine);
    env.ok(&["up", "-d"]);
    assert_eq!(env.run(&["run", "--rm", "a", "no-such-program"]).code, 127);
    assert_eq!(env.run(&["run", "--rm", "a", "/etc/passwd"]).code, 126);
    assert_eq!(containers(&env).len(), 2);
    env.down();
}

#[test]
fn a_static_address_that_cannot_be_had_is_known_before() {
    let env = TestEnv::new("no-address");
    let stack = |a: &str, b: &str| {
        format!(
            r#"
services:
  a:
    x-windlass: {{ rootfs: host }}
    command: sleep 1000
    init: true
    networks: {{ lan: {{ ipv4_address: {a} }} }}
  b:
    x-windlass: {{ rootfs: host }}
    command: sleep 1000
    init: true
    networks: {{ lan: {{ ipv4_address: {b} }} }}
networks: {{ lan: {{ ipam: {{ config: [{{ subnet: 10.213.78.0/24 }}] }} }} }}
"#
        )
    };
    let up = &["up", "-d"][..];
    env.file("compose.yaml", &stack("10.213.78.5", "10.213.78.6"));
    refused_untouched(&env, &stack("10.213.78.5", "10.213.99.9"), up, &[("99.9", "is not in the subnet")]);
    refused_untouched(&env, &stack("10.213.78.5", "10.213.78.1"), up, &[("78.1 ", "it is the gateway")]);
    let twice = stack("10.213.78.5", "10.213.78.5");
    refused_untouched(
        &env,
        &twice,
        up,
        &[("b:", "10.213.78.5 is already used by no-address-")].map(|(_, what)| ("78.5", what)),
    );
    env.file("compose.yaml", &stack("10.213.78.5", "10.213.78.6"));
    env.ok(up);
    let broken = stack("10.213.78.255", "10.213.78.5");
    refused_untouched(&env, &broken, up, &[("78.255", "or its broadcast address")]);
    refused_untouched(&env, &stack("10.213.78.6 ", "10.213.78.6"), up, &[("78.6  }", "is already used by")]);
    // One that leaves its address to another is not in the way.
    env.file("compose.yaml", &stack("10.213.78.6", "10.213.78.5"));
    env.ok(up);
    // One of another project is.
    let external = r#"
services:
  c:
    x-windlass: { rootfs: host }
    command: sleep 1000
    networks: { lan: { ipv4_address: 10.213.78.6 } }
networks: { lan: { external: true, name: no-address_lan } }
"#;
    env.file("other/compose.yaml", external);
    let text = env.fails(&["-p", "no-address-other", "-f", "other/compose.yaml", "up", "-d"]).stderr;
    assert!(
        text.contains("10.213.78.6 is already used by no-address-a-1") && text.contains("compose.yaml:6:"),
        "{text}"
    );
    env.down();
}

#[test]
fn a_start_says_where_the_file_asked_for_what_is_missing() {
    let env = TestEnv::new("start-place");
    env.file("token", "hush");
    env.file("compose.yaml", RUNNING);
    env.ok(&["up", "-d"]);
    fs::remove_file(env.folder().join("token")).unwrap();
    for command in [&["restart"][..], &["restart", "web"]] {
        let text = env.fails(command).stderr;
        assert!(text.contains("compose.yaml:5:") && text.contains("/token does not exist"), "{command:?}: {text}");
    }
    env.ok(&["stop"]);
    let text = env.fails(&["start"]).stderr;
    assert!(text.contains("compose.yaml:5:"), "{text}");
    env.down();
}

#[test]
fn a_change_that_fails_on_the_way_leaves_what_ran() {
    let env = TestEnv::new("on-the-way");
    let stack = |version: u32, program: &str| {
        format!(
            r#"
x-box: &box {{ image: "busybox:1.35", init: true, environment: {{ VERSION: "{version}" }}, command: sleep 1000 }}
services:
  a: *box
  b: {{ <<: *box, command: {program}, volumes: ["./programs:/programs"], depends_on: [a] }}
  c: {{ <<: *box, depends_on: [b] }}
  d: *box
"#
        )
    };
    let program = |name: &str, first: &str| {
        let path = env.file(&format!("programs/{name}"), &format!("{first}\nexec sleep 1000\n"));
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    program("good", "#!/bin/sh");
    program("bad", "#!/no/such/interpreter");
    env.file("compose.yaml", &stack(1, "/programs/good"));
    env.ok(&["up", "-d"]);
    assert_eq!(containers(&env).len(), 4);
    env.file("compose.yaml", &stack(2, "/programs/bad"));
    for _ in 0..2 {
        let text = env.fails(&["up", "-d"]).stderr;
        assert!(text.contains("the interpreter or loader that it names is not"), "{text}");
        let now = containers(&env);
        assert_eq!(now.len(), 4, "one row each: {now:?}");
        assert!(now.iter().all(|(_, state)| state == "running"), "{now:?}\n{text}");
    }
    assert_eq!(env.ok(&["ps", "-a", "-q"]).stdout.lines().count(), 4);
    env.file("compose.yaml", &stack(2, "/programs/good"));
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("b", "echo $VERSION"), "2");
    env.down();
}
