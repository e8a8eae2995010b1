//! Firewalls of this machine that let nothing pass that they do not know.

use std::net::{Ipv4Addr, SocketAddr};

use super::*;
use crate::network::spec::{Protocol, PublishedPort};

/// A port that a container publishes on all addresses.
fn published(sandbox: &Sandbox, port: u16) -> Publication {
    let host_ip = Ipv4Addr::UNSPECIFIED.into();
    let port = PublishedPort { host_ip, published: port, target: 80, protocol: Protocol::Tcp };
    Publication { port, addresses: vec![ipv4(&sandbox.endpoints[0])] }
}

#[test]
fn what_denies_incoming_lets_containers_to_published_ports_and_to_nothing_else() {
    for kind in ["nft", "legacy"] {
        on_this_host(Beside::Nobody, |world, _| {
            let tool = format!("iptables-{kind}");
            for chain in ["INPUT", "FORWARD"] {
                assert_eq!(output(&tool, &format!("-P {chain} DROP")), "");
            }
            assert_eq!(output(&tool, "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"), "");
            let before = output(&tool, "-S");
            let networks = Networks::new(&world.paths, &world.paths.project("shop"));
            let leases = networks.ensure(&[network("front")], &Claims::new()).unwrap();
            let web = attach_one(&networks, "web", &[endpoint("front")]);
            let ports = [8080, 8081, 8082, 9000].map(|port| published(&web, port));
            networks.update_firewall(&leases, &ports).unwrap();
            for port in [8080, 8081, 8083, 9000] {
                shout(here().as_fd(), port);
            }
            let at = |port| SocketAddr::new("203.0.113.1".parse().unwrap(), port);
            let reaches = |port| talks_soon(web.namespace.as_fd(), at(port));
            let is_denied = |port| is_kept_from(web.namespace.as_fd(), at(port));
            for port in [8080, 8081, 9000] {
                assert!(reaches(port), "{kind}: {port} in {}", output(&tool, "-S"));
            }
            assert!(is_denied(8083), "{kind}: what is not published stays denied");
            let id = world.paths.project("shop").id().to_owned();
            let listed = output(&tool, "-S INPUT");
            for ports in ["8080:8082", "9000"] {
                let rule = format!(
                    "-A INPUT -i wl{id}+ -p tcp -m tcp --dport {ports} -m comment --comment windlass-{id} -j ACCEPT"
                );
                assert_eq!(listed.matches(&rule).count(), 1, "{rule} in {listed}");
            }
            assert_eq!(networks.mend(&leases, &ports, &[]).unwrap().0, [], "{kind}: nothing is missing");
            networks.update_firewall(&leases, &ports[..1]).unwrap();
            assert!(reaches(8080) && is_denied(9000), "{kind}: they follow the ports");
            let rule = output(&tool, "-S INPUT").lines().find(|line| line.contains("8080")).unwrap().to_owned();
            assert_eq!(output(&tool, &rule.replacen("-A", "-D", 1)), "");
            assert_eq!(networks.mend(&leases, &ports[..1], &[]).unwrap().0.len(), 1, "{kind}: what is gone is missed");
            assert!(reaches(8080), "{kind}: and made again");
            networks.remove_all().unwrap();
            assert_eq!(output(&tool, "-S"), before);
        });
    }
}

#[test]
fn what_no_rule_of_ours_can_overrule_is_told_with_its_remedy() {
    on_this_host(Beside::Nobody, |world, neighbour| {
        nft("table inet paranoid {\n chain everything { type filter hook forward priority 5; policy drop; }\n}");
        let networks = Networks::new(&world.paths, &world.paths.project("shop"));
        let leases = networks.ensure(&[network("front")], &Claims::new()).unwrap();
        networks.update_firewall(&leases, &[]).unwrap();
        let web = attach_one(&networks, "web", &[endpoint("front")]);
        shout(neighbour, 80);
        let world_80: SocketAddr = "203.0.113.254:80".parse().unwrap();
        assert!(is_kept_from(web.namespace.as_fd(), world_80));
        let told = networks.obstacles().remove(0);
        // What it says helps, as it stands.
        let (_, command) = told.split_once("interfaces: ").unwrap();
        let status = Command::new("sh").args(["-c", command]).status().unwrap();
        assert!(status.success(), "{command}");
        assert!(talks_soon(web.namespace.as_fd(), world_80), "{told}");
        networks.remove_all().unwrap();
    });
}

#[test]
fn firewalld_is_to_trust_the_bridges() {
    on_this_host(Beside::Nobody, |world, _| {
        let networks = Networks::new(&world.paths, &world.paths.project("shop"));
        let leases = networks.ensure(&[network("front")], &Claims::new()).unwrap();
        networks.update_firewall(&leases, &[]).unwrap();
        let bridges = format!("wl{}", world.paths.project("shop").id());
        // It comes, and its tool is not there.
        nft("table inet firewalld {\n chain filter_FORWARD { type filter hook forward priority 10; reject; }\n}");
        assert_eq!(networks.mend(&leases, &[], &[]).unwrap().0.len(), 1);
        let told = networks.obstacles();
        let remedy =
            format!("firewall-cmd --permanent --zone=trusted --add-interface={bridges}+ && firewall-cmd --reload");
        assert!(told.len() == 1 && told[0].contains(&remedy), "{told:?}");
        assert_eq!(networks.mend(&leases, &[], &[]).unwrap().0, [], "it is not asked again and again");
        // A person does it.
        nft(&format!("insert rule inet firewalld filter_FORWARD iifname \"{bridges}*\" accept"));
        networks.update_firewall(&leases, &[]).unwrap();
        assert!(networks.obstacles().is_empty());
        assert_eq!(networks.mend(&leases, &[], &[]).unwrap().0, []);
        // A reload takes it away.
        nft("flush chain inet firewalld filter_FORWARD; add rule inet firewalld filter_FORWARD reject");
        assert_eq!(networks.mend(&leases, &[], &[]).unwrap().0.len(), 1);
        networks.remove_all().unwrap();
    });
}
