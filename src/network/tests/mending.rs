//! What somebody else takes away.

use std::net::SocketAddr;
use std::sync::Arc;

use super::mend::{Attachment, Mended};
use super::*;

/// What somebody else takes away, and how.
type Taking<'a> = (&'static str, Box<dyn Fn() + 'a>);

fn attachment(container: &str, sandbox: &Sandbox, specs: &[EndpointSpec]) -> Attachment {
    Attachment {
        container: container.into(),
        name: container.into(),
        namespace: Arc::new(sandbox.namespace.try_clone().unwrap()),
        specs: specs.to_vec(),
        states: sandbox.endpoints.clone(),
    }
}

#[test]
fn what_others_remove_is_made_again() {
    on_a_host(|world, neighbour| {
        let project = world.paths.project("shop");
        let networks = Networks::new(&world.paths, &project);
        let mut inner = network("inner");
        inner.internal = true;
        let leases = networks.ensure(&[network("front"), network("back"), inner], &Claims::new()).unwrap();
        networks.update_firewall(&leases, &[]).unwrap();
        let specs = [endpoint("front"), endpoint("inner")];
        let web = attach_one(&networks, "web", &specs);
        let db = attach_one(&networks, "db", &[endpoint("back")]);
        let vault = attach_one(&networks, "vault", &[endpoint("inner")]);
        let attached = [
            attachment("web", &web, &specs),
            attachment("db", &db, &[endpoint("back")]),
            attachment("vault", &vault, &[endpoint("inner")]),
        ];
        shout(neighbour, 80);
        for sandbox in [&web, &db, &vault] {
            shout(sandbox.namespace.as_fd(), 80);
        }
        let bridge = |n: usize| leases[n].bridge.clone();
        let prefix = names::prefix(project.id());
        let cable = |of: &Sandbox, interface: &str| {
            let shown = inside(of.namespace.as_fd(), || output("ip", &format!("-o link show {interface}")));
            let index = shown.split("@if").nth(1).and_then(|rest| rest.split(':').next()).unwrap().to_owned();
            let all = output("ip", "-o link");
            let line = all.lines().find(|line| line.starts_with(&format!("{index}: "))).unwrap().to_owned();
            line.split(' ').nth(1).unwrap().split('@').next().unwrap().to_owned()
        };
        let works = |after: &str| {
            let to = |sandbox: &Sandbox, n: usize| SocketAddr::new(ipv4(&sandbox.endpoints[n]), 80);
            let world_80: SocketAddr = "203.0.113.254:80".parse().unwrap();
            assert!(talks_soon(web.namespace.as_fd(), world_80), "{after}: the way out");
            assert!(talks_soon(vault.namespace.as_fd(), to(&web, 1)), "{after}: within a network");
            assert!(talks_soon(here().as_fd(), to(&web, 0)), "{after}: from the host");
            assert!(is_kept_from(web.namespace.as_fd(), to(&db, 0)), "{after}: networks are isolated");
            assert!(is_kept_from(vault.namespace.as_fd(), world_80), "{after}: an internal network has no way out");
        };
        let mend = || networks.mend(&leases, &[], &attached).unwrap().0;
        works("nothing");
        assert_eq!(mend(), [], "nothing was wrong");
        let table = names::table(project.id());
        let takes: Vec<Taking> = vec![
            ("the table of rules", Box::new(|| run_nft(&format!("delete table inet {table}")))),
            ("the rules of a chain", Box::new(|| run_nft(&format!("flush chain inet {table} forward")))),
            ("a bridge", Box::new(|| run_ip(&format!("link del {}", bridge(0))))),
            ("an internal bridge", Box::new(|| run_ip(&format!("link del {}", bridge(2))))),
            ("a bridge's state", Box::new(|| run_ip(&format!("link set {} down", bridge(0))))),
            ("a bridge's address", Box::new(|| run_ip(&format!("addr flush dev {}", bridge(0))))),
            ("a route", Box::new(|| run_ip(&format!("route del 172.18.0.0/16 dev {}", bridge(0))))),
            ("a cable", Box::new(|| run_ip(&format!("link del {}", cable(&web, "eth0"))))),
            ("a cable within", Box::new(|| run_ip(&format!("link del {}", cable(&web, "eth1"))))),
            ("a port", Box::new(|| run_ip(&format!("link set {} nomaster", cable(&web, "eth0"))))),
            ("a cable's state", Box::new(|| run_ip(&format!("link set {} down", cable(&web, "eth0"))))),
            ("forwarding", Box::new(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap())),
            (
                "everything",
                Box::new(|| {
                    run_nft(&format!("delete table inet {table}"));
                    let links = output("ip", "-o link");
                    let own = links.lines().filter_map(|line| line.split(' ').nth(1));
                    for link in own.filter(|name| name.starts_with(&prefix)) {
                        run_ip(&format!("link del {}", link.trim_end_matches(':').split('@').next().unwrap()));
                    }
                }),
            ),
            (
                "a lease",
                Box::new(|| std::fs::remove_file(world.paths.networks().join(format!("{}.json", bridge(0)))).unwrap()),
            ),
        ];
        for (what, take) in takes {
            take();
            let mended = mend();
            assert!(!mended.is_empty(), "{what}: not noticed");
            works(what);
            assert_eq!(mend(), [], "{what}: all was mended at once");
        }
        let known = super::leases(&world.paths).unwrap();
        assert_eq!(known.len(), 3);
        drop((web, db, vault, attached));
        networks.remove_all().unwrap();
        // What was removed on purpose stays so.
        assert_eq!(networks.mend(&[], &[], &[]).unwrap().0, []);
        assert!(!output("ip", "-o link").contains(": wl"));
    });
}

#[test]
fn a_reload_of_others_rules_does_not_shut_us_out() {
    for kind in ["nft", "legacy"] {
        on_this_host(Beside::Docker(kind), |world, neighbour| {
            let networks = Networks::new(&world.paths, &world.paths.project("shop"));
            let leases = networks.ensure(&[network("front")], &Claims::new()).unwrap();
            networks.update_firewall(&leases, &[]).unwrap();
            let web = attach_one(&networks, "web", &[endpoint("front")]);
            shout(neighbour, 80);
            let world_80: SocketAddr = "203.0.113.254:80".parse().unwrap();
            assert!(talks(web.namespace.as_fd(), world_80));
            let flush = Command::new(format!("iptables-{kind}")).args(["-F", "DOCKER-USER"]).status().unwrap();
            assert!(flush.success());
            assert!(is_kept_from(web.namespace.as_fd(), world_80), "{kind}");
            let mended = networks.mend(&leases, &[], &[]).unwrap().0;
            assert!(matches!(&mended[..], [Mended { network, .. }] if network == "shop_front"), "{mended:?}");
            assert!(talks_soon(web.namespace.as_fd(), world_80), "{kind}");
            networks.remove_all().unwrap();
            let rules = output(&format!("iptables-{kind}"), "-S");
            assert!(!rules.contains("windlass"), "{rules}");
        });
    }
}

/// What a container did to its own side is its own business.
#[test]
fn a_container_may_change_its_own_interfaces() {
    on_this_host(Beside::Nobody, |world, _| {
        let networks = Networks::new(&world.paths, &world.paths.project("shop"));
        let leases = networks.ensure(&[network("front")], &Claims::new()).unwrap();
        networks.update_firewall(&leases, &[]).unwrap();
        let web = attach_one(&networks, "web", &[endpoint("front")]);
        let attached = [attachment("web", &web, &[endpoint("front")])];
        inside(web.namespace.as_fd(), || {
            run_ip("route del default");
            run_ip("link set eth0 down");
            run_ip("link set eth0 name wan");
        });
        assert_eq!(networks.mend(&leases, &[], &attached).unwrap().0, []);
        let shown = inside(web.namespace.as_fd(), || output("ip", "-o link"));
        assert_eq!(shown.lines().count(), 2, "{shown}");
        drop((web, attached));
        networks.remove_all().unwrap();
    });
}

fn run_nft(arguments: &str) {
    let done = output("nft", arguments);
    assert_eq!(done, "", "nft {arguments}");
}
