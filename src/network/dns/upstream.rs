//! Asking somebody else.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hickory_proto::op::ResponseCode;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::answer::{self, Action};
use super::server::{read_message, write_message};
use crate::network::netns;
use crate::network::resolv_conf::ResolvConf;

/// A server that says nothing for this long is no longer waited for alone.
const HEDGE: Duration = Duration::from_millis(1500);

/// A question lives this long; resolvers in containers give up or ask again after five seconds.
const PATIENCE: Duration = Duration::from_millis(4500);

/// As many as the C library uses.
pub(super) const MAX_SERVERS: usize = 3;

const PORT: u16 = 53;

/// Who is asked what the project does not know.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// Nobody: the container has no way out.
    Nobody,
    /// The host's own servers, from the host's namespace.
    Host(HostServers),
    /// Servers of the service, from the container's namespace.
    Container { namespace: Arc<OwnedFd>, servers: Vec<IpAddr> },
}

/// The servers of the host's `resolv.conf`, read again when the file has changed.
#[derive(Debug, Clone)]
pub struct HostServers {
    path: PathBuf,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    stamp: Option<(SystemTime, u64)>,
    servers: Vec<SocketAddr>,
}

impl Default for HostServers {
    fn default() -> Self {
        Self::new("/etc/resolv.conf".into())
    }
}

impl HostServers {
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, known: Arc::default() }
    }

    fn servers(&self) -> Vec<SocketAddr> {
        let stamp = fs::metadata(&self.path).and_then(|found| Ok((found.modified()?, found.len()))).ok();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if stamp.is_none() || known.stamp != stamp {
            let text = fs::read_to_string(&self.path).unwrap_or_default();
            known.stamp = stamp;
            known.servers = addresses(&ResolvConf::parse(&text).servers);
        }
        known.servers.clone()
    }
}

fn addresses(servers: &[IpAddr]) -> Vec<SocketAddr> {
    servers.iter().take(MAX_SERVERS).map(|&server| SocketAddr::new(server, PORT)).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Datagram,
    Stream,
}

impl Upstream {
    /// The answer to a question over UDP; an error code of ours when nobody has one.
    pub async fn datagram(&self, packet: &[u8]) -> Option<Vec<u8>> {
        self.ask(packet, Transport::Datagram).await
    }

    /// The same over TCP.
    pub async fn stream(&self, packet: &[u8]) -> Option<Vec<u8>> {
        self.ask(packet, Transport::Stream).await
    }

    async fn ask(&self, packet: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let (namespace, servers) = match self {
            Self::Nobody => return refusal(packet, ResponseCode::NXDomain),
            Self::Host(host) => (None, host.servers()),
            Self::Container { namespace, servers } => (Some(Arc::clone(namespace)), addresses(servers)),
        };
        let packet: Arc<[u8]> = packet.into();
        let deadline = Instant::now() + PATIENCE;
        let mut remaining = servers.into_iter();
        let mut asked = JoinSet::new();
        let mut worst = None;
        let mut next = Instant::now();
        loop {
            let more = remaining.len() > 0;
            if !more && asked.is_empty() {
                break;
            }
            tokio::select! {
                () = sleep_until(next), if more => {
                    if let Some(server) = remaining.next() {
                        asked.spawn(ask_one(server, Arc::clone(&packet), namespace.clone(), transport, deadline));
                    }
                    next = Instant::now() + HEDGE;
                }
                Some(answer) = asked.join_next() => match answer {
                    Ok(Some(answer)) if is_useful(&answer) => return Some(answer),
                    // The next server at once; this answer only when there is no better one.
                    Ok(Some(answer)) => { worst = Some(answer); next = Instant::now(); }
                    _ => next = Instant::now(),
                },
                () = sleep_until(deadline) => break,
            }
        }
        worst.or_else(|| refusal(&packet, ResponseCode::ServFail))
    }
}

fn refusal(packet: &[u8], code: ResponseCode) -> Option<Vec<u8>> {
    match answer::refusal(packet, code) {
        Action::Reply(bytes) => Some(bytes),
        _ => None,
    }
}

/// SERVFAIL, NOTIMP and REFUSED say that this server cannot help, not that there is no such name.
fn is_useful(answer: &[u8]) -> bool {
    answer.get(3).is_some_and(|flags| !matches!(flags & 0x0f, 2 | 4 | 5))
}

async fn ask_one(
    server: SocketAddr,
    packet: Arc<[u8]>,
    namespace: Option<Arc<OwnedFd>>,
    transport: Transport,
    deadline: Instant,
) -> Option<Vec<u8>> {
    let exchange = async {
        match transport {
            Transport::Datagram => over_udp(server, &packet, namespace).await,
            Transport::Stream => over_tcp(server, &packet, namespace).await,
        }
    };
    match timeout_at(deadline, exchange).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::debug!("name server {server} does not answer: {error}");
            None
        }
        Err(_) => None,
    }
}

async fn over_udp(server: SocketAddr, packet: &[u8], namespace: Option<Arc<OwnedFd>>) -> io::Result<Vec<u8>> {
    let open = || {
        let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = std::net::UdpSocket::bind(any)?;
        // From nobody else will an answer be taken.
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    let socket = match namespace {
        None => open(),
        Some(namespace) => netns::inside(namespace.as_fd(), open),
    };
    let socket = UdpSocket::from_std(socket?)?;
    socket.send(packet).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if belongs(packet, &buffer[..length]) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn over_tcp(server: SocketAddr, packet: &[u8], namespace: Option<Arc<OwnedFd>>) -> io::Result<Vec<u8>> {
    let open = || {
        let family = if server.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        Ok(socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?)
    };
    let socket: OwnedFd = match namespace {
        None => open(),
        Some(namespace) => netns::inside(namespace.as_fd(), open),
    }?;
    let socket = TcpSocket::from_std_stream(socket.into());
    let mut stream: TcpStream = timeout(HEDGE, socket.connect(server)).await??;
    write_message(&mut stream, packet).await?;
    read_message(&mut stream).await.filter(|answer| belongs(packet, answer)).ok_or(io::ErrorKind::InvalidData.into())
}

/// An answer (not a question) with the same number and the same question.
fn belongs(query: &[u8], answer: &[u8]) -> bool {
    answer.len() >= 12 && answer[..2] == query[..2] && answer[2] & 0x80 != 0
}
