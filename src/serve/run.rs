//! `run` in the supervisor's process: a container of its own, attached to pipes whose other ends the client has; and the removal of
//! those that are to go with their end.

use std::cell::RefCell;
use std::os::fd::OwnedFd;

use tokio::sync::broadcast::error::RecvError;

use super::engine::Engine;
use super::observe::reference;
use super::report::Report;
use super::up::describe;
use crate::message::rpc::Connection;
use crate::message::{Failure, Request, Response};
use crate::plan::{self, Desired, DesiredService, UpOptions};
use crate::record::Status;
use crate::record::event::What;
use crate::record::logs::Stream;
use crate::runtime::{OtherEnds, Pipes};
use crate::supervisor::Streams;

/// The container of a `run` in the foreground.
#[derive(Debug)]
pub(super) struct Attach {
    pub id: String,
    /// Its stdin, stdout and stderr, unless it has a terminal.
    pub streams: RefCell<Option<Pipes>>,
    /// The master of its terminal, once it runs.
    pub terminal: RefCell<Option<OwnedFd>>,
}

/// Copies of what the client reads of a container, for the log when nobody reads it any more. They also keep a writer
/// from hearing that nobody reads, so the client says when a reader of its own has gone.
struct Unread(Vec<(Stream, OwnedFd)>);

impl Unread {
    /// A terminal is kept by others.
    fn of(ends: &OtherEnds) -> Self {
        let OtherEnds::Pipes { stdout, stderr, .. } = ends else { return Self(Vec::new()) };
        let outputs = [(Stream::Stdout, stdout), (Stream::Stderr, stderr)];
        Self(outputs.into_iter().filter_map(|(stream, end)| Some((stream, end.try_clone().ok()?))).collect())
    }

    fn heard(&mut self, message: serde_json::Value) {
        if let Ok(Request::Unread { stream }) = serde_json::from_value(message) {
            self.0.retain(|(kept, _)| *kept != stream);
        }
    }
}

/// What a `run` is about.
pub(super) struct Oneoff {
    pub desired: Desired,
    pub service: DesiredService,
    pub options: UpOptions,
    pub attach: bool,
    /// Its stdin is the client's; otherwise there is nothing to read.
    pub stdin: bool,
    pub dry_run: bool,
}

impl Engine {
    pub(super) async fn run(&self, oneoff: Oneoff, connection: &Connection, report: &Report) -> Result<i32, Failure> {
        let (attach, dry_run) = (oneoff.attach, oneoff.dry_run);
        let started = self.alone("run", report, self.start_oneoff(oneoff, report)).await?;
        let Some((id, ends)) = started.filter(|_| !dry_run) else { return Ok(0) };
        let Some(view) = self.project.container(&id) else { return Err(Failure::given_up()) };
        if matches!(view.state.status, Status::Created) {
            // The client did not want to wait for what it needs.
            let _ = self.project.remove(std::slice::from_ref(&id), true).await;
            self.project.settle().await;
            return Err(Failure::given_up());
        }
        let container = reference(&view);
        report.send(&Response::Containers { containers: vec![container.clone()] });
        let mut unread = Unread::of(&ends);
        connection.send(&Response::RunStarted { container }, ends.pack());
        if !attach {
            return Ok(0);
        }
        let ended = self.project.wait_exit(&id);
        tokio::pin!(ended);
        let exit = loop {
            tokio::select! {
                exit = &mut ended => break exit,
                stuck = self.project.keeper_stuck() => if self.project.has_vanished(&id) {
                    return Err(Failure::caused("nobody tells how the container ended", &stuck));
                },
                message = connection.recv() => match message {
                    Some(message) => unread.heard(message),
                    None => {
                        self.project.log_from_now(&id, unread.0);
                        return Ok(0);
                    }
                },
            }
        };
        let exit = exit.map_err(|error| Failure::caused("cannot wait for the container", &error))?;
        if view.record.auto_remove {
            self.project.removed(&id).await;
        }
        Ok(exit.code())
    }

    /// The container's id, and what the client is to get of it: its terminal, or the other ends of its streams; `None` for
    /// a dry run.
    async fn start_oneoff(&self, oneoff: Oneoff, report: &Report) -> Result<Option<(String, OtherEnds)>, Failure> {
        let Oneoff { desired, service, options, attach, stdin, dry_run } = oneoff;
        self.project.ends_recorded().await;
        let observed = self.observe_for(&desired, Some(&service));
        let (plan, id) = self.with_names(|names| plan::run(&desired, &service, &observed, &options, names));
        for warning in &plan.warnings {
            report.warning(warning.clone());
        }
        let mut whole = desired.clone();
        whole.services.push(service.clone());
        if dry_run {
            describe(&plan, report);
            return self.object(&plan, Some(&whole), report).map(|()| None);
        }
        self.mend_networks(report).await;
        if let Err(mut failure) = self.preflight(&plan, Some(&whole), report) {
            if matches!(failure.start_code, 126 | 127) {
                failure.exit_code = failure.start_code;
            }
            self.project.settle().await;
            return Err(failure);
        }
        let is_piped = attach && !service.template.spec.process.tty;
        let streams = is_piped.then(|| Streams::piped(stdin)).transpose();
        let streams = streams.map_err(|error| Failure::caused("cannot make the pipes of the container", &error))?;
        let (process, ends) = streams.map(|streams| (streams.process, streams.ends)).unzip();
        let attach =
            attach.then(|| Attach { id: id.clone(), streams: RefCell::new(process), terminal: RefCell::new(None) });
        if let Err(mut failure) = self.converge(&desired, &plan, None, attach.as_ref(), report).await {
            if let Some(view) = self.project.container(&id) {
                let tried = view.state.error.is_some();
                if tried {
                    failure.exit_code = failure.start_code;
                }
                if view.record.auto_remove || !tried {
                    let _ = self.project.remove(std::slice::from_ref(&id), true).await;
                }
            }
            self.give_up_restarts(&plan).await;
            self.project.settle().await;
            return Err(failure);
        }
        let terminal = attach.and_then(|attach| attach.terminal.into_inner());
        Ok(Some((id, terminal.map(OtherEnds::Terminal).or(ends).unwrap_or_default())))
    }

    /// Removes containers that are to go with their end, as they end; for as long as the supervisor lives.
    pub(super) async fn remove_what_ends(self) {
        let mut events = self.project.subscribe();
        self.remove_ended().await;
        loop {
            match events.recv().await {
                Ok(event) if !matches!(event.what, What::Exited { restart_ms: None, .. }) => {}
                Ok(_) | Err(RecvError::Lagged(_)) => self.remove_ended().await,
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn remove_ended(&self) {
        let ended = self
            .project
            .containers()
            .into_iter()
            .filter(|have| have.record.auto_remove && matches!(have.state.status, Status::Exited { .. }));
        let ids: Vec<String> = ended.map(|have| have.record.id.clone()).collect();
        if ids.is_empty() {
            return;
        }
        if let Err(error) = self.project.remove(&ids, true).await {
            tracing::warn!("cannot remove what has ended: {error}");
        }
        // The supervisor ends with the last container, unless somebody is making others.
        let engine = self.clone();
        tokio::task::spawn_local(async move {
            let _turn = engine.turn().await;
            engine.project.settle().await;
        });
    }
}
