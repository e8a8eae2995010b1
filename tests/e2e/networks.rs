//! Networks: who gets which address, what others take away, and those without a way out.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};

use crate::env::{PATIENCE, TestEnv};
use crate::net::{free_port, get_eventually, loopback, try_get};

/// The calling thread, and what it starts, has a network of its own, with a neighbour that answers nobody.
pub fn on_a_machine_of_its_own() {
    // Other tests need it where they are.
    crate::registry();
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    for arguments in [
        "link set lo up",
        "link add uplink type veth peer name neighbour",
        "addr add 203.0.113.1/24 dev uplink",
        "link set uplink up",
        "link set neighbour up",
        "route add default via 203.0.113.254",
    ] {
        ip(arguments);
    }
}

fn ip(arguments: &str) -> String {
    run("ip", arguments)
}

#[track_caller]
fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Address of a service's first container, as its `hosts` has it.
fn address(env: &TestEnv, service: &str) -> String {
    env.sh(service, "tail -n 1 /etc/hosts | cut -f 1")
}

/// Whether one container reaches the other by its name.
fn ask(env: &TestEnv) -> crate::env::Output {
    let script = r"exec 3<>/dev/tcp/web/80 && printf 'GET /hostname HTTP/1.0\r\n\r\n' >&3 && grep -q 200 <&3";
    env.run(&["exec", "-T", "asker", "timeout", "2", "bash", "-c", script])
}

pub const HOST: &str = "x-windlass: { rootfs: host }, stop_signal: SIGKILL";

#[test]
fn a_container_made_anew_keeps_its_address() {
    let file = format!(
        "services:\n  a: {{ {HOST}, command: sleep 1000 }}\n  b: {{ {HOST}, command: sleep 1000, environment: {{ N: \"${{N:-1}}\" }} }}\n  c: {{ {HOST}, command: sleep 1000 }}\n"
    );
    let mut env = TestEnv::with("addresses", &file);
    env.ok(&["up", "-d"]);
    let all = |env: &TestEnv| ["a", "b", "c"].map(|service| address(env, service));
    let before = all(&env);
    for _ in 0..3 {
        env.ok(&["up", "-d", "--force-recreate"]);
        assert_eq!(all(&env), before);
    }
    env.set("N", "2");
    env.ok(&["up", "-d"]);
    assert_eq!(all(&env), before);
    env.ok(&["restart", "-t", "0"]);
    env.ok(&["stop", "-t", "0"]);
    env.ok(&["start"]);
    assert_eq!(all(&env), before);
    env.down();
}

#[test]
fn a_static_address_is_nobody_elses() {
    let third = (std::process::id() % 200) + 20;
    let file = |z: &str| {
        format!(
            "services:\n  a: {{ {HOST}, command: sleep 1000, networks: [n] }}\n  z: {{ {HOST}, command: sleep 1000, networks: {{ n: {{ ipv4_address: {z} }} }}, profiles: [late] }}\nnetworks: {{ n: {{ ipam: {{ config: [{{ subnet: 10.77.{third}.0/24 }}] }} }} }}\n"
        )
    };
    let at = |last: u8| format!("10.77.{third}.{last}");
    let env = TestEnv::with("static", &file(&at(2)));
    env.ok(&["up", "-d"]);
    assert_eq!(address(&env, "a"), at(3), "that of a service that does not run yet is set aside");
    env.ok(&["--profile", "late", "up", "-d"]);
    assert_eq!(address(&env, "z"), at(2));
    // One that is stopped is in nobody's way.
    env.ok(&["stop", "-t", "0", "a"]);
    env.file("compose.yaml", &file(&at(3)));
    env.ok(&["--profile", "late", "up", "-d", "z"]);
    assert_eq!(address(&env, "z"), at(3));
    env.ok(&["start", "a"]);
    assert_eq!(address(&env, "a"), at(2));
    env.down();
}

#[test]
fn what_others_take_away_is_noticed_and_mended() {
    on_a_machine_of_its_own();
    let file = format!(
        "services:\n  web: {{ {HOST}, command: busybox httpd -f -p 80 -h /etc }}\n  asker: {{ {HOST}, command: sleep 1000 }}\n"
    );
    let env = TestEnv::with("mended", &file);
    env.ok(&["up", "-d"]);
    let bridge = format!("wl{}b0", env.id());
    let table = format!("inet windlass-{}", env.id());
    let answers = || ask(&env);
    support::eventually("it answers", PATIENCE, || {
        let output = answers();
        if output.code == 0 { Ok(()) } else { Err(output.text()) }
    });
    let rules = run("nft", &format!("list table {table}"));
    for (what, tool, arguments) in [
        ("rules", "nft", format!("delete table {table}")),
        ("its bridge", "ip", format!("link del {bridge}")),
        ("the address", "ip", format!("addr flush dev {bridge}")),
        ("was down", "ip", format!("link set {bridge} down")),
    ] {
        run(tool, &arguments);
        // Nobody asks.
        let line = format!("name={}_default, reason=", env.name());
        support::eventually(&format!("{what}: an event says it"), PATIENCE, || {
            let events = env.ok(&["events", "--since", "1h", "--until", "0s"]).stdout;
            let said = events
                .lines()
                .any(|event| event.contains("network mend") && event.contains(&line) && event.contains(what));
            if said { Ok(()) } else { Err(events) }
        });
        let log = env.home().join("run/projects").join(env.name()).join("windlass.log");
        let log = std::fs::read_to_string(log).unwrap();
        let told = format!("] WARN network {}_default: ", env.name());
        let said = |line: &str| {
            line.contains(" supervisor[") && line.contains(&told) && line.contains(what) && line.ends_with("; mended")
        };
        assert!(log.lines().any(said), "{what}: {log}");
        support::eventually(&format!("{what}: it answers again"), PATIENCE, || {
            let output = answers();
            if output.code == 0 { Ok(()) } else { Err(output.text()) }
        });
        assert_eq!(run("nft", &format!("list table {table}")), rules, "{what}");
        assert!(ip(&format!("addr show {bridge}")).contains("172.18.0.1/16"), "{what}");
    }
    env.down();
}

/// Waits until an event says that the rules were mended, for the time that `count` says.
fn rules_mended(env: &TestEnv, count: usize) {
    support::eventually("an event says it", PATIENCE, || {
        let events = env.ok(&["events", "--since", "1h", "--until", "0s"]).stdout;
        let said = |line: &&str| line.contains("network mend") && line.contains("packet filter rules were gone");
        if events.lines().filter(said).count() >= count { Ok(()) } else { Err(events) }
    });
}

/// Beside a real firewall (`scripts/beside-firewall`) that is reloaded as people do it, else on a machine without one.
#[test]
fn a_firewall_that_is_reloaded_costs_nothing() {
    let tool = std::env::var("FIREWALL").ok();
    let port = free_port();
    let file = format!(
        r#"
services:
  web:
    image: busybox:1.35
    command: sh -c "echo hello > /tmp/index.html && exec httpd -f -p 80 -h /tmp"
    ports: ["{port}:80"]
    stop_signal: SIGKILL
  asker: {{ image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL }}
"#
    );
    let env = TestEnv::with("reloaded", &file);
    env.ok(&["pull"]);
    if tool.is_none() {
        on_a_machine_of_its_own();
    }
    let up = env.ok(&["up", "-d"]);
    assert!(!up.stderr.contains("firewall"), "{}", up.text());
    let address = crate::net::host_address();
    let works = |after: &str| {
        for (service, to) in [
            ("asker", "web 80".to_owned()),
            ("asker", format!("{address} {port}")),
            ("web", format!("{address} {port}")),
        ] {
            support::eventually(&format!("{after}: {service} reaches {to}"), PATIENCE, || {
                let ask = format!("printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 2 {to} | tail -n 1");
                let said = env.sh(service, &ask);
                if said == "hello" { Ok(()) } else { Err(said) }
            });
        }
    };
    let reload: &[&str] = match &tool {
        Some(tool) if tool.ends_with("ufw") => &["reload"],
        Some(_) => &["--reload"],
        None => &[],
    };
    works("at first");
    let mut mended = 0;
    if let Some(tool) = &tool {
        run(tool.split(' ').next().unwrap(), &format!("{} {}", tool.split_once(' ').unwrap().1, reload.join(" ")));
        if tool.ends_with("firewall-cmd") {
            // ufw leaves the rules of others where they are.
            mended += 1;
            rules_mended(&env, mended);
        }
        works("after its reload");
    }
    run("nft", "flush ruleset");
    rules_mended(&env, mended + 1);
    works("without any rule");
    if let Some(tool) = &tool {
        let mut again: Vec<&str> = tool.split(' ').collect();
        again.extend(if tool.ends_with("ufw") { &["--force", "enable"][..] } else { &["--complete-reload"] });
        // firewalld misses its own table once, and makes it anew then.
        support::eventually("it is there again", PATIENCE, || {
            let output = Command::new(again[0]).args(&again[1..]).output().unwrap();
            if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
        });
        rules_mended(&env, mended + 2);
        works("with its rules again");
    }
    env.down();
    assert!(!run("nft", "list ruleset").contains(&env.id()));
}

/// Whichever command is the first that needs a folder.
#[test]
fn folders_of_state_are_closed_to_others_from_the_first_command_on() {
    use std::os::unix::fs::PermissionsExt;

    on_a_machine_of_its_own();
    let file =
        format!("services:\n  a: {{ {HOST}, command: sleep 1000, volumes: [\"kept:/kept\"] }}\nvolumes: {{ kept: }}\n");
    let closed = |env: &TestEnv, first: &str| {
        let within = |folder: &std::path::Path| -> Vec<_> {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
        };
        let mut folders = within(&env.home());
        assert!(!folders.is_empty(), "{first} makes a folder");
        folders.extend(folders.clone().iter().flat_map(|folder| within(folder)));
        for folder in folders {
            let mode = std::fs::metadata(&folder).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o700, "{} after {first}", folder.display());
        }
    };
    let commands: [&[&str]; 6] = [
        &["network", "create", "lan"],
        &["volume", "create", "data"],
        &["create"],
        &["up", "-d"],
        &["image", "prune", "-f"],
        &["run", "--rm", "a", "true"],
    ];
    for (number, command) in commands.into_iter().enumerate() {
        let env = TestEnv::with(&format!("first-{number}"), &file);
        env.ok(command);
        closed(&env, &command.join(" "));
        env.run(&["network", "rm", "-f", "lan"]);
    }
    let env = TestEnv::with("first-events", &file);
    let mut events = env.start(&["events"]);
    support::eventually("it waits for the project", PATIENCE, || {
        if env.home().join("data/projects").exists() { Ok(()) } else { Err(events.stderr()) }
    });
    closed(&env, "events");
}

#[test]
fn up_mends_what_nobody_noticed() {
    on_a_machine_of_its_own();
    let file = format!(
        "services:\n  web: {{ {HOST}, command: busybox httpd -f -p 80 -h /etc }}\n  asker: {{ {HOST}, command: sleep 1000 }}\n"
    );
    let env = TestEnv::with("mended-by-up", &file);
    env.ok(&["up", "-d"]);
    let supervisor = crate::crash::supervisor(&env).unwrap();
    nix::sys::signal::kill(supervisor, nix::sys::signal::Signal::SIGSTOP).unwrap();
    ip(&format!("link del wl{}b0", env.id()));
    run("nft", &format!("delete table inet windlass-{}", env.id()));
    nix::sys::signal::kill(supervisor, nix::sys::signal::Signal::SIGKILL).unwrap();
    env.ok(&["up", "-d", "--force-recreate"]);
    support::eventually("it answers", PATIENCE, || {
        let output = ask(&env);
        if output.code == 0 { Ok(()) } else { Err(output.text()) }
    });
    assert!(run("nft", "list tables").contains(&env.id()));
    env.down();
}

#[test]
fn an_internal_network_publishes_nothing_and_its_install_step_gets_out() {
    let (inner, both) = (free_port(), free_port());
    let file = format!(
        r#"
services:
  inner:
    x-windlass: {{ rootfs: host, install: {{ command: "ip route show default > /opt/pkg/route; cat /etc/resolv.conf > /opt/pkg/names", lock: requirements.txt, target: /opt/pkg }} }}
    command: busybox httpd -f -p 80 -h /etc
    stop_signal: SIGKILL
    networks: [closed]
    ports: ["127.0.0.1:{inner}:80"]
  both: {{ {HOST}, command: busybox httpd -f -p 80 -h /etc, networks: [closed, open], ports: ["127.0.0.1:{both}:80"] }}
networks: {{ closed: {{ internal: true }}, open: {{}} }}
"#
    );
    let env = TestEnv::with("closed", &file);
    env.file("requirements.txt", "");
    let output = env.ok(&["up", "-d"]);
    assert!(output.stderr.contains("the ports of inner are not published"), "{}", output.text());
    assert!(output.stderr.contains("compose.yaml:8"), "{}", output.text());
    get_eventually(both, "/hostname");
    assert!(try_get(loopback(inner), "/hostname").is_err());
    // The step had a way out that the service has not.
    assert!(env.sh("inner", "cat /opt/pkg/route").starts_with("default via"));
    assert_eq!(env.sh("inner", "ip route show default"), "");
    env.down();
}

#[test]
fn a_network_that_a_person_makes_is_for_every_project() {
    let env = TestEnv::with(
        "outer",
        &format!(
            "services:\n  a: {{ {HOST}, command: sleep 1000, networks: [shared] }}\nnetworks: {{ shared: {{ external: true, name: made-by-hand }} }}\n"
        ),
    );
    assert!(env.fails(&["up", "-d"]).stderr.contains("made-by-hand"));
    let third = (std::process::id() % 200) + 20;
    let subnet = format!("10.78.{third}.0/24");
    let arguments = [
        "network",
        "create",
        "--subnet",
        &subnet,
        "--gateway",
        &format!("10.78.{third}.9"),
        "--label",
        "who=me",
        "made-by-hand",
    ];
    let id = env.ok(&arguments).stdout;
    assert_eq!(id.trim().len(), 64, "{id}");
    assert!(env.fails(&arguments).stderr.contains("network with name made-by-hand already exists"));
    env.ok(&["up", "-d"]);
    assert_eq!(address(&env, "a"), format!("10.78.{third}.1"));
    assert!(env.fails(&["network", "rm", "made-by-hand"]).stderr.contains("in use by outer-a-1"));
    env.ok(&["down", "-t", "0"]);
    assert_eq!(env.ok(&["network", "ls", "--filter", "label=who=me", "-q"]).stdout.trim(), &id[..12]);
    env.ok(&["system", "prune", "-f", "--filter", "label=nobody"]);
    env.ok(&["network", "rm", "made-by-hand"]);
    assert_eq!(env.ok(&["network", "ls", "-q"]).stdout, "");
    env.assert_nothing_left();
}

#[test]
fn names_add_no_lines_to_files() {
    for (attribute, value) in [
        ("hostname", r#""a\nnameserver 6.6.6.6""#),
        ("domainname", r#""a b""#),
        ("dns_search", r#"["corp\nnameserver 6.6.6.6"]"#),
        ("dns_opt", r#"["ndots:1\nnameserver 6.6.6.6"]"#),
        ("extra_hosts", r#"{"evil\n6.6.6.6 bank.example": "1.1.1.1"}"#),
        ("networks", r#"{ default: { aliases: ["a\n6.6.6.6 b"] } }"#),
    ] {
        let env = TestEnv::with(
            "words",
            &format!(
                "services:\n  a:\n    x-windlass: {{ rootfs: host }}\n    command: sleep 1000\n    {attribute}: {value}\n"
            ),
        );
        let output = env.fails(&["up", "-d"]);
        assert!(output.stderr.contains("compose.yaml:5"), "{attribute}: {}", output.text());
        env.file("compose.yaml", "services: { a: { x-windlass: { rootfs: host } } }\n");
        assert!(env.ps().is_empty());
    }
}
