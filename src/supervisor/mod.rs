//! Keeps a project alive: containers, health, restarts, logs, names; serves the command line.

pub mod life;
pub mod logs;
pub mod record;
pub mod rpc;
