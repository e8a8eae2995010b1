//! Volumes, binds, tmpfs, secrets and configs.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::compose::model::{
    self, ConfigObject, FileReference, Project, Secret, Service, VolumeMount, VolumeMountType,
};
use crate::record::{BindSource, ImageIdentity, InjectedFile, VolumeUse};
use crate::runtime::spec::{MatchUser, Mount, MountKind, Propagation};
use crate::state::paths::volume_data;
use crate::volumes::spec::VolumeSpec;

use super::labels::of_resource;
use super::{Fault, ImagePart, Inputs, MountedImage, ServiceImage, is_known};

pub(super) fn volumes(project: &Project) -> Vec<VolumeSpec> {
    let spec = |(key, volume): (&String, &model::Volume)| {
        let mut spec = VolumeSpec {
            name: volume.name.clone(),
            key: key.clone(),
            driver: volume.driver.clone().unwrap_or_else(|| "local".to_owned()),
            driver_opts: volume.driver_opts.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            labels: volume.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            external: volume.external,
        };
        if !spec.external {
            let config = serde_json::json!(spec);
            of_resource(&project.name, "volume", key, &mut spec.labels, &config);
        }
        spec
    };
    project.volumes.iter().map(spec).collect()
}

/// What a service mounts.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    pub(super) mounts: Vec<Mount>,
    pub(super) volumes: Vec<VolumeUse>,
    pub(super) files: Vec<InjectedFile>,
    pub(super) binds: Vec<BindSource>,
    pub(super) images: Vec<ImageIdentity>,
    pub(super) match_users: Vec<MatchUser>,
}

impl Mounts {
    /// A volume that the file does not name.
    pub(super) fn add(&mut self, uses: VolumeUse, mount: Mount, point: Option<BindSource>) {
        self.binds.extend(point);
        self.volumes.push(uses);
        self.mounts.push(mount);
        self.in_order();
    }

    /// A mount below another mount must come after it.
    fn in_order(&mut self) {
        self.mounts.sort_by_key(|mount| mount.target.components().count());
    }
}

pub(super) fn lower(
    project: &Project,
    name: &str,
    service: &Service,
    image: &ServiceImage,
    inputs: &Inputs<'_>,
    faults: &mut Vec<Fault>,
) -> Mounts {
    let root = inputs.volumes;
    let mut made = Mounts::default();
    for (index, mount) in service.volumes.iter().enumerate() {
        let path = format!("services.{name}.volumes[{index}]");
        match mount.kind {
            // None of them is known before the images are here.
            VolumeMountType::Image => {
                image.mounted.get(&index).into_iter().for_each(|mounted| of_image(mount, mounted, &mut made));
            }
            _ => one(project, &path, mount, root, &mut made, faults),
        }
    }
    match ownership(service.windlass.bind_idmap.as_deref(), inputs.for_person) {
        Ok(ownership) => made.match_users = match_users(&ownership, service, project),
        Err(fault) => faults.push(
            Fault::new(format!("services.{name}.x-windlass.bind-idmap"), fault)
                .hint("write `match-user`, `match-user:NAME` (a user of the container) or `off`"),
        ),
    }
    for (index, entry) in service.tmpfs.iter().enumerate() {
        let path = format!("services.{name}.tmpfs[{index}]");
        match tmpfs(entry) {
            Ok(mount) => made.mounts.push(mount),
            Err(message) => faults.push(Fault::new(path, message).hint("write `/path` or `/path:size=64m,mode=1777`")),
        }
    }
    // VOLUMEs of the image that nothing covers yet become anonymous volumes.
    let mut covered: HashSet<PathBuf> = made.mounts.iter().map(|mount| mount.target.clone()).collect();
    for target in &image.volumes {
        let target = PathBuf::from("/").join(target);
        if covered.insert(target.clone()) {
            anonymous(target, true, &mut made);
        }
    }
    for reference in &service.secrets {
        let target = match &reference.target {
            Some(target) if target.starts_with('/') => PathBuf::from(target),
            Some(target) => Path::new("/run/secrets").join(target),
            None => Path::new("/run/secrets").join(&reference.source),
        };
        let Some(secret) = project.secrets.get(&reference.source) else { continue };
        let path = format!("secrets.{}", reference.source);
        file(&path, reference, &Origin::from(secret), target, &mut made, faults);
    }
    for reference in &service.configs {
        let target = match &reference.target {
            Some(target) => Path::new("/").join(target),
            None => Path::new("/").join(&reference.source),
        };
        let Some(config) = project.configs.get(&reference.source) else { continue };
        let path = format!("configs.{}", reference.source);
        file(&path, reference, &Origin::from(config), target, &mut made, faults);
    }
    made.in_order();
    made
}

/// Digests of what the service's secrets, configs and mounted images hold: other contents are another configuration.
pub(super) fn contents(
    project: &Project,
    service: &Service,
    image: &ServiceImage,
    digests: &BTreeMap<PathBuf, String>,
) -> BTreeMap<String, String> {
    let secrets = service.secrets.iter().filter_map(|reference| {
        let secret = project.secrets.get(&reference.source)?;
        Some((format!("secrets.{}", reference.source), Origin::from(secret)))
    });
    let configs = service.configs.iter().filter_map(|reference| {
        let config = project.configs.get(&reference.source)?;
        Some((format!("configs.{}", reference.source), Origin::from(config)))
    });
    let digest = |origin: &Origin<'_>| match (origin.file, origin.content) {
        (Some(file), _) => digests.get(Path::new(file)).cloned(),
        (None, Some(content)) => Some(hex::encode(Sha256::digest(content.as_bytes()))),
        (None, None) => None,
    };
    let files = secrets.chain(configs).filter_map(|(name, origin)| Some((name, digest(&origin)?)));
    let images = image.mounted.values().map(|mounted| (format!("image {}", mounted.reference), mounted.id.clone()));
    files.chain(images.filter(|(_, id)| is_known(id))).collect()
}

/// Which bind mounts are to have the owner of their source as a user of the container.
#[derive(Debug, PartialEq, Eq)]
enum Ownership {
    Off,
    /// Those of the project's folder: with the container's own user.
    OfTheProject,
    /// All: with this user, or with the container's own.
    All(String),
}

fn ownership(text: Option<&str>, for_person: bool) -> Result<Ownership, String> {
    match text {
        None if for_person => Ok(Ownership::OfTheProject),
        None | Some("off") => Ok(Ownership::Off),
        Some("match-user") => Ok(Ownership::All(String::new())),
        Some(text) => match text.strip_prefix("match-user:") {
            Some(user) if !user.is_empty() => Ok(Ownership::All(user.to_owned())),
            _ => Err(format!("`{text}` says nothing about owners")),
        },
    }
}

fn match_users(ownership: &Ownership, service: &Service, project: &Project) -> Vec<MatchUser> {
    let user = match ownership {
        Ownership::Off => return Vec::new(),
        Ownership::All(user) if !user.is_empty() => user.clone(),
        Ownership::OfTheProject | Ownership::All(_) => user_by_variables(service).unwrap_or_default(),
    };
    let is_meant = |mount: &&VolumeMount| {
        let source = Path::new(mount.source.as_deref().unwrap_or_default());
        mount.kind == VolumeMountType::Bind
            && (*ownership != Ownership::OfTheProject || source.starts_with(&project.working_dir))
    };
    let mounts = service.volumes.iter().filter(is_meant);
    mounts.map(|mount| MatchUser { target: Path::new("/").join(&mount.target), user: user.clone() }).collect()
}

/// Images that start as root and go on as who `PUID` and `PGID` name.
fn user_by_variables(service: &Service) -> Option<String> {
    let number = |name: &str| service.environment.get(name)?.as_deref()?.trim().parse::<u32>().ok();
    let uid = number("PUID").filter(|_| service.user.is_none())?;
    Some(number("PGID").map_or_else(|| uid.to_string(), |gid| format!("{uid}:{gid}")))
}

fn one(project: &Project, path: &str, mount: &VolumeMount, root: &Path, made: &mut Mounts, faults: &mut Vec<Fault>) {
    let target = Path::new("/").join(&mount.target);
    match mount.kind {
        VolumeMountType::Bind => {
            let bind = mount.bind.clone().unwrap_or_default();
            let source = PathBuf::from(mount.source.clone().unwrap_or_default());
            let recursive = bind.recursive.as_deref() != Some("disabled");
            made.binds.push(BindSource {
                source: source.clone(),
                create: bind.create_host_path.unwrap_or(true),
                like_parent: source.starts_with(&project.working_dir),
            });
            made.mounts.push(Mount {
                target,
                kind: MountKind::Bind {
                    source,
                    subpath: None,
                    read_only: mount.read_only,
                    recursive,
                    propagation: propagation(bind.propagation.as_deref()),
                },
            });
        }
        VolumeMountType::Volume => {
            let options = mount.volume.clone().unwrap_or_default();
            let Some(key) = mount.source.as_deref().filter(|key| !key.is_empty()) else {
                anonymous(target, false, made);
                return;
            };
            let Some(volume) = project.volumes.get(key) else { return };
            made.volumes.push(VolumeUse {
                volume: volume.name.clone(),
                target: target.clone(),
                anonymous: false,
                no_copy: options.nocopy,
                of_image: false,
            });
            made.mounts.push(Mount {
                target,
                kind: MountKind::Bind {
                    source: volume_data(&root.join(&volume.name)),
                    subpath: options.subpath.map(PathBuf::from),
                    read_only: mount.read_only,
                    recursive: true,
                    propagation: Propagation::Rprivate,
                },
            });
        }
        VolumeMountType::Tmpfs => {
            let options = mount.tmpfs.clone().unwrap_or_default();
            made.mounts.push(Mount {
                target,
                kind: MountKind::Tmpfs {
                    size: options.size.and_then(|size| u64::try_from(size.0).ok()).filter(|&size| size > 0),
                    mode: options.mode,
                    uid: None,
                    gid: None,
                    options: if mount.read_only { vec!["ro".to_owned()] } else { vec![] },
                },
            });
        }
        other => faults.push(
            Fault::new(format!("{path}.type"), format!("mounts of type {other:?} are not supported").to_lowercase())
                .hint("bind, volume, tmpfs and image are"),
        ),
    }
}

/// Read-only, whatever the file says: the image is other containers' too.
fn of_image(mount: &VolumeMount, mounted: &MountedImage, made: &mut Mounts) {
    made.images.push(ImageIdentity { reference: mounted.reference.clone(), id: mounted.id.clone() });
    let kind = match &mounted.part {
        ImagePart::Folders(lower) => MountKind::Overlay { lower: lower.clone(), upper: None, work: None },
        ImagePart::File(source) => MountKind::Bind {
            source: source.clone(),
            subpath: None,
            read_only: true,
            recursive: false,
            propagation: Propagation::Rprivate,
        },
    };
    made.mounts.push(Mount { target: Path::new("/").join(&mount.target), kind });
}

fn anonymous(target: PathBuf, of_image: bool, made: &mut Mounts) {
    let volume = String::new();
    made.volumes.push(VolumeUse { volume, target: target.clone(), anonymous: true, no_copy: false, of_image });
    made.mounts.push(Mount {
        target,
        // The source is filled in with the container's id.
        kind: MountKind::Bind {
            source: PathBuf::new(),
            subpath: None,
            read_only: false,
            recursive: true,
            propagation: Propagation::Rprivate,
        },
    });
}

fn propagation(text: Option<&str>) -> Propagation {
    match text {
        Some("private") => Propagation::Private,
        Some("shared") => Propagation::Shared,
        Some("rshared") => Propagation::Rshared,
        Some("slave") => Propagation::Slave,
        Some("rslave") => Propagation::Rslave,
        _ => Propagation::Rprivate,
    }
}

/// `/path`, `/path:size=64m,mode=1777,noexec`
fn tmpfs(entry: &str) -> Result<Mount, String> {
    let (target, rest) = entry.split_once(':').unwrap_or((entry, ""));
    if !target.starts_with('/') {
        return Err(format!("`{target}` is not an absolute path"));
    }
    let (mut size, mut mode, mut uid, mut gid, mut options) = (None, None, None, None, Vec::new());
    for option in rest.split(',').filter(|option| !option.is_empty()) {
        let number = |text: &str, radix: u32| {
            u32::from_str_radix(text, radix).map_err(|_| format!("`{option}`: `{text}` is not a number"))
        };
        match option.split_once('=') {
            Some(("size", text)) => size = Some(bytes(text).ok_or_else(|| format!("`{option}` is not a size"))?),
            Some(("mode", text)) => mode = Some(number(text, 8)?),
            Some(("uid", text)) => uid = Some(number(text, 10)?),
            Some(("gid", text)) => gid = Some(number(text, 10)?),
            _ => options.push(option.to_owned()),
        }
    }
    Ok(Mount { target: target.into(), kind: MountKind::Tmpfs { size, mode, uid, gid, options } })
}

/// `64m`, `1g`, `4096`
fn bytes(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match lower[digits.len()..].trim_end_matches('b') {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1_u64 << 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// A file of the host that nothing is asked of is bound; everything else is written by us, with owner and mode.
fn file(
    path: &str,
    reference: &FileReference,
    source: &Origin<'_>,
    target: PathBuf,
    made: &mut Mounts,
    faults: &mut Vec<Fault>,
) {
    if source.external {
        faults.push(
            Fault::new(path, "external secrets and configs need a cluster to come from")
                .hint("use `file:`, `environment:` or, for configs, `content:`"),
        );
        return;
    }
    let owned = reference.uid.is_some() || reference.gid.is_some() || reference.mode.is_some();
    let mut number = |attribute: &str, text: Option<&String>| -> Option<u32> {
        let parsed = text?.parse().ok();
        if parsed.is_none() {
            let text = text.map_or("", String::as_str);
            faults.push(Fault::new(path, format!("{attribute} `{text}` of the reference is not a number")));
        }
        parsed
    };
    let (uid, gid) = (number("uid", reference.uid.as_ref()), number("gid", reference.gid.as_ref()));
    let mode = reference.mode.map_or(0o444, |mode| mode.0);
    let mut inject = |content: Vec<u8>, from: Option<PathBuf>| {
        made.files.push(InjectedFile { target: target.clone(), content, source: from, uid, gid, mode });
    };
    if let Some(file) = source.file {
        if owned {
            inject(Vec::new(), Some(PathBuf::from(file)));
        } else {
            made.binds.push(BindSource { source: PathBuf::from(file), create: false, like_parent: false });
            made.mounts.push(Mount {
                target,
                kind: MountKind::Bind {
                    source: PathBuf::from(file),
                    subpath: None,
                    read_only: true,
                    recursive: true,
                    propagation: Propagation::Rprivate,
                },
            });
        }
    } else if let Some(content) = source.content {
        inject(content.as_bytes().to_vec(), None);
    } else if let Some(variable) = source.environment {
        faults.push(
            Fault::new(format!("{path}.environment"), format!("the variable {variable} is not set"))
                .hint(format!("set {variable} in the shell or in .env")),
        );
    }
}

/// Where the content of a secret or a config comes from.
struct Origin<'a> {
    file: Option<&'a String>,
    environment: Option<&'a String>,
    content: Option<&'a String>,
    external: bool,
}

impl<'a> From<&'a Secret> for Origin<'a> {
    fn from(secret: &'a Secret) -> Self {
        Self {
            file: secret.file.as_ref(),
            environment: secret.environment.as_ref(),
            content: secret.content.as_ref(),
            external: secret.external,
        }
    }
}

impl<'a> From<&'a ConfigObject> for Origin<'a> {
    fn from(config: &'a ConfigObject) -> Self {
        Self {
            file: config.file.as_ref(),
            environment: config.environment.as_ref(),
            content: config.content.as_ref(),
            external: config.external,
        }
    }
}
