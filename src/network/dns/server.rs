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
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::answer::{self, Action, LARGEST_DATAGRAM};
use super::names::{Names, View};
use super::upstream::{self, Upstream};
use crate::network::budget::{Budget, Share};
use crate::network::netns::ResolverSockets;

/// What a question holds that waits for somebody else's answer: a socket for each server that is asked.
const FORWARDED: u32 = upstream::MAX_SERVERS as u32;

/// Those of the questions of one container; more are refused.
const MAX_FORWARDED: usize = 256 * FORWARDED as usize;

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
    forwarded: Share,
    streams: Share,
}

impl Server {
    /// Starts to serve. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When a socket cannot be duplicated or registered.
    pub fn start(
        sockets: &ResolverSockets,
        names: Names,
        view: View,
        upstream: Upstream,
        budget: &Budget,
    ) -> io::Result<Self> {
        let udp = UdpSocket::from_std(sockets.udp.try_clone()?)?;
        let tcp = TcpListener::from_std(sockets.tcp.try_clone()?)?;
        let (forwarded, streams) = (budget.share(MAX_FORWARDED), budget.share(MAX_STREAMS));
        let context = Arc::new(Context { names, view, upstream, forwarded, streams });
        Ok(Self {
            tasks: [tokio::spawn(datagrams(udp, Arc::clone(&context))), tokio::spawn(serve_streams(tcp, context))],
        })
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
            Action::Forward => match context.forwarded.try_take(FORWARDED) {
                None => {
                    if let Action::Reply(bytes) = answer::refusal(packet, ResponseCode::Refused) {
                        send(&socket, &bytes, client);
                    }
                }
                Some(room) => {
                    let (packet, context, socket) = (packet.to_vec(), Arc::clone(&context), Arc::clone(&socket));
                    waiting.spawn(async move {
                        if let Some(bytes) = context.upstream.datagram(&packet).await {
                            send(&socket, &bytes, client);
                        }
                        drop(room);
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

async fn serve_streams(listener: TcpListener, context: Arc<Context>) {
    let mut connections = JoinSet::new();
    let mut room = None;
    loop {
        tokio::select! {
            taken = context.streams.take(1), if room.is_none() => room = taken,
            accepted = listener.accept(), if room.is_some() => match accepted {
                Ok((stream, _)) => {
                    let (taken, context) = (room.take(), Arc::clone(&context));
                    connections.spawn(async move {
                        conversation(stream, context).await;
                        drop(taken);
                    });
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
                let Some(_room) = context.forwarded.take(FORWARDED).await else { return };
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

/// # Errors
/// When the message is longer than 65,535 bytes, or the other side has gone.
pub async fn write_message(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let length = u16::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(bytes);
    stream.write_all(&framed).await
}
