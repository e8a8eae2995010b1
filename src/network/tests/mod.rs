//! Real networks in a private network namespace that plays the host.

mod addresses;
mod damaged;
mod filters;
mod firewalls;
mod leases;
mod mending;
mod name_server;
mod ports;
mod reach;
mod talk;
mod times;
mod world;

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Command;

use super::netns::Resolver;
use super::spec::{EndpointSpec, EndpointState, IpamConfig, NetworkSpec};
use super::*;

use filters::nft;
use talk::{here, is_kept_from, serve, shout, talks, talks_soon};
use world::{Beside, on_a_host, on_this_host};

fn inside<T: Send>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> T {
    netns::inside(namespace, || Ok(work())).unwrap()
}

fn run_ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

fn output(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split(' ')).output().unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr)
}

fn network(key: &str) -> NetworkSpec {
    NetworkSpec::plain(format!("shop_{key}"), key)
}

fn endpoint(key: &str) -> EndpointSpec {
    EndpointSpec::plain(format!("shop_{key}"))
}

fn attach_one(networks: &Networks, container: &str, endpoints: &[EndpointSpec]) -> Sandbox {
    let spec = SandboxSpec { container, name: container, endpoints, resolver: Resolver::Direct };
    networks.attach(&[spec]).unwrap().remove(0).unwrap()
}

fn ipv4(state: &EndpointState) -> IpAddr {
    state.ipv4.unwrap()
}

fn ipam(subnet: &str) -> IpamConfig {
    IpamConfig {
        subnet: Some(subnet.parse().unwrap()),
        ip_range: None,
        gateway: None,
        aux_addresses: Default::default(),
    }
}
