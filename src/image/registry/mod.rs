//! The client side of the OCI distribution protocol.

#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct RegistryError;
