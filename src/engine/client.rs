//! The command's end of the conversation with a project's supervisor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::keeper;
use crate::message::rpc::{ConnectError, FrameError};
use crate::message::{Failure, Request, Response, rpc};
use crate::record::logs::reader::Watch;
use crate::state::{Lock, Paths, ProjectPaths, stuck};

/// A supervisor that says nothing is asked whether it is well every so many looks.
const ASKED_EVERY: u32 = 6;

/// How long a living keeper may take to bring a dead supervisor back.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a conversation failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the supervisor of project {project} ended while it was asked")]
    Ended { project: String },
    #[error("cannot talk to the supervisor of project {project}")]
    Frame { project: String, source: FrameError },
    #[error("cannot wait for the supervisor of project {project}")]
    Wait { project: String, source: std::io::Error },
    #[error("cannot lock project {project}")]
    Lock { project: String, source: std::io::Error },
    #[error("cannot take over project {project} from an older windlass")]
    TakeOver { project: String, source: keeper::SpawnError },
    #[error("cannot start the processes that keep project {project} alive")]
    Start { project: String, source: keeper::SpawnError },
}

/// A connection that carries one request.
#[derive(Debug)]
pub struct Client {
    inner: rpc::Client,
    paths: ProjectPaths,
    /// The connection and `clock`: readable when there is something to do.
    either: Epoll,
    /// It is time to look whether the supervisor is well.
    clock: TimerFd,
    watch: Option<stuck::Watch>,
    /// So often it was looked without having heard anything.
    silent: u32,
}

impl Client {
    /// Connects; `None` when nobody keeps the project alive.
    ///
    /// # Errors
    /// When somebody is there but cannot be talked to.
    pub fn connect(paths: &ProjectPaths) -> Result<Option<Self>, ClientError> {
        match rpc::Client::connect(paths) {
            Ok(inner) => Self::new(inner, paths)
                .map(Some)
                .map_err(|source| ClientError::Wait { project: paths.name().to_owned(), source }),
            Err(ConnectError::Absent { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The same, for who only asks: one of another version, which is to be replaced, is as good as none.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect_to_ours(paths: &ProjectPaths) -> Result<Option<Self>, ClientError> {
        match Self::connect(paths) {
            Err(error) if is_older(&error) => Ok(None),
            connected => connected,
        }
    }

    fn new(inner: rpc::Client, paths: &ProjectPaths) -> io::Result<Self> {
        let clock = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        clock.set(Expiration::Interval(TimeSpec::from_duration(stuck::LOOK)), TimerSetTimeFlags::empty())?;
        let either = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        either.add(inner.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        either.add(&clock, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        let watch = inner.peer().map(stuck::Watch::of);
        Ok(Self { inner, paths: paths.clone(), either, clock, watch, silent: 0 })
    }

    /// Connects, and starts keeper and supervisor first when there are none.
    ///
    /// # Errors
    /// When they cannot be started or reached.
    pub fn connect_or_start(paths: &Paths, project: &ProjectPaths) -> Result<Self, ClientError> {
        match Self::connect(project) {
            Err(error) if is_older(&error) => {}
            Ok(None) => {}
            Ok(Some(client)) => return Ok(client),
            Err(error) => return Err(error),
        }
        let name = || project.name().to_owned();
        // Two commands at once: one starts them, the other finds them started.
        let lock = Lock::acquire(&project.lock()).map_err(|source| ClientError::Lock { project: name(), source })?;
        match Self::connect(project) {
            Err(error) if is_older(&error) => {
                let Ok(Some(keeper)) = keeper::find(project) else { return Err(error) };
                let older = keeper::Predecessor::keeper(&keeper);
                keeper::spawn(paths, project.name(), &lock, Some(&older))
                    .map_err(|source| ClientError::TakeOver { project: name(), source })?;
                return Self::connect(project)?.ok_or_else(|| ClientError::Ended { project: name() });
            }
            Ok(None) => {}
            Ok(Some(client)) => return Ok(client),
            Err(error) => return Err(error),
        }
        // A living keeper brings a dead supervisor back, or is about to leave itself.
        let deadline = Instant::now() + PATIENCE;
        if !matches!(keeper::find(project), Ok(Some(_)))
            && let Some(keeper) = keeper::find_lost(paths, project)
        {
            keeper::revive(project, keeper).map_err(|source| ClientError::Wait { project: name(), source })?;
        }
        while let Some(keeper) = living(paths, project) {
            // Watched before it is tried, so that nothing is missed in between.
            let watch = watch(project).map_err(|source| ClientError::Wait { project: name(), source })?;
            if let Some(client) = Self::connect(project)? {
                return Ok(client);
            }
            if Instant::now() > deadline {
                return Err(ClientError::Ended { project: name() });
            }
            wait(watch.as_ref(), keeper, deadline).map_err(|source| ClientError::Wait { project: name(), source })?;
        }
        keeper::spawn(paths, project.name(), &lock, None)
            .map_err(|source| ClientError::Start { project: name(), source })?;
        Self::connect(project)?.ok_or_else(|| ClientError::Ended { project: name() })
    }

    /// # Errors
    /// When the supervisor has gone.
    pub fn send(&mut self, request: &Request) -> Result<(), ClientError> {
        let project = self.paths.name().to_owned();
        self.inner.send(request).map_err(|source| ClientError::Frame { project, source })
    }

    /// Waits for the next event, or some seconds for [`Response::Quiet`]; an end without `Done` or `Failed` is an error.
    ///
    /// # Errors
    /// When the supervisor has gone, or stands still.
    pub fn receive(&mut self) -> Result<(Response, Vec<OwnedFd>), ClientError> {
        let project = self.paths.name().to_owned();
        if !self.is_heard().map_err(|source| ClientError::Wait { project: project.clone(), source })? {
            self.look()?;
            return Ok((Response::Quiet, Vec::new()));
        }
        self.silent = 0;
        match self.inner.recv() {
            Ok(Some(received)) => Ok(received),
            Ok(None) => Err(ClientError::Ended { project }),
            Err(source) => Err(ClientError::Frame { project, source }),
        }
    }

    /// Waits for something from the supervisor; `false` when it is time to look at it instead.
    fn is_heard(&self) -> io::Result<bool> {
        let mut fds = [self.inner.as_fd(), self.clock.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        loop {
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            return Ok(fds[0].revents().is_some_and(|events| !events.is_empty()));
        }
    }

    /// Whether the supervisor is well: it is not stopped, and now and then it is asked for its name. What it does may take
    /// as long as it likes.
    fn look(&mut self) -> Result<(), ClientError> {
        // Takes the clock's signal away.
        let _ = self.clock.wait();
        self.silent += 1;
        let name = rpc::supervisor_of(self.paths.name());
        if let Some(stuck) = self.watch.as_mut().and_then(|watch| watch.look(&name)) {
            return Err(ConnectError::from(stuck).into());
        }
        if self.silent.is_multiple_of(ASKED_EVERY)
            && let Err(error @ ConnectError::Stuck(_)) = rpc::Client::connect(&self.paths)
        {
            return Err(error.into());
        }
        Ok(())
    }

    /// Hands every event to `seen` until the last one.
    ///
    /// # Errors
    /// The failure that the supervisor told, or that it has gone.
    pub fn run(
        &mut self,
        request: &Request,
        mut seen: impl FnMut(&Response),
    ) -> Result<Result<i32, Failure>, ClientError> {
        self.send(request)?;
        loop {
            let (event, _) = self.receive()?;
            seen(&event);
            match event {
                Response::Done { exit_code } => return Ok(Ok(exit_code)),
                Response::Failed(failure) => return Ok(Err(failure)),
                _ => {}
            }
        }
    }

    /// After the last event: returns when the supervisor has closed the connection, which it does at once unless it
    /// ends itself, or after `limit`.
    pub fn wait_for_end(&mut self, limit: std::time::Duration) {
        if let Err(error) = self.inner.wait_for_end(limit) {
            tracing::debug!("the end of the connection cannot be waited for: {error}");
        }
    }

    /// Readable when [`Client::receive`] has something.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.either.0.as_fd()
    }
}

/// The keeper of a project, also one that is not known any more.
fn living(paths: &Paths, project: &ProjectPaths) -> Option<i32> {
    match keeper::find(project) {
        Ok(Some(keeper)) => Some(keeper.pid),
        _ => keeper::find_lost(paths, project),
    }
}

fn is_older(error: &ClientError) -> bool {
    matches!(error, ClientError::Connect(ConnectError::Version { older: true, .. }))
}

/// Tells when a socket appears in the project's folder; `None` when the folder has gone.
fn watch(project: &ProjectPaths) -> io::Result<Option<Watch>> {
    let mut watch = Watch::new()?;
    match watch.add(project.run()) {
        Ok(_) => Ok(Some(watch)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits for a change of the folder, for the keeper's end, or until `deadline`.
fn wait(watch: Option<&Watch>, keeper: i32, deadline: Instant) -> io::Result<()> {
    let pid = rustix::process::Pid::from_raw(keeper).ok_or(io::ErrorKind::InvalidData)?;
    let keeper = match rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
        Ok(keeper) => keeper,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let mut fds = vec![PollFd::new(keeper.as_fd(), PollFlags::POLLIN)];
    fds.extend(watch.map(|watch| PollFd::new(watch.as_fd(), PollFlags::POLLIN)));
    let left = deadline.saturating_duration_since(Instant::now()).as_millis() + 1;
    match poll(&mut fds, PollTimeout::from(u16::try_from(left).unwrap_or(u16::MAX))) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
