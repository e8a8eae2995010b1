//! Which subnet and which address come next. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use sha2::{Digest, Sha256};

/// A pool and the size of the subnets that are cut from it.
type Pool = (Ipv4Addr, u8, u8);

/// Docker's default pools in its order, but the one of its default bridge last, and more room at the end.
const POOLS: [Pool; 8] = [
    (Ipv4Addr::new(172, 18, 0, 0), 16, 16),
    (Ipv4Addr::new(172, 19, 0, 0), 16, 16),
    (Ipv4Addr::new(172, 20, 0, 0), 14, 16),
    (Ipv4Addr::new(172, 24, 0, 0), 14, 16),
    (Ipv4Addr::new(172, 28, 0, 0), 14, 16),
    (Ipv4Addr::new(192, 168, 0, 0), 16, 20),
    (Ipv4Addr::new(10, 192, 0, 0), 10, 24),
    (Ipv4Addr::new(172, 17, 0, 0), 16, 16),
];

/// Routes this wide (a default route, or a VPN's two halves of one) say nothing about who uses an address.
const WIDEST_ROUTE: u8 = 7;

#[must_use]
pub fn overlaps(a: IpNetwork, b: IpNetwork) -> bool {
    match (a, b) {
        (IpNetwork::V4(a), IpNetwork::V4(b)) => a.overlaps(b),
        (IpNetwork::V6(a), IpNetwork::V6(b)) => a.overlaps(b),
        _ => false,
    }
}

/// The first subnet of the default pools that touches nothing in `taken`.
#[must_use]
pub fn free_ipv4_subnet(taken: &[IpNetwork]) -> Option<Ipv4Network> {
    let taken: Vec<Ipv4Network> = taken
        .iter()
        .filter_map(|network| match network {
            IpNetwork::V4(v4) if v4.prefix() > WIDEST_ROUTE => Some(*v4),
            _ => None,
        })
        .collect();
    POOLS.iter().find_map(|&(base, prefix, size)| {
        (0..1_u32 << (size - prefix))
            .filter_map(|n| Ipv4Network::new((u32::from(base) + (n << (32 - size))).into(), size).ok())
            .find(|candidate| !taken.iter().any(|other| other.overlaps(*candidate)))
    })
}

/// A unique local /64 that is the same at every `up` of the same network, unless it is taken.
#[must_use]
pub fn unique_local_subnet(seed: &str, taken: &[IpNetwork]) -> Option<Ipv6Network> {
    let hash = Sha256::digest(seed.as_bytes());
    let mut bytes = [0; 16];
    bytes[0] = 0xfd;
    bytes[1..8].copy_from_slice(&hash[..7]);
    let first = u128::from_be_bytes(bytes);
    (0..1024_u128)
        .filter_map(|n| {
            Ipv6Network::new(
                Ipv6Addr::from((first & !0xffff_0000_0000_0000_0000) | ((((first >> 64) + n) & 0xffff) << 64)),
                64,
            )
            .ok()
        })
        .find(|candidate| {
            !taken.iter().any(|other| match other {
                IpNetwork::V6(other) => other.prefix() > WIDEST_ROUTE && other.overlaps(*candidate),
                IpNetwork::V4(_) => false,
            })
        })
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

fn address_like(family: IpAddr, number: u128) -> IpAddr {
    match family {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX))),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

/// First and last address of a network that a host may have.
#[must_use]
pub fn bounds(network: IpNetwork) -> (IpAddr, IpAddr) {
    let (first, last) = (number(network.network()), number(network.broadcast()));
    let (first, last) = match network {
        // A point-to-point pair, or a single host.
        _ if last - first < 2 => (first, last),
        IpNetwork::V4(_) => (first + 1, last - 1),
        // No broadcast; the first one is the routers' anycast address.
        IpNetwork::V6(_) => (first + 1, last),
    };
    (address_like(network.ip(), first), address_like(network.ip(), last))
}

/// Whether a host in this subnet may have the address.
#[must_use]
pub fn usable(subnet: IpNetwork, address: IpAddr) -> bool {
    let (first, last) = bounds(subnet);
    subnet.is_ipv4() == address.is_ipv4() && first <= address && address <= last
}

/// The first address that a host may have.
#[must_use]
pub fn first_host(network: IpNetwork) -> IpAddr {
    bounds(network).0
}

/// The lowest address of `range` that is not taken.
pub fn lowest_address(subnet: IpNetwork, range: Option<IpNetwork>, taken: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let (subnet_first, subnet_last) = bounds(subnet);
    let (low, high) = match range {
        Some(range) => {
            (number(range.network()).max(number(subnet_first)), number(range.broadcast()).min(number(subnet_last)))
        }
        None => (number(subnet_first), number(subnet_last)),
    };
    (low..=high).map(|n| address_like(subnet.ip(), n)).find(|candidate| !taken(*candidate))
}

#[cfg(test)]
mod tests;
