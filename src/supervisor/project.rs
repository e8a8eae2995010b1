//! The project's machinery as a handle for the use cases above.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::rc::Rc;

use jiff::Timestamp;
use tokio::sync::{Notify, broadcast};

use super::container::{Container, View};
use super::error::SupervisorError;
use super::event::{Event, What};
use super::journal::Journal;
use super::link::Link;
use super::logs::Rotation;
use super::network::Network;
use super::record::{ContainerRecord, ContainerState, ProjectRecord, Status};
use super::signal;
use super::users;
use crate::keeper;
use crate::network::spec::NetworkSpec;
use crate::runtime::cgroup::{ControlGroup, Layout};
use crate::runtime::spec::{ContainerId, MountKind};
use crate::state::record::{self, Durability, ReadError};
use crate::state::{Paths, ProjectPaths};
use crate::sys::fault;
use crate::volumes::{Store, VolumeSpec};

/// Events that a slow listener may be behind before it misses some.
const EVENTS: usize = 1024;

/// A message of the keeper with its descriptors.
type Told = (keeper::protocol::Event, Vec<OwnedFd>);

/// A project: its containers, networks and volumes. Copies are the same project.
#[derive(Debug, Clone)]
pub struct Project {
    pub(super) inner: Rc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub paths: Paths,
    pub project: ProjectPaths,
    pub link: Rc<Link>,
    pub network: Rc<Network>,
    pub volumes: Store,
    pub boot_id: String,
    pub cgroups: Layout,
    pub containers: RefCell<BTreeMap<ContainerId, Rc<Container>>>,
    pub record: RefCell<Option<ProjectRecord>>,
    events: broadcast::Sender<Event>,
    journal: Journal,
    /// Nothing is left and nothing is to come: the supervisor may end.
    ending: Cell<bool>,
    ending_changed: Notify,
    keeper_lost: Cell<bool>,
    keeper_changed: Notify,
    /// Containers whose record cannot be read: somebody may repair it, or have a newer version.
    pub unreadable: RefCell<Vec<(ContainerId, ReadError)>>,
    /// What the keeper says while the project is taken over.
    pub early: RefCell<Option<Vec<Told>>>,
}

/// 64 random hexadecimal digits, as Docker's.
#[must_use]
pub fn new_container_id() -> ContainerId {
    let mut bytes = [0u8; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            // Before Linux 3.17 alone.
            Err(_) => break,
        }
    }
    hex::encode(bytes)
}

impl Project {
    pub(super) fn new(paths: Paths, name: &str, link: Rc<Link>) -> Result<Self, SupervisorError> {
        let project = paths.project(name);
        let boot_id =
            crate::state::process::boot_id().map_err(SupervisorError::system("read the machine's boot id"))?;
        let cgroups = Layout::detect().map_err(SupervisorError::system("find the control groups"))?;
        let record = record::read::<ProjectRecord>(&project.record())?;
        let journal = project.events();
        Ok(Self {
            inner: Rc::new(Inner {
                network: Rc::new(Network::new(&paths, &project, Rc::clone(&link))),
                volumes: Store::new(&paths),
                paths,
                project,
                link,
                boot_id,
                cgroups,
                containers: RefCell::default(),
                record: RefCell::new(record),
                events: broadcast::Sender::new(EVENTS),
                journal: Journal::new(journal),
                ending: Cell::new(false),
                ending_changed: Notify::new(),
                keeper_lost: Cell::new(false),
                keeper_changed: Notify::new(),
                unreadable: RefCell::default(),
                early: RefCell::new(Some(Vec::new())),
            }),
        })
    }

    #[must_use]
    pub fn paths(&self) -> &Paths {
        &self.inner.paths
    }

    #[must_use]
    pub fn project_paths(&self) -> &ProjectPaths {
        &self.inner.project
    }

    /// What is known of the project as a whole.
    #[must_use]
    pub fn record(&self) -> Option<ProjectRecord> {
        self.inner.record.borrow().clone()
    }

    /// Notes what is known of the project as a whole.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_record(&self, record: ProjectRecord) -> Result<(), SupervisorError> {
        record::write(&self.inner.project.record(), &record, Durability::Process)?;
        *self.inner.record.borrow_mut() = Some(record);
        self.stay();
        Ok(())
    }

    /// All containers, by name.
    #[must_use]
    pub fn containers(&self) -> Vec<View> {
        let mut views: Vec<View> = self.inner.containers.borrow().values().map(|container| container.view()).collect();
        views.sort_by(|a, b| a.record.name.cmp(&b.record.name));
        views
    }

    #[must_use]
    pub fn container(&self, id: &str) -> Option<View> {
        self.inner.containers.borrow().get(id).map(|container| container.view())
    }

    /// The name of a container, or its short id once it is gone.
    #[must_use]
    pub fn name_of(&self, id: &str) -> String {
        match self.inner.containers.borrow().get(id) {
            Some(container) => container.name(),
            None => id.get(..12).unwrap_or(id).to_owned(),
        }
    }

    /// What happens to containers from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }

    pub(super) fn emit(&self, container: &Container, what: What) {
        tracing::debug!(container = %container.record.name, ?what);
        let event = Event {
            container: container.record.id.clone(),
            name: container.name(),
            service: container.record.service.clone(),
            time: Timestamp::now(),
            what,
        };
        self.inner.journal.note(container, &event);
        // Nobody listening is no fault.
        let _ = self.inner.events.send(event);
    }

    pub(super) fn find(&self, id: &str) -> Result<Rc<Container>, SupervisorError> {
        self.inner.containers.borrow().get(id).cloned().ok_or_else(|| SupervisorError::Unknown { id: id.to_owned() })
    }

    pub(super) fn all(&self) -> Vec<Rc<Container>> {
        self.inner.containers.borrow().values().cloned().collect()
    }

    pub(super) fn cgroup(&self, container: &Container) -> ControlGroup {
        ControlGroup::new(&self.inner.cgroups, &container.record.spec.cgroup.path)
    }

    /// Makes a container: its record and folders. Nothing runs yet.
    ///
    /// # Errors
    /// When something in the record cannot be done, or the disk refuses; nothing is left then.
    pub async fn create(&self, record: ContainerRecord) -> Result<(), SupervisorError> {
        if self.inner.keeper_lost.get() {
            // The next supervisor may have read by now what there is.
            return Err(SupervisorError::KeeperLost);
        }
        let logging = &record.logging;
        if !matches!(logging.driver.as_str(), "" | "json-file" | "local" | "none") {
            let reason = format!("logging driver `{}` is not supported; use json-file, local or none", logging.driver);
            return Err(SupervisorError::Option { reason });
        }
        Rotation::parse(logging).map_err(|reason| SupervisorError::Option { reason })?;
        if signal::parse(&record.stop_signal).is_none() {
            return Err(SupervisorError::Signal { text: record.stop_signal.clone() });
        }
        let paths = self.inner.project.container(&record.id);
        let state = ContainerState {
            status: Status::Created,
            endpoints: Vec::new(),
            ports: Vec::new(),
            restarts: 0,
            stopped_by_user: false,
            oom_killed: false,
            error: None,
        };
        let made = (|| {
            make_folder(paths.data(), 0o700)?;
            make_folder(paths.run(), 0o700)?;
            overlay_folders(&record.spec.rootfs.lower, &record.spec.rootfs.upper, &record.spec.rootfs.work)?;
            for mount in &record.spec.mounts {
                if let MountKind::Overlay { lower, upper: Some(upper), work: Some(work) } = &mount.kind {
                    overlay_folders(lower, upper, work)?;
                }
            }
            record::write(&paths.state(), &state, Durability::Process)?;
            // The record comes last: a folder without one is no container.
            record::write(&paths.record(), &record, Durability::Process)?;
            Ok(())
        })();
        if let Err(error) = made {
            let _ = fs::remove_dir_all(paths.data());
            let _ = fs::remove_dir_all(paths.run());
            return Err(error);
        }
        let container = Container::new(record, state, paths);
        self.inner.containers.borrow_mut().insert(container.record.id.clone(), Rc::clone(&container));
        self.stay();
        self.emit(&container, What::Created);
        Ok(())
    }

    /// Binds the published ports of a container before anything is started. `leaving` are containers that will be
    /// stopped before it starts: what they hold is bound then.
    ///
    /// # Errors
    /// When a port is taken; by whom, when that can be found out.
    pub fn reserve_ports(&self, record: &ContainerRecord, leaving: &BTreeSet<&str>) -> Result<(), SupervisorError> {
        let containers = self.inner.containers.borrow();
        let held: Vec<_> = leaving
            .iter()
            .filter_map(|id| containers.get(*id))
            .filter_map(|container| container.live.borrow().network.as_ref().map(|network| network.ports()))
            .collect();
        self.inner.network.reserve(record, &held)
    }

    /// What of the host keeps containers from the outside all the same, in words for people.
    #[must_use]
    pub fn network_obstacles(&self) -> Vec<String> {
        self.inner.network.obstacles()
    }

    /// # Errors
    /// When the network cannot be as it is asked for.
    pub async fn ensure_network(&self, spec: &NetworkSpec) -> Result<(), SupervisorError> {
        Ok(self.inner.network.ensure(std::slice::from_ref(spec)).await?)
    }

    /// Several at once, which is quicker.
    ///
    /// # Errors
    /// When one of them cannot be as it is asked for.
    pub async fn ensure_networks(&self, specs: &[NetworkSpec]) -> Result<(), SupervisorError> {
        Ok(self.inner.network.ensure(specs).await?)
    }

    /// # Errors
    /// When the kernel refuses, or containers of other projects use one of them.
    pub async fn remove_networks(&self, names: &[String]) -> Result<(), SupervisorError> {
        Ok(self.inner.network.remove(names).await?)
    }

    /// Full names of the project's networks that exist.
    #[must_use]
    pub fn existing_networks(&self) -> BTreeSet<String> {
        self.inner.network.existing()
    }

    /// # Errors
    /// When the volume cannot be as it is asked for.
    pub async fn ensure_volume(&self, spec: &VolumeSpec) -> Result<(), SupervisorError> {
        let (store, spec, project) = (self.inner.volumes.clone(), spec.clone(), self.inner.project.name().to_owned());
        blocking("make a volume", move || store.ensure(&spec, Some(&project)).map(drop)).await
    }

    /// Empties a volume for the packages that are about to be installed.
    ///
    /// # Errors
    /// When there is no such volume, or the disk refuses.
    pub async fn begin_packages(&self, name: &str, open: bool) -> Result<(), SupervisorError> {
        let (store, volume) = (self.inner.volumes.clone(), name.to_owned());
        blocking("empty a volume", move || store.begin_install(&volume, open)).await
    }

    /// The packages of a volume are all there.
    ///
    /// # Errors
    /// When there is no such volume, or the disk refuses.
    pub async fn finish_packages(&self, name: &str) -> Result<(), SupervisorError> {
        let (store, volume) = (self.inner.volumes.clone(), name.to_owned());
        blocking("note a volume", move || store.finish_install(&volume)).await
    }

    /// Brings packages to the disk.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn sync_packages(&self, name: &str) -> Result<(), SupervisorError> {
        let (store, volume) = (self.inner.volumes.clone(), name.to_owned());
        blocking("write a volume to the disk", move || store.sync_install(&volume)).await
    }

    /// Whether there is such a volume, and whether its packages are all there.
    #[must_use]
    pub fn has_packages(&self, name: &str) -> (bool, bool) {
        (matches!(self.inner.volumes.find(name), Ok(Some(_))), self.inner.volumes.is_installed(name))
    }

    /// Removes a volume with all that is in it.
    ///
    /// # Errors
    /// When a container uses it or the disk refuses.
    pub async fn remove_volume(&self, name: &str) -> Result<(), SupervisorError> {
        let (store, volume, users) = (self.inner.volumes.clone(), name.to_owned(), self.users_of(name));
        let others = self.users_elsewhere(name);
        blocking("remove a volume", move || store.remove(&volume, || [users, others()].concat()).map(drop)).await
    }

    /// Names of the containers that mount a volume.
    pub(super) fn users_of(&self, volume: &str) -> Vec<String> {
        let containers = self.inner.containers.borrow();
        let uses = |container: &&Rc<Container>| container.record.volumes.iter().any(|uses| uses.volume == volume);
        containers.values().filter(uses).map(|container| container.name()).collect()
    }

    /// Looks for containers of other projects that mount a volume; to be called under the volume's lock.
    pub(super) fn users_elsewhere(&self, volume: &str) -> impl FnOnce() -> Vec<String> + Send + use<> {
        let (paths, own, volume) = (self.inner.paths.clone(), self.inner.project.name().to_owned(), volume.to_owned());
        move || users::of_volume(&paths, &volume, Some(&own))
    }

    /// Which of the project's volumes exist.
    #[must_use]
    pub fn existing_volumes(&self, record: Option<&ProjectRecord>) -> BTreeSet<String> {
        let names = record.into_iter().flat_map(|record| &record.volumes).map(|volume| &volume.name);
        names.filter(|name| matches!(self.inner.volumes.find(name), Ok(Some(_)))).cloned().collect()
    }

    /// Which of the project's volumes there is something of, those included whose making was interrupted.
    #[must_use]
    pub fn begun_volumes(&self, record: Option<&ProjectRecord>) -> BTreeSet<String> {
        let names = record.into_iter().flat_map(|record| &record.volumes).map(|volume| &volume.name);
        let declared = names.filter(|name| self.inner.volumes.has_begun(name)).cloned();
        declared.chain(self.inner.volumes.packages_of(self.inner.project.name())).collect()
    }

    /// Deletes what removals of volumes have left that were interrupted.
    pub async fn sweep_volumes(&self) {
        let store = self.inner.volumes.clone();
        let _ = tokio::task::spawn_blocking(move || store.sweep()).await;
    }

    /// Looks at a container whose record cannot be read, if there is one.
    pub fn with_unreadable<T>(&self, look: impl FnOnce(&ReadError) -> T) -> Option<T> {
        self.inner.unreadable.borrow().first().map(|(_, error)| look(error))
    }

    /// Ends and removes the containers whose record is damaged.
    ///
    /// # Errors
    /// When one was written by a newer version, or cannot be removed.
    pub async fn remove_damaged(&self) -> Result<(), SupervisorError> {
        loop {
            let Some((id, error)) = self.inner.unreadable.borrow_mut().pop() else { return Ok(()) };
            if matches!(error, ReadError::Newer { .. }) {
                let reason = error.to_string();
                self.inner.unreadable.borrow_mut().push((id, error));
                return Err(SupervisorError::Option { reason });
            }
            let group = ControlGroup::new(&self.inner.cgroups, &format!("windlass/{}/{id}", self.inner.project.id()));
            blocking("end a container", move || group.clear().map_err(SupervisorError::system("end a container")))
                .await?;
            // The keeper has seen its end, and writes no more of it.
            self.inner.link.caught_up().await;
            let paths = self.inner.project.container(&id);
            for folder in [paths.run(), paths.data()] {
                remove_tree(folder).map_err(SupervisorError::io("remove", folder))?;
            }
            self.inner.network.release(&[&id])?;
            self.inner.link.tell(keeper::protocol::Request::Forget { container: id }, Vec::new());
        }
    }

    /// A request is done: gives back what was only reserved, and lets the supervisor end when nothing is left.
    pub async fn settle(&self) {
        for container in self.inner.network.reserved_for() {
            self.inner.network.release_reserved(&container);
        }
        if !self.inner.containers.borrow().is_empty() {
            return;
        }
        if self.existing_networks().is_empty() {
            if let Err(error) = self.inner.network.remove_all().await {
                tracing::warn!("{error}");
            }
            if self.inner.containers.borrow().is_empty() {
                *self.inner.record.borrow_mut() = None;
                self.inner.journal.close();
                if let Err(error) = remove_tree(self.inner.project.data()) {
                    tracing::warn!("cannot remove {}: {error}", self.inner.project.data().display());
                }
                // A keeper that was killed between a container's group and the project's has left the latter.
                let group = ControlGroup::new(&self.inner.cgroups, &format!("windlass/{}", self.inner.project.id()));
                if let Err(error) = group.remove() {
                    tracing::warn!("cannot remove the control group {}: {error}", group.path());
                }
            }
        }
        self.inner.ending.set(true);
        self.inner.ending_changed.notify_waiters();
    }
}

/// For the process around it.
impl Project {
    /// Hears what the keeper says from now on.
    pub(super) fn listen(&self) {
        let project = self.clone();
        tokio::task::spawn_local(async move {
            loop {
                match project.inner.link.next().await {
                    Ok(Some((event, fds))) => project.told(event, fds),
                    Ok(None) => break,
                    Err(error) => {
                        tracing::error!("the keeper cannot be understood: {error}");
                        if error.kind() != io::ErrorKind::InvalidData {
                            break;
                        }
                    }
                }
            }
            project.inner.keeper_lost.set(true);
            project.inner.keeper_changed.notify_waiters();
        });
    }

    pub(super) async fn keeper_lost(&self) {
        loop {
            let changed = self.inner.keeper_changed.notified();
            if self.inner.keeper_lost.get() {
                return;
            }
            changed.await;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inner.containers.borrow().is_empty()
    }

    pub(super) fn is_ending(&self) -> bool {
        self.inner.ending.get()
    }

    pub(super) fn stay(&self) {
        self.inner.ending.set(false);
        self.inner.ending_changed.notify_waiters();
    }

    /// Returns when the supervisor may end.
    pub(super) async fn ending(&self) {
        self.ending_is(true).await;
    }

    /// Returns when it may not (any more).
    pub(super) async fn staying(&self) {
        self.ending_is(false).await;
    }

    async fn ending_is(&self, wanted: bool) {
        loop {
            let changed = self.inner.ending_changed.notified();
            if self.inner.ending.get() == wanted {
                return;
            }
            changed.await;
        }
    }

    /// Gives up what another supervisor takes up: closes what it is to bind, and reads no more. The pipes stay open for
    /// as long as the answer lives, so that nobody who writes to one finds it without a reader.
    pub(super) async fn hand_on(&self) -> Vec<OwnedFd> {
        let mut pipes = Vec::new();
        for container in self.all() {
            container.live.borrow_mut().network = None;
            let output = container.live.borrow_mut().process.as_mut().and_then(|process| process.output.take());
            if let Some(output) = output {
                pipes.extend(output.finish().await);
            }
        }
        pipes
    }
}

/// Runs work that may take long in a thread of its own.
pub(super) async fn blocking<T, E>(
    what: &str,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, SupervisorError>
where
    T: Send + 'static,
    E: Into<SupervisorError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Into::into),
        Err(error) => Err(SupervisorError::System { action: what.to_owned(), source: io::Error::other(error) }),
    }
}

/// A missing folder is as good as a removed one.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    match fault::around_file("remove the folder", path, || fs::remove_dir_all(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn make_folder(path: &Path, mode: u32) -> Result<(), SupervisorError> {
    let made = fault::around_file("make the folder", path, || fs::create_dir_all(path));
    made.map_err(SupervisorError::io("create", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(SupervisorError::io("create", path))
}

/// Upper and work directory of an overlay. What the container sees as the folder is the upper directory: it has the
/// owner and mode of the topmost layer's.
fn overlay_folders(lower: &[std::path::PathBuf], upper: &Path, work: &Path) -> Result<(), SupervisorError> {
    let (uid, gid, mode) = match lower.first().map(fs::metadata) {
        Some(Ok(found)) => (found.uid(), found.gid(), found.mode() & 0o7777),
        _ => (0, 0, 0o755),
    };
    make_folder(upper, mode)?;
    std::os::unix::fs::chown(upper, Some(uid), Some(gid)).map_err(SupervisorError::io("create", upper))?;
    fs::set_permissions(upper, fs::Permissions::from_mode(mode)).map_err(SupervisorError::io("create", upper))?;
    make_folder(work, 0o700)
}
