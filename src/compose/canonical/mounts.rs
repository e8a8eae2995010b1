//! `volumes`, `secrets` and `configs` of a service.

use super::kind::wrong_kind;
use super::structure::list;
use crate::compose::schema::{FILE_REFERENCE, Shape, VOLUME_MOUNT};
use crate::compose::session::{ModelPath, Session};
use crate::compose::yaml::{Mapping, Node, Tag, Value};
use crate::diag::Diagnostic;

const FORMS: &str = "the forms are TARGET, SOURCE:TARGET and SOURCE:TARGET:OPTIONS; the target is an absolute path";

/// `[SOURCE:]TARGET[:OPTIONS]`.
pub(super) fn volumes(node: &mut Node, path: &mut ModelPath, session: &mut Session) {
    if let Value::Sequence(items) = &mut node.value {
        for (index, item) in items.iter_mut().enumerate() {
            let Some(text) = item.as_str().map(str::to_owned).filter(|_| !session.is_template(item)) else { continue };
            path.index(index, |path| match short(&text, item) {
                Ok(value) => item.value = value,
                Err(text) => {
                    let diagnostic =
                        Diagnostic::error(format!("invalid volume {:?}", item.as_str().unwrap_or_default()))
                            .at(item.span, text)
                            .path(path.as_str())
                            .hint(FORMS);
                    session.report_node(item, diagnostic);
                    item.tag = Tag::Reset;
                }
            });
        }
        items.retain(|item| item.tag != Tag::Reset);
    }
    list(node, &Shape::Object(&VOLUME_MOUNT), path, session);
}

fn short(text: &str, item: &Node) -> Result<Value, &'static str> {
    let put = |mapping: &mut Mapping, key: &str, value| {
        mapping.insert(key, Node { tag: Tag::None, ..item.with(value) });
    };
    let parts: Vec<&str> = text.split(':').collect();
    if text.trim().is_empty() {
        return Err("empty");
    }
    if parts.iter().any(|part| part.is_empty()) {
        return Err("a part between two colons is empty");
    }
    let (source, target, options) = match parts[..] {
        [target] => (None, target, ""),
        [source, target] => (Some(source), target, ""),
        [source, target, options] => (Some(source), target, options),
        _ => return Err("too many colons"),
    };
    let is_path = source.is_some_and(|source| source.starts_with(['.', '/', '~']));
    let mut mapping = Mapping::default();
    let mut bind = Mapping::default();
    let mut volume = Mapping::default();
    put(&mut mapping, "type", Value::String(if is_path { "bind" } else { "volume" }.to_owned()));
    if let Some(source) = source {
        put(&mut mapping, "source", Value::String(source.to_owned()));
    }
    put(&mut mapping, "target", Value::String(clean(target)));
    for option in options.split(',') {
        match option {
            "ro" => put(&mut mapping, "read_only", Value::Bool(true)),
            "z" | "Z" => put(&mut bind, "selinux", Value::String(option.to_owned())),
            "nocopy" => put(&mut volume, "nocopy", Value::Bool(true)),
            "rprivate" | "private" | "rshared" | "shared" | "rslave" | "slave" => {
                put(&mut bind, "propagation", Value::String(option.to_owned()));
            }
            // The peer takes no notice of others (`rw`, `cached`, `delegated`).
            _ => {}
        }
    }
    if is_path {
        put(&mut bind, "create_host_path", Value::Bool(true));
    }
    if is_path || !bind.0.is_empty() {
        put(&mut mapping, "bind", Value::Mapping(Box::new(bind)));
    }
    if !is_path || !volume.0.is_empty() {
        put(&mut mapping, "volume", Value::Mapping(Box::new(volume)));
    }
    Ok(Value::Mapping(Box::new(mapping)))
}

/// The path without `.`, `..`, repeated and trailing slashes.
pub(in crate::compose) fn clean(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// `NAME` becomes `{ source: NAME }`, with a target when there is a folder for them.
pub(super) fn file_references(node: &mut Node, folder: Option<&str>, path: &mut ModelPath, session: &mut Session) {
    let Value::Sequence(items) = &mut node.value else {
        let hint = node.scalar_text().map(|text| format!("write it as a list: [{text}]"));
        return wrong_kind(node, "a list", hint, path, session);
    };
    for (index, item) in items.iter_mut().enumerate() {
        let Some(name) = item.as_str() else { continue };
        if name.is_empty() {
            path.index(index, |path| {
                let diagnostic = Diagnostic::error("a name is missing").at(item.span, "empty").path(path.as_str());
                session.report_node(item, diagnostic);
            });
            item.tag = Tag::Reset;
            continue;
        }
        let target = folder.map(|folder| format!("{folder}{name}"));
        let mut mapping = Mapping::default();
        mapping.insert("source", Node { tag: Tag::None, ..item.clone() });
        if let Some(target) = target {
            mapping.insert("target", Node { tag: Tag::None, ..item.with(Value::String(target)) });
        }
        item.value = Value::Mapping(Box::new(mapping));
    }
    items.retain(|item| item.tag != Tag::Reset);
    list(node, &Shape::Object(&FILE_REFERENCE), path, session);
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn paths_are_cleaned() {
        for (path, cleaned) in
            [("/a/../b/", "/b"), ("./a", "a"), ("/", "/"), ("/..", "/"), (".", "."), ("../a/..", ".."), ("a//b", "a/b")]
        {
            assert_eq!(clean(path), cleaned, "{path}");
        }
    }
}
