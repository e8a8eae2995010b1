//! The volumes of a project.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::{Project, blocking};
use crate::record::{ProjectRecord, users};
use crate::state::Paths;
use crate::supervisor::container::Container;
use crate::supervisor::error::SupervisorError;
use crate::volumes::{Store, VolumeSpec};

/// What there is of the volumes that a project asks for; to look at, whether or not anybody keeps the project.
#[derive(Debug)]
pub struct KnownVolumes {
    store: Store,
    project: String,
}

impl KnownVolumes {
    #[must_use]
    pub fn of(paths: &Paths, project: &str) -> Self {
        Self { store: Store::new(paths), project: project.to_owned() }
    }

    /// Whether there is such a volume, and whether its packages are all there.
    #[must_use]
    pub fn has_packages(&self, name: &str) -> (bool, bool) {
        (self.has(name), self.store.is_installed(name))
    }

    /// In what a volume that exists differs from what is wanted, so that it would have to be made anew.
    #[must_use]
    pub fn divergence(&self, spec: &VolumeSpec) -> Option<String> {
        self.store.divergence(spec, &self.project)
    }

    /// Of a volume that exists and was not made for this project: for which one, if for any.
    #[must_use]
    pub fn owner_elsewhere(&self, name: &str) -> Option<Option<String>> {
        let owner = self.store.find(name).ok()??.project;
        (owner.as_deref() != Some(self.project.as_str())).then_some(owner)
    }

    /// Which of the project's volumes exist.
    #[must_use]
    pub fn existing(&self, record: Option<&ProjectRecord>) -> BTreeSet<String> {
        let names = record.into_iter().flat_map(|record| &record.volumes).map(|volume| &volume.name);
        names.filter(|name| self.has(name)).cloned().collect()
    }

    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        matches!(self.store.find(name), Ok(Some(_)))
    }

    /// Which of the project's volumes there is something of, those included whose making was interrupted.
    #[must_use]
    pub fn begun(&self, record: Option<&ProjectRecord>) -> BTreeSet<String> {
        let names = record.into_iter().flat_map(|record| &record.volumes).map(|volume| &volume.name);
        let declared = names.filter(|name| self.store.has_begun(name)).cloned();
        declared.chain(self.store.packages_of(&self.project)).collect()
    }
}

impl Project {
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
    pub(in crate::supervisor) fn users_of(&self, volume: &str) -> Vec<String> {
        let containers = self.inner.containers.borrow();
        let uses = |container: &&Rc<Container>| container.record.volumes.iter().any(|uses| uses.volume == volume);
        let stays = |container: &&Rc<Container>| !container.removed.get();
        containers.values().filter(stays).filter(uses).map(|container| container.name()).collect()
    }

    /// Looks for containers of other projects that mount a volume; to be called under the volume's lock.
    pub(in crate::supervisor) fn users_elsewhere(&self, volume: &str) -> impl FnOnce() -> Vec<String> + Send + use<> {
        let (paths, own, volume) = (self.inner.paths.clone(), self.inner.project.name().to_owned(), volume.to_owned());
        move || users::of_volume(&paths, &volume, Some(&own))
    }

    /// What there is of them.
    #[must_use]
    pub fn known_volumes(&self) -> KnownVolumes {
        KnownVolumes::of(&self.inner.paths, self.inner.project.name())
    }

    /// Deletes what removals of volumes have left that were interrupted.
    pub async fn sweep_volumes(&self) {
        let store = self.inner.volumes.clone();
        let _ = tokio::task::spawn_blocking(move || store.sweep()).await;
    }
}
