//! Files of the host into a container, running or not.

use std::path::Path;

use super::error::SupervisorError;
use super::project::{Project, blocking};
use crate::record::Status;
use crate::runtime::StartError;
use crate::runtime::root::{Root, private_mounts};
use crate::runtime::spec::ContainerSpec;
use crate::watch::transfer::{self, Outcome, Owner, Transfer};

impl Project {
    /// Brings files of a container up to date. One that does not run has its root mounted for that, with its volumes
    /// as they will be at its start.
    ///
    /// # Errors
    /// When the root cannot be had; files that could not be written are in the outcome.
    pub async fn sync(&self, id: &str, transfers: Vec<Transfer>) -> Result<Outcome, SupervisorError> {
        let container = self.find(id)?;
        // Nobody starts or removes it meanwhile.
        let _turn = container.turn.lock().await;
        if container.removed.get() {
            return Err(SupervisorError::Unknown { id: id.to_owned() });
        }
        let record = &container.record;
        let user = record.spec.process.user.clone();
        if let Status::Running { pid, start_time, boot_id, .. } = container.state().status {
            let (user, transfers) = (user.clone(), transfers.clone());
            let copied = blocking("copy files", move || match Root::of_process(pid, start_time, &boot_id) {
                Ok(root) => copy(&root, &user, &transfers).map(Some).map_err(SupervisorError::from),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(SupervisorError::system("open the root of the container")(error)),
            });
            match copied.await? {
                Some(outcome) => return Ok(outcome),
                // It has just ended.
                None => self.ended(&container).await,
            }
        }
        let mut spec = record.spec.clone();
        self.prepare_files(&container, &mut spec).await?;
        let place = container.paths.data().to_owned();
        blocking("copy files", move || copy_stopped(&spec, &place, &user, &transfers).map_err(SupervisorError::from))
            .await
    }
}

fn copy(root: &Root, user: &str, transfers: &[Transfer]) -> Result<Outcome, StartError> {
    let (uid, gid) = root.owner(user)?;
    Ok(transfer::apply(root.as_fd(), Owner { uid, gid }, transfers))
}

/// In a thread of its own, with which the mounts go.
fn copy_stopped(spec: &ContainerSpec, place: &Path, user: &str, transfers: &[Transfer]) -> Result<Outcome, StartError> {
    let work = || {
        private_mounts().map_err(|error| StartError::io("mount the root file system", &error))?;
        copy(&Root::of_stopped(spec, place)?, user, transfers)
    };
    std::thread::scope(|scope| match std::thread::Builder::new().spawn_scoped(scope, work) {
        Ok(thread) => {
            let died = || Err(StartError::new("copy files", "the thread for it has died"));
            thread.join().unwrap_or_else(|_| died())
        }
        Err(error) => Err(StartError::io("copy files", &error)),
    })
}
