//! The logs of several containers as one stream on stdout and stderr: for `logs`, and for `up` in the foreground.

mod follow;
mod lines;
mod span;
#[cfg(test)]
mod tests;

pub(crate) use follow::remaining;
pub use follow::{Follower, Selection, Wake};
pub use lines::Screen;
pub use span::{parse_tail, parse_time};
