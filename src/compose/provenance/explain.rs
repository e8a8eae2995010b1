//! One value: what it is, what set it, what lost.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value as Json;

use super::history::{History, Layer, Rule, Through};
use super::path::{Found, UnknownPath, find, joined};
use super::secrecy::Secrecy;
use super::words::{effect, has_place};
use crate::compose::environment::{SetVariable, VariableSource};
use crate::compose::request::Loaded;
use crate::compose::session::Interpolation;
use crate::compose::template::{OperatorKind, Template};
use crate::compose::yaml::{Node, Value};
use crate::diag::{SourceMap, Span};

/// The merged tree and what came before its values.
#[derive(Debug, Clone, Default)]
pub struct Provenance {
    pub(super) tree: Option<Node>,
    history: History,
}

/// Where a value comes from.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    pub path: String,
    /// `None`: it was taken away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Shown>,
    /// What set it, the one that counts first.
    pub trail: Vec<Step>,
    /// Of a mapping or a list: each value below it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Explanation>,
}

/// A value, unless it is secret.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    Value(Json),
    Hidden,
}

impl Serialize for Shown {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::Hidden => HIDDEN.serialize(serializer),
        }
    }
}

/// One place that set a value.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// `None`: no file says it.
    pub place: Option<Position>,
    pub wins: bool,
    /// What it did with the one after it in the trail.
    pub effect: String,
    /// The text in the file, where it differs from the value.
    pub written: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Shown>,
    /// By which ways it came from there, the innermost first.
    pub through: Vec<Via>,
    pub variables: Vec<UsedVariable>,
}

/// A stretch of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Position {
    pub file: PathBuf,
    /// The file as it is shown.
    #[serde(skip)]
    pub name: String,
    pub line: u32,
    pub column: u32,
    pub end_line: u32,
    pub end_column: u32,
}

/// `extends`, `include`, an alias, an env file.
#[derive(Debug, Clone, Serialize)]
pub struct Via {
    pub by: String,
    pub place: Option<Position>,
}

/// A variable in a value.
#[derive(Debug, Clone, Serialize)]
pub struct UsedVariable {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Shown>,
    pub from: ValueOf,
}

/// Where a variable has its value from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ValueOf {
    Shell,
    File {
        file: PathBuf,
        line: u32,
    },
    /// The loader: the project's name.
    Project,
    /// It has none: the operand of `-` in the template stands for it.
    Default,
    Unset,
}

impl From<&SetVariable> for ValueOf {
    fn from(variable: &SetVariable) -> Self {
        match &variable.source {
            VariableSource::Shell => Self::Shell,
            VariableSource::File { path, line } | VariableSource::VersionFile { path, line } => {
                Self::File { file: path.to_path_buf(), line: *line }
            }
            VariableSource::Project => Self::Project,
        }
    }
}

impl Position {
    /// The place of `span`; `None` when it is in no file.
    #[must_use]
    pub fn of(span: Span, sources: &SourceMap) -> Option<Self> {
        let file = sources.get(span.source)?;
        let Span { line, column, end_line, end_column, .. } = span;
        Some(Self { file: file.path.clone(), name: file.name.clone(), line, column, end_line, end_column })
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}:{}:{}", self.name, self.line, self.column)
    }
}

impl Provenance {
    pub(in crate::compose) fn new(tree: Option<Node>, history: History) -> Self {
        Self { tree, history }
    }
}

impl Loaded {
    /// Where the value at `path` comes from. The project was loaded with `provenance`.
    ///
    /// # Errors
    /// When there is nothing at `path`.
    pub fn explain(&self, path: &str) -> Result<Explanation, UnknownPath> {
        let Some(tree) = &self.provenance.tree else {
            return Err(UnknownPath { text: "where values come from was not recorded".to_owned(), hint: None });
        };
        let history = &self.provenance.history;
        let (path, found) = find(tree, path, history)?;
        let secrecy = Secrecy::of(tree, &self.trail, &self.environment);
        let view = View { loaded: self, history, secrecy: &secrecy };
        Ok(match found {
            Found::Node(node) => {
                let mut explanation = view.value(node, &path);
                view.parts(node, &path, &mut explanation.parts);
                explanation
            }
            Found::Removed(layers) => view.removed(path, &layers),
        })
    }
}

struct View<'a> {
    loaded: &'a Loaded,
    history: &'a History,
    secrecy: &'a Secrecy,
}

impl View<'_> {
    fn value(&self, node: &Node, path: &str) -> Explanation {
        let layers = self.history.layers(node);
        let value = Some(self.shown(node, path));
        Explanation { path: path.to_owned(), value, trail: self.trail(&layers, path), parts: Vec::new() }
    }

    fn removed(&self, path: String, layers: &[Layer]) -> Explanation {
        let trail = self.trail(layers, &path);
        Explanation { path, value: None, trail, parts: Vec::new() }
    }

    /// The values below `node`.
    fn parts(&self, node: &Node, path: &str, parts: &mut Vec<Explanation>) {
        let one_text = self.is_one_text(node);
        match &node.value {
            Value::Mapping(mapping) => {
                for (key, entry) in mapping.iter().filter(|(key, _)| !key.starts_with('#')) {
                    self.part(&entry.node, &joined(path, key), one_text, parts);
                }
            }
            Value::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.part(item, &format!("{path}[{index}]"), one_text, parts);
                }
            }
            _ => {}
        }
        for (key, layers) in self.history.of(node).removed {
            parts.push(self.removed(joined(path, &key), &layers));
        }
    }

    fn part(&self, node: &Node, path: &str, within_one_text: bool, parts: &mut Vec<Explanation>) {
        let nothing_below = match &node.value {
            Value::Mapping(mapping) => mapping.iter().all(|(key, _)| key.starts_with('#')),
            Value::Sequence(items) => items.is_empty(),
            _ => true,
        };
        if (nothing_below && self.history.of(node).removed.is_empty()) || within_one_text || self.is_one_text(node) {
            parts.push(self.value(node, path));
        } else {
            self.parts(node, path, parts);
        }
    }

    /// Whether all of `node` was one scalar in the file: `8080:80`.
    fn is_one_text(&self, node: &Node) -> bool {
        /// How many leaves stand at `span`; `None` when one stands elsewhere.
        fn leaves(node: &Node, span: Span, history: &History) -> Option<usize> {
            match &node.value {
                Value::Mapping(mapping) => mapping.iter().map(|(_, entry)| leaves(&entry.node, span, history)).sum(),
                Value::Sequence(items) => items.iter().map(|item| leaves(item, span, history)).sum(),
                _ if !has_place(history.of(node).rule) => Some(0),
                _ => (node.span == span).then_some(1),
            }
        }
        let is_scalar = || self.text(node.span).is_some_and(|text| !text.starts_with(['{', '[']));
        leaves(node, node.span, self.history).is_some_and(|leaves| leaves > 0) && is_scalar()
    }

    fn trail(&self, layers: &[Layer], path: &str) -> Vec<Step> {
        let steps = layers.iter().enumerate().map(|(index, layer)| {
            let below = index.checked_sub(1).and_then(|below| layers.get(below));
            let mut step = self.step(layer, below, path, index + 1 == layers.len());
            if layers.get(index + 1).is_some_and(|above| matches!(above.rule, Rule::Appends | Rule::Merges)) {
                // What it brought is among the parts.
                step.value = None;
            }
            step
        });
        steps.rev().collect()
    }

    fn step(&self, layer: &Layer, below: Option<&Layer>, path: &str, wins: bool) -> Step {
        let made = self.loaded.trail.get(layer.origin);
        let value = layer.value.as_ref().map(|node| self.shown(node, path));
        let has_place = has_place(layer.rule);
        let hidden = value == Some(Shown::Hidden);
        let written = self.text(layer.span).filter(|_| has_place).filter(|text| {
            let scalar = layer.value.as_ref().and_then(Node::scalar_text);
            // A template gives nothing away; what is written out does.
            (!hidden
                || !Secrecy::is_content(path)
                    && made.is_some_and(|made| text.contains(&made.template))
                    && !self.secrecy.hides_text(text))
                && scalar.is_none_or(|scalar| scalar != *text)
                && layer.value.as_ref().is_some_and(|node| self.is_one_text(node))
                && layer.rule != Rule::Empty
                && !text.starts_with(['!', '*'])
        });
        let through = layer.through.iter().map(|way| self.way(way)).collect();
        Step {
            place: Position::of(layer.span, &self.loaded.sources).filter(|_| has_place),
            wins,
            effect: effect(layer, below).to_owned(),
            written,
            value,
            through,
            variables: made.map(|made| self.variables(made, path)).unwrap_or_default(),
        }
    }

    fn way(&self, way: &Through) -> Via {
        let (by, span) = match way {
            Through::Alias(span) => (self.text(*span).unwrap_or_else(|| "an alias".to_owned()), *span),
            Through::MergeKey(span) => ("<<".to_owned(), *span),
            Through::Extends { span, service } => (format!("extends {service}"), *span),
            Through::Include(span) => ("include".to_owned(), *span),
            Through::EnvFile(span) => ("env_file".to_owned(), *span),
            Through::LabelFile(span) => ("label_file".to_owned(), *span),
        };
        Via { by, place: Position::of(span, &self.loaded.sources) }
    }

    fn variables(&self, made: &Interpolation, path: &str) -> Vec<UsedVariable> {
        let mut defaults = Vec::new();
        if let Ok(template) = Template::parse(&made.template) {
            template.variables(&mut |variable| {
                if let Some(operator) = variable.operator.as_ref().filter(|it| it.kind == OperatorKind::Default) {
                    defaults.push((variable.name.clone(), operator.colon, operator.text.clone()));
                }
            });
        }
        let used = made.variables.iter().map(|(name, set)| {
            let default = defaults.iter().find(|(of, colon, _)| {
                let has_value = set.as_ref().is_some_and(|set| !(*colon && set.value.is_empty()));
                of == name && !has_value
            });
            let (value, from) = match (set, default) {
                (_, Some(_)) if Secrecy::is_content(path) => (Some(Shown::Hidden), ValueOf::Default),
                (_, Some((_, _, text))) => (Some(Shown::Value(text.as_str().into())), ValueOf::Default),
                (Some(set), None) => (Some(self.variable(name, set)), set.into()),
                (None, None) => (None, ValueOf::Unset),
            };
            UsedVariable { name: name.clone(), value, from }
        });
        used.collect()
    }

    fn variable(&self, name: &str, set: &SetVariable) -> Shown {
        match self.secrecy.hides_variable(name) || self.secrecy.hides_text(&set.value) {
            true => Shown::Hidden,
            false => Shown::Value((*set.value).into()),
        }
    }

    /// `node` without what is secret.
    fn shown(&self, node: &Node, path: &str) -> Shown {
        let secret = self.secrecy.hides_path(path) || self.secrecy.hides_made(self.loaded.trail.get(node.origin));
        match &node.value {
            Value::Mapping(mapping) => {
                let visible = mapping.iter().filter(|(key, _)| !key.starts_with('#'));
                let inner = |key: &str, node| as_json(self.shown(node, &joined(path, key)));
                Shown::Value(visible.map(|(key, entry)| (key.clone(), inner(key, &entry.node))).collect())
            }
            Value::Sequence(items) => {
                let items = items.iter().enumerate();
                Shown::Value(
                    items.map(|(index, item)| as_json(self.shown(item, &format!("{path}[{index}]")))).collect(),
                )
            }
            _ if secret || node.scalar_text().is_some_and(|text| self.secrecy.hides_text(&text)) => Shown::Hidden,
            _ => Shown::Value(node.to_json()),
        }
    }

    /// The text of a span of one line, without quotes.
    fn text(&self, span: Span) -> Option<String> {
        let file = self.loaded.sources.get(span.source)?;
        if span.line != span.end_line {
            return None;
        }
        let (start, end) = ((span.column as usize).checked_sub(1)?, span.end_column as usize - 1);
        let text: String = file.line(span.line).chars().take(end).skip(start).collect();
        let text = text.trim();
        let unquoted = ['"', '\''].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote));
        Some(unquoted.unwrap_or(text).to_owned()).filter(|text| !text.is_empty())
    }
}

/// What stands in the place of a secret inside a larger value.
pub const HIDDEN: &str = "(hidden)";

fn as_json(shown: Shown) -> Json {
    match shown {
        Shown::Value(value) => value,
        Shown::Hidden => HIDDEN.into(),
    }
}
