//! Whoever follows files asks no process for anything. When those that write them stand still, it is said: nothing would
//! come, without a word.

use std::time::{Duration, Instant};

use super::Context;
use super::ui::error;
use crate::keeper;
use crate::message::rpc::supervisor_of;
use crate::state::ProjectPaths;
use crate::state::stuck::{LOOK, Watch};

/// Looks now and then at the processes behind a project.
pub struct Standstill<'a> {
    context: &'a Context,
    project: &'a ProjectPaths,
    watches: Vec<(String, Watch)>,
    /// It is said once for each time that one stands still.
    told: bool,
    next: Instant,
}

impl<'a> Standstill<'a> {
    #[must_use]
    pub fn new(context: &'a Context, project: &'a ProjectPaths) -> Self {
        Self { context, project, watches: Vec::new(), told: false, next: Instant::now() }
    }

    /// As long may be waited for something else; `left` if that is less.
    #[must_use]
    pub fn at_most(&self, left: Option<Duration>) -> Duration {
        let next = self.next.saturating_duration_since(Instant::now());
        left.map_or(next, |left| left.min(next))
    }

    /// Looks, when it is time to.
    pub fn look(&mut self) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + LOOK;
        let behind = keeper::behind(self.project);
        let keepers = behind.keeper.map(|pid| (keeper::CALLED.to_owned(), pid));
        let supervisors = behind.supervisors.iter().map(|pid| (supervisor_of(self.project.name()), *pid));
        let all: Vec<(String, i32)> = keepers.into_iter().chain(supervisors).collect();
        self.watches.retain(|(_, watch)| all.iter().any(|(_, pid)| *pid == watch.pid()));
        for (what, pid) in all {
            if !self.watches.iter().any(|(_, watch)| watch.pid() == pid) {
                self.watches.push((what, Watch::of(pid)));
            }
        }
        // Each is looked at every time.
        let stuck: Vec<_> = self.watches.iter_mut().filter_map(|(what, watch)| watch.look(what)).collect();
        match stuck.first() {
            Some(stuck) if !self.told => {
                self.told = true;
                eprint!("{}", error::warning(&stuck.to_string(), self.context.palette()));
            }
            Some(_) => {}
            None => self.told = false,
        }
    }
}
