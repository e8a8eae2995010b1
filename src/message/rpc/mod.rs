//! How a command talks to the supervisor of a project: frames of JSON over a Unix stream socket. Descriptors go from the
//! supervisor to the command alone.
//!
//! A connection begins with a [`Hello`] from each side and carries one request; what comes back is up to the request.
//! What requests and answers are is decided above this layer.

mod client;
mod frame;
mod server;

use serde::{Deserialize, Serialize};

pub use client::{Client, ConnectError, supervisor_of};
pub use frame::{FrameError, MAX_FDS, MAX_FRAME};
pub use server::{Connection, Handler, Server};

/// Raised whenever one side could misunderstand the other.
pub const PROTOCOL: u32 = 3;

/// The first frame of each side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Version of the program, for messages.
    pub windlass: String,
    /// [`PROTOCOL`].
    pub protocol: u32,
}

impl Hello {
    #[must_use]
    pub fn ours() -> Self {
        Self { windlass: env!("CARGO_PKG_VERSION").to_owned(), protocol: crate::sys::fault::protocol(PROTOCOL) }
    }
}

#[cfg(test)]
mod tests;
