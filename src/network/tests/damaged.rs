//! Leases that cannot be read.

use super::*;
use crate::state::notice;

type Damage<'a> = (&'static str, Box<dyn Fn() + 'a>);

/// Whatever a crash of the machine, a disk or a person may leave in a record's place.
fn damages(path: &std::path::Path) -> Vec<Damage<'_>> {
    let text = std::fs::read(path).unwrap();
    let put = |bytes: Vec<u8>| move || std::fs::write(path, &bytes).unwrap();
    vec![
        ("truncated", Box::new(put(text[..text.len() / 2].to_vec()))),
        ("empty", Box::new(put(vec![]))),
        ("garbled", Box::new(put(vec![0; text.len()]))),
        ("newer", Box::new(put(br#"{"version":99,"what":"ever"}"#.to_vec()))),
        ("of another", Box::new(put(String::from_utf8(text).unwrap().replace("b0\"", "b7\"").into_bytes()))),
        (
            "a folder",
            Box::new(move || {
                std::fs::remove_file(path).unwrap();
                std::fs::create_dir_all(path.join("in it")).unwrap();
            }),
        ),
        (
            "a pipe",
            Box::new(move || {
                std::fs::remove_file(path).unwrap();
                nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
            }),
        ),
    ]
}

#[test]
fn a_damaged_lease_stops_nobody_and_is_made_again() {
    on_this_host(Beside::Nobody, |world, _| {
        let project = world.paths.project("shop");
        let shop = Networks::new(&world.paths, &project);
        let leases = shop.ensure(&[network("front")], &Claims::new()).unwrap();
        let web = attach_one(&shop, "web", &[endpoint("front")]);
        // What the supervisor writes of a container that runs.
        let places = project.container("web");
        std::fs::create_dir_all(places.data()).unwrap();
        std::fs::create_dir_all(project.data()).unwrap();
        let endpoints = serde_json::to_value([&web.endpoints[0]]).unwrap();
        let state = serde_json::json!({ "version": 1, "endpoints": endpoints });
        std::fs::write(places.state(), state.to_string()).unwrap();
        let specs = serde_json::to_value([network("front")]).unwrap();
        let record = serde_json::json!({ "version": 1, "networks": specs });
        std::fs::write(project.record(), record.to_string()).unwrap();
        let path = world.paths.networks().join(format!("{}.json", leases[0].bridge));
        let whole = super::leases(&world.paths).unwrap().remove(0);
        let blog = Networks::new(&world.paths, &world.paths.project("blog"));
        for (what, damage) in damages(&path) {
            damage();
            let _ = notice::take();
            let made = blog.ensure(&[NetworkSpec { name: "blog_own".into(), ..network("own") }], &Claims::new());
            let made = made.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(made[0].subnets[0].subnet.to_string(), "172.19.0.0/16", "{what}");
            let again = super::leases(&world.paths).unwrap().into_iter().find(|lease| lease.name == "shop_front");
            let again = again.unwrap_or_else(|| panic!("{what}: not made again"));
            assert_eq!(
                (again.bridge, again.subnets, again.internal),
                (whole.bridge.clone(), whole.subnets.clone(), false)
            );
            assert_eq!(again.endpoints["web"].ipv4, whole.endpoints["web"].ipv4, "{what}");
            let said: Vec<String> = notice::take().into_iter().filter(|text| text.contains("shop_front")).collect();
            assert_eq!(said.len(), 1, "{what}: {said:?}");
            assert!(said[0].contains(&*path.to_string_lossy()) && said[0].contains("damaged-"), "{said:?}");
            // Said once, and whoever comes next has nothing to do with it.
            shop.ensure(&[network("front")], &Claims::new()).unwrap();
            assert!(!notice::take().iter().any(|text| text.contains("shop_front")), "{what}");
            blog.remove_all().unwrap();
        }
        let other = attach_one(&shop, "other", &[endpoint("front")]);
        assert_eq!(ipv4(&other.endpoints[0]).to_string(), "172.18.0.3");
        drop((web, other));
        shop.remove_all().unwrap();
        assert_eq!(std::fs::read_dir(world.paths.networks()).unwrap().count(), 0, "what was set aside is gone too");
        assert!(!output("ip", "-o link").contains(": wl"));
    });
}

/// After a restart of the machine there is no bridge to make it again from.
#[test]
fn a_damaged_lease_without_its_bridge_is_as_none() {
    on_this_host(Beside::Nobody, |world, _| {
        let shop = Networks::new(&world.paths, &world.paths.project("shop"));
        let leases = shop.ensure(&[network("front")], &Claims::new()).unwrap();
        run_ip(&format!("link del {}", leases[0].bridge));
        std::fs::write(world.paths.networks().join(format!("{}.json", leases[0].bridge)), "{").unwrap();
        let again = shop.ensure(&[network("front")], &Claims::new()).unwrap();
        assert_eq!(again[0].subnets, leases[0].subnets);
        assert!(output("ip", &format!("addr show {}", again[0].bridge)).contains("172.18.0.1/16"));
        shop.remove_all().unwrap();
        assert_eq!(std::fs::read_dir(world.paths.networks()).unwrap().count(), 0);
    });
}
