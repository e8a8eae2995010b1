//! The kernel: the only unsafe code and the only raw system calls of the project.
//!
//! Each wrapper has the name of its call, takes typed arguments and returns owned descriptors or values.
//! Everything else in `src/` is compiled with `unsafe_code = "deny"`.
#![allow(unsafe_code, reason = "the one place for system calls that no crate wraps safely")]

pub mod capability;
pub mod clone;
pub mod copy;
pub mod descriptors;
pub mod devices_bpf;
pub mod fault;
#[cfg(test)]
pub mod growth;
pub mod mount;
pub mod mountinfo;
pub mod overlay;
pub mod packet;
pub mod passed;
pub mod pidfd;
pub mod process;
pub mod readiness;
pub mod regular;
pub mod resolve;
pub mod seccomp;
pub mod spawn;
pub mod spread;
