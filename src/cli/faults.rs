//! Faults of the Compose file that are found after it was read.

use super::Context;
use super::exit::CommandError;
use super::load::Loaded;
use crate::compose::model::{Place, Project};
use crate::diag::{Diagnostic, SourceMap, Span, render_all, to_json};
use crate::plan::lower::Fault;

impl Context {
    /// Faults that only show when the file meets its images, each at its place, as those of reading are told.
    pub fn unfit(&self, loaded: &Loaded, faults: &[Fault]) -> CommandError {
        let faults = at_their_places(&loaded.project, &loaded.sources, faults, Diagnostic::error);
        if self.faults_as_data {
            return CommandError::data(&to_json(&faults, &loaded.sources));
        }
        CommandError::rendered(render_all(&faults, &loaded.sources, self.paint()))
    }
}

/// As what they are made into, errors, or warnings for who only looks; in the order of their places.
pub fn at_their_places(
    project: &Project,
    sources: &SourceMap,
    faults: &[Fault],
    severity: fn(String) -> Diagnostic,
) -> Vec<Diagnostic> {
    let told = |fault: &Fault| {
        let told = severity(format!("{}: {}", fault.path, fault.message)).hint_opt(fault.hint.clone());
        match project.place(&fault.path) {
            // A flag's.
            Some(place) if place.line == 0 => told.note(format!("given by {place}")),
            Some(place) => match span(place, sources) {
                Some(span) => told.at(span, ""),
                None => told.note(format!("at {place}")),
            },
            None => told,
        }
    };
    let mut told: Vec<Diagnostic> = faults.iter().map(told).collect();
    told.sort_by_key(|fault| fault.primary.as_ref().map(|label| label.span));
    told
}

/// From the place to where its value ends, on that line.
fn span(place: &Place, sources: &SourceMap) -> Option<Span> {
    let (source, file) = sources.numbered().find(|(_, file)| file.path == place.file)?;
    let start = usize::try_from(place.column).ok()?.saturating_sub(1);
    let text: String = file.line(place.line).chars().skip(start).collect();
    let end = match text.chars().next() {
        Some(quote @ ('"' | '\'')) => text[1..].find(quote).map(|end| end + 2),
        Some('[' | '{') => None,
        _ => text.find([',', ']', '}']),
    };
    let text = &text[..end.or_else(|| text.find(" #")).unwrap_or(text.len())];
    let width = u32::try_from(text.trim_end().chars().count()).ok()?;
    let end_column = place.column + width;
    Some(Span { source, line: place.line, column: place.column, end_line: place.line, end_column })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_value_ends_where_it_ends() {
        let mut sources = SourceMap::default();
        let text = "dns: [nonsense, \"a, b\"] # x\nuser: no one # x\nports: [1, 2]\n";
        sources.add(Path::new("/p/compose.yaml"), Path::new("/p"), text.to_owned());
        let place = |line: u32, column: u32| Place { file: "/p/compose.yaml".into(), line, column };
        for (line, column, end) in [(1, 7, 15), (1, 17, 23), (2, 7, 13), (3, 8, 14)] {
            assert_eq!(span(&place(line, column), &sources).unwrap().end_column, end, "{line}:{column}");
        }
        assert_eq!(span(&Place { file: "/other".into(), line: 1, column: 1 }, &sources), None);
    }
}
