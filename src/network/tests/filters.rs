//! Beside packet filters of others.

use std::io::Write;

use super::*;

/// Loads rules as somebody else would.
pub(super) fn nft(rules: &str) {
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
