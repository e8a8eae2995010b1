//! Taking over: containers of an earlier supervisor, of an earlier keeper, of an earlier life of the machine.
//!
//! A new supervisor knows nothing. It has two witnesses, the records on disk and the keeper, and each may be ahead of
//! the other: the supervisor before may have died between a deed and its record, and the keeper may be a new one that
//! has seen nothing.
//!
//! First all of the keeper's account is taken in, up to `Ready` ([`Handover`]); then the records are read; then each
//! container is judged by both:
//!
//! - The keeper has it, and the record has the same end: that is on disk, and the keeper may forget it. A restart that
//!   was due goes on.
//! - The keeper has it, and the record says anything else: it is adopted with its pidfd, its pipes or terminal, and the
//!   sockets that were held for it. So is one whose start was never written down.
//! - The record says that it runs, and the keeper does not know it (`seek`): the exit record tells its end; else, if
//!   pid, start time and boot are right, the keeper is asked to adopt it; else it has ended, and nobody knows how.
//! - It waits for its restart, and the keeper does not know it: it is started again.
//! - The keeper has one without a record: it is killed, since nobody could ever name it.
//! - The record cannot be read: nothing is touched. A person may repair it, or have a newer version.
//!
//! Ends that the keeper tells are worked on last, when every container is known, and after them what it said while all
//! this went on (`early`). The other way round an end would meet a container that has no process yet, and be taken for
//! that of a start that was undone.
//!
//! Networks come before containers: an adopted one needs its lease and its bridge to be brought to mind. Where nothing
//! runs, only those networks are that still stand; after a reboot nothing is made that nobody has asked for.
//!
//! A container of an earlier boot has ended, and its restart policy does not count: what runs on a machine that was
//! started anew is for a person to say. The boot id tells; without it a pid of then would be some process of now.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::container::{Container, Exit};
use super::error::SupervisorError;
use super::kept::{KeptNetwork, PARTING};
use super::link::Started;
use super::project::{Project, remove_tree};
use crate::keeper::descriptors::HeldProcess;
use crate::keeper::protocol::{ExitRecord, KeeperEvent, KeeperRequest};
use crate::record::{ContainerRecord, ContainerState, Status, signal};
use crate::runtime::spec::{ContainerId, ExitStatus, NetworkNamespace};
use crate::state::record;

/// What the keeper hands to a new supervisor.
#[derive(Debug, Default)]
pub struct Handover {
    running: BTreeMap<ContainerId, Runs>,
    exits: Vec<(ContainerId, Exit)>,
    kept: BTreeMap<ContainerId, KeptNetwork>,
    /// Names of what is kept and of no use.
    useless: Vec<String>,
}

#[derive(Debug)]
struct Runs {
    pid: i32,
    start_time: u64,
    process: HeldProcess,
}

impl Runs {
    /// Without its descriptors nothing of it can be seen but its end, which the keeper tells.
    fn new(pid: i32, start_time: u64, process: io::Result<HeldProcess>) -> Self {
        let process = process.unwrap_or_else(|error| {
            tracing::error!("what process {pid} writes is lost: {error}");
            HeldProcess::default()
        });
        Self { pid, start_time, process }
    }
}

impl Handover {
    /// Takes in one message; `true` when that was all.
    pub fn take(&mut self, event: KeeperEvent, fds: Vec<OwnedFd>) -> bool {
        match event {
            KeeperEvent::Running { container, pid, start_time, brings } => {
                self.running.insert(container, Runs::new(pid, start_time, brings.unpack(fds)));
            }
            KeeperEvent::Exited { container, status, at, oom_killed } => {
                self.exits.push((container, Exit { status, at, oom_killed }));
            }
            KeeperEvent::Held { key } => {
                if key == PARTING {
                    self.useless.push(key);
                } else if let Err(error) = KeptNetwork::take(&mut self.kept, &key, fds) {
                    tracing::warn!("{key} is not taken up: {error}");
                    self.useless.push(key);
                }
            }
            KeeperEvent::Ready => return true,
            _ => {}
        }
        false
    }
}

impl Project {
    /// Loads what is on disk and takes over what runs.
    ///
    /// # Errors
    /// When the containers' folder cannot be read.
    pub async fn take_over(&self, handover: Handover) -> Result<(), SupervisorError> {
        self.load()?;
        self.take_up(handover).await;
        self.take_up_connections().await;
        // Each container is known by now, with what was handed over of it.
        for (event, fds) in self.inner.early.take().into_iter().flatten() {
            self.told(event, fds);
        }
        Ok(())
    }

    async fn take_up(&self, mut handover: Handover) {
        let running: Vec<Rc<Container>> = self.all().into_iter().filter(|container| container.is_running()).collect();
        if running.is_empty() && handover.running.is_empty() {
            self.find_standing_networks().await;
        } else {
            self.find_networks().await;
        }
        for container in self.all() {
            let found = handover.running.remove(container.id());
            let ended = handover.exits.iter().find(|(id, _)| id == container.id()).map(|(_, exit)| exit.at);
            match (container.state().status, found) {
                // The last supervisor had noted the end, and died before it could say so.
                (Status::Exited { finished, .. }, Some(_)) if ended == Some(finished) => {
                    handover.exits.retain(|(id, _)| id != container.id());
                    self.forget(&container);
                }
                (Status::Restarting { finished, .. }, Some(_)) if ended == Some(finished) => {
                    handover.exits.retain(|(id, _)| id != container.id());
                    self.forget(&container);
                    self.restart_after(&container, Duration::from_millis(100));
                }
                (_, Some(runs)) => {
                    let kept = handover.kept.remove(container.id()).unwrap_or_default();
                    self.adopt(&container, runs, kept);
                }
                (Status::Running { pid, start_time, boot_id, started, .. }, None) => {
                    self.seek(&container, pid, start_time, &boot_id, started).await;
                }
                (Status::Restarting { .. }, None) => {
                    self.restart_after(&container, Duration::from_millis(100));
                }
                _ => {}
            }
        }
        for (id, exit) in handover.exits {
            if let Ok(container) = self.find(&id) {
                self.exited(&container, exit);
            }
        }
        // Of containers that nobody knows any more.
        let unreadable = |id: &String| self.inner.unreadable.borrow().iter().any(|(other, _)| other == id);
        for (id, runs) in handover.running.into_iter().filter(|(id, _)| !unreadable(id)) {
            tracing::warn!("container {id} has no record; it is ended");
            if let Some(pidfd) = &runs.process.pidfd {
                let _ = signal::send(pidfd, nix::libc::SIGKILL);
            }
            self.inner.link.tell(KeeperRequest::Forget { container: id }, Vec::new());
        }
        let unused = handover.kept.iter().flat_map(|(id, kept)| kept.keys(id));
        for key in unused.chain(handover.useless) {
            self.inner.link.tell(KeeperRequest::Release { key }, Vec::new());
        }
    }

    fn load(&self) -> Result<(), SupervisorError> {
        let folder = self.inner.project.containers();
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(SupervisorError::io("read", folder)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(SupervisorError::io("read", &folder))?;
            let Ok(id) = entry.file_name().into_string() else { continue };
            let paths = self.inner.project.container(&id);
            match record::read::<ContainerRecord>(&paths.record()) {
                Ok(Some(found)) => {
                    // What runs is known from the keeper; of the rest, it is as if it was never started.
                    let state = record::read_or_set_aside::<ContainerState>(&paths.state()).ok().flatten();
                    let state = state.unwrap_or_else(ContainerState::created);
                    self.inner.network.remember(&id, &state);
                    self.inner.containers.borrow_mut().insert(id, Container::new(found, state, paths));
                }
                // A creation or a removal that was interrupted.
                Ok(None) => {
                    for folder in [paths.run(), paths.data()] {
                        if let Err(error) = remove_tree(folder) {
                            tracing::warn!("cannot remove {}: {error}", folder.display());
                        }
                    }
                    if let Err(error) = self.inner.network.release(&[&id], &[]) {
                        tracing::warn!("{error}");
                    }
                }
                // Somebody may repair it, or have a newer version: nothing is touched.
                Err(error) => {
                    tracing::error!("{error}; the container is left alone");
                    self.inner.unreadable.borrow_mut().push((id, error));
                }
            }
        }
        Ok(())
    }

    /// The networks of containers that run exist; their leases and rules are brought to mind.
    async fn find_networks(&self) {
        let Some(project) = self.record() else { return };
        if let Err(error) = self.inner.network.ensure(&project.networks).await {
            tracing::error!("{error}");
        }
    }

    /// Of a project of which nothing runs, those networks that are still there. What the last boot of the machine had is
    /// made again when a container needs it.
    async fn find_standing_networks(&self) {
        let Some(project) = self.record() else { return };
        let standing = self.inner.network.standing();
        let known: Vec<_> = project.networks.into_iter().filter(|spec| standing.contains(&spec.name)).collect();
        if let Err(error) = self.inner.network.ensure(&known).await {
            tracing::error!("{error}");
        }
    }

    /// A container that the keeper has.
    fn adopt(&self, container: &Rc<Container>, runs: Runs, kept: KeptNetwork) {
        let Runs { pid, start_time, process } = runs;
        let state = container.state();
        let (at, earlier) = match state.status {
            Status::Running { pid: known, started, health, .. } if known == pid => (started, health),
            // It was started, and the supervisor died before it could write that down.
            _ => (Timestamp::now(), None),
        };
        let ago = Duration::try_from(Timestamp::now().duration_since(at)).unwrap_or_default();
        let since = Instant::now().checked_sub(ago).unwrap_or_else(Instant::now);
        if container.record.spec.namespaces.network == NetworkNamespace::Passed {
            match self.inner.network.adopt(&container.networked(), pid, state.endpoints, &state.ports, kept) {
                Ok(attached) => container.live.borrow_mut().network = Some(attached),
                Err(error) => tracing::error!(container = %container.record.name, "its network is lost: {error}"),
            }
        }
        let started = Started { pid, start_time, warnings: Vec::new(), process };
        if let Err(error) = self.started(container, started, at, since, earlier) {
            tracing::error!(container = %container.record.name, "it cannot be taken over: {error}");
        }
    }

    /// A container of which the keeper knows nothing: it has ended, or its keeper died.
    async fn seek(&self, container: &Rc<Container>, pid: i32, start_time: u64, boot_id: &str, started: Timestamp) {
        let known = record::read::<ExitRecord>(&container.paths.exit()).ok().flatten().filter(|exit| exit.pid == pid);
        let exit = match known {
            Some(exit) => Exit { status: exit.status, at: exit.at, oom_killed: exit.oom_killed },
            None if boot_id == self.inner.boot_id
                && crate::state::process::start_time_of_any(pid).is_ok_and(|found| found == start_time) =>
            {
                // The answer is `Running`, and `Exited` when it has ended meanwhile.
                self.inner.link.tell(
                    KeeperRequest::Adopt {
                        spec: Box::new(container.record.spec.clone()),
                        pid,
                        start_time,
                        pipes: container.paths.run().to_owned(),
                        exit_record: container.paths.exit(),
                    },
                    Vec::new(),
                );
                return;
            }
            None => Exit { status: ExitStatus::Unknown, at: Timestamp::now(), oom_killed: false },
        };
        let ran = Duration::try_from(exit.at.duration_since(started)).unwrap_or_default();
        if boot_id == self.inner.boot_id {
            container.update_in_memory(|state| state.oom_killed = exit.oom_killed);
            self.decide_restart(container, exit.status, exit.at, ran, Some(started)).await;
        } else {
            // The machine was started anew: what runs then is for a person to say.
            container.update(|state| {
                state.status = Status::Exited { exit: exit.status, started: Some(started), finished: exit.at };
                state.disconnect();
            });
        }
    }

    /// What the keeper says after the hand-over.
    pub(super) fn told(&self, event: KeeperEvent, fds: Vec<OwnedFd>) {
        if let Some(early) = &mut *self.inner.early.borrow_mut() {
            return early.push((event, fds));
        }
        match event {
            KeeperEvent::Exited { container, status, at, oom_killed } => {
                if let Ok(container) = self.find(&container) {
                    self.exited(&container, Exit { status, at, oom_killed });
                }
            }
            KeeperEvent::Running { container, pid, start_time, brings } => {
                if let Ok(container) = self.find(&container) {
                    self.adopt(&container, Runs::new(pid, start_time, brings.unpack(fds)), KeptNetwork::default());
                }
            }
            other => tracing::warn!(?other, "the keeper said something unexpected"),
        }
    }
}
