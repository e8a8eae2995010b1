//! One table: each attribute is honoured, warned about or refused.

use std::collections::HashSet;

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
    /// Refused by whoever sees that the text holds, and fine otherwise.
    RefusedWhen(&'static str),
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

const fn refused_when(path: &'static str, when: &'static str) -> Row {
    Row { path, support: Support::RefusedWhen(when) }
}

const WINDOWS: &str = "it is for Windows containers";
const SWARM: &str = "it is for clusters, and this is one machine";
const NOT_YET: &str = "windlass does not do this yet";
const UNLABELLED: &str = "it is a file of this machine here, and files have no labels";
const VERBATIM: &str = "contents are taken as they are";
const CLUSTER: &str = "when it is true: there is no cluster to take it from";
const DEVICES: &str = "remove it; devices of this machine can be given with `devices`";
const REALTIME: &str =
    "the kernel gives time to real-time processes of a group only where all groups above have theirs";
const STORE: &str = "use `file` or `environment`; there is no other store of secrets";

/// Attributes that are not, or not yet, honoured. What is absent here is.
pub static TABLE: &[Row] = &[
    warned("models", "windlass runs no models"),
    warned("services.*.annotations", "nothing on this machine reads annotations"),
    warned("services.*.cgroup_parent", NOT_YET),
    warned("services.*.cpu_count", WINDOWS),
    warned("services.*.cpu_percent", WINDOWS),
    warned("services.*.cpu_rt_period", REALTIME),
    warned("services.*.cpu_rt_runtime", REALTIME),
    warned("services.*.credential_spec", WINDOWS),
    warned("services.*.deploy.endpoint_mode", SWARM),
    warned("services.*.deploy.labels", "they are a cluster's; containers have those of `labels`"),
    warned("services.*.deploy.placement", SWARM),
    warned("services.*.deploy.resources.reservations.cpus", SWARM),
    warned("services.*.deploy.resources.reservations.generic_resources", SWARM),
    warned("services.*.external_links", NOT_YET),
    warned("services.*.isolation", WINDOWS),
    warned("services.*.networks.*.driver_opts", "a container's place in a bridge network has no options"),
    warned("services.*.pull_refresh_after", NOT_YET),
    warned("services.*.runtime", "windlass is the runtime"),
    warned("services.*.storage_opt", NOT_YET),
    warned("services.*.volumes.*.bind.selinux", NOT_YET),
    warned("services.*.volumes.*.consistency", "it is for virtual machines"),
    warned("services.*.volumes.*.volume.labels", "volumes have the labels of the top-level `volumes`"),
    warned("configs.*.labels", UNLABELLED),
    warned("configs.*.template_driver", VERBATIM),
    warned("networks.*.attachable", SWARM),
    warned("networks.*.ipam.options", "nothing that gives out addresses here has options"),
    warned("secrets.*.labels", UNLABELLED),
    warned("secrets.*.template_driver", VERBATIM),
    refused_when("configs.*.external", CLUSTER),
    refused_when("secrets.*.external", CLUSTER),
    refused_when(
        "services.*.build",
        "when no image of the service's name is here, since nothing is built; `windlass image load` brings one",
    ),
    refused("secrets.*.driver", STORE),
    refused("secrets.*.driver_opts", STORE),
    refused("services.*.deploy.resources.reservations.devices", DEVICES),
    refused("services.*.gpus", DEVICES),
    refused("services.*.models", "remove it, and give the service the address of a model server in `environment`"),
    refused("services.*.pre_start", "use a service of its own and `depends_on` with `service_completed_successfully`"),
    refused("services.*.provider", "start it by hand, and give the services its address in `environment`"),
    refused("services.*.use_api_socket", "remove it; there is no Docker socket to give"),
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
                    specification says, and `tests/it/attributes.rs` names the test that sees it. Warned: it loads and is printed, and a warning says that it has no effect. Refused: \
                    commands that start containers say so and stop; `config` prints it and warns. A value that nothing can \
                    be made of, such as `stop_signal: SIGNOPE`, is refused and warned about in the same way. Nothing is left out in silence.\n\n\
                    The last column says what an empty text means, such as `${NAME:-}` makes when nothing sets `NAME`.\n\n\
                    | attribute | | | empty |\n| --- | --- | --- | --- |\n"
        .to_owned();
    for (path, empty) in crate::compose::schema::attributes() {
        let (kind, why) = match support(&path) {
            Support::Honoured => ("honoured", ""),
            Support::Warned(why) => ("warned", why),
            Support::Refused(text) | Support::RefusedWhen(text) => ("refused", text),
        };
        _ = writeln!(text, "| `{path}` | {kind} | {why} | {} |", empty.as_str());
    }
    text
}

/// Reports the attributes of the active services, and of what these use, that are not honoured. What changes the meaning is a fault when the
/// services are to run.
pub fn warn(tree: &Node, enabled: &Enabled, running: bool, session: &mut Session) {
    let used = used(tree, enabled);
    for row in TABLE {
        let segments: Vec<&str> = row.path.split('.').collect();
        let mut found = Vec::new();
        find(tree, &segments, String::new(), &mut found);
        for (path, span) in found {
            let mut parts = path.splitn(3, '.');
            let (kind, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let counts = match kind {
                "services" => enabled.contains(name),
                "models" => true,
                _ => used.contains(&(kind, name)),
            };
            if !counts {
                continue;
            }
            let key = segments.last().copied().unwrap_or_default();
            let diagnostic = match row.support {
                Support::Honoured | Support::RefusedWhen(_) => continue,
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

/// The kinds and names of the resources that the active services use.
fn used<'a>(tree: &'a Node, enabled: &Enabled) -> HashSet<(&'static str, &'a str)> {
    let services = tree.get("services").and_then(Node::as_mapping).into_iter().flat_map(Mapping::iter);
    let mut used = HashSet::new();
    for (_, service) in services.filter(|(name, _)| enabled.contains(*name)) {
        let networks = service.node.get("networks").and_then(Node::as_mapping).into_iter().flat_map(Mapping::iter);
        used.extend(networks.map(|(name, _)| ("networks", name.as_str())));
        for kind in ["volumes", "secrets", "configs"] {
            let items = service.node.get(kind).and_then(Node::as_sequence).unwrap_or_default();
            used.extend(items.iter().filter_map(|item| Some((kind, item.get("source")?.as_str()?))));
        }
    }
    used
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
