//! A host for one test, alone or beside Docker.

use std::io::Write;

use nix::sched::{CloneFlags, unshare};

use super::*;

/// A namespace with nobody in it, that plays the host; the calling thread is moved into it.
pub(super) struct World {
    pub(super) folder: tempfile::TempDir,
    pub(super) paths: Paths,
}

/// What else is on a host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Beside {
    Nobody,
    /// Docker's rules, by either kind of `iptables`, and bridges whose packets are filtered.
    Docker(&'static str),
}

/// Runs a test on a host of its own, and once more on hosts where Docker runs.
pub(super) fn on_a_host(test: impl Fn(&World, BorrowedFd<'_>) + Sync) {
    on_this_host(Beside::Nobody, &test);
    for kind in ["nft", "legacy"] {
        eprintln!("beside Docker ({kind})");
        on_this_host(Beside::Docker(kind), &test);
    }
}

/// What Docker leaves in the namespace of the calling thread.
pub(super) fn start_docker(kind: &str) {
    run_ip("link add docker0 type bridge");
    run_ip("addr add 172.17.0.1/16 dev docker0");
    run_ip("link set docker0 up");
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    for (tool, rules) in [
        ("iptables", include_str!("../../../tests/fixtures/docker-rules/ipv4")),
        ("ip6tables", include_str!("../../../tests/fixtures/docker-rules/ipv6")),
    ] {
        let mut restore = Command::new(format!("{tool}-{kind}-restore"));
        let mut child = restore.stdin(std::process::Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        // A kernel without it filters no bridges, whatever Docker wants.
        let filtered = format!("/proc/sys/net/bridge/bridge-nf-call-{tool}");
        if std::path::Path::new(&filtered).exists() {
            std::fs::write(filtered, "1").unwrap();
        }
    }
}

/// Runs a test in a thread whose namespace is a fresh host: `lo` up and an uplink `eth0` 203.0.113.1/24 with a
/// default route over a neighbour 203.0.113.254, whose namespace is handed over too.
pub(super) fn on_this_host(beside: Beside, test: impl FnOnce(&World, BorrowedFd<'_>) + Send) {
    let run = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
        let neighbour = netns::create(&netns::Wish { resolver: Resolver::Absent, ipv6: true }).unwrap();
        let mut netlink = netlink::Netlink::route().unwrap();
        run_ip("link set lo up");
        let cable = link::create_veth(&link::Veth {
            host: "eth0",
            host_mac: [2, 0, 0, 0, 0, 1],
            inside: "eth0",
            inside_mac: [2, 0, 0, 0, 0, 2],
            namespace: neighbour.fd.as_fd(),
            bridge: None,
            group: 0,
            mtu: 1400,
        });
        assert!(netlink.batch([cable]).unwrap().is_empty());
        run_ip("addr add 203.0.113.1/24 dev eth0");
        run_ip("addr add 2001:db8::1/64 dev eth0 nodad");
        run_ip("route add default via 203.0.113.254");
        inside(neighbour.fd.as_fd(), || {
            run_ip("addr add 203.0.113.254/24 dev eth0");
            run_ip("addr add 2001:db8::fe/64 dev eth0 nodad");
            run_ip("link set eth0 up");
        });
        if let Beside::Docker(kind) = beside {
            start_docker(kind);
        }
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::from_home(Some(folder.path()));
        test(&World { folder, paths }, neighbour.fd.as_fd());
    };
    std::thread::scope(|scope| {
        if let Err(panic) = scope.spawn(run).join() {
            std::panic::resume_unwind(panic);
        }
    });
}
