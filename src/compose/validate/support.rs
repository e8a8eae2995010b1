//! One table: each attribute is honoured, warned about or refused.

use crate::compose::project::Enabled;
use crate::compose::session::Session;
use crate::compose::yaml::{Mapping, Node};
use crate::diag::{Diagnostic, Span};

/// What happens with an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// Does what the specification says.
    Honoured,
    /// Loaded and printed by `config`, but without effect; the text says why.
    Warned(&'static str),
    /// The project does not load; the text says what to do instead.
    Refused(&'static str),
}

/// An attribute and what happens with it. `*` stands for a name or an index.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub path: &'static str,
    pub support: Support,
}

const fn warned(path: &'static str, why: &'static str) -> Row {
    Row { path, support: Support::Warned(why) }
}

/// Attributes that are not, or not yet, honoured. What is absent here is.
pub static TABLE: &[Row] = &[
    warned("services.*.cpu_count", "it is for Windows containers"),
    warned("services.*.cpu_percent", "it is for Windows containers"),
    warned("services.*.credential_spec", "it is for Windows containers"),
    warned("services.*.isolation", "it is for Windows containers"),
];

/// Reports the attributes of the active services that are not honoured.
pub fn warn(tree: &Node, enabled: &Enabled, session: &mut Session) {
    for row in TABLE {
        let segments: Vec<&str> = row.path.split('.').collect();
        let mut found = Vec::new();
        find(tree, &segments, String::new(), &mut found);
        for (path, span) in found {
            let mut parts = path.splitn(3, '.');
            if parts.next() == Some("services") && parts.next().is_some_and(|name| !enabled.contains(name)) {
                continue;
            }
            let key = segments.last().copied().unwrap_or_default();
            let diagnostic = match row.support {
                Support::Honoured => continue,
                Support::Warned(why) => {
                    Diagnostic::warning(format!("`{key}` has no effect: {why}")).at(span, "without effect")
                }
                Support::Refused(why) => {
                    Diagnostic::error(format!("`{key}` is not supported")).at(span, "refused").hint(why)
                }
            };
            session.report(diagnostic.path(path));
        }
    }
}

fn find(node: &Node, segments: &[&str], path: String, found: &mut Vec<(String, Span)>) {
    let Some((first, rest)) = segments.split_first() else { return };
    let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    if let Some(items) = node.as_sequence() {
        if *first == "*" {
            for (index, item) in items.iter().enumerate() {
                find(item, rest, format!("{path}[{index}]"), found);
            }
        }
        return;
    }
    for (key, entry) in node.as_mapping().into_iter().flat_map(Mapping::iter) {
        if *first != "*" && *first != key {
            continue;
        }
        match rest.is_empty() {
            true => found.push((join(key), entry.key_span)),
            false => find(&entry.node, rest, join(key), found),
        }
    }
}
