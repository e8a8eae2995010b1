//! Answers the requests of commands, in the supervisor's process.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use tokio::sync::Mutex;

use super::message::{Event, Failure, Request};
use super::report::Report;
use super::run::Oneoff;
use crate::plan::Action;
use crate::state::notice;
use crate::supervisor::Project;
use crate::supervisor::rpc::{Connection, Handler};

/// The use cases over one project.
#[derive(Clone)]
pub struct Engine {
    pub(super) project: Project,
    /// Held by whoever changes the project; the others wait their turn.
    converging: Rc<Mutex<()>>,
    /// What the holder is doing, to say for whom one waits.
    busy: Rc<RefCell<Option<String>>>,
}

/// The supervisor's role: serves one project until nothing of it is left.
#[must_use]
pub fn main(arguments: impl Iterator<Item = std::ffi::OsString>) -> std::process::ExitCode {
    crate::supervisor::main(arguments, |project| Rc::new(Engine::new(project)))
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    #[must_use]
    pub fn new(project: Project) -> Self {
        let engine = Self { project, converging: Rc::default(), busy: Rc::default() };
        tokio::task::spawn_local(engine.clone().remove_what_ends());
        engine
    }

    /// Held while the project is changed.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.converging.lock().await
    }

    async fn answer(&self, request: Request, connection: &Connection) {
        let report = Report::new(connection.clone());
        let result = match request {
            Request::Up { desired, options, timeout_ms, dry_run } => {
                self.alone("up", &report, self.up(*desired, options, timeout_ms, dry_run, &report)).await
            }
            Request::Run { desired, oneoff, options, attach, stdin, dry_run } => {
                let oneoff = Oneoff { desired: *desired, service: *oneoff, options, attach, stdin, dry_run };
                self.run(oneoff, connection, &report).await
            }
            Request::Down { options, project, timeout_ms, dry_run } => {
                self.alone("down", &report, self.down(options, project, timeout_ms, dry_run, &report)).await
            }
            Request::Act { action, selection, timeout_ms, dry_run } => {
                let work = self.act(&action, &selection, timeout_ms, dry_run, &report);
                match action {
                    // Not even for a stop that takes too long.
                    Action::Signal { .. } | Action::Pause | Action::Unpause => work.await,
                    _ => self.alone(super::act::name(&action), &report, work).await,
                }
            }
            Request::Connect { container, endpoint, again } => {
                self.alone("network connect", &report, self.connect(&container, *endpoint, again)).await
            }
            Request::Disconnect { container, network, again } => {
                self.alone("network disconnect", &report, self.disconnect(&container, &network, again)).await
            }
            Request::Exec { container, spec, detach } => self.exec(&container, *spec, detach, connection).await,
            Request::Attach { container } => self.attach(&container, connection).await,
            Request::Hold { container } => self.hold(&container, connection).await,
            Request::Wait { containers, timeout_ms } => self.wait(&containers, timeout_ms, &report).await,
            Request::Follow { containers } => self.follow(&containers, &report).await,
            // Not alone: a file is copied also while another command waits for something.
            Request::Refresh(refresh) => self.refresh(&refresh, &report).await,
            Request::Unread { .. } | Request::GiveUp => Err(Failure::new("there is nothing to give up")),
        };
        for text in notice::take() {
            report.warning(text);
        }
        match result {
            Ok(exit_code) => report.send(&Event::Done { exit_code }),
            Err(failure) => report.send(&Event::Failed(failure)),
        }
    }

    /// One command changes the project at a time; the next waits and says for whom.
    pub(super) async fn alone<T>(
        &self,
        what: &str,
        report: &Report,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let _turn = match self.converging.try_lock() {
            Ok(turn) => turn,
            Err(_) => {
                let other = self.busy.borrow().clone().unwrap_or_else(|| "another command".to_owned());
                report.warning(format!("waiting for another `windlass {other}` on this project"));
                tokio::select! {
                    turn = self.converging.lock() => turn,
                    () = report.abandoned() => return Err(Failure::given_up()),
                }
            }
        };
        *self.busy.borrow_mut() = Some(what.to_owned());
        let result = work.await;
        *self.busy.borrow_mut() = None;
        result
    }
}

impl Handler for Engine {
    fn handle(&self, request: serde_json::Value, connection: Connection) -> Pin<Box<dyn Future<Output = ()>>> {
        let engine = self.clone();
        Box::pin(async move {
            match serde_json::from_value::<Request>(request) {
                Ok(request) => engine.answer(request, &connection).await,
                Err(error) => connection.send(
                    &Event::Failed(Failure {
                        message: "the supervisor does not understand this request".to_owned(),
                        causes: vec![error.to_string()],
                        hints: vec!["the project was started by another version of windlass: use that one, or bring the project down with it first".to_owned()],
                        ..Failure::default()
                    }),
                    vec![],
                ),
            }
        })
    }
}
