//! Short syntaxes that are small enough to need no file of their own, and the way to the others.

use super::kind::wrong_kind;
use super::structure::{canonicalise, list, object, unique};
use super::{command, devices, hosts, mounts, ports};
use crate::compose::provenance::Reason;
use crate::compose::schema::{ENV_FILE, EXTENDS, EXTERNAL, INCLUDE, INSTALL, Shape, Special, build_object, object_of};
use crate::compose::session::{ModelPath, Session};
use crate::compose::yaml::{Entry, Mapping, Node, Past, Tag, Value};
use crate::diag::{Diagnostic, nearest};

/// Brings a value with a short syntax into the long one.
pub(super) fn expand(node: &mut Node, special: Special, path: &mut ModelPath, session: &mut Session) {
    match special {
        Special::Build => {
            keyed_by(node, "context");
            object(node, build_object(), path, session);
        }
        Special::Extends => {
            keyed_by(node, "service");
            object(node, &EXTENDS, path, session);
        }
        Special::Install => {
            if matches!(node.value, Value::Sequence(_)) {
                under(node, "command");
            }
            keyed_by(node, "command");
            object(node, &INSTALL, path, session);
        }
        Special::Script => script(node, path, session),
        Special::Command => command_line(node, path, session),
        Special::ContainerName => container_name(node, path, session),
        Special::HealthTest => health_test(node, path, session),
        Special::DependsOn => {
            names_to_table(node, path, session, dependency);
            long_form(node, special, path, session);
        }
        Special::Networks | Special::Models => {
            names_to_table(node, path, session, nothing);
            long_form(node, special, path, session);
        }
        Special::EnvFile => env_file(node, path, session),
        Special::Include => include(node, path, session),
        Special::External => external(node, path, session),
        Special::MacAddress => canonicalise(node, &Shape::Text, path, session),
        Special::PullPolicy => pull_policy(node, path, session),
        Special::Restart => restart(node, path, session),
        Special::Ssh => ssh(node, path, session),
        Special::ProviderOptions => provider_options(node, path, session),
        Special::Devices => devices::devices(node, path, session),
        Special::DeviceCount => devices::count(node, path, session),
        Special::Gpus => devices::gpus(node, path, session),
        Special::Ulimits => devices::ulimits(node, path, session),
        Special::ExtraHosts => hosts::extra_hosts(node, path, session),
        Special::FileReferences => mounts::file_references(node, None, path, session),
        Special::SecretReferences => mounts::file_references(node, Some("/run/secrets/"), path, session),
        Special::Ports => ports::ports(node, path, session),
        Special::Volumes => mounts::volumes(node, path, session),
    }
}

fn long_form(node: &mut Node, special: Special, path: &mut ModelPath, session: &mut Session) {
    if let Some(shape) = object_of(special) {
        canonicalise(node, shape, path, session);
    }
}

/// `text` becomes `{ key: text }`.
fn keyed_by(node: &mut Node, key: &str) {
    if node.as_str().is_some() {
        under(node, key);
    }
}

fn under(node: &mut Node, key: &str) {
    let mut mapping = Mapping::default();
    mapping.insert(key, Node { tag: Tag::None, ..node.clone() });
    node.value = Value::Mapping(Box::new(mapping));
}

/// One string is for a shell.
fn script(node: &mut Node, path: &mut ModelPath, session: &mut Session) {
    if node.as_str() == Some("") {
        node.value = Value::Sequence(Vec::new());
        return;
    }
    if let Value::String(text) = &node.value {
        let words = ["/bin/sh".to_owned(), "-c".to_owned(), text.clone()];
        let words = words.map(|word| Node { tag: Tag::None, ..node.with(Value::String(word)) });
        node.value = Value::Sequence(words.to_vec());
        return;
    }
    list(node, &Shape::Text, path, session);
}

/// A list of names becomes a mapping.
fn names_to_table(node: &mut Node, path: &mut ModelPath, session: &mut Session, value: fn(&Node) -> Node) {
    match &mut node.value {
        Value::Sequence(items) => {
            let mut mapping = Mapping::default();
            for (index, mut item) in std::mem::take(items).into_iter().enumerate() {
                match item.as_str() {
                    Some(name) => mapping.insert(name.to_owned(), value(&item)),
                    None => path.index(index, |path| wrong_kind(&mut item, "a name", None, path, session)),
                }
            }
            node.value = Value::Mapping(Box::new(mapping));
        }
        Value::Mapping(_) => {}
        _ => {
            let hint = node.scalar_text().map(|text| format!("write it as a list: [{text}]"));
            wrong_kind(node, "a list of names or a mapping", hint, path, session);
        }
    }
}

fn nothing(item: &Node) -> Node {
    Node { tag: Tag::None, ..item.with(Value::Null) }
}

fn dependency(item: &Node) -> Node {
    let mut mapping = Mapping::default();
    let mut put = |key: &str, value| {
        mapping.insert(key, Node { past: Past::made(Reason::ShortForm), ..Node::new(value, item.span) });
    };
    put("condition", Value::String("service_started".to_owned()));
    put("required", Value::Bool(true));
    Node { tag: Tag::None, ..item.with(Value::Mapping(Box::new(mapping))) }
}

fn command_line(node: &mut Node, path: &mut ModelPath, session: &mut Session) {
    match &node.value {
        Value::String(text) => {
            let text = text.clone();
            let Some(split) = command::split(&text) else {
                let diagnostic = Diagnostic::error(format!(
                    "`{}` has a quote or bracket without its pair",
                    path.last()
                ))
                .at(node.span, "cannot be split into words")
                .path(path.as_str())
                .hint(
                    "a command is split at blanks and not run in a shell; write it as a list: [\"sh\", \"-c\", \"…\"]",
                );
                return session.report_node(node, diagnostic);
            };
            if !split.dropped.is_empty() {
                let diagnostic =
                    Diagnostic::warning(format!("a command is not run in a shell: {:?} is left out", split.dropped))
                        .at(crate::compose::interpolate::locate(&session.sources, node.span, split.dropped), "left out")
                        .path(path.as_str())
                        .hint("write it as a list for a shell: [\"sh\", \"-c\", \"…\"]");
                session.report_node(node, diagnostic);
            }
            let words = split.words.into_iter().map(|word| Node { tag: Tag::None, ..node.with(Value::String(word)) });
            node.value = Value::Sequence(words.collect());
        }
        Value::Sequence(_) => list(node, &Shape::Text, path, session),
        _ => wrong_kind(node, "a string or a list of strings", None, path, session),
    }
}

fn health_test(node: &mut Node, path: &mut ModelPath, session: &mut Session) {
    if let Value::String(text) = &node.value {
        let words = ["CMD-SHELL".to_owned(), text.clone()];
        let words = words.map(|word| Node { tag: Tag::None, ..node.with(Value::String(word)) });
        node.value = Value::Sequence(words.to_vec());
        return;
    }
    list(node, &Shape::Text, path, session);
    let first = node.as_sequence().and_then(<[Node]>::first).cloned();
    let Some(first) = first.filter(|first| !session.is_template(first)) else { return };
    let word = first.as_str().unwrap_or_default();
    if !["NONE", "CMD", "CMD-SHELL"].contains(&word) {
        let diagnostic = Diagnostic::error("the list of `test` must begin with \"CMD\", \"CMD-SHELL\" or \"NONE\"")
            .at(first.span, "the first item")
            .path(path.as_str())
            .hint(format!("write [\"CMD\", {word:?}, …] to run it, or [\"CMD-SHELL\", \"…\"] to run it in a shell"));
        session.report_node(&first, diagnostic);
    }
}

fn env_file(node: &mut Node, path: &mut ModelPath, session: &mut Session) {
    match &mut node.value {
        Value::String(_) => {
            let item = Node { tag: Tag::None, ..node.clone() };
            node.value = Value::Sequence(vec![item]);
        }
        Value::Sequence(_) => {}
        _ => {
            let hint = "begin the line of `path` with `- `".to_owned();
            return wrong_kind(node, "a path or a list of paths", Some(hint), path, session);
        }
    }
    if let Value::Sequence(items) = &mut node.value {
        for item in items {
            keyed_by(item, "path");
        }
    }
    list(node, &Shape::Object(&ENV_FILE), path, session);
}

fn include(node: &mut Node, path: &mut ModelPath, session: &mut Session) {
    if let Value::Sequence(items) = &mut node.value {
        for item in items {
            keyed_by(item, "path");
        }
    }
    list(node, &Shape::Object(&INCLUDE), path, session);
}

fn external(node: &mut Node, path: &mut ModelPath, session: &mut Session) {
    if !matches!(node.value, Value::Mapping(_)) {
        return canonicalise(node, &Shape::Flag, path, session);
    }
    object(node, &EXTERNAL, path, session);
    let diagnostic = Diagnostic::warning("`external.name` is deprecated")
        .at(node.span, "")
        .path(path.as_str())
        .hint("write `external: true` and `name: …` next to each other");
    session.report(diagnostic);
}

fn container_name(node: &mut Node, path: &mut ModelPath, session: &mut Session) {
    canonicalise(node, &Shape::Text, path, session);
    let Some(text) = node.as_str() else { return };
    let mut bytes = text.bytes();
    let fine = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && bytes.len() > 0
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
    if !fine {
        let diagnostic = Diagnostic::error(format!("{text:?} cannot be the name of a container"))
            .at(node.span, "not a name")
            .path(path.as_str())
            .hint("a name has two characters or more, letters, digits, `_`, `.` and `-`, and begins with a letter or digit");
        session.report_node(node, diagnostic);
    }
}

fn pull_policy(node: &mut Node, path: &mut ModelPath, session: &mut Session) {
    canonicalise(node, &Shape::Text, path, session);
    let Some(text) = node.as_str() else { return };
    const KNOWN: [&str; 8] = ["always", "never", "build", "if_not_present", "missing", "refresh", "daily", "weekly"];
    let every = text.strip_prefix("every_").is_some_and(|rest| {
        let mut parts = rest.split_inclusive(|c: char| !c.is_ascii_digit());
        let is_part = |part: &str| part.len() > 1 && part.ends_with(['w', 'd', 'h', 'm', 's']);
        !rest.is_empty() && parts.all(is_part)
    });
    if every || KNOWN.contains(&text) {
        return;
    }
    let hint = match nearest(text, KNOWN) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "known policies: `always`, `missing`, `never`, `build`, `daily`, `weekly`, `every_12h`".to_owned(),
    };
    let diagnostic = Diagnostic::error(format!("{text:?} is not a pull policy"))
        .at(node.span, "not known")
        .path(path.as_str())
        .hint(hint);
    session.report_node(node, diagnostic);
}

fn restart(node: &mut Node, path: &mut ModelPath, session: &mut Session) {
    if let Value::Bool(value) = node.value {
        let hint = if value { "write `always`" } else { "quote it: \"no\"" };
        return wrong_kind(node, "a string", Some(hint.to_owned()), path, session);
    }
    canonicalise(node, &Shape::Text, path, session);
    let Some(text) = node.as_str() else { return };
    let (policy, retries) = text.split_once(':').map_or((text, None), |(policy, retries)| (policy, Some(retries)));
    const KNOWN: [&str; 4] = ["no", "always", "unless-stopped", "on-failure"];
    let fine = match (policy, retries) {
        ("on-failure", Some(retries)) => retries.parse::<u32>().is_ok(),
        (policy, None) => policy.is_empty() || KNOWN.contains(&policy),
        _ => false,
    };
    if !fine {
        let hint = match nearest(policy, KNOWN) {
            Some(near) if retries.is_none() => format!("did you mean `{near}`?"),
            _ => "known policies: `no`, `always`, `unless-stopped`, `on-failure`, `on-failure:5`".to_owned(),
        };
        let diagnostic = Diagnostic::error(format!("{text:?} is not a restart policy"))
            .at(node.span, "not known")
            .path(path.as_str())
            .hint(hint);
        session.report_node(node, diagnostic);
    }
}

/// Canonical: `id` or `id=path`.
fn ssh(node: &mut Node, path: &mut ModelPath, session: &mut Session) {
    if let Value::Mapping(mapping) = &mut node.value {
        for (key, entry) in &mut mapping.0 {
            if matches!(entry.node.value, Value::Sequence(_) | Value::Mapping(_)) {
                path.key(key, |path| wrong_kind(&mut entry.node, "a path", None, path, session));
            }
        }
        let items = mapping.iter().map(|(key, Entry { key_span, node })| {
            let text = match node.scalar_text() {
                Some(value) if !value.is_empty() => format!("{key}={value}"),
                _ => key.clone(),
            };
            Node::string(text, *key_span)
        });
        node.value = Value::Sequence(items.collect());
    }
    list(node, &Shape::Text, path, session);
    for item in node.as_sequence().unwrap_or_default() {
        if item.as_str() == Some("") {
            let diagnostic = Diagnostic::error("an SSH key has no name".to_owned())
                .at(item.span, "empty")
                .path(path.as_str())
                .hint("write `default`, or `ID=PATH`");
            session.report_node(item, diagnostic);
        }
    }
    unique(node);
}

fn provider_options(node: &mut Node, path: &mut ModelPath, session: &mut Session) {
    static VALUES: Shape = Shape::Table(&Shape::List(&Shape::Scalar));
    if let Value::Mapping(mapping) = &mut node.value {
        for entry in mapping.0.values_mut() {
            if let Some(text) = entry.node.scalar_text() {
                let item = Node::string(text, entry.node.span);
                entry.node.value = Value::Sequence(vec![item]);
            }
        }
    }
    canonicalise(node, &VALUES, path, session);
}
