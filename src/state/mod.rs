//! What is on disk: paths, locks, and atomic records with a version.

pub mod folder;
pub mod lock;
pub mod messages;
pub mod notice;
pub mod paths;
pub mod process;
pub mod record;
pub mod remedy;
pub mod stuck;

pub use lock::Lock;
pub use paths::{ContainerPaths, Paths, ProjectPaths};
