//! The named pipes of a container without a terminal.
//!
//! The keeper holds both ends of each, so that neither side ever sees the other one end: a supervisor that dies costs
//! no byte, and the next one reads on.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, mknodat, openat};
use rustix::io::Errno;

use crate::runtime;
use crate::sys::fault;

#[derive(Debug)]
pub(super) struct Pipes {
    /// Read-write, non-blocking. `None` once it was closed for the container to see its end.
    pub stdin: Option<OwnedFd>,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

impl Pipes {
    /// Makes what is missing and opens them.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        crate::state::folder::make(folder)?;
        let one = |name: &str| -> io::Result<OwnedFd> {
            let path = folder.join(name);
            let mode = Mode::from_raw_mode(0o600);
            match fault::around_file("make a pipe", &path, || mknodat(CWD, &path, FileType::Fifo, mode, 0)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let pipe = openat(CWD, &path, flags, Mode::empty())?;
            if FileType::from_raw_mode(fstat(&pipe)?.st_mode) != FileType::Fifo {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} is not a pipe", path.display())));
            }
            Ok(pipe)
        };
        Ok(Self { stdin: Some(one("stdin")?), stdout: one("stdout")?, stderr: one("stderr")? })
    }

    /// The container's ends: blocking descriptors of their own. Those for output can be read too, so that a writer is
    /// neither killed nor loses a byte when all of ours have died: it waits, once a pipe is full, until it is read again.
    pub(super) fn for_container(folder: &Path, stdin_open: bool) -> io::Result<runtime::Pipes> {
        let open = |path: &Path, flags: OFlags| -> io::Result<OwnedFd> {
            // Never waits, the keeper holds both ends.
            Ok(openat(CWD, path, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?)
        };
        Ok([
            stdin_open.then(|| open(&folder.join("stdin"), OFlags::RDONLY)).transpose()?,
            Some(open(&folder.join("stdout"), OFlags::RDWR)?),
            Some(open(&folder.join("stderr"), OFlags::RDWR)?),
        ])
    }
}
