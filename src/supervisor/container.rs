//! One container as the supervisor knows it: its record, its state, and what exists of it at the moment.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::network::Attached;
use super::output::Output;
use crate::network::spec::PublishedPort;
use crate::record::restarts::Restarts;
use crate::record::{ContainerRecord, ContainerState, EndpointState, Health, HealthStatus, Status};
use crate::runtime::Pipes;
use crate::runtime::spec::ExitStatus;
use crate::state::ContainerPaths;
use crate::state::record::{self, Durability};

/// A container with the state in which it was when it was looked at.
#[derive(Debug, Clone)]
pub struct View {
    pub record: Rc<ContainerRecord>,
    pub state: ContainerState,
}

impl View {
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.state.status, Status::Running { .. })
    }
}

#[derive(Debug)]
pub(super) struct Container {
    pub record: Rc<ContainerRecord>,
    pub paths: ContainerPaths,
    /// What is on disk, for whoever waits for a change.
    state: watch::Sender<ContainerState>,
    /// Held by whoever starts, stops or removes it.
    pub turn: tokio::sync::Mutex<()>,
    pub live: RefCell<Live>,
    pub removed: Cell<bool>,
    /// Something was changed in memory alone.
    unsaved: Cell<bool>,
    failing: Cell<bool>,
}

/// What exists at the moment.
#[derive(Debug)]
pub(super) struct Live {
    pub restarts: Restarts,
    pub network: Option<Attached>,
    pub process: Option<Process>,
    /// Between the request to the keeper and its answer; an exit that is told meanwhile waits.
    pub starting: bool,
    pub early_exit: Option<Exit>,
    pub stopping: Option<Rc<Stopping>>,
    pub restart_timer: Option<AbortHandle>,
    /// It waits for what it depends on, to be restarted with it.
    pub following: Option<AbortHandle>,
    /// What the last start did without.
    pub warnings: Vec<String>,
    /// What the hooks of the last start or stop wrote.
    pub said: Vec<String>,
    /// Whoever starts it has its streams or its terminal.
    pub attaching: Option<Attaching>,
}

/// Where the streams of a container go that somebody starts in the foreground.
#[derive(Debug, Default)]
pub(super) struct Attaching {
    /// stdin, stdout and stderr, unless it has a terminal.
    pub streams: Option<Pipes>,
    /// The master of its terminal, once it runs.
    pub terminal: Option<OwnedFd>,
}

impl Live {
    /// As the state on disk has them.
    pub(super) fn connections(&self) -> (Vec<EndpointState>, Vec<PublishedPort>) {
        match &self.network {
            Some(network) => (network.endpoints.clone(), network.ports()),
            None => (Vec::new(), Vec::new()),
        }
    }
}

#[derive(Debug)]
pub(super) struct Process {
    /// `None` for one that was gone when it was taken over: its end is told next.
    pub pidfd: Option<Rc<OwnedFd>>,
    pub since: Instant,
    pub started: Timestamp,
    /// `None` while the exit is being worked on.
    pub output: Option<Output>,
    pub health: Option<AbortHandle>,
    /// The write end of stdin, or the terminal's master.
    pub input: Option<OwnedFd>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Exit {
    pub status: ExitStatus,
    pub at: Timestamp,
    pub oom_killed: bool,
}

/// What is to become of a container that is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Stop,
    /// Whoever stops it starts it again.
    Restart,
    /// It is unhealthy, and started again after the policy's delay.
    Unhealthy,
}

/// A stop under way; whoever asks again can only make it shorter.
#[derive(Debug)]
pub(super) struct Stopping {
    pub purpose: Cell<Purpose>,
    timeout: Cell<Duration>,
    /// Somebody has asked again, for no time at all: hooks are not waited for either.
    hurried: Cell<bool>,
    changed: tokio::sync::Notify,
}

impl Stopping {
    pub(super) fn new(timeout: Duration, purpose: Purpose) -> Rc<Self> {
        Rc::new(Self {
            purpose: Cell::new(purpose),
            timeout: Cell::new(timeout),
            hurried: Cell::new(false),
            changed: tokio::sync::Notify::new(),
        })
    }

    pub(super) fn shorten(&self, timeout: Duration) {
        self.timeout.set(self.timeout.get().min(timeout));
        self.hurried.set(self.hurried.get() || timeout.is_zero());
        self.changed.notify_waiters();
    }

    /// Returns when somebody has asked again, for no time at all.
    pub(super) async fn hurried(&self) {
        loop {
            let changed = self.changed.notified();
            if self.hurried.get() {
                return;
            }
            changed.await;
        }
    }

    /// Returns when the grace period that began at `since` is over.
    pub(super) async fn over(&self, since: Instant) {
        loop {
            let changed = self.changed.notified();
            if self.timeout.get().is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep_until(since + self.timeout.get()) => return,
                () = changed => {}
            }
        }
    }
}

impl Container {
    pub(super) fn new(record: ContainerRecord, state: ContainerState, paths: ContainerPaths) -> Rc<Self> {
        let restarts = Restarts::new(record.restart.clone(), record.restart_limits.clone(), state.restarts);
        Rc::new(Self {
            record: Rc::new(record),
            paths,
            state: watch::Sender::new(state),
            turn: tokio::sync::Mutex::new(()),
            live: RefCell::new(Live {
                restarts,
                network: None,
                process: None,
                starting: false,
                early_exit: None,
                stopping: None,
                restart_timer: None,
                following: None,
                warnings: Vec::new(),
                said: Vec::new(),
                attaching: None,
            }),
            removed: Cell::new(false),
            unsaved: Cell::new(false),
            failing: Cell::new(false),
        })
    }

    pub(super) fn id(&self) -> &str {
        &self.record.id
    }

    pub(super) fn name(&self) -> String {
        self.record.name.clone()
    }

    pub(super) fn view(&self) -> View {
        View { record: Rc::clone(&self.record), state: self.state() }
    }

    pub(super) fn state(&self) -> ContainerState {
        self.state.borrow().clone()
    }

    pub(super) fn watch(&self) -> watch::Receiver<ContainerState> {
        self.state.subscribe()
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state.borrow().status, Status::Running { .. })
    }

    /// Whether it does not run, and nobody is about to start or remove it.
    pub fn is_at_rest(&self) -> bool {
        let settled = matches!(self.state.borrow().status, Status::Created | Status::Exited { .. });
        let live = self.live.borrow();
        let idle = live.process.is_none() && live.network.is_none() && !live.starting && live.stopping.is_none();
        settled && idle && live.restart_timer.is_none() && !self.removed.get()
    }

    pub(super) fn is_unhealthy(&self) -> bool {
        matches!(
            self.state.borrow().status,
            Status::Running { health: Some(Health { status: HealthStatus::Unhealthy, .. }), .. }
        )
    }

    pub(super) fn is_paused(&self) -> bool {
        matches!(self.state.borrow().status, Status::Running { paused: true, .. })
    }

    /// How long its process has run; nothing when there is none.
    pub(super) fn running_for(&self) -> Duration {
        self.live.borrow().process.as_ref().map(|process| process.since.elapsed()).unwrap_or_default()
    }

    pub(super) fn pidfd(&self) -> Option<Rc<OwnedFd>> {
        self.live.borrow().process.as_ref()?.pidfd.clone()
    }

    /// Changes the state: on disk first, then for those who wait.
    pub(super) fn update(&self, change: impl FnOnce(&mut ContainerState)) {
        let mut state = self.state();
        change(&mut state);
        if self.unsaved.replace(false) || state != *self.state.borrow() {
            self.save(&state);
            self.state.send_replace(state);
        }
    }

    /// Changes what nobody needs after a crash.
    pub(super) fn update_in_memory(&self, change: impl FnOnce(&mut ContainerState)) {
        self.unsaved.set(true);
        self.state.send_modify(change);
    }

    fn save(&self, state: &ContainerState) {
        if self.removed.get() {
            return;
        }
        match record::write(&self.paths.state(), state, Durability::Process) {
            Ok(()) => self.failing.set(false),
            // The container runs on; what is not on disk is known here.
            Err(error) if !self.failing.replace(true) => {
                tracing::error!(container = %self.record.name, "{error}: {}", error.source);
            }
            Err(_) => {}
        }
    }

    /// Wakes all who wait, for the last time.
    pub(super) fn mark_removed(&self) {
        self.removed.set(true);
        self.state.send_modify(|_| {});
    }

    pub(super) fn cancel_restart(&self) {
        if let Some(timer) = self.live.borrow_mut().restart_timer.take() {
            timer.abort();
        }
    }
}
