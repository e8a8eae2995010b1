//! A container that stands still for as long as a client wants it to, and no longer than the client lives.

use super::engine::Engine;
use crate::message::rpc::Connection;
use crate::message::{Failure, Response};
use crate::record::Status;

impl Engine {
    /// Pauses a container that runs until the client gives it up or leaves; it goes on when that is answered. One that is
    /// paused already stays so.
    pub(super) async fn hold(&self, id: &str, connection: &Connection) -> Result<i32, Failure> {
        let failed = |what: &str| format!("cannot {what} container {}", self.project.name_of(id));
        let runs = self.runs_unpaused(id);
        if runs {
            self.project.pause(id).await.map_err(|error| Failure::caused(failed("pause"), &error))?;
        }
        connection.send(&Response::Held, vec![]);
        let _ = connection.recv().await;
        // It may have been ended, removed or unpaused by others.
        if runs
            && self.is_paused(id)
            && let Err(error) = self.project.unpause(id).await
            && self.is_paused(id)
        {
            tracing::warn!("{error}");
            return Err(Failure::caused(failed("unpause"), &error));
        }
        Ok(0)
    }

    fn runs_unpaused(&self, id: &str) -> bool {
        let status = self.project.container(id).map(|view| view.state.status);
        matches!(status, Some(Status::Running { paused: false, .. }))
    }

    fn is_paused(&self, id: &str) -> bool {
        let status = self.project.container(id).map(|view| view.state.status);
        matches!(status, Some(Status::Running { paused: true, .. }))
    }
}
