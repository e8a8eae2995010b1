//! Real networks in a private network namespace that plays the host.

mod addresses;
mod damaged;
mod firewalls;
mod mending;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use nix::sched::{CloneFlags, unshare};

use super::dns::{HostServers, NameEntry, Names, Server, Upstream, View};
use super::netns::Resolver;
use super::ports::Proxy;
use super::spec::{EndpointSpec, EndpointState, IpamConfig, NetworkSpec, PortSpec, Protocol, PublishedPort};
use super::*;

/// A namespace with nobody in it, that plays the host; the calling thread is moved into it.
struct World {
    folder: tempfile::TempDir,
    paths: Paths,
}

/// What else is on a host.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Beside {
    Nobody,
    /// Docker's rules, by either kind of `iptables`, and bridges whose packets are filtered.
    Docker(&'static str),
}

/// Runs a test on a host of its own, and once more on hosts where Docker runs.
fn on_a_host(test: impl Fn(&World, BorrowedFd<'_>) + Sync) {
    on_this_host(Beside::Nobody, &test);
    for kind in ["nft", "legacy"] {
        eprintln!("beside Docker ({kind})");
        on_this_host(Beside::Docker(kind), &test);
    }
}

/// What Docker leaves in the namespace of the calling thread.
fn start_docker(kind: &str) {
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
fn on_this_host(beside: Beside, test: impl FnOnce(&World, BorrowedFd<'_>) + Send) {
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
    NetworkSpec::plain(format!("shop_{key}"), key)
}

fn endpoint(key: &str) -> EndpointSpec {
    EndpointSpec::plain(format!("shop_{key}"))
}

fn attach_one(networks: &Networks, container: &str, endpoints: &[EndpointSpec]) -> Sandbox {
    let spec = SandboxSpec { container, name: container, endpoints, resolver: Resolver::Direct };
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

/// The same, once the kernel has noticed that a cable was plugged in.
fn talks_soon(namespace: BorrowedFd<'_>, to: SocketAddr) -> bool {
    (0..20).any(|_| talks(namespace, to))
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
        let leases = networks.ensure(&[network("front"), network("back"), inner], &Claims::new()).unwrap();
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
        let leases = networks.ensure(&[network("front"), network("back")], &Claims::new()).unwrap();
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
            let proxies: Vec<Proxy> =
                reserved.iter().map(|r| Proxy::start(r, watch.clone(), &Budget::new(1000)).unwrap()).collect();
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
        let first = networks.ensure(&[network("front")], &Claims::new()).unwrap();
        assert_eq!(networks.ensure(&[network("front")], &Claims::new()).unwrap(), first);
        // A reboot: leases without links.
        run_ip(&format!("link del {}", first[0].bridge));
        assert_eq!(networks.ensure(&[network("front")], &Claims::new()).unwrap(), first);
        assert!(output("ip", &format!("addr show {}", first[0].bridge)).contains("172.18.0.1/16"));
        // Links without leases.
        std::fs::remove_dir_all(world.paths.networks()).unwrap();
        let again = networks.ensure(&[network("other"), network("front")], &Claims::new()).unwrap();
        assert_eq!(again[0].bridge, first[0].bridge);
        let addresses = output("ip", &format!("link show {}", again[0].bridge));
        assert!(addresses.contains("windlass shop shop_other"), "{addresses}");
        // Nothing but links, of which nobody knows.
        std::fs::remove_dir_all(world.paths.networks()).unwrap();
        networks.remove_all().unwrap();
        assert!(!output("ip", "-o link").contains(": wl"));
    });
}

/// Asks the name server of the calling thread's namespace, as any program would.
fn lookup(namespace: BorrowedFd<'_>, name: &str, kind: RecordType) -> Message {
    inside(namespace, || {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        query.metadata.recursion_desired = true;
        let bytes = query.to_vec().unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        udp.send_to(&bytes, "127.0.0.11:53").unwrap();
        let mut buffer = [0; 4096];
        let length = udp.recv(&mut buffer).unwrap();
        let answer = Message::from_vec(&buffer[..length]).unwrap();
        assert_eq!(answer.metadata.id, query.metadata.id);
        let mut tcp = TcpStream::connect("127.0.0.11:53").unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        tcp.write_all(&u16::try_from(bytes.len()).unwrap().to_be_bytes()).unwrap();
        tcp.write_all(&bytes).unwrap();
        let mut length = [0; 2];
        tcp.read_exact(&mut length).unwrap();
        let mut buffer = vec![0; u16::from_be_bytes(length).into()];
        tcp.read_exact(&mut buffer).unwrap();
        let by_stream = Message::from_vec(&buffer).unwrap();
        assert_eq!(by_stream.metadata.response_code, answer.metadata.response_code);
        assert_eq!(by_stream.answers.len(), answer.answers.len());
        answer
    })
}

fn addresses(answer: &Message) -> Vec<String> {
    answer.answers.iter().map(|record| record.data.to_string()).collect()
}

/// A name server for everything: it answers each A question with one address, `name` with NXDOMAIN.
fn upstream_server(namespace: BorrowedFd<'_>, at: &str, address: [u8; 4]) {
    let (udp, tcp) = inside(namespace, || (UdpSocket::bind((at, 53)).unwrap(), TcpListener::bind((at, 53)).unwrap()));
    let answer = move |bytes: &[u8]| {
        let query = Message::from_vec(bytes).unwrap();
        let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
        answer.add_query(query.queries[0].clone());
        let name = query.queries[0].name().clone();
        if name.to_ascii() == "missing.example." {
            answer.metadata.response_code = ResponseCode::NXDomain;
        } else {
            answer.add_answer(Record::from_rdata(name, 60, RData::A(A(address.into()))));
        }
        answer.to_vec().unwrap()
    };
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, client)) = udp.recv_from(&mut buffer) {
            udp.send_to(&answer(&buffer[..length]), client).unwrap();
        }
    });
    std::thread::spawn(move || {
        for stream in tcp.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut buffer = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut buffer).unwrap();
            let bytes = answer(&buffer);
            stream.write_all(&u16::try_from(bytes.len()).unwrap().to_be_bytes()).unwrap();
            stream.write_all(&bytes).unwrap();
        }
    });
}

#[test]
fn names_are_served_in_the_namespace_of_each_container() {
    on_a_host(|world, neighbour| {
        let project = world.paths.project("shop");
        let networks = Networks::new(&world.paths, &project);
        let mut inner = network("inner");
        inner.internal = true;
        let leases = networks.ensure(&[network("front"), inner], &Claims::new()).unwrap();
        networks.update_firewall(&leases, &[]).unwrap();
        let web = attach_one(&networks, "web", &[endpoint("front")]);
        let front = [endpoint("front")];
        let own = SandboxSpec { container: "own", name: "own", endpoints: &front, resolver: Resolver::Redirected };
        let own = networks.attach(&[own]).unwrap().remove(0).unwrap();
        let vault = attach_one(&networks, "vault", &[endpoint("inner")]);
        upstream_server(neighbour, "203.0.113.254", [9, 9, 9, 9]);
        upstream_server(own.namespace.as_fd(), "0.0.0.0", [8, 8, 8, 8]);
        let resolv_conf = world.folder.path().join("resolv.conf");
        // The first server does not exist, and says so.
        std::fs::write(&resolv_conf, "nameserver 203.0.113.1\nnameserver 203.0.113.254\n").unwrap();
        let entry = |network: &str, names: &[&str], sandbox: &Sandbox| NameEntry {
            network: network.into(),
            names: names.iter().map(|&name| name.to_owned()).collect(),
            ipv4: match ipv4(&sandbox.endpoints[0]) {
                IpAddr::V4(v4) => Some(v4),
                IpAddr::V6(_) => None,
            },
            ipv6: None,
        };
        let names = Names::default();
        names.set("web", vec![entry("shop_front", &["shop-web-1", "web"], &web)]);
        names.set("vault", vec![entry("shop_inner", &["shop-vault-1", "vault"], &vault)]);
        let fds = [&web, &own, &vault].map(|sandbox| sandbox.namespace.try_clone().unwrap());
        let server = {
            let (names, own_namespace) = (names.clone(), own.namespace.try_clone().unwrap());
            serve(move || {
                let view = |network: &str| View {
                    networks: vec![(format!("shop_{network}"), network.to_owned())],
                    links: vec![],
                };
                let start = |sandbox: &Sandbox, network, upstream| {
                    let sockets = sandbox.resolver.as_ref().unwrap();
                    Server::start(sockets, names.clone(), view(network), upstream, &Budget::new(1000)).unwrap()
                };
                let own_servers = Upstream::Container {
                    namespace: std::sync::Arc::new(own_namespace),
                    servers: vec!["127.0.0.1".parse().unwrap()],
                };
                let servers = [
                    start(&web, "front", Upstream::Host(HostServers::new(resolv_conf))),
                    start(&own, "front", own_servers),
                    start(&vault, "inner", Upstream::Nobody),
                ];
                (servers, web, own, vault)
            })
        };
        let [web, own, vault] = &fds;
        let known = lookup(web.as_fd(), "web", RecordType::A);
        assert_eq!(addresses(&known), ["172.18.0.2"]);
        assert_eq!(addresses(&lookup(web.as_fd(), "shop-web-1.front.", RecordType::A)), ["172.18.0.2"]);
        let other_family = lookup(web.as_fd(), "web.", RecordType::AAAA);
        assert_eq!((other_family.metadata.response_code, other_family.answers.len()), (ResponseCode::NoError, 0));
        assert_eq!(addresses(&lookup(web.as_fd(), "example.org.", RecordType::A)), ["9.9.9.9"]);
        assert_eq!(addresses(&lookup(web.as_fd(), "vault.", RecordType::A)), ["9.9.9.9"], "not in its networks");
        let missing = lookup(web.as_fd(), "missing.example.", RecordType::A);
        assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(addresses(&lookup(own.as_fd(), "example.org.", RecordType::A)), ["8.8.8.8"], "its own `dns`");
        assert_eq!(addresses(&lookup(vault.as_fd(), "vault.", RecordType::A)), ["172.19.0.2"]);
        let outside = lookup(vault.as_fd(), "example.org.", RecordType::A);
        assert_eq!(outside.metadata.response_code, ResponseCode::NXDomain);
        // Changes are seen at once.
        names.set("late", vec![NameEntry { names: vec!["late".into()], ..known_entry() }]);
        assert_eq!(addresses(&lookup(web.as_fd(), "late.", RecordType::A)), ["172.18.0.99"]);
        drop(server);
        networks.remove_all().unwrap();
    });
}

fn known_entry() -> NameEntry {
    NameEntry { network: "shop_front".into(), names: vec![], ipv4: Some([172, 18, 0, 99].into()), ipv6: None }
}

fn ipam(subnet: &str) -> IpamConfig {
    IpamConfig {
        subnet: Some(subnet.parse().unwrap()),
        ip_range: None,
        gateway: None,
        aux_addresses: Default::default(),
    }
}

#[test]
fn addresses_interfaces_and_routes_are_as_asked_for() {
    on_a_host(|world, _| {
        let project = world.paths.project("shop");
        let networks = Networks::new(&world.paths, &project);
        let mut front = network("front");
        front.enable_ipv6 = true;
        front.ipam = vec![IpamConfig {
            ip_range: Some("10.9.0.128/25".parse().unwrap()),
            gateway: Some("10.9.0.254".parse().unwrap()),
            aux_addresses: [("printer".to_owned(), "10.9.0.129".parse().unwrap())].into(),
            ..ipam("10.9.0.0/24")
        }];
        let mut back = network("back");
        back.driver_opts.insert("com.docker.network.driver.mtu".into(), "1300".into());
        let leases = networks.ensure(&[front.clone(), back.clone()], &Claims::new()).unwrap();
        networks.update_firewall(&leases, &[]).unwrap();
        let static_one = EndpointSpec {
            ipv4: Some("10.9.0.7".parse().unwrap()),
            mac: Some("02:00:00:aa:bb:cc".into()),
            interface: Some("front0".into()),
            link_local: vec!["169.254.8.8".parse().unwrap()],
            ..endpoint("front")
        };
        let preferred = EndpointSpec { gateway_priority: 5, ..endpoint("back") };
        let web = attach_one(&networks, "web", &[static_one.clone(), preferred]);
        let api = attach_one(&networks, "api", &[endpoint("front")]);
        assert_eq!(api.endpoints[0].ipv4, Some("10.9.0.128".parse().unwrap()));
        assert_eq!(web.endpoints[0].mac, "02:00:00:aa:bb:cc");
        let shown = inside(web.namespace.as_fd(), || output("ip", "addr"));
        for part in ["front0@", "02:00:00:aa:bb:cc", "10.9.0.7/24", "169.254.8.8/16", "eth0@", "mtu 1300"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        let default =
            |version| inside(web.namespace.as_fd(), move || output("ip", &format!("{version} route show default")));
        assert!(default("-4").contains(&format!("via {} dev eth0", leases[1].gateway(true).unwrap())));
        assert!(default("-6").contains(&format!("via {} dev front0", leases[0].gateway(false).unwrap())));
        // IPv6 works at once: no address is tentative.
        let v6 = SocketAddr::new(api.endpoints[0].ipv6.unwrap(), 80);
        let listener = inside(api.namespace.as_fd(), || TcpListener::bind("[::]:80").unwrap());
        assert!(inside(web.namespace.as_fd(), || TcpStream::connect_timeout(&v6, Duration::from_secs(2)).is_ok()));
        drop(listener);
        // Conflicts are told before anything is made.
        let refused = |container, endpoint: EndpointSpec| {
            let endpoints = [endpoint];
            let spec = SandboxSpec { container, name: container, endpoints: &endpoints, resolver: Resolver::Direct };
            networks.attach(&[spec]).unwrap().remove(0).unwrap_err().to_string()
        };
        assert_eq!(
            refused("x", EndpointSpec { aliases: vec![], ..static_one }),
            "network shop_front: address 10.9.0.7 is already used by web"
        );
        let with = |ip: &str| EndpointSpec { ipv4: Some(ip.parse().unwrap()), ..endpoint("front") };
        assert_eq!(refused("x", with("10.9.1.1")), "network shop_front: 10.9.1.1 is not in the subnet 10.9.0.0/24");
        assert!(refused("x", with("10.9.0.254")).ends_with("it is the gateway"));
        assert!(refused("x", with("10.9.0.255")).ends_with("broadcast address"));
        assert!(refused("x", endpoint("none")).contains("network shop_none is not known"));
        let lease = &networks.ensure(&[front], &Claims::new()).unwrap()[0];
        assert_eq!(lease.endpoints.len(), 2, "what failed has given back its addresses");
        // A container keeps its addresses when it is started again, and gives them back when it is removed.
        drop(api);
        let api = attach_one(&networks, "api", &[endpoint("front")]);
        assert_eq!(api.endpoints[0].ipv4, Some("10.9.0.128".parse().unwrap()));
        // One that is made anew meanwhile finds its own; nobody else gets it while there is another.
        networks.release(&["api"], &[]).unwrap();
        let next = attach_one(&networks, "next", &[endpoint("front")]);
        assert_eq!(next.endpoints[0].ipv4, Some("10.9.0.130".parse().unwrap()), "not the one just given back");
        networks.release(&[], &["api"]).unwrap();
        let last = attach_one(&networks, "last", &[endpoint("front")]);
        assert_eq!(last.endpoints[0].ipv4, Some("10.9.0.128".parse().unwrap()), "the lowest that is free");
        back.driver_opts.insert("com.docker.network.driver.mtu".into(), "1400".into());
        assert!(networks.ensure(&[back], &Claims::new()).unwrap_err().to_string().contains("other settings"));
        networks.remove_all().unwrap();
    });
}

#[test]
fn networks_of_two_projects() {
    on_a_host(|world, _| {
        let [shop, blog] = ["shop", "blog"].map(|name| Networks::new(&world.paths, &world.paths.project(name)));
        let leases = shop.ensure(&[network("front"), network("back")], &Claims::new()).unwrap();
        let mut clash = network("x");
        clash.ipam = vec![ipam("172.18.4.0/24")];
        assert_eq!(
            blog.ensure(&[clash.clone()], &Claims::new()).unwrap_err().to_string(),
            "network shop_x: subnet 172.18.4.0/24 overlaps 172.18.0.0/16 of network shop_front (project shop); choose another `subnet`"
        );
        clash.ipam = vec![ipam("203.0.113.128/25")];
        assert!(
            blog.ensure(&[clash], &Claims::new())
                .unwrap_err()
                .to_string()
                .contains("203.0.113.1/24 of the host's interface eth0")
        );
        let mut missing = network("nowhere");
        missing.external = true;
        assert!(blog.ensure(&[missing], &Claims::new()).unwrap_err().to_string().contains("declared external"));
        let mut shared = network("front");
        shared.external = true;
        let used = blog.ensure(&[shared, network("own")], &Claims::new()).unwrap();
        assert_eq!(used[0].bridge, leases[0].bridge);
        assert_eq!(used[1].subnets[0].subnet.to_string(), "172.20.0.0/16");
        let a = attach_one(&shop, "a", &[endpoint("front")]);
        let b = attach_one(&blog, "b", &[endpoint("front")]);
        assert_eq!(
            (ipv4(&a.endpoints[0]).to_string(), ipv4(&b.endpoints[0]).to_string()),
            ("172.18.0.2".into(), "172.18.0.3".into())
        );
        shout(b.namespace.as_fd(), 80);
        shop.update_firewall(&leases, &[]).unwrap();
        blog.update_firewall(&used, &[]).unwrap();
        assert!(talks(a.namespace.as_fd(), SocketAddr::new(ipv4(&b.endpoints[0]), 80)));
        // Each finds the other by name, as soon as it has an address.
        let shop_names = Names::of_project(&world.paths, &world.paths.project("shop"));
        let view = View { networks: vec![("shop_front".into(), "front".into())], links: vec![] };
        assert_eq!(shop_names.resolve(&view, "blog"), None);
        let named = EndpointSpec { aliases: vec!["Blog".into()], ..endpoint("front") };
        let c = attach_one(&blog, "c", &[named]);
        assert_eq!(shop_names.resolve(&view, "blog"), Some(vec![ipv4(&c.endpoints[0])]));
        assert_eq!(shop_names.reverse(&view, ipv4(&c.endpoints[0])).as_deref(), Some("blog.shop_front"));
        blog.release(&["c"], &["c"]).unwrap();
        assert_eq!(shop_names.resolve(&view, "blog"), None);
        // The owner goes first: what the other one uses stays.
        let kept = shop.remove_all().unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].to_string(), "network shop_front is still used by b");
        assert!(output("ip", "-o link").contains(&leases[0].bridge));
        assert!(!output("ip", "-o link").contains(&leases[1].bridge));
        drop((a, b));
        assert!(blog.remove_all().unwrap().is_empty());
        assert!(shop.remove_all().unwrap().is_empty());
        assert!(!output("ip", "-o link").contains(": wl"));
    });
}

#[test]
fn containers_of_a_network_can_be_kept_apart() {
    on_a_host(|world, neighbour| {
        let networks = Networks::new(&world.paths, &world.paths.project("shop"));
        let mut apart = network("apart");
        apart.driver_opts.insert("com.docker.network.bridge.enable_icc".into(), "false".into());
        let leases = networks.ensure(&[apart], &Claims::new()).unwrap();
        networks.update_firewall(&leases, &[]).unwrap();
        let [a, b] = ["a", "b"].map(|name| attach_one(&networks, name, &[endpoint("apart")]));
        shout(b.namespace.as_fd(), 80);
        shout(neighbour, 80);
        let b_80 = SocketAddr::new(ipv4(&b.endpoints[0]), 80);
        assert!(!talks(a.namespace.as_fd(), b_80));
        assert!(talks(here().as_fd(), b_80));
        assert!(talks(a.namespace.as_fd(), "203.0.113.254:80".parse().unwrap()));
        networks.remove_all().unwrap();
    });
}

/// Loads rules as somebody else would.
fn nft(rules: &str) {
    let mut child = Command::new("nft").args(["-f", "-"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn other_packet_filters_let_containers_pass() {
    on_this_host(Beside::Nobody, |world, neighbour| {
        // As Docker leaves a host.
        nft("table ip filter {
                chain DOCKER-USER { counter return; }
                chain FORWARD { type filter hook forward priority 0; policy drop; counter jump DOCKER-USER; }
            }
            table ip6 filter {
                chain FORWARD { type filter hook forward priority 0; policy drop; }
            }");
        let before = output("nft", "list ruleset");
        let networks = Networks::new(&world.paths, &world.paths.project("shop"));
        let leases = networks.ensure(&[network("front")], &Claims::new()).unwrap();
        networks.update_firewall(&leases, &[]).unwrap();
        networks.update_firewall(&leases, &[]).unwrap();
        assert!(networks.obstacles().is_empty());
        let web = attach_one(&networks, "web", &[endpoint("front")]);
        shout(neighbour, 80);
        assert!(talks_soon(web.namespace.as_fd(), "203.0.113.254:80".parse().unwrap()));
        let listed = output("iptables", "-S");
        let id = world.paths.project("shop").id().to_owned();
        for direction in ["-i", "-o"] {
            let rule = format!("-A DOCKER-USER {direction} wl{id}+ -m comment --comment windlass-{id} -j ACCEPT");
            assert_eq!(listed.matches(&rule).count(), 1, "{rule} in {listed}");
        }
        assert!(output("ip6tables", "-S").contains(&format!("-A FORWARD -i wl{id}+ -m comment")));
        networks.remove_all().unwrap();
        let without_counts = |text: &str| {
            let counts = |word: &&str| word.parse::<u64>().is_err();
            text.split_whitespace().filter(counts).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(without_counts(&output("nft", "list ruleset")), without_counts(&before));
    });
}

#[test]
fn a_datagram_client_follows_the_container() {
    on_a_host(|world, neighbour| {
        let networks = Networks::new(&world.paths, &world.paths.project("shop"));
        let leases = networks.ensure(&[network("front")], &Claims::new()).unwrap();
        let answering = |name: &str, letter: u8| {
            let endpoints = [endpoint("front")];
            let spec =
                SandboxSpec { container: name, name, endpoints: &endpoints, resolver: Resolver::for_ports([53]) };
            let sandbox = networks.attach(&[spec]).unwrap().remove(0).unwrap();
            let socket = inside(sandbox.namespace.as_fd(), || UdpSocket::bind("0.0.0.0:53").unwrap());
            std::thread::spawn(move || {
                let mut buffer = [0; 16];
                while let Ok((_, client)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&[letter], client);
                }
            });
            sandbox
        };
        let publish = |sandbox: &Sandbox| {
            let port = PublishedPort {
                host_ip: Ipv4Addr::UNSPECIFIED.into(),
                published: 5353,
                target: 53,
                protocol: Protocol::Udp,
            };
            let publication = Publication { port, addresses: vec![ipv4(&sandbox.endpoints[0])] };
            networks.update_firewall(&leases, &[publication]).unwrap();
        };
        let (first, second) = (answering("first", b'1'), answering("second", b'2'));
        // The same client port all the time: one tracked flow.
        let client = inside(neighbour, || UdpSocket::bind("203.0.113.254:4000").unwrap());
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client.connect("203.0.113.1:5353").unwrap();
        let ask = || {
            client.send(b"?").unwrap();
            let mut answer = [0];
            client.recv(&mut answer).map(|_| answer[0]).map_err(|error| error.kind())
        };
        assert_eq!(ask(), Err(std::io::ErrorKind::ConnectionRefused));
        publish(&first);
        assert_eq!(ask(), Ok(b'1'));
        publish(&second);
        assert_eq!(ask(), Ok(b'2'));
        drop((first, second));
        networks.remove_all().unwrap();
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
    on_this_host(Beside::Nobody, |world, _| {
        let project = world.paths.project("shop");
        let networks = Networks::new(&world.paths, &project);
        for count in [1, 10, 50] {
            let start = Instant::now();
            let leases = networks.ensure(&[network("front")], &Claims::new()).unwrap();
            let ensured = start.elapsed();
            networks.update_firewall(&leases, &[]).unwrap();
            let firewall = start.elapsed() - ensured;
            let endpoints = [endpoint("front")];
            let names: Vec<String> = (0..count).map(|n| format!("c{n}")).collect();
            let specs: Vec<SandboxSpec<'_>> = names
                .iter()
                .map(|name| SandboxSpec { container: name, name, endpoints: &endpoints, resolver: Resolver::Direct })
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
