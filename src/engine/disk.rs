//! How much space a tree of files takes.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, open, statat};

use crate::sys::resolve;

/// Bytes of all files below a folder. A file with several names counts once; what cannot be looked at, or is mounted
/// there, does not count.
#[must_use]
pub fn usage(root: &Path) -> u64 {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(root) = open(root, flags, Mode::empty()) else { return 0 };
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let mut folders = vec![PathBuf::from(".")];
    let mut seen = HashSet::new();
    let mut bytes = 0;
    while let Some(path) = folders.pop() {
        let Ok(folder) = resolve::open(&root, &path, flags | OFlags::NOFOLLOW, how) else { continue };
        let Ok(entries) = Dir::read_from(&folder) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(stat) = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => folders.push(path.join(OsStr::from_bytes(name.to_bytes()))),
                FileType::RegularFile if stat.st_nlink == 1 || seen.insert(stat.st_ino) => {
                    bytes += u64::try_from(stat.st_size).unwrap_or(0);
                }
                _ => {}
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn links_count_once_and_lead_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/b/file"), [0; 1000]).unwrap();
        fs::hard_link(at("a/b/file"), at("a/again")).unwrap();
        fs::write(at("one"), [0; 24]).unwrap();
        std::os::unix::fs::symlink("/", at("out")).unwrap();
        assert_eq!(usage(folder.path()), 1024);
        assert_eq!(usage(&at("missing")), 0);
    }
}
