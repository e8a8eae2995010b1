//! One file: read, parsed, interpolated, canonical.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::env_files::reason;
use crate::compose::canonical::canonicalise;
use crate::compose::environment::Environment;
use crate::compose::files::FileSource;
use crate::compose::interpolate::{interpolate, note};
use crate::compose::paths::Base;
use crate::compose::request::LoadOptions;
use crate::compose::schema::{PROJECT, Shape};
use crate::compose::session::{ModelPath, Session};
use crate::compose::yaml::{Node, Value, parse};
use crate::diag::{Diagnostic, Span};

pub(super) static PROJECT_SHAPE: Shape = Shape::Object(&PROJECT);

/// What loading carries along.
pub(super) struct Loader<'a> {
    pub files: &'a dyn FileSource,
    pub options: &'a LoadOptions,
    /// Names of files are shown relative to this.
    pub shown_from: PathBuf,
    pub session: Session,
    /// Files that were read for the project's name and are still to be loaded.
    pub parsed: HashMap<PathBuf, Option<Vec<Node>>>,
    /// Files that services extend, by layer.
    pub extended_files: HashMap<(usize, PathBuf), Option<Rc<Node>>>,
    /// Extended services, by layer.
    pub extended_services: HashMap<(usize, PathBuf, String), Node>,
    pub layers: usize,
}

/// A set of files with one folder and one environment: the project, or one include.
pub(super) struct Layer {
    pub number: usize,
    pub environment: Rc<Environment>,
    pub base: Base,
    /// The files that include this one, outermost first.
    pub stack: Vec<PathBuf>,
}

/// A file to be read; `-` is the standard input.
pub(super) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

impl Loader<'_> {
    /// The raw documents of a file.
    pub fn parse(&mut self, path: &Path, named_at: Option<Span>) -> Option<Vec<Node>> {
        if let Some(parsed) = self.parsed.remove(path) {
            return parsed;
        }
        let text = match is_stdin(path) {
            true => self.files.stdin(),
            false => self.files.read(path),
        };
        let text = match text {
            Ok(text) => text,
            Err(error) => {
                let mut diagnostic = Diagnostic::error(format!("cannot read {}: {}", path.display(), reason(&error)));
                if let Some(span) = named_at {
                    let hint = "a relative path starts at the folder of the file that names it";
                    diagnostic = diagnostic.at(span, "named here").hint(hint);
                }
                self.session.report(diagnostic);
                return None;
            }
        };
        let source = match is_stdin(path) {
            true => self.session.sources.add(Path::new("<stdin>"), Path::new(""), text),
            false => self.session.sources.add(path, &self.shown_from, text),
        };
        let Session { sources, diagnostics, history, .. } = &mut self.session;
        Some(parse(source, sources, diagnostics, history))
    }

    /// The documents of a file, interpolated and canonical.
    pub fn documents(&mut self, path: &Path, named_at: Option<Span>, environment: &Environment) -> Option<Vec<Node>> {
        let mut documents = self.parse(path, named_at)?;
        documents.retain(|document| !document.is_null());
        for document in &mut documents {
            if !matches!(document.value, Value::Mapping(_)) {
                let kind = document.value.kind();
                self.session.report(
                    Diagnostic::error("a Compose file must be a mapping")
                        .at(document.span, format!("this is {kind}"))
                        .hint("begin it with `services:`"),
                );
                document.value = Value::Mapping(Box::default());
                continue;
            }
            let mut model_path = ModelPath::default();
            match self.options.interpolate {
                true => interpolate(document, &mut model_path, environment, &mut self.session),
                false => note(document, &mut model_path, &mut self.session),
            }
            canonicalise(document, &PROJECT_SHAPE, &mut model_path, &mut self.session);
            self.obsolete_version(document);
        }
        Some(documents)
    }

    fn obsolete_version(&mut self, document: &mut Node) {
        let Some(mapping) = document.as_mapping_mut() else { return };
        if let Some(entry) = mapping.0.shift_remove("version") {
            self.session.report(
                Diagnostic::warning("`version` is obsolete and has no meaning")
                    .at(entry.key_span, "")
                    .hint("remove the line"),
            );
        }
    }
}
