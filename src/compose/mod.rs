//! YAML text to [`model::Project`]. No I/O but through a [`FileSource`], no environment but what is passed in.

#![forbid(unsafe_code)]

mod canonical;
mod consistency;
mod decode;
pub mod dotenv;
pub mod emit;
pub mod environment;
mod files;
mod interpolate;
mod load;
mod merge;
pub mod model;
mod normalise;
mod paths;
mod project;
pub mod provenance;
mod request;
mod resolve;
mod schema;
pub mod session;
pub mod template;
pub mod validate;
pub mod yaml;

pub use files::{FileSource, FsSource};
pub use load::{InvalidProjectName, check_project_name, has_default_file, load};
pub use project::prune;
pub use request::{LoadFailure, LoadOptions, LoadRequest, Loaded};
pub use schema::{EmptyText, attributes, json_schema};
