//! What a batch of changes comes to for one service, and the thread that does it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Instant;

use super::teller::Teller;
use super::{Applied, Subject, raise};
use crate::engine::client::{Client, ClientError};
use crate::message;
use crate::message::{Failure, Refresh, Refreshed};
use crate::plan::UpOptions;
use crate::plan::lower::Watched;
use crate::watch::{Action, Batch, Pending, Transfer};

/// What a worker is to do.
pub(super) struct Task {
    pub(super) request: Refresh,
    /// Lock files are among what has changed: all that rules copy, for the containers that are made anew.
    pub(super) install: Option<Vec<Transfer>>,
    pub(super) actions: Vec<Action>,
    pub(super) files: Vec<PathBuf>,
    pub(super) initial: bool,
    pub(super) since: Instant,
}

pub(super) struct Worker {
    pub(super) tasks: Sender<Task>,
    pub(super) pending: Pending,
    pub(super) busy: bool,
    /// When the last restart was done, and how many came one right after the other.
    pub(super) restarted: Option<Instant>,
    pub(super) in_a_row: u32,
}

impl Worker {
    pub(super) fn start(
        subject: &Arc<Subject>,
        service: &Watched,
        results: Sender<(usize, Applied)>,
        wake: &Arc<OwnedFd>,
        tell: Teller,
    ) -> std::io::Result<Self> {
        let (tasks, queue) = channel::<Task>();
        let index = subject.services.iter().position(|other| other.service == service.service).unwrap_or(0);
        let (subject, wake, name) = (Arc::clone(subject), Arc::clone(wake), service.service.clone());
        std::thread::Builder::new().name(format!("watch {name}")).spawn(move || {
            while let Ok(task) = queue.recv() {
                let begin = Instant::now();
                let result = match task.install {
                    None => ask(&subject, task.request),
                    Some(files) => install(&subject, task.request, files, &tell),
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

    pub(super) fn give(&mut self, task: Task) {
        self.busy = self.tasks.send(task).is_ok();
    }
}

fn ask(subject: &Subject, refresh: Refresh) -> Result<Refreshed, Failure> {
    if refresh.transfers.is_empty() && !refresh.restart && !refresh.renewed && refresh.exec.is_empty() {
        return Ok(Refreshed::default());
    }
    let failed = |error: &ClientError| Failure::caused("cannot bring the change into the containers", error);
    let mut client = Client::connect_or_start(&subject.paths, &subject.project).map_err(|error| failed(&error))?;
    let mut refreshed = Refreshed::default();
    let request = message::Request::Refresh(refresh);
    client
        .run(&request, |event| {
            if let message::Response::Refreshed(told) = event {
                refreshed = told.clone();
            }
        })
        .map_err(|error| failed(&error))??;
    Ok(refreshed)
}

/// Makes the service's containers anew when its packages are others now, and does the rest of the request.
fn install(subject: &Subject, mut request: Refresh, files: Vec<Transfer>, tell: &Teller) -> Result<Refreshed, Failure> {
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
    let failed = |error: &ClientError| Failure::caused(format!("cannot install the packages of {service}"), error);
    let mut client = Client::connect_or_start(&subject.paths, &subject.project).map_err(|error| failed(&error))?;
    let mut refreshed = Refreshed::default();
    client
        .run(&up, |event| match event {
            message::Response::Progress(step) if step.status == "Recreated" => {
                refreshed.restarted.push(step.name.clone())
            }
            message::Response::Progress(step) if step.status == "Installing" => {
                tell.said(&service, step.detail.as_deref().unwrap_or("installing packages"));
            }
            message::Response::Progress(step) => refreshed.installed |= step.status == "Installed",
            message::Response::Warning { text } => refreshed.output.push(text.clone()),
            message::Response::Containers { containers } => refreshed.containers.clone_from(containers),
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

/// All that follows from a batch, together: copies first, one restart, then the commands.
pub(super) fn task(service: &Watched, batch: &Batch, tell: &Teller) -> Task {
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
    use rustix::event::{EventfdFlags, eventfd};

    use super::*;
    use crate::plan::lower::WatchedRule;
    use crate::record::Hook;
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
}
