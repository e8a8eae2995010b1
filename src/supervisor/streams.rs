//! The pipes between a process in a container and whoever asked for it. They are made here, and each side is handed its
//! ends: nothing that a client holds gets into a container.

use std::io;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, pipe_with};

use crate::runtime::{OtherEnds, Pipes};

/// Streams of a process that is to be started.
#[derive(Debug, Default)]
pub struct Streams {
    /// Its stdin, stdout and stderr; one that is missing is the null device.
    pub process: Pipes,
    pub ends: OtherEnds,
}

impl Streams {
    /// A pipe for each, with or without one for stdin.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn piped(stdin: bool) -> io::Result<Self> {
        let pipe = || pipe_with(PipeFlags::CLOEXEC);
        let (their_stdin, stdin) = if stdin { Some(pipe()?) } else { None }.unzip();
        let ((stdout, their_stdout), (stderr, their_stderr)) = (pipe()?, pipe()?);
        let process = [their_stdin, Some(their_stdout), Some(their_stderr)];
        Ok(Self { process, ends: OtherEnds::Pipes { stdin, stdout, stderr } })
    }

    /// Nothing to read, and one pipe for all that is written: its other end.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn gathered() -> io::Result<(Pipes, OwnedFd)> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&reader, true)?;
        Ok(([None, Some(writer.try_clone()?), Some(writer)], reader))
    }
}
