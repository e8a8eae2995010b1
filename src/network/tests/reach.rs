//! Who reaches whom.

use std::net::SocketAddr;

use super::*;

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
            assert!(is_kept_from(web.namespace.as_fd(), to(&db, 0)), "networks are isolated");
            assert!(is_kept_from(db.namespace.as_fd(), to(&web, 0)), "networks are isolated");
            assert!(talks(web.namespace.as_fd(), world_80), "outbound traffic is masqueraded");
            assert!(is_kept_from(vault.namespace.as_fd(), world_80), "an internal network has no way out");
            assert!(talks(here().as_fd(), to(&web, 0)), "the host reaches its containers");
            inside(neighbour, || run_ip("route add 172.16.0.0/12 via 203.0.113.1"));
            assert!(is_kept_from(neighbour, to(&web, 0)), "a neighbour of the host does not");
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
        assert!(is_kept_from(a.namespace.as_fd(), b_80));
        assert!(talks(here().as_fd(), b_80));
        assert!(talks(a.namespace.as_fd(), "203.0.113.254:80".parse().unwrap()));
        networks.remove_all().unwrap();
    });
}
