//! What somebody else has taken from the project's networks is noticed and made good, also when nobody asks.

use std::time::Duration;

use jiff::Timestamp;

use super::error::SupervisorError;
use super::project::Project;
use crate::network::changes::Changes;
use crate::network::mend::Mended;

/// A change seldom comes alone: a firewall's reload is many.
const SETTLE: Duration = Duration::from_millis(100);
/// Somebody who takes away again and again what is made good is no reason to do nothing else.
const REST: Duration = Duration::from_secs(1);

impl Project {
    /// Compares the kernel with what the project's networks are to be, and makes good what differs. Answers with what was
    /// wrong.
    ///
    /// # Errors
    /// When it cannot be compared or made good.
    pub async fn mend_networks(&self) -> Result<Vec<Mended>, SupervisorError> {
        let attached = self.all().into_iter().filter_map(|container| container.attachment());
        let mended = self.inner.network.mend(attached.collect()).await?;
        for Mended { network, what } in &mended {
            tracing::warn!("network {network}: {what}; mended");
            self.inner.journal.note_mended(network, what, Timestamp::now());
        }
        Ok(mended)
    }

    /// Does so whenever the kernel tells of a change, for as long as the supervisor lives.
    pub async fn look_after_networks(self) {
        let mut changes = match Changes::listen() {
            Ok(changes) => changes,
            Err(error) => {
                tracing::warn!("changes of the network by others are noticed at the next `up` only: {error}");
                return;
            }
        };
        while changes.told().await.is_ok() {
            let about = |changes: &mut Changes| changes.take(self.inner.project.id(), &self.inner.network.known());
            if !about(&mut changes) {
                continue;
            }
            tokio::time::sleep(SETTLE).await;
            about(&mut changes);
            match self.mend_networks().await {
                Ok(mended) if mended.is_empty() => {}
                Ok(_) => tokio::time::sleep(REST).await,
                Err(error) => {
                    tracing::warn!("cannot look after the networks: {}", error.for_messages());
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }
}
