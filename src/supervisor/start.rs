//! Starting a container: network, files, ports, then the process. What a failed start has made is undone.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::container::{Attaching, Container, Process};
use super::error::SupervisorError;
use super::etc::{self, Addresses};
use super::link::Started;
use super::output::Output;
use super::preflight::LONGEST_FILE;
use super::probe;
use super::project::{Project, blocking};
use crate::keeper::descriptors::HeldProcess;
use crate::record::event::What;
use crate::record::logs::{LogFile, Rotation, Stream};
use crate::record::{ContainerRecord, ContainerState, Health, HealthStatus, Status, signal};
use crate::runtime::root::Root;
use crate::runtime::spec::{ContainerSpec, Mount, MountKind, NetworkNamespace, Propagation};
use crate::runtime::{OtherEnds, Pipes};
use crate::state::record;
use crate::sys::regular;
use crate::volumes::{self, VolumeSpec, bind, files};

impl Project {
    /// Starts a container; returns when its program has been executed and its `post_start` hooks are done.
    ///
    /// # Errors
    /// With the reason; nothing of the start is left then. When only a hook failed, the container runs.
    pub async fn start(&self, id: &str) -> Result<(), SupervisorError> {
        let container = self.find(id)?;
        let turn = container.turn.lock().await;
        if container.is_paused() {
            return Err(SupervisorError::Paused { name: container.name() });
        }
        if container.is_running() {
            return Ok(());
        }
        container.cancel_restart();
        container.live.borrow_mut().restarts.reset();
        container.update_in_memory(|state| {
            state.stopped_by_user = false;
            state.restarts = 0;
        });
        if let Err(error) = self.bring_up(&container).await {
            drop(turn);
            // One that was stopped to be restarted has ended now.
            self.give_up_restart(id).await;
            return Err(error);
        }
        drop(turn);
        self.run_hooks(&container, "post_start", &container.record.post_start, None).await
    }

    /// Starts a container in the foreground, on these streams unless it has a terminal, whose master then comes back.
    /// What it writes does not go into its log.
    ///
    /// # Errors
    /// As [`Project::start`].
    pub async fn start_attached(&self, id: &str, streams: Option<Pipes>) -> Result<Option<OwnedFd>, SupervisorError> {
        let container = self.find(id)?;
        container.live.borrow_mut().attaching = Some(Attaching { streams, terminal: None });
        let started = self.start(id).await;
        let attached = container.live.borrow_mut().attaching.take();
        started?;
        Ok(attached.and_then(|attached| attached.terminal))
    }

    /// What the last start of a container did without, in words; once.
    #[must_use]
    pub fn start_warnings(&self, id: &str) -> Vec<String> {
        self.find(id).map(|container| std::mem::take(&mut container.live.borrow_mut().warnings)).unwrap_or_default()
    }

    /// Running containers whose terminal was lost, with the keeper and the supervisor that held it killed at once: each by
    /// name and service.
    #[must_use]
    pub fn hung_up(&self) -> Vec<(String, String)> {
        let lost = |container: &Rc<Container>| {
            let live = container.live.borrow();
            let process = live.process.as_ref().filter(|process| process.pidfd.is_some());
            container.record.spec.process.tty && process.is_some_and(|process| process.input.is_none())
        };
        let lost = self.all().into_iter().filter(lost);
        lost.map(|container| (container.record.name.clone(), container.record.service.clone())).collect()
    }

    /// Nobody reads what a container writes any more: it goes into its log from now on. `pipes` are what was read, or
    /// nothing when that was its terminal.
    pub fn log_from_now(&self, id: &str, mut pipes: Vec<(Stream, OwnedFd)>) {
        let Ok(container) = self.find(id) else { return };
        let log = self.log_of(&container);
        let mut live = container.live.borrow_mut();
        let Some(process) = &mut live.process else { return };
        if container.record.spec.process.tty {
            let Some(Ok(master)) = process.input.as_ref().map(OwnedFd::try_clone) else { return };
            pipes = vec![(Stream::Stdout, master)];
        }
        match Output::start(pipes, log) {
            Ok(output) => process.output = Some(output),
            Err(error) => tracing::error!(container = %container.record.name, "its output is not read: {error}"),
        }
    }

    /// Starts a container whose turn the caller holds.
    pub(super) async fn bring_up(&self, container: &Rc<Container>) -> Result<(), SupervisorError> {
        if container.removed.get() {
            return Err(SupervisorError::Unknown { id: container.record.id.clone() });
        }
        match self.try_start(container).await {
            Ok(()) => Ok(()),
            Err(error) => {
                // Whatever of it runs all the same, because nobody answered for it.
                let group = self.cgroup(container);
                let _ = tokio::task::spawn_blocking(move || group.kill()).await;
                self.let_go(container).await;
                container.update(|state| state.error = Some(error.to_string()));
                Err(error)
            }
        }
    }

    /// Gives up the network of a container that does not run.
    pub(super) async fn let_go(&self, container: &Rc<Container>) {
        self.release_network(container).await;
        let state = container.state();
        if !state.endpoints.is_empty() || !state.ports.is_empty() {
            container.update(ContainerState::disconnect);
        }
    }

    /// Returns when its names are gone and its ports free.
    pub(super) async fn release_network(&self, container: &Rc<Container>) {
        let network = container.live.borrow_mut().network.take();
        self.inner.network.release_reserved(container.id());
        if let Some(network) = network
            && self.inner.network.detach(&container.record, network)
        {
            self.inner.network.freed().await;
        }
    }

    async fn try_start(&self, container: &Rc<Container>) -> Result<(), SupervisorError> {
        let record = &container.networked();
        let mut spec = record.spec.clone();
        let network_peer = self.join_peers(&mut spec)?;
        self.prepare_files(container, &mut spec).await?;
        let namespace = self.prepare_network(container).await?;
        let addresses = Addresses {
            own: container.live.borrow().network.as_ref().map(|network| network.addresses()).unwrap_or_default(),
            gateway: self.inner.network.gateway(record),
        };
        match network_peer {
            Some(peer) => etc::share(record, &peer)?,
            None => etc::write(record, &addresses)?,
        }
        let run = container.paths.run();
        crate::state::folder::make(run).map_err(SupervisorError::io("create", run))?;
        // An exit of an earlier run must not be taken for one of this.
        let exit = container.paths.exit();
        record::remove(&exit).map_err(SupervisorError::io("remove", &exit))?;
        // What a supervisor after us would need to go on.
        let (endpoints, ports) = container.live.borrow().connections();
        container.update(|state| {
            state.endpoints = endpoints;
            state.ports = ports;
        });
        container.live.borrow_mut().starting = true;
        let streams = container.live.borrow_mut().attaching.as_mut().and_then(|attaching| attaching.streams.take());
        let start = self.inner.link.start(spec, run.to_owned(), container.paths.exit(), namespace, streams);
        // The packet filter's change and the process need not wait for each other.
        let rules = async {
            if container.live.borrow().connections().1.is_empty() {
                return Ok(());
            }
            self.inner.network.update_rules().await
        };
        let (started, ruled) = tokio::join!(start, rules);
        container.live.borrow_mut().starting = false;
        let early = container.live.borrow_mut().early_exit.take();
        let started = started?;
        if let Err(error) = ruled {
            // Its end is told when nobody knows of its start any more.
            if let Some(pidfd) = &started.process.pidfd {
                let _ = signal::send(pidfd, nix::libc::SIGKILL);
            }
            return Err(error.into());
        }
        for warning in &started.warnings {
            tracing::warn!(container = %record.name, "{warning}");
        }
        container.live.borrow_mut().warnings.clone_from(&started.warnings);
        self.started(container, started, Timestamp::now(), Instant::now(), None)?;
        if let Some(exit) = early {
            self.exited(container, exit);
        }
        Ok(())
    }

    /// The process runs: follows its output and its health.
    pub(super) fn started(
        &self,
        container: &Rc<Container>,
        started: Started,
        at: Timestamp,
        since: Instant,
        earlier: Option<Health>,
    ) -> Result<(), SupervisorError> {
        let record = &container.record;
        let HeldProcess { pidfd, ends } = started.process;
        let (input, pipes) = match ends {
            OtherEnds::None => (None, Vec::new()),
            OtherEnds::Terminal(master) => {
                let copy = master.try_clone().map_err(SupervisorError::system("copy a terminal"))?;
                let pipes = match &mut container.live.borrow_mut().attaching {
                    Some(attaching) => {
                        attaching.terminal = Some(copy);
                        Vec::new()
                    }
                    None => vec![(Stream::Stdout, copy)],
                };
                (Some(master), pipes)
            }
            OtherEnds::Pipes { stdin, stdout, stderr } => {
                (stdin, vec![(Stream::Stdout, stdout), (Stream::Stderr, stderr)])
            }
        };
        let output = Output::start(pipes, self.log_of(container))
            .map_err(SupervisorError::system("read a container's output"))?;
        let health = record.health.is_some().then(|| {
            earlier.clone().unwrap_or(Health { status: HealthStatus::Starting, failing_streak: 0, log: Vec::new() })
        });
        let process =
            Process { pidfd: pidfd.map(Rc::new), since, started: at, output: Some(output), health: None, input };
        let (endpoints, ports) = container.live.borrow().connections();
        container.live.borrow_mut().process = Some(process);
        container.update(|state| {
            state.status = Status::Running {
                pid: started.pid,
                start_time: started.start_time,
                boot_id: self.inner.boot_id.clone(),
                started: at,
                health,
                paused: false,
            };
            state.endpoints = endpoints;
            state.ports = ports;
            state.oom_killed = false;
            state.error = None;
        });
        self.emit(container, What::Started);
        if let Some(spec) = record.health.clone() {
            let task = probe::watch(self.clone(), Rc::clone(container), spec, since, earlier);
            let handle = tokio::task::spawn_local(task).abort_handle();
            if let Some(process) = &mut container.live.borrow_mut().process {
                process.health = Some(handle);
            }
        }
        Ok(())
    }

    fn log_of(&self, container: &Container) -> Option<LogFile> {
        let logging = &container.record.logging;
        if logging.driver == "none" {
            return None;
        }
        let rotation = Rotation::parse(logging).unwrap_or(Rotation { max_size: None, max_files: 1 });
        match LogFile::open(&container.paths.log(), rotation) {
            Ok(log) => Some(log),
            Err(error) => {
                // It runs without a log rather than not at all.
                tracing::error!("cannot open {}: {error}", container.paths.log().display());
                None
            }
        }
    }

    /// The network that goes with the start message: the one of the last run when the policy has brought it back.
    async fn prepare_network(&self, container: &Rc<Container>) -> Result<Option<OwnedFd>, SupervisorError> {
        if container.record.spec.namespaces.network != NetworkNamespace::Passed {
            return Ok(None);
        }
        let record = container.networked();
        for endpoint in &container.state().connected {
            self.inner.network.borrow_network(&endpoint.network).await?;
        }
        let known = container.live.borrow_mut().network.take();
        let mut attached = match known {
            Some(attached) => attached,
            None => self.inner.network.attach(&record).await?,
        };
        let published = self.inner.network.publish(&record, &mut attached);
        let namespace = attached.namespace.try_clone().map_err(SupervisorError::system("duplicate a descriptor"));
        // KeptNetwork also after a failure: whoever undoes the start detaches it.
        container.live.borrow_mut().network = Some(attached);
        published?;
        namespace.map(Some)
    }

    /// Bind sources, volumes, secrets and configs.
    pub(super) async fn prepare_files(
        &self,
        container: &Rc<Container>,
        spec: &mut ContainerSpec,
    ) -> Result<(), SupervisorError> {
        let record = &container.record;
        for source in &record.binds {
            bind::ensure_source(&source.source, source.create, source.like_parent)?;
        }
        if !record.volumes.is_empty() {
            let (store, record) = (self.inner.volumes.clone(), Rc::clone(record));
            let (project, uses) = (self.inner.project.name().to_owned(), record.volumes.clone());
            let layers = record.spec.rootfs.lower.clone();
            blocking("prepare volumes", move || -> Result<(), SupervisorError> {
                for volume in &uses {
                    if volume.anonymous {
                        let spec = VolumeSpec {
                            name: volume.volume.clone(),
                            key: String::new(),
                            driver: "local".to_owned(),
                            driver_opts: Default::default(),
                            labels: [("com.docker.volume.anonymous".to_owned(), String::new())].into(),
                            external: false,
                        };
                        store.ensure(&spec, Some(&project))?;
                    }
                    store.mount(&volume.volume)?;
                    if volume.no_copy {
                        continue;
                    }
                    let source = volumes::source::open_in_layers(&layers, &volume.target)
                        .map_err(SupervisorError::io("read the image's folder for the volume at", &volume.target))?;
                    if let Some(source) = source {
                        store.fill(&volume.volume, std::os::fd::AsFd::as_fd(&source))?;
                    }
                }
                Ok(())
            })
            .await?;
        }
        if !record.files.is_empty() {
            let mut contents = Vec::with_capacity(record.files.len());
            for file in &record.files {
                contents.push(match &file.source {
                    Some(path) => regular::read(path, LONGEST_FILE).map_err(SupervisorError::io("read", path))?,
                    None => file.content.clone(),
                });
            }
            let (uid, gid) = owner_of_files(record)?;
            let specs: Vec<files::FileSpec<'_>> = record
                .files
                .iter()
                .zip(&contents)
                .map(|(file, content)| files::FileSpec {
                    content,
                    uid: file.uid.unwrap_or(uid),
                    gid: file.gid.unwrap_or(gid),
                    mode: file.mode,
                })
                .collect();
            let paths = files::write(&container.paths.files(), &specs)?;
            for (file, source) in record.files.iter().zip(paths) {
                spec.mounts.push(Mount {
                    target: file.target.clone(),
                    kind: MountKind::Bind {
                        source,
                        subpath: None,
                        read_only: true,
                        recursive: false,
                        propagation: Propagation::Rprivate,
                    },
                });
            }
        }
        Ok(())
    }

    /// After the back-off the policy's restart, unless somebody was quicker.
    pub(super) fn restart_after(&self, container: &Rc<Container>, delay: Duration) {
        let (project, weak) = (self.clone(), Rc::downgrade(container));
        let task = tokio::task::spawn_local(async move {
            tokio::time::sleep(delay).await;
            let Some(container) = weak.upgrade() else { return };
            // From here on it is not aborted any more: a start is finished or undone.
            container.live.borrow_mut().restart_timer = None;
            tokio::task::spawn_local(async move { project.restart_now(&container).await });
        });
        container.live.borrow_mut().restart_timer = Some(task.abort_handle());
    }

    async fn restart_now(&self, container: &Rc<Container>) {
        let _turn = container.turn.lock().await;
        if !matches!(container.state().status, Status::Restarting { .. }) || container.removed.get() {
            return;
        }
        match self.bring_up(container).await {
            Ok(()) => self.restart_dependents(container),
            Err(error) => {
                tracing::warn!(container = %container.record.name, "cannot be started again: {}", error.for_messages());
                let status = crate::runtime::spec::ExitStatus::Code(error.exit_code());
                self.decide_restart(container, status, Timestamp::now(), Duration::ZERO, None).await;
            }
        }
    }
}

/// Whose files are that name no owner: the container's user's, by the accounts of its own root.
fn owner_of_files(record: &ContainerRecord) -> Result<(u32, u32), SupervisorError> {
    let user = &record.spec.process.user;
    let is_named = record.files.iter().all(|file| file.uid.is_some() && file.gid.is_some());
    if is_named || matches!(user.as_str(), "" | "0" | "root" | "0:0" | "root:root") {
        return Ok((0, 0));
    }
    let rootfs = &record.spec.rootfs;
    let is_of_host = record
        .spec
        .mounts
        .iter()
        .any(|mount| matches!(mount.kind, MountKind::Overlay { .. }) && mount.target == Path::new("/etc"));
    let failed = SupervisorError::io("read the accounts of the container, for its user", &rootfs.upper);
    let root = match is_of_host {
        true => Root::of_host(),
        false => {
            // What the container has added counts.
            let layers: Vec<PathBuf> = std::iter::once(&rootfs.upper).chain(&rootfs.lower).cloned().collect();
            let folder = volumes::source::open_in_layers(&layers, Path::new("/"));
            folder.and_then(|folder| folder.map(Root::of_folder).ok_or_else(|| io::ErrorKind::NotFound.into()))
        }
    };
    Ok(root.map_err(failed)?.owner(user)?)
}
