//! Tests that need no privilege, no namespace and no network.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod attributes;
mod circles;
mod commands;
mod compatibility;
mod config;
mod differences;
mod effects;
mod explain;
mod invariants;
mod pages;
mod project;
mod tidy;
mod type_names;
