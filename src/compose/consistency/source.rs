//! What a service runs on: an image, a build, or the machine's own files.

use crate::compose::session::Session;
use crate::compose::yaml::{Entry, Node};
use crate::diag::Diagnostic;
use crate::language::{Language, Wanted};

/// A service must come from somewhere.
pub(super) fn check(name: &str, entry: &Entry, path: &str, session: &mut Session) {
    let service = &entry.node;
    let has = |key: &str| service.get(key).is_some_and(|node| !node.is_null() && node.as_str() != Some(""));
    let host = service.get("x-windlass").and_then(|it| it.get("rootfs")).is_some();
    toolchain(service, path, host, session);
    // What it extends could not be read: that is said already.
    let unknown = has("extends");
    if !(has("image") || has("build") || has("provider") || host || unknown) {
        session.report(
            Diagnostic::error(format!("service {name:?} has neither an image nor a build context"))
                .at(entry.key_span, "`image` or `build` is missing")
                .path(path)
                .hint(
                    "add `image: …` or `build: .`; `x-windlass: { rootfs: host }` runs it on this machine's own files",
                ),
        );
    }
    if let Some(build) = service.get("build")
        && let (Some(_), Some(inline)) = (build.get("dockerfile"), build.get("dockerfile_inline"))
        && !is_default_dockerfile(build)
    {
        session.report(
            Diagnostic::error("`dockerfile` and `dockerfile_inline` exclude each other")
                .at(inline.span, "beside `dockerfile`")
                .path(format!("{path}.build"))
                .hint("remove one of them"),
        );
    }
}

/// Versions of languages must be some, and have the host root file system to lie over.
fn toolchain(service: &Node, path: &str, host: bool, session: &mut Session) {
    let toolchain = service.get("x-windlass").and_then(|it| it.get("toolchain"));
    let Some(toolchain) = toolchain.and_then(Node::as_mapping).filter(|it| !it.0.is_empty()) else { return };
    let path = format!("{path}.x-windlass.toolchain");
    for (name, entry) in toolchain.iter() {
        if let Some(language) = Language::from_name(name)
            && let Some(text) = entry.node.as_str().filter(|text| *text != "auto")
            && let Err(error) = Wanted::parse(language, text)
        {
            let diagnostic =
                Diagnostic::error(error.to_string()).at(entry.node.span, "not known").path(format!("{path}.{name}"));
            let hint = "write a version, a range, or `auto` for what the project's own files say";
            session.report_node(&entry.node, diagnostic.hint(hint));
        }
        if !host {
            session.report(
                Diagnostic::error("`toolchain` needs `rootfs: host`")
                    .at(entry.key_span, "an image has its own")
                    .path(format!("{path}.{name}"))
                    .hint("add `rootfs: host`, or take an image that has the language: `python:3.12-slim`"),
            );
        }
    }
}

/// Set by normalisation and not by the file.
fn is_default_dockerfile(build: &Node) -> bool {
    build.get("dockerfile").is_some_and(|node| node.span == build.span)
}

/// What is run must be among what is built.
pub(super) fn built_platform(service: &Node, path: &str, session: &mut Session) {
    let built = service.get("build").and_then(|build| build.get("platforms")).and_then(Node::as_sequence);
    let (Some(built), Some(wanted)) = (built.filter(|built| !built.is_empty()), service.get("platform")) else {
        return;
    };
    let is_open = |node: &Node| session.is_template(node);
    if is_open(wanted) || built.iter().any(|it| is_open(it) || it.as_str() == wanted.as_str()) {
        return;
    }
    let names: Vec<&str> = built.iter().filter_map(Node::as_str).collect();
    let name = wanted.as_str().unwrap_or_default();
    let diagnostic = Diagnostic::error(format!("`build.platforms` does not have the service's platform {name:?}"))
        .at(wanted.span, format!("not one of {}", names.join(", ")))
        .related(built[0].span, "these are built")
        .path(format!("{path}.platform"))
        .hint(format!("add {name} to `build.platforms`, or name one of them as `platform`"));
    session.report_node(wanted, diagnostic);
}
