//! The steps of loading, in order.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::document::{Layer, Loader, PROJECT_SHAPE, is_stdin};
use super::{discover, env_files, name, versions};
use crate::compose::canonical::complete;
use crate::compose::consistency;
use crate::compose::environment::{Environment, SetVariable, VariableSource};
use crate::compose::files::FileSource;
use crate::compose::interpolate::interpolate;
use crate::compose::merge::{merge, settle, unify};
use crate::compose::model::Project;
use crate::compose::normalise;
use crate::compose::paths::{self, Base};
use crate::compose::project::{self, Enabled};
use crate::compose::provenance::{History, Provenance, Reason, Rule};
use crate::compose::request::{LoadFailure, LoadRequest, Loaded};
use crate::compose::resolve;
use crate::compose::schema::{SERVICE, Shape};
use crate::compose::session::{Interpolation, ModelPath, Session, nowhere};
use crate::compose::validate::support;
use crate::compose::yaml::{Mapping, Node, Past};
use crate::diag::{Diagnostic, Span};

/// Loads a project. All faults are returned together, in the order of their places.
pub fn load(request: LoadRequest, files: &dyn FileSource) -> Result<Loaded, LoadFailure> {
    let mut loader = Loader {
        files,
        options: &request.options,
        shown_from: request.current_dir.clone(),
        session: Session {
            raw: !request.options.interpolate,
            history: if request.options.provenance { History::recording() } else { History::default() },
            ..Session::default()
        },
        parsed: HashMap::new(),
        extended_files: HashMap::new(),
        extended_services: HashMap::new(),
        layers: 0,
    };
    let loaded = loader.load(&request);
    let mut session = loader.session;
    session.tell_variables();
    session.close();
    sort(&mut session.diagnostics);
    match loaded {
        Some(parts) if !session.failed() => Ok(Loaded {
            project: parts.project,
            warnings: session.diagnostics,
            sources: session.sources,
            environment: parts.environment,
            trail: session.trail,
            tree: parts.tree,
            provenance: Provenance::new(parts.provenance, session.history),
        }),
        _ => Err(LoadFailure { diagnostics: session.diagnostics, sources: session.sources }),
    }
}

/// By place; what has none comes first.
fn sort(diagnostics: &mut [Diagnostic]) {
    diagnostics.sort_by_key(|diagnostic| {
        let place = diagnostic.primary.as_ref().map(|label| (label.span.source, label.span.line, label.span.column));
        (place.is_some(), place, diagnostic.severity)
    });
}

/// What is read, and where it is.
struct Found {
    environment: Environment,
    dir: PathBuf,
    compose_files: Vec<PathBuf>,
}

struct Parts {
    project: Project,
    environment: Environment,
    tree: serde_json::Value,
    /// With a history: the merged tree.
    provenance: Option<Node>,
}

impl Loader<'_> {
    fn load(&mut self, request: &LoadRequest) -> Option<Parts> {
        let Found { mut environment, dir, compose_files } = self.find(request);
        if compose_files.is_empty() {
            return None;
        }

        let declared = versions::declared(&dir, self.files);
        versions::fill(&mut environment, &declared);
        let project_name = self.project_name(request, &environment, &compose_files, &dir)?;
        let name_variable = environment.variable("COMPOSE_PROJECT_NAME").cloned();
        environment.set("COMPOSE_PROJECT_NAME", &project_name, VariableSource::Project);
        let home = environment.home();
        let relative = (!self.options.resolve_paths).then(PathBuf::new);
        let base = Base { dir: dir.clone(), relative, home };
        let environment = Rc::new(environment);
        let layer = Layer { number: 0, environment: Rc::clone(&environment), base, stack: Vec::new() };
        let inputs: Vec<(PathBuf, Option<Span>)> = compose_files.iter().map(|file| (file.clone(), None)).collect();
        let mut tree = self.load_layer(&inputs, &layer);

        let mut path = ModelPath::default();
        let span = tree.span;
        if tree.as_mapping().is_none_or(|root| root.0.is_empty()) && !self.session.failed() {
            let hint = "begin with `services:` and a service below it";
            self.session.report(Diagnostic::error("the Compose file is empty").hint(hint));
        }
        complete(&mut tree, &PROJECT_SHAPE, span, &mut path, &mut self.session);
        normalise::defaults(&mut tree, &mut self.session);
        drop(layer);
        if self.session.failed() {
            // What is missing already would only be missed again below.
            self.only_sound_services(&mut tree);
        }
        if self.options.normalise {
            normalise::normalise(&mut tree, &project_name, &environment, &mut self.session);
        }
        let profiles = profiles(request, &environment);
        let enabled = project::enabled(&mut tree, &profiles, &self.options.services);
        self.check_whole(&mut tree, &enabled, &environment)?;
        versions::warn(&declared, &self.shown_from.clone(), &mut self.session);
        support::warn(&tree, &enabled, self.options.for_running, &mut self.session);
        if self.session.failed() {
            return None;
        }
        if self.session.history.is_on() {
            self.name_node(&mut tree, &project_name, request.project_name.is_some(), name_variable);
        }
        // Text with variables has no type yet.
        let (mut project, json) = match self.options.interpolate {
            true => (project::decode(&tree, &enabled, self.options, &mut self.session)?, serde_json::Value::Null),
            false => (Project::default(), tree.to_json()),
        };
        project.name = project_name;
        project.working_dir = dir;
        project.compose_files = compose_files;
        project.profiles = profiles;
        project.versions = declared;
        project.compatibility = self.options.compatibility || is_set(&environment, "COMPOSE_COMPATIBILITY");
        project.environment = environment.values();
        let provenance = self.session.history.is_on().then_some(tree);
        let environment = Rc::try_unwrap(environment).unwrap_or_else(|shared| (*shared).clone());
        Some(Parts { project, environment, tree: json, provenance })
    }

    /// Where the project is, its files, and what its variables are.
    fn find(&mut self, request: &LoadRequest) -> Found {
        let mut environment = Environment::from_shell(&request.environment);
        let absolute = |path: &Path| request.current_dir.join(path);
        let asked_dir = request.project_directory.as_deref().map(absolute);
        let named_dir = request
            .files
            .first()
            .filter(|path| !is_stdin(path))
            .and_then(|path| absolute(path).parent().map(Path::to_owned));
        let first_dir = asked_dir.clone().or(named_dir).unwrap_or_else(|| request.current_dir.clone());
        let named_env = self.fill_environment(&mut environment, request, &first_dir);

        let compose_files = self.compose_files(request, &environment, asked_dir.as_deref());
        let dir = asked_dir.clone().unwrap_or_else(|| match compose_files.first() {
            Some(file) if !is_stdin(file) => file.parent().unwrap_or(Path::new("/")).to_owned(),
            _ => request.current_dir.clone(),
        });
        let dir = PathBuf::from(crate::compose::canonical::clean(&dir.to_string_lossy()));
        if !named_env && dir != first_dir && !is_set(&environment, "COMPOSE_DISABLE_ENV_FILE") {
            env_files::fill(
                &mut environment,
                &[dir.join(".env")],
                false,
                &self.shown_from.clone(),
                self.files,
                &mut self.session,
            );
        }
        Found { environment, dir, compose_files }
    }

    /// What the parts say of each other, and the files that services take their environment from.
    fn check_whole(&mut self, tree: &mut Node, enabled: &Enabled, environment: &Environment) -> Option<()> {
        if self.options.check_consistency {
            consistency::check(tree, enabled, &self.options.services, &mut self.session);
        }
        if self.options.resolve_environment {
            let needed = match self.options.for_running {
                true => project::needed(tree, enabled, &self.options.services),
                false => enabled.clone(),
            };
            resolve::env_files(tree, &needed, environment, self.files, &self.shown_from.clone(), &mut self.session);
        }
        if self.session.failed() {
            return None;
        }
        Some(())
    }

    /// Puts the project's name into the tree, with where it comes from.
    fn name_node(&mut self, tree: &mut Node, name: &str, by_flag: bool, variable: Option<SetVariable>) {
        let variable = variable.filter(|variable| !variable.value.is_empty());
        let Some(root) = tree.as_mapping_mut() else { return };
        let reason = match (by_flag, &variable) {
            (true, _) => Reason::NameOfFlag,
            (false, Some(_)) => Reason::NameOfVariable,
            (false, None) if root.get("name").and_then(Node::as_str).is_some_and(|name| !name.is_empty()) => return,
            (false, None) => Reason::NameOfFolder,
        };
        let mut node = Node { past: Past::made(reason), ..Node::string(name, nowhere()) };
        if reason == Reason::NameOfVariable {
            let template = "${COMPOSE_PROJECT_NAME}".to_owned();
            let variables = vec![("COMPOSE_PROJECT_NAME".to_owned(), variable)];
            node.origin = self.session.trail.record(Interpolation { span: nowhere(), template, variables });
        }
        if let Some(named) = root.get("name") {
            node.past = self.session.history.over(named, &node, Rule::Made(reason));
        }
        root.insert("name", node);
    }

    /// Services that are left after faults: checks of the whole go on with these.
    fn only_sound_services(&mut self, tree: &mut Node) {
        let shape = Shape::Object(&SERVICE);
        if let Some(services) =
            tree.as_mapping_mut().and_then(|it| it.get_mut("services")).and_then(Node::as_mapping_mut)
        {
            services.0.retain(|_, entry| entry.node.as_mapping().is_some());
            for entry in services.0.values_mut() {
                unify(&mut entry.node, &shape, &mut self.session.history);
            }
        }
    }

    /// Fills the environment from env files; whether they were named.
    fn fill_environment(&mut self, environment: &mut Environment, request: &LoadRequest, dir: &Path) -> bool {
        if is_set(environment, "COMPOSE_DISABLE_ENV_FILE") && request.env_files.is_empty() {
            return true;
        }
        let mut named: Vec<PathBuf> = request.env_files.clone();
        if named.is_empty()
            && let Some(list) = environment.get("COMPOSE_ENV_FILES").filter(|list| !list.is_empty())
        {
            named = list.split(',').map(PathBuf::from).collect();
        }
        let is_named = !named.is_empty();
        let paths: Vec<PathBuf> = match is_named {
            true => named.iter().map(|path| request.current_dir.join(path)).collect(),
            false => vec![dir.join(".env")],
        };
        env_files::fill(environment, &paths, is_named, &self.shown_from.clone(), self.files, &mut self.session);
        is_named
    }

    fn compose_files(&mut self, request: &LoadRequest, environment: &Environment, dir: Option<&Path>) -> Vec<PathBuf> {
        let absolute = |path: &Path| match is_stdin(path) {
            true => path.to_owned(),
            false => {
                let path = request.current_dir.join(path);
                PathBuf::from(crate::compose::canonical::clean(&path.to_string_lossy()))
            }
        };
        let named = request.files.iter().filter_map(|path| path.to_str());
        if named.filter(|path| !self.is_local(path, None)).count() > 0 {
            return Vec::new();
        }
        if !request.files.is_empty() {
            return request.files.iter().map(|path| absolute(path)).collect();
        }
        if let Some(list) = environment.get("COMPOSE_FILE").filter(|list| !list.is_empty()) {
            // The separator is in every address.
            if !self.is_local(list, None) {
                return Vec::new();
            }
            let separator = environment.get("COMPOSE_PATH_SEPARATOR").filter(|it| !it.is_empty()).unwrap_or(":");
            return list
                .split(separator)
                .filter(|path| !path.is_empty())
                .map(|path| absolute(Path::new(path)))
                .collect();
        }
        discover::discover(dir.unwrap_or(&request.current_dir), self.files, &mut self.session)
    }

    /// `-p`, `COMPOSE_PROJECT_NAME`, `name:` of the last file that has one, the folder.
    fn project_name(
        &mut self,
        request: &LoadRequest,
        environment: &Environment,
        files: &[PathBuf],
        dir: &Path,
    ) -> Option<String> {
        if let Some(given) = &request.project_name {
            name::check_given(given, "-p", &mut self.session);
            return Some(given.clone());
        }
        if let Some(given) = environment.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty()) {
            let given = given.to_owned();
            name::check_given(&given, "COMPOSE_PROJECT_NAME", &mut self.session);
            return Some(given);
        }
        if let Some(named) = self.name_of_files(files, environment) {
            return Some(named);
        }
        let name = name::from_dir(dir);
        if name.is_empty() {
            self.session.report(
                Diagnostic::error(format!("no project name can be made of the folder {}", dir.display()))
                    .hint("write `name: …` at the top of the Compose file, or give one with -p"),
            );
            return None;
        }
        Some(name)
    }

    /// The `name:` of the files, which are read here and loaded later; standard input is read once and does not count.
    fn name_of_files(&mut self, files: &[PathBuf], environment: &Environment) -> Option<String> {
        let mut found = None;
        for file in files.iter().filter(|file| !is_stdin(file)) {
            let documents = self.parse(file, None);
            for mut node in documents.iter().flatten().filter_map(|document| document.get("name").cloned()) {
                if self.options.interpolate {
                    // Its faults are told when the file is loaded.
                    interpolate(&mut node, &mut ModelPath::from("name"), environment, &mut Session::default());
                }
                name::settle_node(&mut node, &mut Session::default());
                found = node.as_str().filter(|name| !name.is_empty()).map(str::to_owned).or(found);
            }
            self.parsed.insert(file.clone(), documents);
        }
        found
    }

    /// The files of a layer, merged. Nothing is left to reset.
    pub fn load_layer(&mut self, inputs: &[(PathBuf, Option<Span>)], layer: &Layer) -> Node {
        let mut merged: Option<Node> = None;
        for (file, named_at) in inputs {
            let Some(documents) = self.documents(file, *named_at, &layer.environment) else { continue };
            for mut document in documents {
                if let Some(node) = document.as_mapping_mut().and_then(|it| it.get_mut("name")) {
                    name::settle_node(node, &mut self.session);
                }
                paths::resolve(&mut document, &layer.base);
                self.apply_include(&mut document, file, layer);
                let earlier = merged.as_ref().and_then(|it| it.get("services")).and_then(Node::as_mapping);
                self.apply_extends(&mut document, file, earlier, layer);
                merged = Some(match merged {
                    Some(base) => merge(base, document, &PROJECT_SHAPE, &mut self.session.history),
                    None => document,
                });
            }
        }
        let mut merged = merged.unwrap_or_else(|| Node::mapping(Mapping::default(), nowhere()));
        settle(&mut merged);
        normalise::build_contexts(&mut merged, &layer.base);
        unify(&mut merged, &PROJECT_SHAPE, &mut self.session.history);
        if self.options.resolve_environment {
            resolve::environment(&mut merged, &layer.environment, &mut self.session);
        }
        merged
    }
}

/// As the peer reads a boolean.
fn is_set(environment: &Environment, name: &str) -> bool {
    environment
        .get(name)
        .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "t" | "yes" | "y" | "on"))
}

fn profiles(request: &LoadRequest, environment: &Environment) -> Vec<String> {
    if !request.profiles.is_empty() {
        return request.profiles.clone();
    }
    let list = environment.get("COMPOSE_PROFILES").unwrap_or_default();
    list.split(',').map(str::trim).filter(|profile| !profile.is_empty()).map(str::to_owned).collect()
}
