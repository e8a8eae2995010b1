//! The logs of a project's containers as one stream of lines in the order of time: those that are there, and those that
//! come, over rotations, new containers and an idle end of the supervisor, which it needs nothing of. What a line looks
//! like is for whoever reads it.

mod assemble;
mod follower;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use jiff::Timestamp;

pub use crate::record::logs::Stream;
pub use follower::{Follower, LogSelection, Waited};

/// A container whose log is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSource {
    pub project: String,
    /// Of the container, with the project's in it.
    pub container: String,
    pub service: String,
    /// The service's place in the file; `None` when the file no longer has it.
    pub place: Option<usize>,
}

/// A line that a container wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    pub source: Rc<LogSource>,
    pub stream: Stream,
    /// When its beginning was written.
    pub time: Timestamp,
    /// Without its end. Of a line that is longer than a mebibyte, the next piece.
    pub text: String,
}

/// What [`Follower::next_event`] yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEvent {
    /// The log is read from now on. Comes before everything else of the container.
    Opened(Rc<LogSource>),
    Line(LogLine),
    /// A run of the container has ended, and everything that it wrote was yielded. Only while logs are followed.
    Exited {
        source: Rc<LogSource>,
        exit_code: i32,
        restarting: bool,
    },
}
