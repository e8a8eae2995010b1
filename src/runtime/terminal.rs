//! A pseudo-terminal of the container's own devpts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{OFlags, fstatfs};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::runtime::StartError;
use crate::runtime::error::Step;
use crate::runtime::filesystem::{attach, clone_tree};
use crate::runtime::inroot;
use crate::runtime::spec::TerminalSize;
use crate::sys::fault;

#[derive(Debug)]
pub(super) struct Terminal {
    pub master: OwnedFd,
    pub peer: OwnedFd,
}

const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;

/// Opens a new terminal, with its size before any program could ask for it. The peer comes from the master itself, never by a name that the container could exchange.
pub(super) fn open(root: BorrowedFd<'_>, size: TerminalSize) -> Result<Terminal, StartError> {
    let step = || "open a terminal";
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let open = || inroot::open_without_links(root, Path::new("dev/pts/ptmx"), flags);
    let master = fault::around("make a terminal", open).step(step)?;
    if !is_of_devpts(&master).step(step)? {
        return Err(StartError::new(step(), "the container's /dev/pts is not a devpts"));
    }
    unlockpt(&master).step(step)?;
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&master, size).step(step)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let peer = ioctl_tiocgptpeer(&master, flags).step(step)?;
    Ok(Terminal { master, peer })
}

/// Whether a file is on a devpts.
pub(crate) fn is_of_devpts(file: &OwnedFd) -> rustix::io::Result<bool> {
    Ok(u64::try_from(fstatfs(file)?.f_type) == Ok(DEVPTS_SUPER_MAGIC))
}

/// Makes the terminal the container's `/dev/console`.
pub(super) fn bind_console(root: BorrowedFd<'_>, terminal: &Terminal) -> Result<(), StartError> {
    let step = || "mount /dev/console";
    // A `/dev` of the user's may have none.
    let Ok(place) = inroot::open_without_links(root, Path::new("dev/console"), OFlags::PATH) else { return Ok(()) };
    let mount = clone_tree(terminal.peer.as_fd(), Path::new(""), false).step(step)?;
    attach(&mount, &place).step(step)
}
