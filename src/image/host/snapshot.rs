//! The layers that we make ourselves: top-level folders, an empty `/var`, a copy of `/etc`, and what hides secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, Stat, mknodat};
use sha2::{Digest, Sha256};

use super::error::HostError;
use super::system::{self, SYSTEM, System};
use super::walk::{self, Entry};
use crate::state::record::{self, Durability};
use crate::state::{Lock, process};
use crate::sys::copy::{self, Existing};
use crate::sys::fault;

/// Raised when the layers are made in another way.
const FORMAT: u32 = 1;

/// Kept back though everybody may read it: identities of the machine, what programs with credentials in their
/// arguments write, what the container has of its own, and caches that nothing in a container reads.
const HIDDEN_ETC: [&str; 24] = [
    // Of the machine.
    "machine-id",
    "hostid",
    "ssh",
    "ssl/private",
    "sudoers",
    "sudoers.d",
    "windlass",
    "docker",
    "containers",
    "containerd",
    "kubernetes",
    "rancher",
    "NetworkManager",
    "wpa_supplicant",
    "wireguard",
    "openvpn",
    "letsencrypt",
    "krb5.keytab",
    "cron.d",
    "environment",
    "fstab",
    "crypttab",
    // Not read in a container.
    "udev",
    "selinux",
];

/// The container has these of its own.
const OWN_ETC: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

/// Folders below system folders that are searched for what not everybody may read. All of `/usr` would take longer
/// than the start of a container; distributions keep these places for settings.
const SEARCHED: [&str; 3] = ["/usr/local/etc", "/usr/share/polkit-1", "/usr/lib/cups"];

/// What is to be made, all of it read from the host.
#[derive(Debug)]
pub(super) struct SnapshotLayout {
    /// Top-level links such as `bin -> usr/bin`.
    links: Vec<(PathBuf, PathBuf)>,
    /// Empty top-level folders for the system overlays.
    mount_points: Vec<PathBuf>,
    /// Folders of packages directly below `/var/lib` and the like, with owner and mode.
    package_folders: Vec<Entry>,
    etc: Vec<Entry>,
    /// Paths that are hidden, relative to the overlay, by the overlay's name.
    masks: BTreeMap<String, Vec<(System, PathBuf)>>,
    fingerprint: String,
}

impl SnapshotLayout {
    pub(super) fn make(root: &Path, systems: &[System]) -> Result<Self, HostError> {
        let mut links = Vec::new();
        for name in SYSTEM {
            let path = root.join(name);
            if let Ok(target) = fs::read_link(&path)
                && stays_in_system(&target)
            {
                links.push((PathBuf::from(name), target));
            }
        }
        let etc_path = root.join("etc");
        let etc = walk::walk(&etc_path).map_err(HostError::io("read", &etc_path))?;
        let mut package_folders = Vec::new();
        for parent in ["lib", "log", "cache", "spool"] {
            let path = root.join("var").join(parent);
            let found = walk::top(&path).map_err(HostError::io("read", &path))?;
            package_folders.extend(
                found
                    .into_iter()
                    .filter(Entry::is_folder)
                    .map(|entry| Entry { path: Path::new("var").join(parent).join(&entry.path), ..entry }),
            );
        }
        // Whoever starts containers has nothing to look for in there.
        package_folders.retain(|entry| !entry.path.ends_with("windlass") && !entry.path.ends_with("docker"));
        let mut plan = Self {
            links,
            mount_points: systems.iter().map(|system| system.target.clone()).collect(),
            package_folders,
            etc,
            masks: find_masks(root, systems)?,
            fingerprint: String::new(),
        };
        plan.fingerprint = plan.hash();
        Ok(plan)
    }

    /// Changes whenever a container would see something else.
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(super) fn masks(&self, name: &str) -> bool {
        self.masks.contains_key(name)
    }

    fn hash(&self) -> String {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update(bytes.len().to_le_bytes());
            hash.update(bytes);
        };
        add(&FORMAT.to_le_bytes());
        for (name, target) in &self.links {
            add(name.as_os_str().as_bytes());
            add(target.as_os_str().as_bytes());
        }
        for point in &self.mount_points {
            add(point.as_os_str().as_bytes());
        }
        for entry in &self.package_folders {
            add(entry.path.as_os_str().as_bytes());
            add(format!("{:?}", (entry.stat.st_mode, entry.stat.st_uid, entry.stat.st_gid)).as_bytes());
        }
        for entry in self.etc.iter().filter(|entry| shown(&entry.path, &entry.stat)) {
            let Stat { st_mode, st_uid, st_gid, st_size, st_mtime, st_mtime_nsec, .. } = entry.stat;
            add(entry.path.as_os_str().as_bytes());
            // The times of folders change with files that are not shown.
            let content = (!entry.is_folder()).then_some((st_size, st_mtime, st_mtime_nsec));
            add(format!("{:?}", (st_mode, st_uid, st_gid, content)).as_bytes());
        }
        for (name, paths) in &self.masks {
            add(name.as_bytes());
            paths.iter().for_each(|(_, path)| add(path.as_os_str().as_bytes()));
        }
        hex::encode(&hash.finalize()[..8])
    }

    /// Makes the layers at `folder`, unless they are there: all of them or none.
    pub(super) fn write(&self, root: &Path, folder: &Path, systems: &[System]) -> Result<(), HostError> {
        // To wait until they are on disk would take seconds on a busy machine. They are looked through once after
        // the next boot instead: a crash may have taken the content of files.
        let boot = process::boot_id().map_err(HostError::io("read", "/proc/sys/kernel/random/boot_id"))?;
        let marker = folder.join("boot");
        let is_current = || fs::read_to_string(&marker).is_ok_and(|text| text == boot);
        if is_current() {
            return Ok(());
        }
        let store = folder.parent().unwrap_or(folder);
        let _lock = Lock::acquire(&store.join(".lock")).map_err(HostError::io("lock", store.join(".lock")))?;
        if is_current() {
            return Ok(());
        }
        if self.is_whole(folder) {
            return record::write_bytes(&marker, boot.as_bytes(), 0o600, Durability::Process)
                .map_err(|error| HostError::io("write", error.path)(error.source));
        }
        let (temporary, broken) = (store.join(".making"), store.join(".broken"));
        let _ = fs::remove_dir_all(&temporary);
        let result = self.write_into(root, &temporary).and_then(|()| {
            system::probe(&temporary, systems)?;
            fs::write(temporary.join("boot"), &boot).map_err(HostError::io("write", &temporary))?;
            if folder.exists() {
                fs::rename(folder, &broken).map_err(HostError::io("replace", folder))?;
            }
            let made = fault::around("rename the layers of the host", || fs::rename(&temporary, folder));
            made.map_err(HostError::io("create", folder))
        });
        for path in [temporary, broken] {
            let _ = fs::remove_dir_all(path);
        }
        result
    }

    /// Whether all files of `/etc` have their length. (Files whose content was lost are empty.)
    fn is_whole(&self, folder: &Path) -> bool {
        folder.join("boot").exists()
            && self.etc.iter().filter(|entry| shown(&entry.path, &entry.stat)).all(|entry| {
                let copy = walk::stat(&folder.join("root/etc").join(&entry.path));
                copy.is_ok_and(|copy| copy.is_some_and(|copy| entry.is_folder() || copy.st_size == entry.stat.st_size))
            })
    }

    fn write_into(&self, root: &Path, folder: &Path) -> Result<(), HostError> {
        crate::state::folder::make(folder).map_err(HostError::io("create", folder))?;
        let top = folder.join("root");
        self.skeleton(&top).map_err(HostError::io("write", &top))?;
        let etc = top.join("etc");
        let (source, target) = (root.join("etc"), &etc);
        if source.is_dir() {
            let source = walk::open(&source).map_err(HostError::io("open", &source))?;
            let target = walk::open(target).map_err(HostError::io("open", target))?;
            copy::tree(source.as_fd(), target.as_fd(), Existing::Keep, &shown)?;
        }
        for (name, paths) in &self.masks {
            let mask = folder.join("mask").join(name);
            for (system, path) in paths {
                hide(system, &mask, path).map_err(HostError::io("write", mask.join(path)))?;
            }
        }
        Ok(())
    }

    fn skeleton(&self, top: &Path) -> io::Result<()> {
        make(top, 0o755)?;
        for (path, mode) in [
            ("dev", 0o755),
            ("proc", 0o555),
            ("sys", 0o555),
            ("run", 0o755),
            ("run/lock", 0o1777),
            ("tmp", 0o1777),
            ("etc", 0o755),
            ("home", 0o755),
            ("root", 0o700),
            ("opt", 0o755),
            ("srv", 0o755),
            ("mnt", 0o755),
            ("media", 0o755),
            ("boot", 0o755),
            ("var", 0o755),
            ("var/tmp", 0o1777),
            ("var/lib", 0o755),
            ("var/log", 0o755),
            ("var/cache", 0o755),
            ("var/spool", 0o755),
            ("var/mail", 0o1777),
            ("var/opt", 0o755),
            ("var/local", 0o755),
            ("var/backups", 0o755),
        ] {
            make(&top.join(path), mode)?;
        }
        symlink("/run", top.join("var/run"))?;
        symlink("/run/lock", top.join("var/lock"))?;
        for (name, target) in &self.links {
            symlink(target, top.join(name))?;
        }
        // Only top-level ones: those below lie inside another overlay.
        for point in self.mount_points.iter().filter(|point| point.components().count() == 2) {
            make(&top.join(point.strip_prefix("/").unwrap_or(point)), 0o755)?;
        }
        for entry in &self.package_folders {
            let path = top.join(&entry.path);
            make(&path, entry.stat.st_mode & 0o7777)?;
            std::os::unix::fs::chown(&path, Some(entry.stat.st_uid), Some(entry.stat.st_gid))?;
        }
        for name in OWN_ETC {
            File::create(top.join("etc").join(name))?.set_permissions(PermissionsExt::from_mode(0o644))?;
        }
        // Programs that ask for an identity of the machine must find the file; each container is a machine of its own.
        File::create(top.join("etc/machine-id"))?.set_permissions(PermissionsExt::from_mode(0o444))
    }
}

/// Whether a file of `/etc` is copied.
fn shown(path: &Path, stat: &Stat) -> bool {
    walk::is_public(stat)
        && !HIDDEN_ETC.iter().chain(&OWN_ETC).any(|hidden| path.starts_with(hidden))
        // Left by editors, package managers and people: copies of files that were edited because they are secret.
        && !path.as_os_str().as_bytes().ends_with(b"-")
}

/// A link such as `usr/bin`, not one that leads elsewhere.
fn stays_in_system(target: &Path) -> bool {
    let mut parts = target.components().filter(|part| *part != Component::RootDir);
    parts.next().is_some_and(|first| SYSTEM.iter().any(|name| first.as_os_str() == *name))
        && parts.all(|part| matches!(part, Component::Normal(_)))
}

fn find_masks(root: &Path, systems: &[System]) -> Result<BTreeMap<String, Vec<(System, PathBuf)>>, HostError> {
    let mut masks: BTreeMap<String, Vec<(System, PathBuf)>> = BTreeMap::new();
    for searched in SEARCHED {
        // The overlay that holds the folder is the deepest one above it.
        let holder = systems.iter().filter(|system| Path::new(searched).starts_with(&system.target));
        let Some(system) = holder.max_by_key(|system| system.target.components().count()) else { continue };
        let path = root.join(&searched[1..]);
        let inside = Path::new(searched).strip_prefix(&system.target).unwrap_or(Path::new(""));
        let found = walk::walk(&path).map_err(HostError::io("read", &path))?;
        let hidden = found.into_iter().filter(|entry| !entry.public).map(|entry| inside.join(entry.path));
        let hidden: BTreeSet<PathBuf> = hidden.collect();
        if !hidden.is_empty() {
            masks.entry(system.name()).or_default().extend(hidden.into_iter().map(|path| (system.clone(), path)));
        }
    }
    Ok(masks)
}

/// A whiteout, in folders that look like the host's: the topmost layer decides on owner and mode.
fn hide(system: &System, mask: &Path, path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(mask)?;
    look_like(&system.source, mask)?;
    let parent = path.parent().unwrap_or(Path::new(""));
    let mut inside = PathBuf::new();
    for part in parent.components() {
        inside.push(part);
        DirBuilder::new().recursive(true).mode(0o755).create(mask.join(&inside))?;
        look_like(&system.source.join(&inside), &mask.join(&inside))?;
    }
    let folder = walk::open(&mask.join(parent))?;
    let name = path.file_name().unwrap_or_default();
    Ok(mknodat(&folder, name, FileType::CharacterDevice, Mode::empty(), 0)?)
}

fn look_like(host: &Path, ours: &Path) -> io::Result<()> {
    let stat = fs::symlink_metadata(host)?;
    std::os::unix::fs::chown(ours, Some(stat.uid()), Some(stat.gid()))?;
    fs::set_permissions(ours, fs::Permissions::from_mode(stat.mode() & 0o7777))
}

/// A folder with exactly this mode, whatever the umask.
fn make(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}
