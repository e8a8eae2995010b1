//! YAML text to [`model::Project`]. No I/O but through a file source, no environment but what is passed in.

pub mod model;
