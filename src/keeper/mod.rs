//! The keeper: the small single-threaded process that is the parent of the supervisor and of every container.
//!
//! It clones and execs, reaps and records exits, and holds what must not be lost when the supervisor dies.

mod containers;
mod copy;
mod link;
mod main;
mod pipes;
pub mod protocol;
mod serve;
mod spawn;

pub use main::{KeeperRecord, ROLE, SUPERVISOR_ROLE, main};
pub use spawn::{SpawnError, find, find_lost, retire, revive, spawn};
