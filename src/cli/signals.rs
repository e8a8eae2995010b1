//! Ctrl-C and its kin as something to wait for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Takes SIGINT, SIGTERM and SIGHUP away from their defaults for as long as the process lives.
#[derive(Debug)]
pub struct Interrupts {
    fd: SignalFd,
}

/// What happened first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    Interrupted,
    /// One of the descriptors has something to read.
    Ready,
}

impl Interrupts {
    /// Must be called before other threads begin: they inherit the mask.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn catch() -> io::Result<Self> {
        let signals = Self::signals();
        signals.thread_block()?;
        let fd = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { fd })
    }

    /// Does something that may take long and that nobody has to hear about its end: a signal ends the command.
    pub fn at_default<T>(&self, work: impl FnOnce() -> T) -> T {
        // What has come until now counts, too.
        let signals = Self::signals();
        let _ = signals.thread_unblock();
        let result = work();
        let _ = signals.thread_block();
        result
    }

    fn signals() -> SigSet {
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            signals.add(signal);
        }
        signals
    }

    /// Waits for a signal or for one of the descriptors.
    ///
    /// # Errors
    /// When polling fails.
    pub fn wait(&self, others: &[BorrowedFd<'_>]) -> io::Result<Wake> {
        Ok(match self.wait_signal(others)? {
            Some(_) => Wake::Interrupted,
            None => Wake::Ready,
        })
    }

    /// The same, with the signal; `None` when it was one of the descriptors.
    ///
    /// # Errors
    /// When polling fails.
    pub fn wait_signal(&self, others: &[BorrowedFd<'_>]) -> io::Result<Option<Signal>> {
        loop {
            let mut fds = vec![PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
            fds.extend(others.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)));
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if let Ok(Some(come)) = self.fd.read_signal()
                && let Some(signal) = i32::try_from(come.ssi_signo).ok().and_then(|number| number.try_into().ok())
            {
                return Ok(Some(signal));
            }
            if fds[1..].iter().any(|fd| fd.revents().is_some_and(|events| !events.is_empty())) {
                return Ok(None);
            }
        }
    }

    /// Takes a signal that has come already.
    #[must_use]
    pub fn pending(&self) -> bool {
        matches!(self.fd.read_signal(), Ok(Some(_)))
    }
}

impl AsFd for Interrupts {
    /// Readable when a signal has come.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
