//! Values from outside: variables without a value, `env_file`, `label_file`.

use std::collections::HashMap;
use std::path::Path;

use indexmap::IndexMap;

use super::dotenv;
use super::environment::Environment;
use super::files::FileSource;
use super::load::{reason, report_dotenv};
use super::project::Enabled;
use super::session::Session;
use super::yaml::{Entry, Mapping, Node, Value};
use crate::diag::Diagnostic;

/// Gives `- NAME` of `environment` its value, and secrets and configs the value of their variable.
pub fn environment(project: &mut Node, environment: &Environment) {
    let Some(project) = project.as_mapping_mut() else { return };
    if let Some(services) = project.get_mut("services").and_then(Node::as_mapping_mut) {
        for entry in services.0.values_mut() {
            let Some(variables) = entry.node.as_mapping_mut().and_then(|it| it.get_mut("environment")) else {
                continue;
            };
            let Some(variables) = variables.as_mapping_mut() else { continue };
            for (name, entry) in &mut variables.0 {
                if entry.node.is_null()
                    && let Some(value) = environment.get(name)
                {
                    entry.node.value = Value::String(value.to_owned());
                }
            }
        }
    }
    for kind in ["secrets", "configs"] {
        let Some(resources) = project.get_mut(kind).and_then(Node::as_mapping_mut) else { continue };
        for entry in resources.0.values_mut() {
            let Some(resource) = entry.node.as_mapping_mut() else { continue };
            let Some(variable) = resource.get("environment").cloned() else { continue };
            if let Some(value) = variable.as_str().and_then(|name| environment.get(name)) {
                let key = if kind == "secrets" { "#content" } else { "content" };
                resource.insert(key, Node::string(value, variable.span));
            }
        }
    }
}

/// Merges `env_file` below `environment` and `label_file` below `labels`.
pub fn env_files(
    project: &mut Node,
    enabled: &Enabled,
    environment: &Environment,
    files: &dyn FileSource,
    shown_from: &Path,
    session: &mut Session,
) {
    let Some(services) = project.as_mapping_mut().and_then(|it| it.get_mut("services")).and_then(Node::as_mapping_mut)
    else {
        return;
    };
    let mut reader = Reader { environment, files, shown_from, session, texts: HashMap::new() };
    for (name, entry) in &mut services.0 {
        if !enabled.contains(name) {
            continue;
        }
        let Some(service) = entry.node.as_mapping_mut() else { continue };
        reader.env_file(name, service);
        reader.label_file(name, service);
    }
}

struct Reader<'a> {
    environment: &'a Environment,
    files: &'a dyn FileSource,
    shown_from: &'a Path,
    session: &'a mut Session,
    texts: HashMap<String, Option<String>>,
}

impl Reader<'_> {
    fn env_file(&mut self, name: &str, service: &mut Mapping) {
        let Some(list) = service.get("env_file").and_then(Node::as_sequence).map(<[Node]>::to_vec) else { return };
        let own: HashMap<String, String> = pairs(service.get("environment"));
        let mut read: IndexMap<String, (Option<String>, Node)> = IndexMap::new();
        for (index, item) in list.iter().enumerate() {
            let Some(node) = item.get("path") else { continue };
            let required = item.get("required").and_then(Node::as_bool).unwrap_or(true);
            let format = item.get("format").and_then(Node::as_str).unwrap_or_default();
            let model_path = format!("services.{name}.env_file[{index}]");
            if !["", "raw"].contains(&format) {
                let span = item.get("format").map_or(item.span, |it| it.span);
                self.session.report(
                    Diagnostic::error(format!("{format:?} is not a format of `env_file`"))
                        .at(span, "")
                        .path(model_path)
                        .hint("leave it out, or write `raw`"),
                );
                continue;
            }
            let Some(text) = self.text(node, required, "env file", &model_path) else { continue };
            let lookup = |name: &str| {
                let outside = self.environment.get(name).map(str::to_owned);
                outside.or_else(|| own.get(name).cloned())
            };
            let earlier = |name: &str| read.get(name).and_then(|(value, _)| value.clone());
            let assignments = match format {
                "raw" => dotenv::parse_raw(&text, &lookup),
                _ => match dotenv::parse_after(&text, &lookup, &earlier) {
                    Ok(assignments) => assignments,
                    Err(error) => {
                        let path = Path::new(node.as_str().unwrap_or_default());
                        let source = self.session.sources.add(path, self.shown_from, text);
                        report_dotenv(&error, source, self.session);
                        continue;
                    }
                },
            };
            for assignment in assignments {
                if assignment.value.is_some() {
                    read.insert(assignment.key, (assignment.value, node.clone()));
                }
            }
        }
        overlay(service, "environment", read.into_iter().map(|(key, (value, node))| (key, value, node)));
    }

    fn label_file(&mut self, name: &str, service: &mut Mapping) {
        let Some(list) = service.get("label_file").and_then(Node::as_sequence).map(<[Node]>::to_vec) else { return };
        let mut read: IndexMap<String, (String, Node)> = IndexMap::new();
        for (index, node) in list.iter().enumerate() {
            let model_path = format!("services.{name}.label_file[{index}]");
            let Some(text) = self.text(node, true, "label file", &model_path) else { continue };
            match dotenv::parse(&text, &|_| None) {
                Ok(assignments) => {
                    for assignment in assignments {
                        read.insert(assignment.key, (assignment.value.unwrap_or_default(), node.clone()));
                    }
                }
                Err(error) => {
                    let path = Path::new(node.as_str().unwrap_or_default());
                    let source = self.session.sources.add(path, self.shown_from, text);
                    report_dotenv(&error, source, self.session);
                }
            }
        }
        overlay(service, "labels", read.into_iter().map(|(key, (value, node))| (key, Some(value), node)));
    }

    fn text(&mut self, node: &Node, required: bool, what: &str, model_path: &str) -> Option<String> {
        let path = node.as_str()?;
        if let Some(known) = self.texts.get(path) {
            return known.clone();
        }
        let text = match self.files.read(Path::new(path)) {
            Ok(text) => Some(text),
            Err(error) if !required && error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                let hint = match error.kind() {
                    std::io::ErrorKind::NotFound if what == "env file" => {
                        Some("create it, or write `- path: …` with `required: false` when it may be absent".to_owned())
                    }
                    _ => None,
                };
                let diagnostic = Diagnostic::error(format!("cannot read {what} {path}: {}", reason(&error)))
                    .at(node.span, "named here")
                    .path(model_path)
                    .hint_opt(hint);
                self.session.report_node(node, diagnostic);
                // It is reported once for each place, so it is not remembered.
                return None;
            }
        };
        self.texts.insert(path.to_owned(), text.clone());
        text
    }
}

fn pairs(node: Option<&Node>) -> HashMap<String, String> {
    let mapping = node.and_then(Node::as_mapping);
    let entries = mapping.into_iter().flat_map(Mapping::iter);
    entries.filter_map(|(key, entry)| Some((key.clone(), entry.node.scalar_text()?))).collect()
}

/// What was read goes below what the service sets itself.
fn overlay(service: &mut Mapping, key: &str, read: impl Iterator<Item = (String, Option<String>, Node)>) {
    let mut merged = Mapping::default();
    for (name, value, node) in read {
        let value = value.map_or(Value::Null, Value::String);
        merged.0.insert(name, Entry { key_span: node.span, node: Node::new(value, node.span) });
    }
    if merged.0.is_empty() {
        return;
    }
    let span = merged.0.first().map_or_else(super::session::nowhere, |(_, entry)| entry.key_span);
    if let Some(own) = service.get_mut(key).and_then(Node::as_mapping_mut) {
        merged.0.extend(std::mem::take(&mut own.0));
    }
    service.insert(key, Node::mapping(merged, span));
}
