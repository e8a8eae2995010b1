//! One use case a file: `up`, `down`, `exec`, `logs` and the others. Async; emits events; never prints.

pub mod executor;
pub mod images;
pub mod inventory;
pub mod message;
