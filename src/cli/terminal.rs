//! The person's terminal: raw mode while a container's terminal is attached, and the copying between the two.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::io::ioctl_fionbio;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use crate::runtime::spec::TerminalSize;

/// Puts the terminal into raw mode; the old mode comes back when dropped.
#[derive(Debug)]
pub struct RawMode {
    terminal: OwnedFd,
    before: Termios,
}

impl RawMode {
    /// # Errors
    /// When standard input is not a terminal.
    pub fn enter() -> io::Result<Self> {
        let terminal = io::stdin().as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Drain, &raw)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}

/// The size of the person's terminal; what is usual when there is none, or when it does not know.
#[must_use]
pub fn size() -> TerminalSize {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => TerminalSize { rows: size.ws_row, columns: size.ws_col },
        _ => TerminalSize::default(),
    }
}

/// Gives the container's terminal the size of the person's.
pub fn copy_size(master: BorrowedFd<'_>) {
    if let Ok(size) = tcgetwinsize(io::stdout())
        && size.ws_row > 0
    {
        let _ = tcsetwinsize(master, size);
    }
}

/// Keys that end an attachment without ending the process: Docker's `ctrl-p,ctrl-q`.
pub const DETACH_KEYS: &[u8] = &[0x10, 0x11];

/// Why [`relay`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayEnd {
    /// The other side of the terminal is closed, or the control socket has something to say.
    Closed,
    /// The person typed the detach keys.
    Detached,
    /// A signal came that ends commands.
    Signalled(Signal),
}

/// Copies between the person's terminal and `master` until the process ends.
///
/// `control` becomes readable when the process has ended; output that is still in the terminal is copied first.
///
/// # Errors
/// When polling fails.
pub fn relay(master: &OwnedFd, control: BorrowedFd<'_>, detach_keys: &[u8]) -> io::Result<RelayEnd> {
    let mut taken = SigSet::empty();
    // In raw mode Ctrl-C is a key; these would leave the terminal in it.
    for signal in [Signal::SIGWINCH, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        taken.add(signal);
    }
    let before = taken.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let signals = SignalFd::with_flags(&taken, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let end = relay_until(master, control, detach_keys, &signals);
    before.thread_set_mask()?;
    end
}

fn relay_until(
    master: &OwnedFd,
    control: BorrowedFd<'_>,
    detach_keys: &[u8],
    signals: &SignalFd,
) -> io::Result<RelayEnd> {
    copy_size(master.as_fd());
    ioctl_fionbio(master, true)?;
    let stdin = io::stdin();
    let mut stdin_open = true;
    let mut ended = false;
    let mut matched = 0;
    // What was typed and the program has no room for: its output is shown meanwhile, which it may have to get rid of first.
    let mut typed = Vec::new();
    let mut buffer = [0_u8; 16 * 1024];
    loop {
        let mut fds = vec![
            PollFd::new(master.as_fd(), PollFlags::POLLIN | room(&typed)),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(control, if ended { PollFlags::empty() } else { PollFlags::POLLIN }),
        ];
        if stdin_open && typed.is_empty() {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        // After the end only what is left in the terminal is of interest.
        let timeout = if ended { PollTimeout::ZERO } else { PollTimeout::NONE };
        match poll(&mut fds, timeout) {
            Ok(0) => return Ok(RelayEnd::Closed),
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        let ready = |index: usize| fds.get(index).and_then(PollFd::revents).is_some_and(|events| !events.is_empty());
        let (resize, control_ready, input) = (ready(1), ready(2), ready(3));
        let of_master = fds.first().and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        if of_master.contains(PollFlags::POLLOUT) {
            write_some(master.as_fd(), &mut typed)?;
        }
        if of_master.intersects(!PollFlags::POLLOUT) {
            match nix::unistd::read(master, &mut buffer) {
                // EIO: every process on the other side has closed the terminal.
                Ok(0) | Err(Errno::EIO) => return Ok(RelayEnd::Closed),
                Ok(count) => write_all(io::stdout().as_fd(), &buffer[..count])?,
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(errno) => return Err(errno.into()),
            }
        } else if control_ready {
            ended = true;
        }
        if resize {
            while let Ok(Some(come)) = signals.read_signal() {
                match i32::try_from(come.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok()) {
                    None | Some(Signal::SIGWINCH) => copy_size(master.as_fd()),
                    Some(signal) => return Ok(RelayEnd::Signalled(signal)),
                }
            }
        }
        if input {
            match nix::unistd::read(&stdin, &mut buffer) {
                Ok(0) => stdin_open = false,
                Ok(count) => {
                    for &byte in &buffer[..count] {
                        matched = match detach_keys.get(matched) {
                            Some(&key) if key == byte => matched + 1,
                            _ => usize::from(detach_keys.first() == Some(&byte)),
                        };
                        if !detach_keys.is_empty() && matched == detach_keys.len() {
                            return Ok(RelayEnd::Detached);
                        }
                    }
                    typed.extend(&buffer[..count]);
                    write_some(master.as_fd(), &mut typed)?;
                }
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(_) => stdin_open = false,
            }
        }
    }
}

/// What to wait for where something is to be written.
#[must_use]
pub fn room(typed: &[u8]) -> PollFlags {
    if typed.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT }
}

/// Writes as much as there is room for, to a descriptor that does not wait, and keeps the rest.
///
/// # Errors
/// When it cannot be written; not when nobody reads any more.
pub fn write_some(fd: BorrowedFd<'_>, bytes: &mut Vec<u8>) -> io::Result<()> {
    while !bytes.is_empty() {
        match nix::unistd::write(fd, bytes) {
            Ok(count) => drop(bytes.drain(..count)),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(()),
            // The process closed its side; its exit is told elsewhere.
            Err(Errno::EIO | Errno::EPIPE) => bytes.clear(),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Writes all of it, also where that has to wait.
///
/// # Errors
/// When it cannot be written; not when nobody reads any more.
pub fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match nix::unistd::write(fd, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let mut fds = [PollFd::new(fd, PollFlags::POLLOUT)];
                let _ = poll(&mut fds, PollTimeout::NONE);
            }
            // The process closed its side; its exit is told elsewhere.
            Err(Errno::EIO | Errno::EPIPE) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
