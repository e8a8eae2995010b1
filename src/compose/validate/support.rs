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

const fn refused(path: &'static str, instead: &'static str) -> Row {
    Row { path, support: Support::Refused(instead) }
}

const WINDOWS: &str = "it is for Windows containers";
const SWARM: &str = "it is for clusters, and this is one machine";
const NOT_YET: &str = "windlass does not do this yet";

/// Attributes that are not, or not yet, honoured. What is absent here is.
pub static TABLE: &[Row] = &[
    warned("services.*.annotations", "nothing on this machine reads annotations"),
    warned("services.*.cgroup_parent", NOT_YET),
    warned("services.*.cpu_count", WINDOWS),
    warned("services.*.cpu_percent", WINDOWS),
    warned("services.*.credential_spec", WINDOWS),
    warned("services.*.deploy.endpoint_mode", SWARM),
    warned("services.*.deploy.placement", SWARM),
    warned("services.*.deploy.resources.reservations.cpus", SWARM),
    warned("services.*.deploy.resources.reservations.generic_resources", SWARM),
    warned("services.*.external_links", NOT_YET),
    warned("services.*.isolation", WINDOWS),
    warned("services.*.pull_refresh_after", NOT_YET),
    warned("services.*.runtime", "windlass is the runtime"),
    warned("services.*.storage_opt", NOT_YET),
    warned("services.*.volumes.*.bind.selinux", NOT_YET),
    warned("services.*.volumes.*.consistency", "it is for virtual machines"),
    warned("networks.*.attachable", SWARM),
    refused("services.*.gpus", "remove it; devices of this machine can be given with `devices`"),
    refused("services.*.models", "remove it, and give the service the address of a model server in `environment`"),
    refused("services.*.pre_start", "use a service of its own and `depends_on` with `service_completed_successfully`"),
    refused("services.*.provider", "start it by hand, and give the services its address in `environment`"),
    refused("services.*.use_api_socket", "remove it; there is no Docker socket to give"),
    refused("services.*.userns_mode", "remove it; containers share the user namespace of windlass"),
    refused("services.*.volumes_from", "name the volumes in both services"),
];

/// What happens with the attribute at `path` of the table's form.
#[must_use]
pub fn support(path: &str) -> Support {
    let row = TABLE
        .iter()
        .find(|row| path == row.path || path.strip_prefix(row.path).is_some_and(|rest| rest.starts_with('.')));
    row.map_or(Support::Honoured, |row| row.support)
}

/// The table of all attributes as a page of the documentation.
#[must_use]
pub fn page() -> String {
    use std::fmt::Write as _;
    let mut text = "# Attributes of a Compose file\n\nGenerated from the tables in the code. Honoured: it does what the \
                    specification says. Warned: it loads and is printed, and a warning says that it has no effect. Refused: \
                    commands that start containers say so and stop. Nothing is left out in silence.\n\n\
                    The last column says what an empty text means, such as `${NAME:-}` makes when nothing sets `NAME`.\n\n\
                    | attribute | | | empty |\n| --- | --- | --- | --- |\n"
        .to_owned();
    for (path, empty) in crate::compose::schema::attributes() {
        let (kind, why) = match support(&path) {
            Support::Honoured => ("honoured", ""),
            Support::Warned(why) => ("warned", why),
            Support::Refused(instead) => ("refused", instead),
        };
        _ = writeln!(text, "| `{path}` | {kind} | {why} | {} |", empty.as_str());
    }
    text
}

/// Reports the attributes of the active services that are not honoured. What changes the meaning is a fault when the
/// services are to run.
pub fn warn(tree: &Node, enabled: &Enabled, running: bool, session: &mut Session) {
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
                Support::Refused(instead) if running => {
                    Diagnostic::error(format!("`{key}` is not supported")).at(span, "refused").hint(instead)
                }
                Support::Refused(instead) => {
                    Diagnostic::warning(format!("`{key}` is not supported by commands that start containers"))
                        .at(span, "")
                        .hint(instead)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/compose-support.md");
        if std::env::var_os("UPDATE_FIXTURES").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        assert!(std::fs::read_to_string(path).unwrap() == page(), "run with UPDATE_FIXTURES=1");
    }

    #[test]
    fn rows_name_known_attributes() {
        let known = crate::compose::schema::paths();
        for row in TABLE {
            assert!(known.iter().any(|path| path == row.path), "{}", row.path);
        }
    }
}
