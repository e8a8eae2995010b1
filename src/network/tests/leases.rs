//! What networks and containers are given, keep and give back.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::*;
use crate::network::dns::{Names, View};

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
