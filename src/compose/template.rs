//! Text with variables: `$V`, `${V}`, `${V:-d}`, `${V-d}`, `${V:+p}`, `${V+p}`, `${V:?e}`, `${V?e}`, `$$`.

/// Deeper nesting of operands is refused.
const DEPTH_LIMIT: usize = 32;

/// Bytes that a text may grow to.
pub const LENGTH_LIMIT: usize = 16 * 1024 * 1024;

/// A parsed text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Literal(String),
    Variable(Variable),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    pub operator: Option<Operator>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    pub kind: OperatorKind,
    /// With a colon: an empty value counts as unset.
    pub colon: bool,
    pub operand: Template,
    /// The operand as written.
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorKind {
    /// `-`
    Default,
    /// `+`
    Alternative,
    /// `?`
    Required,
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("`{text}` has no closing brace")]
    Unclosed { text: String },
    #[error("`{text}` does not name a variable")]
    InvalidName { text: String },
    #[error("`{text}` has no operator that is known after the name")]
    InvalidOperator { text: String },
    #[error("variables are nested more than {DEPTH_LIMIT} levels deep")]
    TooDeep { text: String },
}

impl TemplateError {
    /// The part of the template that is at fault.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Unclosed { text }
            | Self::InvalidName { text }
            | Self::InvalidOperator { text }
            | Self::TooDeep { text } => text,
        }
    }
}

/// Why a template has no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvaluateError {
    /// A variable that must have a value has none; `message` is the operand of `?`.
    Missing { name: String, message: String },
    /// More than [`LENGTH_LIMIT`] bytes.
    TooLong,
}

impl Template {
    /// Reads a text.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        parse(text, 0)
    }

    /// The text with the values of the variables; `lookup` is asked for each that is used, and told how.
    pub fn evaluate<'a>(&self, lookup: &mut dyn FnMut(&Variable) -> Option<&'a str>) -> Result<String, EvaluateError> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Variable(variable) => out.push_str(&variable.evaluate(lookup)?),
            }
            if out.len() > LENGTH_LIMIT {
                return Err(EvaluateError::TooLong);
            }
        }
        Ok(out)
    }

    /// All variables, those of operands included, in the order of the text.
    pub fn variables(&self, visit: &mut dyn FnMut(&Variable)) {
        for part in &self.parts {
            if let Part::Variable(variable) = part {
                visit(variable);
                if let Some(operator) = &variable.operator {
                    operator.operand.variables(visit);
                }
            }
        }
    }
}

impl Variable {
    fn evaluate<'a>(&self, lookup: &mut dyn FnMut(&Variable) -> Option<&'a str>) -> Result<String, EvaluateError> {
        let value = lookup(self);
        let Some(operator) = &self.operator else { return Ok(value.unwrap_or_default().to_owned()) };
        let set = value.filter(|value| !(operator.colon && value.is_empty()));
        match (operator.kind, set) {
            (OperatorKind::Default | OperatorKind::Required, Some(value)) => Ok(value.to_owned()),
            (OperatorKind::Default, None) | (OperatorKind::Alternative, Some(_)) => operator.operand.evaluate(lookup),
            (OperatorKind::Alternative, None) => Ok(String::new()),
            (OperatorKind::Required, None) => {
                let message = operator.operand.evaluate(lookup)?;
                Err(EvaluateError::Missing { name: self.name.clone(), message })
            }
        }
    }
}

fn parse(text: &str, depth: usize) -> Result<Template, TemplateError> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        literal.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        match tail.as_bytes().first() {
            Some(b'$') => {
                literal.push('$');
                rest = &tail[1..];
            }
            Some(b'{') => {
                let Some(end) = closing_brace(tail) else {
                    return Err(TemplateError::Unclosed { text: rest[at..].to_owned() });
                };
                let whole = &rest[at..at + end + 2];
                push_literal(&mut parts, &mut literal);
                parts.push(Part::Variable(braced(&tail[1..end], whole, depth)?));
                rest = &tail[end + 1..];
            }
            Some(&byte) if is_name_start(byte) => {
                let end = tail.bytes().position(|byte| !is_name_byte(byte)).unwrap_or(tail.len());
                push_literal(&mut parts, &mut literal);
                parts.push(Part::Variable(Variable { name: tail[..end].to_owned(), operator: None }));
                rest = &tail[end..];
            }
            _ => {
                literal.push('$');
                rest = tail;
            }
        }
    }
    literal.push_str(rest);
    push_literal(&mut parts, &mut literal);
    Ok(Template { parts })
}

fn push_literal(parts: &mut Vec<Part>, literal: &mut String) {
    if !literal.is_empty() {
        parts.push(Part::Literal(std::mem::take(literal)));
    }
}

/// Index of the brace that closes the one at the start of `text`.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' => {
                open -= 1;
                if open == 0 {
                    return Some(index);
                }
            }
            _ => {}
        }
    }
    None
}

fn braced(inner: &str, whole: &str, depth: usize) -> Result<Variable, TemplateError> {
    let end = inner.bytes().position(|byte| !is_name_byte(byte)).unwrap_or(inner.len());
    let (name, rest) = inner.split_at(end);
    if !name.bytes().next().is_some_and(is_name_start) {
        return Err(TemplateError::InvalidName { text: whole.to_owned() });
    }
    if rest.is_empty() {
        return Ok(Variable { name: name.to_owned(), operator: None });
    }
    let (colon, rest) = rest.strip_prefix(':').map_or((false, rest), |rest| (true, rest));
    let kind = match rest.as_bytes().first() {
        Some(b'-') => OperatorKind::Default,
        Some(b'+') => OperatorKind::Alternative,
        Some(b'?') => OperatorKind::Required,
        _ => return Err(TemplateError::InvalidOperator { text: whole.to_owned() }),
    };
    if depth >= DEPTH_LIMIT {
        return Err(TemplateError::TooDeep { text: whole.to_owned() });
    }
    let operand = parse(&rest[1..], depth + 1)?;
    let operator = Operator { kind, colon, operand, text: rest[1..].to_owned() };
    Ok(Variable { name: name.to_owned(), operator: Some(operator) })
}

fn is_name_start(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphabetic()
}

fn is_name_byte(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(error) => return format!("error: {error}"),
        };
        let lookup = &mut |variable: &Variable| match variable.name.as_str() {
            "A" => Some("aval"),
            "E" => Some(""),
            _ => None,
        };
        template.evaluate(lookup).unwrap_or_else(|error| match error {
            EvaluateError::Missing { name, message } => format!("missing {name}: {message}"),
            EvaluateError::TooLong => "too long".to_owned(),
        })
    }

    #[test]
    fn every_form_means_what_the_peer_makes_of_it() {
        for (text, value) in [
            (r#"${X:-{"x":1}}"#, r#"{"x":1}"#),
            ("${X:-${A}}", "aval"),
            ("${X:-a}b}", "ab}"),
            ("$1 $ x a$", "$1 $ x a$"),
            ("${A:+p${A}}", "paval"),
            ("${E:?need $A}", "missing E: need aval"),
            ("${E?x}", ""),
            ("${A-b:+c}", "aval"),
            ("$$A $$$A", "$A $aval"),
            ("${X-$$}", "$"),
            ("${A:-$}", "aval"),
            ("${X:-{{a}}}", "{{a}}"),
            ("{{.X}}$A", "{{.X}}aval"),
            ("$A-$A.$A_", "aval-aval."),
            ("${E-d}${E:-d}${X+p}${E+p}${E:+p}", "dp"),
            ("${A:-${B:?never}}", "aval"),
            ("${}", "error: `${}` does not name a variable"),
            ("${A", "error: `${A` has no closing brace"),
            ("x ${A:x}", "error: `${A:x}` has no operator that is known after the name"),
            ("${1A}", "error: `${1A}` does not name a variable"),
        ] {
            assert_eq!(show(text), value, "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let text = format!("{}{}", "${A:-".repeat(5000), "}".repeat(5000));
        assert!(matches!(Template::parse(&text), Err(TemplateError::TooDeep { .. })));
    }

    #[test]
    fn growth_is_bounded() {
        let value = "x".repeat(1 << 20);
        let template = Template::parse(&"$A".repeat(1000)).unwrap();
        assert_eq!(template.evaluate(&mut |_| Some(&value)), Err(EvaluateError::TooLong));
    }
}
