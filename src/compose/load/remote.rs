//! Compose files that are not on this machine: `oci://` artifacts and git repositories.

use super::document::Loader;
use crate::compose::yaml::Node;
use crate::diag::{Diagnostic, Span};

/// What `path` names, when it is not a file of this machine.
fn kind(path: &str) -> Option<&'static str> {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
    if begins(&["oci://"]) {
        Some("an artifact in a registry")
    } else if begins(&["git://", "ssh://", "git@", "github.com/"]) || (begins(&["https://", "http://"]) && is_git(path))
    {
        Some("a git repository")
    } else if begins(&["https://", "http://"]) {
        Some("a web address")
    } else {
        None
    }
}

/// `https://host/repository.git#ref:folder`.
fn is_git(url: &str) -> bool {
    let address = url.split('#').next().unwrap_or_default();
    address.ends_with(".git") || url.contains('#')
}

impl Loader<'_> {
    /// Refuses a path that is not one of this machine.
    pub fn is_local(&mut self, path: &str, named_at: Option<(&Node, &str)>) -> bool {
        let Some(kind) = kind(path) else { return true };
        let hint = match kind {
            "a git repository" => "clone the repository, and name the file in the clone",
            "a web address" => "download the file, and name the copy",
            _ => "copy the Compose file to this machine, and name the copy",
        };
        let diagnostic =
            Diagnostic::error(format!("{path} is {kind}: windlass reads Compose files of this machine only"));
        match named_at {
            Some((node, model_path)) => {
                let span: Span = node.span;
                self.session.report_node(node, diagnostic.at(span, "not supported").path(model_path).hint(hint));
            }
            None => self.session.report(diagnostic.hint(hint)),
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::kind;

    #[test]
    fn addresses_are_told_from_paths() {
        for remote in [
            "oci://docker.io/me/app:1",
            "https://github.com/me/app.git#main:sub",
            "git@github.com:me/app",
            "http://x/a.yaml",
        ] {
            assert!(kind(remote).is_some(), "{remote}");
        }
        for local in ["compose.yaml", "./oci/x.yaml", "/git@x/compose.yaml", "-", "a:b/compose.yaml"] {
            assert_eq!(kind(local), None, "{local}");
        }
    }
}
