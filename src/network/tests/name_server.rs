//! The name server of each container.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::*;
use crate::network::dns::{HostServers, NameEntry, Names, Server, Upstream, View};

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
