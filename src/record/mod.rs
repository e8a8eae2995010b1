//! What is on disk about a project: its containers, their logs and their events, and how each is read.

mod container;
pub mod event;
mod id;
pub mod inventory;
pub mod logs;
pub mod restarts;
pub mod sample;
pub mod signal;
pub mod truth;
pub mod users;

pub use container::*;
pub use id::new_container_id;
pub use inventory::ObservedContainer;
