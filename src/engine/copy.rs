//! `cp`: files between a container and the machine, by the rules of `docker cp`.

use std::ffi::{CString, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{cell::RefCell, ffi::OsStr};

use rustix::fs::{FileType, Mode, Stat, fstat, mkdirat};
use rustix::io::Errno;

use crate::image::pack::{self, PackError, PackOptions};
use crate::image::unpack::extract::{ExtractError, extract};
use crate::record::{ObservedContainer, Status};
use crate::runtime::StartError;
use crate::runtime::root::{Located, Root, private_mounts};
use crate::state::{Paths, ProjectPaths};
use crate::sys::copy::{self, Attributes, CopyError, Existing, Options};
use crate::volumes::{Store, VolumeError};

/// Why something cannot be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyFault {
    #[error("cannot look into container {container}")]
    Root { container: String, source: io::Error },
    #[error("cannot look into container {container}")]
    Stopped { container: String, source: StartError },
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error("cannot find `{path}` in {place}")]
    Find { path: String, place: String, source: io::Error },
    #[error("`{path}` does not exist in {place}")]
    Missing { path: String, place: String },
    #[error("`{path}` in {place} is not a directory")]
    NotADirectory { path: String, place: String },
    #[error("`{path}` in {place} is a directory, and a file cannot take its place")]
    IsADirectory { path: String, place: String },
    #[error("cannot make `{path}` in {place}")]
    Make { path: String, place: String, source: io::Error },
    #[error("source and target are the same: `{path}` in {place}")]
    Same { path: String, place: String },
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error(transparent)]
    Pack(#[from] PackError),
    #[error(transparent)]
    Extract(#[from] ExtractError),
}

/// One end of a copy.
#[derive(Debug)]
pub struct Place {
    root: Root,
    /// For messages: `container shop-web-1`, `this machine`.
    name: String,
}

/// How files are copied.
#[derive(Debug, Clone, Copy)]
pub struct CopyOptions {
    /// A source that is a link: what it leads to, not the link.
    pub follow: bool,
    /// Owners, special modes and extended attributes come along; otherwise the copy belongs to root in a container, to
    /// the caller on the machine.
    pub archive: bool,
}

impl Place {
    /// # Errors
    /// When the root cannot be opened.
    pub fn machine() -> Result<Self, CopyFault> {
        let root = Root::of_host().map_err(|source| CopyFault::Root { container: "/".into(), source })?;
        Ok(Self { root, name: "this machine".into() })
    }

    /// Of a container, whether or not it runs. The calling thread gets mounts of its own when it does not.
    ///
    /// # Errors
    /// When its root cannot be opened or put together.
    pub fn container(paths: &Paths, project: &ProjectPaths, container: &ObservedContainer) -> Result<Self, CopyFault> {
        let record = &container.record;
        let name = || record.name.clone();
        let failed = |source| CopyFault::Root { container: name(), source };
        let root = match &container.state.status {
            Status::Running { pid, start_time, boot_id, .. } => {
                Root::of_process(*pid, *start_time, boot_id).map_err(failed)?
            }
            _ => {
                private_mounts().map_err(failed)?;
                let store = Store::new(paths);
                for volume in &record.volumes {
                    store.mount(&volume.volume)?;
                }
                let place = project.container(&record.id);
                Root::of_stopped(&record.spec, place.data())
                    .map_err(|source| CopyFault::Stopped { container: name(), source })?
            }
        };
        Ok(Self { root, name: format!("container {}", record.name) })
    }

    fn locate(&self, path: &Path, follow: bool) -> Result<Located, CopyFault> {
        let located = self.root.locate(path, follow);
        located.map_err(|source| CopyFault::Find { path: path.display().to_string(), place: self.name.clone(), source })
    }

    /// A path and what is there.
    fn existing(&self, path: &Path, follow: bool) -> Result<(Located, Stat), CopyFault> {
        let located = self.locate(path, follow || names_a_folder(path))?;
        let stat = located.stat.ok_or_else(|| self.fault(path, |path, place| CopyFault::Missing { path, place }))?;
        if names_a_folder(path) && located.kind() != Some(FileType::Directory) {
            return Err(self.fault(path, |path, place| CopyFault::NotADirectory { path, place }));
        }
        Ok((located, stat))
    }

    fn fault(&self, path: &Path, make: impl FnOnce(String, String) -> CopyFault) -> CopyFault {
        make(path.display().to_string(), self.name.clone())
    }

    fn made(&self, path: &Path) -> impl Fn(io::Error) -> CopyFault + '_ {
        let path = path.display().to_string();
        move |source| CopyFault::Make { path: path.clone(), place: self.name.clone(), source }
    }
}

/// `dir/` and `dir/.`
fn names_a_folder(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes.ends_with(b"/") || bytes.ends_with(b"/.") || bytes == b"." || path.file_name().is_none()
}

/// `dir/.` means what is in the folder, not the folder.
fn names_the_contents(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes.ends_with(b"/.") || bytes == b"." || path.file_name().is_none()
}

/// Copies a file or a folder; answers with what was left out: sockets, devices.
///
/// # Errors
/// When the source does not exist, the target's parent does not, or a file would take a folder's place or the other
/// way round.
pub fn copy(
    from: &Place,
    source: &Path,
    to: &Place,
    target: &Path,
    to_container: bool,
    options: CopyOptions,
) -> Result<Vec<PathBuf>, CopyFault> {
    let (found, stat) = from.existing(source, options.follow)?;
    let place = to.locate(target, true)?;
    let left_out = RefCell::new(Vec::new());
    let mut skipped = from.root.pseudo();
    let attributes = match options.archive {
        true => Attributes::All,
        false if to_container => Attributes::Owned { uid: 0, gid: 0 },
        false => {
            Attributes::Owned { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
        }
    };
    let how = Options {
        existing: Existing::Overwrite,
        attributes,
        top: true,
        devices: false,
        select: &|_, _| true,
        left_out: &|path| left_out.borrow_mut().push(path.to_owned()),
    };
    if found.kind() != Some(FileType::Directory) {
        let name = found.entry().map_err(to.made(target))?;
        let copied_as = base_name(source);
        match place.kind() {
            Some(FileType::Directory) => {
                let inside = target.join(&copied_as);
                let folder = place.open_folder().map_err(to.made(target))?;
                let as_name = c_name(&copied_as).map_err(to.made(&inside))?;
                refuse_folder(to, &inside, folder.as_fd(), &as_name)?;
                copy::entry(found.parent.as_fd(), &name, folder.as_fd(), &as_name, &how)?;
            }
            None if names_a_folder(target) => {
                return Err(to.fault(target, |path, place| CopyFault::Missing { path, place }));
            }
            Some(_) if names_a_folder(target) => {
                return Err(to.fault(target, |path, place| CopyFault::NotADirectory { path, place }));
            }
            there => {
                let same = |there: &Stat| (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino);
                if there.is_some() && place.stat.as_ref().is_some_and(same) {
                    return Err(to.fault(target, |path, place| CopyFault::Same { path, place }));
                }
                let as_name = place.entry().map_err(to.made(target))?;
                copy::entry(found.parent.as_fd(), &name, place.parent.as_fd(), &as_name, &how)?;
            }
        }
        return Ok(left_out.into_inner());
    }
    let folder = found.open_folder().map_err(from.made(source))?;
    let (into, top) = match place.kind() {
        Some(FileType::Directory) => {
            let existing = place.open_folder().map_err(to.made(target))?;
            if names_the_contents(source) {
                (existing, false)
            } else {
                let name = base_name(source);
                (
                    make_folder(to, &target.join(&name), existing.as_fd(), &c_name(&name).map_err(to.made(target))?)?,
                    true,
                )
            }
        }
        None => {
            let name = place.entry().map_err(to.made(target))?;
            (make_folder(to, target, place.parent.as_fd(), &name)?, true)
        }
        Some(_) => return Err(to.fault(target, |path, place| CopyFault::NotADirectory { path, place })),
    };
    let number = |stat: &Stat| (stat.st_dev, stat.st_ino);
    let made = number(&fstat(&into).map_err(|errno| to.made(target)(errno.into()))?);
    if made == number(&stat) {
        return Err(to.fault(target, |path, place| CopyFault::Same { path, place }));
    }
    // A folder that is bound into the container and is the target at once would be copied into itself for ever.
    skipped.push(made);
    let how = Options { top, select: &|_, stat: &Stat| !skipped.contains(&number(stat)), ..how };
    copy::tree_with(folder.as_fd(), into.as_fd(), &how)?;
    Ok(left_out.into_inner())
}

/// Writes a file or folder as an archive.
///
/// # Errors
/// When it does not exist or cannot be read.
pub fn pack_to(from: &Place, source: &Path, follow: bool, out: &mut dyn Write) -> Result<(), CopyFault> {
    let (found, _) = from.existing(source, follow)?;
    if found.kind() != Some(FileType::Directory) {
        let name = found.entry().map_err(from.made(source))?;
        return Ok(pack::entry(found.parent.as_fd(), &name, out)?);
    }
    let folder = found.open_folder().map_err(from.made(source))?;
    let skipped = from.root.pseudo();
    let name = if names_the_contents(source) { OsString::new() } else { base_name(source) };
    let skip = |stat: &Stat| skipped.contains(&(stat.st_dev, stat.st_ino));
    let options = PackOptions { name: &name, layer: false, one_mount: false, skip: &skip };
    Ok(pack::tree(folder.as_fd(), &options, out)?)
}

/// Writes the container's own file system as an archive: no volumes, nothing that is mounted.
///
/// # Errors
/// When it cannot be read.
pub fn export(from: &Place, out: &mut dyn Write) -> Result<(), CopyFault> {
    let root = from.locate(Path::new("/"), false)?.open_folder().map_err(from.made(Path::new("/")))?;
    let options = PackOptions { name: OsStr::new(""), layer: false, one_mount: true, skip: &|_| false };
    Ok(pack::tree(root.as_fd(), &options, out)?)
}

/// Unpacks an archive into a folder; answers with what was left out.
///
/// # Errors
/// When the folder does not exist, or the archive is damaged or hostile.
pub fn unpack_from(input: impl Read, to: &Place, target: &Path) -> Result<Vec<PathBuf>, CopyFault> {
    let place = to.locate(target, true)?;
    match place.kind() {
        Some(FileType::Directory) => {}
        None => return Err(to.fault(target, |path, place| CopyFault::Missing { path, place })),
        Some(_) => return Err(to.fault(target, |path, place| CopyFault::NotADirectory { path, place })),
    }
    let folder = place.open_folder().map_err(to.made(target))?;
    Ok(extract(input, folder)?.into_iter().map(PathBuf::from).collect())
}

fn base_name(path: &Path) -> OsString {
    path.file_name().map(ToOwned::to_owned).unwrap_or_default()
}

fn c_name(name: &OsStr) -> io::Result<CString> {
    CString::new(name.as_bytes()).map_err(io::Error::other)
}

/// Makes a folder, or opens the one that is there.
fn make_folder(
    to: &Place,
    path: &Path,
    parent: std::os::fd::BorrowedFd<'_>,
    name: &CString,
) -> Result<OwnedFd, CopyFault> {
    use rustix::fs::OFlags;
    match mkdirat(parent, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(to.made(path)(errno.into())),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOTDIR | Errno::LOOP => to.fault(path, |path, place| CopyFault::NotADirectory { path, place }),
        errno => to.made(path)(errno.into()),
    })
}

fn refuse_folder(
    to: &Place,
    path: &Path,
    parent: std::os::fd::BorrowedFd<'_>,
    name: &CString,
) -> Result<(), CopyFault> {
    let there = rustix::fs::statat(parent, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
    match there.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
        Ok(FileType::Directory) => Err(to.fault(path, |path, place| CopyFault::IsADirectory { path, place })),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn copied(follow: bool, source: &Path, target: &Path) -> Result<Vec<PathBuf>, CopyFault> {
        let place = Place::machine().unwrap();
        copy(&place, source, &place, target, false, CopyOptions { follow, archive: false })
    }

    #[test]
    fn every_row_of_the_table() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        let read = |path: &str| fs::read_to_string(at(path)).unwrap();
        fs::create_dir_all(at("dir/sub")).unwrap();
        fs::write(at("dir/sub/file"), "deep").unwrap();
        fs::write(at("file"), "one").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        fs::create_dir(at("there")).unwrap();
        let go = |source: &str, target: &str| copied(false, &at(source), &at(target));
        // A file.
        go("file", "new").unwrap();
        go("file", "there").unwrap();
        assert_eq!((read("new"), read("there/file")), ("one".into(), "one".into()));
        fs::write(at("file"), "two").unwrap();
        go("file", "new").unwrap();
        go("file", "there/").unwrap();
        assert_eq!((read("new"), read("there/file")), ("two".into(), "two".into()));
        assert!(matches!(go("file", "nothing/"), Err(CopyFault::Missing { .. })));
        assert!(matches!(go("file", "new/"), Err(CopyFault::NotADirectory { .. })));
        assert!(matches!(go("file", "nothing/new"), Err(CopyFault::Find { .. })));
        assert!(matches!(go("file", "file"), Err(CopyFault::Same { .. })));
        assert!(matches!(go("nothing", "x"), Err(CopyFault::Missing { .. })));
        fs::create_dir(at("there/new")).unwrap();
        assert!(matches!(go("new", "there"), Err(CopyFault::IsADirectory { .. })));
        // A folder, and its contents.
        go("dir", "copy").unwrap();
        go("dir", "there").unwrap();
        go("dir/.", "there").unwrap();
        for path in ["copy/sub/file", "there/dir/sub/file", "there/sub/file"] {
            assert_eq!(read(path), "deep", "{path}");
        }
        assert!(matches!(go("dir", "file"), Err(CopyFault::NotADirectory { .. })));
        // Into itself it is copied once.
        go("dir", "dir").unwrap();
        assert_eq!(read("dir/dir/sub/file"), "deep");
        assert!(!at("dir/dir/dir").exists());
        // Links.
        go("link", "there/link").unwrap();
        assert!(at("there/link").is_symlink());
        copied(true, &at("link"), &at("followed")).unwrap();
        assert!(!at("followed").is_symlink() && read("followed") == "two");
    }

    #[test]
    fn what_is_packed_unpacks_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("dir/sub")).unwrap();
        let long = "x".repeat(180);
        fs::write(at("dir").join(&long), "long").unwrap();
        fs::hard_link(at("dir").join(&long), at("dir/sub/again")).unwrap();
        std::os::unix::fs::symlink("../nowhere", at("dir/link")).unwrap();
        fs::create_dir(at("out")).unwrap();
        let place = Place::machine().unwrap();
        let mut archive = Vec::new();
        pack_to(&place, &at("dir"), false, &mut archive).unwrap();
        assert!(unpack_from(&archive[..], &place, &at("out")).unwrap().is_empty());
        assert_eq!(fs::read_to_string(at("out/dir/sub/again")).unwrap(), "long");
        assert_eq!(fs::read_link(at("out/dir/link")).unwrap(), Path::new("../nowhere"));
        use std::os::unix::fs::MetadataExt;
        assert_eq!(fs::metadata(at("out/dir").join(&long)).unwrap().nlink(), 2);
        let mut one = Vec::new();
        pack_to(&place, &at("dir").join(&long), false, &mut one).unwrap();
        unpack_from(&one[..], &place, &at("out")).unwrap();
        assert!(at("out").join(&long).is_file());
        assert!(unpack_from(&one[..], &place, &at("missing")).is_err());
    }
}
