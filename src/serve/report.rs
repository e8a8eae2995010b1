//! Tells a client what happens, in the words of `docker compose`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use crate::message::rpc::Connection;
use crate::message::{ObjectKind, ObjectProgress, ProgressState, Response};

/// The events of one request.
#[derive(Debug, Clone)]
pub struct Report {
    connection: Connection,
    begin: Instant,
    /// When each object was first heard of.
    since: Rc<RefCell<HashMap<(ObjectKind, String), Instant>>>,
}

impl Report {
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        Self { connection, begin: Instant::now(), since: Rc::default() }
    }

    pub fn send(&self, event: &Response) {
        self.connection.send(event, vec![]);
    }

    /// Returns when the client has left, or asks to begin nothing more.
    pub async fn abandoned(&self) {
        // That is all that a client can say after its request.
        let _ = self.connection.recv().await;
    }

    /// Returns when the client asks to begin nothing more; not when it leaves, for then what it asked for goes on.
    pub async fn given_up(&self) {
        if self.connection.recv().await.is_none() {
            std::future::pending().await
        }
    }

    pub fn warning(&self, text: impl Into<String>) {
        self.send(&Response::Warning { text: text.into() });
    }

    /// Something begins on an object.
    pub fn working(&self, kind: ObjectKind, name: &str, status: &str) {
        self.progress(kind, name, status, ProgressState::Working, None);
    }

    /// A container waits for others before it is started.
    pub fn waiting(&self, name: &str, what_for: &str) {
        self.progress(ObjectKind::Container, name, "Waiting", ProgressState::Working, Some(what_for.to_owned()));
    }

    /// A step has said something.
    pub fn installing(&self, name: &str, line: &str) {
        if !line.is_empty() {
            let (kind, line) = (ObjectKind::Container, Some(line.to_owned()));
            self.progress(kind, name, "Installing", ProgressState::Working, line);
        }
    }

    pub fn done(&self, kind: ObjectKind, name: &str, status: &str) {
        self.progress(kind, name, status, ProgressState::Done, None);
    }

    pub fn error(&self, kind: ObjectKind, name: &str, status: &str, detail: &str) {
        self.progress(kind, name, status, ProgressState::Error, Some(detail.to_owned()));
    }

    fn progress(&self, kind: ObjectKind, name: &str, status: &str, state: ProgressState, detail: Option<String>) {
        let elapsed = self.since.borrow_mut().entry((kind, name.to_owned())).or_insert_with(Instant::now).elapsed();
        self.send(&Response::Progress(ObjectProgress {
            kind,
            name: name.to_owned(),
            status: status.to_owned(),
            state,
            elapsed_us: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            detail,
        }));
    }

    /// Tells how long a step took that began at `start`, for `--timings`.
    pub fn timing(&self, step: impl Into<String>, start: Instant) {
        let micros = |duration: std::time::Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.send(&Response::Timing {
            step: step.into(),
            start_us: micros(start.saturating_duration_since(self.begin)),
            took_us: micros(start.elapsed()),
        });
    }
}
