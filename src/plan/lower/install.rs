//! `x-windlass.install` to a volume of packages, what it depends on, and the step that fills it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Fault, ServiceImage, network};
use crate::compose::model::{self, Project, Service, VolumeMount, VolumeMountType};
use crate::plan::desired::Install;
use crate::record::{BindSource, VolumeUse};
use crate::runtime::spec::{DEFAULT_PATH, Mount, MountKind, Process, Propagation};
use crate::state::paths::volume_data;
use crate::volumes::packages;
use crate::volumes::spec::VolumeSpec;

/// Where a virtual environment of Python is when nothing else is said.
const VENV: &str = "/opt/venv";
/// Which names of lock files belong to which packages; those that are looked for come first.
const NODE: [&str; 5] = ["package-lock.json", "pnpm-lock.yaml", "npm-shrinkwrap.json", "yarn.lock", "bun.lock"];
const PYTHON: [&str; 5] = ["uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml"];
/// Digits of a key in the name of a volume.
const KEY: usize = 16;

/// What a service's packages depend on: read from this machine for lowering.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Locks {
    /// The files and their SHA-256.
    pub files: BTreeMap<PathBuf, String>,
    /// What stands for this machine's own system, where that is what the service runs on.
    pub system: Option<String>,
}

/// Whether a file of this name is taken for a lock file without being named.
#[must_use]
pub fn is_lock(name: &str) -> bool {
    matches!(name, "package-lock.json" | "pnpm-lock.yaml" | "uv.lock") || is_requirements(name)
}

fn is_requirements(name: &str) -> bool {
    name.starts_with("requirements") && name.ends_with(".txt")
}

/// The folder of this machine in which a service works, as far as that is mounted.
#[must_use]
pub fn folder(service: &Service, image: &ServiceImage) -> Option<PathBuf> {
    let install = service.windlass.install.as_ref()?;
    let cwd = install.working_dir.clone().unwrap_or_else(|| working_dir(service, image));
    let cwd = Path::new("/").join(cwd);
    let (mount, source) = innermost(service, |mount| cwd.starts_with(&mount.target))?;
    let below = cwd.strip_prefix(&mount.target).ok()?;
    Some(source.join(below))
}

#[must_use]
pub fn working_dir(service: &Service, image: &ServiceImage) -> String {
    service.working_dir.clone().unwrap_or_else(|| image.working_dir.clone())
}

/// The bind mount with the longest target of those that are meant; `None` also when another mount lies over it.
fn innermost(service: &Service, meant: impl Fn(&VolumeMount) -> bool) -> Option<(&VolumeMount, &Path)> {
    let mounts = service.volumes.iter().filter(|mount| meant(mount));
    let mount = mounts.max_by_key(|mount| Path::new(&mount.target).components().count())?;
    let source = mount.source.as_deref().filter(|_| mount.kind == VolumeMountType::Bind)?;
    Some((mount, Path::new(source)))
}

/// What of packages goes into a container.
pub(super) struct Packages {
    pub install: Install,
    pub uses: VolumeUse,
    pub mount: Mount,
    /// Where the mount is in the folder of this machine that lies below it.
    pub point: Option<BindSource>,
    /// For the configuration: what they depend on, in words, and the digests.
    pub inputs: BTreeMap<String, String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Node,
    Python,
}

fn kind(file: &Path) -> Option<Kind> {
    let name = file.file_name()?.to_str()?;
    match name {
        _ if NODE.contains(&name) => Some(Kind::Node),
        _ if PYTHON.contains(&name) || is_requirements(name) => Some(Kind::Python),
        _ => None,
    }
}

/// `process` gets the variables by which the packages are found.
pub(super) fn lower(
    project: &Project,
    name: &str,
    service: &Service,
    image: &ServiceImage,
    locks: Option<&Locks>,
    volumes: &Path,
    process: &mut Process,
) -> Result<Option<Packages>, Fault> {
    let Some(written) = &service.windlass.install else { return Ok(None) };
    if written.optional && locks.is_none() {
        return Ok(None);
    }
    let place = format!("services.{name}.x-windlass.install");
    if written.command.is_empty() {
        return Err(Fault::new(format!("{place}.command"), "the install step has no command"));
    }
    let locks = locks.cloned().unwrap_or_default();
    let (kind, target) = target(service, image, written, &locks, &place)?;
    if let Some(mount) = service.volumes.iter().find(|mount| Path::new("/").join(&mount.target) == target) {
        return Err(Fault::new(place, format!("something is mounted at {} already", mount.target))
            .hint("remove that volume: packages get one of their own, made anew when a lock file changes"));
    }
    let args = if kind == Some(Kind::Python) && written.target.is_none() {
        let uv = locks.files.keys().all(|file| !file.to_string_lossy().ends_with(".txt"));
        environment(process, &target);
        in_environment(&target, uv, &written.command)
    } else {
        written.command.clone()
    };
    let shown = |file: &Path| {
        let inside = file.strip_prefix(&project.working_dir).unwrap_or(file);
        inside.display().to_string()
    };
    let mut inputs: BTreeMap<String, String> =
        locks.files.iter().map(|(file, digest)| (shown(file), digest.clone())).collect();
    let lock = inputs.keys().cloned().collect::<Vec<_>>().join(", ");
    inputs.extend(locks.system.map(|system| ("the system of this machine".to_owned(), system)));
    let mut key = Sha256::new();
    let texts = [&image.reference, &image.id].into_iter().chain(&args).chain(inputs.iter().flat_map(|(a, b)| [a, b]));
    for text in texts.map(String::as_str).chain(target.to_str()) {
        // With its length, so that no two lists of texts are the same.
        key.update(text.len().to_le_bytes());
        key.update(text);
    }
    let volume = packages::name(&project.name, &hex::encode(key.finalize())[..KEY]);
    let open = !matches!(process.user.split(':').next().unwrap_or_default(), "" | "0" | "root");
    let working_dir = match &written.working_dir {
        Some(folder) => Path::new("/").join(folder),
        None => process.cwd.clone(),
    };
    let labels =
        [("com.docker.compose.project".to_owned(), project.name.clone()), (packages::LABEL.to_owned(), lock.clone())];
    let spec = VolumeSpec {
        name: volume.clone(),
        key: String::new(),
        driver: "local".to_owned(),
        driver_opts: BTreeMap::new(),
        labels: labels.into(),
        external: false,
    };
    let below = innermost(service, |mount| target.starts_with(&mount.target));
    let below = below.and_then(|(mount, source)| Some(source.join(target.strip_prefix(&mount.target).ok()?)));
    let point =
        below.map(|source| BindSource { like_parent: source.starts_with(&project.working_dir), source, create: true });
    Ok(Some(Packages {
        point,
        uses: VolumeUse {
            volume: volume.clone(),
            target: target.clone(),
            anonymous: false,
            no_copy: true,
            of_image: false,
        },
        mount: Mount {
            target,
            kind: MountKind::Bind {
                source: volume_data(&volumes.join(&volume)),
                subpath: None,
                read_only: false,
                recursive: true,
                propagation: Propagation::Rprivate,
            },
        },
        install: Install {
            volume: spec,
            args,
            working_dir,
            locks: locks.files,
            lock,
            open,
            way_out: network::is_inside(project, service).then(|| network::way_out(project).name),
        },
        inputs,
    }))
}

/// What kind of packages these are, and where they are in the container.
fn target(
    service: &Service,
    image: &ServiceImage,
    written: &model::Install,
    locks: &Locks,
    place: &str,
) -> Result<(Option<Kind>, PathBuf), Fault> {
    let mut kinds = locks.files.keys().map(|file| (file, kind(file)));
    let Some((first, kind)) = kinds.next() else {
        return Err(Fault::new(place, "there is no lock file"));
    };
    if let Some((other, _)) = kinds.find(|(_, other)| *other != kind) {
        let name = |file: &Path| file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Err(Fault::new(place, format!("{} and {} are of different tools", name(first), name(other)))
            .hint("say which the step is about: `install: { command: …, lock: package-lock.json }`"));
    }
    if let Some(target) = &written.target {
        let path = Path::new(target);
        let plain = path.components().all(|part| part != std::path::Component::ParentDir);
        if !path.is_absolute() || path == Path::new("/") || !plain {
            return Err(Fault::new(format!("{place}.target"), format!("`{target}` is no absolute path of a folder"))
                .hint("it is a folder of the container, such as /app/node_modules"));
        }
        return Ok((kind, path.components().collect()));
    }
    match kind {
        Some(Kind::Python) => Ok((kind, PathBuf::from(VENV))),
        Some(Kind::Node) => {
            let inside = innermost(service, |mount| {
                mount.kind == VolumeMountType::Bind
                    && first.starts_with(mount.source.as_deref().unwrap_or_default())
                    && mount.source.is_some()
            });
            let file = inside
                .and_then(|(mount, source)| Some(Path::new(&mount.target).join(first.strip_prefix(source).ok()?)));
            let folder = match file.as_deref().and_then(Path::parent) {
                Some(folder) => folder.to_owned(),
                None => PathBuf::from(working_dir(service, image)),
            };
            Ok((kind, Path::new("/").join(folder).join("node_modules")))
        }
        None => Err(Fault::new(place, format!("it is not known where the packages of {} are", first.display()))
            .hint("name their folder in the container: `install: { command: …, lock: …, target: /app/vendor }`")),
    }
}

/// Programs of the virtual environment come first, as after `activate`.
fn environment(process: &mut Process, venv: &Path) {
    let bin = venv.join("bin");
    let before = process.env.iter().find_map(|variable| variable.strip_prefix("PATH="));
    let path = format!("PATH={}:{}", bin.display(), before.unwrap_or(DEFAULT_PATH));
    process.env.retain(|variable| !variable.starts_with("PATH="));
    process.env.push(path);
    for name in ["VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"] {
        if !process.env.iter().any(|variable| variable.split('=').next() == Some(name)) {
            process.env.push(format!("{name}={}", venv.display()));
        }
    }
}

/// The command, once there is a virtual environment. uv makes its own where there is no Python yet.
fn in_environment(venv: &Path, uv: bool, command: &[String]) -> Vec<String> {
    let make = if uv { "\"$python\" -m venv --without-pip \"$0\" || true" } else { "\"$python\" -m venv \"$0\"" };
    let script = format!("set -e; python=$(command -v python3 || command -v python) || true; {make}; exec \"$@\"");
    let mut args = vec!["/bin/sh".to_owned(), "-c".to_owned(), script, venv.display().to_string()];
    args.extend_from_slice(command);
    args
}
