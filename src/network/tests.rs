//! Real networks in a private network namespace that plays the host.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};

use super::netns::Resolver;
use super::ports::Proxy;
use super::spec::{EndpointSpec, EndpointState, NetworkSpec, PortSpec, Protocol};
use super::*;

/// A namespace with nobody in it, that plays the host; the calling thread is moved into it.
struct World {
    _folder: tempfile::TempDir,
    paths: Paths,
}

/// Runs a test in a thread whose namespace is a fresh host: `lo` up and an uplink `eth0` 203.0.113.1/24 with a
/// default route over a neighbour 203.0.113.254, whose namespace is handed over too.
fn on_a_host(test: impl FnOnce(&World, BorrowedFd<'_>) + Send) {
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
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::from_home(Some(folder.path()));
        test(&World { _folder: folder, paths }, neighbour.fd.as_fd());
    };
    std::thread::scope(|scope| {
        if let Err(panic) = scope.spawn(run).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn inside<T: Send>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> T {
    netns::inside(namespace, || Ok(work())).unwrap()
}

fn run_ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

fn output(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split(' ')).output().unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr)
}

fn network(key: &str) -> NetworkSpec {
    NetworkSpec {
        name: format!("shop_{key}"),
        key: key.into(),
        driver: "bridge".into(),
        driver_opts: Default::default(),
        internal: false,
        enable_ipv4: true,
        enable_ipv6: false,
        ipam: vec![],
        labels: Default::default(),
        external: false,
    }
}

fn endpoint(key: &str) -> EndpointSpec {
    EndpointSpec {
        network: format!("shop_{key}"),
        aliases: vec![],
        ipv4: None,
        ipv6: None,
        link_local: vec![],
        mac: None,
        interface: None,
        gateway_priority: 0,
        driver_opts: Default::default(),
    }
}

fn attach_one(networks: &Networks, container: &str, endpoints: &[EndpointSpec]) -> Sandbox {
    let spec = SandboxSpec { container, endpoints, resolver: Resolver::Direct };
    networks.attach(&[spec]).unwrap().remove(0).unwrap()
}

fn ipv4(state: &EndpointState) -> IpAddr {
    state.ipv4.unwrap()
}

/// Whether a connection is possible and carries bytes both ways.
fn talks(namespace: BorrowedFd<'_>, to: SocketAddr) -> bool {
    inside(namespace, || {
        let Ok(mut stream) = TcpStream::connect_timeout(&to, Duration::from_millis(500)) else { return false };
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(b"hello").unwrap();
        let mut back = [0; 5];
        stream.read_exact(&mut back).is_ok() && &back == b"HELLO"
    })
}

/// Answers every connection in capitals until the process ends. Returns at once, listening.
fn shout(namespace: BorrowedFd<'_>, port: u16) {
    let listener = inside(namespace, || TcpListener::bind(("0.0.0.0", port)).unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut buffer = [0; 5];
            if stream.read_exact(&mut buffer).is_ok() {
                buffer.make_ascii_uppercase();
                let _ = stream.write_all(&buffer);
            }
        }
    });
}

/// Keeps what `start` returns alive in a runtime of its own, in this namespace, until the result is dropped.
fn serve<T>(start: impl FnOnce() -> T + Send + 'static) -> tokio::sync::oneshot::Sender<()> {
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let _served = start();
            ready.send(()).unwrap();
            let _ = stopped.await;
        });
    });
    is_ready.recv().unwrap();
    stop
}

fn here() -> std::os::fd::OwnedFd {
    netns::current().unwrap()
}

#[test]
fn containers_reach_each_other_the_host_and_the_world_but_not_other_networks() {
    on_a_host(|world, neighbour| {
        let project = world.paths.project("shop");
        let networks = Networks::new(&world.paths, &project);
        let mut inner = network("inner");
        inner.internal = true;
        let leases = networks.ensure(&[network("front"), network("back"), inner]).unwrap();
        assert_eq!(leases[0].mtu, 1400);
        networks.update_firewall(&leases, &[]).unwrap();
        let web = attach_one(&networks, "web", &[endpoint("front")]);
        let api = attach_one(&networks, "api", &[endpoint("front"), endpoint("back"), endpoint("inner")]);
        let db = attach_one(&networks, "db", &[endpoint("back")]);
        let vault = attach_one(&networks, "vault", &[endpoint("inner")]);
        {
            for sandbox in [&web, &api, &db, &vault] {
                shout(sandbox.namespace.as_fd(), 80);
            }
            shout(neighbour, 80);
            let to = |sandbox: &Sandbox, n: usize| SocketAddr::new(ipv4(&sandbox.endpoints[n]), 80);
            let world_80: SocketAddr = "203.0.113.254:80".parse().unwrap();
            assert!(talks(web.namespace.as_fd(), to(&api, 0)));
            assert!(talks(db.namespace.as_fd(), to(&api, 1)));
            assert!(talks(vault.namespace.as_fd(), to(&api, 2)));
            assert!(!talks(web.namespace.as_fd(), to(&db, 0)), "networks are isolated");
            assert!(!talks(db.namespace.as_fd(), to(&web, 0)), "networks are isolated");
            assert!(talks(web.namespace.as_fd(), world_80), "outbound traffic is masqueraded");
            assert!(!talks(vault.namespace.as_fd(), world_80), "an internal network has no way out");
            assert!(talks(here().as_fd(), to(&web, 0)), "the host reaches its containers");
            inside(neighbour, || run_ip("route add 172.16.0.0/12 via 203.0.113.1"));
            assert!(!talks(neighbour, to(&web, 0)), "a neighbour of the host does not");
        }
        let names: Vec<&str> = api.endpoints.iter().map(|e| e.interface.as_str()).collect();
        assert_eq!(names, ["eth0", "eth1", "eth2"]);
        let routes = inside(api.namespace.as_fd(), || output("ip", "route"));
        assert!(routes.contains(&format!("default via {} dev eth1", leases[1].gateway(true).unwrap())), "{routes}");
        assert!(!inside(web.namespace.as_fd(), || output("ip", "addr")).contains("inet6 fe80"));
        drop((web, api, db, vault));
        assert!(networks.remove_all().unwrap().is_empty());
        assert_eq!(output("ip", "-o link").lines().filter(|line| line.contains(": wl")).count(), 0);
        assert!(!output("nft", "list ruleset").contains("windlass"));
        assert_eq!(std::fs::read_dir(world.paths.networks()).unwrap().count(), 0);
    });
}

#[test]
fn published_ports_are_reached_from_everywhere() {
    on_a_host(|world, neighbour| {
        let project = world.paths.project("shop");
        let networks = Networks::new(&world.paths, &project);
        let leases = networks.ensure(&[network("front"), network("back")]).unwrap();
        let wish = |host_ip: Option<&str>, published| PortSpec {
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            published: Some((published, published)),
            target: 80,
            protocol: Protocol::Tcp,
        };
        let wishes = [wish(None, 8080), wish(Some("127.0.0.1"), 8081), wish(Some("203.0.113.1"), 8082)];
        let reserved = ports::reserve(&wishes).unwrap();
        let web = attach_one(&networks, "web", &[endpoint("front")]);
        let other = attach_one(&networks, "other", &[endpoint("back")]);
        let peer = attach_one(&networks, "peer", &[endpoint("front")]);
        let address = ipv4(&web.endpoints[0]);
        let publications: Vec<Publication> =
            reserved.iter().map(|r| Publication { port: r.port.clone(), addresses: vec![address] }).collect();
        networks.update_firewall(&leases, &publications).unwrap();
        let (_target, watch) = tokio::sync::watch::channel(Some(address));
        let _proxies = serve(move || {
            let proxies: Vec<Proxy> = reserved.iter().map(|r| Proxy::start(r, watch.clone()).unwrap()).collect();
            (reserved, proxies)
        });
        shout(web.namespace.as_fd(), 80);
        let host = |port| SocketAddr::from((Ipv4Addr::new(203, 0, 113, 1), port));
        let host6 = |port| SocketAddr::from(("2001:db8::1".parse::<Ipv6Addr>().unwrap(), port));
        let host_fd = here();
        for (who, namespace) in [
            ("a neighbour", neighbour),
            ("the host", host_fd.as_fd()),
            ("another network", other.namespace.as_fd()),
            ("the same network", peer.namespace.as_fd()),
            ("the container itself", web.namespace.as_fd()),
        ] {
            assert!(talks(namespace, host(8080)), "{who}");
            assert!(talks(namespace, host(8082)), "{who}");
            assert!(!talks(namespace, host(8081)), "{who}");
        }
        assert!(talks(neighbour, host6(8080)), "IPv6 to a container without");
        for local in ["127.0.0.1:8080", "127.0.0.1:8081", "[::1]:8080"] {
            assert!(talks(host_fd.as_fd(), local.parse().unwrap()), "{local}");
        }
        assert!(!talks(host_fd.as_fd(), "127.0.0.1:8082".parse().unwrap()));
        let before = output("nft", "list ruleset");
        networks.update_firewall(&leases, &publications).unwrap();
        assert_eq!(output("nft", "list ruleset"), before);
        networks.remove_all().unwrap();
    });
}

#[test]
fn what_a_crash_left_is_found_again_or_replaced() {
    on_a_host(|world, _| {
        let project = world.paths.project("shop");
        let networks = Networks::new(&world.paths, &project);
        let first = networks.ensure(&[network("front")]).unwrap();
        assert_eq!(networks.ensure(&[network("front")]).unwrap(), first);
        // A reboot: leases without links.
        run_ip(&format!("link del {}", first[0].bridge));
        assert_eq!(networks.ensure(&[network("front")]).unwrap(), first);
        assert!(output("ip", &format!("addr show {}", first[0].bridge)).contains("172.18.0.1/16"));
        // Links without leases.
        std::fs::remove_dir_all(world.paths.networks()).unwrap();
        let again = networks.ensure(&[network("other"), network("front")]).unwrap();
        assert_eq!(again[0].bridge, first[0].bridge);
        let addresses = output("ip", &format!("link show {}", again[0].bridge));
        assert!(addresses.contains("windlass shop shop_other"), "{addresses}");
        // Nothing but links, of which nobody knows.
        std::fs::remove_dir_all(world.paths.networks()).unwrap();
        networks.remove_all().unwrap();
        assert!(!output("ip", "-o link").contains(": wl"));
    });
}

/// Processor time of this process, in which nothing else runs when this test is asked for alone.
fn cpu() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
    let (user, system) = (usage.user_time(), usage.system_time());
    let micros = |time: nix::sys::time::TimeVal| (time.tv_sec() * 1_000_000 + time.tv_usec()) as u64;
    Duration::from_micros(micros(user) + micros(system))
}

#[test]
#[ignore = "prints times, for people"]
fn times() {
    on_a_host(|world, _| {
        let project = world.paths.project("shop");
        let networks = Networks::new(&world.paths, &project);
        for count in [1, 10, 50] {
            let start = Instant::now();
            let leases = networks.ensure(&[network("front")]).unwrap();
            let ensured = start.elapsed();
            networks.update_firewall(&leases, &[]).unwrap();
            let firewall = start.elapsed() - ensured;
            let endpoints = [endpoint("front")];
            let names: Vec<String> = (0..count).map(|n| format!("c{n}")).collect();
            let specs: Vec<SandboxSpec<'_>> = names
                .iter()
                .map(|name| SandboxSpec { container: name, endpoints: &endpoints, resolver: Resolver::Direct })
                .collect();
            let start = Instant::now();
            let before = cpu();
            let sandboxes = networks.attach(&specs).unwrap();
            let attached = start.elapsed();
            let busy = cpu() - before;
            let start = Instant::now();
            networks.update_firewall(&leases, &[]).unwrap();
            let update = start.elapsed();
            drop(sandboxes);
            let start = Instant::now();
            networks.remove_all().unwrap();
            println!(
                "{count}: ensure {ensured:?} firewall {firewall:?} attach {attached:?} (cpu {busy:?}) update {update:?} remove {:?}",
                start.elapsed()
            );
        }
    });
}
