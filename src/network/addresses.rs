//! Static addresses that nobody can have, found before anything is made for them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::bridge;
use super::error::{NetworkError, Result};
use super::lease::{self, NetworkLease};
use super::spec::{EndpointSpec, NetworkSpec};
use crate::state::paths::{Paths, ProjectPaths};

/// What a container asks for.
#[derive(Debug, Clone, Copy)]
pub struct StaticWish<'a> {
    pub container: &'a str,
    pub name: &'a str,
    pub endpoint: &'a EndpointSpec,
}

/// The static addresses that containers ask for and cannot have, before anything is made for them: by position in
/// `wishes`. `networks` are those that are to be made, or made anew; nobody is in the way who is among `leaving`.
///
/// # Errors
/// When the leases cannot be read.
pub fn check(
    paths: &Paths,
    project: &ProjectPaths,
    networks: &[&NetworkSpec],
    wishes: &[StaticWish<'_>],
    leaving: &BTreeSet<&str>,
) -> Result<Vec<(usize, IpAddr, NetworkError)>> {
    let leases = lease::read(paths)?;
    let mut wanted: BTreeMap<(&str, IpAddr), &StaticWish<'_>> = BTreeMap::new();
    let mut found = Vec::new();
    for (index, wish) in wishes.iter().enumerate() {
        let network = wish.endpoint.network.as_str();
        let addresses = wish.endpoint.ipv4.map(IpAddr::V4).into_iter().chain(wish.endpoint.ipv6.map(IpAddr::V6));
        for address in addresses {
            let made = networks.iter().find(|spec| spec.name == network && !spec.external);
            let checked = match (made, existing(&leases, project.id(), network)) {
                (Some(spec), _) => check_new(spec, address),
                (None, Some(lease)) => check_existing(lease, wish.container, address, leaving),
                // Declared external, and not there: for whoever looks for it to tell of.
                (None, None) => Ok(()),
            };
            let other = wanted.insert((network, address), wish).filter(|other| other.container != wish.container);
            let checked = checked.and_then(|()| match other {
                None => Ok(()),
                Some(other) => Err(NetworkError::AddressTaken {
                    network: network.to_owned(),
                    address,
                    holder: format!("{}, which is to start too", other.name),
                }),
            });
            found.extend(checked.err().map(|error| (index, address, error)));
        }
    }
    Ok(found)
}

/// The project's own, else the only other one.
fn existing<'a>(leases: &'a [NetworkLease], project_id: &str, name: &str) -> Option<&'a NetworkLease> {
    let mut named = leases.iter().filter(|lease| lease.name == name);
    let own = named.clone().find(|lease| lease.project_id == project_id);
    own.or_else(|| named.next().filter(|_| named.next().is_none()))
}

/// Of a subnet that the file leaves open nobody knows yet which it will be.
fn check_new(spec: &NetworkSpec, address: IpAddr) -> Result<()> {
    for (config, given) in spec.ipam.iter().filter_map(|config| Some((config, config.subnet?))) {
        if given.is_ipv4() == address.is_ipv4() {
            return bridge::subnet_of(spec, config, given)?.check_static(&spec.name, address);
        }
    }
    Ok(())
}

fn check_existing(lease: &NetworkLease, id: &str, address: IpAddr, leaving: &BTreeSet<&str>) -> Result<()> {
    lease.subnet(address.is_ipv4()).map_or(Ok(()), |subnet| subnet.check_static(&lease.name, address))?;
    lease.check_free(address, |other| other == id || leaving.contains(other))
}
