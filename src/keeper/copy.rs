//! The keeper runs from a copy of the binary that nobody can write: what a container could reach through
//! `/proc/<pid>/exe` of a process that was cloned from us is this copy (CVE-2019-5736).

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, MemfdFlags, SealFlags, StatVfsMountFlags, fcntl_add_seals, fstat, memfd_create};
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::sys::{fault, mount, process};

/// Executes this binary again from a copy. Returns only when that fails.
pub(super) fn execute(role: &str, arguments: &[&OsStr]) -> io::Error {
    let copy = match detached().or_else(|_| in_memory()) {
        Ok(copy) => copy,
        Err(error) => return error,
    };
    let text = |text: &OsStr| CString::new(text.as_bytes()).unwrap_or_default();
    let mut argv = vec![text(OsStr::new(role))];
    argv.extend(arguments.iter().map(|argument| text(argument)));
    // Nothing of the caller's environment is needed, and it may hold secrets: a keeper lives long.
    process::execute_descriptor(copy.as_fd(), &argv, &fault::environment())
}

/// A mount of the binary that is nowhere and read-only: no byte is copied.
fn detached() -> io::Result<OwnedFd> {
    // The file itself, whatever lies at its path now.
    let file = File::open("/proc/self/exe")?;
    // Of a supervisor whose keeper died: it runs from such a mount already, of which no other can be made.
    if rustix::fs::fstatvfs(&file)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(file.into());
    }
    let path = std::fs::read_link("/proc/self/exe")?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(&file, c"", flags | OpenTreeFlags::AT_EMPTY_PATH)
        .or_else(|_| open_tree(CWD, Path::new(&path), flags))?;
    let (found, wanted) = (fstat(&tree)?, fstat(&file)?);
    if (found.st_dev, found.st_ino) != (wanted.st_dev, wanted.st_ino) {
        return Err(io::ErrorKind::NotFound.into());
    }
    mount::mount_setattr(&tree, false, mount::RDONLY, 0, 0)?;
    Ok(tree)
}

fn in_memory() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut copy = File::from(memfd_create("windlass", flags)?);
    io::copy(&mut File::open("/proc/self/exe")?, &mut copy)?;
    fcntl_add_seals(&copy, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    // Executing needs a descriptor that is not open for writing.
    Ok(File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&copy)))?.into())
}
