//! What one load gathers on its way: texts, faults, the use of variables.

use std::collections::HashMap;

use crate::compose::environment::{SetVariable, VariableSource};
use crate::compose::provenance::History;
use crate::compose::template::{Template, Variable};
use crate::compose::yaml::{Node, Origin};
use crate::diag::{Diagnostic, Severity, SourceId, SourceMap, Span};

/// Values that `extends`, `include` and ranges of ports may add to a project.
const GROWTH_LIMIT: usize = 2_000_000;
/// Bytes that variables may make.
const TEXT_LIMIT: usize = 64 * 1024 * 1024;
/// More diagnostics help nobody.
const DIAGNOSTIC_LIMIT: usize = 500;

/// The state of one load.
#[derive(Debug, Default)]
pub struct Session {
    pub sources: SourceMap,
    pub diagnostics: Vec<Diagnostic>,
    pub trail: Trail,
    /// What came before the values; recorded only when it is asked for.
    pub history: History,
    /// Variables stay as they are: what names one is not read any further.
    pub raw: bool,
    /// Values added so far.
    pub grown: usize,
    /// Bytes that variables made so far.
    pub expanded: usize,
    /// Diagnostics that are not kept.
    pub left_out: usize,
}

/// How variables made values.
#[derive(Debug, Clone, Default)]
pub struct Trail {
    interpolations: Vec<Interpolation>,
    pub uses: Vec<VariableUse>,
    /// Variables that are passed on by their name alone, and those of env files.
    pub passed: Vec<VariableUse>,
}

/// A value that was made by interpolation.
#[derive(Debug, Clone)]
pub struct Interpolation {
    /// Where the text stands.
    pub span: Span,
    /// The text before.
    pub template: String,
    /// The variables that it read and what they were.
    pub variables: Vec<(String, Option<SetVariable>)>,
}

/// A place where a variable is named.
#[derive(Debug, Clone)]
pub struct VariableUse {
    pub name: String,
    pub span: Span,
    pub path: String,
    /// The operand of `-` or `:-`.
    pub default: Option<String>,
    /// The operand of `+` or `:+`.
    pub alternative: Option<String>,
    /// `?` or `:?`.
    pub required: bool,
    /// What it was there.
    pub set: Option<SetVariable>,
}

impl Trail {
    pub fn record(&mut self, interpolation: Interpolation) -> Origin {
        self.interpolations.push(interpolation);
        Origin(u32::try_from(self.interpolations.len()).unwrap_or(0))
    }

    #[must_use]
    pub fn get(&self, origin: Origin) -> Option<&Interpolation> {
        self.interpolations.get((origin.0 as usize).checked_sub(1)?)
    }
}

impl Session {
    pub fn report(&mut self, diagnostic: Diagnostic) {
        // What an anchor or an extended service brings to many services is told once.
        if self.diagnostics.iter().any(|earlier| same_fault(earlier, &diagnostic)) {
            return;
        }
        if self.diagnostics.len() < DIAGNOSTIC_LIMIT || diagnostic.severity == Severity::Error && !self.failed() {
            self.diagnostics.push(diagnostic);
        } else {
            self.left_out += 1;
        }
    }

    /// Says how many diagnostics were left out.
    pub fn close(&mut self) {
        if self.left_out > 0 {
            let count = std::mem::take(&mut self.left_out);
            self.diagnostics.push(Diagnostic::warning(format!("{count} more faults and warnings are not shown")));
        }
    }

    /// Counts `nodes` that the loader adds to what the files say; `false`, and a fault, once it is too much.
    pub fn grow(&mut self, nodes: usize, span: Span) -> bool {
        let before = self.grown;
        self.grown = before.saturating_add(nodes);
        if before <= GROWTH_LIMIT && self.grown > GROWTH_LIMIT {
            self.report(
                Diagnostic::error("the project becomes too large")
                    .at(span, format!("`extends`, `include` and ranges of ports add more than {GROWTH_LIMIT} values"))
                    .hint("extend smaller services, and publish fewer ports"),
            );
        }
        self.grown <= GROWTH_LIMIT
    }

    /// Counts `bytes` of a text that variables made; `false`, and a fault, once it is too much.
    pub fn expand(&mut self, bytes: usize, span: Span) -> bool {
        let before = self.expanded;
        self.expanded = before.saturating_add(bytes);
        if before <= TEXT_LIMIT && self.expanded > TEXT_LIMIT {
            self.report(
                Diagnostic::error("variables make this project too large")
                    .at(span, format!("more than {} MiB of text by now", TEXT_LIMIT >> 20))
                    .hint("put what is large into a file, and mount it with `configs` or `volumes`"),
            );
        }
        self.expanded <= TEXT_LIMIT
    }

    /// Reports a fault of `node`; tells which variable its value comes from.
    pub fn report_node(&mut self, node: &Node, diagnostic: Diagnostic) {
        let diagnostic = self.with_origin(node, diagnostic);
        self.report(diagnostic);
    }

    /// Whether `node` has variables that are left as they are, so that there is nothing to read in it yet.
    #[must_use]
    pub fn is_template(&self, node: &Node) -> bool {
        self.raw && node.as_str().is_some_and(|text| text.contains('$'))
    }

    #[must_use]
    pub fn failed(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Tells of every fault of a value that variables made where these come from.
    pub fn tell_variables(&mut self) {
        if self.diagnostics.is_empty() {
            return;
        }
        let made: HashMap<Span, &Interpolation> = self.trail.interpolations.iter().map(|it| (it.span, it)).collect();
        for diagnostic in &mut self.diagnostics {
            // What interpolation itself says names the variable, and what was told about a node is complete.
            let places = diagnostic.primary.iter().chain(&diagnostic.related).map(|label| label.span);
            let made: Vec<&Interpolation> = places.filter_map(|span| made.get(&span).copied()).collect();
            if diagnostic.notes.is_empty() && !diagnostic.is_about_variables {
                for interpolation in made {
                    diagnostic.notes.extend(interpolation.notes(interpolation.value()));
                }
            }
        }
    }

    fn with_origin(&self, node: &Node, mut diagnostic: Diagnostic) -> Diagnostic {
        let Some(interpolation) = self.trail.get(node.origin) else { return diagnostic };
        diagnostic.notes.extend(interpolation.notes(node.scalar_text()));
        diagnostic
    }
}

impl Interpolation {
    /// The text with the values of its variables.
    fn value(&self) -> Option<String> {
        let template = Template::parse(&self.template).ok()?;
        let set = |variable: &Variable| self.variables.iter().find(|(name, _)| *name == variable.name)?.1.as_ref();
        template.evaluate(&mut |variable| set(variable).map(|set| &*set.value)).ok()
    }

    /// What it became, and where its variables come from.
    fn notes(&self, value: Option<String>) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(value) = value {
            notes.push(format!("`{}` became {value:?}", self.template));
        }
        for (name, variable) in &self.variables {
            notes.push(match variable {
                Some(SetVariable {
                    source: source @ (VariableSource::File { .. } | VariableSource::VersionFile { .. }),
                    ..
                }) => {
                    format!("${name} is set in {source}")
                }
                Some(SetVariable { source, .. }) => format!("${name} comes from {source}"),
                None => format!("${name} is not set"),
            });
        }
        notes
    }
}

/// Whether two diagnostics say the same of one place, be it of two services.
fn same_fault(one: &Diagnostic, other: &Diagnostic) -> bool {
    fn service(diagnostic: &Diagnostic) -> Option<&str> {
        diagnostic.path.as_deref()?.strip_prefix("services.")?.split(['.', '[']).next()
    }
    let (Some(first), Some(second)) = (&one.primary, &other.primary) else { return false };
    if first.span.source == nowhere().source || first != second || one.hint != other.hint {
        return false;
    }
    one.message == other.message
        || match (service(one), service(other)) {
            (Some(a), Some(b)) => {
                one.message.replace(&format!("{a:?}"), "") == other.message.replace(&format!("{b:?}"), "")
            }
            _ => false,
        }
}

/// A path into the model that grows and shrinks with the walk.
#[derive(Debug, Clone, Default)]
pub struct ModelPath(String);

impl ModelPath {
    /// `visit` with `.key` added.
    pub fn key<T>(&mut self, key: &str, visit: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.0.len();
        if before > 0 {
            self.0.push('.');
        }
        self.0.push_str(key);
        let result = visit(self);
        self.0.truncate(before);
        result
    }

    /// `visit` with `[index]` added.
    pub fn index<T>(&mut self, index: usize, visit: impl FnOnce(&mut Self) -> T) -> T {
        use std::fmt::Write as _;
        let before = self.0.len();
        _ = write!(self.0, "[{index}]");
        let result = visit(self);
        self.0.truncate(before);
        result
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last key, with the index of a list's item.
    #[must_use]
    pub fn last(&self) -> &str {
        self.0.rsplit('.').next().unwrap_or_default()
    }
}

impl From<&str> for ModelPath {
    fn from(path: &str) -> Self {
        Self(path.to_owned())
    }
}

/// A place for nodes that stand in no file.
#[must_use]
pub fn nowhere() -> Span {
    Span { source: SourceId(u32::MAX), line: 1, column: 1, end_line: 1, end_column: 1 }
}
