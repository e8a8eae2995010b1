//! Short syntaxes become long on the tree, scalars get their type, unknown keys are refused.
//!
//! This runs on each file by itself, before merging, so that what it says points at the text. What only holds for the
//! merged whole (required keys, keys without a value) is checked by [`complete`].

mod command;
mod complete;
mod devices;
mod hosts;
mod kind;
mod mounts;
mod ports;
mod scalar;
mod short;
mod structure;

pub use complete::complete;
pub(super) use mounts::clean;
pub use structure::canonicalise;
pub(super) use structure::unique;
