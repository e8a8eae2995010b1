//! `windlass config`: the project as it is understood.

mod digests;
mod json;
mod unfit;
mod variables;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use sha2::{Digest, Sha256};

use crate::cli::exit::CommandError;
use crate::cli::load::Loading;
use crate::cli::ui::stdout;
use crate::cli::{CommandResult, Context, names};
use crate::compose::emit::{Format, canonical, double_dollars, natural, to_yaml};
use crate::compose::model::Project;
use crate::compose::{self, LoadOptions, Loaded, json_schema};

#[derive(Debug, Clone, Default, Args)]
pub struct ConfigArgs {
    /// Print the environment that variables are taken from
    #[arg(long)]
    pub environment: bool,
    /// `yaml` or `json`
    #[arg(long, value_name = "FORMAT", value_parser = ["yaml", "json"])]
    pub format: Option<String>,
    /// Print the hash of a service's configuration, `*` for all
    #[arg(long, value_name = "SERVICE")]
    pub hash: Option<String>,
    /// Print only the services' images with their digests, as an override file
    #[arg(long)]
    pub lock_image_digests: bool,
    /// Print the images, one a line
    #[arg(long)]
    pub images: bool,
    /// Print the models, one a line
    #[arg(long)]
    pub models: bool,
    /// Print the networks, one a line
    #[arg(long)]
    pub networks: bool,
    /// Do not check that the parts fit together
    #[arg(long)]
    pub no_consistency: bool,
    /// Do not read the services' env files
    #[arg(long)]
    pub no_env_resolution: bool,
    /// Leave variables as they are
    #[arg(long)]
    pub no_interpolate: bool,
    /// Do not add what follows from the file: networks, names, dependencies
    #[arg(long)]
    pub no_normalize: bool,
    /// Leave relative paths as they are
    #[arg(long)]
    pub no_path_resolution: bool,
    /// Write to a file
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print the profiles, one a line
    #[arg(long)]
    pub profiles: bool,
    /// Only check, print nothing
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// Name images by their digests, which the registries are asked for
    #[arg(long)]
    pub resolve_image_digests: bool,
    /// Print a JSON schema of Compose files for editors
    #[arg(long)]
    pub schema: bool,
    /// Print the services, one a line
    #[arg(long)]
    pub services: bool,
    /// Print the variables of the files and their defaults
    #[arg(long)]
    pub variables: bool,
    /// Print the volumes, one a line
    #[arg(long)]
    pub volumes: bool,
    /// Only these services and what they depend on
    #[arg(value_name = "SERVICE")]
    pub only: Vec<String>,
}

impl ConfigArgs {
    fn is_json(&self) -> bool {
        self.format.as_deref() == Some("json")
    }

    fn is_consistent(&self) -> bool {
        !(self.no_consistency || self.no_interpolate || self.variables)
    }

    /// Whether the project is as `up` would take it, so that it can be said what that would refuse.
    fn is_whole(&self) -> bool {
        self.is_consistent() && !(self.no_normalize || self.no_path_resolution || self.no_env_resolution)
    }

    /// How the project is to be loaded.
    #[must_use]
    pub fn options(&self) -> LoadOptions {
        LoadOptions {
            interpolate: !(self.no_interpolate || self.variables),
            normalise: !self.no_normalize,
            resolve_paths: !self.no_path_resolution,
            // What a variable stands for is not known yet, and may be all that is missing.
            check_consistency: self.is_consistent(),
            resolve_environment: !(self.no_env_resolution || self.no_interpolate || self.variables),
            services: self.only.clone(),
            all_resources: self.networks || self.volumes,
            places: self.is_whole() || self.resolve_image_digests || self.lock_image_digests,
            ..LoadOptions::default()
        }
    }
}

/// # Errors
/// Every fault of the files, or when the output cannot be written.
pub fn run(args: &ConfigArgs, context: &Context) -> CommandResult {
    if args.schema {
        stdout::write(&format!("{:#}\n", json_schema()))?;
        return Ok(0);
    }
    let loading = Loading { services: args.only.clone(), options: args.options() };
    if args.quiet && args.is_json() {
        return unfit::diagnostics(args, &loading, context);
    }
    let mut loaded = context.load_whole(&loading, args.is_json())?;
    names::check(&args.only, &names::services(&loaded.project))?;
    unfit::warn(args, &loaded, context);
    if args.resolve_image_digests || args.lock_image_digests {
        digests::pin(&mut loaded, args, context)?;
    }
    let text = render(args, &loaded)?;
    match &args.output {
        Some(path) => {
            let path = context.working_dir.join(path);
            std::fs::write(&path, text)
                .map_err(|error| CommandError::caused(format!("cannot write {}", path.display()), &error))?;
        }
        None => stdout::write(&text)?,
    }
    leave(loaded);
    Ok(0)
}

/// The output for a loaded project.
///
/// # Errors
/// When a service that is named does not exist.
pub fn render(args: &ConfigArgs, loaded: &Loaded) -> Result<String, CommandError> {
    let project = &loaded.project;
    let lines = |names: Vec<String>| names.into_iter().fold(String::new(), |text, name| text + &name + "\n");
    if args.quiet {
        return Ok(String::new());
    }
    if args.variables {
        return Ok(variables::render(loaded, args.format.as_deref()));
    }
    if args.environment {
        let set = loaded.environment.iter().map(|(name, variable)| format!("{name}={}", variable.value));
        return Ok(lines(set.collect()));
    }
    if let Some(hashed) = &args.hash {
        return hashes(project, hashed);
    }
    if args.services {
        return Ok(lines(in_order(project)));
    }
    if args.volumes {
        return Ok(lines(sorted(project.volumes.keys())));
    }
    if args.networks {
        return Ok(lines(sorted(project.networks.keys())));
    }
    if args.models {
        let models = project.models.values().map(|model| &model.model);
        return Ok(lines(sorted(models)));
    }
    if args.profiles {
        let all = project.services.values().chain(project.disabled_services.values());
        let names: BTreeSet<&String> = all.flat_map(|service| &service.profiles).collect();
        return Ok(lines(names.into_iter().cloned().collect()));
    }
    if args.images {
        // What is neither built nor has an image (this machine's own files, a provider) has no name to print.
        let image = |name: &str| {
            let service = project.services.get(name)?;
            let built = || service.build.as_ref().map(|_| project.built_image(name));
            service.image.clone().or_else(built)
        };
        return Ok(lines(sorted(project.services.keys()).iter().filter_map(|name| image(name)).collect()));
    }
    Ok(whole(args, loaded))
}

fn whole(args: &ConfigArgs, loaded: &Loaded) -> String {
    let is_json = args.is_json();
    let value = match args.no_interpolate {
        true if args.lock_image_digests => digests::only_images(&loaded.uninterpolated(is_json)),
        true => loaded.uninterpolated(is_json),
        false => {
            let format = if is_json { Format::Json } else { Format::Yaml };
            let mut project = only(&loaded.project, &args.only);
            if args.lock_image_digests {
                project = Cow::Owned(digests::locked(&project));
            }
            let mut value = canonical(&project, format, args.no_env_resolution);
            // What is printed is to be read again.
            double_dollars(&mut value);
            value
        }
    };
    let text = match is_json {
        true => json::readable(&json::escaped(&format!("{value:#}"))),
        false => to_yaml(&value),
    };
    leave(value);
    text
}

/// The process ends with this command, and its memory with it: to take a large tree apart first would only cost time.
fn leave<T>(tree: T) {
    std::mem::forget(tree);
}

/// The named services, with all that they depend on; all without names.
fn only<'a>(project: &'a Project, names: &[String]) -> Cow<'a, Project> {
    if names.is_empty() {
        return Cow::Borrowed(project);
    }
    let mut project = project.clone();
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    let mut queue: Vec<String> = names.to_vec();
    while let Some(name) = queue.pop() {
        if let Some(service) = project.services.get(&name)
            && wanted.insert(name)
        {
            queue.extend(service.depends_on.keys().cloned());
        }
    }
    project.services.retain(|name, _| wanted.contains(name));
    compose::prune(&mut project);
    Cow::Owned(project)
}

fn sorted<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut names: Vec<String> = names.cloned().collect();
    names.sort_by(|a, b| natural(a, b));
    names.dedup();
    names
}

/// Services by name, each after those that it depends on.
fn in_order(project: &Project) -> Vec<String> {
    fn visit(name: &str, project: &Project, seen: &mut BTreeSet<String>, order: &mut Vec<String>) {
        let Some(service) = project.services.get(name) else { return };
        if !seen.insert(name.to_owned()) {
            return;
        }
        for dependency in sorted(service.depends_on.keys()) {
            visit(&dependency, project, seen, order);
        }
        order.push(name.to_owned());
    }
    let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
    for name in sorted(project.services.keys()) {
        visit(&name, project, &mut seen, &mut order);
    }
    order
}

/// `SERVICE HASH` lines.
fn hashes(project: &Project, hashed: &str) -> Result<String, CommandError> {
    let names: Vec<String> = match hashed {
        "*" => sorted(project.services.keys()),
        names => names.split(',').map(str::to_owned).collect(),
    };
    let mut text = String::new();
    for name in names {
        let Some(hash) = hash(project, &name) else {
            return Err(names::no_such_service(&[name], &names::services(project)));
        };
        _ = writeln!(text, "{name} {hash}");
    }
    Ok(text)
}

/// SHA-256 of the service as JSON, without what does not change its containers.
fn hash(project: &Project, name: &str) -> Option<String> {
    let mut service = project.services.get(name)?.clone();
    service.build = None;
    service.pull_policy = None;
    service.scale = None;
    if let Some(deploy) = &mut service.deploy {
        deploy.replicas = None;
    }
    service.depends_on.clear();
    service.profiles.clear();
    service.extensions.clear();
    let alone = Project { services: [(name.to_owned(), service)].into_iter().collect(), ..Project::default() };
    let value = canonical(&alone, Format::Json, false);
    let text = value["services"][name].to_string();
    Some(hex::encode(Sha256::digest(json::escaped(&text).as_bytes())))
}
