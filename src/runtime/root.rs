//! The root file system of a container as seen from outside, to copy from and to. Every path is resolved by descriptor
//! inside the root; nothing of the container is executed, loaded or followed out of it.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};

use super::error::Step;
use super::filesystem::{add_attributes, attach, overlay};
use super::spec::{ContainerSpec, MountKind};
use super::{StartError, identity, inroot, mounts};
use crate::state::process;
use crate::sys::mount::RDONLY;

/// As many as the kernel follows.
const MAX_LINKS: usize = 40;

/// An open root.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
}

/// Where a path leads: to a name in an open folder.
#[derive(Debug)]
pub struct Located {
    pub parent: OwnedFd,
    /// `None`: the folder itself, as for `/` and `..`.
    pub name: Option<OsString>,
    /// Of what is there, not followed; `None` when there is nothing.
    pub stat: Option<Stat>,
}

impl Located {
    #[must_use]
    pub fn kind(&self) -> Option<FileType> {
        self.stat.map(|stat| FileType::from_raw_mode(stat.st_mode))
    }

    /// The name for calls that take one.
    ///
    /// # Errors
    /// When it stands for the folder itself.
    pub fn entry(&self) -> io::Result<CString> {
        let name = self.name.as_ref().ok_or(io::ErrorKind::IsADirectory)?;
        CString::new(name.as_bytes()).map_err(io::Error::other)
    }

    /// Opens the folder that is there.
    ///
    /// # Errors
    /// When it is none.
    pub fn open_folder(&self) -> io::Result<OwnedFd> {
        let name = self.name.as_deref().unwrap_or(".".as_ref());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&self.parent, name, flags, Mode::empty())?)
    }
}

impl Root {
    /// The machine's own.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn of_host() -> io::Result<Self> {
        Ok(Self { fd: openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())? })
    }

    /// A folder that is opened already.
    #[must_use]
    pub fn of_folder(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// That of a running container, with all its mounts.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn of_process(pid: i32, start_time: u64, boot_id: &str) -> io::Result<Self> {
        let path = format!("/proc/{pid}/root");
        let fd = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        // Looked at afterwards: had the number become another process's, this would not be the one that was meant.
        if !process::is_alive(pid, start_time, boot_id) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the container has just ended"));
        }
        Ok(Self { fd })
    }

    /// That of a container that does not run, with its volumes and binds, put together at `place`. The calling thread
    /// must have been through [`private_mounts`]; everything is unmade when it ends.
    ///
    /// # Errors
    /// When something cannot be mounted, such as a folder of the host that is gone.
    pub fn of_stopped(spec: &ContainerSpec, place: &Path) -> Result<Self, StartError> {
        let step = || "put the container's root together";
        let mut spec = spec.clone();
        // What is in them ended with the container.
        spec.mounts.retain(|mount| !matches!(mount.kind, MountKind::Tmpfs { .. }));
        for file in [&mut spec.etc.hosts, &mut spec.etc.hostname, &mut spec.etc.resolv_conf] {
            // Not written before the first start.
            file.take_if(|path| !path.exists());
        }
        let prepared = mounts::prepare(&spec)?;
        let rootfs = &spec.rootfs;
        let mount = overlay(step(), &rootfs.lower, Some((&rootfs.upper, &rootfs.work)))?;
        let folder = openat(CWD, place, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        attach(&mount, folder.step(step)?).step(step)?;
        let fd = openat(CWD, place, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).step(step)?;
        // Files are copied with the owners that they have on the disk.
        mounts::attach_all(fd.as_fd(), prepared, None)?;
        if rootfs.read_only {
            add_attributes(&mount, RDONLY).step(step)?;
        }
        Ok(Self { fd })
    }

    /// User and group id of `user`, by the files of the root.
    ///
    /// # Errors
    /// When the root has no such user.
    pub fn owner(&self, user: &str) -> Result<(u32, u32), StartError> {
        identity::resolve(&self.fd, user, &[]).map(|identity| (identity.uid, identity.gid))
    }

    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Finds out where a path leads. Links on the way are followed inside the root; one at its end with `follow` alone.
    ///
    /// # Errors
    /// When a folder on the way does not exist, or links go round in circles.
    pub fn locate(&self, path: &Path, follow: bool) -> io::Result<Located> {
        let mut path: PathBuf = Path::new("/").join(path);
        for _ in 0..=MAX_LINKS {
            let folder = OFlags::PATH | OFlags::DIRECTORY;
            let (Some(name), Some(above)) = (path.file_name(), path.parent()) else {
                let parent = inroot::open(&self.fd, &path, folder)?;
                let stat = Some(fstat(&parent)?);
                return Ok(Located { parent, name: None, stat });
            };
            let parent = inroot::open(&self.fd, above, folder)?;
            let stat = match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Some(stat),
                Err(Errno::NOENT) => None,
                Err(errno) => return Err(errno.into()),
            };
            let link = stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
            if !link || !follow {
                let name = Some(name.to_owned());
                return Ok(Located { parent, name, stat });
            }
            // A link of procfs has a text that means nothing; opening it would follow magic.
            if inroot::is_proc(&parent)? {
                return Err(Errno::LOOP.into());
            }
            let text = readlinkat(&parent, name, Vec::new())?.into_bytes();
            path = above.join(OsString::from_vec(text));
        }
        Err(Errno::LOOP.into())
    }

    /// Device and number of the folders at which the kernel's own file systems are mounted: they hold no files.
    #[must_use]
    pub fn pseudo(&self) -> Vec<(u64, u64)> {
        let found = ["/proc", "/sys", "/dev"].into_iter().filter_map(|path| {
            let stat = fstat(inroot::open(&self.fd, Path::new(path), OFlags::PATH).ok()?).ok()?;
            Some((stat.st_dev, stat.st_ino))
        });
        found.collect()
    }
}

/// Gives the calling thread mounts of its own, which nobody else sees and which end with it.
///
/// # Errors
/// When the kernel refuses.
pub fn private_mounts() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    Ok(mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_leads_out_of_the_root() {
        let outside = tempfile::tempdir().unwrap();
        let path = outside.path().join("root");
        fs::create_dir_all(path.join("etc")).unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        fs::write(path.join("etc/file"), "inside").unwrap();
        symlink("../../../../secret", path.join("up")).unwrap();
        symlink(outside.path().join("secret"), path.join("absolute")).unwrap();
        symlink("/etc", path.join("folder")).unwrap();
        symlink("folder/../etc/file", path.join("long")).unwrap();
        symlink("circle", path.join("circle")).unwrap();
        let root = Root { fd: openat(CWD, &path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap() };
        let found = |path: &str, follow| root.locate(Path::new(path), follow).unwrap();
        assert!(found("/up", true).stat.is_none(), "`secret` at the root does not exist");
        assert_eq!(found("/up", false).kind(), Some(FileType::Symlink));
        assert!(root.locate(Path::new("/absolute"), true).is_err_and(|error| error.kind() == io::ErrorKind::NotFound));
        assert_eq!(found("/long", true).name.unwrap(), "file");
        assert_eq!(found("/folder/file", false).kind(), Some(FileType::RegularFile));
        assert_eq!(
            found("../../..", false).stat.unwrap().st_ino,
            fs::metadata(&path).map(|m| std::os::unix::fs::MetadataExt::ino(&m)).unwrap()
        );
        assert!(root.locate(Path::new("/circle"), true).is_err());
        assert!(found("/folder/missing", true).stat.is_none());
    }
}
