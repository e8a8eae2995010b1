//! Values from outside: variables without a value, `env_file`, `label_file`.

use std::collections::HashMap;
use std::path::Path;

use indexmap::IndexMap;

use super::dotenv::{self, Assignment};
use super::environment::Environment;
use super::files::FileSource;
use super::interpolate::uses;
use super::load::{reason, report_dotenv, written_assignment};
use super::project::Enabled;
use super::provenance::{Rule, Through};
use super::session::{Interpolation, Session, VariableUse};
use super::template::Template;
use super::yaml::{Entry, Mapping, Node, Value};
use crate::diag::Diagnostic;

/// Gives `- NAME` of `environment` its value, and secrets and configs the value of their variable.
pub fn environment(project: &mut Node, environment: &Environment, session: &mut Session) {
    let Some(project) = project.as_mapping_mut() else { return };
    if let Some(services) = project.get_mut("services").and_then(Node::as_mapping_mut) {
        for (service, entry) in &mut services.0 {
            if let Some(variables) = entry.node.as_mapping_mut().and_then(|it| it.get_mut("environment")) {
                named_variables(variables, environment, &format!("services.{service}.environment"), session);
            }
        }
    }
    for kind in ["secrets", "configs"] {
        let Some(resources) = project.get_mut(kind).and_then(Node::as_mapping_mut) else { continue };
        for (name, entry) in &mut resources.0 {
            let Some(resource) = entry.node.as_mapping_mut() else { continue };
            let Some(mut variable) = resource.get("environment").cloned() else { continue };
            let Some(named) = variable.as_str().map(str::to_owned) else { continue };
            let path = format!("{kind}.{name}.environment");
            if let Some(value) = environment.get(&named) {
                let key = if kind == "secrets" { "#content" } else { "content" };
                from_variable(&mut variable, &named, value, environment, &path, session);
                resource.insert(key, variable);
            } else {
                session.trail.passed.push(passed(&named, &variable, &path, environment));
            }
        }
    }
}

/// Gives variables without a value that of the same name.
pub fn named_variables(variables: &mut Node, environment: &Environment, path: &str, session: &mut Session) {
    let Some(variables) = variables.as_mapping_mut() else { return };
    for (name, entry) in &mut variables.0 {
        if !entry.node.is_null() {
            continue;
        }
        let path = format!("{path}.{name}");
        match environment.get(name) {
            Some(value) => from_variable(&mut entry.node, name, value, environment, &path, session),
            None => {
                session.trail.passed.push(passed(name, &entry.node, &path, environment));
                let variables = vec![(name.clone(), None)];
                let span = entry.node.span;
                entry.node.origin =
                    session.trail.record(Interpolation { span, template: format!("${{{name}}}"), variables });
                session.history.rule(&mut entry.node, Rule::FromVariable);
            }
        }
    }
}

/// Gives `node` the value of the variable that it names.
fn from_variable(
    node: &mut Node,
    name: &str,
    value: &str,
    environment: &Environment,
    path: &str,
    session: &mut Session,
) {
    let variables = vec![(name.to_owned(), environment.variable(name).cloned())];
    session.trail.passed.push(passed(name, node, path, environment));
    node.origin = session.trail.record(Interpolation { span: node.span, template: format!("${{{name}}}"), variables });
    node.value = Value::String(value.to_owned());
    session.history.rule(node, Rule::FromVariable);
}

fn passed(name: &str, node: &Node, path: &str, environment: &Environment) -> VariableUse {
    let (name, span, path) = (name.to_owned(), node.span, path.to_owned());
    let set = environment.variable(&name).cloned();
    VariableUse { name, span, path, default: None, alternative: None, required: false, set }
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
        let mut read: IndexMap<String, Node> = IndexMap::new();
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
            let earlier = |name: &str| read.get(name).and_then(Node::scalar_text);
            let parsed = match format {
                "raw" => dotenv::parse_raw(&text, &lookup),
                _ => dotenv::parse_after(&text, &lookup, &earlier),
            };
            let assignments = match parsed {
                Ok(assignments) => assignments,
                Err(error) => {
                    let path = Path::new(node.as_str().unwrap_or_default());
                    let source = self.session.sources.add(path, self.shown_from, text);
                    report_dotenv(&error, source, self.session);
                    continue;
                }
            };
            if !(self.session.grow(assignments.len(), node.span) && self.session.expand(text.len(), node.span)) {
                return;
            }
            let values =
                self.values(&assignments, node, &text, &Through::EnvFile(node.span), &format!("services.{name}"));
            for (key, value) in values {
                self.below(&mut read, key, value);
            }
        }
        self.overlay(service, "environment", read);
    }

    fn label_file(&mut self, name: &str, service: &mut Mapping) {
        let Some(list) = service.get("label_file").and_then(Node::as_sequence).map(<[Node]>::to_vec) else { return };
        let mut read: IndexMap<String, Node> = IndexMap::new();
        for (index, node) in list.iter().enumerate() {
            let model_path = format!("services.{name}.label_file[{index}]");
            let Some(text) = self.text(node, true, "label file", &model_path) else { continue };
            match dotenv::parse(&text, &|_| None) {
                Ok(mut assignments) => {
                    for assignment in &mut assignments {
                        assignment.value.get_or_insert_default();
                    }
                    let through = Through::LabelFile(node.span);
                    for (key, value) in self.values(&assignments, node, &text, &through, &model_path) {
                        self.below(&mut read, key, value);
                    }
                }
                Err(error) => {
                    let path = Path::new(node.as_str().unwrap_or_default());
                    let source = self.session.sources.add(path, self.shown_from, text);
                    report_dotenv(&error, source, self.session);
                }
            }
        }
        self.overlay(service, "labels", read);
    }

    /// The assignments of a file as nodes that stand where the file is named; with a history, in the file.
    fn values(
        &mut self,
        assignments: &[Assignment],
        named_at: &Node,
        text: &str,
        through: &Through,
        path: &str,
    ) -> Vec<(String, Node)> {
        let source = self.session.history.is_on().then(|| {
            let path = Path::new(named_at.as_str().unwrap_or_default());
            self.session.sources.add(path, self.shown_from, text.to_owned())
        });
        let mut values = Vec::with_capacity(assignments.len());
        for (index, assignment) in assignments.iter().enumerate() {
            let Some(value) = &assignment.value else { continue };
            let mut node = Node::string(value.as_str(), named_at.span);
            if let Some(source) = source {
                let next = assignments.get(index + 1).map(|next| next.line);
                let (span, written) = written_assignment(assignment.line, next, source, &self.session.sources);
                node.span = span;
                self.note_variables(&mut node, written, &format!("{path}.environment.{}", assignment.key));
                self.session.history.through(&mut node, through);
            }
            values.push((assignment.key.clone(), node));
        }
        values
    }

    /// Notes the variables of a value of an env file, which is written as `template`.
    fn note_variables(&mut self, node: &mut Node, template: String, path: &str) {
        let Ok(parsed) = Template::parse(&template) else { return };
        let uses = uses(&parsed, node.span, path, Some(self.environment));
        let variables: Vec<_> = uses.iter().map(|used| (used.name.clone(), used.set.clone())).collect();
        self.session.trail.passed.extend(uses);
        if !variables.is_empty() {
            node.origin = self.session.trail.record(Interpolation { span: node.span, template, variables });
        }
    }

    /// A later file wins over an earlier one.
    fn below(&mut self, read: &mut IndexMap<String, Node>, key: String, mut value: Node) {
        if let Some(earlier) = read.get(&key) {
            value.past = self.session.history.over(earlier, &value, Rule::Replaces);
        }
        read.insert(key, value);
    }

    /// What was read goes below what the service sets itself.
    fn overlay(&mut self, service: &mut Mapping, key: &str, read: IndexMap<String, Node>) {
        let mut merged = Mapping::default();
        for (name, node) in read {
            merged.0.insert(name, Entry { key_span: node.span, node });
        }
        let Some((_, first)) = merged.0.first() else { return };
        let mut whole = Node::mapping(Mapping::default(), first.key_span);
        if let Some(own) = service.get_mut(key) {
            (whole.span, whole.past) = (own.span, own.past);
            for (name, mut entry) in own.as_mapping_mut().map(|own| std::mem::take(&mut own.0)).unwrap_or_default() {
                if let Some(below) = merged.get(&name) {
                    entry.node.past = self.session.history.over(below, &entry.node, Rule::Replaces);
                }
                merged.0.insert(name, entry);
            }
        }
        whole.value = Value::Mapping(Box::new(merged));
        service.insert(key, whole);
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
