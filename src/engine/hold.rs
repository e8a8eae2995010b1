//! A container that stands still for as long as a client wants it to, and no longer than the client lives.

use super::message::{Event, Failure};
use super::serve::Engine;
use crate::supervisor::record::Status;
use crate::supervisor::rpc::Connection;

impl Engine {
    /// Pauses a container that runs until the client leaves. One that is paused already stays so.
    pub(super) async fn hold(&self, id: &str, connection: &Connection) -> Result<i32, Failure> {
        let status = self.project.container(id).map(|view| view.state.status);
        let runs = matches!(status, Some(Status::Running { paused: false, .. }));
        let failed = |error| Failure::caused(format!("cannot pause container {}", self.project.name_of(id)), &error);
        if runs {
            self.project.pause(id).await.map_err(failed)?;
        }
        connection.send(&Event::Held, vec![]);
        connection.closed().await;
        if runs && self.project.container(id).is_some() {
            let _ = self.project.unpause(id).await.inspect_err(|error| tracing::warn!("{error}"));
        }
        Ok(0)
    }
}
