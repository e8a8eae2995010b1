//! Named volumes, binds, tmpfs, and secrets and configs as files. Has never heard of Compose.
//!
//! Everything below the root of a volume may belong to a hostile container, everything below the root of an image
//! to a hostile publisher: both are walked by descriptor, and no symbolic link of theirs is followed.

pub mod bind;
mod driver;
mod error;
pub mod files;
mod fill;
mod folder;
mod name;
pub mod packages;
pub mod source;
pub mod spec;
mod store;

#[cfg(test)]
mod tests;

pub use error::VolumeError;
pub use fill::Filled;
pub use name::NameError;
pub use spec::{FillState, InstallState, VolumeRecord, VolumeSpec};
pub use store::{Ensured, Store};
