//! The use cases of a command's process, one a file: what it asks the supervisor, and what it reads by itself. Emits
//! events; never prints.

pub mod client;
pub mod copy;
pub mod disk;
pub mod images;
pub mod leftovers;
pub mod logs;
pub mod packages;
pub mod processes;
pub mod selection;
pub mod stats;
pub mod watch;
