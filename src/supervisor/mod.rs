//! Keeps a project alive: containers, health, restarts, logs, names.
//!
//! [`Project`] is the handle on what it keeps, [`Link`] the line to the keeper. The process around it, and what it does for
//! a command, are in `serve`. Everything runs on one thread; what may block runs in short-lived ones beside it.

mod adopt;
mod cascade;
mod connect;
mod container;
mod error;
mod etc;
mod exec;
mod holders;
pub mod journal;
pub mod kept;
mod life;
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
pub use error::{ConditionFailure, Holder, Reason, SupervisorError, chain};
pub use holders::holder_elsewhere;
pub use kept::PARTING;
pub use link::{Exec, Link};
pub use network::try_ports;
pub use project::{KnownVolumes, Project};
pub use reload::Reloaded;
pub use streams::Streams;
