//! Versions of languages that the project's own files name: what `${NODE_VERSION}` is when nobody sets it.

use std::io::ErrorKind;
use std::path::Path;
use std::rc::Rc;

use super::env_files::reason;
use crate::compose::environment::{Environment, VariableSource};
use crate::compose::files::FileSource;
use crate::compose::model::DeclaredVersion;
use crate::compose::session::Session;
use crate::diag::Diagnostic;
use crate::language::Language;
use crate::language::declared::DeclaredError;

/// What the files of the folder `dir` say of each language; the strongest first.
pub(super) fn declared(dir: &Path, files: &dyn FileSource) -> Vec<DeclaredVersion> {
    let mut found = Vec::new();
    for language in Language::ALL {
        for version_file in language.files() {
            let file = dir.join(version_file.name);
            let declared = match files.read(&file) {
                Ok(text) => version_file.read(language, &text),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => continue,
                Err(error) => Err(DeclaredError::Unreadable(reason(&error))),
            };
            if let Some(declared) = declared.transpose() {
                found.push(DeclaredVersion { language, file, declared });
            }
        }
    }
    found
}

/// Sets the variables that nothing else has set.
pub(super) fn fill(environment: &mut Environment, found: &[DeclaredVersion]) {
    for DeclaredVersion { language, file, declared } in found {
        if let Ok(declared) = declared {
            let source = VariableSource::VersionFile { path: Rc::from(file.as_path()), line: declared.line };
            environment.fill(language.variable(), &declared.wanted.tag(), source);
        }
    }
}

/// Warns of files that could have set a variable that is used and not set, had they been understood.
pub(super) fn warn(found: &[DeclaredVersion], base: &Path, session: &mut Session) {
    for DeclaredVersion { language, file, declared } in found {
        let Err(error) = declared else { continue };
        let name = language.variable();
        let mut uses = session.trail.uses.iter().chain(&session.trail.passed);
        if uses.any(|used| used.name == name && used.set.is_none()) {
            let shown = file.strip_prefix(base).unwrap_or(file).display();
            session.report(
                Diagnostic::warning(format!("{shown} does not say what ${{{name}}} is: {error}"))
                    .about_variables()
                    .hint(format!("mend the file, or set {name} in .env")),
            );
        }
    }
}
