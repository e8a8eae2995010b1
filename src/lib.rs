//! windlass runs Compose projects on Linux by itself: no Docker, no daemon.
//!
//! `ARCHITECTURE.md` has the map of the modules and the direction in which they may use each other.

pub mod cli;
pub mod compose;
pub mod diag;
pub mod engine;
pub mod image;
pub mod keeper;
pub mod language;
pub mod message;
pub mod network;
pub mod plan;
pub mod record;
pub mod runtime;
pub mod serve;
pub mod state;
pub mod supervisor;
pub mod sys;
pub mod volumes;
pub mod watch;
