//! The project's machinery as a handle for the use cases above.
//!
//! A [`Project`] is a counted reference: all copies are one project, on one thread, so its parts are `RefCell`s and not
//! locks. No borrow may live over an `await`. What must hold over one is a lock of its own, `Container::turn`: whoever
//! starts, stops or removes a container holds its turn from the first look to the last write. Above this, `up`, `down`
//! and the like wait for each other; restarts by policy, health checks and a person's `kill` come in between, and the
//! turn is what keeps them apart.
//!
//! Three things are known of a container. Its record says what it is and is never changed. Its state says what it does:
//! it is on disk before anybody who waits for it is woken (`Container::update`). What exists of it at the moment
//! (descriptors, tasks, timers) is in `Live` and dies with this process, so nothing may be there alone that the next
//! supervisor could not be handed or find again.
//!
//! A container comes into being in this order: folders, state, name, record. The record is last, since a folder without
//! one is no container: a crash before leaves something that the next supervisor deletes, never half a container. Going
//! is the reverse (`remove`): the record first, then the folders.
//!
//! [`Project::settle`] is the end of each request that may have been the last one. When nothing is left, the project's
//! folder and control group go too; the process then parts on its own (`parting`), unless somebody comes: whatever is
//! made meanwhile calls [`Project::stay`].
//!
//! When the keeper is lost, nothing new may be made here: its successor's supervisor reads the folder at a moment that
//! this process does not know, and would miss it or take it for damage. `create` refuses then.

mod parting;
mod volumes;

pub use volumes::KnownVolumes;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::rc::Rc;
use std::{fs, io};

use jiff::Timestamp;
use tokio::sync::{Notify, broadcast};

use super::container::{Container, View};
use super::error::{SupervisorError, chain};
use super::holders::Names;
use super::journal::Journal;
use super::link::Link;
use super::network::Network;
use super::preflight::{self, Obstacle};
use crate::keeper;
use crate::network::spec::NetworkSpec;
use crate::network::{Claims, NetworkLease};
use crate::record::event::{ContainerEvent, What};
use crate::record::{ContainerRecord, ContainerState, ProjectRecord};
use crate::runtime::cgroup::{ControlGroup, Layout};
use crate::runtime::spec::{ContainerId, MountKind};
use crate::state::record::{self, Durability, ReadError};
use crate::state::{Paths, ProjectPaths};
use crate::sys::{fault, spread};
use crate::volumes::Store;

/// Events that a slow listener may be behind before it misses some.
const EVENTS: usize = 1024;

/// A message of the keeper with its descriptors.
type Told = (keeper::protocol::KeeperEvent, Vec<OwnedFd>);

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
    events: broadcast::Sender<ContainerEvent>,
    pub journal: Journal,
    /// Nothing is left and nothing is to come: the supervisor may end.
    ending: Cell<bool>,
    ending_changed: Notify,
    keeper_lost: Cell<bool>,
    keeper_changed: Notify,
    /// Containers whose record cannot be read: somebody may repair it, or have a newer version.
    pub unreadable: RefCell<Vec<(ContainerId, ReadError)>>,
    /// Names of other projects' containers.
    pub names: RefCell<Names>,
    /// What the keeper says while the project is taken over.
    pub early: RefCell<Option<Vec<Told>>>,
}

impl Project {
    pub fn new(paths: Paths, name: &str, link: Rc<Link>) -> Result<Self, SupervisorError> {
        let project = paths.project(name);
        let boot_id =
            crate::state::process::boot_id().map_err(SupervisorError::system("read the machine's boot id"))?;
        let cgroups = Layout::detect().map_err(SupervisorError::system("find the control groups"))?;
        // The next `up` writes it anew.
        let record = record::read_or_set_aside::<ProjectRecord>(&project.record())?;
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
                names: RefCell::default(),
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
    pub fn subscribe(&self) -> broadcast::Receiver<ContainerEvent> {
        self.inner.events.subscribe()
    }

    pub(super) fn emit(&self, container: &Container, what: What) {
        tracing::debug!(container = %container.record.name, ?what);
        let event = ContainerEvent {
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
        let record = ContainerRecord { created: jiff::Timestamp::now(), ..record };
        if self.inner.keeper_lost.get() {
            // The next supervisor may have read by now what there is.
            return Err(SupervisorError::KeeperLost);
        }
        if let Some(Obstacle { reason, .. }) = preflight::options(&record).into_iter().next() {
            return Err(SupervisorError::Option { reason });
        }
        let paths = self.inner.project.container(&record.id);
        let state = ContainerState::created();
        let made = (|| {
            for folder in [paths.data(), paths.run()] {
                if let Some(all) = folder.parent() {
                    spread::make(all).map_err(SupervisorError::io("create", all))?;
                }
                make_folder(folder, 0o700)?;
            }
            overlay_folders(&record.spec.rootfs.lower, &record.spec.rootfs.upper, &record.spec.rootfs.work)?;
            for mount in &record.spec.mounts {
                if let MountKind::Overlay { lower, upper: Some(upper), work: Some(work) } = &mount.kind {
                    overlay_folders(lower, upper, work)?;
                }
            }
            record::write(&paths.state(), &state, Durability::Process)?;
            let _names = self.claim_name(&record.name)?;
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

    /// Sets aside the addresses that the file gives to services of its own.
    ///
    /// # Errors
    /// When the leases cannot be read or written.
    pub async fn claim_addresses(&self, claims: Claims) -> Result<(), SupervisorError> {
        Ok(self.inner.network.claim(claims).await?)
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

    /// Looks at a container whose record cannot be read, if there is one.
    pub fn with_unreadable<T>(&self, look: impl FnOnce(&ReadError) -> T) -> Option<T> {
        self.inner.unreadable.borrow().first().map(|(_, error)| look(error))
    }

    /// Ends and removes the containers whose record is damaged.
    ///
    /// # Errors
    /// When one cannot be ended or removed.
    pub async fn remove_damaged(&self) -> Result<(), SupervisorError> {
        loop {
            let Some((id, _)) = self.inner.unreadable.borrow_mut().pop() else { return Ok(()) };
            let group = ControlGroup::new(&self.inner.cgroups, &format!("windlass/{}/{id}", self.inner.project.id()));
            blocking("end a container", move || group.clear().map_err(SupervisorError::system("end a container")))
                .await?;
            // The keeper has seen its end, and writes no more of it.
            self.inner.link.caught_up().await;
            let paths = self.inner.project.container(&id);
            for folder in [paths.run(), paths.data()] {
                remove_tree(folder).map_err(SupervisorError::io("remove", folder))?;
            }
            self.inner.network.release(&[&id], &[])?;
            self.inner.link.tell(keeper::protocol::KeeperRequest::Forget { container: id }, Vec::new());
        }
    }

    /// Gives back the ports that were reserved for these containers and not used.
    pub fn give_back_ports<'a>(&self, containers: impl IntoIterator<Item = &'a str>) {
        containers.into_iter().for_each(|id| self.inner.network.release_reserved(id));
    }

    /// A request is done: gives back what was only reserved, and lets the supervisor end when nothing is left.
    pub async fn settle(&self) {
        for container in self.inner.network.reserved_for() {
            self.inner.network.release_reserved(&container);
        }
        if !self.inner.containers.borrow().is_empty() {
            return;
        }
        // Those of others stay where they are.
        let own = |lease: &NetworkLease| lease.project_id == self.inner.project.id();
        if !self.inner.network.known().iter().any(own) {
            if let Err(error) = self.inner.network.remove_all().await {
                tracing::warn!("{}", chain(&error));
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
    let made = fault::around_file("make the folder", path, || crate::state::folder::make(path));
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
