//! Keeps a project alive: containers, health, restarts, logs, names; serves the command line.
//!
//! [`main`] is the process, [`Project`] the handle on what it keeps, [`rpc`] how commands talk to it. Everything runs
//! on one thread; what may block runs in short-lived ones beside it.

mod adopt;
mod cascade;
mod connect;
mod container;
mod error;
mod etc;
mod event;
mod exec;
mod holders;
pub mod journal;
pub mod life;
mod link;
pub mod logs;
mod main;
mod mending;
mod network;
mod output;
pub mod peers;
pub mod preflight;
mod probe;
mod project;
pub mod record;
mod reload;
mod remove;
pub mod rpc;
pub mod signal;
mod start;
mod stop;
mod streams;
mod sync;
pub mod users;
mod wait;

pub use container::View;
pub use error::{ConditionFailure, Reason, SupervisorError};
pub use event::{Event, What};
pub use holders::{Holder, holder_elsewhere};
pub use link::Exec;
pub use main::main;
pub use network::try_ports;
pub use project::{KnownVolumes, Project, new_container_id};
pub use reload::Reloaded;
pub use streams::Streams;
