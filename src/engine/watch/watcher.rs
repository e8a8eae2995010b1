//! The thread that sees what changes and hands it to the services that it is about.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::git::LockOfGit;
use super::teller::Teller;
use super::worker::{Task, Worker, task};
use super::{Applied, Subject, WatchEvent, lower};
use crate::message::Refresh;
use crate::watch::{Action, Tree};

/// Restarts in a row, each because of a file that changed right after the one before, that make a loop.
const LOOP: u32 = 5;
/// No person saves a file so soon after a restart, time after time.
const SOON: Duration = Duration::from_millis(400);

pub(super) struct Watcher {
    pub(super) subject: Arc<Subject>,
    pub(super) tree: Tree,
    /// Service and rule of each root of the tree.
    pub(super) owners: Vec<(usize, usize)>,
    /// One for each service.
    pub(super) workers: Vec<Worker>,
    pub(super) done: Receiver<(usize, Applied)>,
    pub(super) wake: Arc<OwnedFd>,
    pub(super) stop: Arc<OwnedFd>,
    pub(super) tell: Teller,
    pub(super) lock: LockOfGit,
}

impl Watcher {
    pub(super) fn run(mut self) {
        self.copy_first();
        loop {
            let now = Instant::now();
            let waits = self.workers.iter().filter(|worker| !worker.busy).filter_map(|worker| worker.pending.due());
            let timeout = waits.min().map(|due| due.saturating_duration_since(now)).map(|wait| Timespec {
                tv_sec: wait.as_secs().cast_signed(),
                tv_nsec: i64::from(wait.subsec_nanos()) as _,
            });
            let mut polled = [
                PollFd::from_borrowed_fd(self.tree.as_fd(), PollFlags::IN),
                PollFd::new(&*self.wake, PollFlags::IN),
                PollFd::new(&*self.stop, PollFlags::IN),
            ];
            match poll(&mut polled, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => {
                    return self.tell.warn(format!("the watch has ended: {}", std::io::Error::from(errno)), None, None);
                }
            }
            if !polled[2].revents().is_empty() {
                return;
            }
            lower(&self.wake);
            self.take_results();
            self.see();
            self.begin();
        }
    }

    /// What has changed goes to the services that it is about.
    fn see(&mut self) {
        let changes = match self.tree.read() {
            Ok(changes) => changes,
            Err(fault) => return self.tell.fault(&fault),
        };
        let now = Instant::now();
        for fault in &changes.faults {
            self.tell.fault(fault);
        }
        for change in changes.changes {
            let (service, rule) = self.owners[change.root];
            self.workers[service].pending.add(rule, change.path, change.kind, now);
        }
        if changes.overflow {
            self.tell.warn(
                "more has changed than the kernel could tell; everything is looked at again".to_owned(),
                Some(
                    "files that were deleted meanwhile stay in the containers; `sysctl fs.inotify.max_queued_events` \
                      is how much it can tell",
                ),
                None,
            );
            for root in 0..self.owners.len() {
                let (service, rule) = self.owners[root];
                for path in self.tree.list(root) {
                    self.workers[service].pending.add(rule, path, crate::watch::tree::Kind::Settled, now);
                }
            }
        }
    }

    /// Hands what is due to workers that are free.
    fn begin(&mut self) {
        let now = Instant::now();
        for index in 0..self.workers.len() {
            let worker = &mut self.workers[index];
            if worker.busy || worker.pending.due().is_none_or(|due| due > now) {
                continue;
            }
            let service = &self.subject.services[index];
            let rules = &service.rules;
            let lock = &mut self.lock;
            if rules.iter().any(|rule| lock.is_held(&rule.rule.path)) && worker.pending.hold(now) {
                continue;
            }
            if let Some(batch) = worker.pending.take(now) {
                let mut task = task(service, &batch, &self.tell);
                if task.actions.contains(&Action::Install) {
                    let roots = self.owners.iter().enumerate().filter(|(_, (owner, _))| *owner == index);
                    let copies = roots.filter_map(|(root, (_, number))| {
                        let files = self.tree.list(root);
                        rules[*number].rule.transfer(files.iter().map(PathBuf::as_path), true).0
                    });
                    task.install = Some(copies.collect());
                }
                worker.give(task);
            }
        }
    }

    fn take_results(&mut self) {
        while let Ok((index, applied)) = self.done.try_recv() {
            let worker = &mut self.workers[index];
            worker.busy = false;
            let now = Instant::now();
            let restarted = applied.result.as_ref().is_ok_and(|refreshed| !refreshed.restarted.is_empty());
            if restarted {
                let begun = now.checked_sub(applied.took + applied.waited).unwrap_or(now);
                let again = worker.restarted.is_some_and(|last| begun.saturating_duration_since(last) < SOON);
                worker.in_a_row = if again { worker.in_a_row + 1 } else { 1 };
                worker.restarted = Some(now);
                if worker.in_a_row == LOOP {
                    let file = applied.files.first().map(|file| file.display().to_string()).unwrap_or_default();
                    self.tell.warn(
                        format!("{} is restarted again and again, each time because {file} has changed", applied.service),
                        Some("if the service writes this file itself, name it in `.dockerignore`, `.gitignore` or the rule's `ignore`"),
                        None,
                    );
                }
            }
            self.tell.send(WatchEvent::Applied(applied));
        }
    }

    /// `initial_sync`: what differs is copied before anything else is done for the service.
    fn copy_first(&mut self) {
        for root in 0..self.owners.len() {
            let (service, number) = self.owners[root];
            let rule = &self.subject.services[service].rules[number];
            if !rule.rule.initial_sync {
                continue;
            }
            let files = self.tree.list(root);
            let (transfer, _) = rule.rule.transfer(files.iter().map(PathBuf::as_path), true);
            let Some(transfer) = transfer else { continue };
            let request = Refresh {
                service: self.subject.services[service].service.clone(),
                transfers: vec![transfer],
                restart: rule.rule.action.restarts(),
                only_if_changed: true,
                renewed: false,
                exec: Vec::new(),
            };
            let actions = vec![rule.rule.action];
            let task = Task { request, install: None, actions, files, initial: true, since: Instant::now() };
            self.workers[service].give(task);
        }
    }
}
