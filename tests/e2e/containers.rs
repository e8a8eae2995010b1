//! What a container is from the inside: namespaces, root, devices, files, identity, privileges.

use crate::env::TestEnv;
use crate::terminal::Terminal;

/// A service that only waits, and ends at once when told to.
const WAITING: &str = "services: { box: { image: 'busybox:1.35', command: sleep 1000, stop_signal: SIGKILL } }";

#[test]
fn a_container_has_namespaces_of_its_own() {
    let env = TestEnv::with("namespaces", WAITING);
    env.ok(&["up", "-d"]);
    for kind in ["mnt", "pid", "uts", "ipc", "net", "cgroup"] {
        let own = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        let inside = env.sh("box", &format!("readlink /proc/1/ns/{kind}; readlink /proc/self/ns/{kind}"));
        let (first, exec) = inside.split_once('\n').expect("two lines");
        assert_ne!(first, own.to_string_lossy(), "{kind}");
        assert_eq!(first, exec, "exec joins the {kind} namespace");
    }
    assert_eq!(env.sh("box", "tr '\\0' ' ' < /proc/1/cmdline").trim(), "sleep 1000");
    assert_eq!(env.sh("box", "cat /proc/self/cgroup | grep -v ':/$' || true"), "", "the cgroup tree starts at its own");
    assert_eq!(env.sh("box", "hostname | wc -c"), "13", "the host name is the short id");
    env.down();
}

#[test]
fn the_root_is_the_images_and_nothing_of_the_host() {
    let env = TestEnv::with("root", WAITING);
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("box", "awk '$2 == \"/\" { print $3, substr($4, 1, 3) }' /proc/mounts"), "overlay rw,");
    assert_eq!(
        env.sh("box", "ls -d /home/user /work /var/lib/dpkg /.oldroot /put_old 2>/dev/null || true"),
        "/home/user"
    );
    assert_eq!(env.sh("box", "touch /new && rm /bin/cal && ls /new /bin/cal 2>/dev/null || true"), "/new");
    let shared = env.sh("box", "grep -c -e shared: -e master: /proc/self/mountinfo || true");
    assert_eq!(shared, "0", "no mount of the container propagates");
    env.down();
}

#[test]
fn devices_and_kernel_file_systems_are_dockers() {
    let env = TestEnv::with("devices", WAITING);
    env.ok(&["up", "-d"]);
    let mut expected = "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero".to_owned();
    if !std::path::Path::new("/proc/kcore").exists() {
        expected = expected.replace("core ", "");
    }
    let listed = env.sh("box", "ls /dev");
    assert_eq!(listed.replace('\n', " "), expected, "a console is there only with a terminal");
    assert_eq!(env.sh("box", "stat -c '%a %F %t,%T' /dev/null"), "666 character special file 1,3");
    assert_eq!(
        env.sh("box", "head -c 4 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c; echo x > /dev/null && echo ok"),
        "4\n3\nok"
    );
    assert_eq!(
        env.sh("box", "awk '$2 == \"/dev/shm\" { print $3 }' /proc/mounts; df -k /dev/shm | awk 'END { print $2 }'"),
        "tmpfs\n65536"
    );
    assert_eq!(
        env.sh("box", "awk '$2 == \"/dev/mqueue\" || $2 == \"/dev/pts\" { print $3 }' /proc/mounts | sort"),
        "devpts\nmqueue"
    );
    assert!(
        env.sh("box", "mknod /tmp/sda b 8 0 && head -c 1 /tmp/sda 2>&1 || true").contains("Operation not permitted")
    );
    env.down();
}

#[test]
fn masked_and_read_only_paths_are_dockers() {
    let env = TestEnv::with("masked", WAITING);
    env.ok(&["up", "-d"]);
    assert_eq!(
        env.sh("box", "for f in kcore keys timer_list; do [ ! -e /proc/$f ] || wc -c < /proc/$f; done | sort -u"),
        "0"
    );
    assert_eq!(
        env.sh("box", "ls /sys/firmware /proc/scsi /proc/acpi 2>/dev/null | grep -v : | grep -c . || true"),
        "0"
    );
    for path in ["/proc/sys/kernel/domainname", "/proc/sysrq-trigger", "/sys/kernel/mm/ksm/run"] {
        let said = env.sh("box", &format!("[ ! -e {path} ] || (echo x > {path}) 2>&1 || true"));
        assert!(said.is_empty() || said.contains("Read-only file system"), "{path}: {said}");
    }
    for path in ["asound", "bus", "fs", "irq", "sys", "sysrq-trigger"] {
        let options = env
            .sh("box", &format!("[ ! -e /proc/{path} ] || awk '$2 == \"/proc/{path}\" {{ print $4 }}' /proc/mounts"));
        assert!(options.is_empty() || options.contains("ro"), "/proc/{path}: {options}");
    }
    env.down();
}

#[test]
fn privileges_are_dockers_and_can_be_changed() {
    let env = TestEnv::with(
        "privileges",
        r#"
x-box: &box { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL }
services:
  plain: *box
  more: { <<: *box, cap_add: [NET_ADMIN], cap_drop: [CHOWN] }
  none: { <<: *box, cap_drop: [ALL] }
  user: { <<: *box, user: "1000", security_opt: ["no-new-privileges:true"] }
  open: { <<: *box, security_opt: ["seccomp:unconfined"] }
  privileged: { <<: *box, privileged: true }
"#,
    );
    env.ok(&["up", "-d"]);
    let status = |service: &str, field: &str| {
        env.sh(service, &format!("awk '$1 == \"{field}:\" {{ print $2 }}' /proc/1/status"))
    };
    assert_eq!(status("plain", "CapEff"), "00000000a80425fb");
    assert_eq!(status("plain", "CapBnd"), "00000000a80425fb");
    assert_eq!(status("plain", "CapInh"), "0000000000000000");
    assert_eq!(status("plain", "Seccomp"), "2");
    assert_eq!(status("plain", "NoNewPrivs"), "0");
    assert_eq!(status("more", "CapEff"), "00000000a80435fa");
    assert_eq!(status("none", "CapEff"), "0000000000000000");
    assert_eq!(status("user", "CapEff"), "0000000000000000");
    assert_eq!(status("user", "CapBnd"), "00000000a80425fb");
    assert_eq!(status("user", "NoNewPrivs"), "1");
    assert_eq!(status("open", "Seccomp"), "0");
    assert_eq!(status("privileged", "Seccomp"), "0");
    assert!(env.sh("plain", "unshare -m true 2>&1 || true").contains("Operation not permitted"));
    assert_eq!(env.sh("privileged", "mount -t tmpfs none /root && echo mounted"), "mounted");
    // A process that joins later has no more than the first one.
    assert_eq!(env.sh("plain", "grep CapEff /proc/self/status | cut -f 2"), "00000000a80425fb");
    assert_eq!(env.sh("plain", "grep Seccomp: /proc/self/status | cut -f 2"), "2");
    env.down();
}

#[test]
fn users_and_groups_come_from_the_file_and_the_image() {
    let env = TestEnv::with(
        "users",
        r#"
x-box: &box { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL }
services:
  root: *box
  name: { <<: *box, user: user }
  number: { <<: *box, user: "1000:2001" }
  unknown: { <<: *box, user: "4242:4343", group_add: ["55", extra] }
"#,
    );
    env.ok(&["up", "-d"]);
    let id =
        |service: &str| env.sh(service, "grep -E '^(Uid|Gid|Groups):' /proc/1/status | tr '\\t\\n' '  ' | tr -s ' '");
    assert_eq!(id("root").trim(), "Uid: 0 0 0 0 Gid: 0 0 0 0 Groups: 0");
    assert_eq!(id("name").trim(), "Uid: 1000 1000 1000 1000 Gid: 1000 1000 1000 1000 Groups: 1000 2000 2001");
    assert_eq!(id("number").trim(), "Uid: 1000 1000 1000 1000 Gid: 2001 2001 2001 2001 Groups: 2001");
    assert_eq!(id("unknown").trim(), "Uid: 4242 4242 4242 4242 Gid: 4343 4343 4343 4343 Groups: 55 2000 4343");
    assert_eq!(env.sh("name", "echo $HOME"), "/home/user");
    assert_eq!(env.sh("root", "echo $HOME"), "/root");
    env.down();
}

#[test]
fn commands_environment_and_folders_override_the_images() {
    let env = TestEnv::with(
        "overrides",
        r#"
services:
  entry: { image: "postgres:17", entrypoint: ["echo", "entry"] }
  both: { image: "postgres:17", entrypoint: echo entry, command: ["and", "command"] }
  image: { image: "postgres:17", command: ["echo", "through the image's entry point"] }
  words: { image: "busybox:1.35", command: echo "two words" $$HOME }
  list: { image: "busybox:1.35", command: ["sh", "-c", "echo $$0 $$A $$PATH $$PWD", "zero"], environment: { A: b }, working_dir: /made/here }
"#,
    );
    env.ok(&["up", "-d"]);
    let said = |service: &str, expected: &str| {
        support::eventually("the service has spoken", crate::env::PATIENCE, || {
            let log = env.ok(&["logs", "--no-log-prefix", service]).stdout;
            if log.trim_end() == expected { Ok(()) } else { Err(log) }
        });
    };
    // An entry point of the file's own drops the image's command.
    said("entry", "entry");
    said("both", "entry and command");
    said("image", "through the image's entry point");
    said("words", "two words $HOME");
    said("list", "zero b /bin:/sbin:/usr/bin:/usr/sbin /made/here");
    env.down();
}

#[test]
fn init_reaps_and_forwards() {
    let env = TestEnv::with(
        "init",
        r#"
services:
  box:
    image: "busybox:1.35"
    init: true
    volumes: ["./marks:/marks"]
    command: ["sh", "-c", "trap 'echo got it > /marks/term; exit 7' TERM; while :; do sleep 0.05; done"]
"#,
    );
    env.ok(&["up", "-d"]);
    assert_ne!(env.sh("box", "tr '\\0' ' ' < /proc/1/cmdline | cut -d' ' -f1"), "sh", "an init comes first");
    env.sh("box", "for i in 1 2 3 4 5; do (sleep 0.01 &); done");
    support::eventually("orphans are reaped", crate::env::PATIENCE, || {
        let dead = env.sh("box", "grep -l 'State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l");
        if dead == "0" { Ok(()) } else { Err(format!("{dead} zombies")) }
    });
    env.ok(&["down"]);
    assert_eq!(std::fs::read_to_string(env.folder().join("marks/term")).unwrap(), "got it\n");
}

#[test]
fn a_service_with_a_terminal_has_one() {
    let env = TestEnv::with(
        "tty",
        r#"
services:
  with: { image: "busybox:1.35", tty: true, stdin_open: true, command: sh -c "tty; stty size; exec sleep 1000", stop_signal: SIGKILL }
  without: { image: "busybox:1.35", command: sh -c "tty; readlink /proc/self/fd/0; exec sleep 1000", stop_signal: SIGKILL }
"#,
    );
    env.ok(&["up", "-d"]);
    let log = |service: &str| env.ok(&["logs", "--no-log-prefix", service]).stdout;
    support::eventually("the services have spoken", crate::env::PATIENCE, || {
        if log("with").lines().count() == 2 && log("without").lines().count() == 2 {
            Ok(())
        } else {
            Err(log("without"))
        }
    });
    assert!(log("with").contains("/dev/console") || log("with").contains("/dev/pts/0"), "{}", log("with"));
    assert!(log("with").contains("24 80"), "it has a size from the start: {}", log("with"));
    assert_eq!(log("without"), "not a tty\n/dev/null\n");
    assert_eq!(env.sh("with", "ls /dev/console"), "/dev/console");
    env.down();
}

#[test]
fn read_only_roots_tmpfs_limits_and_names() {
    let env = TestEnv::with(
        "extras",
        r#"
services:
  box:
    image: "busybox:1.35"
    command: sleep 1000
    stop_signal: SIGKILL
    read_only: true
    tmpfs: ["/scratch:size=1m,mode=1770"]
    shm_size: 16m
    hostname: captain
    domainname: ship.test
    extra_hosts: ["elsewhere:192.0.2.7", "me=host-gateway"]
    ulimits: { nofile: { soft: 512, hard: 1024 }, core: 0 }
    sysctls: { net.ipv4.ip_unprivileged_port_start: 80 }
    dns_search: [ship.test]
    labels: { flavour: vanilla }
"#,
    );
    env.ok(&["up", "-d"]);
    assert!(env.sh("box", "(touch /x) 2>&1 || true").contains("Read-only file system"));
    assert_eq!(
        env.sh("box", "touch /scratch/x && stat -c %a /scratch && df -k /scratch | awk 'END { print $2 }'"),
        "1770\n1024"
    );
    assert_eq!(env.sh("box", "df -k /dev/shm | awk 'END { print $2 }'"), "16384");
    assert_eq!(env.sh("box", "hostname; cat /etc/hostname"), "captain\ncaptain");
    let hosts = env.sh("box", "cat /etc/hosts");
    assert!(hosts.contains("192.0.2.7\telsewhere"), "{hosts}");
    assert!(hosts.contains("127.0.0.1\tlocalhost"), "{hosts}");
    assert!(hosts.lines().any(|line| line.ends_with("\tme") && !line.contains("host-gateway")), "{hosts}");
    assert!(hosts.contains("captain"), "{hosts}");
    assert_eq!(env.sh("box", "ulimit -Sn; ulimit -Hn; ulimit -c"), "512\n1024\n0");
    assert_eq!(env.sh("box", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start"), "80");
    let resolv = env.sh("box", "cat /etc/resolv.conf");
    assert!(resolv.contains("nameserver 127.0.0.11") && resolv.contains("search ship.test"), "{resolv}");
    env.down();
}

#[test]
fn no_descriptor_reaches_a_container() {
    let env = TestEnv::with("descriptors", WAITING);
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("box", "ls /proc/1/fd"), "0\n1\n2");
    // 3 is the folder that `ls` reads.
    assert_eq!(env.sh("box", "exec ls /proc/self/fd"), "0\n1\n2\n3");
    assert_eq!(env.sh("box", "env | grep -ci windlass || true"), "0");
    let mut terminal = Terminal::start(&env, &["exec", "box", "ls", "/proc/self/fd"]);
    assert_eq!(terminal.finish(), 0);
    env.down();
}

#[test]
fn every_container_is_in_the_user_namespace_of_the_machine() {
    let env = TestEnv::with(
        "userns",
        "x-box: &box { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL }\nservices:\n  plain: *box\n  \
         said: { <<: *box, userns_mode: host }\n",
    );
    env.ok(&["up", "-d"]);
    let own = std::fs::read_link("/proc/self/ns/user").unwrap().to_string_lossy().into_owned();
    for service in ["plain", "said"] {
        assert_eq!(env.sh(service, "readlink /proc/self/ns/user"), own, "{service}");
    }
    env.file("compose.yaml", "services:\n  a:\n    image: a\n    userns_mode: private\n");
    let text = env.fails(&["up", "-d"]).stderr;
    assert!(text.contains("there is no user namespace `private`") && text.contains("compose.yaml:4:"), "{text}");
    env.down();
}
