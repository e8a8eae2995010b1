//! Which files a project is made of.

use std::path::{Path, PathBuf};

use crate::compose::files::FileSource;
use crate::compose::session::Session;
use crate::diag::Diagnostic;

const NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
const OVERRIDES: [&str; 4] =
    ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"];

/// The default file in `dir` or above it, with its override file.
pub(super) fn discover(dir: &Path, files: &dyn FileSource, session: &mut Session) -> Vec<PathBuf> {
    for dir in dir.ancestors() {
        let found = existing(dir, &NAMES, files);
        let Some(first) = found.first() else { continue };
        warn_several(&found, "Compose files", session);
        let overrides = existing(dir, &OVERRIDES, files);
        warn_several(&overrides, "override files", session);
        let mut all = vec![first.clone()];
        all.extend(overrides.into_iter().next());
        return all;
    }
    session.report(
        Diagnostic::error(format!("no Compose file in {} or any folder above it", dir.display()))
            .note(format!("looked for {}", NAMES.join(", ")))
            .hint("go to the project's folder, or name the file with -f"),
    );
    Vec::new()
}

/// Whether `dir` or a folder above it has a file by one of the default names.
pub fn has_default_file(dir: &Path, files: &dyn FileSource) -> bool {
    dir.ancestors().any(|dir| !existing(dir, &NAMES, files).is_empty())
}

fn existing(dir: &Path, names: &[&str], files: &dyn FileSource) -> Vec<PathBuf> {
    names.iter().map(|name| dir.join(name)).filter(|path| files.is_file(path)).collect()
}

fn warn_several(found: &[PathBuf], what: &str, session: &mut Session) {
    if let [first, others @ ..] = found
        && !others.is_empty()
    {
        let others: Vec<_> = others.iter().map(|path| path.display().to_string()).collect();
        session.report(
            Diagnostic::warning(format!("several {what}: {} is used", first.display()))
                .note(format!("left out: {}", others.join(", ")))
                .hint("remove the others, or name the files with -f"),
        );
    }
}
