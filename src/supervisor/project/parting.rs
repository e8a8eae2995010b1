//! When a supervisor is not needed any more, and what it leaves to the next one.

use std::io;
use std::os::fd::OwnedFd;

use super::Project;

/// For the process around it.
impl Project {
    /// Hears what the keeper says from now on.
    pub fn listen(&self) {
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

    pub async fn keeper_lost(&self) {
        loop {
            let changed = self.inner.keeper_changed.notified();
            if self.inner.keeper_lost.get() {
                return;
            }
            changed.await;
        }
    }

    /// Whether nothing of the project runs or is about to. What is known of it is on disk.
    pub fn is_at_rest(&self) -> bool {
        self.inner.containers.borrow().values().all(|container| container.is_at_rest())
            && self.inner.unreadable.borrow().is_empty()
    }

    /// Returns when nothing of the project runs.
    pub async fn at_rest(&self) {
        let mut events = self.subscribe();
        loop {
            let changed = self.inner.ending_changed.notified();
            if self.is_at_rest() {
                return;
            }
            tokio::select! {
                // One that was missed is as good as one that was heard.
                _ = events.recv() => {}
                () = changed => {}
            }
        }
    }

    /// Something ended of which there is no event.
    pub(in crate::supervisor) fn look_again(&self) {
        self.inner.ending_changed.notify_waiters();
    }

    /// Writes what was changed in memory alone.
    pub fn save(&self) {
        for container in self.all() {
            container.update(|_| {});
        }
    }

    pub fn is_ending(&self) -> bool {
        self.inner.ending.get()
    }

    pub fn stay(&self) {
        self.inner.ending.set(false);
        self.inner.ending_changed.notify_waiters();
    }

    /// Returns when the supervisor may end.
    pub async fn ending(&self) {
        self.ending_is(true).await;
    }

    /// Returns when it may not (any more).
    pub async fn staying(&self) {
        self.ending_is(false).await;
    }

    pub(super) async fn ending_is(&self, wanted: bool) {
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
    pub async fn hand_on(&self) -> Vec<OwnedFd> {
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
