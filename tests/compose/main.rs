//! The Compose loader: what it prints for hundreds of files, what it says about faulty ones, and what holds for any.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says where")]

mod corpus;
mod empty;
mod fixture;
mod found;
mod growth;
mod properties;
mod schema;
#[path = "../../fuzz/src/lib.rs"]
mod untrusted;
