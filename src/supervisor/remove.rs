//! Removing containers, many at once: what is slow alone is quick together.

use std::path::PathBuf;
use std::rc::Rc;

use super::container::Container;
use super::error::SupervisorError;
use super::project::{Project, remove_tree};
use crate::record::event::What;
use crate::runtime::cgroup::ControlGroup;
use crate::sys::fault;
use crate::volumes::VolumeError;

/// Threads that delete folders.
const WORKERS: usize = 4;

impl Project {
    /// Removes containers with everything that belongs to them alone; those that run are killed first. With
    /// `volumes` their anonymous volumes go too.
    ///
    /// # Errors
    /// The first failure; the others are removed all the same.
    pub async fn remove(&self, ids: &[String], volumes: bool) -> Result<(), SupervisorError> {
        let mut leaving = Vec::with_capacity(ids.len());
        let mut turns = Vec::with_capacity(ids.len());
        for id in ids {
            // One that is gone already is no fault.
            if let Ok(container) = self.find(id) {
                leaving.push(container);
            }
        }
        for container in &leaving {
            turns.push(container.turn.lock().await);
        }
        let mut failure = None;
        let mut ready: Vec<Rc<Container>> = Vec::with_capacity(leaving.len());
        // Somebody else may have removed one while its turn was waited for.
        for container in leaving.iter().filter(|container| self.find(container.id()).is_ok()) {
            container.cancel_restart();
            container.update_in_memory(|state| state.stopped_by_user = true);
            match if container.is_running() { self.kill_all_of(container).await } else { Ok(()) } {
                Ok(()) => ready.push(Rc::clone(container)),
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        let mut freed = false;
        for container in &ready {
            let network = container.live.borrow_mut().network.take();
            freed |= network.is_some_and(|network| self.inner.network.detach(&container.record, network));
            self.inner.network.release_reserved(container.id());
            self.forget(container);
        }
        if freed {
            self.inner.network.freed().await;
        }
        let names: Vec<&str> = ready.iter().map(|container| container.id()).collect();
        let come_again = |name: &str| {
            let containers = self.inner.containers.borrow();
            containers.values().any(|other| other.record.name == name && !names.contains(&other.id()))
        };
        let gone: Vec<&str> =
            ready.iter().map(|container| container.record.name.as_str()).filter(|name| !come_again(name)).collect();
        // On a full disk this cannot be noted before something is deleted.
        let unreleased = self.inner.network.release(&names, &gone).is_err();
        for container in &ready {
            container.removed.set(true);
        }
        self.clean_volumes(&ready, volumes, &mut failure).await;
        // Without its record a folder is no container any more, whatever happens from here on.
        for container in &ready {
            let record = container.paths.record();
            match fault::around_file("remove", &record, || std::fs::remove_file(&record)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    failure.get_or_insert(SupervisorError::io("remove", record)(error));
                }
                _ => {}
            }
        }
        // Removing a folder is mostly waiting for the kernel: several wait at the same time.
        let share = ready.len().div_ceil(WORKERS).max(1);
        let workers: Vec<_> = ready
            .chunks(share)
            .map(|share| {
                let work: Vec<_> = share
                    .iter()
                    .map(|container| {
                        let folders = [container.paths.run().to_owned(), container.paths.data().to_owned()];
                        (self.cgroup(container), folders)
                    })
                    .collect();
                tokio::task::spawn_blocking(move || delete(work))
            })
            .collect();
        for worker in workers {
            if let Ok(Some(error)) = worker.await {
                failure.get_or_insert(error);
            }
        }
        if unreleased && let Err(error) = self.inner.network.release(&names, &gone) {
            failure.get_or_insert(error.into());
        }
        // Nothing is told before all of it is gone, and nobody ends the supervisor before.
        for container in &ready {
            self.inner.containers.borrow_mut().remove(container.id());
            container.mark_removed();
            self.emit(container, What::Removed);
        }
        drop(turns);
        failure.map_or(Ok(()), Err)
    }

    async fn clean_volumes(&self, removed: &[Rc<Container>], anonymous: bool, failure: &mut Option<SupervisorError>) {
        for used in removed.iter().flat_map(|container| &container.record.volumes) {
            let users = self.users_of(&used.volume);
            if !users.is_empty() {
                continue;
            }
            let result = if used.anonymous && anonymous {
                match self.remove_volume(&used.volume).await {
                    // A container of another project has taken it from one of this.
                    Err(SupervisorError::Volume(VolumeError::InUse { .. })) => Ok(()),
                    result => result,
                }
            } else {
                let (store, name) = (self.inner.volumes.clone(), used.volume.clone());
                let others = self.users_elsewhere(&name);
                super::project::blocking("unmount a volume", move || store.unmount(&name, others)).await
            };
            if let Err(error) = result {
                failure.get_or_insert(error);
            }
        }
    }
}

/// The first failure; the rest is deleted all the same.
fn delete(work: Vec<(ControlGroup, [PathBuf; 2])>) -> Option<SupervisorError> {
    let mut failed = None;
    for (group, folders) in work {
        // The keeper has done so, unless it died; then a process may be left of a start that nobody could note.
        match group.clear() {
            Ok(true) => {}
            Ok(false) => {
                let busy = std::io::Error::from(std::io::ErrorKind::ResourceBusy);
                failed.get_or_insert(SupervisorError::io("end the processes in", group.path())(busy));
            }
            Err(error) => {
                failed.get_or_insert(SupervisorError::io("remove the control group", group.path())(error));
            }
        }
        for folder in folders {
            if let Err(error) = remove_tree(&folder) {
                failed.get_or_insert(SupervisorError::io("remove", folder)(error));
            }
        }
    }
    failed
}
