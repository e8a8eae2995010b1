//! Carries UDP datagrams: one socket a client towards the container, forgotten when idle.

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::network::budget::{Share, Taken};

/// As Docker's proxy.
const IDLE: Duration = Duration::from_secs(90);

/// More clients than this at once are a flood; the newest are dropped.
pub(super) const MAX_SESSIONS: usize = 4096;

/// The largest datagram.
const DATAGRAM: usize = 65_535;

/// A client, and the address of ours that it asked.
type Key = (SocketAddr, Option<IpAddr>);

#[derive(Debug)]
struct Session {
    socket: Arc<UdpSocket>,
    target: SocketAddr,
    used: Arc<Mutex<Instant>>,
    task: AbortHandle,
    _room: Taken,
}

type Sessions = Arc<Mutex<HashMap<Key, Session>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves until the task is aborted. When the target changes, clients go to the new one with their next datagram.
pub(super) async fn serve(socket: UdpSocket, target: watch::Receiver<Option<IpAddr>>, port: u16, share: Share) {
    let socket = Arc::new(socket);
    let sessions: Sessions = Arc::default();
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let received = tokio::select! {
            received = socket.async_io(Interest::READABLE, || receive(&socket, &mut buffer)) => received,
            Some(_) = tasks.join_next() => continue,
        };
        let (length, key) = match received {
            Ok(received) => received,
            // An earlier answer could not be delivered: nothing of ours.
            Err(_) => continue,
        };
        let Some(address) = *target.borrow() else { continue };
        let address = SocketAddr::new(address, port);
        if let Some(upstream) = session(&socket, &sessions, &mut tasks, &share, (key, address)).await {
            // A full queue loses datagrams, as networks do. Not by tokio, which does not know yet that a new socket can
            // be written.
            let _ = nix::sys::socket::send(upstream.as_raw_fd(), &buffer[..length], MsgFlags::MSG_DONTWAIT);
        }
    }
}

/// The socket of a client, new when it has none or its container has moved.
async fn session(
    front: &Arc<UdpSocket>,
    sessions: &Sessions,
    tasks: &mut JoinSet<()>,
    share: &Share,
    (key, target): (Key, SocketAddr),
) -> Option<Arc<UdpSocket>> {
    {
        let mut known = lock(sessions);
        match known.get(&key) {
            Some(session) if session.target == target => {
                *lock(&session.used) = Instant::now();
                return Some(Arc::clone(&session.socket));
            }
            Some(session) => {
                session.task.abort();
                known.remove(&key);
            }
            None => {}
        }
    }
    let room = share.try_take(1)?;
    let any: SocketAddr = if target.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = Arc::new(UdpSocket::bind(any).await.ok()?);
    socket.connect(target).await.ok()?;
    let used = Arc::new(Mutex::new(Instant::now()));
    let answers = answer(Arc::clone(front), Arc::clone(sessions), Arc::clone(&socket), key, Arc::clone(&used));
    let task = tasks.spawn(answers);
    lock(sessions).insert(key, Session { socket: Arc::clone(&socket), target, used, task, _room: room });
    Some(socket)
}

/// Carries answers back until the session is idle.
async fn answer(
    front: Arc<UdpSocket>,
    sessions: Sessions,
    socket: Arc<UdpSocket>,
    key: Key,
    used: Arc<Mutex<Instant>>,
) {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let deadline = *lock(&used) + IDLE;
        match timeout_at(deadline, socket.recv(&mut buffer)).await {
            Ok(Ok(length)) => {
                *lock(&used) = Instant::now();
                let _ = front.async_io(Interest::WRITABLE, || send(&front, &buffer[..length], key)).await;
            }
            // The container does not listen (yet).
            Ok(Err(_)) => {}
            Err(_) if *lock(&used) + IDLE > Instant::now() => {}
            Err(_) => break,
        }
    }
    lock(&sessions).remove(&key);
}

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, Key)> {
    let mut control = nix::cmsg_space!(nix::libc::in6_pktinfo);
    let mut parts = [IoSliceMut::new(buffer)];
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
    let client = message.address.as_ref().and_then(socket_addr).ok_or(io::ErrorKind::InvalidData)?;
    let asked = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(IpAddr::V4(u32::from_be(info.ipi_addr.s_addr).into())),
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(IpAddr::V6(info.ipi6_addr.s6_addr.into())),
        _ => None,
    });
    Ok((message.bytes, (client, asked)))
}

/// Answers from the address that the client asked.
fn send(socket: &UdpSocket, bytes: &[u8], (client, asked): Key) -> io::Result<usize> {
    let parts = [IoSlice::new(bytes)];
    let to = SockaddrStorage::from(client);
    let fd = socket.as_raw_fd();
    let sent = match asked {
        None => sendmsg(fd, &parts, &[], MsgFlags::MSG_DONTWAIT, Some(&to)),
        Some(IpAddr::V4(v4)) => {
            let address = nix::libc::in_addr { s_addr: u32::from(v4).to_be() };
            let info = nix::libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: address };
            sendmsg(fd, &parts, &[ControlMessage::Ipv4PacketInfo(&info)], MsgFlags::MSG_DONTWAIT, Some(&to))
        }
        Some(IpAddr::V6(v6)) => {
            let address = nix::libc::in6_addr { s6_addr: v6.octets() };
            let info = nix::libc::in6_pktinfo { ipi6_addr: address, ipi6_ifindex: 0 };
            sendmsg(fd, &parts, &[ControlMessage::Ipv6PacketInfo(&info)], MsgFlags::MSG_DONTWAIT, Some(&to))
        }
    };
    Ok(sent?)
}

fn socket_addr(storage: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = storage.as_sockaddr_in() {
        return Some(SocketAddr::new(IpAddr::V4(v4.ip()), v4.port()));
    }
    storage.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into()))
}
