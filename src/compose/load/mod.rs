//! From a request to a project.

mod discover;
mod document;
mod env_files;
mod extends;
mod include;
mod name;
mod pipeline;
mod remote;
mod versions;

pub use discover::has_default_file;
pub(in crate::compose) use env_files::{reason, report as report_dotenv, written as written_assignment};
pub use name::{InvalidProjectName, check_project_name};
pub use pipeline::load;

#[cfg(test)]
pub(in crate::compose) mod tests;
