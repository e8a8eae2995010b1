//! Unpacks an archive into a folder that is in use: what a person sends into a container.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::archive::{Archive, ArchiveError, Entry, Kind};
use super::tree::{self, Tree, TreeError, lossy, os};
use super::walk::Walk;

/// Why an archive cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("`{path}` in the archive cannot be unpacked")]
    Entry { path: String, source: TreeError },
}

/// Unpacks into the open folder `root`; links of the archive and of the folder are followed inside of it alone. Owners
/// and modes are those of the archive. Answers with the devices that were left out.
///
/// # Errors
/// When the archive is damaged or hostile, or an entry is in the way of one of another kind. What was made so far
/// stays.
pub fn extract<R: Read>(input: R, root: OwnedFd) -> Result<Vec<String>, ExtractError> {
    let mut archive = Archive::new(input);
    let mut walk = Walk::new(root.try_clone().map_err(ArchiveError::Io)?);
    let mut tree = Tree::new(root);
    let mut left_out = Vec::new();
    // Their times change with every entry made in them, and a mode without write permission must not act too early.
    let mut folders: Vec<(Vec<u8>, Entry)> = Vec::new();
    while let Some(entry) = archive.next_entry()? {
        let failed = |source| ExtractError::Entry { path: lossy(&entry.path), source };
        match entry.kind {
            Kind::Character | Kind::Block => left_out.push(lossy(&entry.path)),
            Kind::Directory => {
                if let Some(path) = directory(&mut tree, &entry).map_err(failed)? {
                    folders.push((path, entry));
                }
            }
            _ => file(&mut tree, &entry, &mut archive).map_err(failed)?,
        }
    }
    // Opened again one by one: an archive has more of them than a process may have open.
    for (path, entry) in folders.into_iter().rev() {
        let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        let set = walk.to(&parts, tree::enter).and_then(|folder| finish(folder, &entry));
        set.map_err(|errno| ExtractError::Entry { path: lossy(&entry.path), source: errno.into() })?;
    }
    Ok(left_out)
}

/// Its path without any link in it. `None`: the top folder, which stays as it is.
fn directory(tree: &mut Tree, entry: &Entry) -> Result<Option<Vec<u8>>, TreeError> {
    let parts = tree::components(&entry.path)?;
    let Some((name, parents)) = parts.split_last() else { return Ok(None) };
    let parent = tree.folder(parents, true)?;
    match tree::make_folder(&parent, name) {
        Ok(folder) => Ok(Some(folder.path)),
        Err(Errno::EXIST) => match tree::open_folder(&parent, name) {
            Ok(folder) => Ok(Some(folder.path)),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(TreeError::NotADirectory(lossy(&parent.join(name)))),
            Err(errno) => Err(errno.into()),
        },
        Err(errno) => Err(errno.into()),
    }
}

fn file<R: Read>(tree: &mut Tree, entry: &Entry, archive: &mut Archive<R>) -> Result<(), TreeError> {
    let parts = tree::components(&entry.path)?;
    let Some((name, parents)) = parts.split_last() else { return Err(Errno::ISDIR.into()) };
    let parent = tree.folder(parents, true)?;
    // Found before the old file goes: it may be the target itself.
    let link = match entry.kind {
        Kind::HardLink => {
            let parts = tree::components(&entry.link)?;
            let (name, parents) = parts.split_last().ok_or(Errno::ISDIR)?;
            let parent = tree.folder(parents, false)?;
            Some(fs::openat(&parent.fd, os(name), OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
        }
        _ => None,
    };
    if tree.clear_file(&parent, name)? {
        return Err(Errno::ISDIR.into());
    }
    if let Some(link) = link {
        return Ok(fs::linkat(&link, c"", &parent.fd, os(name), AtFlags::EMPTY_PATH)?);
    }
    match entry.kind {
        Kind::Symlink => {
            fs::symlinkat(OsStr::from_bytes(&entry.link), &parent.fd, os(name))?;
            fs::chownat(&parent.fd, os(name), Some(uid(entry)?), Some(gid(entry)?), AtFlags::SYMLINK_NOFOLLOW)?;
            fs::utimensat(&parent.fd, os(name), &times(entry), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Kind::Fifo => {
            fs::mknodat(&parent.fd, os(name), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
            fs::chownat(&parent.fd, os(name), Some(uid(entry)?), Some(gid(entry)?), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        _ => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = fs::openat(&parent.fd, os(name), flags, Mode::RUSR | Mode::WUSR)?;
            let mut file = std::fs::File::from(fd);
            io::copy(&mut Content(archive), &mut file)?;
            finish(file.as_fd(), entry)?;
        }
    }
    Ok(())
}

struct Content<'a, R>(&'a mut Archive<R>);

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_content(buffer).map_err(io::Error::other)
    }
}

/// Owner, then mode: a change of the owner drops the set-id bits.
fn finish(file: impl std::os::fd::AsFd, entry: &Entry) -> Result<(), Errno> {
    fs::fchown(&file, Some(uid(entry)?), Some(gid(entry)?))?;
    fs::fchmod(&file, Mode::from_raw_mode(entry.mode & 0o7777))?;
    fs::futimens(&file, &times(entry))
}

fn uid(entry: &Entry) -> Result<Uid, Errno> {
    u32::try_from(entry.uid).map(Uid::from_raw).map_err(|_| Errno::INVAL)
}

fn gid(entry: &Entry) -> Result<Gid, Errno> {
    u32::try_from(entry.gid).map(Gid::from_raw).map_err(|_| Errno::INVAL)
}

fn times(entry: &Entry) -> Timestamps {
    let time = Timespec { tv_sec: entry.mtime.0, tv_nsec: entry.mtime.1.into() };
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn archive(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o640);
            header.set_uid(u64::from(nix::unistd::geteuid().as_raw()));
            header.set_gid(u64::from(nix::unistd::getegid().as_raw()));
            header.set_mtime(1_000);
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            if kind.is_symlink() || kind.is_hard_link() {
                header.set_size(0);
                header.as_gnu_mut().unwrap().linkname[..content.len()].copy_from_slice(content.as_bytes());
                header.set_cksum();
                builder.append(&header, io::empty()).unwrap();
            } else {
                header.set_size(content.len() as u64);
                header.set_cksum();
                builder.append(&header, content.as_bytes()).unwrap();
            }
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn files_come_in_and_nothing_gets_out() {
        use tar::EntryType;
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("root");
        std::fs::create_dir_all(root.join("old")).unwrap();
        std::fs::write(root.join("old/file"), "old").unwrap();
        symlink("..", root.join("up")).unwrap();
        let unpack =
            |entries: &[(&str, EntryType, &str)]| extract(&archive(entries)[..], File::open(&root).unwrap().into());
        let left_out = unpack(&[
            ("./", EntryType::Directory, ""),
            ("old/file", EntryType::Regular, "new"),
            ("old/again", EntryType::Link, "old/file"),
            ("new/deep/file", EntryType::Regular, "deep"),
            ("new/", EntryType::Directory, ""),
            ("link", EntryType::Symlink, "/etc"),
            ("device", EntryType::Char, ""),
            ("up/beside", EntryType::Regular, "kept in"),
        ])
        .unwrap();
        assert_eq!(left_out, ["device"]);
        let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
        assert_eq!(
            (read("old/file"), read("new/deep/file"), read("beside")),
            ("new".into(), "deep".into(), "kept in".into())
        );
        let (file, again) = (root.join("old/file").metadata().unwrap(), root.join("old/again").metadata().unwrap());
        assert_eq!((file.ino(), file.mode() & 0o7777, file.mtime()), (again.ino(), 0o640, 1_000));
        assert!(!outside.path().join("beside").exists());
        for wrong in [
            ("../escape", EntryType::Regular, "x"),
            ("old", EntryType::Regular, "x"),
            ("old/file", EntryType::Directory, ""),
            ("missing", EntryType::Link, "nowhere"),
        ] {
            assert!(unpack(&[wrong]).is_err(), "{wrong:?}");
        }
        assert!(!outside.path().join("escape").exists());
    }
}
