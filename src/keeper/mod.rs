//! The keeper: the small single-threaded process that is the parent of the supervisor and of every container.
//!
//! It clones and execs, reaps and records exits, and holds what must not be lost when the supervisor dies.

mod adopt;
mod containers;
mod copy;
pub mod descriptors;
mod link;
mod other;
mod pipes;
mod predecessor;
mod process;
pub mod protocol;
mod serve;
mod spawn;
mod terminals;

pub use other::OtherProcess;
pub use predecessor::Predecessor;
pub use process::{CALLED, KeeperRecord, ROLE, SUPERVISOR_ROLE, main};
pub use spawn::{Behind, SpawnError, behind, find, find_lost, revive, spawn};
