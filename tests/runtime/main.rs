//! Real containers, started by a real keeper that this test commands as a supervisor would. Needs root.

#![allow(clippy::unwrap_used, missing_debug_implementations, dead_code, clippy::print_stdout, reason = "test code")]

mod bench;
mod exec;
mod filesystem;
mod hostile;
mod keeper;
mod limits;
mod security;
mod start;
mod support;
