//! YAML text to [`model::Project`]: no I/O but through a file source, no environment but what is passed in.
