//! The file's words to the drivers' terms: a loaded project and its images make the [`Desired`](super::Desired) state.
//!
//! The only translator: nothing below knows Compose, nothing above builds a container's specification. `project` is
//! where it begins; `service` makes the template of a service's containers, and each other file is about one part of it.

mod check;
mod devices;
mod fault;
mod health;
mod image;
mod inputs;
mod install;
pub(crate) mod labels;
mod limits;
mod logging;
mod mounts;
mod namespaces;
mod network;
mod process;
mod project;
mod restarts;
mod security;
mod service;
mod shared;
mod volumes_from;
mod watch;

#[cfg(test)]
mod tests;

pub use check::check;
pub use fault::Fault;
pub(super) use image::is_known;
pub use image::{ImageHealth, ImagePart, MountedImage, OverlayPart, ServiceImage};
pub use inputs::Inputs;
pub use install::{Locks, folder, is_lock};
pub use labels::PACKAGES;
pub use project::{lower, project_record, warnings};
pub use watch::{Watched, WatchedRule, watch, watch_locks};
