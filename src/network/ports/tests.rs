use super::*;
use crate::network::spec::PortSpec;

fn spec(host_ip: Option<&str>, published: Option<(u16, u16)>, protocol: Protocol) -> PortSpec {
    PortSpec { host_ip: host_ip.map(|ip| ip.parse().unwrap()), published, target: 80, protocol }
}

#[test]
fn a_taken_port_names_its_holder() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let conflict = reserve(&[spec(Some("127.0.0.1"), Some((port, port)), Protocol::Tcp)]).unwrap_err();
    assert_eq!(conflict.holder.as_ref().map(|holder| holder.own), Some(true));
    assert_eq!(
        conflict.to_string(),
        format!("port 127.0.0.1:{port}/tcp is already used by another container of this project")
    );
    let conflict = reserve(&[spec(None, Some((port, port)), Protocol::Tcp)]).unwrap_err();
    assert!(conflict.to_string().starts_with(&format!("port {port}/tcp is already used by")), "{conflict}");
}

#[test]
fn a_range_takes_the_first_that_is_free() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let range = (42_800, 42_802);
        let first = reserve(&[spec(None, Some(range), protocol), spec(None, Some(range), protocol)]).unwrap();
        let ports: Vec<u16> = first.iter().map(|r| r.port.published).collect();
        assert!(ports == [42_800, 42_800, 42_801, 42_801] || ports == [42_800, 42_801], "{ports:?}");
        let fixed = spec(None, Some((42_802, 42_802)), protocol);
        let second = reserve(&[spec(None, Some(range), protocol), fixed.clone()]).unwrap_err();
        assert!(second.to_string().contains("42800-42802"), "{second}");
        drop(first);
        assert!(reserve(&[fixed]).is_ok());
    }
}

#[test]
fn any_free_port_is_the_same_on_both_families() {
    let reserved = reserve(&[spec(None, None, Protocol::Tcp)]).unwrap();
    assert!(reserved[0].port.published != 0);
    assert!(reserved.iter().all(|r| r.port.published == reserved[0].port.published));
    let other = Reservation::from_key(&reserved[0].key(), reserved[0].socket.as_fd().try_clone_to_owned().unwrap());
    assert_eq!(other.unwrap().port, reserved[0].port);
}

#[test]
fn an_address_of_somebody_else_is_refused() {
    let conflict = reserve(&[spec(Some("203.0.113.77"), Some((42_900, 42_900)), Protocol::Tcp)]).unwrap_err();
    assert_eq!(
        conflict.to_string(),
        "port 203.0.113.77:42900/tcp cannot be published: this host has no address 203.0.113.77"
    );
}
