//! One use case a file: `up`, `down`, `exec`, `logs` and the others. Async; emits events; never prints.

pub mod client;
pub mod executor;
mod down;
mod exec;
mod failure;
pub mod images;
pub mod inventory;
pub mod message;
pub mod report;
pub mod selection;
pub mod serve;
mod up;
mod wait;
pub mod truth;
