//! `.env`, `--env-file` and the environment that comes of them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::compose::dotenv::{self, Assignment};
use crate::compose::environment::{Environment, VariableSource};
use crate::compose::files::FileSource;
use crate::compose::interpolate::uses;
use crate::compose::session::Session;
use crate::compose::template::Template;
use crate::diag::{Diagnostic, SourceId, SourceMap, Span};

/// Reads `paths` into `environment`: what is set there wins, and a later file wins over an earlier one. The values of a
/// file see the lines above them before those of earlier files.
pub(super) fn fill(
    environment: &mut Environment,
    paths: &[PathBuf],
    required: bool,
    base: &Path,
    files: &dyn FileSource,
    session: &mut Session,
) {
    let mut read = Environment::default();
    for path in paths {
        let text = match files.read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && !required => continue,
            // A folder named `.env` (a Python environment) is no env file.
            Err(error) if error.kind() == ErrorKind::IsADirectory && !required => continue,
            Err(error) => {
                let reason = reason(&error);
                session.report(Diagnostic::error(format!("cannot read env file {}: {reason}", path.display())));
                continue;
            }
        };
        let lookup = |name: &str| environment.get(name).map(str::to_owned);
        let earlier = |name: &str| read.get(name).map(str::to_owned);
        let assignments = match dotenv::parse_after(&text, &lookup, &earlier) {
            Ok(assignments) => assignments,
            Err(error) => {
                let source = session.sources.add(path, base, text);
                report(&error, source, session);
                continue;
            }
        };
        if session.history.is_on() {
            note(&assignments, &text, path, base, session);
        }
        let path: Rc<Path> = Rc::from(path.as_path());
        for assignment in assignments {
            if let Some(value) = assignment.value {
                let source = VariableSource::File { path: Rc::clone(&path), line: assignment.line };
                read.set(&assignment.key, &value, source);
            }
        }
    }
    environment.fill_all(&read);
}

/// Notes the variables that the values of an env file name.
fn note(assignments: &[Assignment], text: &str, path: &Path, base: &Path, session: &mut Session) {
    let source = session.sources.add(path, base, text.to_owned());
    for (index, assignment) in assignments.iter().enumerate() {
        let next = assignments.get(index + 1).map(|next| next.line);
        let (span, template) = written(assignment.line, next, source, &session.sources);
        if let Ok(template) = Template::parse(&template) {
            session.trail.passed.extend(uses(&template, span, &assignment.key, None));
        }
    }
}

/// The place of an assignment of an env file, and its value as it is written: `''` is text without variables.
pub(in crate::compose) fn written(
    line: u32,
    next: Option<u32>,
    source: SourceId,
    sources: &SourceMap,
) -> (Span, String) {
    let Some(file) = sources.get(source) else { return (crate::compose::session::nowhere(), String::new()) };
    let lines: Vec<&str> = (line..next.unwrap_or(line + 1).max(line + 1)).map(|line| file.line(line)).collect();
    let first = lines.first().copied().unwrap_or_default();
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX - 1);
    let indent = first.chars().take_while(|c| c.is_whitespace()).count();
    let end_column = number(first.trim_end().chars().count()) + 1;
    let span = Span { source, line, column: number(indent) + 1, end_line: line, end_column };
    let own = lines.iter().enumerate().filter(|(index, line)| *index == 0 || !line.trim_start().starts_with('#'));
    let text = own.map(|(_, line)| *line).collect::<Vec<_>>().join("\n");
    let value = text.split_once(['=', ':']).map_or("", |(_, value)| value.trim());
    (span, if value.starts_with('\'') { String::new() } else { value.to_owned() })
}

/// A fault of an env file, with its line.
pub(in crate::compose) fn report(error: &dotenv::DotenvError, source: SourceId, session: &mut Session) {
    let line = session.sources.get(source).map_or("", |file| file.line(error.line));
    let indent = line.chars().take_while(|c| c.is_whitespace()).count();
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX - 1);
    let span = Span {
        source,
        line: error.line,
        column: number(indent) + 1,
        end_line: error.line,
        end_column: number(line.chars().count()) + 1,
    };
    let hint = match &error.fault {
        dotenv::DotenvFault::Unterminated { quote, .. } => format!("end the value with {quote}"),
        dotenv::DotenvFault::Template { .. } => "write `$$` for a dollar sign, or put the value in '…'".to_owned(),
        dotenv::DotenvFault::Missing { name, .. } => format!("set {name} in the environment"),
        dotenv::DotenvFault::TooLong => "values that repeat values that repeat values grow without bound".to_owned(),
        _ => "the form is NAME=value; names have letters, digits and `_`; `#` begins a comment".to_owned(),
    };
    session.report(Diagnostic::error("invalid env file").at(span, error.to_string()).hint(hint));
}

/// Why reading failed, in plain words.
pub(in crate::compose) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::IsADirectory => "it is a folder".to_owned(),
        ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        ErrorKind::FileTooLarge => "it is larger than 16 MiB".to_owned(),
        _ => error.to_string(),
    }
}
