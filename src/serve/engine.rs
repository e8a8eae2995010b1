//! The project that the use cases share, and whose turn it is to change it.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;

use tokio::sync::Mutex;

use super::report::Report;
use crate::message::Failure;
use crate::supervisor::Project;

/// The use cases over one project.
#[derive(Clone)]
pub struct Engine {
    pub(super) project: Project,
    /// Held by whoever changes the project; the others wait their turn.
    converging: Rc<Mutex<()>>,
    /// What the holder is doing, to say for whom one waits.
    busy: Rc<RefCell<Option<String>>>,
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
