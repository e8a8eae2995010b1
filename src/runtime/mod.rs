//! One container: [`spec::ContainerSpec`] to a running process to an exit status. Sync code; has never heard of Compose.

mod error;
pub mod spec;

pub use error::StartError;
