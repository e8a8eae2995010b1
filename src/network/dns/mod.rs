//! The name server of a project: it answers at 127.0.0.11:53 in every container's namespace.
//!
//! Names of containers are answered from [`Names`], which may change at any time; everything else goes to the host's
//! servers, or to those that the service names (`dns`).
//!
//! - The host's servers (`/etc/resolv.conf`, read again when it changes) are asked from the host's namespace, so a stub
//!   such as 127.0.0.53 works.
//! - Servers of `dns` are asked from the container's own namespace, as Docker does: 127.0.0.1 is the container, and an
//!   address on one of its networks is reached directly.
//! - A container whose networks are all internal gets NXDOMAIN for what the project does not know.

mod answer;
mod names;
mod others;
mod server;
mod upstream;

pub use answer::{Action, answer, refusal};
pub use names::{NameEntry, Names, View};
pub use server::Server;
pub use upstream::{HostServers, Upstream};
