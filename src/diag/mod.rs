//! Faults of the files: where they are, what is wrong, what to do; as text for people and as data for editors.

#![forbid(unsafe_code)]

mod diagnostic;
mod render;
mod source;
mod suggest;

pub use diagnostic::{Diagnostic, Label, Severity};
pub use render::{Paint, render, render_all, to_json};
pub use source::{SourceFile, SourceId, SourceMap, Span};
pub use suggest::nearest;
