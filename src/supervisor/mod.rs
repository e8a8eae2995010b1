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
mod exec;
mod holders;
pub mod journal;
pub mod life;
mod link;
mod mending;
mod network;
mod output;
pub mod peers;
pub mod preflight;
mod probe;
mod project;
mod reload;
mod remove;
mod start;
mod stop;
mod streams;
mod sync;
mod wait;

pub use adopt::Handover;
pub use container::View;
pub use error::{ConditionFailure, Holder, Reason, SupervisorError};
pub use holders::holder_elsewhere;
pub use link::{Exec, Link};
pub use network::try_ports;
pub use project::{KnownVolumes, Project};
pub use reload::Reloaded;
pub use streams::Streams;
