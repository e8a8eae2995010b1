//! Names, networks, and who reaches whom.

use crate::env::TestEnv;

/// All addresses of a name, as a container sees them.
fn addresses(env: &TestEnv, service: &str, name: &str) -> Vec<String> {
    let said = env.sh(
        service,
        &format!("nslookup {name} 127.0.0.11 2>/dev/null | sed '1,/^$/d' | sed -n 's/^Address[^:]*: *//p'"),
    );
    let mut found: Vec<String> = said.lines().map(|line| line.trim().to_owned()).collect();
    found.sort();
    found.dedup();
    found
}

fn address_of(env: &TestEnv, service: &str, interface: &str) -> String {
    env.sh(service, &format!("ip -4 addr show {interface} | sed -n 's/.*inet \\([0-9.]*\\).*/\\1/p'"))
}

#[test]
fn services_containers_aliases_and_replicas_are_names() {
    let env = TestEnv::with(
        "called",
        r#"
x-box: &box { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL }
services:
  asker: *box
  one: { <<: *box, container_name: the-one, networks: { default: { aliases: [uno, ein.s] } } }
  many: { <<: *box, scale: 3 }
"#,
    );
    env.ok(&["up", "-d"]);
    let one = vec![address_of(&env, "one", "eth0")];
    for name in ["one", "the-one", "uno", "ein.s", "ONE"] {
        assert_eq!(addresses(&env, "asker", name), one, "{name}");
    }
    assert_eq!(addresses(&env, "asker", "many").len(), 3);
    let single = addresses(&env, "asker", "called-many-2");
    assert_eq!(single.len(), 1);
    assert!(addresses(&env, "asker", "many").contains(&single[0]));
    assert_eq!(addresses(&env, "asker", "nobody.invalid"), Vec::<String>::new());
    // Names are looked up the ordinary way too, and lead to the container.
    assert!(env.sh("asker", "ping -c 1 -W 2 uno").contains("1 packets received"));
    env.down();
}

#[test]
fn a_network_with_ipv6_answers_with_both() {
    let env = TestEnv::with(
        "six",
        r#"
x-box: &box { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL }
services: { asker: *box, box: *box }
networks: { default: { enable_ipv6: true } }
"#,
    );
    env.ok(&["up", "-d"]);
    let found = addresses(&env, "asker", "box");
    assert_eq!(found.iter().filter(|address| address.contains(':')).count(), 1, "{found:?}");
    assert_eq!(found.iter().filter(|address| address.contains('.')).count(), 1, "{found:?}");
    assert!(env.sh("asker", "ping -6 -c 1 -W 2 box").contains("1 packets received"));
    env.down();
}

#[test]
fn networks_are_isolated_from_each_other() {
    let env = TestEnv::with(
        "isolated",
        r#"
x-box: &box { image: "busybox:1.35", command: httpd -f -p 80, stop_signal: SIGKILL }
services:
  left: { <<: *box, networks: [left] }
  right: { <<: *box, networks: [right] }
  both: { <<: *box, networks: [left, right] }
networks: { left: {}, right: {} }
"#,
    );
    let other = TestEnv::with(
        "neighbour",
        r#"services: { left: { image: "busybox:1.35", command: httpd -f -p 80, stop_signal: SIGKILL } }"#,
    );
    env.ok(&["up", "-d"]);
    other.ok(&["up", "-d"]);

    assert_eq!(addresses(&env, "left", "right"), Vec::<String>::new());
    assert_eq!(addresses(&env, "left", "both").len(), 1, "only the address on the shared network");
    assert_eq!(env.sh("both", "ls /sys/class/net | grep -c eth"), "2");
    for name in ["left", "right"] {
        assert!(env.sh("both", &format!("ping -c 1 -W 2 {name}")).contains("1 packets received"), "{name}");
    }
    for target in [address_of(&env, "right", "eth0"), address_of(&other, "left", "eth0")] {
        let said = env.sh("left", &format!("nc -w 1 {target} 80 < /dev/null && echo reached || echo cut off"));
        assert_eq!(said, "cut off", "{target}");
    }
    env.down();
    other.down();
}

#[test]
fn network_modes() {
    let env = TestEnv::with(
        "modes",
        r#"
x-box: &box { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL }
services:
  none: { <<: *box, network_mode: none }
  host: { <<: *box, network_mode: host }
  server: { <<: *box, command: "httpd -f -p 127.0.0.1:81" }
  guest: { <<: *box, network_mode: "service:server" }
"#,
    );
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("none", "ls /sys/class/net"), "lo");
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(env.sh("host", "readlink /proc/self/ns/net"), own.to_string_lossy());
    assert_eq!(env.sh("guest", "readlink /proc/self/ns/net"), env.sh("server", "readlink /proc/self/ns/net"));
    assert_eq!(env.sh("guest", "nc -w 2 127.0.0.1 81 < /dev/null && echo reached"), "reached");
    env.down();
}

#[test]
fn an_internal_network_leads_nowhere_else() {
    let env = TestEnv::with(
        "inside",
        r#"
x-box: &box { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL }
services: { a: *box, b: *box }
networks: { default: { internal: true } }
"#,
    );
    env.ok(&["up", "-d"]);
    assert!(env.sh("a", "ping -c 1 -W 2 b").contains("1 packets received"));
    assert_eq!(env.sh("a", "ip route | grep -c default || true"), "0");
    env.down();
}

#[test]
fn networks_take_the_subnet_and_addresses_of_the_file() {
    let env = TestEnv::with(
        "subnets",
        r#"
services:
  box:
    image: "busybox:1.35"
    command: sleep 1000
    stop_signal: SIGKILL
    mac_address: 02:42:ac:11:65:43
    networks: { lan: { ipv4_address: 10.213.77.9 } }
networks:
  lan: { ipam: { config: [{ subnet: 10.213.77.0/24, gateway: 10.213.77.254 }] } }
"#,
    );
    env.ok(&["up", "-d"]);
    assert_eq!(address_of(&env, "box", "eth0"), "10.213.77.9");
    assert!(env.sh("box", "ip route").contains("default via 10.213.77.254"));
    assert!(env.sh("box", "cat /sys/class/net/eth0/address").contains("02:42:ac:11:65:43"));
    env.down();
}
