//! Values that load, and that nothing can be made of.

use crate::plan::desired::{OnFailure, Update};
use crate::plan::lower::{check, lower, warnings};

use super::{project, with_inputs};

/// Line by line: the attribute that is wrong begins where the caret is.
const WRONG: &str = r#"
services:
  a:
    image: a
    deploy:
      mode: nonsense
      restart_policy: { condition: nonsense }
      update_config: { failure_action: nonsense }
      rollback_config: { failure_action: rollback }
    dns: not-an-address
    stop_signal: SIGNOPE
    cap_add: [CHOWN, NOPE]
    cap_drop: [NADA]
    ipc: nonsense
    pid: nonsense
    uts: nonsense
    platform: nonsense
    security_opt: [nope]
    extra_hosts: ["a:not-an-ip"]
    expose: ["0", "7-5", "80/icmp"]
    logging: { driver: syslog }
    ports: [{ target: 80, mode: nonsense }]
    volumes:
      - { type: bind, source: /, target: /x, bind: { propagation: nonsense } }
      - { type: bind, source: /, target: /y, bind: { recursive: writable } }
      - { type: volume, source: v, target: /v }
    secrets: [outside]
  b:
    image: a
    deploy: { mode: global, replicas: 2 }
    networks:
      default:
        ipv4_address: "fd00::1"
        ipv6_address: 10.0.0.1
        interface_name: way/too/long
        link_local_ips: [nope]
  c: { image: a, network_mode: nonsense }
networks:
  default:
    driver: nonsense
    driver_opts: { com.docker.network.driver.mtu: nonsense }
    ipam:
      driver: nonsense
      config:
        - { subnet: nonsense, ip_range: nonsense }
        - { subnet: 10.9.0.0/24, gateway: 300.1.1.1, ip_range: 10.8.0.0/28, aux_addresses: { x: 10.7.0.1 } }
volumes: { v: { driver: nonsense } }
secrets: { outside: { external: true } }
"#;

#[test]
fn all_are_told_with_their_places() {
    let project = project(WRONG);
    let faults = with_inputs(&project, |inputs| check(&project, inputs));
    let mut found: Vec<(u32, &str)> = Vec::new();
    for fault in &faults {
        let place = project.place(&fault.path).unwrap_or_else(|| panic!("{} has no place", fault.path));
        found.push((place.line, &fault.path));
    }
    found.sort_unstable();
    let lines: Vec<String> = found.iter().map(|(line, path)| format!("{line} {path}")).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    6 services.a.deploy.mode
    7 services.a.deploy.restart_policy.condition
    8 services.a.deploy.update_config.failure_action
    9 services.a.deploy.rollback_config.failure_action
    10 services.a.dns[0]
    11 services.a.stop_signal
    12 services.a.cap_add[1]
    13 services.a.cap_drop[0]
    14 services.a.ipc
    15 services.a.pid
    16 services.a.uts
    17 services.a.platform
    18 services.a.security_opt[0]
    19 services.a.extra_hosts.a
    20 services.a.expose[0]
    20 services.a.expose[1]
    20 services.a.expose[2]
    21 services.a.logging.driver
    22 services.a.ports[0].mode
    24 services.a.volumes[0].bind.propagation
    25 services.a.volumes[1].bind.recursive
    30 services.b.deploy.replicas
    33 services.b.networks.default.ipv4_address
    34 services.b.networks.default.ipv6_address
    35 services.b.networks.default.interface_name
    36 services.b.networks.default.link_local_ips
    37 services.c.network_mode
    40 networks.default.driver
    41 networks.default.driver_opts
    43 networks.default.ipam.driver
    45 networks.default.ipam.config[0].ip_range
    45 networks.default.ipam.config[0].subnet
    46 networks.default.ipam.config[1].aux_addresses.x
    46 networks.default.ipam.config[1].gateway
    46 networks.default.ipam.config[1].ip_range
    47 volumes.v.driver
    48 secrets.outside
    ");
}

#[test]
fn what_is_right_is_not_told() {
    let project = project(
        r#"
services:
  a:
    image: a
    deploy:
      mode: replicated
      restart_policy: { condition: any }
      update_config: { failure_action: rollback }
      rollback_config: { failure_action: continue }
    dns: ["1.1.1.1", "2001:db8::1"]
    stop_signal: RTMIN+3
    cap_add: [all, CAP_NET_ADMIN, sys_time]
    ipc: shareable
    pid: "service:b"
    uts: host
    platform: linux/arm64/v8
    restart: on-failure:3
    extra_hosts: ["a:[::1]", "b=host-gateway"]
    expose: [80, "53/udp", "7000-7010/tcp"]
    ports: [{ target: 80, mode: ingress }]
    volumes: [{ type: bind, source: /, target: /x, bind: { propagation: rslave, recursive: readonly } }]
    networks: { default: { ipv4_address: 10.9.0.4, interface_name: wan0 } }
  b: { image: a, deploy: { mode: global, replicas: 1 }, network_mode: none }
networks:
  default:
    driver: bridge
    ipam: { driver: default, config: [{ subnet: 10.9.0.0/24, ip_range: 10.9.0.0/28, gateway: 10.9.0.1, aux_addresses: { x: 10.9.0.2 } }] }
  unused: { driver: nonsense }
"#,
    );
    let faults = with_inputs(&project, |inputs| check(&project, inputs));
    assert!(faults.is_empty(), "{faults:?}");
}

#[test]
fn an_option_without_effect_is_told() {
    let file = "services: { a: { image: a } }\nnetworks:\n  default:\n    driver_opts:\n      foo: bar\n";
    let project = project(file);
    let told = warnings(&project, &["a".to_owned()]);
    assert_eq!(told[0].path, "networks.default.driver_opts.foo");
    assert_eq!(project.place(&told[0].path).map(|place| place.line), Some(5));
}

#[test]
fn updates_and_rollbacks_have_all_their_settings() {
    let file = r#"
services:
  a:
    image: a
    deploy:
      update_config: { parallelism: 2, delay: 3s, monitor: 4s, max_failure_ratio: 0.5, order: start-first, failure_action: rollback }
      rollback_config: { parallelism: 5, delay: 6s, monitor: 7s, max_failure_ratio: 0.25, order: stop-first, failure_action: continue }
"#;
    let project = project(file);
    let desired = with_inputs(&project, |inputs| lower(&project, inputs)).unwrap();
    let update = Update {
        parallelism: 2,
        delay_ms: 3000,
        monitor_ms: 4000,
        max_failure_ratio: 0.5,
        start_first: true,
        on_failure: OnFailure::Rollback,
    };
    let rollback = Update {
        parallelism: 5,
        delay_ms: 6000,
        monitor_ms: 7000,
        max_failure_ratio: 0.25,
        start_first: false,
        on_failure: OnFailure::Continue,
    };
    assert_eq!(desired.services[0].update, Some(update));
    assert_eq!(desired.services[0].rollback, Some(rollback));
}
