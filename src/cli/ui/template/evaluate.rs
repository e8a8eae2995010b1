//! Runs a template over one object.

use std::fmt::Write;

use serde_json::Value;

use super::TemplateError;
use super::functions::{self, is_true};
use super::parse::{Base, Node, Pipeline, Term};

/// More output is a template that multiplies itself.
const LONGEST: usize = 64 << 20;

pub(super) struct Evaluation<'a> {
    root: Value,
    variables: Vec<(String, Value)>,
    labels: &'a dyn Fn(&str) -> Option<String>,
    /// The values are titles: conditions hold and functions give back what they get.
    header: bool,
    text: String,
}

impl<'a> Evaluation<'a> {
    pub(super) fn of(root: Value, labels: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { root, variables: Vec::new(), labels, header: false, text: String::new() }
    }

    pub(super) fn with_titles(mut self) -> Self {
        self.header = true;
        self
    }

    pub(super) fn run(mut self, nodes: &[Node]) -> Result<String, TemplateError> {
        let dot = self.root.clone();
        self.nodes(nodes, &dot)?;
        Ok(self.text)
    }

    /// What a block declares ends with it.
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<(), TemplateError> {
        let outer = self.variables.len();
        for node in nodes {
            self.node(node, dot)?;
            if self.text.len() > LONGEST {
                return Err(TemplateError::new("the output is too long"));
            }
        }
        self.variables.truncate(outer);
        Ok(())
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<(), TemplateError> {
        match node {
            Node::Text(text) => self.text.push_str(text),
            Node::Print(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.assign.is_none() {
                    print(&value, &mut self.text);
                }
            }
            Node::If { arms, otherwise } => {
                for (test, body) in arms {
                    let value = self.pipeline(test, dot)?;
                    if self.header || is_true(&value) {
                        return self.nodes(body, dot);
                    }
                }
                self.nodes(otherwise, dot)?;
            }
            Node::With { pipeline, body, otherwise } => {
                let value = self.pipeline(pipeline, dot)?;
                if self.header || is_true(&value) {
                    self.nodes(body, if self.header { dot } else { &value })?;
                } else {
                    self.nodes(otherwise, dot)?;
                }
            }
            Node::Range { index, value, over, body, otherwise } => {
                let over = self.pipeline(over, dot)?;
                let items: Vec<(Value, Value)> = match over {
                    _ if self.header => vec![(Value::Null, over)],
                    Value::Array(items) => items.into_iter().enumerate().map(|(i, item)| (i.into(), item)).collect(),
                    Value::Object(map) => map.into_iter().map(|(key, item)| (key.into(), item)).collect(),
                    Value::Null => Vec::new(),
                    other => return Err(TemplateError::new(format!("range cannot go through {other}"))),
                };
                if items.is_empty() {
                    return self.nodes(otherwise, dot);
                }
                for (number, item) in items {
                    let outer = self.variables.len();
                    self.variables.extend(index.clone().map(|name| (name, number)));
                    self.variables.extend(value.clone().map(|name| (name, item.clone())));
                    self.nodes(body, &item)?;
                    self.variables.truncate(outer);
                }
            }
        }
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let mut piped: Option<Value> = None;
        for command in &pipeline.commands {
            piped = Some(self.command(command, piped, dot)?);
        }
        let value = piped.unwrap_or(Value::Null);
        if let Some(name) = &pipeline.assign {
            match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
                Some((_, known)) => *known = value.clone(),
                None => self.variables.push((name.clone(), value.clone())),
            }
        }
        Ok(value)
    }

    fn command(&mut self, terms: &[Term], piped: Option<Value>, dot: &Value) -> Result<Value, TemplateError> {
        let Some((first, rest)) = terms.split_first() else { return Ok(Value::Null) };
        let mut arguments = Vec::with_capacity(rest.len() + 1);
        for term in rest {
            arguments.push(self.term(term, dot)?);
        }
        arguments.extend(piped);
        match &first.base {
            Base::Function(name) => {
                let value = match arguments.first() {
                    Some(first) if self.header && !matches!(name.as_str(), "printf" | "print" | "println") => {
                        // `join .X ","` and `pad .X 1 1` have it first, `split` too.
                        first.clone()
                    }
                    _ => functions::call(name, arguments)?,
                };
                follow(value, &first.fields)
            }
            Base::Dot if first.fields == ["Label"] && !arguments.is_empty() => match &arguments[..] {
                [Value::String(key)] => Ok((self.labels)(key).unwrap_or_default().into()),
                _ => Err(TemplateError::new("`.Label` takes the name of one label")),
            },
            _ if arguments.is_empty() => self.term(first, dot),
            _ => Err(TemplateError::new("only functions take arguments")),
        }
    }

    fn term(&mut self, term: &Term, dot: &Value) -> Result<Value, TemplateError> {
        let base = match &term.base {
            Base::Dot => dot.clone(),
            Base::Variable(name) if name.is_empty() => self.root.clone(),
            Base::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                known
                    .map(|(_, value)| value.clone())
                    .ok_or_else(|| TemplateError::new(format!("variable `${name}` is not known")))?
            }
            Base::Literal(value) => value.clone(),
            Base::Function(name) => functions::call(name, Vec::new())?,
            Base::Group(inner) => self.pipeline(inner, dot)?,
        };
        // A title stands for all that is in it.
        if self.header && base.is_string() { Ok(base) } else { follow(base, &term.fields) }
    }
}

fn follow(mut value: Value, fields: &[String]) -> Result<Value, TemplateError> {
    for field in fields {
        value = match value {
            Value::Object(mut map) => map.shift_remove(field).unwrap_or(Value::Null),
            Value::Null => Value::Null,
            other => return Err(TemplateError::new(format!("{other} has no field `.{field}`"))),
        };
    }
    Ok(value)
}

/// As Go prints: texts plain, lists in brackets, structures in braces, maps with their keys.
pub(super) fn print(value: &Value, out: &mut String) {
    // Writing to a string cannot fail.
    match value {
        Value::Null => out.push_str("<no value>"),
        Value::String(text) => out.push_str(text),
        Value::Bool(_) | Value::Number(_) => {
            let _ = write!(out, "{value}");
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                print(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            // Fields of Go's structures begin with a capital letter, and their names are not printed.
            let structure = !map.is_empty() && map.keys().all(|key| key.starts_with(|c: char| c.is_ascii_uppercase()));
            out.push_str(if structure { "{" } else { "map[" });
            for (index, (key, item)) in map.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                if !structure {
                    let _ = write!(out, "{key}:");
                }
                print(item, out);
            }
            out.push(if structure { '}' } else { ']' });
        }
    }
}
