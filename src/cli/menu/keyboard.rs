//! Single keys from the person's terminal. Whatever else the terminal does for the person (Ctrl-C, line ends on output)
//! stays as it was.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr};

/// The terminal gives each key at once and does not show it; its old mode comes back when this is dropped, also by a
/// panic. Signals that end the command are for the command to catch.
#[derive(Debug)]
pub(super) struct Keyboard {
    terminal: OwnedFd,
    before: Termios,
    /// Says when the terminal has another size.
    resized: SignalFd,
}

/// Ctrl-Z and Ctrl-\: the terminal's own handling would leave it in our mode.
const SUSPEND: u8 = 0x1a;
const QUIT: u8 = 0x1c;

impl Keyboard {
    /// `None` unless standard input is a terminal on which this command is in front.
    pub(super) fn open() -> Option<Self> {
        let terminal = io::stdin().as_fd().try_clone_to_owned().ok()?;
        if !io::stdin().is_terminal() || !is_in_front(terminal.as_fd()) {
            return None;
        }
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGWINCH);
        signals.thread_block().ok()?;
        let resized = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).ok()?;
        let keyboard = Self { before: tcgetattr(&terminal).ok()?, terminal, resized };
        keyboard.enter().ok()?;
        Some(keyboard)
    }

    fn enter(&self) -> io::Result<()> {
        let mut mode = self.before.clone();
        mode.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        mode.special_codes[SpecialCodeIndex::VMIN] = 1;
        mode.special_codes[SpecialCodeIndex::VTIME] = 0;
        for ours in [SpecialCodeIndex::VSUSP, SpecialCodeIndex::VQUIT] {
            mode.special_codes[ours] = 0;
        }
        Ok(tcsetattr(&self.terminal, OptionalActions::Now, &mode)?)
    }

    fn leave(&self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }

    /// Does something with the terminal as it was.
    pub(super) fn suspended<T>(&self, work: impl FnOnce() -> T) -> T {
        self.leave();
        let result = work();
        let _ = self.enter();
        result
    }

    pub(super) fn resized(&self) -> BorrowedFd<'_> {
        self.resized.as_fd()
    }

    /// What has been typed; nothing when there is nothing, `None` when no more will come.
    pub(super) fn read(&self) -> io::Result<Option<Vec<u8>>> {
        while let Ok(Some(_)) = self.resized.read_signal() {}
        let mut fds = [PollFd::new(self.terminal.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::ZERO) {
            Ok(0) | Err(Errno::EINTR) => return Ok(Some(Vec::new())),
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut buffer = [0; 256];
        let count = match nix::unistd::read(&self.terminal, &mut buffer) {
            Ok(0) | Err(Errno::EIO) => return Ok(None),
            Ok(count) => count,
            Err(Errno::EINTR | Errno::EAGAIN) => 0,
            Err(errno) => return Err(errno.into()),
        };
        let keys = buffer[..count].to_vec();
        match keys.as_slice() {
            // As the terminal would have done it, for the whole foreground group.
            [SUSPEND] => self.signal(|| kill(Pid::from_raw(0), Signal::SIGTSTP)),
            [QUIT] => self.signal(|| raise(Signal::SIGQUIT)),
            _ => return Ok(Some(keys)),
        }
        // `bg`: the terminal is somebody else's now.
        Ok(is_in_front(self.terminal.as_fd()).then(Vec::new))
    }

    fn signal(&self, send: impl FnOnce() -> nix::Result<()>) {
        self.leave();
        let _ = send();
        // We are here again when the person has continued us.
        if is_in_front(self.terminal.as_fd()) {
            let _ = self.enter();
        }
    }
}

/// To touch a terminal from the background stops the process.
fn is_in_front(terminal: BorrowedFd<'_>) -> bool {
    tcgetpgrp(terminal).is_ok_and(|group| group == rustix::process::getpgrp())
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        if is_in_front(self.terminal.as_fd()) {
            self.leave();
        }
    }
}

impl AsFd for Keyboard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.terminal.as_fd()
    }
}
