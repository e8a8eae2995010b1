use super::*;
use crate::network::lease::Subnet;
use crate::network::spec::Protocol;

fn network(number: usize, internal: bool, subnets: &[&str]) -> NetworkLease {
    let subnets = subnets.iter().map(|text| {
        let subnet: IpNetwork = text.parse().unwrap();
        Subnet { subnet, range: None, gateway: super::super::ipam::first_host(subnet), reserved: vec![] }
    });
    NetworkLease {
        project: "shop".into(),
        project_id: "0123abcd".into(),
        name: format!("shop_{number}"),
        bridge: names::bridge("0123abcd", number),
        internal,
        mtu: 1500,
        masquerade: true,
        inter_container: true,
        interface_prefix: "eth".into(),
        host_binding: None,
        labels: Default::default(),
        subnets: subnets.collect(),
        endpoints: Default::default(),
        claims: Default::default(),
        former: Default::default(),
    }
}

fn publication(host: &str, protocol: Protocol) -> Publication {
    let host: SocketAddr = host.parse().unwrap();
    Publication {
        port: PublishedPort { host_ip: host.ip(), published: host.port(), target: 80, protocol },
        addresses: vec!["172.18.0.2".parse().unwrap(), "fd00:1::2".parse().unwrap()],
    }
}

#[test]
fn the_rules_of_a_project() {
    let networks = [network(0, false, &["172.18.0.0/16", "fd00:1::/64"]), network(1, true, &["172.19.0.0/16"])];
    let ports = [
        publication("0.0.0.0:8080", Protocol::Tcp),
        publication("[::]:8080", Protocol::Tcp),
        publication("127.0.0.1:5432", Protocol::Tcp),
        publication("192.0.2.1:53", Protocol::Udp),
    ];
    insta::assert_snapshot!(table("0123abcd", &networks, &ports));
}
