//! Which use case answers which request.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use super::engine::Engine;
use super::report::Report;
use super::run::Oneoff;
use crate::message::rpc::{Connection, Handler};
use crate::message::{Failure, Request, Response};
use crate::plan::Action;
use crate::state::notice;

/// The supervisor's role: serves one project until nothing of it is left.
#[must_use]
pub fn main(arguments: impl Iterator<Item = std::ffi::OsString>) -> std::process::ExitCode {
    super::process::main(arguments, |project| Rc::new(Engine::new(project)))
}

impl Engine {
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
            Ok(exit_code) => report.send(&Response::Done { exit_code }),
            Err(failure) => report.send(&Response::Failed(failure)),
        }
    }
}

impl Handler for Engine {
    fn handle(&self, request: serde_json::Value, connection: Connection) -> Pin<Box<dyn Future<Output = ()>>> {
        let engine = self.clone();
        Box::pin(async move {
            match serde_json::from_value::<Request>(request) {
                Ok(request) => engine.answer(request, &connection).await,
                Err(error) => connection.send(
                    &Response::Failed(Failure {
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
