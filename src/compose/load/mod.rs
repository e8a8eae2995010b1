//! From a request to a project.

mod discover;
mod document;
mod env_files;
mod extends;
mod include;
mod name;
mod pipeline;

pub(in crate::compose) use env_files::{reason, report as report_dotenv, written as written_assignment};
pub use pipeline::load;

#[cfg(test)]
pub(in crate::compose) mod tests;
