//! The lines of containers on stdout and stderr: for `logs`, and for `up` and `watch` in the foreground. Reading them is
//! `engine::logs`.

mod lines;
mod span;
#[cfg(test)]
mod tests;

pub use lines::Screen;
pub(crate) use lines::short_name;
pub use span::{parse_tail, parse_time, remaining};
