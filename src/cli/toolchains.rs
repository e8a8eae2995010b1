//! Toolchains of services: what the file and the project's version files ask for, and where it comes from.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

use super::Context;
use super::exit::CommandError;
use super::ui::progress::{Progress, ProgressEvent, State};
use crate::compose::model::{Project, Service};
use crate::engine::images::add_toolchains;
use crate::image::Proxies;
use crate::image::toolchain::{
    LockFile, PYTHON_BUILDS, Step, StepKind, Toolchain, ToolchainError, ToolchainOptions, Toolchains,
};
use crate::language::{Language, Wanted};
use crate::plan::lower::ServiceImage;

/// Gives the named services their toolchains.
///
/// # Errors
/// When a version is not to be had, with the place that asks for it.
pub fn apply(
    context: &Context,
    project: &Project,
    images: &mut BTreeMap<String, ServiceImage>,
    progress: &Progress,
) -> Result<(), CommandError> {
    let has = |service: &&Service| !service.windlass.toolchain.is_empty();
    if !images.keys().filter_map(|name| project.services.get(name)).any(|service| has(&service)) {
        return Ok(());
    }
    let mut lock = LockFile::read(lock_folder(project)).map_err(|error| failed("toolchains are not known", &error))?;
    let homes = homes(context, project);
    // Whoever has everything needs no registry.
    let npm = Box::new(|| super::npm::registry(context, project, &homes));
    let toolchains = Toolchains::new(context.paths.toolchains(), options(context, &homes), npm);
    let show = |step: Step| progress.event(shown(&step));
    let mut have: Vec<(Wanted, Toolchain)> = Vec::new();
    for (name, image) in images.iter_mut() {
        let Some(service) = project.services.get(name).filter(has) else { continue };
        let mut own = Vec::new();
        for (language, text) in &service.windlass.toolchain {
            let place = format!("services.{name}.x-windlass.toolchain.{language}");
            let Some(wanted) = wanted(project, language, text, &place)? else { continue };
            let known = have.iter().find(|(wish, _)| *wish == wanted).map(|(_, toolchain)| toolchain.clone());
            let toolchain = match known.map_or_else(|| toolchains.ensure(&wanted, &mut lock, &show), Ok) {
                Ok(toolchain) => toolchain,
                Err(ToolchainError::NotHere { .. }) => {
                    let title = wanted.language.title();
                    progress.note(&format!("fetch {title} {} for service {name}: it is not here", wanted.text));
                    continue;
                }
                Err(error) => {
                    let message = format!("the {} of service {name} is not available", wanted.language.title());
                    return Err(failed(&format!("{message}{}", at(project, &place)), &error));
                }
            };
            have.push((wanted, toolchain.clone()));
            own.push(toolchain);
        }
        add_toolchains(image, &own);
    }
    if context.global.dry_run {
        return Ok(());
    }
    if let Some(asked) = asked(context, project) {
        lock.retain(&asked);
    }
    if let Err(error) = lock.write() {
        // A project that cannot be written to still runs; it is only not known what it runs with.
        eprintln!(
            "warning: {error}: {}",
            std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default()
        );
    }
    Ok(())
}

/// What all services of the project ask for; `None` when not all are known: other files may have more.
fn asked(context: &Context, project: &Project) -> Option<Vec<Wanted>> {
    let usual = |file: &PathBuf| {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let stem = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml"));
        matches!(stem, Some("compose" | "docker-compose" | "compose.override" | "docker-compose.override"))
    };
    if !context.global.files.is_empty() || !project.compose_files.iter().all(usual) {
        return None;
    }
    let mut asked = Vec::new();
    for (name, service) in project.services.iter().chain(&project.disabled_services) {
        for (language, text) in &service.windlass.toolchain {
            let place = format!("services.{name}.x-windlass.toolchain.{language}");
            asked.extend(wanted(project, language, text, &place).ok()?);
        }
    }
    Some(asked)
}

fn failed(message: &str, error: &ToolchainError) -> CommandError {
    let result = CommandError::caused(message, error);
    match error.remedy() {
        Some(remedy) => result.hint(remedy),
        None => result,
    }
}

fn at(project: &Project, path: &str) -> String {
    project.place(path).map_or_else(String::new, |place| format!(" ({place})"))
}

/// Beside the Compose file.
fn lock_folder(project: &Project) -> &Path {
    let file = project.compose_files.first().filter(|file| file.is_absolute());
    file.and_then(|file| file.parent()).unwrap_or(&project.working_dir)
}

/// What a service wants of a language; `None`: the system's own.
fn wanted(project: &Project, language: &str, text: &str, path: &str) -> Result<Option<Wanted>, CommandError> {
    let place = at(project, path);
    let Some(language) = Language::from_name(language) else {
        return Err(CommandError::new(format!("{path}: `{language}` is no language that windlass knows{place}")));
    };
    if text != "auto" {
        return Wanted::parse(language, text).map_err(|error| CommandError::caused(format!("{path}{place}"), &error));
    }
    let files = project.versions.iter().filter(|version| version.language == language);
    let mut result = CommandError::new(format!(
        "{path} is `auto`, and no file of the project says which {}{place}",
        language.title()
    ));
    for file in files {
        match &file.declared {
            Ok(declared) => return Ok(Some(declared.wanted.clone())),
            Err(error) => {
                let name = file.file.strip_prefix(&project.working_dir).unwrap_or(&file.file).display();
                result = result.also(format!("{name} is not understood"), error);
            }
        }
    }
    let mut names: Vec<&str> = language.files().iter().map(|file| file.name).collect();
    names.dedup();
    Err(result.hint(format!("write the version here, or into one of {}", names.join(", "))))
}

fn shown(step: &Step) -> ProgressEvent {
    let id = format!("Toolchain {}", step.what);
    match step.kind {
        StepKind::Resolving => ProgressEvent::new(id, "Resolving", State::Working),
        StepKind::Downloading { current, total } => {
            ProgressEvent::new(id, "Downloading", State::Working).bytes(current, total)
        }
        StepKind::Unpacking => ProgressEvent::new(id, "Extracting", State::Working),
        StepKind::Ready => ProgressEvent::new(id, "Ready", State::Done),
    }
}

fn options(context: &Context, homes: &[PathBuf]) -> ToolchainOptions {
    let variable = |name: &str| context.environment.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let python_builds = variable("WINDLASS_PYTHON_MIRROR").unwrap_or(PYTHON_BUILDS).to_owned();
    let mut interpreters: Vec<PathBuf> = [
        variable("UV_PYTHON_INSTALL_DIR").map(PathBuf::from),
        variable("PYENV_ROOT").map(|root| Path::new(root).join("versions")),
        variable("MISE_DATA_DIR").map(|root| Path::new(root).join("installs/python")),
    ]
    .into_iter()
    .flatten()
    .collect();
    for home in homes {
        interpreters.push(home.join(".local/share/uv/python"));
        interpreters.push(home.join(".pyenv/versions"));
        interpreters.push(home.join(".local/share/mise/installs/python"));
    }
    interpreters.dedup();
    let proxies = Proxies::from_variables(variable);
    ToolchainOptions { python_builds, interpreters, proxies, here_alone: context.global.dry_run }
}

/// The home of whoever called, and of whom the project belongs to: with sudo these are two.
fn homes(context: &Context, project: &Project) -> Vec<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let owner =
        fs::metadata(&project.working_dir).ok().and_then(|folder| User::from_uid(Uid::from_raw(folder.uid())).ok());
    let owner = owner.flatten().map(|user| user.dir).filter(|home| home.is_absolute());
    let mut homes: Vec<PathBuf> = context.home.iter().cloned().chain(owner).collect();
    homes.dedup();
    homes
}
