//! The keeper's loop: requests in, processes made and reaped, events out. One thread.
//!
//! One `poll` waits for all there is: SIGCHLD (by a signalfd), the supervisor's socket, the reports of processes in the
//! making, the pidfds of [adopted](super::adopt) containers. Nothing here blocks besides, since everything else would
//! wait with it, and no thread helps: a copy that is cloned while another thread holds the allocator's lock finds it
//! held for ever.
//!
//! A turn of the loop has a fixed order.
//!
//! 1. What processes in the making have reported. A short program starts and ends between two turns; its end is only
//!    understood once it is known that it was a container's. For the same reason an end that nobody claims yet is kept
//!    (`unclaimed`) for as long as any start is under way: its helper may not have told the number yet.
//! 2. Ends of children. The exit record is written while the process is still a zombie, the supervisor is told after
//!    that, and only then is the control group removed. Whoever finds the process gone finds its record, and a
//!    supervisor that dies between the two misses nothing.
//! 3. Requests. They are answered in the order in which they came, but a start is answered when its program has been
//!    executed, or when nothing of it is left; others go on meanwhile.
//! 4. Control groups that were still busy. The kernel may need a moment after the last process; they are tried again
//!    every 5 ms until they are gone.
//!
//! What is told is never lost: a message that the socket does not take waits in [`Link`], and an ended container is
//! kept, with its descriptors, until the supervisor says `Forget`, which it does when the end is on disk. So a new
//! supervisor is told of everything that its predecessor may not have worked on ([`Keeper::connect`]).
//!
//! The loop decides nothing: it returns a [`Turn`] to `process`, which starts supervisors, and ends when there is no
//! more to keep.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{WaitOptions, waitpid};

use crate::keeper::containers::{Container, Streams};
use crate::keeper::descriptors::{HeldProcess, StartBrings, unpack_pipes};
use crate::keeper::link::{Link, Received};
use crate::keeper::other::OtherProcess;
use crate::keeper::pipes::Pipes;
use crate::keeper::protocol::{KeeperEvent, KeeperRequest};
use crate::keeper::terminals::Terminals;
use crate::runtime::cgroup::ControlGroup;
use crate::runtime::spec::{ContainerId, ContainerSpec, ExecSpec, ExitStatus, Namespace};
use crate::runtime::{Descriptors, OtherEnds, Runtime, StartError, StartPoll, Started, Starting};
use crate::state::process;
use crate::sys::{self, fault};

/// Why the loop came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The supervisor is lost: its socket is closed.
    Lost,
    /// A child that is none of ours to know has ended: the supervisor, perhaps.
    Child { pid: i32, status: ExitStatus },
    /// The supervisor's socket answers.
    Serving,
    /// The time that was given is over.
    Timeout,
}

#[derive(Debug)]
pub(super) struct Keeper {
    runtime: Runtime,
    signals: SignalFd,
    pub(super) link: Option<Link>,
    pub(super) containers: BTreeMap<ContainerId, Container>,
    begun: Vec<(Begun, Starting)>,
    /// Failed starts whose process has not been reaped yet.
    failing: Vec<(i32, Begun, StartError)>,
    execs: HashMap<i32, String>,
    /// Ends of processes that a helper has cloned and not reported yet.
    unclaimed: HashMap<i32, ExitStatus>,
    held: BTreeMap<String, Vec<OwnedFd>>,
    /// Of containers that the next supervisor will ask to adopt.
    pub(super) terminals: Terminals,
    /// Control groups that were still busy.
    removals: Vec<ControlGroup>,
    turns: Vec<Turn>,
    pub(super) shutdown: bool,
}

#[derive(Debug)]
enum Begun {
    Container { seq: u64, spec: Box<ContainerSpec>, streams: Option<Pipes>, exit_record: PathBuf },
    Exec { seq: u64, exec: String },
}

impl Begun {
    fn seq(&self) -> u64 {
        match self {
            Self::Container { seq, .. } | Self::Exec { seq, .. } => *seq,
        }
    }
}

const RETRY_REMOVAL: Duration = Duration::from_millis(5);

impl Keeper {
    /// `terminals` are those of containers that will be adopted.
    pub(super) fn new(terminals: Terminals) -> io::Result<Self> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.thread_block()?;
        Ok(Self {
            runtime: Runtime::new()?,
            signals: SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?,
            link: None,
            containers: BTreeMap::new(),
            begun: Vec::new(),
            failing: Vec::new(),
            execs: HashMap::new(),
            unclaimed: HashMap::new(),
            held: BTreeMap::new(),
            terminals,
            removals: Vec::new(),
            turns: Vec::new(),
            shutdown: false,
        })
    }

    /// Whether a start has neither succeeded nor failed yet.
    pub(super) fn is_starting(&self) -> bool {
        !self.begun.is_empty() || !self.failing.is_empty()
    }

    /// Gives up the starts that are under way.
    pub(super) fn abandon_starts(&mut self) {
        for (_, starting) in &self.begun {
            let _ = rustix::process::pidfd_send_signal(&starting.pidfd, rustix::process::Signal::KILL);
        }
    }

    /// Whether anything would be lost if the keeper ended.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_starting() && self.containers.values().all(|c| c.exit.is_some())
    }

    /// Takes up a supervisor and tells it all that is known.
    pub(super) fn connect(&mut self, socket: OwnedFd) -> io::Result<()> {
        self.link = Some(Link::new(socket)?);
        let ids: Vec<_> = self.containers.keys().cloned().collect();
        for id in ids {
            let Some(container) = self.containers.get(&id) else { continue };
            // Also one that has ended: what was told to the last supervisor it may not have worked on.
            let (event, fds) = container.running();
            send(&mut self.link, &event, &fds);
            self.tell_exit(&id);
        }
        for (key, fds) in &self.held {
            let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            send(&mut self.link, &KeeperEvent::Held { key: key.clone() }, &fds);
        }
        send(&mut self.link, &KeeperEvent::Ready, &[]);
        Ok(())
    }

    /// The supervisor has ended.
    pub(super) fn disconnect(&mut self) {
        self.link = None;
    }

    /// Kills every container and waits for its end.
    pub(super) fn kill_all(&mut self) -> io::Result<()> {
        for container in self.containers.values().filter(|c| c.exit.is_none()) {
            self.runtime.cgroup(&container.spec.cgroup.path).kill()?;
        }
        self.abandon_starts();
        while !self.is_idle() || !self.removals.is_empty() {
            self.wait_and_work(Some(RETRY_REMOVAL))?;
        }
        Ok(())
    }

    /// Works until there is something for the caller to decide.
    pub(super) fn run(&mut self, until: Option<Instant>) -> io::Result<Turn> {
        loop {
            if !self.turns.is_empty() {
                return Ok(self.turns.remove(0));
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(Turn::Timeout);
            }
            self.wait_and_work(left)?;
        }
    }

    fn wait_and_work(&mut self, left: Option<Duration>) -> io::Result<()> {
        let timeout =
            if self.removals.is_empty() { left } else { Some(left.unwrap_or(RETRY_REMOVAL).min(RETRY_REMOVAL)) };
        let timeout = timeout.map(|t| Timespec { tv_sec: t.as_secs() as i64, tv_nsec: i64::from(t.subsec_nanos()) });
        let mut polled = vec![PollFd::new(&self.signals, PollFlags::IN)];
        if let Some(link) = &self.link {
            let writable = if link.is_waiting() { PollFlags::OUT } else { PollFlags::empty() };
            polled.push(PollFd::from_borrowed_fd(link.socket(), PollFlags::IN | writable));
        }
        for (_, starting) in &self.begun {
            polled.push(PollFd::from_borrowed_fd(starting.socket(), PollFlags::IN));
        }
        for container in self.containers.values().filter(|c| c.adopted && c.exit.is_none()) {
            if let Some(pidfd) = &container.pidfd {
                polled.push(PollFd::new(pidfd, PollFlags::IN));
            }
        }
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        drop(polled);
        // First what has started, then what has ended: a short process does both between two calls.
        self.advance();
        while let Ok(Some(_)) = self.signals.read_signal() {}
        self.reap();
        self.look_at_adopted();
        self.listen();
        let busy = std::mem::take(&mut self.removals);
        self.removals = busy.into_iter().filter(|group| !group.remove().unwrap_or(true)).collect();
        Ok(())
    }

    fn listen(&mut self) {
        let Some(link) = &mut self.link else { return };
        if link.flush().is_err() {
            return self.lose();
        }
        while let Some(link) = &mut self.link {
            match link.receive() {
                None => return,
                Some(Received::End) => return self.lose(),
                Some(Received::Stripped(request)) => self.refuse(&request),
                Some(Received::Request(request, fds)) => self.handle(*request, fds),
            }
        }
    }

    fn lose(&mut self) {
        self.link = None;
        self.turns.push(Turn::Lost);
    }

    fn handle(&mut self, request: KeeperRequest, fds: Vec<OwnedFd>) {
        match request {
            KeeperRequest::Start { seq, brings, spec, pipes, exit_record } => {
                match self.start(&spec, &pipes, brings, fds) {
                    Ok((starting, streams)) => {
                        self.begun.push((Begun::Container { seq, spec, streams, exit_record }, starting));
                    }
                    Err(error) => send(&mut self.link, &KeeperEvent::Failed { seq, error }, &[]),
                }
            }
            KeeperRequest::Exec { seq, exec, container, spec, piped } => match self.exec(&container, &spec, piped, fds)
            {
                Ok(starting) => self.begun.push((Begun::Exec { seq, exec }, starting)),
                Err(error) => send(&mut self.link, &KeeperEvent::Failed { seq, error }, &[]),
            },
            KeeperRequest::Adopt { spec, pid, start_time, pipes, exit_record } => {
                self.adopt(spec, pid, start_time, &pipes, exit_record);
            }
            KeeperRequest::CloseStdin { container } => {
                if let Some(Container { streams: Streams::Pipes(pipes), .. }) = self.containers.get_mut(&container) {
                    pipes.stdin = None;
                }
            }
            KeeperRequest::Kill { container, exec } => self.kill(&container, exec.as_deref()),
            KeeperRequest::Serving => {
                self.terminals.let_go();
                self.turns.push(Turn::Serving);
            }
            KeeperRequest::Forget { container } => {
                if self.containers.get(&container).is_some_and(|c| c.exit.is_some()) {
                    self.containers.remove(&container);
                }
            }
            KeeperRequest::Hold { key } => {
                self.held.insert(key, fds);
            }
            KeeperRequest::Release { key } => {
                self.held.remove(&key);
            }
            KeeperRequest::CatchUp { seq } => send(&mut self.link, &KeeperEvent::CaughtUp { seq }, &[]),
            KeeperRequest::Ask { seq } => {
                let begun = self.begun.iter().map(|(begun, _)| begun);
                let mut under_way = begun.chain(self.failing.iter().map(|(_, begun, _)| begun));
                if !under_way.any(|begun| begun.seq() == seq) {
                    send(&mut self.link, &KeeperEvent::Unknown { seq }, &[]);
                }
            }
            KeeperRequest::Shutdown => self.shutdown = true,
        }
    }

    fn start(
        &mut self,
        spec: &ContainerSpec,
        folder: &std::path::Path,
        brings: StartBrings,
        fds: Vec<OwnedFd>,
    ) -> Result<(Starting, Option<Pipes>), StartError> {
        let runs = self.containers.get(&spec.id).is_some_and(|c| c.exit.is_none());
        let begins = self.begun.iter().map(|(begun, _)| begun).chain(self.failing.iter().map(|(_, begun, _)| begun));
        let mut begins = begins.filter(|b| matches!(b, Begun::Container { spec: s, .. } if s.id == spec.id));
        if runs || begins.next().is_some() {
            return Err(StartError::new("start", "the container runs already"));
        }
        let failed = |error: io::Error| StartError::io(format!("make the pipes in {}", folder.display()), &error);
        let Descriptors { network, streams } = brings.unpack(fds).map_err(|error| StartError::io("start", &error))?;
        let (pipes, streams) = if spec.process.tty {
            (None, None)
        } else {
            let pipes = Pipes::open(folder).map_err(failed)?;
            let streams = match streams {
                Some(streams) => streams,
                None => Pipes::for_container(folder, spec.process.stdin_open).map_err(failed)?,
            };
            (Some(pipes), Some(streams))
        };
        // Not to be removed any more: it is about to be used again.
        let group = self.runtime.cgroup(&spec.cgroup.path);
        self.removals.retain(|known| known.path() != group.path());
        let containers = &self.containers;
        let peer = |id: &str| {
            if let Some(process) = OtherProcess::parse(id) {
                return process.open();
            }
            let container = containers.get(id).filter(|c| c.exit.is_none())?;
            container.pidfd.as_ref()?.try_clone().ok()
        };
        let starting = self.runtime.start(spec, Descriptors { network, streams }, peer)?;
        Ok((starting, pipes))
    }

    fn exec(&mut self, id: &str, spec: &ExecSpec, piped: [bool; 3], fds: Vec<OwnedFd>) -> Result<Starting, StartError> {
        let container = self.containers.get(id).filter(|c| c.exit.is_none());
        let not_running = || StartError::new("exec", "the container is not running");
        let container = container.ok_or_else(not_running)?;
        let target = container.pidfd.as_ref().ok_or_else(not_running)?;
        let target = target.try_clone().map_err(|error| StartError::io("exec", &error))?;
        let streams = if spec.tty {
            None
        } else {
            Some(unpack_pipes(piped, fds).map_err(|error| StartError::io("exec", &error))?)
        };
        self.runtime.exec(&container.spec, spec, target, streams)
    }

    fn kill(&self, container: &str, exec: Option<&str>) {
        match exec {
            Some(exec) => {
                // Not reaped yet: the number is still its own.
                if let Some((pid, _)) = self.execs.iter().find(|(_, known)| *known == exec) {
                    sys::process::kill(*pid, Signal::SIGKILL as i32);
                }
            }
            None => {
                if let Some(container) = self.containers.get(container).filter(|c| c.exit.is_none())
                    && let Err(error) = self.runtime.cgroup(&container.spec.cgroup.path).kill()
                {
                    tracing::warn!(%error, "a container is not ended");
                }
            }
        }
    }

    /// Says that a request whose descriptors could not be received comes to nothing.
    fn refuse(&mut self, request: &KeeperRequest) {
        if let KeeperRequest::Start { seq, .. } | KeeperRequest::Exec { seq, .. } = request {
            let error = StartError::new("receive", "the keeper of the project has no descriptor left");
            send(&mut self.link, &KeeperEvent::Failed { seq: *seq, error }, &[]);
        }
    }

    /// Takes what processes in the making have reported.
    fn advance(&mut self) {
        for (begun, starting) in std::mem::take(&mut self.begun) {
            match starting.advance() {
                StartPoll::Pending(starting) => self.begun.push((begun, starting)),
                StartPoll::Started(started) => self.started(begun, started),
                StartPoll::Failed { error, pid } => match begun {
                    // The answer waits until nothing of the process is left.
                    Begun::Container { .. } => {
                        self.failing.push((pid, begun, error));
                        if let Some(status) = self.unclaimed.remove(&pid) {
                            self.ended(pid, status);
                        }
                    }
                    Begun::Exec { seq, .. } => send(&mut self.link, &KeeperEvent::Failed { seq, error }, &[]),
                },
            }
        }
        if self.begun.is_empty() {
            self.unclaimed.clear();
        }
    }

    fn started(&mut self, begun: Begun, started: Started) {
        let Started { pid, pidfd, terminal, warnings } = started;
        match begun {
            Begun::Container { seq, spec, streams, exit_record } => {
                let id = spec.id.clone();
                let streams = match (streams, terminal) {
                    (Some(pipes), _) => Streams::Pipes(pipes),
                    (None, Some(master)) => Streams::Terminal(master),
                    (None, None) => Streams::None,
                };
                let start_time = process::start_time_of_any(pid).unwrap_or(0);
                let pidfd = Some(pidfd);
                let container =
                    Container { spec, pid, start_time, pidfd, streams, exit_record, exit: None, adopted: false };
                let (brings, fds) = container.held();
                let event = KeeperEvent::Started { seq, container: id.clone(), pid, start_time, brings, warnings };
                fault::around("tell of a start", || send(&mut self.link, &event, &fds));
                self.containers.insert(id, container);
            }
            Begun::Exec { seq, exec } => {
                let ends = terminal.as_ref().map_or(OtherEnds::None, |master| OtherEnds::Terminal(master.as_fd()));
                let (brings, fds) = HeldProcess { pidfd: Some(pidfd.as_fd()), ends }.pack();
                send(&mut self.link, &KeeperEvent::ExecStarted { seq, exec: exec.clone(), pid, brings }, &fds);
                self.execs.insert(pid, exec);
            }
        }
        if let Some(status) = self.unclaimed.remove(&pid) {
            self.ended(pid, status);
        }
    }

    /// A container's exit is written down while its process is still there to be seen: whoever finds it gone finds how
    /// it ended.
    fn reap(&mut self) {
        while let Some((pid, status)) = sys::process::ended_child() {
            let status = decode(status);
            // It may have ended before its start was noticed.
            self.advance();
            let container = self.running(pid);
            if let Some(id) = &container {
                self.write_exit(id, status);
            }
            let _ = waitpid(rustix::process::Pid::from_raw(pid), WaitOptions::NOHANG);
            match container {
                Some(id) => self.put_away(&id),
                None => self.ended(pid, status),
            }
        }
    }

    /// The container whose first process this child is.
    fn running(&self, pid: i32) -> Option<String> {
        let found = self.containers.iter().find(|(_, c)| c.pid == pid && c.exit.is_none() && !c.adopted);
        found.map(|(id, _)| id.clone())
    }

    fn ended(&mut self, pid: i32, status: ExitStatus) {
        if let Some(index) = self.failing.iter().position(|(failing, ..)| *failing == pid) {
            let (_, begun, error) = self.failing.swap_remove(index);
            if let Begun::Container { spec, .. } = &begun {
                self.clean(spec.clone());
            }
            return send(&mut self.link, &KeeperEvent::Failed { seq: begun.seq(), error }, &[]);
        }
        if let Some(exec) = self.execs.remove(&pid) {
            return send(&mut self.link, &KeeperEvent::ExecExited { exec, status }, &[]);
        }
        if let Some(id) = self.running(pid) {
            return self.container_ended(&id, status);
        }
        if !self.begun.is_empty() {
            self.unclaimed.insert(pid, status);
        }
        self.turns.push(Turn::Child { pid, status });
    }

    pub(super) fn container_ended(&mut self, id: &str, status: ExitStatus) {
        self.write_exit(id, status);
        self.put_away(id);
    }

    fn write_exit(&mut self, id: &str, status: ExitStatus) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let group = self.runtime.cgroup(&container.spec.cgroup.path);
        container.ended(status, group.oom_kills() > 0);
    }

    fn put_away(&mut self, id: &str) {
        let Some(spec) = self.containers.get(id).map(|container| container.spec.clone()) else { return };
        self.tell_exit(id);
        self.clean(spec);
    }

    /// Removes the control group. What still runs in it (a container in a shared pid namespace has such) is killed.
    pub(super) fn clean(&mut self, spec: Box<ContainerSpec>) {
        let group = self.runtime.cgroup(&spec.cgroup.path);
        if spec.namespaces.pid != Namespace::Private {
            let _ = group.kill();
        }
        if let Ok(false) = group.remove() {
            self.removals.push(group);
        }
    }

    pub(super) fn tell_exit(&mut self, id: &str) {
        if let Some(event) = self.containers.get(id).and_then(Container::exited) {
            send(&mut self.link, &event, &[]);
        }
    }
}

/// A wait status in the words of `wait(2)`.
pub(super) fn decode(status: i32) -> ExitStatus {
    match status & 0x7f {
        0 => ExitStatus::Code(status >> 8 & 0xff),
        signal => ExitStatus::Signal(signal),
    }
}

/// A send that fails means that the supervisor is gone; that is noticed where its socket is read.
pub(super) fn send(link: &mut Option<Link>, event: &KeeperEvent, fds: &[std::os::fd::BorrowedFd<'_>]) {
    if let Some(link) = link {
        let _ = link.send(event, fds);
    }
}
