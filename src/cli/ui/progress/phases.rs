//! How long each kind of work took. Several things go on at once; each moment counts for one of them, the one that
//! comes first of all, so that the times add up to the whole.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ProgressEvent, State};

/// What is none of the phases.
pub(super) const OTHER: &str = "other";

/// In the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Pull,
    /// Of toolchains.
    Fetch,
    Stop,
    Remove,
    Install,
    Create,
    Start,
    Wait,
}

#[derive(Debug, Default)]
pub(super) struct Phases {
    /// What is at work, and at what.
    active: BTreeMap<String, Phase>,
    spent: BTreeMap<Phase, Duration>,
    /// Up to when `spent` counts.
    counted: Duration,
}

impl Phases {
    pub(super) fn advance(&mut self, now: Duration, event: &ProgressEvent) {
        if event.parent.is_some() {
            return;
        }
        self.spent = self.count(now);
        self.counted = now;
        match Phase::of(event) {
            Some(phase) => {
                self.spent.entry(phase).or_default();
                self.active.insert(event.id.clone(), phase);
            }
            None => {
                self.active.remove(&event.id);
            }
        }
    }

    /// The phases that there were; the time in which none went on is the last of them.
    pub(super) fn spent(&self, now: Duration) -> Vec<(&'static str, Duration)> {
        let spent = self.count(now);
        let rest = now.saturating_sub(spent.values().sum());
        let phases = spent.into_iter().map(|(phase, time)| (phase.word(), time));
        phases.chain(std::iter::once((OTHER, rest))).collect()
    }

    fn count(&self, now: Duration) -> BTreeMap<Phase, Duration> {
        let mut spent = self.spent.clone();
        if let Some(phase) = self.active.values().min() {
            *spent.entry(*phase).or_default() += now.saturating_sub(self.counted);
        }
        spent
    }
}

impl Phase {
    fn of(event: &ProgressEvent) -> Option<Self> {
        if event.state != State::Working {
            return None;
        }
        if event.id.starts_with("Image ") {
            return Some(Self::Pull);
        }
        match event.status.as_str() {
            "Resolving" | "Downloading" | "Extracting" => Some(Self::Fetch),
            "Installing" => Some(Self::Install),
            "Creating" | "Recreate" => Some(Self::Create),
            "Starting" => Some(Self::Start),
            "Waiting" => Some(Self::Wait),
            "Stopping" | "Restarting" => Some(Self::Stop),
            "Removing" => Some(Self::Remove),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Fetch => "fetch",
            Self::Stop => "stop",
            Self::Remove => "remove",
            Self::Install => "install",
            Self::Create => "create",
            Self::Start => "start",
            Self::Wait => "wait",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_add_up() {
        let mut phases = Phases::default();
        let mut at = |seconds: u64, id: &str, status: &str, state: State| {
            phases.advance(Duration::from_secs(seconds), &ProgressEvent::new(id, status, state));
        };
        at(0, "Toolchain node 22", "Downloading", State::Working);
        at(2, "Toolchain node 22", "Ready", State::Done);
        // While packages are installed, another container is made and started.
        at(2, "Container web", "Installing", State::Working);
        at(3, "Container db", "Creating", State::Working);
        at(4, "Container db", "Starting", State::Working);
        at(6, "Container web", "Installed", State::Done);
        at(7, "Container db", "Started", State::Done);
        let spent = phases.spent(Duration::from_secs(9));
        let seconds: Vec<(&str, u64)> = spent.iter().map(|(phase, time)| (*phase, time.as_secs())).collect();
        assert_eq!(seconds, [("fetch", 2), ("install", 4), ("create", 0), ("start", 1), ("other", 2)]);
    }
}
