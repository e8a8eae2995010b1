//! The keeper: the small single-threaded process that is the parent of the supervisor and of every container.
//!
//! It clones and execs, reaps and records exits, and holds what must not be lost when the supervisor dies.

pub mod protocol;
