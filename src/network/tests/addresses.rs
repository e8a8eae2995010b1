//! Who gets which address.

use super::*;

fn address(sandbox: &Sandbox) -> String {
    ipv4(&sandbox.endpoints[0]).to_string()
}

#[test]
fn a_container_made_anew_keeps_its_address() {
    on_this_host(Beside::Nobody, |world, _| {
        let networks = Networks::new(&world.paths, &world.paths.project("shop"));
        networks.ensure(&[network("front")], &Claims::new()).unwrap();
        let attach = |id: &str, name: &str| {
            let endpoints = [endpoint("front")];
            let spec = SandboxSpec { container: id, name, endpoints: &endpoints, resolver: Resolver::Absent };
            networks.attach(&[spec]).unwrap().remove(0).unwrap()
        };
        let before: Vec<String> = ["a", "b", "c"].iter().map(|name| address(&attach(name, name))).collect();
        assert_eq!(before, ["172.18.0.2", "172.18.0.3", "172.18.0.4"]);
        // As `up --force-recreate` does it: all are removed, and come again in another order.
        networks.release(&["a", "b", "c"], &[]).unwrap();
        assert_eq!(address(&attach("c2", "c")), "172.18.0.4");
        assert_eq!(address(&attach("new", "new")), "172.18.0.5", "nobody takes what others are about to want");
        assert_eq!(address(&attach("a2", "a")), "172.18.0.2");
        // One that has stopped blocks nobody who asks for its address, and gets another then.
        networks.leave(&["a2"]).unwrap();
        let endpoints = [EndpointSpec { ipv4: Some("172.18.0.2".parse().unwrap()), ..endpoint("front") }];
        let wish = SandboxSpec { container: "s", name: "s", endpoints: &endpoints, resolver: Resolver::Absent };
        assert_eq!(address(&networks.attach(&[wish]).unwrap().remove(0).unwrap()), "172.18.0.2");
        assert_eq!(address(&attach("a2", "a")), "172.18.0.6");
        // Removed for good: the lowest free one is the next.
        networks.release(&["b"], &["b"]).unwrap();
        assert_eq!(address(&attach("d", "d")), "172.18.0.3");
        networks.remove_all().unwrap();
    });
}

#[test]
fn a_neighbour_gets_no_address_that_the_file_gives_to_another() {
    on_this_host(Beside::Nobody, |world, _| {
        let [shop, blog] = ["shop", "blog"].map(|name| Networks::new(&world.paths, &world.paths.project(name)));
        let claims = |address: &str| Claims::from([("shop_front".to_owned(), vec![address.parse().unwrap()])]);
        shop.ensure(&[network("front")], &claims("172.18.0.2")).unwrap();
        assert_eq!(address(&attach_one(&shop, "a", &[endpoint("front")])), "172.18.0.3");
        // Of a file that has changed since, and of a project that shares the network.
        shop.claim(&claims("172.18.0.4")).unwrap();
        assert_eq!(address(&attach_one(&shop, "b", &[endpoint("front")])), "172.18.0.2");
        blog.claim(&claims("172.18.0.5")).unwrap();
        assert_eq!(address(&attach_one(&shop, "c", &[endpoint("front")])), "172.18.0.6");
        blog.remove_all().unwrap();
        assert_eq!(address(&attach_one(&shop, "d", &[endpoint("front")])), "172.18.0.5");
        let mut full = network("full");
        full.ipam = vec![ipam("10.9.0.0/30")];
        shop.ensure(&[full], &Claims::from([("shop_full".to_owned(), vec!["10.9.0.2".parse().unwrap()])])).unwrap();
        let endpoints = [endpoint("full")];
        let spec = SandboxSpec { container: "e", name: "e", endpoints: &endpoints, resolver: Resolver::Absent };
        let refused = shop.attach(&[spec]).unwrap().remove(0).unwrap_err();
        assert!(refused.to_string().contains("no free address"), "{refused}");
        shop.remove_all().unwrap();
    });
}
