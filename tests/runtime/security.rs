//! The default posture is Docker's.

use windlass::runtime::spec::{Device, Namespace, NetworkNamespace, Seccomp};

use crate::support::Direct;

#[test]
fn capabilities_filter_and_privileges() {
    let mut keeper = Direct::new();
    let question = "grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status | tr -d '\\t'";
    let all = |set: &str| {
        format!("CapInh:0000000000000000\nCapPrm:{set}\nCapEff:{set}\nCapBnd:{set}\nCapAmb:0000000000000000\n")
    };
    assert_eq!(keeper.script(question), all("00000000a80425fb") + "NoNewPrivs:0\nSeccomp:2\n");

    let mut spec = keeper.shell(question);
    spec.security.no_new_privileges = true;
    spec.security.cap_drop = vec!["ALL".into()];
    spec.security.cap_add = vec!["NET_ADMIN".into()];
    assert_eq!(keeper.output(&spec), all("0000000000001000") + "NoNewPrivs:1\nSeccomp:2\n");

    let mut spec = keeper.shell(question);
    spec.process.user = "web".into();
    spec.security.seccomp = Seccomp::Unconfined;
    assert_eq!(
        keeper.output(&spec),
        "CapInh:0000000000000000\nCapPrm:0000000000000000\nCapEff:0000000000000000\nCapBnd:00000000a80425fb\n\
         CapAmb:0000000000000000\nNoNewPrivs:0\nSeccomp:0\n"
    );

    let mut spec = keeper.shell(question);
    spec.security.privileged = true;
    let privileged = keeper.output(&spec);
    let host = std::fs::read_to_string("/proc/self/status").unwrap();
    let bounding = host.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
    assert_eq!(privileged, all(bounding) + "NoNewPrivs:0\nSeccomp:0\n");

    let mut spec = keeper.spec(&["true"]);
    spec.security.cap_add = vec!["NO_SUCH".into()];
    assert!(keeper.failure(&spec).to_string().contains("cap_add NO_SUCH: there is no such capability"));
}

#[test]
fn forbidden_calls_and_paths() {
    let mut keeper = Direct::new();
    let script = "
        mount -t tmpfs none /tmp 2>&1
        unshare -n true 2>&1
        cat /proc/keys /proc/timer_list | wc -c
        ls /sys/firmware | wc -l
        echo 1 > /proc/sys/kernel/printk
        touch /sys/x
        mkdir /sys/fs/cgroup/x
        true";
    let spec = keeper.shell(script);
    let outcome = keeper.run(&spec);
    let text = outcome.stdout + &outcome.stderr;
    for part in [
        "mount: permission denied",
        "unshare: unshare(0x40000000): Operation not permitted",
        "0\n0\n",
        "can't create /proc/sys/kernel/printk: Read-only file system",
        "touch: /sys/x: Read-only file system",
        "can't create directory '/sys/fs/cgroup/x': Read-only file system",
    ] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

#[test]
fn devices_of_the_container_and_of_the_user() {
    let mut keeper = Direct::new();
    let listing = keeper.script("cd /dev; ls -l null zero full random urandom tty | cut -c1-10; for l in ptmx fd stdin core; do readlink $l; done; ls");
    assert_eq!(listing.matches("crw-rw-rw-").count(), 6, "{listing}");
    let core = if std::path::Path::new("/proc/kcore").exists() { "/proc/kcore\n" } else { "" };
    assert!(listing.contains(&format!("pts/ptmx\n/proc/self/fd\n/proc/self/fd/0\n{core}")), "{listing}");
    assert!(!listing.contains("sda") && !listing.contains("vda") && !listing.contains("kmsg"), "{listing}");

    // The controller forbids what the node alone would allow.
    let mut spec = keeper
        .shell("mknod /tmp/m c 1 1 && head -c1 /tmp/m 2>&1; head -c3 /dev/zero | wc -c; head -c1 /dev/mine | wc -c");
    spec.devices = vec![Device { source: "/dev/zero".into(), target: "/dev/mine".into(), permissions: "r".into() }];
    assert_eq!(keeper.output(&spec), "head: /tmp/m: Operation not permitted\n3\n1\n");

    let script = "mknod /tmp/m c 10 200 && : < /tmp/m && echo open";
    let mut spec = keeper.shell(script);
    assert!(keeper.run(&spec).stderr.contains("Operation not permitted"));
    spec.device_cgroup_rules = vec!["c 10:200 rwm".into()];
    spec.process.args[2] = script.replace("/tmp/m", "/tmp/n");
    assert_eq!(keeper.output(&spec), "open\n");

    let mut spec = keeper.shell("ls /dev | wc -l");
    spec.security.privileged = true;
    assert!(keeper.output(&spec).trim().parse::<u32>().unwrap() > 20);

    let mut spec = keeper.spec(&["true"]);
    spec.devices = vec![Device { source: "/etc/passwd".into(), target: "/dev/x".into(), permissions: "rwm".into() }];
    assert!(keeper.failure(&spec).to_string().contains("device /etc/passwd: is not a device"));
}

#[test]
fn namespaces_are_new_or_shared() {
    let mut keeper = Direct::new();
    let names = ["pid", "ipc", "uts", "cgroup", "mnt", "net"];
    let question = "for n in pid ipc uts cgroup mnt net; do readlink /proc/self/ns/$n; done";
    let host = |name: &str| std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap().to_str().unwrap().to_owned();
    let own = keeper.script(question);
    for (line, name) in own.lines().zip(names) {
        assert_eq!(line == host(name), name == "net", "{name}: {line}");
    }
    let mut spec = keeper.shell(question);
    spec.namespaces.pid = Namespace::Host;
    spec.namespaces.ipc = Namespace::Host;
    spec.namespaces.uts = Namespace::Host;
    spec.namespaces.cgroup = Namespace::Host;
    for (line, name) in keeper.output(&spec).lines().zip(names) {
        assert_eq!(line == host(name), name != "mnt", "{name}: {line}");
    }
}

#[test]
fn namespaces_of_another_container() {
    let mut keeper = Direct::new();
    let spec = keeper.shell("echo shared > /dev/shm/note; exec sleep 1000");
    let first = keeper.start(&spec);
    crate::support::until("the note is there", || {
        std::fs::read_to_string(format!("/proc/{}/root/dev/shm/note", first.pid)).is_ok_and(|text| !text.is_empty())
    });
    let link = |name: &str| std::fs::read_link(format!("/proc/{}/ns/{name}", first.pid)).unwrap();
    let links: Vec<_> = ["pid", "ipc", "uts", "net"].map(|name| link(name).to_str().unwrap().to_owned()).to_vec();

    let mut second = keeper
        .shell("for n in pid ipc uts net; do readlink /proc/self/ns/$n; done; cat /dev/shm/note; cat /proc/1/comm");
    second.namespaces.pid = Namespace::Container(spec.id.clone());
    second.namespaces.ipc = Namespace::Container(spec.id.clone());
    second.namespaces.uts = Namespace::Container(spec.id.clone());
    second.namespaces.network = NetworkNamespace::Container(spec.id.clone());
    assert_eq!(keeper.output(&second), links.join("\n") + "\nshared\nsleep\n");

    second.process.args = vec!["nonesuch".into()];
    assert_eq!(keeper.failure(&second).exit_code, 127);
    second.process.args = ["sh", "-c", "sleep 1000 & echo $$; exit 3"].map(str::to_owned).to_vec();
    assert_eq!(keeper.run(&second).status, windlass::runtime::spec::ExitStatus::Code(3));
    keeper.kill(first);
    assert!(keeper.failure(&second).to_string().contains("does not run"));
}

#[test]
fn parameters_of_the_kernel() {
    let mut keeper = Direct::new();
    let mut spec = keeper.shell("cat /proc/sys/kernel/msgmax /proc/sys/fs/mqueue/msg_max");
    spec.sysctls = [("kernel.msgmax".into(), "4096".into()), ("fs.mqueue.msg_max".into(), "20".into())].into();
    assert_eq!(keeper.output(&spec), "4096\n20\n");
    for (key, value, words) in [
        ("kernel.shm_rmid_forced", "1+kernel.core_pattern=|/x", "holds a character"),
        ("kernel.shm_rmid_forced", "1\nx", "holds a character"),
        ("kernel.core_pattern", "|/x", "belongs to the whole machine"),
        ("../kernel.core_pattern", "|/x", "not the name of a kernel parameter"),
        ("net.ipv4.ip_forward", "1", "uses the host's network"),
        ("kernel.hostname", "x", "set `hostname`"),
    ] {
        let mut spec = keeper.spec(&["true"]);
        spec.sysctls = [(key.into(), value.into())].into();
        let error = keeper.failure(&spec);
        assert!(error.to_string().contains(words), "{error}");
    }
}
