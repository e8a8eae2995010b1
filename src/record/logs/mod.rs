//! Logs of containers: Docker's `json-file` lines, written by the supervisor and read by everybody.

mod encode;
mod file;
pub mod reader;

pub use encode::{Splitter, Stream};
pub use file::{LogFile, Rotation};
