//! Variables in the values of a tree.

use super::environment::Environment;
use super::session::{Interpolation, ModelPath, Session, VariableUse};
use super::template::{EvaluateError, OperatorKind, Template, TemplateError, Variable};
use super::yaml::{Node, Value};
use crate::diag::{Diagnostic, SourceMap, Span, nearest};

/// Notes the variables that are named below `node` and leaves them there.
pub fn note(node: &Node, path: &mut ModelPath, session: &mut Session) {
    match &node.value {
        Value::String(text) if text.contains('$') => match Template::parse(text) {
            Ok(template) => session.trail.uses.extend(uses(&template, node.span, path.as_str(), None)),
            Err(error) => {
                let diagnostic = invalid(&error, node.span, session, path);
                session.report(diagnostic);
            }
        },
        Value::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                path.index(index, |path| note(item, path, session));
            }
        }
        Value::Mapping(mapping) => {
            for (key, entry) in mapping.iter() {
                path.key(key, |path| note(&entry.node, path, session));
            }
        }
        _ => {}
    }
}

/// Replaces variables in every string below `node`; keys stay as they are.
pub fn interpolate(node: &mut Node, path: &mut ModelPath, environment: &Environment, session: &mut Session) {
    match &mut node.value {
        Value::String(text) if text.contains('$') => {
            let text = std::mem::take(text);
            node.value = Value::String(string(&text, node, path, environment, session));
        }
        Value::Sequence(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                path.index(index, |path| interpolate(item, path, environment, session));
            }
        }
        Value::Mapping(mapping) => {
            for (key, entry) in &mut mapping.0 {
                path.key(key, |path| interpolate(&mut entry.node, path, environment, session));
            }
        }
        _ => {}
    }
}

fn string(text: &str, node: &mut Node, path: &ModelPath, environment: &Environment, session: &mut Session) -> String {
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(error) => {
            session.report(invalid(&error, node.span, session, path));
            return text.to_owned();
        }
    };
    session.trail.uses.extend(uses(&template, node.span, path.as_str(), Some(environment)));
    let mut read: Vec<(String, Option<_>)> = Vec::new();
    let mut unset = Vec::new();
    let result = template.evaluate(&mut |variable: &Variable| {
        let set = environment.variable(&variable.name);
        if !read.iter().any(|(name, _)| *name == variable.name) {
            read.push((variable.name.clone(), set.cloned()));
        }
        if set.is_none() && variable.operator.is_none() {
            unset.push(variable.name.clone());
        }
        set.map(|variable| &*variable.value)
    });
    for name in unset {
        warn_unset(&name, node.span, path, environment, session);
    }
    match result {
        Ok(value) if !session.expand(value.len(), node.span) => String::new(),
        Ok(value) => {
            if !read.is_empty() {
                node.origin =
                    session.trail.record(Interpolation { span: node.span, template: text.to_owned(), variables: read });
            }
            value
        }
        Err(EvaluateError::TooLong) => {
            session.expand(usize::MAX, node.span);
            String::new()
        }
        Err(EvaluateError::Missing { name, message }) => {
            let span = locate(&session.sources, node.span, &format!("${{{name}"));
            let label = match environment.get(&name) {
                Some(_) => "set, but empty",
                None => "not set",
            };
            let reason = match message.is_empty() {
                true => String::new(),
                false => format!(": {message}"),
            };
            session.report(
                Diagnostic::error(format!("required variable {name} is missing a value{reason}"))
                    .about_variables()
                    .at(span, label)
                    .path(path.as_str())
                    .hint(format!("set it in the environment or in a .env file: {name}=…")),
            );
            String::new()
        }
    }
}

/// The variables of `template`, which stands at `span`.
pub fn uses(template: &Template, span: Span, path: &str, environment: Option<&Environment>) -> Vec<VariableUse> {
    let mut uses = Vec::new();
    template.variables(&mut |variable| {
        let operand = |kind| variable.operator.as_ref().filter(|it| it.kind == kind).map(|it| it.text.clone());
        uses.push(VariableUse {
            name: variable.name.clone(),
            span,
            path: path.to_owned(),
            default: operand(OperatorKind::Default),
            alternative: operand(OperatorKind::Alternative),
            required: operand(OperatorKind::Required).is_some(),
            set: environment.and_then(|environment| environment.variable(&variable.name)).cloned(),
        });
    });
    uses
}

fn warn_unset(name: &str, span: Span, path: &ModelPath, environment: &Environment, session: &mut Session) {
    let message = format!("the variable {name} is not set; an empty string takes its place");
    if session.diagnostics.iter().any(|diagnostic| diagnostic.message == message) {
        return;
    }
    let place = locate_variable(&session.sources, span, name);
    let hint = match nearest(name, environment.names()) {
        Some(near) => format!(
            "did you mean ${{{near}}}? Otherwise give a default: ${{{name}:-…}}, or write $${name} for the text"
        ),
        None => format!(
            "set it in the environment or in .env, give a default: ${{{name}:-…}}, or write $${name} for the text"
        ),
    };
    session.report(Diagnostic::warning(message).about_variables().at(place, "not set").path(path.as_str()).hint(hint));
}

fn invalid(error: &TemplateError, span: Span, session: &Session, path: &ModelPath) -> Diagnostic {
    let hint = match error {
        TemplateError::Unclosed { .. } => "close it with `}`, or write `$$` for a dollar sign",
        TemplateError::InvalidName { .. } => {
            "a name has letters, digits and `_` and does not begin with a digit; write `$$` for a dollar sign"
        }
        TemplateError::InvalidOperator { .. } => {
            "the forms are ${V}, ${V:-default}, ${V-default}, ${V:+other}, ${V+other}, ${V:?message}, ${V?message}; \
             write `$$` for a dollar sign"
        }
        TemplateError::TooDeep { .. } => "use fewer defaults inside defaults",
    };
    Diagnostic::error("invalid interpolation")
        .at(locate(&session.sources, span, error.text()), error.to_string())
        .path(path.as_str())
        .hint(hint)
}

/// The place where a variable is named in `span`; `span` itself when it is not to be found.
pub fn locate_variable(sources: &SourceMap, span: Span, name: &str) -> Span {
    match locate(sources, span, &format!("${{{name}")) {
        place if place == span => locate(sources, span, &format!("${name}")),
        place => place,
    }
}

/// Longer lines are not searched.
const LINE_LIMIT: usize = 64 * 1024;

/// The place of `needle` in the source lines of `span`; `span` itself when it is not to be found.
pub fn locate(sources: &SourceMap, span: Span, needle: &str) -> Span {
    let Some(file) = sources.get(span.source) else { return span };
    let needle = needle.lines().next().unwrap_or_default();
    if needle.is_empty() {
        return span;
    }
    for line in span.line..=span.end_line.min(span.line + 200) {
        let text = file.line(line);
        if text.len() > LINE_LIMIT {
            return span;
        }
        let skip = if line == span.line { (span.column as usize).saturating_sub(1) } else { 0 };
        let start = text.char_indices().nth(skip).map_or(text.len(), |(index, _)| index);
        if let Some(found) = text[start..].find(needle) {
            let column = u32::try_from(text[..start + found].chars().count()).unwrap_or(0) + 1;
            let width = u32::try_from(needle.chars().count()).unwrap_or(1);
            return Span { line, column, end_line: line, end_column: column + width, ..span };
        }
    }
    span
}
