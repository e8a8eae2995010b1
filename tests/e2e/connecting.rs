//! `network connect` and `network disconnect`: containers in other networks than their file says.

use nix::sys::signal::{Signal, kill};
use support::eventually;

use crate::crash;
use crate::env::{PATIENCE, TestEnv};
use crate::lifecycle::pid_of;
use crate::net::{free_port, get, get_eventually, loopback, try_get};

const HOST: &str = "x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL";

/// A project with `a`, and one of another name in the same home, whose `peer` is in an external network.
fn two_projects(name: &str, options: &str) -> (TestEnv, String, String) {
    let env = TestEnv::with(name, &format!("services: {{ a: {{ {HOST} }} }}"));
    let (network, other) = (format!("{name}-net"), format!("{name}-two"));
    let create: Vec<&str> =
        ["network", "create"].into_iter().chain(options.split_whitespace()).chain([&*network]).collect();
    env.ok(&create);
    env.file(
        "two.yaml",
        &format!("services: {{ peer: {{ {HOST}, networks: [net] }} }}\nnetworks: {{ net: {{ external: true, name: {network} }} }}\n"),
    );
    env.ok(&["-p", &other, "-f", "two.yaml", "up", "-d"]);
    env.ok(&["up", "-d"]);
    (env, network, other)
}

fn peer(env: &TestEnv, other: &str, script: &str) -> crate::env::Output {
    env.run(&["-p", other, "exec", "-T", "peer", "sh", "-c", script])
}

/// What a name means to the peer, or nothing.
fn found(env: &TestEnv, other: &str, name: &str) -> String {
    peer(env, other, &format!("getent ahostsv4 {name} | head -n 1 | cut -d ' ' -f 1")).stdout.trim().to_owned()
}

/// The interfaces of `a`.
fn interfaces(env: &TestEnv) -> String {
    env.sh("a", "ls /sys/class/net | grep eth | tr '\\n' ' '").trim().to_owned()
}

/// Packets go from the peer to `a` under a name of it.
#[track_caller]
fn reaches(env: &TestEnv, other: &str, name: &str) {
    // A closed port answers at once, with a refusal; who cannot be reached does not.
    let script = format!("timeout 2 bash -c 'exec 3<>/dev/tcp/{name}/9' 2>&1; test $? = 1");
    let output = peer(env, other, &script);
    assert!(output.code == 0 && output.stdout.contains("refused"), "{}", output.text());
}

fn end(env: &TestEnv, network: &str, other: &str) {
    env.ok(&["-p", other, "-f", "two.yaml", "down", "-t", "0"]);
    env.ok(&["down", "-t", "0"]);
    env.ok(&["network", "rm", network]);
    env.down();
}

#[test]
fn a_running_container_is_in_the_network_at_once_and_stays_there() {
    let (env, network, other) = two_projects("conn", "");
    let pid = pid_of(&env, "a");
    assert_eq!((interfaces(&env).as_str(), found(&env, &other, "extra").as_str()), ("eth0", ""));
    env.ok(&["network", "connect", "--alias", "extra", &network, "a"]);
    assert_eq!(interfaces(&env), "eth0 eth1");
    let address = found(&env, &other, "extra");
    assert_eq!(found(&env, &other, "conn-a-1"), address);
    assert_ne!(address, "");
    reaches(&env, &other, "extra");
    // The other way, and as before into its own network and out.
    assert!(!env.sh("a", "getent ahostsv4 peer").trim().is_empty());
    assert_eq!(
        env.sh("a", "getent ahostsv4 a | head -n 1 | cut -d ' ' -f 1").trim(),
        env.sh("a", "getent ahostsv4 conn-a-1 | head -n 1 | cut -d ' ' -f 1").trim()
    );
    assert!(env.sh("a", "cat /etc/hosts").contains(&address), "its own file has the address");
    assert!(env.ok(&["network", "inspect", &network]).stdout.contains("conn-a-1"));
    assert!(env.ps_field("a", "Networks").contains(&network));
    assert_eq!(pid_of(&env, "a"), pid, "it was not started anew");

    // `up` has nothing to do for it.
    assert_eq!(env.ok(&["--dry-run", "up", "-d"]).stderr.trim(), "nothing to do");
    env.ok(&["up", "-d"]);
    assert_eq!(pid_of(&env, "a"), pid);

    // It survives the supervisor and a restart.
    let supervisor = crash::supervisor(&env).unwrap();
    kill(supervisor, Signal::SIGKILL).unwrap();
    eventually("another supervisor", PATIENCE, || match crash::supervisor(&env) {
        Some(new) if new != supervisor => Ok(()),
        _ => Err("none".to_owned()),
    });
    eventually("names", PATIENCE, || match found(&env, &other, "extra") {
        same if same == address => Ok(()),
        else_ => Err(else_),
    });
    assert!(!env.sh("a", "getent ahostsv4 peer").trim().is_empty());
    env.ok(&["restart", "-t", "0", "a"]);
    assert_eq!(interfaces(&env), "eth0 eth1");
    assert_eq!(found(&env, &other, "extra"), address);
    env.ok(&["stop", "-t", "0"]);
    assert_eq!(found(&env, &other, "extra"), "");
    env.ok(&["start"]);
    assert_eq!(found(&env, &other, "extra"), address);
    reaches(&env, &other, "extra");

    // Who is in a network is named when it is to go.
    let refusal = env.fails(&["network", "rm", &network]).stderr;
    assert!(refusal.contains("in use by") && refusal.contains("conn-a-1") && refusal.contains("peer"), "{refusal}");

    env.ok(&["network", "disconnect", &network, "a"]);
    assert_eq!(interfaces(&env), "eth0");
    assert_eq!(found(&env, &other, "extra"), "");
    assert_eq!(env.sh("a", "getent ahostsv4 peer || true").trim(), "");
    assert!(!env.ok(&["network", "inspect", &network]).stdout.contains("conn-a-1"));
    env.ok(&["restart", "-t", "0", "a"]);
    assert_eq!(interfaces(&env), "eth0");
    // `down` takes one along that is connected, and nothing stays in the network.
    env.ok(&["network", "connect", &network, "conn-a-1"]);
    env.ok(&["down", "-t", "0"]);
    assert!(!env.ok(&["network", "inspect", &network]).stdout.contains("conn-a-1"));
    end(&env, &network, &other);
}

#[test]
fn addresses_are_those_that_are_asked_for() {
    let (env, network, other) = two_projects("conn-ip", "--subnet 10.213.77.0/24 --subnet fd00:213:77::/64 --ipv6");
    let refused = |arguments: &[&str], message: &str| {
        let text = env.fails(&[&["network", "connect"], arguments].concat()).stderr;
        assert!(text.contains(message) && text.contains("hint: "), "{arguments:?}: {text}");
        assert_eq!(interfaces(&env), "eth0", "nothing is half made");
    };
    let taken = found(&env, &other, "peer");
    refused(&["--ip", &taken, &network, "a"], "is already used by conn-ip-two-peer-1");
    refused(&["--ip", "10.9.9.9", &network, "a"], "10.9.9.9 is not in the subnet 10.213.77.0/24");
    refused(&["nowhere", "a"], "no such network: nowhere");
    refused(&[&network, "nobody"], "no such container: nobody");
    let both = ["--ip", "10.213.77.9", "--ip6", "fd00:213:77::9", &network, "conn-ip-a-1"];
    env.ok(&[&["network", "connect"][..], &both].concat());
    assert_eq!(found(&env, &other, "conn-ip-a-1"), "10.213.77.9");
    assert!(peer(&env, &other, "getent ahostsv6 conn-ip-a-1").stdout.contains("fd00:213:77::9"));
    assert!(env.sh("a", "cat /proc/net/if_inet6").contains("fd000213007700000000000000000009"));
    reaches(&env, &other, "conn-ip-a-1");
    let twice = env.fails(&["network", "connect", &network, "a"]).stderr;
    assert!(twice.contains("is in network conn-ip-net already") && twice.contains("disconnect it first"), "{twice}");
    env.ok(&["network", "disconnect", &network, "a"]);
    let twice = env.fails(&["network", "disconnect", &network, "a"]).stderr;
    assert!(twice.contains("is not in network conn-ip-net") && twice.contains("hint: "), "{twice}");
    env.ok(&["network", "disconnect", "-f", &network, "a"]);
    env.fails(&["network", "disconnect", &network, "nobody"]);
    env.ok(&["network", "disconnect", "-f", &network, "nobody"]);
    // One that does not run is in it when it does.
    env.ok(&["stop", "-t", "0"]);
    env.ok(&[&["network", "connect"][..], &both].concat());
    assert_eq!(found(&env, &other, "conn-ip-a-1"), "");
    env.ok(&["start"]);
    assert_eq!(found(&env, &other, "conn-ip-a-1"), "10.213.77.9");
    end(&env, &network, &other);
}

#[test]
fn the_way_out_and_isolation_follow() {
    // The other network has no way out, and its name comes first.
    let (env, network, other) = two_projects("conn-way", "--internal");
    let routes = |env: &TestEnv| env.sh("a", "awk '$2 == \"00000000\" { print $1 }' /proc/net/route").trim().to_owned();
    assert_eq!(routes(&env), "eth0");
    env.ok(&["network", "connect", &network, "a"]);
    assert_eq!(routes(&env), "eth0", "an internal network leads nowhere");
    reaches(&env, &other, "conn-way-a-1");
    // The peer is no less inside for it.
    assert_eq!(peer(&env, &other, "awk '$2 == \"00000000\"' /proc/net/route").stdout, "");
    let gateway = env.sh("a", "awk '$2 == \"00000000\" { print $3 }' /proc/net/route");
    assert!(!gateway.trim().is_empty());
    // Out of its own network it has no way out, and `up` makes it as its file says.
    env.ok(&["network", "disconnect", "conn-way_default", "a"]);
    assert_eq!((interfaces(&env).as_str(), routes(&env).as_str()), ("eth1", ""));
    reaches(&env, &other, "conn-way-a-1");
    env.ok(&["network", "connect", "conn-way_default", "a"]);
    assert_eq!(routes(&env), "eth0");
    env.ok(&["network", "disconnect", "conn-way_default", "a"]);
    let plan = env.ok(&["--dry-run", "up", "-d"]).stderr;
    assert!(
        plan.contains("recreate container conn-way-a-1: it was disconnected from network conn-way_default"),
        "{plan}"
    );
    env.ok(&["up", "-d", "-t", "0"]);
    assert_eq!((interfaces(&env).as_str(), routes(&env).as_str()), ("eth0", "eth0"));
    end(&env, &network, &other);
}

#[test]
fn a_published_port_leads_to_where_the_container_is() {
    let port = free_port();
    let env = TestEnv::with(
        "conn-port",
        &format!(
            "services: {{ a: {{ image: 'busybox:1.35', command: httpd -f -p 80 -h /etc, stop_signal: SIGKILL, ports: ['127.0.0.1:{port}:80'] }} }}"
        ),
    );
    env.ok(&["network", "create", "conn-port-out"]);
    env.ok(&["up", "-d"]);
    get_eventually(port, "/hostname");
    env.ok(&["network", "connect", "conn-port-out", "a"]);
    get(port, "/hostname");
    env.ok(&["network", "disconnect", "conn-port_default", "a"]);
    get_eventually(port, "/hostname");
    env.ok(&["network", "disconnect", "conn-port-out", "a"]);
    assert!(try_get(loopback(port), "/hostname").is_err(), "it is in no network");
    env.ok(&["restart", "-t", "0"]);
    env.ok(&["network", "connect", "conn-port-out", "a"]);
    get_eventually(port, "/hostname");
    assert!(env.sh("a", "nslookup conn-port-a-1 127.0.0.11 || nslookup conn-port-a-1").contains("conn-port-a-1"));
    // What has no network of its own, or none at all, is in none.
    for mode in ["host", "none"] {
        env.file("host.yaml", &format!("services: {{ b: {{ {HOST}, network_mode: {mode} }} }}"));
        let two = ["-p", "conn-port-two", "-f", "host.yaml"];
        env.ok(&[&two[..], &["up", "-d"]].concat());
        let text = env.fails(&[&two[..], &["network", "connect", "conn-port-out", "b"]].concat()).stderr;
        assert!(text.contains("cannot be connected to networks") && text.contains("hint: "), "{text}");
        env.ok(&[&two[..], &["down", "-t", "0"]].concat());
    }
    env.ok(&["down", "-t", "0"]);
    env.ok(&["network", "rm", "conn-port-out"]);
    env.down();
}

#[test]
fn a_link_is_a_name_for_one_and_an_option_names_the_interface() {
    let (env, network, other) = two_projects("link", "");
    let name = "com.docker.network.endpoint.ifname";
    let wrong = format!("{name}=a/b");
    for (flag, value, said) in [
        ("--driver-opt", "ifname", "--driver-opt: `ifname` is no option"),
        ("--driver-opt", "=x", "--driver-opt: `=x` is no option"),
        ("--driver-opt", "com.docker.network.endpoint.sysctls=a", "has no effect in a bridge network"),
        ("--driver-opt", wrong.as_str(), "it has a space, `/`"),
        ("--link", "a:b:c", "--link: `a:b:c` is no link"),
        ("--link", ":b", "--link: `:b` is no link"),
        ("--link", "", "--link: `` is no link"),
    ] {
        let output = env.fails(&["network", "connect", flag, value, &network, "a"]);
        assert!(output.stderr.contains(said), "{}", output.text());
    }
    assert_eq!(interfaces(&env), "eth0");
    let holder = "link-two-peer-1";
    let option = format!("{name}=side");
    let link = format!("{holder}:store");
    env.ok(&["network", "connect", "--driver-opt", &option, "--link", &link, &network, "a"]);
    assert_eq!(env.sh("a", "ls /sys/class/net | grep -c '^side$'"), "1");
    let address = |name: &str| env.sh("a", &format!("getent ahostsv4 {name} | head -n 1 | cut -d ' ' -f 1"));
    assert!(!address(holder).is_empty());
    assert_eq!(address("store"), address(holder));
    assert_eq!(found(&env, &other, "store"), "", "nobody else knows it by that name");
    env.ok(&["restart", "-t", "0", "a"]);
    assert_eq!(address("store"), address(holder));
    assert_eq!(env.sh("a", "ls /sys/class/net | grep -c '^side$'"), "1");
    end(&env, &network, &other);
}
