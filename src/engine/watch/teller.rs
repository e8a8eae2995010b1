//! The end of the channel that a watch tells into.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use super::{WatchEvent, raise};
use crate::plan::lower::WatchedRule;
use crate::watch::{Fault, Root};

/// The end of the channel that events go into.
#[derive(Clone)]
pub(super) struct Teller {
    pub(super) events: Sender<WatchEvent>,
    pub(super) ready: Arc<OwnedFd>,
}

impl Teller {
    pub(super) fn send(&self, event: WatchEvent) {
        // Nobody listens any more when the session ends.
        if self.events.send(event).is_ok() {
            raise(&self.ready);
        }
    }

    pub(super) fn warn(&self, text: String, hint: Option<&str>, place: Option<&str>) {
        self.send(WatchEvent::Warning { text, hint: hint.map(str::to_owned), place: place.map(str::to_owned) });
    }

    /// What is under way for a service, which takes its time.
    pub(super) fn said(&self, service: &str, text: &str) {
        self.send(WatchEvent::Said { service: service.to_owned(), text: text.to_owned() });
    }

    pub(super) fn fault(&self, fault: &Fault) {
        let cause = std::error::Error::source(fault).map(|cause| format!(": {cause}")).unwrap_or_default();
        self.warn(format!("{fault}{cause}"), None, None);
    }

    /// A rule that can match nothing.
    pub(super) fn pointless(&self, root: &Root, rule: &WatchedRule) {
        let path = root.path.display();
        if !root.path.exists() {
            let text = format!("there is nothing at {path}");
            self.warn(text, Some("it is watched once it is there"), Some(&rule.place));
        } else if root.filter.ignores_everything() {
            let text = format!("everything at {path} is ignored, so this rule does nothing");
            self.warn(text, Some("look at its `ignore` and at `.dockerignore`"), Some(&rule.place));
        }
    }
}
