//! One container: [`spec::ContainerSpec`] to a running process to an exit status. Sync code; has never heard of Compose.

pub mod spec;
