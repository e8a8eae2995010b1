//! What the supervisor's process does for a request: one use case a file, each a part of [`Engine`].

mod act;
mod answer;
mod attach;
mod connect;
mod down;
pub mod dry;
mod engine;
mod exec;
pub mod executor;
mod failure;
mod hold;
mod install;
mod names;
mod needs;
mod observe;
mod operations;
mod outline;
mod preflight;
pub mod process;
mod refresh;
pub mod report;
mod run;
mod up;
mod wait;

pub use answer::main;
pub use engine::Engine;
