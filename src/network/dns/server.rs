//! The loop that serves one container.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use nix::sys::socket::{MsgFlags, SockaddrStorage, sendto};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::answer::{self, Action, LARGEST_DATAGRAM};
use super::names::{Names, View};
use super::upstream::Upstream;
use crate::network::netns::ResolverSockets;

/// Questions of one container that wait for somebody else's answer; more are refused.
const MAX_FORWARDED: usize = 256;

/// Connections of one container; more wait.
const MAX_STREAMS: usize = 64;

/// How long a connection may say nothing.
const STREAM_IDLE: Duration = Duration::from_secs(10);

/// A pause after an error that would otherwise repeat at once.
const PAUSE: Duration = Duration::from_millis(20);

/// Serves a container's namespace until it is dropped. The sockets stay with their owner.
#[derive(Debug)]
pub struct Server {
    tasks: [JoinHandle<()>; 2],
}

#[derive(Debug)]
struct Context {
    names: Names,
    view: View,
    upstream: Upstream,
    forwarded: Arc<Semaphore>,
}

impl Server {
    /// Starts to serve. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When a socket cannot be duplicated or registered.
    pub fn start(sockets: &ResolverSockets, names: Names, view: View, upstream: Upstream) -> io::Result<Self> {
        let udp = UdpSocket::from_std(sockets.udp.try_clone()?)?;
        let tcp = TcpListener::from_std(sockets.tcp.try_clone()?)?;
        let forwarded = Arc::new(Semaphore::new(MAX_FORWARDED));
        let context = Arc::new(Context { names, view, upstream, forwarded });
        Ok(Self { tasks: [tokio::spawn(datagrams(udp, Arc::clone(&context))), tokio::spawn(streams(tcp, context))] })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn datagrams(socket: UdpSocket, context: Arc<Context>) {
    let socket = Arc::new(socket);
    let mut waiting = JoinSet::new();
    let mut buffer = vec![0; LARGEST_DATAGRAM];
    loop {
        let (length, client) = tokio::select! {
            received = socket.recv_from(&mut buffer) => match received {
                Ok(received) => received,
                // An earlier answer could not be delivered.
                Err(_) => continue,
            },
            Some(_) = waiting.join_next() => continue,
        };
        let packet = &buffer[..length];
        match answer::answer(packet, &context.names, &context.view, false) {
            Action::Reply(bytes) => send(&socket, &bytes, client),
            Action::Ignore => {}
            Action::Forward => match Arc::clone(&context.forwarded).try_acquire_owned() {
                Err(_) => {
                    if let Action::Reply(bytes) = answer::refusal(packet, ResponseCode::Refused) {
                        send(&socket, &bytes, client);
                    }
                }
                Ok(permit) => {
                    let (packet, context, socket) = (packet.to_vec(), Arc::clone(&context), Arc::clone(&socket));
                    waiting.spawn(async move {
                        if let Some(bytes) = context.upstream.datagram(&packet).await {
                            send(&socket, &bytes, client);
                        }
                        drop(permit);
                    });
                }
            },
        }
    }
}

/// A client that does not read loses answers, as with any name server.
fn send(socket: &UdpSocket, bytes: &[u8], client: SocketAddr) {
    let _ = sendto(socket.as_raw_fd(), bytes, &SockaddrStorage::from(client), MsgFlags::MSG_DONTWAIT);
}

async fn streams(listener: TcpListener, context: Arc<Context>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_STREAMS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(conversation(stream, Arc::clone(&context)));
                }
                Err(_) => sleep(PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn conversation(mut stream: TcpStream, context: Arc<Context>) {
    while let Ok(Some(packet)) = timeout(STREAM_IDLE, read_message(&mut stream)).await {
        let bytes = match answer::answer(&packet, &context.names, &context.view, true) {
            Action::Reply(bytes) => bytes,
            Action::Ignore => return,
            Action::Forward => {
                let Ok(_permit) = context.forwarded.acquire().await else { return };
                match context.upstream.stream(&packet).await {
                    Some(bytes) => bytes,
                    None => return,
                }
            }
        };
        if !matches!(timeout(STREAM_IDLE, write_message(&mut stream, &bytes)).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// Reads one message with its length; `None` at the end of the stream or of its sense.
pub async fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let length = stream.read_u16().await.ok()?;
    let mut packet = vec![0; length.into()];
    stream.read_exact(&mut packet).await.ok()?;
    Some(packet)
}

pub async fn write_message(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let length = u16::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(bytes);
    stream.write_all(&framed).await
}
