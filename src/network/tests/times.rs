//! How long it takes.

use std::time::{Duration, Instant};

use super::*;

/// Processor time of this process, in which nothing else runs when this test is asked for alone.
fn cpu() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
    let (user, system) = (usage.user_time(), usage.system_time());
    let micros = |time: nix::sys::time::TimeVal| (time.tv_sec() * 1_000_000 + time.tv_usec()) as u64;
    Duration::from_micros(micros(user) + micros(system))
}

#[test]
#[ignore = "prints times, for people"]
fn times() {
    on_this_host(Beside::Nobody, |world, _| {
        let project = world.paths.project("shop");
        let networks = Networks::new(&world.paths, &project);
        for count in [1, 10, 50] {
            let start = Instant::now();
            let leases = networks.ensure(&[network("front")], &Claims::new()).unwrap();
            let ensured = start.elapsed();
            networks.update_firewall(&leases, &[]).unwrap();
            let firewall = start.elapsed() - ensured;
            let endpoints = [endpoint("front")];
            let names: Vec<String> = (0..count).map(|n| format!("c{n}")).collect();
            let specs: Vec<SandboxSpec<'_>> = names
                .iter()
                .map(|name| SandboxSpec { container: name, name, endpoints: &endpoints, resolver: Resolver::Direct })
                .collect();
            let start = Instant::now();
            let before = cpu();
            let sandboxes = networks.attach(&specs).unwrap();
            let attached = start.elapsed();
            let busy = cpu() - before;
            let start = Instant::now();
            networks.update_firewall(&leases, &[]).unwrap();
            let update = start.elapsed();
            drop(sandboxes);
            let start = Instant::now();
            networks.remove_all().unwrap();
            println!(
                "{count}: ensure {ensured:?} firewall {firewall:?} attach {attached:?} (cpu {busy:?}) update {update:?} remove {:?}",
                start.elapsed()
            );
        }
    });
}
