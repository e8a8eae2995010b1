//! Published ports.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::*;
use crate::network::ports::{self, Proxy};
use crate::network::spec::{PortSpec, Protocol, PublishedPort};

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
            assert!(is_kept_from(namespace, host(8081)), "{who}");
        }
        assert!(talks(neighbour, host6(8080)), "IPv6 to a container without");
        for local in ["127.0.0.1:8080", "127.0.0.1:8081", "[::1]:8080"] {
            assert!(talks(host_fd.as_fd(), local.parse().unwrap()), "{local}");
        }
        assert!(is_kept_from(host_fd.as_fd(), "127.0.0.1:8082".parse().unwrap()));
        let before = output("nft", "list ruleset");
        networks.update_firewall(&leases, &publications).unwrap();
        assert_eq!(output("nft", "list ruleset"), before);
        networks.remove_all().unwrap();
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
