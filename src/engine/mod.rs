//! One use case a file: `up`, `down`, `exec`, `logs` and the others. Async; emits events; never prints.

mod act;
mod attach;
pub mod client;
pub mod copy;
pub mod disk;
mod down;
mod exec;
pub mod executor;
mod failure;
mod hold;
pub mod images;
mod install;
pub mod inventory;
pub mod leftovers;
pub mod message;
pub mod packages;
pub mod processes;
mod refresh;
pub mod report;
mod run;
pub mod selection;
pub mod serve;
pub mod stats;
pub mod truth;
mod up;
mod wait;
pub mod watch;
