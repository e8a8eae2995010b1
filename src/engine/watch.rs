//! A watch: one thread sees what changes, and one for each service brings it into the containers, so that a restart
//! that takes long keeps nobody else waiting. What happens is told through a channel.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::client::Client;
use super::message::{self, Failure, Refresh, Refreshed};
use crate::plan::lower::{Watched, WatchedRule};
use crate::plan::{Desired, UpOptions};
use crate::state::{Paths, ProjectPaths};
use crate::watch::{Action, Batch, Fault, Filter, Pending, Root, Transfer, Tree};

/// What a watch tells.
#[derive(Debug)]
pub enum Event {
    Warning {
        text: String,
        hint: Option<String>,
        /// Of the file: `services.web.develop.watch[0]`.
        place: Option<String>,
    },
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
    events: Receiver<Event>,
    ready: Arc<OwnedFd>,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
    /// Folders that are watched.
    pub folders: usize,
    /// How long it took to begin.
    pub took: Duration,
}

/// Paths above which a hold by git is looked for.
const GIT_LOCK: &str = ".git/index.lock";
/// A lock older than this is left from a git that died.
const STALE: Duration = Duration::from_secs(10);
/// Restarts in a row, each because of a file that changed right after the one before, that make a loop.
const LOOP: u32 = 5;
/// No person saves a file so soon after a restart, time after time.
const SOON: Duration = Duration::from_millis(400);

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
            workers.push(Worker::start(&subject, service, results.clone(), &wake).map_err(failed)?);
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
    pub fn events(&self) -> impl Iterator<Item = Event> {
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

/// The end of the channel that events go into.
struct Teller {
    events: Sender<Event>,
    ready: Arc<OwnedFd>,
}

impl Teller {
    fn send(&self, event: Event) {
        // Nobody listens any more when the session ends.
        if self.events.send(event).is_ok() {
            raise(&self.ready);
        }
    }

    fn warn(&self, text: String, hint: Option<&str>, place: Option<&str>) {
        self.send(Event::Warning { text, hint: hint.map(str::to_owned), place: place.map(str::to_owned) });
    }

    fn fault(&self, fault: &Fault) {
        let cause = std::error::Error::source(fault).map(|cause| format!(": {cause}")).unwrap_or_default();
        self.warn(format!("{fault}{cause}"), None, None);
    }

    /// A rule that can match nothing.
    fn pointless(&self, root: &Root, rule: &WatchedRule) {
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

/// What a worker is to do.
struct Task {
    request: Refresh,
    /// Lock files are among what has changed: all that rules copy, for the containers that are made anew.
    install: Option<Vec<Transfer>>,
    actions: Vec<Action>,
    files: Vec<PathBuf>,
    initial: bool,
    since: Instant,
}

struct Worker {
    tasks: Sender<Task>,
    pending: Pending,
    busy: bool,
    /// When the last restart was done, and how many came one right after the other.
    restarted: Option<Instant>,
    in_a_row: u32,
}

impl Worker {
    fn start(
        subject: &Arc<Subject>,
        service: &Watched,
        results: Sender<(usize, Applied)>,
        wake: &Arc<OwnedFd>,
    ) -> std::io::Result<Self> {
        let (tasks, queue) = channel::<Task>();
        let index = subject.services.iter().position(|other| other.service == service.service).unwrap_or(0);
        let (subject, wake, name) = (Arc::clone(subject), Arc::clone(wake), service.service.clone());
        std::thread::Builder::new().name(format!("watch {name}")).spawn(move || {
            while let Ok(task) = queue.recv() {
                let begin = Instant::now();
                let result = match task.install {
                    None => ask(&subject, task.request),
                    Some(files) => install(&subject, task.request, files),
                };
                let applied = Applied {
                    service: name.clone(),
                    actions: task.actions,
                    files: task.files,
                    initial: task.initial,
                    waited: begin.duration_since(task.since),
                    took: begin.elapsed(),
                    result,
                };
                if results.send((index, applied)).is_err() {
                    return;
                }
                raise(&wake);
            }
        })?;
        Ok(Self { tasks, pending: Pending::default(), busy: false, restarted: None, in_a_row: 0 })
    }

    fn give(&mut self, task: Task) {
        self.busy = self.tasks.send(task).is_ok();
    }
}

fn ask(subject: &Subject, refresh: Refresh) -> Result<Refreshed, Failure> {
    if refresh.transfers.is_empty() && !refresh.restart && !refresh.renewed && refresh.exec.is_empty() {
        return Ok(Refreshed::default());
    }
    let failed =
        |error: &super::client::ClientError| Failure::caused("cannot bring the change into the containers", error);
    let mut client = Client::connect_or_start(&subject.paths, &subject.project).map_err(|error| failed(&error))?;
    let mut refreshed = Refreshed::default();
    let request = message::Request::Refresh(refresh);
    client
        .run(&request, &[], |event| {
            if let message::Event::Refreshed(told) = event {
                refreshed = told.clone();
            }
        })
        .map_err(|error| failed(&error))??;
    Ok(refreshed)
}

/// Makes the service's containers anew when its packages are others now, and does the rest of the request.
fn install(subject: &Subject, mut request: Refresh, files: Vec<Transfer>) -> Result<Refreshed, Failure> {
    let service = request.service.clone();
    let mut desired = (subject.wanted.0)(&service)?;
    if !files.is_empty() {
        desired.initial_sync.insert(service.clone(), files);
    }
    let up = message::Request::Up {
        desired: Box::new(desired),
        options: UpOptions { named: vec![service.clone()], ..UpOptions::default() },
        timeout_ms: None,
        dry_run: false,
    };
    let failed = |error: &super::client::ClientError| {
        Failure::caused(format!("cannot install the packages of {service}"), error)
    };
    let mut client = Client::connect_or_start(&subject.paths, &subject.project).map_err(|error| failed(&error))?;
    let mut refreshed = Refreshed::default();
    client
        .run(&up, &[], |event| match event {
            message::Event::Progress(step) if step.status == "Recreated" => refreshed.restarted.push(step.name.clone()),
            message::Event::Progress(step) => refreshed.installed |= step.status == "Installed",
            message::Event::Warning { text } => refreshed.output.push(text.clone()),
            message::Event::Containers { containers } => refreshed.containers.clone_from(containers),
            _ => {}
        })
        .map_err(|error| failed(&error))??;
    if refreshed.restarted.is_empty() {
        // The content is the same: the file was only touched.
        return ask(subject, request);
    }
    request.transfers.clear();
    request.restart = false;
    request.renewed = true;
    let after = ask(subject, request)?;
    refreshed.restarted.extend(after.restarted);
    refreshed.output.extend(after.output);
    Ok(refreshed)
}

/// Where git says that it is at work.
#[derive(Debug, Default)]
struct LockOfGit {
    known: Vec<(PathBuf, Option<PathBuf>)>,
}

impl LockOfGit {
    /// Whether git is changing the repository that a path is in.
    fn is_held(&mut self, path: &Path) -> bool {
        let lock = match self.known.iter().find(|(known, _)| known == path) {
            Some((_, lock)) => lock.clone(),
            None => {
                let top = path.ancestors().find(|folder| folder.join(".git").is_dir());
                let lock = top.map(|folder| folder.join(GIT_LOCK));
                self.known.push((path.to_owned(), lock.clone()));
                lock
            }
        };
        let Some(found) = lock.and_then(|lock| lock.metadata().ok()) else { return false };
        let age = found.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
        age.is_none_or(|age| age < STALE)
    }
}

struct Watcher {
    subject: Arc<Subject>,
    tree: Tree,
    /// Service and rule of each root of the tree.
    owners: Vec<(usize, usize)>,
    /// One for each service.
    workers: Vec<Worker>,
    done: Receiver<(usize, Applied)>,
    wake: Arc<OwnedFd>,
    stop: Arc<OwnedFd>,
    tell: Teller,
    lock: LockOfGit,
}

impl Watcher {
    fn run(mut self) {
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
            self.tell.send(Event::Applied(applied));
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

/// All that follows from a batch, together: copies first, one restart, then the commands.
fn task(service: &Watched, batch: &Batch, tell: &Teller) -> Task {
    let mut request = Refresh { service: service.service.clone(), ..Refresh::default() };
    let mut actions: Vec<Action> = Vec::new();
    let mut files: Vec<PathBuf> = Vec::new();
    let mut refused = Vec::new();
    for (index, rule) in service.rules.iter().enumerate() {
        let mine: Vec<&Path> =
            batch.paths.iter().filter(|(rule, _)| *rule == index).map(|(_, path)| path.as_path()).collect();
        if mine.is_empty() {
            continue;
        }
        let action = rule.rule.action;
        actions.push(action);
        files.extend(mine.iter().map(|path| (*path).to_owned()));
        let (transfer, strange) = rule.rule.transfer(mine, false);
        refused.extend(strange);
        request.transfers.extend(transfer);
        request.restart |= action.restarts();
        request.exec.extend(rule.hook.clone().filter(|_| action == Action::SyncExec));
    }
    for path in refused {
        tell.warn(format!("{} is not copied: its name is not UTF-8", path.display()), None, None);
    }
    actions.sort();
    actions.dedup();
    files.sort();
    files.dedup();
    Task { request, install: None, actions, files, initial: false, since: batch.since }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::record::Hook;
    use crate::watch::{Lists, Rule};

    fn rule(path: &str, action: Action, target: Option<&str>) -> WatchedRule {
        let rule = Rule {
            path: path.into(),
            action,
            target: target.map(PathBuf::from),
            lists: Lists::default(),
            initial_sync: false,
        };
        let hook = Hook {
            command: vec!["make".into()],
            user: None,
            privileged: false,
            working_dir: None,
            environment: vec![],
        };
        WatchedRule { rule, hook: (action == Action::SyncExec).then_some(hook), place: String::new() }
    }

    #[test]
    fn a_batch_of_several_rules_is_one_task() {
        let service = Watched {
            service: "web".into(),
            rules: vec![
                rule("/w/src", Action::Sync, Some("/app")),
                rule("/w/conf", Action::SyncRestart, Some("/etc/app")),
                rule("/w/src", Action::SyncExec, Some("/copy")),
                rule("/w/never", Action::Restart, None),
            ],
        };
        let paths = vec![(0, "/w/src/a".into()), (1, "/w/conf/x".into()), (2, "/w/src/a".into())];
        let (events, _listener) = channel();
        let tell = Teller { events, ready: Arc::new(eventfd(0, EventfdFlags::empty()).unwrap()) };
        let task = task(&service, &Batch { paths, since: Instant::now() }, &tell);
        assert_eq!(task.actions, [Action::Sync, Action::SyncExec, Action::SyncRestart]);
        assert_eq!(task.files, [PathBuf::from("/w/conf/x"), PathBuf::from("/w/src/a")]);
        let targets: Vec<_> = task.request.transfers.iter().map(|transfer| transfer.target.to_str().unwrap()).collect();
        assert_eq!(targets, ["/app", "/etc/app", "/copy"]);
        assert!(task.request.restart && !task.request.only_if_changed);
        assert_eq!(task.request.exec.len(), 1);
    }

    #[test]
    fn a_lock_that_git_left_behind_holds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut lock = LockOfGit::default();
        std::fs::create_dir_all(folder.path().join(".git")).unwrap();
        let src = folder.path().join("src");
        assert!(!lock.is_held(&src));
        let file = std::fs::File::create(folder.path().join(GIT_LOCK)).unwrap();
        assert!(lock.is_held(&src));
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        assert!(!lock.is_held(&src));
    }
}
