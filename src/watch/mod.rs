//! File changes to batches to actions: which files of the host count, when they have settled, and how they get into a
//! container's root. Knows neither Compose nor the supervisor.

pub mod coalesce;
pub mod filter;
pub mod pattern;
mod polled;
pub mod rule;
pub mod transfer;
pub mod tree;

pub use coalesce::{Batch, Pending};
pub use filter::{Filter, Lists};
pub use rule::{Action, Rule};
pub use transfer::{Outcome, Transfer};
pub use tree::{Fault, Root, Tree};
