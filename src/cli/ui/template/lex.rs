//! A template's text to text and actions, and an action to its tokens.

use serde_json::Number;

use super::TemplateError;

/// What is between two `{{`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Action(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A function or a keyword.
    Word(String),
    /// `.`
    Dot,
    /// `.Name`
    Field(String),
    /// `$name`; `$` alone is the empty name.
    Variable(String),
    Text(String),
    Number(Number),
    /// A blank before a field ends the operand before it.
    Blank,
    /// One of `( ) | , = :=`.
    Sign(&'static str),
}

/// Cuts a template at its actions. `{{-` and `-}}` take the blanks of the text beside them, comments vanish.
pub(super) fn pieces(template: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = template;
    let mut trim = false;
    loop {
        let (text, action) = match rest.split_once("{{") {
            Some((text, action)) => (text, Some(action)),
            None => (rest, None),
        };
        let mut text = text;
        if trim {
            text = text.trim_start();
        }
        let trims_before = action.is_some_and(|action| action.starts_with("- "));
        if trims_before {
            text = text.trim_end();
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text.replace("\\t", "\t").replace("\\n", "\n")));
        }
        let Some(action) = action else { return Ok(pieces) };
        let action = if trims_before { &action[1..] } else { action };
        let end = end_of_action(action)
            .ok_or_else(|| TemplateError::new(format!("`{{{{{action}` has no end: `}}}}` is missing")))?;
        rest = &action[end + 2..];
        let mut inner = &action[..end];
        trim = inner.ends_with(" -");
        if trim {
            inner = &inner[..inner.len() - 2];
        }
        let comment = inner.trim();
        if comment.starts_with("/*") && comment.ends_with("*/") {
            continue;
        }
        pieces.push(Piece::Action(tokens(inner)?));
    }
}

/// Where the `}}` is that is not in a string.
fn end_of_action(action: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (index, character) in action.char_indices() {
        match quote {
            Some(open) => {
                if escaped {
                    escaped = false;
                } else if character == '\\' && open != '`' {
                    escaped = true;
                } else if character == open {
                    quote = None;
                }
            }
            None if matches!(character, '"' | '`' | '\'') => quote = Some(character),
            None if action[index..].starts_with("}}") => return Some(index),
            None => {}
        }
    }
    None
}

fn tokens(action: &str) -> Result<Vec<Token>, TemplateError> {
    let wrong = || TemplateError::new(format!("action `{{{{{action}}}}}` is not understood"));
    let mut tokens = Vec::new();
    let mut rest = action.trim();
    while let Some(first) = rest.chars().next() {
        let name_end = |text: &str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        let (token, length) = match first {
            c if c.is_whitespace() => (Token::Blank, rest.len() - rest.trim_start().len()),
            '(' => (Token::Sign("("), 1),
            ')' => (Token::Sign(")"), 1),
            '|' => (Token::Sign("|"), 1),
            ',' => (Token::Sign(","), 1),
            '=' => (Token::Sign("="), 1),
            ':' if rest.starts_with(":=") => (Token::Sign(":="), 2),
            '.' if rest[1..].starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                let end = name_end(&rest[1..]);
                (Token::Field(rest[1..=end].to_owned()), end + 1)
            }
            '.' => (Token::Dot, 1),
            '$' => {
                let end = name_end(&rest[1..]);
                (Token::Variable(rest[1..=end].to_owned()), end + 1)
            }
            '`' => {
                let end = rest[1..].find('`').ok_or_else(wrong)?;
                (Token::Text(rest[1..=end].to_owned()), end + 2)
            }
            '"' => {
                // Go's strings in quotes are JSON's but for rarities.
                let mut strings = serde_json::Deserializer::from_str(rest).into_iter::<String>();
                let text = strings.next().and_then(Result::ok).ok_or_else(wrong)?;
                (Token::Text(text), strings.byte_offset())
            }
            c if c.is_ascii_digit() || c == '-' || c == '+' => {
                let end = rest[1..].find(|c: char| !c.is_ascii_digit() && c != '.').map_or(rest.len(), |end| end + 1);
                let text = rest[..end].trim_start_matches('+');
                let whole = text.parse::<i64>().ok().map(Number::from);
                let number = whole.or_else(|| text.parse().ok().and_then(Number::from_f64)).ok_or_else(wrong)?;
                (Token::Number(number), end)
            }
            c if c.is_alphabetic() || c == '_' => {
                let end = name_end(rest);
                (Token::Word(rest[..end].to_owned()), end)
            }
            _ => return Err(wrong()),
        };
        tokens.push(token);
        rest = &rest[length..];
    }
    Ok(tokens)
}
