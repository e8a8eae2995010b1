//! How long each kind of work took: the time in which at least one thing was at it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Event, State};

/// In the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Pull,
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
    pub(super) fn advance(&mut self, now: Duration, event: &Event) {
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

    /// The phases that there were.
    pub(super) fn spent(&self, now: Duration) -> Vec<(&'static str, Duration)> {
        self.count(now).into_iter().map(|(phase, time)| (phase.word(), time)).collect()
    }

    fn count(&self, now: Duration) -> BTreeMap<Phase, Duration> {
        let mut spent = self.spent.clone();
        for phase in self.active.values().collect::<BTreeSet<_>>() {
            *spent.entry(*phase).or_default() += now.saturating_sub(self.counted);
        }
        spent
    }
}

impl Phase {
    fn of(event: &Event) -> Option<Self> {
        if event.state != State::Working {
            return None;
        }
        if event.id.starts_with("Image ") {
            return Some(Self::Pull);
        }
        match event.status.as_str() {
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
            Self::Stop => "stop",
            Self::Remove => "remove",
            Self::Install => "install",
            Self::Create => "create",
            Self::Start => "start",
            Self::Wait => "wait",
        }
    }
}
