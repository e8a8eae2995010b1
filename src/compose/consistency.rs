//! Checks of the whole: names that must be known, attributes that exclude each other, circles.

use std::collections::{HashMap, HashSet};

use super::project::Enabled;
use super::session::Session;
use super::yaml::{Entry, Mapping, Node};
use crate::diag::{Diagnostic, Span, nearest};
use crate::language::{Language, Wanted};

/// Checks the active services and all resources.
/// `named` are the services that a command is about; all when empty.
pub fn check(tree: &Node, enabled: &Enabled, named: &[String], session: &mut Session) {
    let empty = Mapping::default();
    let table = |kind: &str| tree.get(kind).and_then(Node::as_mapping).unwrap_or(&empty);
    let checks = Checks {
        services: table("services"),
        networks: table("networks"),
        volumes: table("volumes"),
        secrets: table("secrets"),
        configs: table("configs"),
        models: table("models"),
        enabled,
        named,
    };
    let asked = checks.asked();
    for (name, entry) in checks.services.iter().filter(|(name, _)| enabled.contains(*name)) {
        checks.service(name, entry, asked.contains(name.as_str()), session);
    }
    checks.container_names(session);
    checks.circles(session);
    resources(tree, session);
}

/// Services of a circle that are named.
const LONGEST_CIRCLE: usize = 20;

/// A service, where it is named, and the services that are still to be visited from it.
type Step<'a> = (&'a str, Span, Vec<(&'a str, Span)>);

struct Checks<'a> {
    services: &'a Mapping,
    networks: &'a Mapping,
    volumes: &'a Mapping,
    secrets: &'a Mapping,
    configs: &'a Mapping,
    models: &'a Mapping,
    enabled: &'a Enabled,
    named: &'a [String],
}

impl Checks<'_> {
    /// The services that a command is about, with all that these depend on.
    fn asked(&self) -> HashSet<&str> {
        if self.named.is_empty() {
            return self.services.0.keys().map(String::as_str).collect();
        }
        let mut asked = HashSet::new();
        let mut pending: Vec<&str> = self.named.iter().map(String::as_str).collect();
        while let Some(name) = pending.pop() {
            if asked.insert(name) {
                pending.extend(self.edges(name).into_iter().map(|(used, _)| used));
            }
        }
        asked
    }

    fn service(&self, name: &str, entry: &Entry, is_asked: bool, session: &mut Session) {
        let service = &entry.node;
        let path = format!("services.{name}");
        source(name, entry, &path, session);
        exclusive(service, name, &path, session);
        self.dependencies(name, service, &path, is_asked, session);
        self.shared_namespaces(name, service, &path, session);
        let tables = [("networks", "network", self.networks), ("models", "model", self.models)];
        for (key, what, known) in tables {
            for (used, entry) in service.get(key).and_then(Node::as_mapping).into_iter().flat_map(Mapping::iter) {
                if !(known.contains(used) || key == "networks" && used == "default") {
                    undefined(name, what, used, entry.key_span, &format!("{path}.{key}.{used}"), key, known, session);
                }
            }
        }
        for (key, what, known) in [("secrets", "secret", self.secrets), ("configs", "config", self.configs)] {
            for (index, item) in service.get(key).and_then(Node::as_sequence).unwrap_or_default().iter().enumerate() {
                let Some(node) = item.get("source") else { continue };
                let Some(used) = node.as_str() else { continue };
                if !known.contains(used) {
                    undefined(name, what, used, node.span, &format!("{path}.{key}[{index}]"), key, known, session);
                }
            }
        }
        self.mounts(name, service, &path, session);
        limits(service, &path, session);
        built_platform(service, &path, session);
        words(service, &path, session);
        watch(service, name, &path, session);
        for (index, device) in service.get("devices").and_then(Node::as_sequence).unwrap_or_default().iter().enumerate()
        {
            if device.get("target").is_none() {
                session.report(
                    Diagnostic::error("a device has no `target`")
                        .at(device.span, "`target` is missing")
                        .path(format!("{path}.devices[{index}]")),
                );
            }
        }
    }

    /// A name belongs to one container.
    fn container_names(&self, session: &mut Session) {
        let mut names: HashMap<&str, (&str, Span)> = HashMap::new();
        for (service, entry) in self.services.iter().filter(|(name, _)| self.enabled.contains(*name)) {
            let Some(node) = entry.node.get("container_name") else { continue };
            let Some(name) = node.as_str().filter(|name| !name.is_empty()) else { continue };
            if let Some((other, span)) = names.insert(name, (service, node.span)) {
                session.report(
                    Diagnostic::error(format!("services {other:?} and {service:?} have the same `container_name`"))
                        .at(node.span, format!("{name} again"))
                        .related(span, "named here")
                        .path(format!("services.{service}.container_name"))
                        .hint("give one of them another name"),
                );
            }
        }
    }

    /// What a service needs must be there; in a profile that is off it may be when nobody asks for that service.
    fn dependencies(&self, name: &str, service: &Node, path: &str, is_asked: bool, session: &mut Session) {
        for (used, entry) in service.get("depends_on").and_then(Node::as_mapping).into_iter().flat_map(Mapping::iter) {
            let required = entry.node.get("required").and_then(Node::as_bool).unwrap_or(true);
            let implied = entry.node.get("#origin").is_some();
            let path = if implied { path.to_owned() } else { format!("{path}.depends_on.{used}") };
            match self.services.get(used) {
                Some(_) if self.enabled.contains(used) || !required || !is_asked => {}
                Some(dependency) => {
                    let profiles: Vec<_> = dependency
                        .get("profiles")
                        .and_then(Node::as_sequence)
                        .unwrap_or_default()
                        .iter()
                        .filter_map(Node::as_str)
                        .collect();
                    session.report(
                        Diagnostic::error(format!("service {name:?} depends on {used:?}, whose profile is not active"))
                            .at(entry.key_span, format!("only in profile {}", profiles.join(", ")))
                            .path(path)
                            .hint(format!(
                                "run it with --profile {}, or set `required: false` for this dependency",
                                profiles.first().unwrap_or(&"NAME")
                            )),
                    );
                }
                None => {
                    let near = nearest(used, self.services.0.keys().map(String::as_str));
                    let hint = near.map(|near| format!("did you mean `{near}`?"));
                    session.report(
                        Diagnostic::error(format!("service {name:?} depends on undefined service {used:?}"))
                            .at(entry.key_span, "not defined in this project")
                            .path(path)
                            .hint_opt(hint),
                    );
                }
            }
        }
    }

    /// `network_mode: service:x` of a service that is its own.
    fn shared_namespaces(&self, name: &str, service: &Node, path: &str, session: &mut Session) {
        for key in ["network_mode", "ipc", "pid"] {
            let Some(node) = service.get(key) else { continue };
            if node.as_str().and_then(|text| text.strip_prefix("service:")) == Some(name) {
                session.report(
                    Diagnostic::error(format!("service {name:?} cannot share its own namespace"))
                        .at(node.span, "itself")
                        .path(format!("{path}.{key}")),
                );
            }
        }
    }

    fn mounts(&self, name: &str, service: &Node, path: &str, session: &mut Session) {
        let mut targets: HashMap<String, Span> = HashMap::new();
        for (index, item) in service.get("volumes").and_then(Node::as_sequence).unwrap_or_default().iter().enumerate() {
            let path = format!("{path}.volumes[{index}]");
            let kind = item.get("type").and_then(Node::as_str).unwrap_or_default();
            let source = item.get("source");
            if let Some(node) = source
                && kind == "volume"
                && let Some(used) = node.as_str()
                && !used.is_empty()
                && !self.volumes.contains(used)
            {
                undefined(name, "volume", used, node.span, &path, "volumes", self.volumes, session);
            }
            if source.and_then(Node::as_str).is_none_or(str::is_empty) && matches!(kind, "bind" | "image") {
                session.report(
                    Diagnostic::error(format!("a volume of type {kind} has no `source`"))
                        .at(item.span, "`source` is missing")
                        .path(path.clone())
                        .hint(match kind {
                            "bind" => "add `source: …`, a path of this machine",
                            _ => "add `source: …`, the name of an image",
                        }),
                );
            }
            let Some(target) = item.get("target") else {
                session.report(
                    Diagnostic::error("a volume has no `target`")
                        .at(item.span, "`target` is missing")
                        .path(path)
                        .hint("add `target: …`, an absolute path in the container"),
                );
                continue;
            };
            let text = target.as_str().unwrap_or_default();
            if !text.starts_with('/') {
                let diagnostic = Diagnostic::error(format!("the target {text:?} of a volume is not an absolute path"))
                    .at(target.span, "must begin with `/`")
                    .path(path.clone());
                session.report_node(target, diagnostic);
                continue;
            }
            if let Some(first) = targets.insert(text.to_owned(), target.span) {
                session.report(
                    Diagnostic::error(format!("two volumes of {name:?} have the target {text}"))
                        .at(target.span, "second one")
                        .related(first, "first one")
                        .path(path),
                );
            }
        }
    }

    /// Services that wait for each other.
    fn circles(&self, session: &mut Session) {
        let mut done: HashMap<&str, bool> = HashMap::new();
        for (start, _) in self.services.iter().filter(|(name, _)| self.enabled.contains(*name)) {
            if done.contains_key(start.as_str()) {
                continue;
            }
            // A walk with its own stack: chains may be long.
            let mut chain: Vec<Step<'_>> = vec![(start, Span { ..super::session::nowhere() }, self.edges(start))];
            done.insert(start, false);
            while let Some((_, _, edges)) = chain.last_mut() {
                let Some((next, span)) = edges.pop() else {
                    if let Some((name, _, _)) = chain.pop() {
                        done.insert(name, true);
                    }
                    continue;
                };
                match done.get(next) {
                    Some(true) => {}
                    Some(false) => {
                        let from = chain.iter().position(|(name, _, _)| *name == next).unwrap_or(0);
                        let mut names: Vec<&str> = chain[from..].iter().map(|(name, _, _)| *name).collect();
                        names.push(next);
                        if names.len() > LONGEST_CIRCLE {
                            names.splice(LONGEST_CIRCLE / 2..names.len() - LONGEST_CIRCLE / 2, ["…"]);
                        }
                        let mut diagnostic =
                            Diagnostic::error(format!("services wait for each other: {}", names.join(" → ")))
                                .at(span, "closes the circle")
                                .path(format!("services.{}.depends_on", chain.last().map_or("", |(name, _, _)| name)))
                                .hint("take away one of these dependencies");
                        for (_, span, _) in chain.iter().skip(from + 1).take(LONGEST_CIRCLE) {
                            diagnostic = diagnostic.related(*span, "");
                        }
                        session.report(diagnostic);
                    }
                    None => {
                        done.insert(next, false);
                        chain.push((next, span, self.edges(next)));
                    }
                }
            }
        }
    }

    fn edges(&self, name: &str) -> Vec<(&str, Span)> {
        let depends_on = self.services.get(name).and_then(|it| it.get("depends_on")).and_then(Node::as_mapping);
        let mut edges: Vec<(&str, Span)> = depends_on
            .into_iter()
            .flat_map(Mapping::iter)
            .filter(|(used, _)| self.enabled.contains(*used))
            .map(|(used, entry)| (used.as_str(), entry.key_span))
            .collect();
        edges.reverse();
        edges
    }
}

fn undefined(
    service: &str,
    what: &str,
    used: &str,
    span: Span,
    path: &str,
    kind: &str,
    known: &Mapping,
    session: &mut Session,
) {
    let hint = match nearest(used, known.0.keys().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if what == "volume" => {
            format!("declare it at the top level: `volumes: {{ {used}: }}`, or write ./{used} for a folder")
        }
        None => format!("declare it at the top level: `{kind}: {{ {used}: … }}`"),
    };
    session.report(
        Diagnostic::error(format!("service {service:?} uses undefined {what} {used:?}"))
            .at(span, format!("not in the top-level `{kind}`"))
            .path(path)
            .hint(hint),
    );
}

/// A service must come from somewhere.
fn source(name: &str, entry: &Entry, path: &str, session: &mut Session) {
    let service = &entry.node;
    let has = |key: &str| service.get(key).is_some_and(|node| !node.is_null() && node.as_str() != Some(""));
    let host = service.get("x-windlass").and_then(|it| it.get("rootfs")).is_some();
    toolchain(service, path, host, session);
    // What it extends could not be read: that is said already.
    let unknown = has("extends");
    if !(has("image") || has("build") || has("provider") || host || unknown) {
        session.report(
            Diagnostic::error(format!("service {name:?} has neither an image nor a build context"))
                .at(entry.key_span, "`image` or `build` is missing")
                .path(path)
                .hint(
                    "add `image: …` or `build: .`; `x-windlass: { rootfs: host }` runs it on this machine's own files",
                ),
        );
    }
    if let Some(build) = service.get("build")
        && let (Some(_), Some(inline)) = (build.get("dockerfile"), build.get("dockerfile_inline"))
        && !is_default_dockerfile(build)
    {
        session.report(
            Diagnostic::error("`dockerfile` and `dockerfile_inline` exclude each other")
                .at(inline.span, "beside `dockerfile`")
                .path(format!("{path}.build"))
                .hint("remove one of them"),
        );
    }
}

/// Versions of languages must be some, and have the host root file system to lie over.
fn toolchain(service: &Node, path: &str, host: bool, session: &mut Session) {
    let toolchain = service.get("x-windlass").and_then(|it| it.get("toolchain"));
    let Some(toolchain) = toolchain.and_then(Node::as_mapping).filter(|it| !it.0.is_empty()) else { return };
    let path = format!("{path}.x-windlass.toolchain");
    for (name, entry) in toolchain.iter() {
        if let Some(language) = Language::from_name(name)
            && let Some(text) = entry.node.as_str().filter(|text| *text != "auto")
            && let Err(error) = Wanted::parse(language, text)
        {
            let diagnostic =
                Diagnostic::error(error.to_string()).at(entry.node.span, "not known").path(format!("{path}.{name}"));
            let hint = "write a version, a range, or `auto` for what the project's own files say";
            session.report_node(&entry.node, diagnostic.hint(hint));
        }
        if !host {
            session.report(
                Diagnostic::error("`toolchain` needs `rootfs: host`")
                    .at(entry.key_span, "an image has its own")
                    .path(format!("{path}.{name}"))
                    .hint("add `rootfs: host`, or take an image that has the language: `python:3.12-slim`"),
            );
        }
    }
}

/// Set by normalisation and not by the file.
fn is_default_dockerfile(build: &Node) -> bool {
    build.get("dockerfile").is_some_and(|node| node.span == build.span)
}

fn exclusive(service: &Node, name: &str, path: &str, session: &mut Session) {
    if let (Some(mode), Some(networks)) =
        (service.get("network_mode"), service.get("networks").and_then(Node::as_mapping))
        && !networks.0.is_empty()
        && !mode.is_null()
    {
        let place = networks.0.first().map_or(mode.span, |(_, entry)| entry.key_span);
        session.report(
            Diagnostic::error(format!("service {name:?} has both `network_mode` and `networks`"))
                .at(mode.span, "one of them")
                .related(place, "the other")
                .path(format!("{path}.network_mode"))
                .hint("remove one of them"),
        );
    }
    if let Some(mode) = service.get("network_mode")
        && mode.as_str() == Some("host")
        && let Some(ports) = service.get("ports")
        && ports.as_sequence().is_some_and(|ports| !ports.is_empty())
    {
        session.report(
            Diagnostic::warning(format!("`ports` of {name:?} has no effect with `network_mode: host`"))
                .at(ports.as_sequence().and_then(<[Node]>::first).map_or(ports.span, |it| it.span), "not published")
                .path(format!("{path}.ports")),
        );
    }
    let replicas = service.get("deploy").and_then(|it| it.get("replicas"));
    let count = service.get("scale").or(replicas);
    if let Some(named) = service.get("container_name")
        && let Some(count) = count
        && count.as_int().is_some_and(|count| count > 1)
    {
        session.report(
            Diagnostic::error(format!("service {name:?} has a `container_name`, so it can have only one container"))
                .at(count.span, "more than one here")
                .related(named.span, "named here")
                .path(path)
                .hint("remove `container_name`"),
        );
    }
}

/// What gets into a line of `hosts` or `resolv.conf` is one word.
fn words(service: &Node, path: &str, session: &mut Session) {
    let items = |node: &Node| match node.as_sequence() {
        Some(items) => items.to_vec(),
        None => vec![node.clone()],
    };
    let mut named: Vec<(String, Node)> = Vec::new();
    for key in ["hostname", "domainname", "dns", "dns_search", "dns_opt"] {
        named.extend(service.get(key).into_iter().flat_map(items).map(|node| (key.to_owned(), node)));
    }
    for (network, entry) in service.get("networks").and_then(Node::as_mapping).into_iter().flat_map(Mapping::iter) {
        let aliases = entry.node.get("aliases").into_iter().flat_map(items);
        named.extend(aliases.map(|node| (format!("networks.{network}.aliases"), node)));
    }
    for (key, node) in named {
        let Some(text) = node.as_str().filter(|_| !session.is_template(&node)) else { continue };
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            let what = key.rsplit('.').next().unwrap_or_default();
            let diagnostic = Diagnostic::error(format!("{text:?} cannot be a value of `{what}`"))
                .at(node.span, "has blanks, line breaks or control characters")
                .path(format!("{path}.{key}"))
                .hint("write one word; several go into a list");
            session.report_node(&node, diagnostic);
        }
    }
}

/// What is run must be among what is built.
fn built_platform(service: &Node, path: &str, session: &mut Session) {
    let built = service.get("build").and_then(|build| build.get("platforms")).and_then(Node::as_sequence);
    let (Some(built), Some(wanted)) = (built.filter(|built| !built.is_empty()), service.get("platform")) else {
        return;
    };
    let is_open = |node: &Node| session.is_template(node);
    if is_open(wanted) || built.iter().any(|it| is_open(it) || it.as_str() == wanted.as_str()) {
        return;
    }
    let names: Vec<&str> = built.iter().filter_map(Node::as_str).collect();
    let name = wanted.as_str().unwrap_or_default();
    let diagnostic = Diagnostic::error(format!("`build.platforms` does not have the service's platform {name:?}"))
        .at(wanted.span, format!("not one of {}", names.join(", ")))
        .related(built[0].span, "these are built")
        .path(format!("{path}.platform"))
        .hint(format!("add {name} to `build.platforms`, or name one of them as `platform`"));
    session.report_node(wanted, diagnostic);
}

/// The same limit said twice must be the same.
fn limits(service: &Node, path: &str, session: &mut Session) {
    if session.raw {
        // The values are as they were written: `1g` and `1024m` are the same.
        return;
    }
    let deploy = service.get("deploy");
    let limit = |keys: &[&str]| keys.iter().try_fold(deploy?, |node, key| node.get(key));
    let pairs = [
        ("scale", limit(&["replicas"]), "deploy.replicas"),
        ("cpus", limit(&["resources", "limits", "cpus"]), "deploy.resources.limits.cpus"),
        ("mem_limit", limit(&["resources", "limits", "memory"]), "deploy.resources.limits.memory"),
        ("mem_reservation", limit(&["resources", "reservations", "memory"]), "deploy.resources.reservations.memory"),
        ("pids_limit", limit(&["resources", "limits", "pids"]), "deploy.resources.limits.pids"),
    ];
    for (key, other, other_name) in pairs {
        let (Some(own), Some(other)) = (service.get(key), other) else { continue };
        if own.scalar_text() != other.scalar_text() {
            session.report(
                Diagnostic::error(format!("`{key}` and `{other_name}` differ"))
                    .at(own.span, "one value")
                    .related(other.span, "another one")
                    .path(format!("{path}.{key}"))
                    .hint("remove one of them, or give both the same value"),
            );
        }
    }
    let devices = limit(&["resources", "reservations", "devices"]).and_then(Node::as_sequence).unwrap_or_default();
    for (index, device) in devices.iter().enumerate() {
        if let (Some(count), Some(ids)) = (device.get("count"), device.get("device_ids")) {
            session.report(
                Diagnostic::error("`count` and `device_ids` exclude each other")
                    .at(ids.span, "")
                    .related(count.span, "")
                    .path(format!("{path}.deploy.resources.reservations.devices[{index}]")),
            );
        }
    }
}

fn watch(service: &Node, name: &str, path: &str, session: &mut Session) {
    let rules = service.get("develop").and_then(|it| it.get("watch")).and_then(Node::as_sequence).unwrap_or_default();
    for (index, rule) in rules.iter().enumerate() {
        let action = rule.get("action").and_then(Node::as_str).unwrap_or_default();
        let path = format!("{path}.develop.watch[{index}]");
        if !matches!(action, "rebuild" | "restart") && rule.get("target").is_none() {
            session.report(
                Diagnostic::error(format!("a watch rule that does `{action}` has no `target`"))
                    .at(rule.span, "`target` is missing")
                    .path(path.clone())
                    .hint("add `target: …`, the path in the container"),
            );
        }
        if action == "rebuild" && service.get("build").is_none() {
            session.report(
                Diagnostic::warning(format!("a watch rule of {name:?} does `rebuild`, but the service has no `build`"))
                    .at(rule.span, "nothing to build")
                    .path(path)
                    .hint("add `build: …` to the service, or let the rule `restart` or `sync`"),
            );
        }
    }
}

/// Secrets and configs have one source; what somebody else made has a name and nothing more.
fn resources(tree: &Node, session: &mut Session) {
    for (kind, sources) in [("secrets", &["file", "environment"][..]), ("configs", &["file", "environment", "content"])]
    {
        for (name, entry) in tree.get(kind).and_then(Node::as_mapping).into_iter().flat_map(Mapping::iter) {
            let external = entry.node.get("external").and_then(Node::as_bool) == Some(true);
            let derived = entry.node.get("environment").is_some();
            let set: Vec<&str> = sources
                .iter()
                .copied()
                .filter(|key| entry.node.get(key).is_some() && !(derived && *key == "content"))
                .collect();
            let driven = entry.node.get("driver").is_some();
            if external || driven {
                continue;
            }
            let listed = sources.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
            let one = kind.trim_end_matches('s');
            if set.len() != 1 {
                let label = if set.is_empty() { "no source" } else { "more than one source" };
                session.report(
                    Diagnostic::error(format!("{one} {name:?} must have exactly one of {listed}"))
                        .at(entry.key_span, label)
                        .path(format!("{kind}.{name}"))
                        .hint(match set.is_empty() {
                            true => format!("say where it comes from, for example `file: ./{name}.txt`"),
                            false => format!("keep one of `{}`", set.join("`, `")),
                        }),
                );
            }
        }
    }
    for kind in ["networks", "volumes", "secrets", "configs"] {
        for (name, entry) in tree.get(kind).and_then(Node::as_mapping).into_iter().flat_map(Mapping::iter) {
            if entry.node.get("external").and_then(Node::as_bool) != Some(true) {
                continue;
            }
            let others = entry.node.as_mapping().into_iter().flat_map(Mapping::iter);
            for (key, other) in
                others.filter(|(key, _)| !["name", "external"].contains(&key.as_str()) && !key.starts_with("x-"))
            {
                session.report(
                    Diagnostic::error(format!("`{kind}.{name}` is external and cannot have `{key}`"))
                        .at(other.key_span, "not ours to set")
                        .path(format!("{kind}.{name}.{key}"))
                        .hint("remove the key, or `external`"),
                );
            }
        }
    }
}
