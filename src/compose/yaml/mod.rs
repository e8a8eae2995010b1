//! YAML as a tree whose every node knows where it stands.

mod breaks;
mod lenient;
mod node;
mod parse;
mod scalar;
mod scan_error;
mod tagged;

pub use node::{Entry, Mapping, Node, Origin, Past, Tag, Value};
pub use parse::parse;
pub use scalar::{binary_text, float_text, resolve_plain};

use crate::diag::{Diagnostic, SourceMap};

/// The documents of a text that is in no file, and its faults.
#[must_use]
pub fn read(text: &str) -> (Vec<Node>, Vec<Diagnostic>, SourceMap) {
    let mut sources = SourceMap::default();
    let name = std::path::Path::new("<text>");
    let source = sources.add(name, name, text.to_owned());
    let mut diagnostics = Vec::new();
    let documents = parse(source, &sources, &mut diagnostics, &mut super::provenance::History::default());
    (documents, diagnostics, sources)
}

#[cfg(test)]
mod tests;
