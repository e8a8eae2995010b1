//! The configuration hash: the same for every way to write the same container, another one for every other container.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::compose::attributes;
use crate::compose::validate::support::{Support, support};
use crate::plan::lower::labels;

use super::project;

/// The hash of a service that consists of these lines.
fn hash(lines: &[String]) -> String {
    let lines: String = lines.iter().map(|line| format!("    {line}\n")).collect();
    let text = format!(
        "services:\n  box:\n{lines}  other: {{ image: a }}\n\
         networks: {{ front: {{}}, back: {{}} }}\nvolumes: {{ data: {{}}, more: {{}} }}\n\
         secrets: {{ word: {{ file: /etc/hostname }}, term: {{ file: /etc/hostname }} }}\n\
         configs: {{ text: {{ content: a }}, note: {{ content: b }} }}\n"
    );
    let project = project(&text);
    labels::config(&project.services["box"], &BTreeMap::new(), &BTreeMap::new()).1
}

/// Each: ways to write the same.
const SAME: &[&[&str]] = &[
    &["command: echo one two", "command: [echo, one, two]"],
    &["entrypoint: /bin/run fast", "entrypoint: [/bin/run, fast]"],
    &["environment: { A: '1', B: two }", "environment: [A=1, B=two]", "environment: { B: two, A: 1 }"],
    &["labels: { a: '1', b: two }", "labels: [b=two, a=1]"],
    &["annotations: { a: '1' }", "annotations: [a=1]"],
    &[
        "ports: ['8080:80', '127.0.0.1:9090:90/udp']",
        "ports: [{ target: 90, published: '9090', host_ip: 127.0.0.1, protocol: udp }, { target: 80, published: 8080 }]",
        "ports: [{ target: 80, published: '8080', mode: ingress, x-why: web }, '127.0.0.1:9090:90/udp']",
    ],
    &[
        "volumes: ['data:/data', '/srv:/srv:ro']",
        "volumes: [{ type: bind, source: /srv, target: /srv, read_only: true, bind: { create_host_path: true } }, { type: volume, source: data, target: /data }]",
    ],
    &["ulimits: { nofile: 512 }", "ulimits: { nofile: { soft: 512, hard: 512 } }"],
    &["healthcheck: { test: ls /, interval: 60s }", "healthcheck: { interval: 1m, test: [CMD-SHELL, ls /] }"],
    &["mem_limit: 1g", "mem_limit: 1024m", "mem_limit: 1073741824", "mem_limit: '1gb'"],
    &["shm_size: 64m", "shm_size: 67108864"],
    &["cpus: 0.5", "cpus: '0.50'"],
    &["cap_add: [SYS_TIME, NET_ADMIN]", "cap_add: [NET_ADMIN, SYS_TIME, NET_ADMIN]"],
    &["group_add: [5, six]", "group_add: [six, '5']"],
    &["expose: [80, 81]", "expose: ['81', '80']"],
    &["extra_hosts: ['a:1.1.1.1', 'b:2.2.2.2']", "extra_hosts: { b: 2.2.2.2, a: 1.1.1.1 }"],
    &["sysctls: { net.a: 1, net.b: '2' }", "sysctls: [net.b=2, net.a=1]"],
    &["tmpfs: /run", "tmpfs: [/run]"],
    &["dns: 1.1.1.1", "dns: [1.1.1.1]"],
    &["devices: ['/dev/null:/dev/x:r']", "devices: [{ source: /dev/null, target: /dev/x, permissions: r }]"],
    &["secrets: [word, term]", "secrets: [{ source: term }, { source: word }]"],
    &["configs: [text]", "configs: [{ source: text }]"],
    &["networks: [front, back]", "networks: { back: {}, front: null }"],
    &[
        "logging: { driver: local, options: { max-size: 1m, max-file: '2' } }",
        "logging: { options: { max-file: 2, max-size: 1m }, driver: local }",
    ],
    &["stop_grace_period: 90s", "stop_grace_period: 1m30s"],
    &["privileged: true", "privileged: 'true'"],
    // What concerns no container.
    &["x-note: a", "x-note: b", "x-other: [1, 2]"],
    &["depends_on: [other]", "depends_on: { other: { condition: service_started, restart: true } }"],
    &["deploy: { replicas: 2 }", "deploy: { replicas: 3, x-a: 1 }"],
    &["develop: { watch: [] }", "develop: { watch: [{ path: /srv, action: restart }] }"],
    &["pull_policy: always", "pull_policy: never"],
    &["attach: true", "attach: false"],
];

#[test]
fn each_has_many_spellings() {
    let mut differ = Vec::new();
    for ways in SAME {
        let hashes: BTreeSet<String> =
            ways.iter().map(|line| hash(&["image: a".to_owned(), (*line).to_owned()])).collect();
        if hashes.len() != 1 {
            differ.push(ways);
        }
    }
    assert!(differ.is_empty(), "{differ:#?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_and_spelling_change_nothing(
        parts in prop::collection::vec((any::<bool>(), 0_usize..3, 0_usize..3, any::<u32>()), SAME.len()),
    ) {
        let mut one = vec!["image: a".to_owned()];
        let mut other: Vec<(u32, String)> = vec![(0, "image: a".to_owned())];
        for ((taken, first, second, place), ways) in parts.into_iter().zip(SAME) {
            if taken {
                one.push(ways[first % ways.len()].to_owned());
                other.push((place, ways[second % ways.len()].to_owned()));
            }
        }
        other.sort();
        let other: Vec<String> = other.into_iter().map(|(_, line)| line).collect();
        prop_assert_eq!(hash(&one), hash(&other), "{:#?}\n{:#?}", one, other);
    }
}

/// Attributes of a service whose change makes no container anew.
const OF_NO_CONTAINER: &[&str] = &[
    "attach",
    "depends_on",
    "develop",
    "env_file",
    "extends",
    "label_file",
    "profiles",
    "pull_policy",
    "scale",
    "userns_mode",
    "deploy.mode",
    "deploy.replicas",
    "deploy.rollback_config",
    "deploy.update_config",
];

/// Each: an attribute's path, a line with `@` where its value is, and two values.
const CHANGES: &[(&str, &str, &str, &str)] = &[
    (
        "blkio_config.device_read_bps.*.path",
        "blkio_config: { device_read_bps: [{ path: @, rate: 1 }] }",
        "/dev/a",
        "/dev/b",
    ),
    ("blkio_config.device_read_bps.*.rate", "blkio_config: { device_read_bps: [{ path: /a, rate: @ }] }", "1m", "2m"),
    (
        "blkio_config.device_read_iops.*.path",
        "blkio_config: { device_read_iops: [{ path: @, rate: 1 }] }",
        "/dev/a",
        "/dev/b",
    ),
    ("blkio_config.device_read_iops.*.rate", "blkio_config: { device_read_iops: [{ path: /a, rate: @ }] }", "1", "2"),
    (
        "blkio_config.device_write_bps.*.path",
        "blkio_config: { device_write_bps: [{ path: @, rate: 1 }] }",
        "/dev/a",
        "/dev/b",
    ),
    ("blkio_config.device_write_bps.*.rate", "blkio_config: { device_write_bps: [{ path: /a, rate: @ }] }", "1m", "2m"),
    (
        "blkio_config.device_write_iops.*.path",
        "blkio_config: { device_write_iops: [{ path: @, rate: 1 }] }",
        "/dev/a",
        "/dev/b",
    ),
    ("blkio_config.device_write_iops.*.rate", "blkio_config: { device_write_iops: [{ path: /a, rate: @ }] }", "1", "2"),
    ("blkio_config.weight", "blkio_config: { weight: @ }", "100", "200"),
    (
        "blkio_config.weight_device.*.path",
        "blkio_config: { weight_device: [{ path: @, weight: 1 }] }",
        "/dev/a",
        "/dev/b",
    ),
    ("blkio_config.weight_device.*.weight", "blkio_config: { weight_device: [{ path: /a, weight: @ }] }", "10", "20"),
    ("cap_add", "cap_add: [@]", "CHOWN", "KILL"),
    ("cap_drop", "cap_drop: [@]", "CHOWN", "KILL"),
    ("cgroup", "cgroup: @", "host", "private"),
    ("command", "command: @", "[a]", "[]"),
    ("configs.*.gid", "configs: [{ source: text, gid: '@' }]", "1", "2"),
    ("configs.*.mode", "configs: [{ source: text, mode: @ }]", "0440", "0444"),
    ("configs.*.source", "configs: [{ source: @, target: /x }]", "text", "note"),
    ("configs.*.target", "configs: [{ source: text, target: @ }]", "/x", "/y"),
    ("configs.*.uid", "configs: [{ source: text, uid: '@' }]", "1", "2"),
    ("container_name", "container_name: @", "aa", "bb"),
    ("cpu_period", "cpu_period: @", "1000", "2000"),
    ("cpu_quota", "cpu_quota: @", "1000", "2000"),
    ("cpu_shares", "cpu_shares: @", "10", "20"),
    ("cpus", "cpus: @", "1", "2"),
    ("cpuset", "cpuset: '@'", "0", "1"),
    ("deploy.resources.limits.cpus", "deploy: { resources: { limits: { cpus: @ } } }", "1", "2"),
    ("deploy.resources.limits.memory", "deploy: { resources: { limits: { memory: @ } } }", "1m", "2m"),
    ("deploy.resources.limits.pids", "deploy: { resources: { limits: { pids: @ } } }", "1", "2"),
    ("deploy.resources.reservations.memory", "deploy: { resources: { reservations: { memory: @ } } }", "1m", "2m"),
    ("deploy.restart_policy.condition", "deploy: { restart_policy: { condition: @ } }", "any", "none"),
    ("deploy.restart_policy.delay", "deploy: { restart_policy: { delay: @ } }", "1s", "2s"),
    ("deploy.restart_policy.max_attempts", "deploy: { restart_policy: { max_attempts: @ } }", "1", "2"),
    ("deploy.restart_policy.window", "deploy: { restart_policy: { window: @ } }", "1s", "2s"),
    ("device_cgroup_rules", "device_cgroup_rules: ['@']", "c 1:3 r", "c 1:3 w"),
    ("devices.*.permissions", "devices: [{ source: /dev/null, target: /dev/x, permissions: @ }]", "r", "w"),
    ("devices.*.source", "devices: [{ source: @, target: /x }]", "/dev/null", "/dev/zero"),
    ("devices.*.target", "devices: [{ source: /dev/null, target: @ }]", "/x", "/y"),
    ("dns", "dns: [@]", "1.1.1.1", "2.2.2.2"),
    ("dns_opt", "dns_opt: ['@']", "ndots:1", "ndots:2"),
    ("dns_search", "dns_search: [@]", "a", "b"),
    ("domainname", "domainname: @", "a", "b"),
    ("entrypoint", "entrypoint: @", "[a]", "[]"),
    ("environment", "environment: { @ }", "A: a", "A: b"),
    ("expose", "expose: [@]", "80", "81"),
    ("extra_hosts", "extra_hosts: ['a:@']", "1.1.1.1", "2.2.2.2"),
    ("group_add", "group_add: [@]", "1", "2"),
    ("healthcheck.disable", "healthcheck: { test: a, disable: @ }", "true", "false"),
    ("healthcheck.interval", "healthcheck: { test: a, interval: @ }", "1s", "2s"),
    ("healthcheck.retries", "healthcheck: { test: a, retries: @ }", "1", "2"),
    ("healthcheck.start_interval", "healthcheck: { test: a, start_interval: @, start_period: 9s }", "1s", "2s"),
    ("healthcheck.start_period", "healthcheck: { test: a, start_period: @ }", "1s", "2s"),
    ("healthcheck.test", "healthcheck: { test: @ }", "a", "b"),
    ("healthcheck.timeout", "healthcheck: { test: a, timeout: @ }", "1s", "2s"),
    ("hostname", "hostname: @", "a", "b"),
    ("init", "init: @", "true", "false"),
    ("ipc", "ipc: @", "host", "private"),
    ("labels", "labels: { a: @ }", "a", "b"),
    ("links", "links: [other:@]", "a", "b"),
    ("logging.driver", "logging: { driver: @ }", "local", "none"),
    ("logging.options", "logging: { options: { max-size: @ } }", "1m", "2m"),
    ("mac_address", "mac_address: '@'", "02:42:ac:11:65:43", "02:42:ac:11:65:44"),
    ("mem_limit", "mem_limit: @", "1m", "2m"),
    ("mem_reservation", "mem_reservation: @", "1m", "2m"),
    ("mem_swappiness", "mem_swappiness: @", "1", "2"),
    ("memswap_limit", "memswap_limit: @", "1m", "2m"),
    ("network_mode", "network_mode: @", "none", "host"),
    ("networks.*.aliases", "networks: { front: { aliases: [@] } }", "a", "b"),
    ("networks.*.gw_priority", "networks: { front: { gw_priority: @ } }", "1", "2"),
    ("networks.*.interface_name", "networks: { front: { interface_name: @ } }", "a", "b"),
    ("networks.*.ipv4_address", "networks: { front: { ipv4_address: @ } }", "10.0.0.1", "10.0.0.2"),
    ("networks.*.ipv6_address", "networks: { front: { ipv6_address: 'fd00::@' } }", "1", "2"),
    ("networks.*.link_local_ips", "networks: { front: { link_local_ips: [@] } }", "169.254.1.1", "169.254.1.2"),
    ("networks.*.mac_address", "networks: { front: { mac_address: '@' } }", "02:42:ac:11:65:43", "02:42:ac:11:65:44"),
    ("networks.*.priority", "networks: { front: { priority: @ } }", "1", "2"),
    ("oom_kill_disable", "oom_kill_disable: @", "true", "false"),
    ("oom_score_adj", "oom_score_adj: @", "1", "2"),
    ("pid", "pid: @", "host", "private"),
    ("pids_limit", "pids_limit: @", "1", "2"),
    ("platform", "platform: @", "linux/amd64", "linux/arm64"),
    ("ports.*.app_protocol", "ports: [{ target: 80, app_protocol: @ }]", "http", "http2"),
    ("ports.*.host_ip", "ports: [{ target: 80, host_ip: @ }]", "127.0.0.1", "127.0.0.2"),
    ("ports.*.mode", "ports: [{ target: 80, mode: @ }]", "host", "ingress"),
    ("ports.*.name", "ports: [{ target: 80, name: @ }]", "a", "b"),
    ("ports.*.protocol", "ports: [{ target: 80, protocol: @ }]", "tcp", "udp"),
    ("ports.*.published", "ports: [{ target: 80, published: '@' }]", "81", "82"),
    ("ports.*.target", "ports: [{ target: @ }]", "80", "81"),
    ("post_start.*.command", "post_start: [{ command: @ }]", "a", "b"),
    ("post_start.*.environment", "post_start: [{ command: a, environment: [A=@] }]", "a", "b"),
    ("post_start.*.privileged", "post_start: [{ command: a, privileged: @ }]", "true", "false"),
    ("post_start.*.user", "post_start: [{ command: a, user: @ }]", "a", "b"),
    ("post_start.*.working_dir", "post_start: [{ command: a, working_dir: @ }]", "/a", "/b"),
    ("pre_stop.*.command", "pre_stop: [{ command: @ }]", "a", "b"),
    ("pre_stop.*.environment", "pre_stop: [{ command: a, environment: [A=@] }]", "a", "b"),
    ("pre_stop.*.privileged", "pre_stop: [{ command: a, privileged: @ }]", "true", "false"),
    ("pre_stop.*.user", "pre_stop: [{ command: a, user: @ }]", "a", "b"),
    ("pre_stop.*.working_dir", "pre_stop: [{ command: a, working_dir: @ }]", "/a", "/b"),
    ("privileged", "privileged: @", "true", "false"),
    ("read_only", "read_only: @", "true", "false"),
    ("restart", "restart: @", "always", "unless-stopped"),
    ("secrets.*.gid", "secrets: [{ source: word, gid: '@' }]", "1", "2"),
    ("secrets.*.mode", "secrets: [{ source: word, mode: @ }]", "0440", "0444"),
    ("secrets.*.source", "secrets: [{ source: @, target: x }]", "word", "term"),
    ("secrets.*.target", "secrets: [{ source: word, target: @ }]", "x", "y"),
    ("secrets.*.uid", "secrets: [{ source: word, uid: '@' }]", "1", "2"),
    ("security_opt", "security_opt: ['@']", "no-new-privileges:true", "seccomp:unconfined"),
    ("shm_size", "shm_size: @", "1m", "2m"),
    ("stdin_open", "stdin_open: @", "true", "false"),
    ("stop_grace_period", "stop_grace_period: @", "1s", "2s"),
    ("stop_signal", "stop_signal: @", "SIGINT", "SIGHUP"),
    ("sysctls", "sysctls: { net.a: @ }", "1", "2"),
    ("tmpfs", "tmpfs: @", "/a", "/b"),
    ("tty", "tty: @", "true", "false"),
    ("ulimits.*.hard", "ulimits: { nofile: { soft: 1, hard: @ } }", "2", "3"),
    ("ulimits.*.soft", "ulimits: { nofile: { soft: @, hard: 3 } }", "1", "2"),
    ("user", "user: @", "a", "b"),
    ("uts", "uts: @", "host", "private"),
    (
        "volumes.*.bind.create_host_path",
        "volumes: [{ type: bind, source: /a, target: /b, bind: { create_host_path: @ } }]",
        "true",
        "false",
    ),
    (
        "volumes.*.bind.propagation",
        "volumes: [{ type: bind, source: /a, target: /b, bind: { propagation: @ } }]",
        "slave",
        "shared",
    ),
    (
        "volumes.*.bind.recursive",
        "volumes: [{ type: bind, source: /a, target: /b, bind: { recursive: @ } }]",
        "disabled",
        "enabled",
    ),
    ("volumes.*.image.subpath", "volumes: [{ type: image, source: a, target: /b, image: { subpath: @ } }]", "a", "b"),
    ("volumes.*.read_only", "volumes: [{ type: bind, source: /a, target: /b, read_only: @ }]", "true", "false"),
    ("volumes.*.source", "volumes: [{ type: volume, source: @, target: /b }]", "data", "more"),
    ("volumes.*.target", "volumes: [{ type: volume, source: data, target: @ }]", "/a", "/b"),
    ("volumes.*.tmpfs.mode", "volumes: [{ type: tmpfs, target: /b, tmpfs: { mode: @ } }]", "0700", "0711"),
    ("volumes.*.tmpfs.size", "volumes: [{ type: tmpfs, target: /b, tmpfs: { size: @ } }]", "1m", "2m"),
    ("volumes.*.type", "volumes: [{ type: @, source: data, target: /b }]", "volume", "tmpfs"),
    (
        "volumes.*.volume.nocopy",
        "volumes: [{ type: volume, source: data, target: /b, volume: { nocopy: @ } }]",
        "true",
        "false",
    ),
    (
        "volumes.*.volume.subpath",
        "volumes: [{ type: volume, source: data, target: /b, volume: { subpath: @ } }]",
        "a",
        "b",
    ),
    ("volumes_from", "volumes_from: ['@']", "other", "other:ro"),
    ("working_dir", "working_dir: @", "/a", "/b"),
    ("x-windlass.bind-idmap", "x-windlass: { bind-idmap: @ }", "off", "match-user"),
    ("x-windlass.install.command", "x-windlass: { install: { command: @, target: /b } }", "a", "b"),
    ("x-windlass.install.lock", "x-windlass: { install: { command: a, lock: @, target: /b } }", "a", "b"),
    ("x-windlass.install.target", "x-windlass: { install: { command: a, target: @ } }", "/a", "/b"),
    ("x-windlass.reload", "x-windlass: { @ }", "reload: restart", ""),
    ("x-windlass.restart_unhealthy", "x-windlass: { restart_unhealthy: @ }", "true", "false"),
    ("x-windlass.rootfs", "x-windlass: { @ }", "rootfs: host", ""),
    ("x-windlass.toolchain.node", "x-windlass: { rootfs: host, toolchain: { node: '@' } }", "20", "22"),
    ("x-windlass.toolchain.python", "x-windlass: { rootfs: host, toolchain: { python: '@' } }", "3.11", "3.12"),
];

#[test]
fn every_other_value_is_another_container() {
    let mut same = Vec::new();
    for (path, line, one, other) in CHANGES {
        let with = |value: &str| hash(&["image: a".to_owned(), line.replace('@', value)]);
        if with(one) == with(other) {
            same.push(*path);
        }
    }
    assert_eq!(same, Vec::<&str>::new(), "a change of these changes nothing");
    assert_ne!(hash(&["image: a".to_owned()]), hash(&["image: b".to_owned()]));
}

#[test]
fn the_tables_have_every_attribute_that_is_honoured() {
    let all: Vec<String> = attributes().into_iter().map(|(path, _)| path).collect();
    let is_within =
        |path: &str, outer: &str| path == outer || path.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'));
    for path in &all {
        let Some(own) = path.strip_prefix("services.*.") else { continue };
        let has_keys = all.iter().any(|other| other != path && is_within(other, path));
        if has_keys || support(path) != Support::Honoured || own == "image" {
            continue;
        }
        let changes = CHANGES.iter().filter(|(changed, ..)| *changed == own).count();
        let left_out = OF_NO_CONTAINER.iter().filter(|outer| is_within(own, outer)).count();
        assert_eq!(changes + left_out, 1, "{own}");
    }
}
