//! The supervisor's side: asynchronous, on one thread.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;

use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, watch};

use super::Hello;
use super::frame::{self, FrameError, Incoming, Received};
use crate::state::ProjectPaths;
use crate::sys::{descriptors, fault};

/// A client that reads this much slower than it is told things is cut off; nobody waits for it.
const MAX_BACKLOG: usize = 32 * 1024 * 1024;

/// What answers requests.
pub trait Handler {
    /// Answers one request over `connection`. The connection is closed when the future ends, after all that was sent
    /// has been read; the future goes on when the client leaves (see [`Connection::closed`]).
    fn handle(&self, request: serde_json::Value, connection: Connection) -> Pin<Box<dyn Future<Output = ()>>>;
}

/// The listening socket of a project.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    /// Connections that are open.
    open: watch::Sender<usize>,
    /// Those of clients that are told by its closing that all has ended.
    parting: Rc<Parting>,
}

#[derive(Debug, Default)]
struct Parting {
    keep: Cell<bool>,
    kept: RefCell<Vec<Rc<UnixStream>>>,
}

impl Server {
    /// Binds the project's socket; whoever held it before is not reachable any more.
    ///
    /// # Errors
    /// When the folder is missing or the socket cannot be bound.
    pub fn bind(paths: &ProjectPaths) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(paths.run(), flags, Mode::empty())?;
        let name = paths.socket().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let temporary = format!(".{name}.{}", std::process::id());
        match rustix::fs::unlinkat(&folder, &temporary, rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        // Through a descriptor of the folder: the path may be longer than a socket address can hold.
        let place = format!("/proc/self/fd/{}/{temporary}", folder.as_raw_fd());
        let listener = fault::around("bind the socket", || UnixListener::bind(place))?;
        rustix::fs::chmodat(&folder, &temporary, Mode::RUSR | Mode::WUSR, rustix::fs::AtFlags::empty())?;
        fault::around("rename the socket", || rustix::fs::renameat(&folder, &temporary, &folder, &name))?;
        Ok(Self { listener, open: watch::Sender::new(0), parting: Rc::default() })
    }

    /// How many clients are connected, and when that changes.
    #[must_use]
    pub fn connections(&self) -> watch::Receiver<usize> {
        self.open.subscribe()
    }

    /// Serves clients until the future is dropped; runs in a [`tokio::task::LocalSet`].
    pub async fn serve(&self, handler: Rc<dyn Handler>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    if let Err(reason) = check_peer(&stream) {
                        tracing::warn!("a connection was refused: {reason}");
                        continue;
                    }
                    let handler = Rc::clone(&handler);
                    self.open.send_modify(|count| *count += 1);
                    let (open, parting) = (self.open.clone(), Rc::clone(&self.parting));
                    tokio::task::spawn_local(async move {
                        let stream = Rc::new(stream);
                        if let Err(error) = converse(&stream, handler, &parting).await {
                            tracing::debug!("a client's connection ended: {error}");
                        }
                        open.send_modify(|count| *count -= 1);
                    });
                }
                Err(error) => {
                    // No descriptor is left, most likely: give those that are served time to end.
                    tracing::warn!("cannot accept a connection: {error}");
                    // A person who wants to bring it all down has to get in.
                    if descriptors::are_used_up(&error) {
                        descriptors::release_reserve();
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// From now on connections whose request is answered stay open, for [`Server::parting`].
    pub fn keep_parting(&self, keep: bool) {
        self.parting.keep.set(keep);
        if !keep {
            self.parting.kept.borrow_mut().clear();
        }
    }

    /// The connections that were kept open. Their clients see the end when the last copy is closed.
    #[must_use]
    pub fn parting(&self) -> Vec<OwnedFd> {
        self.parting.kept.borrow().iter().filter_map(|stream| stream.as_fd().try_clone_to_owned().ok()).collect()
    }

    /// Whether somebody connected who is not served yet.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let mut fds = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
    }
}

/// Only the same user, and root, may command; the socket's mode says so too.
fn check_peer(stream: &UnixStream) -> Result<(), String> {
    let peer = stream.peer_cred().map_err(|error| error.to_string())?;
    let own = rustix::process::geteuid().as_raw();
    if peer.uid() == own || peer.uid() == 0 { Ok(()) } else { Err(format!("it came from user {}", peer.uid())) }
}

async fn converse(stream: &Rc<UnixStream>, handler: Rc<dyn Handler>, parting: &Parting) -> Result<(), FrameError> {
    let connection = Connection { shared: Rc::new(Shared::default()) };
    let writer = tokio::task::spawn_local(write_all(Rc::clone(stream), connection.clone()));
    let mut incoming = Incoming::default();
    let result = async {
        let Some(hello) = read(stream, &mut incoming).await? else { return Ok(()) };
        let hello: Hello = serde_json::from_slice(&hello)?;
        connection.send(&Hello::ours(), Vec::new());
        if hello.protocol != Hello::ours().protocol {
            return Ok(());
        }
        let Some(body) = read(stream, &mut incoming).await? else { return Ok(()) };
        let request = serde_json::from_slice(&body)?;
        // The client's further messages, and its end, are seen while the request is answered.
        let reader = {
            let (stream, connection) = (Rc::clone(stream), connection.clone());
            tokio::task::spawn_local(async move {
                while let Ok(Some(body)) = read(&stream, &mut incoming).await {
                    connection.shared.received.borrow_mut().push_back(body);
                    connection.shared.arrived.notify_waiters();
                }
                connection.shared.close();
            })
        };
        handler.handle(request, connection.clone()).await;
        reader.abort();
        Ok(())
    }
    .await;
    connection.shared.finished.set(true);
    connection.shared.outgoing_changed.notify_one();
    let _ = writer.await;
    connection.shared.close();
    if parting.keep.get() {
        parting.kept.borrow_mut().push(Rc::clone(stream));
    }
    result
}

/// The next message. One with descriptors ends the connection: what a client holds is not for a container, and nobody here
/// has another use for it.
async fn read(stream: &UnixStream, incoming: &mut Incoming) -> Result<Option<Vec<u8>>, FrameError> {
    loop {
        stream.readable().await?;
        let mut outcome = None;
        let attempt = stream.try_io(Interest::READABLE, || match incoming.receive(stream) {
            Err(FrameError::Io(error)) => Err(error),
            other => {
                outcome = Some(other);
                Ok(())
            }
        });
        match (attempt, outcome) {
            (Err(error), _) if error.kind() == io::ErrorKind::WouldBlock => {}
            (Err(error), _) => return Err(error.into()),
            (Ok(()), Some(Ok(Some(Received::Frame { body, fds })))) if fds.is_empty() => return Ok(Some(body)),
            (Ok(()), Some(Ok(Some(Received::Frame { .. })))) => return Err(FrameError::Descriptors),
            (Ok(()), Some(Ok(Some(Received::End)))) => return Ok(None),
            (Ok(()), Some(Err(error))) => return Err(error),
            (Ok(()), _) => {}
        }
    }
}

async fn write_all(stream: Rc<UnixStream>, connection: Connection) {
    loop {
        let next = connection.shared.outgoing.borrow_mut().pop_front();
        let Some((bytes, fds)) = next else {
            if connection.shared.finished.get() {
                return;
            }
            connection.shared.outgoing_changed.notified().await;
            continue;
        };
        if let Err(error) = write(&stream, &bytes, &fds).await {
            tracing::debug!("a client left: {error}");
            connection.shared.close();
            return;
        }
        connection.shared.backlog.set(connection.shared.backlog.get() - bytes.len());
    }
}

async fn write(stream: &UnixStream, bytes: &[u8], fds: &[OwnedFd]) -> io::Result<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        stream.writable().await?;
        let fds: Vec<_> = if sent == 0 { fds.iter().map(AsFd::as_fd).collect() } else { Vec::new() };
        match stream.try_io(Interest::WRITABLE, || frame::send(stream, &bytes[sent..], &fds)) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A client, as a request's answer sees it. Copies are the same connection.
#[derive(Debug, Clone)]
pub struct Connection {
    shared: Rc<Shared>,
}

type Message = (Vec<u8>, Vec<OwnedFd>);

#[derive(Debug, Default)]
struct Shared {
    outgoing: RefCell<VecDeque<Message>>,
    outgoing_changed: Notify,
    backlog: Cell<usize>,
    received: RefCell<VecDeque<Vec<u8>>>,
    arrived: Notify,
    finished: Cell<bool>,
    closed: Cell<bool>,
    closing: Notify,
}

impl Shared {
    fn close(&self) {
        self.closed.set(true);
        self.outgoing.borrow_mut().clear();
        self.closing.notify_waiters();
        self.arrived.notify_waiters();
    }
}

impl Connection {
    /// Queues a message. Never waits, never fails: a client that has left misses it.
    pub fn send<T: Serialize>(&self, message: &T, fds: Vec<OwnedFd>) {
        if self.shared.closed.get() {
            return;
        }
        match frame::encode(message) {
            Ok(bytes) => {
                let backlog = self.shared.backlog.get() + bytes.len();
                if backlog > MAX_BACKLOG {
                    tracing::warn!("a client that does not read was cut off");
                    self.shared.close();
                    return;
                }
                self.shared.backlog.set(backlog);
                self.shared.outgoing.borrow_mut().push_back((bytes, fds));
                self.shared.outgoing_changed.notify_one();
            }
            Err(error) => tracing::error!("an answer could not be sent: {error}"),
        }
    }

    /// The client's next message after its request; `None` when it has left.
    pub async fn recv(&self) -> Option<serde_json::Value> {
        loop {
            let arrived = self.shared.arrived.notified();
            let next = self.shared.received.borrow_mut().pop_front();
            if let Some(body) = next {
                if let Ok(value) = serde_json::from_slice(&body) {
                    return Some(value);
                }
                continue;
            }
            if self.shared.closed.get() {
                return None;
            }
            arrived.await;
        }
    }

    /// Returns when the client has left.
    pub async fn closed(&self) {
        loop {
            let closing = self.shared.closing.notified();
            if self.shared.closed.get() {
                return;
            }
            closing.await;
        }
    }

    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.closed.get()
    }
}
