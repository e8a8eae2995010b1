//! A `newc` archive of a tree, which is what the kernel unpacks as its first file system.

use std::fs;
use std::io::{Result, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Writes everything below `root`, by its path there. Devices and sockets are left out.
pub fn tree(out: &mut impl Write, root: &Path) -> Result<()> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            let name = path.strip_prefix(root).unwrap_or(&path);
            let kind = metadata.file_type();
            let content = if kind.is_dir() {
                folders.push(path.clone());
                Vec::new()
            } else if kind.is_symlink() {
                fs::read_link(&path)?.as_os_str().as_bytes().to_vec()
            } else if kind.is_file() {
                fs::read(&path)?
            } else {
                continue;
            };
            member(out, name, metadata.mode(), &content)?;
        }
    }
    end(out)
}

/// Writes one member, owned by root.
pub fn member(out: &mut impl Write, name: &Path, mode: u32, content: &[u8]) -> Result<()> {
    let name = name.as_os_str().as_bytes();
    let (size, length) = (content.len(), name.len() + 1);
    // magic, inode, mode, uid, gid, links, mtime, size, device (2), special (2), length of the name, check
    write!(out, "070701{0:08X}{mode:08X}{0:08X}{0:08X}{1:08X}{0:08X}{size:08X}", 0, 1)?;
    write!(out, "{0:08X}{0:08X}{0:08X}{0:08X}{length:08X}{0:08X}", 0)?;
    out.write_all(name)?;
    out.write_all(&[0])?;
    pad(out, 110 + length)?;
    out.write_all(content)?;
    pad(out, size)
}

pub fn end(out: &mut impl Write) -> Result<()> {
    member(out, Path::new("TRAILER!!!"), 0, &[])
}

/// Everything starts at a multiple of four.
fn pad(out: &mut impl Write, written: usize) -> Result<()> {
    out.write_all(&[0; 3][..written.wrapping_neg() % 4])
}
