//! A watch: one thread sees what changes, and one for each service brings it into the containers, so that a restart
//! that takes long keeps nobody else waiting. What happens is told through a channel.

mod git;
mod teller;
mod watcher;
mod worker;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use self::git::LockOfGit;
use self::teller::Teller;
use self::watcher::Watcher;
use self::worker::Worker;
use crate::message::{Failure, Refreshed};
use crate::plan::Desired;
use crate::plan::lower::{Watched, WatchedRule};
use crate::state::{Paths, ProjectPaths};
use crate::watch::{Action, Filter, Root, Transfer, Tree};

/// What a watch tells.
#[derive(Debug)]
pub enum WatchEvent {
    Warning {
        text: String,
        hint: Option<String>,
        /// Of the file: `services.web.develop.watch[0]`.
        place: Option<String>,
    },
    /// A line of the step that installs a service's packages.
    Said { service: String, text: String },
    /// A batch was dealt with.
    Applied(Applied),
}

/// A batch of one service.
#[derive(Debug)]
pub struct Applied {
    pub service: String,
    /// Each once, in the order in which they are done.
    pub actions: Vec<Action>,
    /// Paths of the host.
    pub files: Vec<PathBuf>,
    /// They were copied before anything has changed.
    pub initial: bool,
    /// From the first change to the beginning of the action.
    pub waited: Duration,
    pub took: Duration,
    pub result: Result<Refreshed, Failure>,
}

/// What a watch is about.
#[derive(Debug, Clone)]
pub struct Subject {
    pub paths: Paths,
    pub project: ProjectPaths,
    pub services: Vec<Watched>,
    pub wanted: Wanted,
}

/// Looks again what a service is to be, now that files have changed.
#[derive(Clone)]
pub struct Wanted(pub Arc<Look>);

type Look = dyn Fn(&str) -> Result<Desired, Failure> + Send + Sync;

impl std::fmt::Debug for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wanted").finish_non_exhaustive()
    }
}

/// A watch that goes on in the background until it is dropped.
#[derive(Debug)]
pub struct Session {
    events: Receiver<WatchEvent>,
    ready: Arc<OwnedFd>,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
    /// Folders that are watched.
    pub folders: usize,
    /// How long it took to begin.
    pub took: Duration,
}

fn raise(fd: &OwnedFd) {
    let _ = rustix::io::write(fd, &1u64.to_ne_bytes());
}

fn lower(fd: &OwnedFd) {
    let mut count = [0u8; 8];
    let _ = rustix::io::read(fd, &mut count);
}

/// What is to be copied into containers before they start.
#[must_use]
pub fn initial(services: &[Watched]) -> Vec<(String, Vec<Transfer>)> {
    let mut all = Vec::new();
    for service in services {
        let rules: Vec<&WatchedRule> = service.rules.iter().filter(|rule| rule.rule.initial_sync).collect();
        let roots = rules.iter().map(|rule| root(rule)).collect();
        if rules.is_empty() {
            continue;
        }
        let Ok((mut tree, _)) = Tree::new(roots) else { continue };
        let lists = rules.iter().enumerate().map(|(index, rule)| (rule, tree.list(index)));
        let transfers: Vec<Transfer> =
            lists.filter_map(|(rule, files)| rule.rule.transfer(files.iter().map(PathBuf::as_path), true).0).collect();
        if !transfers.is_empty() {
            all.push((service.service.clone(), transfers));
        }
    }
    all
}

fn root(rule: &WatchedRule) -> Root {
    Root { path: rule.rule.path.clone(), filter: Filter::new(&rule.rule.path, &rule.rule.lists) }
}

impl Session {
    /// Begins to watch. Files of rules that ask for it are brought into the containers first.
    ///
    /// # Errors
    /// When the kernel has no inotify instance or no thread left.
    pub fn start(subject: Subject) -> Result<Self, Failure> {
        let begin = Instant::now();
        let make = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map(Arc::new);
        let failed = |error: std::io::Error| Failure::caused("cannot begin to watch", &error);
        let (ready, stop) = (make().map_err(|e| failed(e.into()))?, make().map_err(|e| failed(e.into()))?);
        let (sender, events) = channel();
        let tell = Teller { events: sender, ready: Arc::clone(&ready) };
        let mut owners = Vec::new();
        let mut roots = Vec::new();
        for (index, service) in subject.services.iter().enumerate() {
            for (number, rule) in service.rules.iter().enumerate() {
                owners.push((index, number));
                roots.push(root(rule));
            }
        }
        let (tree, faults) = Tree::new(roots).map_err(|fault| Failure::new(fault.to_string()))?;
        for fault in faults {
            tell.fault(&fault);
        }
        for (root, (service, number)) in tree.roots().iter().zip(&owners) {
            tell.pointless(root, &subject.services[*service].rules[*number]);
        }
        let folders = tree.folders();
        let (results, done) = channel();
        let wake = make().map_err(|e| failed(e.into()))?;
        let subject = Arc::new(subject);
        let mut workers = Vec::new();
        for service in &subject.services {
            workers.push(Worker::start(&subject, service, results.clone(), &wake, tell.clone()).map_err(failed)?);
        }
        let watcher = Watcher {
            subject,
            tree,
            owners,
            workers,
            done,
            wake,
            stop: Arc::clone(&stop),
            tell,
            lock: LockOfGit::default(),
        };
        let thread =
            std::thread::Builder::new().name("watch".to_owned()).spawn(move || watcher.run()).map_err(failed)?;
        Ok(Self { events, ready, stop, thread: Some(thread), folders, took: begin.elapsed() })
    }

    /// Readable when [`Session::events`] has something.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }

    /// What has happened since the last time. Never waits.
    pub fn events(&self) -> impl Iterator<Item = WatchEvent> {
        lower(&self.ready);
        self.events.try_iter()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        raise(&self.stop);
        // The workers may be in the middle of a restart, which the supervisor finishes without us.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
