//! A value that is of another kind than its attribute wants.

use crate::compose::session::{ModelPath, Session};
use crate::compose::yaml::{Node, Tag, Value};
use crate::diag::Diagnostic;

/// Reports that `node` is of the wrong kind and empties it.
pub(super) fn wrong_kind(node: &mut Node, wanted: &str, hint: Option<String>, path: &ModelPath, session: &mut Session) {
    let kind = node.value.kind();
    let diagnostic = Diagnostic::error(format!("`{}` must be {wanted}", path.last()))
        .at(node.span, format!("this is {kind}"))
        .path(path.as_str())
        .hint_opt(hint);
    session.report_node(node, diagnostic);
    node.value = Value::Null;
    node.tag = Tag::Reset;
}
