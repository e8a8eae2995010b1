//! Folders that come and go, apart from each other on the disk.
//!
//! ext4 does not use the number of a deleted inode again for a minute, and for six while its block waits to be written
//! (`recently_deleted`, fs/ext4/ialloc.c). Each new file is looked for from the first inode of its group of blocks on, past
//! all of those: where a few thousand were deleted a moment ago (a stack was taken down, an image was removed), a new file
//! takes a third of a millisecond instead of some microseconds. So what has many files in it that go together gets a group
//! of its own: the folders in a folder with the flag `T` (chattr(1), "top of a directory hierarchy") are put where few
//! others are.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

/// `FS_TOPDIR_FL` of linux/fs.h.
const TOP: IFlags = IFlags::from_bits_retain(0x0002_0000);

/// Makes a folder whose subfolders will lie apart, where the file system can; with everything above it, for
/// root alone.
///
/// # Errors
/// As `mkdir(2)`.
pub fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    below(folder);
    Ok(())
}

/// The same for a folder that is there; it holds for what is made in it from now on.
pub fn below(folder: &Path) {
    // Other file systems have no such flag, and no need of it.
    if let Ok(folder) = File::open(folder)
        && let Ok(flags) = ioctl_getflags(&folder)
        && !flags.contains(TOP)
    {
        let _ = ioctl_setflags(&folder, flags | TOP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_marked_where_that_can_be() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a/b");
        make(&folder).unwrap();
        make(&folder).unwrap();
        let marked = |path: &Path| ioctl_getflags(File::open(path).unwrap()).map(|flags| flags.contains(TOP));
        // EXT4_SUPER_MAGIC
        if rustix::fs::statfs(home.path()).unwrap().f_type as u64 == 0xef53 {
            assert_eq!((marked(&folder), marked(&home.path().join("a"))), (Ok(true), Ok(false)));
        } else {
            eprintln!("SKIPPED: the folder for temporary files is not on ext4, so no flag was seen");
        }
    }
}
