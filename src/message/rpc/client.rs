//! The command's side: blocking.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Hello;
use super::frame::{self, FrameError, Incoming, Received};
use crate::state::ProjectPaths;
use crate::state::stuck::{LOOK, Stuck, Watch};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No keeper, no supervisor: nothing of the project runs, or it died and has to be brought back.
    #[error("project {project} has no supervisor")]
    Absent { project: String },
    #[error("cannot reach the supervisor of project {project}")]
    Io { project: String, source: io::Error },
    #[error("cannot talk to the supervisor of project {project}")]
    Frame { project: String, source: FrameError },
    #[error(transparent)]
    Stuck(#[from] Stuck),
    #[error(
        "the supervisor of project {project} is windlass {theirs} and this is windlass {ours}; \
         use that version, or bring the project down with it first"
    )]
    Version {
        project: String,
        ours: String,
        theirs: String,
        /// Theirs is the older one: ours may take over.
        older: bool,
    },
}

/// The supervisor of a project in a message.
#[must_use]
pub fn supervisor_of(project: &str) -> String {
    format!("the supervisor of project {project}")
}

/// Its first words take a supervisor less than a millisecond; a machine that has no memory left may need this long.
const PATIENCE: Duration = Duration::from_secs(60);

enum Unheard {
    Frame(FrameError),
    Stuck(Stuck),
}

/// A connection to the supervisor of a project.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    incoming: Incoming,
}

impl Client {
    /// Connects and says hello.
    ///
    /// # Errors
    /// When nobody listens, or somebody who speaks another version.
    pub fn connect(paths: &ProjectPaths) -> Result<Self, ConnectError> {
        let project = || paths.name().to_owned();
        let io = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ConnectError::Absent { project: project() },
            _ => ConnectError::Io { project: project(), source },
        };
        // Through a descriptor of the folder: the path may be longer than a socket address can hold.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(paths.run(), flags, Mode::empty()).map_err(|errno| io(errno.into()))?;
        let name = paths.socket().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stream = UnixStream::connect(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd())).map_err(io)?;
        let mut client = Self { stream, incoming: Incoming::default() };
        let frame = |source| match source {
            // It ended between our connecting and its answer.
            FrameError::Io(_) | FrameError::Cut => ConnectError::Absent { project: project() },
            source => ConnectError::Frame { project: project(), source },
        };
        client.send(&Hello::ours()).map_err(frame)?;
        let (hello, _): (Hello, _) = match client.recv_from(paths) {
            Ok(hello) => hello.ok_or_else(|| ConnectError::Absent { project: project() })?,
            Err(Unheard::Frame(error)) => return Err(frame(error)),
            Err(Unheard::Stuck(stuck)) => return Err(stuck.into()),
        };
        let ours = Hello::ours();
        if hello.protocol != ours.protocol {
            return Err(ConnectError::Version {
                project: project(),
                older: hello.protocol < ours.protocol,
                ours: ours.windlass,
                theirs: hello.windlass,
            });
        }
        Ok(client)
    }

    /// The supervisor's process.
    #[must_use]
    pub fn peer(&self) -> Option<i32> {
        let credentials = rustix::net::sockopt::socket_peercred(&self.stream).ok()?;
        Some(credentials.pid.as_raw_nonzero().get())
    }

    /// Waits for an answer that comes at once from a supervisor that is well.
    fn recv_from<T: DeserializeOwned>(&mut self, paths: &ProjectPaths) -> Result<Option<(T, Vec<OwnedFd>)>, Unheard> {
        let io = |error: io::Error| Unheard::Frame(error.into());
        self.stream.set_read_timeout(Some(LOOK)).map_err(io)?;
        let mut watch = self.peer().map(Watch::of);
        let began = Instant::now();
        let answer = loop {
            match self.recv() {
                Err(FrameError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    let Some(watch) = &mut watch else { continue };
                    let what = supervisor_of(paths.name());
                    let late = began.elapsed() > PATIENCE;
                    if let Some(stuck) = watch.look(&what).or_else(|| late.then(|| watch.silent(&what))) {
                        return Err(Unheard::Stuck(stuck));
                    }
                }
                other => break other.map_err(Unheard::Frame)?,
            }
        };
        self.stream.set_read_timeout(None).map_err(io)?;
        Ok(answer)
    }

    /// Sends one message.
    ///
    /// # Errors
    /// When the supervisor has gone.
    pub fn send<T: Serialize>(&mut self, message: &T) -> Result<(), FrameError> {
        let bytes = frame::encode(message)?;
        let mut sent = 0;
        while sent < bytes.len() {
            sent += frame::send(&self.stream, &bytes[sent..], &[])?;
        }
        Ok(())
    }

    /// Waits for the next message with its descriptors; `None` when the supervisor has closed the connection.
    ///
    /// # Errors
    /// When the connection breaks or the message cannot be read.
    pub fn recv<T: DeserializeOwned>(&mut self) -> Result<Option<(T, Vec<OwnedFd>)>, FrameError> {
        loop {
            match self.incoming.receive(&self.stream)? {
                None => {}
                Some(Received::End) => return Ok(None),
                Some(Received::Frame { body, fds }) => return Ok(Some((serde_json::from_slice(&body)?, fds))),
            }
        }
    }

    /// After the last message: waits until supervisor and keeper have ended, when they do (nothing is left of the
    /// project), or the connection is closed. `false` when neither came in time.
    ///
    /// # Errors
    /// When the connection cannot be waited for.
    pub fn wait_for_end(&mut self, limit: Duration) -> io::Result<bool> {
        self.stream.set_read_timeout(Some(limit.max(Duration::from_millis(1))))?;
        let ended = loop {
            match self.incoming.receive(&self.stream) {
                Ok(Some(Received::End)) | Err(FrameError::Cut) => break true,
                Ok(_) => {}
                Err(_) => break false,
            }
        };
        self.stream.set_read_timeout(None)?;
        Ok(ended)
    }

    /// Whether [`Client::recv`] has something to do is for `poll(2)` on this descriptor.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
