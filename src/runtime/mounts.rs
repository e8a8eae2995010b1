//! The mounts of a container: those that every container has and those that the user asked for.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, mkdirat, openat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::runtime::StartError;
use crate::runtime::error::Step;
use crate::runtime::filesystem::{attach, attach_with, clone_tree, create, is_valid, overlay, set_propagation};
use crate::runtime::inroot::{self, Kind, show};
use crate::runtime::match_user::Owners;
use crate::runtime::spec::{ContainerSpec, Mount, MountKind, Propagation};
use crate::runtime::tmpfs;
use crate::sys::mount::RDONLY;

/// A mount of the user's that is ready but nowhere yet.
#[derive(Debug)]
pub(super) struct Prepared {
    target: PathBuf,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Tree {
        mount: OwnedFd,
        kind: Kind,
        /// `Some(true)` with everything below it.
        read_only: Option<bool>,
        /// The source is procfs itself, which alone may be put onto `/proc`.
        procfs: bool,
    },
    Tmpfs(tmpfs::Options),
}

/// Opens all sources. Runs in the container's mount namespace while that still shows the host's files.
pub(super) fn prepare(spec: &ContainerSpec) -> Result<Vec<Prepared>, StartError> {
    let mut prepared = Vec::with_capacity(spec.mounts.len() + 3);
    let etc = [
        ("/etc/hosts", &spec.etc.hosts),
        ("/etc/hostname", &spec.etc.hostname),
        ("/etc/resolv.conf", &spec.etc.resolv_conf),
    ];
    for (target, source) in etc {
        // A mount of the user's at the same place wins.
        if let Some(source) = source
            && !spec.mounts.iter().any(|mount| mount.target == Path::new(target))
        {
            let bind = MountKind::Bind {
                source: source.clone(),
                subpath: None,
                read_only: false,
                recursive: false,
                propagation: Propagation::Rprivate,
            };
            prepared.push(prepare_one(&Mount { target: target.into(), kind: bind })?);
        }
    }
    for mount in &spec.mounts {
        prepared.push(prepare_one(mount)?);
    }
    Ok(prepared)
}

fn prepare_one(mount: &Mount) -> Result<Prepared, StartError> {
    let step = format!("mount {}", show(&mount.target));
    if !is_valid(&mount.target) || normal(&mount.target) == Path::new("/") {
        return Err(StartError::new(step, "the target must be an absolute path other than /"));
    }
    let source = match &mount.kind {
        MountKind::Bind { source, subpath, read_only, recursive, propagation } => {
            bind(&step, source, subpath.as_deref(), *read_only, *recursive, *propagation)?
        }
        MountKind::Tmpfs { size, mode, uid, gid, options } => {
            Source::Tmpfs(tmpfs::Options::parse(&step, *size, *mode, *uid, *gid, options)?)
        }
        MountKind::Overlay { lower, upper, work } => {
            let writable = upper.as_deref().zip(work.as_deref());
            let read_only = writable.is_none().then_some(false);
            Source::Tree { mount: overlay(&step, lower, writable)?, kind: Kind::Directory, read_only, procfs: false }
        }
    };
    Ok(Prepared { target: mount.target.clone(), source })
}

fn bind(
    step: &str,
    source: &Path,
    subpath: Option<&Path>,
    read_only: bool,
    recursive: bool,
    propagation: Propagation,
) -> Result<Source, StartError> {
    let missing = |error: std::io::Error, what: &Path| {
        let mut failed = StartError::io(step, &error);
        failed.detail = format!("the source {}: {}", show(what), failed.detail);
        failed
    };
    let mut file = openat(CWD, source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| missing(error.into(), source))?;
    if let Some(subpath) = subpath {
        file = inroot::open_beneath(&file, subpath, OFlags::PATH).map_err(|error| missing(error, subpath))?;
    }
    let directory = FileType::from_raw_mode(fstat(&file).step(|| step)?.st_mode) == FileType::Directory;
    let procfs = inroot::is_proc(&file).step(|| step)?;
    let mount = clone_tree(file.as_fd(), Path::new(""), recursive).step(|| step)?;
    let (propagation, everywhere) = match propagation {
        Propagation::Private => (libc_flags::PRIVATE, false),
        Propagation::Rprivate => (libc_flags::PRIVATE, true),
        Propagation::Shared => (libc_flags::SHARED, false),
        Propagation::Rshared => (libc_flags::SHARED, true),
        Propagation::Slave => (libc_flags::SLAVE, false),
        Propagation::Rslave => (libc_flags::SLAVE, true),
    };
    set_propagation(&mount, everywhere, propagation).step(|| step)?;
    let kind = if directory { Kind::Directory } else { Kind::File };
    Ok(Source::Tree { mount, kind, read_only: read_only.then_some(recursive), procfs })
}

/// `MS_*` values for `mount_setattr(2)`.
mod libc_flags {
    pub(super) const PRIVATE: u64 = 1 << 18;
    pub(super) const SLAVE: u64 = 1 << 19;
    pub(super) const SHARED: u64 = 1 << 20;
}

/// Where the user's mounts go, to leave out defaults that they replace.
#[derive(Debug)]
pub(super) struct Targets(HashSet<PathBuf>);

impl Targets {
    pub(super) fn of(spec: &ContainerSpec) -> Self {
        Self(spec.mounts.iter().map(|mount| normal(&mount.target)).collect())
    }

    /// Whether a mount of the user's replaces the one at `path`, or a parent of it.
    pub(super) fn replace(&self, path: &str) -> bool {
        Path::new(path).ancestors().any(|ancestor| self.0.contains(ancestor))
    }
}

/// Without `.`, `..` and doubled slashes, by text alone.
fn normal(path: &Path) -> PathBuf {
    let mut result = PathBuf::from("/");
    for component in path.components() {
        match component {
            std::path::Component::Normal(name) => result.push(name),
            std::path::Component::ParentDir => {
                result.pop();
            }
            _ => {}
        }
    }
    result
}

/// Attaches the user's mounts, in order. `root` is the container's root; with `owners` it is `/` already.
pub(super) fn attach_all(
    root: BorrowedFd<'_>,
    prepared: Vec<Prepared>,
    owners: Option<&Owners<'_>>,
) -> Result<(), StartError> {
    let mut unmatched: Vec<(PathBuf, std::io::Error)> = Vec::new();
    for Prepared { target, source } in prepared {
        let step = || format!("mount {}", show(&target));
        let (mount, kind, read_only, procfs) = match source {
            Source::Tree { mount, kind, read_only, procfs } => (mount, kind, read_only, procfs),
            Source::Tmpfs(options) => (options.create(&step())?, Kind::Directory, None, false),
        };
        if let Some(Err(error)) = owners.map(|owners| owners.apply(&target, root, mount.as_fd())).transpose()? {
            unmatched.push((target.clone(), error));
        }
        let place = inroot::ensure(root, &target, kind).map_err(|error| refused(&target, kind, &error))?;
        check_proc(&place, &target, procfs)?;
        match read_only {
            Some(recursive) => attach_with(&mount, &place, RDONLY, recursive),
            None => attach(&mount, &place),
        }
        .step(step)?;
    }
    owners.map_or(Ok(()), |owners| owners.tell(&unmatched))
}

fn refused(target: &Path, kind: Kind, error: &std::io::Error) -> StartError {
    let mut failed = StartError::io(format!("mount {}", show(target)), error);
    match (kind, error.raw_os_error().map(Errno::from_raw_os_error)) {
        (Kind::Directory, Some(Errno::NOTDIR)) => {
            failed.detail = "the source is a directory, but the target in the container is a file".into();
        }
        (Kind::File, Some(Errno::ISDIR)) => {
            failed.detail = "the source is a file, but the target in the container is a directory".into();
        }
        (_, Some(Errno::LOOP)) => failed.detail = "the target goes through a link that must not be followed".into(),
        _ => {}
    }
    failed
}

/// Files of procfs that tools such as lxcfs replace; nothing else may be covered there.
const COVERABLE: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid",
];

/// A mount inside `/proc` would let a container lie to whoever writes there, us included.
fn check_proc(place: &OwnedFd, target: &Path, source_is_proc: bool) -> Result<(), StartError> {
    let step = || format!("mount {}", show(target));
    let path = normal(target);
    let inside = inroot::is_proc(place).step(step)? || path.starts_with("/proc");
    if !inside || COVERABLE.iter().any(|allowed| path == Path::new(allowed)) {
        return Ok(());
    }
    if path == Path::new("/proc") && source_is_proc {
        return Ok(());
    }
    Err(StartError::new(step(), "nothing may be mounted over /proc or inside it"))
}

/// Opens a directory directly below the root, makes it when missing, and refuses links: an image whose `/proc` is a
/// link must not move our mounts elsewhere.
pub(super) fn real_directory(root: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, StartError> {
    let step = || format!("mount /{name}");
    let open = || inroot::open_without_links(root, Path::new(name), OFlags::PATH | OFlags::DIRECTORY);
    let result = match open() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            mkdirat(root, name, Mode::from_raw_mode(0o755)).step(step)?;
            open()
        }
        other => other,
    };
    match result {
        Err(error)
            if matches!(error.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::LOOP | Errno::NOTDIR)) =>
        {
            Err(StartError::new(step(), format!("the image's /{name} is not a directory")))
        }
        other => other.step(step),
    }
}

/// Mounts a new file system onto a directory of another one of ours.
pub(super) fn mount_below(
    parent: BorrowedFd<'_>,
    path: &str,
    step: &str,
    kind: &str,
    options: &[(&str, Option<&str>)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, StartError> {
    let place = inroot::open_without_links(parent, Path::new(path), OFlags::PATH | OFlags::DIRECTORY).step(|| step)?;
    let mount = create(step, kind, options, attributes)?;
    attach(&mount, &place).step(|| step)?;
    Ok(mount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_s_mount_replaces_the_default_and_what_is_below() {
        let targets = Targets([PathBuf::from("/dev/shm"), PathBuf::from("/sys")].into());
        assert!(targets.replace("/dev/shm"));
        assert!(targets.replace("/sys/fs/cgroup"));
        assert!(!targets.replace("/dev"));
    }

    #[test]
    fn paths_are_made_plain() {
        assert_eq!(normal(Path::new("/a//b/./../c/")), Path::new("/a/c"));
        assert_eq!(normal(Path::new("/../..")), Path::new("/"));
    }
}
