//! Attributes whose effect no other test sees: many on one container, read in one run.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::mount::{MsFlags, mount};

use crate::env::{PATIENCE, TestEnv};
use crate::limits::disk;
use crate::volumes::Mounted;

#[test]
fn processes_have_names_groups_devices_and_scores() {
    let disk = disk().expect("a block device in /dev");
    let file = r#"
services:
  box:
    image: "busybox:1.35"
    command: sleep 1000
    stop_signal: SIGKILL
    oom_score_adj: 321
    hostname: captain
    domainname: ship.test
    network_mode: none
    dns: [192.0.2.53, "2001:db8::53"]
    dns_opt: ["ndots:7", "timeout:3"]
    dns_search: [ship.test, sea.test]
    device_cgroup_rules: ["c 10:200 rwm"]
    devices: [{ source: DISK, target: /dev/mine, permissions: r }]
    ulimits: { nofile: { soft: 512, hard: 1024 }, nproc: 777 }
"#;
    let env = TestEnv::with("attr-process", &file.replace("DISK", &disk));
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("box", "cat /proc/1/oom_score_adj; cat /proc/sys/kernel/domainname"), "321\nship.test");
    let resolv = env.sh("box", "grep -v '^#' /etc/resolv.conf");
    for line in ["nameserver 192.0.2.53", "nameserver 2001:db8::53", "search ship.test sea.test"] {
        assert!(resolv.lines().any(|have| have == line), "{line} in {resolv}");
    }
    assert!(resolv.contains("ndots:7") && resolv.contains("timeout:3"), "{resolv}");
    assert_eq!(env.sh("box", "mknod /tmp/tun c 10 200 && : < /tmp/tun && echo open"), "open");
    assert_eq!(env.sh("box", ": < /dev/mine && echo read; (: >> /dev/mine) 2>&1 | grep -c permitted"), "read\n1");
    assert_eq!(
        env.sh("box", "awk '/open files/ { print $4, $5 } /processes/ { print $3 }' /proc/1/limits"),
        "777\n512 1024"
    );
    env.down();
}

#[test]
fn namespaces_are_the_hosts_a_friends_or_a_containers_own() {
    let env = TestEnv::with(
        "attr-namespaces",
        r#"
x-box: &box { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL }
services:
  host: { <<: *box, pid: host, ipc: host, uts: host, cgroup: host }
  first: { <<: *box, ipc: shareable, cgroup: private }
  friend: { <<: *box, pid: "service:first", ipc: "service:first" }
"#,
    );
    env.ok(&["up", "-d"]);
    let namespaces = |service: &str, kinds: &str| {
        env.sh(service, &format!("for kind in {kinds}; do readlink /proc/self/ns/$kind; done"))
    };
    let own = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_string_lossy().into_owned();
    let hosts: Vec<String> = ["pid", "ipc", "uts", "cgroup"].map(own).into();
    assert_eq!(namespaces("host", "pid ipc uts cgroup"), hosts.join("\n"));
    for (line, host) in namespaces("first", "pid ipc uts cgroup").lines().zip(&hosts) {
        assert_ne!(line, host);
    }
    assert_eq!(namespaces("friend", "pid ipc"), namespaces("first", "pid ipc"));
    assert_ne!(namespaces("friend", "uts"), namespaces("first", "uts"));
    env.down();
}

#[test]
fn hooks_run_as_and_where_they_say() {
    let env = TestEnv::with(
        "attr-hooks",
        r#"
services:
  box:
    image: "busybox:1.35"
    command: sleep 1000
    stop_signal: SIGKILL
    volumes: ["./marks:/marks"]
    post_start:
      - { command: [sh, -c, "echo $$WHO $$(id -u) $$(pwd) > /marks/user"], user: "1000", working_dir: /bin, environment: { WHO: user } }
      - { command: [sh, -c, "grep CapEff /proc/self/status > /marks/all"], privileged: true }
    pre_stop:
      - { command: [sh, -c, "echo $$WHO $$(id -u) $$(pwd) > /marks/end"], user: "1000", working_dir: /etc, environment: [WHO=end] }
      - { command: [sh, -c, "grep CapEff /proc/self/status > /marks/end-all"], privileged: true }
"#,
    );
    let marks = env.folder().join("marks");
    fs::create_dir(&marks).unwrap();
    fs::set_permissions(&marks, fs::Permissions::from_mode(0o777)).unwrap();
    env.ok(&["up", "-d"]);
    let mark = |name: &str| fs::read_to_string(marks.join(name)).unwrap_or_default().trim().to_owned();
    let plain = env.sh("box", "grep CapEff /proc/1/status");
    support::eventually("the hooks after the start have run", PATIENCE, || {
        if mark("all").is_empty() { Err("not yet".to_owned()) } else { Ok(()) }
    });
    env.down();
    assert_eq!(mark("user"), "user 1000 /bin");
    assert_eq!(mark("end"), "end 1000 /etc");
    for name in ["all", "end-all"] {
        assert!(mark(name).starts_with("CapEff") && mark(name) != plain, "privileged: {}", mark(name));
    }
}

#[test]
fn networks_and_places_in_them_are_as_written() {
    let env = TestEnv::with(
        "attr-net",
        r#"
x-box: &box { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL }
services:
  named:
    <<: *box
    networks:
      front:
        interface_name: front7
        ipv6_address: "fd00:213:78::9"
        link_local_ips: [169.254.78.1]
        mac_address: 02:42:ac:11:65:44
  both:
    <<: *box
    networks: { front: { priority: -5 }, back: { priority: 10, gw_priority: -1 } }
    links: ["named:buddy"]
    expose: [8088]
  modern: { <<: *box, networks: [six] }
networks:
  front:
    name: attr-front
    driver: bridge
    driver_opts: { com.docker.network.driver.mtu: 1400 }
    enable_ipv6: true
    labels: { flavour: vanilla }
    ipam:
      driver: default
      config:
        - { subnet: 10.213.78.0/24, ip_range: 10.213.78.128/30, gateway: 10.213.78.254, aux_addresses: { printer: 10.213.78.128 } }
        - { subnet: "fd00:213:78::/64" }
  back: {}
  six: { enable_ipv4: false, enable_ipv6: true }
"#,
    );
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("named", "ls /sys/class/net | tr '\\n' ' '"), "front7 lo");
    let named = env.sh("named", "ip addr show front7");
    for part in ["fd00:213:78::9/64", "169.254.78.1", "02:42:ac:11:65:44", "mtu 1400"] {
        assert!(named.contains(part), "{part} in {named}");
    }
    // The range begins with an address that is somebody else's.
    let both = env.sh("both", "ip -4 addr show eth1");
    for service in ["named", "both"] {
        let addresses = env.sh(service, "ip -4 addr");
        let inside = |last: u8| addresses.contains(&format!("inet 10.213.78.{last}/"));
        assert!((129..=131).any(inside) && !inside(128), "{service}: {addresses}");
    }
    assert!(both.contains("10.213.78."), "`priority` is the order of the interfaces: {both}");
    assert!(env.sh("both", "ip route").contains("default via 10.213.78.254"), "`gw_priority` is who has the way out");
    assert!(env.sh("both", "ping -c 1 -W 2 buddy").contains("1 packets received"));
    assert_eq!(env.sh("modern", "ip -4 addr show eth0 | grep -c inet || true"), "0");
    assert!(env.sh("modern", "ip -6 addr show eth0").contains("inet6 fd"), "IPv6 alone");
    let front = env.ok(&["network", "inspect", "-f", "{{.Name}} {{.Labels.flavour}}", "attr-front"]).stdout;
    assert_eq!(front.trim(), "attr-front vanilla");
    assert!(env.ps_field("both", "Ports").contains("8088/tcp"), "{}", env.ps_field("both", "Ports"));
    env.down();
}

#[test]
fn mounts_and_volumes_have_their_options() {
    let env = TestEnv::with(
        "attr-mounts",
        r#"
services:
  box:
    image: "busybox:1.35"
    command: sleep 1000
    stop_signal: SIGKILL
    volumes:
      - { type: bind, source: ./tree, target: /whole, bind: { propagation: rslave } }
      - { type: bind, source: ./tree, target: /alone, bind: { recursive: disabled } }
      - { type: volume, source: kept, target: /part, volume: { subpath: below/this } }
      - { type: volume, source: memory, target: /memory }
      - { type: tmpfs, target: /scratch, read_only: true, tmpfs: { size: 1m, mode: 0700 } }
  lost:
    image: "busybox:1.35"
    profiles: [lost]
    volumes: [{ type: bind, source: ./nowhere, target: /x, bind: { create_host_path: false } }]
volumes:
  kept: { name: attr-kept }
  memory: { labels: { flavour: vanilla }, driver: local, driver_opts: { type: tmpfs, device: tmpfs, o: "size=3m" } }
"#,
    );
    let (tree, deep) = (env.folder().join("tree"), env.folder().join("tree/deep"));
    fs::create_dir_all(&tree).unwrap();
    let outer = Mounted::tmpfs(&tree, "size=1m");
    mount(None::<&str>, &tree, None::<&str>, MsFlags::MS_SHARED, None::<&str>).unwrap();
    fs::create_dir(&deep).unwrap();
    let inner = Mounted::tmpfs(&deep, "size=1m");
    fs::write(deep.join("file"), "x").unwrap();
    // The part must be there before it is mounted.
    env.ok(&["volume", "create", "attr-kept"]);
    let kept = env.home().join("data/volumes/attr-kept/_data/below/this");
    fs::create_dir_all(&kept).unwrap();
    fs::write(kept.join("note"), "found").unwrap();
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("box", "ls /whole/deep; ls /alone/deep; cat /part/note"), "file\nfound");
    assert!(env.sh("box", "grep ' /whole ' /proc/self/mountinfo").contains("master:"), "it follows the host's mounts");
    assert_eq!(env.sh("box", "df -k /memory | awk 'END { print $2 }'; stat -c %a /scratch"), "3072\n700");
    assert!(env.sh("box", "(touch /scratch/x) 2>&1 || true").contains("Read-only"));
    let volume =
        env.ok(&["volume", "inspect", "-f", "{{.Name}} {{.Driver}} {{.Labels.flavour}}", "attr-mounts_memory"]).stdout;
    assert_eq!(volume.trim(), "attr-mounts_memory local vanilla");
    let lost = env.fails(&["up", "-d", "lost"]);
    assert!(lost.stderr.contains("nowhere") && !env.folder().join("nowhere").exists(), "{}", lost.text());
    env.down();
    drop(inner);
    drop(outer);
}

#[test]
fn files_variables_and_labels_come_from_where_the_file_says() {
    let mut env = TestEnv::with(
        "attr-files",
        r#"
services:
  box:
    image: "busybox:1.35"
    pull_policy: missing
    command: sleep 1000
    stop_signal: SIGKILL
    label_file: ./labels.txt
    labels: { own: "1" }
    env_file:
      - { path: ./plain.env }
      - { path: ./raw.env, format: raw }
      - { path: ./absent.env, required: false }
    environment: { OWN: yes }
    secrets: [{ source: word, target: the-word, uid: "1000", gid: "1001", mode: 0440 }]
    configs:
      - { source: written, target: /etc/written, uid: "1002", gid: "1003", mode: 0640 }
      - { source: passed, target: /etc/passed }
      - { source: read, target: /etc/read }
secrets: { word: { file: ./word.txt } }
configs: { written: { content: "written" }, passed: { environment: PASSED }, read: { file: ./word.txt } }
"#,
    );
    env.set("PASSED", "passed on");
    env.file("labels.txt", "from.file=yes\nown=0\n");
    env.file("plain.env", "A='one two'\nOWN=no\n");
    env.file("raw.env", "B='one two'\n");
    env.file("word.txt", "word");
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("box", "echo $A; echo $B; echo $OWN"), "one two\n'one two'\nyes");
    let stat =
        env.sh("box", "stat -c '%u %g %a' /run/secrets/the-word /etc/written; cat /etc/written /etc/passed /etc/read");
    assert_eq!(stat, "1000 1001 440\n1002 1003 640\nwrittenpassed onword");
    let labels = env.ps_field("box", "Labels");
    assert!(labels.contains("from.file=yes") && labels.contains("own=1"), "{labels}");
    env.down();
    // What is not for this machine, and what may not be fetched, starts nothing.
    for (attributes, reason) in [
        ("image: 'busybox:1.35', platform: linux/riscv64", "linux/riscv64"),
        ("image: 'redis:8', pull_policy: never", "redis:8"),
    ] {
        env.file("compose.yaml", &format!("services: {{ box: {{ {attributes} }} }}"));
        let output = env.fails(&["up", "-d"]);
        assert!(output.stderr.contains(reason), "{}", output.text());
        assert!(env.ps().is_empty());
    }
}
