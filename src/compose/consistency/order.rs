//! `depends_on`: what must be there, and circles.

use std::collections::{HashMap, HashSet};

use super::Checks;
use crate::compose::session::{Session, nowhere};
use crate::compose::yaml::{Mapping, Node};
use crate::diag::{Diagnostic, Span, nearest};

/// Services of a circle that are named.
const LONGEST_CIRCLE: usize = 20;

/// A service, where it is named, and the services that are still to be visited from it.
type Step<'a> = (&'a str, Span, Vec<(&'a str, Span)>);

impl Checks<'_> {
    /// The services that a command is about, with all that these depend on.
    pub(super) fn asked(&self) -> HashSet<&str> {
        if self.named.is_empty() {
            return self.services.0.keys().map(String::as_str).collect();
        }
        let mut asked = HashSet::new();
        let mut pending: Vec<&str> = self.named.iter().map(String::as_str).collect();
        while let Some(name) = pending.pop() {
            if asked.insert(name) {
                pending.extend(self.edges(name).into_iter().map(|(used, _)| used));
            }
        }
        asked
    }

    /// What a service needs must be there; in a profile that is off it may be when nobody asks for that service.
    pub(super) fn dependencies(&self, name: &str, service: &Node, path: &str, is_asked: bool, session: &mut Session) {
        for (used, entry) in service.get("depends_on").and_then(Node::as_mapping).into_iter().flat_map(Mapping::iter) {
            let required = entry.node.get("required").and_then(Node::as_bool).unwrap_or(true);
            let implied = entry.node.get("#origin").is_some();
            let path = if implied { path.to_owned() } else { format!("{path}.depends_on.{used}") };
            match self.services.get(used) {
                Some(_) if self.enabled.contains(used) || !required || !is_asked => {}
                Some(dependency) => {
                    let profiles: Vec<_> = dependency
                        .get("profiles")
                        .and_then(Node::as_sequence)
                        .unwrap_or_default()
                        .iter()
                        .filter_map(Node::as_str)
                        .collect();
                    session.report(
                        Diagnostic::error(format!("service {name:?} depends on {used:?}, whose profile is not active"))
                            .at(entry.key_span, format!("only in profile {}", profiles.join(", ")))
                            .path(path)
                            .hint(format!(
                                "run it with --profile {}, or set `required: false` for this dependency",
                                profiles.first().unwrap_or(&"NAME")
                            )),
                    );
                }
                None => {
                    let near = nearest(used, self.services.0.keys().map(String::as_str));
                    let hint = near.map(|near| format!("did you mean `{near}`?"));
                    session.report(
                        Diagnostic::error(format!("service {name:?} depends on undefined service {used:?}"))
                            .at(entry.key_span, "not defined in this project")
                            .path(path)
                            .hint_opt(hint),
                    );
                }
            }
        }
    }

    /// Services that wait for each other.
    pub(super) fn circles(&self, session: &mut Session) {
        let mut done: HashMap<&str, bool> = HashMap::new();
        for (start, _) in self.services.iter().filter(|(name, _)| self.enabled.contains(*name)) {
            if done.contains_key(start.as_str()) {
                continue;
            }
            // A walk with its own stack: chains may be long.
            let mut chain: Vec<Step<'_>> = vec![(start, Span { ..nowhere() }, self.edges(start))];
            done.insert(start, false);
            while let Some((_, _, edges)) = chain.last_mut() {
                let Some((next, span)) = edges.pop() else {
                    if let Some((name, _, _)) = chain.pop() {
                        done.insert(name, true);
                    }
                    continue;
                };
                match done.get(next) {
                    Some(true) => {}
                    Some(false) => {
                        let from = chain.iter().position(|(name, _, _)| *name == next).unwrap_or(0);
                        let mut names: Vec<&str> = chain[from..].iter().map(|(name, _, _)| *name).collect();
                        names.push(next);
                        if names.len() > LONGEST_CIRCLE {
                            names.splice(LONGEST_CIRCLE / 2..names.len() - LONGEST_CIRCLE / 2, ["…"]);
                        }
                        let mut diagnostic =
                            Diagnostic::error(format!("services wait for each other: {}", names.join(" → ")))
                                .at(span, "closes the circle")
                                .path(format!("services.{}.depends_on", chain.last().map_or("", |(name, _, _)| name)))
                                .hint("take away one of these dependencies");
                        for (_, span, _) in chain.iter().skip(from + 1).take(LONGEST_CIRCLE) {
                            diagnostic = diagnostic.related(*span, "");
                        }
                        session.report(diagnostic);
                    }
                    None => {
                        done.insert(next, false);
                        chain.push((next, span, self.edges(next)));
                    }
                }
            }
        }
    }

    fn edges(&self, name: &str) -> Vec<(&str, Span)> {
        let depends_on = self.services.get(name).and_then(|it| it.get("depends_on")).and_then(Node::as_mapping);
        let mut edges: Vec<(&str, Span)> = depends_on
            .into_iter()
            .flat_map(Mapping::iter)
            .filter(|(used, _)| self.enabled.contains(*used))
            .map(|(used, entry)| (used.as_str(), entry.key_span))
            .collect();
        edges.reverse();
        edges
    }
}
