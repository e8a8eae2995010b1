use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tokio::sync::watch;

use super::*;
use crate::network::Budget;
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
        let range = (18_800, 18_802);
        let first = reserve(&[spec(None, Some(range), protocol), spec(None, Some(range), protocol)]).unwrap();
        let ports: Vec<u16> = first.iter().map(|r| r.port.published).collect();
        assert!(ports == [18_800, 18_800, 18_801, 18_801] || ports == [18_800, 18_801], "{ports:?}");
        let fixed = spec(None, Some((18_802, 18_802)), protocol);
        let second = reserve(&[spec(None, Some(range), protocol), fixed.clone()]).unwrap_err();
        assert!(second.to_string().contains("18800-18802"), "{second}");
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
    let conflict = reserve(&[spec(Some("203.0.113.77"), Some((18_900, 18_900)), Protocol::Tcp)]).unwrap_err();
    assert_eq!(
        conflict.to_string(),
        "port 203.0.113.77:18900/tcp cannot be published: this host has no address 203.0.113.77"
    );
}

/// Reserves a free port on loopback whose container is this machine's `target`.
fn published(protocol: Protocol, target: u16) -> Reservation {
    let wish = PortSpec { target, ..spec(Some("127.0.0.1"), None, protocol) };
    reserve(&[wish]).unwrap().remove(0)
}

/// Serves a reservation in a runtime of its own until the result is dropped.
fn serve(reservation: Reservation, target: watch::Receiver<Option<IpAddr>>) -> tokio::sync::oneshot::Sender<()> {
    serve_within(reservation, target, Budget::new(1000))
}

fn serve_within(
    reservation: Reservation,
    target: watch::Receiver<Option<IpAddr>>,
    budget: Budget,
) -> tokio::sync::oneshot::Sender<()> {
    let (stop, stopped) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let _proxy = Proxy::start(&reservation, target, &budget).unwrap();
            let _ = stopped.await;
        });
    });
    stop
}

fn address(reservation: &Reservation) -> SocketAddr {
    SocketAddr::new(reservation.port.host_ip, reservation.port.published)
}

#[test]
fn each_direction_of_a_connection_ends_by_itself() {
    const SIZE: usize = 8 << 20;
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let reservation = published(Protocol::Tcp, server.local_addr().unwrap().port());
    let front = address(&reservation);
    let (_target, watch) = watch::channel(Some("127.0.0.1".parse().unwrap()));
    let _served = serve(reservation, watch);
    let server = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let mut all = Vec::new();
        // Ends only when the client's half is closed, and answers only then.
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(&all).unwrap();
        all.len()
    });
    let mut client = TcpStream::connect(front).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let sent: Vec<u8> = (0..SIZE).map(|n| (n * 31 % 251) as u8).collect();
    client.write_all(&sent).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut back = Vec::new();
    client.read_to_end(&mut back).unwrap();
    assert_eq!(server.join().unwrap(), SIZE);
    assert!(back == sent);
}

#[test]
fn without_a_container_a_connection_is_reset_and_later_ones_find_it() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let reservation = published(Protocol::Tcp, server.local_addr().unwrap().port());
    let front = address(&reservation);
    let (target, watch) = watch::channel(None);
    let _served = serve(reservation, watch);
    let ask = || {
        let mut client = TcpStream::connect(front).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut byte = [0];
        client.read(&mut byte).map(|_| byte[0]).map_err(|error| error.kind())
    };
    assert_eq!(ask(), Err(std::io::ErrorKind::ConnectionReset));
    target.send(Some("127.0.0.1".parse().unwrap())).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        stream.write_all(b"x").unwrap();
    });
    assert_eq!(ask(), Ok(b'x'));
}

#[test]
fn datagrams_of_several_clients_find_their_way_back() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let wish = PortSpec { target: server.local_addr().unwrap().port(), ..spec(None, None, Protocol::Udp) };
    // All addresses: answers must come from the one that was asked.
    let reservation = reserve(&[wish]).unwrap().remove(0);
    let port = reservation.port.published;
    let (_target, watch) = watch::channel(Some("127.0.0.1".parse().unwrap()));
    let _served = serve(reservation, watch);
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, client)) = server.recv_from(&mut buffer) {
            buffer[..length].make_ascii_uppercase();
            server.send_to(&buffer[..length], client).unwrap();
        }
    });
    let clients: Vec<UdpSocket> = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
        .iter()
        .map(|asked| {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            client.connect((*asked, port)).unwrap();
            client
        })
        .collect();
    for round in 0..3 {
        for (number, client) in clients.iter().enumerate() {
            client.send(format!("r{round}c{number}").as_bytes()).unwrap();
        }
        for (number, client) in clients.iter().enumerate() {
            let mut buffer = [0; 64];
            let length = client.recv(&mut buffer).unwrap();
            assert_eq!(std::str::from_utf8(&buffer[..length]).unwrap(), format!("R{round}C{number}"));
        }
    }
}

fn is_quiet(socket: &impl AsFd) -> bool {
    let mut polled = [nix::poll::PollFd::new(socket.as_fd(), nix::poll::PollFlags::POLLIN)];
    nix::poll::poll(&mut polled, 300_u16) == Ok(0)
}

/// As many clients as the budget has room for are served; the others wait, and come in when one of those has left.
#[test]
fn connections_beyond_the_bound_wait_and_are_served_later() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let reservation = published(Protocol::Tcp, server.local_addr().unwrap().port());
    let front = address(&reservation);
    let (_target, watch) = watch::channel(Some("127.0.0.1".parse().unwrap()));
    // Twelve for one port: two connections.
    let _served = serve_within(reservation, watch, Budget::new(24));
    let clients: Vec<TcpStream> = (0..5).map(|_| TcpStream::connect(front).unwrap()).collect();
    let inside: Vec<TcpStream> = (0..2).map(|_| server.accept().unwrap().0).collect();
    assert!(is_quiet(&server), "a third connection was made");
    drop((clients, inside));
    // Those that waited have gone by now; whoever comes next is served.
    let mut client = TcpStream::connect(front).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = server.accept() {
            let _ = stream.write_all(b"x");
        }
    });
    let mut byte = [0];
    client.read_exact(&mut byte).unwrap();
}

/// A flood of datagrams from ever other ports has its end too.
#[test]
fn sessions_beyond_the_bound_are_dropped() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let reservation = published(Protocol::Udp, server.local_addr().unwrap().port());
    let front = address(&reservation);
    let (_target, watch) = watch::channel(Some("127.0.0.1".parse().unwrap()));
    let _served = serve_within(reservation, watch, Budget::new(24));
    let clients: Vec<UdpSocket> = (0..30).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    for client in &clients {
        client.send_to(b"x", front).unwrap();
    }
    let mut buffer = [0; 8];
    for _ in 0..12 {
        server.recv(&mut buffer).unwrap();
    }
    assert!(is_quiet(&server), "a client beyond the bound has a session");
}
