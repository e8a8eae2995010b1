//! YAML as a tree whose every node knows where it stands.

mod node;
mod parse;
mod scalar;
mod scan_error;

pub use node::{Entry, Mapping, Node, Origin, Past, Tag, Value};
pub use parse::parse;
pub use scalar::{float_text, resolve_plain};
