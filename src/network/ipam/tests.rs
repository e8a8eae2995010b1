use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn net(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

#[test]
fn the_first_free_pool() {
    assert_eq!(free_ipv4_subnet(&[]).unwrap().to_string(), "172.18.0.0/16");
    assert_eq!(free_ipv4_subnet(&[net("172.18.5.0/24"), net("0.0.0.0/0")]).unwrap().to_string(), "172.19.0.0/16");
    // A VPN that takes 172.16/12.
    assert_eq!(
        free_ipv4_subnet(&[net("172.16.0.0/12"), net("192.168.1.0/24")]).unwrap().to_string(),
        "192.168.16.0/20"
    );
    // The two halves of a default route are no reason to refuse.
    assert!(free_ipv4_subnet(&[net("0.0.0.0/1"), net("128.0.0.0/1")]).is_some());
    assert!(free_ipv4_subnet(&[net("172.16.0.0/12"), net("192.168.0.0/16"), net("10.0.0.0/8")]).is_none());
}

#[test]
fn ipv6_subnets_are_stable_and_avoid_others() {
    let first = unique_local_subnet("a", &[]).unwrap();
    assert_eq!(unique_local_subnet("a", &[]), Some(first));
    assert_ne!(unique_local_subnet("b", &[]), Some(first));
    assert_eq!(first.prefix(), 64);
    assert!(first.ip().is_unique_local());
    let second = unique_local_subnet("a", &[IpNetwork::V6(first)]).unwrap();
    assert!(!second.overlaps(first));
}

#[test]
fn the_lowest_free_address() {
    let subnet = net("10.0.0.0/29");
    let mut taken = vec!["10.0.0.1".parse().unwrap()];
    for expected in ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"] {
        let next = lowest_address(subnet, None, |address| taken.contains(&address)).unwrap();
        assert_eq!(next.to_string(), expected);
        taken.push(next);
    }
    assert_eq!(lowest_address(subnet, None, |address| taken.contains(&address)), None);
    taken.retain(|address| address.to_string() != "10.0.0.3");
    assert_eq!(lowest_address(subnet, None, |a| taken.contains(&a)).unwrap().to_string(), "10.0.0.3");
    assert_eq!(lowest_address(subnet, Some(net("10.0.0.4/31")), |_| false).unwrap().to_string(), "10.0.0.4");
    assert_eq!(lowest_address(net("10.0.0.0/31"), None, |_| false).unwrap().to_string(), "10.0.0.0");
}

fn any_subnet() -> impl Strategy<Value = IpNetwork> {
    prop_oneof![
        (any::<u32>(), 22_u8..=32).prop_map(|(ip, prefix)| {
            let network = Ipv4Network::new(ip.into(), prefix).unwrap();
            IpNetwork::V4(Ipv4Network::new(network.network(), prefix).unwrap())
        }),
        (any::<u128>(), 118_u8..=128).prop_map(|(ip, prefix)| {
            let network = Ipv6Network::new(ip.into(), prefix).unwrap();
            IpNetwork::V6(Ipv6Network::new(network.network(), prefix).unwrap())
        }),
    ]
}

proptest! {
    #[test]
    fn every_usable_address_is_given_exactly_once(subnet in any_subnet()) {
        let (first, last) = bounds(subnet);
        let size = number(last) - number(first) + 1;
        let mut taken = BTreeSet::new();
        for _ in 0..size {
            let next = lowest_address(subnet, None, |a| taken.contains(&a)).unwrap();
            prop_assert!(usable(subnet, next) && subnet.contains(next));
            prop_assert!(taken.insert(next));
        }
        prop_assert_eq!(lowest_address(subnet, None, |a| taken.contains(&a)), None);
    }

    #[test]
    fn a_free_subnet_touches_nothing(taken in prop::collection::vec((any::<u32>(), 8_u8..=32), 0..40)) {
        let taken: Vec<IpNetwork> =
            taken.into_iter().map(|(ip, prefix)| IpNetwork::new(Ipv4Addr::from(ip).into(), prefix).unwrap()).collect();
        if let Some(subnet) = free_ipv4_subnet(&taken) {
            prop_assert!(taken.iter().all(|other| !overlaps(*other, IpNetwork::V4(subnet))));
        }
    }
}
