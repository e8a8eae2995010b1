//! Containers that are restarted because something that they depend on was (`depends_on: { db: { restart: true } }`).

use std::rc::Rc;

use super::container::Container;
use super::project::Project;
use crate::record::{Condition, Dependency, Status};

impl Project {
    /// A container has been brought back: those that run and want to be restarted with it are, as soon as it is what
    /// they need.
    pub(super) fn restart_dependents(&self, container: &Rc<Container>) {
        let service = &container.record.service;
        let wants = |needed: &&Dependency| {
            needed.restart && needed.service == *service && needed.condition != Condition::ServiceCompletedSuccessfully
        };
        for dependent in self.all() {
            let Some(needed) = dependent.record.depends_on.iter().find(wants) else { continue };
            if container.record.oneoff || !dependent.is_running() {
                continue;
            }
            let (project, cause, condition) = (self.clone(), container.id().to_owned(), needed.condition);
            let follower = Rc::clone(&dependent);
            let task = tokio::task::spawn_local(async move {
                if let Err(error) = project.wait(&cause, condition).await {
                    tracing::warn!(container = %follower.record.name, "it is not restarted: {error}");
                    return;
                }
                // From here on it is not aborted any more: what is stopped is started.
                follower.live.borrow_mut().following = None;
                tokio::task::spawn_local(async move { project.follow_restart(&follower).await });
            });
            // Should what it depends on crash again, only the last return of that counts.
            if let Some(before) = dependent.live.borrow_mut().following.replace(task.abort_handle()) {
                before.abort();
            }
        }
    }

    async fn follow_restart(&self, container: &Rc<Container>) {
        if !container.is_running() {
            return;
        }
        tracing::info!(container = %container.record.name, "restarted, because something that it depends on was");
        if let Err(error) = self.stop_to_restart(container.id(), None).await {
            tracing::warn!(container = %container.record.name, "{}", error.for_messages());
        }
        let turn = container.turn.lock().await;
        // Somebody may have stopped or started it meanwhile.
        if container.removed.get() || !matches!(container.state().status, Status::Restarting { .. }) {
            return;
        }
        let started = self.bring_up(container).await;
        drop(turn);
        match started {
            Ok(()) => self.restart_dependents(container),
            Err(error) => {
                tracing::warn!(container = %container.record.name, "cannot be started again: {}", error.for_messages());
                self.give_up_restart(container.id()).await;
            }
        }
    }
}
