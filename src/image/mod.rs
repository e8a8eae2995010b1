//! Images: references, registries, the content-addressed store, unpacking, and the host root file system.
//!
//! [`Store`] holds what is here; [`pull::ensure`] brings what is missing.

pub mod commit;
mod complete;
pub mod config;
pub mod digest;
pub mod error;
pub mod host;
mod import;
mod layer;
pub mod load;
pub mod manifest;
mod members;
pub mod pack;
pub mod platform;
pub mod progress;
pub mod pull;
pub mod reference;
pub mod registry;
pub mod save;
pub mod store;
pub mod toolchain;
pub mod unpack;
pub mod view;

pub use config::{Healthcheck, ImageConfig};
pub use digest::Digest;
pub use error::ImageError;
pub use platform::Platform;
pub use progress::{TransferEvent, TransferObserver, TransferStatus};
pub use pull::{Need, PullOptions, PullPolicy, ensure, ensure_all, pull};
pub use reference::Reference;
pub use registry::{Client, Proxies, RegistryOptions};
pub use store::{Image, Store, StoreOptions, Uses};

#[cfg(test)]
mod testing;
