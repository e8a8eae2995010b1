//! The pipes between a process in a container and whoever asked for it. They are made here, and each side is handed its
//! ends: nothing that a client holds gets into a container.

use std::io;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, pipe_with};

use crate::runtime::Pipes;

/// Streams of a process that is to be started.
#[derive(Debug, Default)]
pub struct Streams {
    /// Its stdin, stdout and stderr; one that is missing is the null device.
    pub process: Pipes,
    /// The other ends, in this order as far as there are any.
    pub ends: Vec<OwnedFd>,
}

impl Streams {
    /// A pipe for each, with or without one for stdin.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn piped(stdin: bool) -> io::Result<Self> {
        let (mut process, mut ends) = (Pipes::default(), Vec::with_capacity(3));
        for (number, stream) in process.iter_mut().enumerate() {
            if number == 0 && !stdin {
                continue;
            }
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
            let (theirs, ours) = if number == 0 { (reader, writer) } else { (writer, reader) };
            *stream = Some(theirs);
            ends.push(ours);
        }
        Ok(Self { process, ends })
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
