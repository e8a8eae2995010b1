//! How many descriptors others may make this process hold: whoever connects to a published port or asks for a name
//! chooses how often, so each such use is counted, and waits once there are enough.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The descriptors of one use for a whole project. Copies share it.
#[derive(Debug, Clone)]
pub struct Budget {
    free: Arc<Semaphore>,
    total: usize,
}

/// The share of one port or container: no single one uses up what all have.
#[derive(Debug, Clone)]
pub struct Share {
    project: Arc<Semaphore>,
    own: Arc<Semaphore>,
}

/// Held for as long as the descriptors are.
#[derive(Debug)]
pub struct Taken {
    _project: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

impl Budget {
    #[must_use]
    pub fn new(descriptors: usize) -> Self {
        let total = descriptors.clamp(MIN, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(total)), total }
    }

    /// Half of the project's for one port or container, and no more than `most`.
    #[must_use]
    pub fn share(&self, most: usize) -> Share {
        Share { project: Arc::clone(&self.free), own: Arc::new(Semaphore::new((self.total / 2).min(most))) }
    }
}

/// With fewer nothing works at all.
const MIN: usize = 24;

impl Share {
    /// Waits until there is room for so many descriptors.
    pub async fn take(&self, descriptors: u32) -> Option<Taken> {
        // The own share first: whoever waits for that keeps nothing from others.
        let own = Arc::clone(&self.own).acquire_many_owned(descriptors).await.ok()?;
        let project = Arc::clone(&self.project).acquire_many_owned(descriptors).await.ok()?;
        Some(Taken { _project: project, _own: own })
    }

    /// `None` when there is no room now.
    #[must_use]
    pub fn try_take(&self, descriptors: u32) -> Option<Taken> {
        let own = Arc::clone(&self.own).try_acquire_many_owned(descriptors).ok()?;
        let project = Arc::clone(&self.project).try_acquire_many_owned(descriptors).ok()?;
        Some(Taken { _project: project, _own: own })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_share_leaves_room_for_another_and_all_of_them_have_an_end() {
        let budget = Budget::new(40);
        let (first, second, third) = (budget.share(100), budget.share(100), budget.share(3));
        let taken = first.try_take(20);
        assert!(taken.is_some() && first.try_take(1).is_none(), "half of all for one");
        assert!(third.try_take(4).is_none(), "its own limit");
        let other = second.try_take(20);
        assert!(other.is_some() && third.try_take(1).is_none(), "the project's are used up");
        drop(taken);
        assert!(third.try_take(3).is_some());
    }
}
