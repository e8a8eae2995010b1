//! One container: [`spec::ContainerSpec`] to a running process to an exit status. Sync code; has never heard of Compose.

mod capability;
pub mod cgroup;
mod child;
mod devices;
mod error;
mod exec;
mod filesystem;
pub mod identity;
mod init;
pub mod inroot;
mod intermediate;
mod match_user;
mod mounts;
pub mod preflight;
mod process;
mod program;
mod protect;
mod report;
pub mod root;
pub mod sample;
mod seccomp;
pub mod spec;
mod start;
mod streams;
mod sysctl;
pub(crate) mod terminal;
mod tmpfs;

pub use capability::is_capability;
pub use error::StartError;
pub use start::{Descriptors, Runtime, StartPoll, Started, Starting};
pub use streams::{EndsKind, OtherEnds, Pipes};
