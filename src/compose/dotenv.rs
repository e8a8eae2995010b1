//! The grammar of `.env`, `env_file` and `label_file`.

use std::collections::HashMap;

use super::template::{EvaluateError, LENGTH_LIMIT, Template, Variable};

/// A line that sets a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub key: String,
    /// `None`: a bare key that is not set outside either.
    pub value: Option<String>,
    pub line: u32,
}

/// Why a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct DotenvError {
    /// From 1.
    pub line: u32,
    pub fault: DotenvFault,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DotenvFault {
    #[error("unexpected character {found:?} in the name of a variable")]
    InvalidName { found: char },
    #[error("the name of a variable cannot contain a space")]
    SpaceInName,
    #[error("the name of a variable is missing before the `{separator}`")]
    NoName { separator: char },
    #[error("no name follows `export`")]
    NothingExported,
    #[error("the closing {quote} of the value of `{key}` is missing")]
    Unterminated { key: String, quote: char },
    #[error("the value of `{key}`: {fault}")]
    Template { key: String, fault: super::template::TemplateError },
    #[error("required variable {name} is missing a value: {message}")]
    Missing { name: String, message: String },
    #[error("variables make the values of this file larger than {} MiB", LENGTH_LIMIT >> 20)]
    TooLong,
}

/// Reads a file. Variables in values are looked up with `lookup` first, then among the lines above.
pub fn parse(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Assignment>, DotenvError> {
    parse_after(text, lookup, &|_| None)
}

/// The same, with what earlier files set as the last resort.
pub fn parse_after(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    earlier: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Assignment>, DotenvError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader =
        Reader { rest: text, line: 1, lookup, earlier, set: HashMap::new(), assignments: Vec::new(), expanded: 0 };
    while reader.statement()? {}
    Ok(reader.assignments)
}

/// `format: raw`: lines as they are, without quotes and interpolation.
pub fn parse_raw(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Assignment>, DotenvError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().zip(1..).map(|(line, number)| (line.trim_start(), number));
    lines
        .filter(|(line, _)| !line.is_empty() && !line.starts_with('#'))
        .map(|(text, line)| {
            let (key, value) = match text.split_once('=') {
                Some((key, value)) => (key, Some(value.to_owned())),
                None => (text.trim_end(), lookup(text.trim_end())),
            };
            let fault = match key {
                "" => DotenvFault::NoName { separator: '=' },
                key if key.contains(char::is_whitespace) => DotenvFault::SpaceInName,
                key => return Ok(Assignment { key: key.to_owned(), value, line }),
            };
            Err(DotenvError { line, fault })
        })
        .collect()
}

struct Reader<'a> {
    rest: &'a str,
    line: u32,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    earlier: &'a dyn Fn(&str) -> Option<String>,
    set: HashMap<String, String>,
    assignments: Vec<Assignment>,
    /// Bytes that variables made so far.
    expanded: usize,
}

impl<'a> Reader<'a> {
    fn fail<T>(&self, fault: DotenvFault) -> Result<T, DotenvError> {
        Err(DotenvError { line: self.line, fault })
    }

    /// Takes `len` bytes and counts the lines in them.
    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(len);
        self.line += u32::try_from(taken.matches('\n').count()).unwrap_or(u32::MAX - self.line);
        self.rest = rest;
        taken
    }

    fn skip(&mut self, skipped: impl Fn(char) -> bool) {
        let len = self.rest.find(|c| !skipped(c)).unwrap_or(self.rest.len());
        self.take(len);
    }

    fn to_line_end(&self) -> usize {
        self.rest.find('\n').unwrap_or(self.rest.len())
    }

    /// Reads the next assignment; `false` at the end.
    fn statement(&mut self) -> Result<bool, DotenvError> {
        loop {
            self.skip(char::is_whitespace);
            if !self.rest.starts_with('#') {
                break;
            }
            self.take(self.to_line_end());
        }
        if self.rest.is_empty() {
            return Ok(false);
        }
        let line = self.line;
        let Some(key) = self.key()? else {
            // A bare key takes its value from outside.
            return Ok(true);
        };
        let value = self.value(&key)?;
        self.assign(key, Some(value), line);
        Ok(true)
    }

    fn assign(&mut self, key: String, value: Option<String>, line: u32) {
        if let Some(value) = &value {
            self.set.insert(key.clone(), value.clone());
        }
        self.assignments.push(Assignment { key, value, line });
    }

    /// The name up to `=` or `:`; `None` after a bare name, which is assigned here.
    fn key(&mut self) -> Result<Option<String>, DotenvError> {
        if let Some(rest) = self.rest.strip_prefix("export")
            && rest.starts_with([' ', '\t'])
        {
            self.take("export".len());
            self.skip(is_blank);
        }
        for (index, c) in self.rest.char_indices() {
            match c {
                '=' | ':' => {
                    let name = self.take(index).trim_end().to_owned();
                    self.take(1);
                    if name.is_empty() {
                        return self.fail(DotenvFault::NoName { separator: c });
                    }
                    if name.contains(char::is_whitespace) {
                        return self.fail(DotenvFault::SpaceInName);
                    }
                    self.skip(is_blank);
                    return Ok(Some(name));
                }
                '\n' => return self.bare(index),
                '_' | '.' | '-' | '[' | ']' => {}
                c if c.is_alphanumeric() || is_blank(c) => {}
                c => return self.fail(DotenvFault::InvalidName { found: c }),
            }
        }
        self.bare(self.rest.len())
    }

    fn bare(&mut self, len: usize) -> Result<Option<String>, DotenvError> {
        let line = self.line;
        let name = self.take(len).trim_end().to_owned();
        if name.is_empty() {
            return self.fail(DotenvFault::NothingExported);
        }
        if name.contains(char::is_whitespace) {
            return self.fail(DotenvFault::SpaceInName);
        }
        let value = (self.lookup)(&name).or_else(|| (self.earlier)(&name));
        self.assign(name, value, line);
        Ok(None)
    }

    fn value(&mut self, key: &str) -> Result<String, DotenvError> {
        match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(key, quote),
            _ => {
                let line = self.take(self.to_line_end());
                let end = match line.starts_with('#') {
                    true => 0,
                    false => line.find(" #").unwrap_or(line.len()),
                };
                self.expand(key, line[..end].trim_end())
            }
        }
    }

    fn quoted(&mut self, key: &str, quote: char) -> Result<String, DotenvError> {
        let mut raw = String::new();
        let mut escaped = false;
        let body = &self.rest[1..];
        for (index, c) in body.char_indices() {
            if escaped {
                if !(c == quote && quote == '\'') {
                    raw.push('\\');
                }
                raw.push(c);
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == quote {
                let value = match quote {
                    '"' => self.expand(key, &unescape(&raw))?,
                    _ => raw,
                };
                self.take(index + 2);
                // What follows on the line is a comment at best.
                self.take(self.to_line_end());
                return Ok(value);
            } else {
                raw.push(c);
            }
        }
        self.fail(DotenvFault::Unterminated { key: key.to_owned(), quote })
    }

    fn expand(&mut self, key: &str, text: &str) -> Result<String, DotenvError> {
        if !text.contains('$') {
            return Ok(text.to_owned());
        }
        let template =
            Template::parse(text).or_else(|fault| self.fail(DotenvFault::Template { key: key.to_owned(), fault }))?;
        // Values are collected first: the template borrows them.
        let mut values: HashMap<String, String> = HashMap::new();
        template.variables(&mut |variable| {
            let value = (self.lookup)(&variable.name).or_else(|| self.set.get(&variable.name).cloned());
            let value = value.or_else(|| (self.earlier)(&variable.name));
            if let Some(value) = value {
                values.insert(variable.name.clone(), value);
            }
        });
        let mut lookup = |variable: &Variable| values.get(&variable.name).map(String::as_str);
        let value = template.evaluate(&mut lookup).or_else(|error| match error {
            EvaluateError::Missing { name, message } => self.fail(DotenvFault::Missing { name, message }),
            EvaluateError::TooLong => self.fail(DotenvFault::TooLong),
        })?;
        self.expanded += value.len();
        match self.expanded > LENGTH_LIMIT {
            true => self.fail(DotenvFault::TooLong),
            false => Ok(value),
        }
    }
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() && c != '\n'
}

/// Escapes of a double-quoted value; an escaped dollar stays a dollar through interpolation.
fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('a') => out.push('\u{7}'),
            Some('b') => out.push('\u{8}'),
            Some('c') | None => out.push('\\'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('v') => out.push('\u{b}'),
            Some('$') => out.push_str("$$"),
            Some('0') => {
                let mut code = 0_u32;
                for _ in 0..3 {
                    match chars.peek().and_then(|c| c.to_digit(8)) {
                        Some(digit) => {
                            code = code * 8 + digit;
                            chars.next();
                        }
                        None => break,
                    }
                }
                out.extend(char::from_u32(code));
            }
            Some(c @ ('"' | '\\')) => out.push(c),
            Some(c) => {
                out.push('\\');
                out.push(c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        let lookup = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        match parse(text, &lookup) {
            Ok(assignments) => assignments
                .into_iter()
                .map(|it| match it.value {
                    Some(value) => format!("{}={value}", it.key),
                    None => format!("{}?", it.key),
                })
                .collect::<Vec<_>>()
                .join("|"),
            Err(error) => format!("{}: {error}", error.line),
        }
    }

    #[test]
    fn grammar() {
        for (text, shown) in [
            ("A=1\nB = 2 \n", "A=1|B=2"),
            ("\u{feff}A: x\n# c\n\nexport B=y", "A=x|B=y"),
            ("A=x # c\nB=x#y\nC=#z\nD=", "A=x|B=x#y|C=|D="),
            ("A='x $B \\n # y'\nB='it\\'s'", "A=x $B \\n # y|B=it's"),
            ("A=\"a\\tb\\nc\" # comment\nB=\"\\$A ${A}\"", "A=a\tb\nc|B=$A a\tb\nc"),
            ("A=\"two\nlines\"\nB=2", "A=two\nlines|B=2"),
            ("A=1\nB=$A${HOME}${X:-d}$$", "A=1|B=1/rootd$"),
            ("HOME\nNOPE\nA=1", "HOME=/root|NOPE?|A=1"),
            ("a.b-c[0]=1", "a.b-c[0]=1"),
            ("A=1\r\nB=2\r\n", "A=1|B=2"),
            ("A=\"\\061\\q\\\\\"", "A=1\\q\\"),
            ("exported=1", "exported=1"),
            ("A B=1", "1: the name of a variable cannot contain a space"),
            ("A=1\n=2", "2: the name of a variable is missing before the `=`"),
            ("A=1\nexport ", "2: no name follows `export`"),
            ("A=1\nB%=2", "2: unexpected character '%' in the name of a variable"),
            ("A=1\nB=\"x\ny", "2: the closing \" of the value of `B` is missing"),
            ("A=${", "1: the value of `A`: `${` has no closing brace"),
            ("A=${B:?say it}", "1: required variable B is missing a value: say it"),
        ] {
            assert_eq!(read(text), shown, "{text:?}");
        }
    }

    #[test]
    fn raw_lines_are_taken_as_they_are() {
        let lookup = |name: &str| Some(format!("<{name}>"));
        let shown: Vec<_> = parse_raw("A=\"x $B\" # y\n#c\nHOME\n", &lookup)
            .unwrap()
            .into_iter()
            .map(|it| (it.key, it.value.unwrap_or_default()))
            .collect();
        assert_eq!(shown, [("A".to_owned(), "\"x $B\" # y".to_owned()), ("HOME".to_owned(), "<HOME>".to_owned())]);
        assert_eq!(parse_raw("A=1\n=2", &lookup).unwrap_err().line, 2);
        assert_eq!(parse_raw("A B=1", &lookup).unwrap_err().fault, DotenvFault::SpaceInName);
    }
}
