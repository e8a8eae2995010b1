//! What people see: colours, tables, times, ports, log prefixes, progress, errors. Rendering is pure; only
//! [`progress`] writes by itself.

pub mod error;
pub mod format;
pub mod human;
pub mod narrow;
pub mod ports;
pub mod prefix;
pub mod progress;
pub mod status;
pub mod stdout;
pub mod style;
pub mod table;
pub mod template;
pub mod urls;
pub mod volumes;
pub mod watch;
