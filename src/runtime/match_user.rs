//! Bind mounts in which the owner of the source and a user of the container are one: id-mapped mounts.
//!
//! The two ids are exchanged and all others stay, because the kernel's map is one to one: an id that the map left out
//! could not write at all (`EOVERFLOW`).

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, pidfd_send_signal, waitpid};

use crate::runtime::StartError;
use crate::runtime::error::Step;
use crate::runtime::identity;
use crate::runtime::inroot::show;
use crate::runtime::report::ChildReport;
use crate::runtime::spec::ContainerSpec;
use crate::sys::{clone, mount};

/// Makes the mounts of one container match its users.
#[derive(Debug)]
pub(super) struct Owners<'a> {
    pub spec: &'a ContainerSpec,
    /// A procfs that shows the processes that this one makes.
    pub proc: BorrowedFd<'a>,
    pub report: BorrowedFd<'a>,
}

impl Owners<'_> {
    /// Changes the mount for `target`, which is not attached yet, when that is wanted of it. `root` is the container's.
    ///
    /// # Errors
    /// When the user is unknown; `Ok(Err)` says why the kernel or the file system cannot do it.
    pub(super) fn apply(
        &self,
        target: &Path,
        root: BorrowedFd<'_>,
        mount: BorrowedFd<'_>,
    ) -> Result<io::Result<()>, StartError> {
        let Some(wanted) = self.spec.match_users.iter().find(|wanted| wanted.target == target) else {
            return Ok(Ok(()));
        };
        let step = || format!("match the owner of {}", show(target));
        let user = if wanted.user.is_empty() { &self.spec.process.user } else { &wanted.user };
        let user = identity::resolve(root, user, &[]).map_err(|mut error| {
            error.step = step();
            error
        })?;
        let source = fstat(mount).step(step)?;
        // What belongs to root stays root's: no user of a container becomes root on the disk.
        if source.st_uid == 0 {
            return Ok(Ok(()));
        }
        let exchange = Exchange::of(&source, user.uid, user.gid);
        if exchange.changes_nothing() {
            return Ok(Ok(()));
        }
        Ok(user_namespace(&exchange, self.proc).and_then(|namespace| mount::map_ids(mount, namespace.as_fd())))
    }

    /// Tells of the mounts that are as they were, and why.
    pub(super) fn tell(&self, unmatched: &[(PathBuf, io::Error)]) -> Result<(), StartError> {
        let Some((_, error)) = unmatched.first() else { return Ok(()) };
        let targets: Vec<String> = unmatched.iter().map(|(target, _)| show(target)).collect();
        let why = match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSYS) => "the kernel is older than 5.12".to_owned(),
            Some(Errno::INVAL) => "its file system cannot show files as somebody else's".to_owned(),
            _ => error.to_string(),
        };
        let warning = format!(
            "what it writes into {} belongs to the container's own users: {why}; `x-windlass: {{ bind-idmap: off }}` \
             accepts that",
            targets.join(", ")
        );
        ChildReport::Warning(warning).send(self.report).step(|| "report")
    }
}

/// On the disk, and as the container sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Exchange {
    uid: (u32, u32),
    gid: (u32, u32),
}

impl Exchange {
    fn of(source: &Stat, uid: u32, gid: u32) -> Self {
        let group = if source.st_gid == 0 { gid } else { source.st_gid };
        Self { uid: (source.st_uid, uid), gid: (group, gid) }
    }

    fn changes_nothing(&self) -> bool {
        self.uid.0 == self.uid.1 && self.gid.0 == self.gid.1
    }
}

/// A map in the form of `/proc/PID/uid_map`: all ids, the two exchanged.
fn map((one, other): (u32, u32)) -> String {
    let (low, high) = (one.min(other), one.max(other));
    let mut ranges = vec![(0, 0, low)];
    if low == high {
        ranges.push((low, low, u32::MAX - low));
    } else {
        ranges.push((low, high, 1));
        ranges.push((low + 1, low + 1, high - low - 1));
        ranges.push((high, low, 1));
        // The highest number is nobody's: the kernel says so.
        let above = high.saturating_add(1);
        ranges.push((above, above, u32::MAX - above));
    }
    let lines = ranges.into_iter().filter(|(_, _, count)| *count > 0);
    lines.map(|(inside, outside, count)| format!("{inside} {outside} {count}\n")).collect()
}

/// A user namespace with these maps. It is a process's; the descriptor keeps it when that has gone.
fn user_namespace(exchange: &Exchange, proc: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let child = clone::clone3(clone::NEW_USER, None, || {
        loop {
            nix::unistd::pause();
        }
    })?;
    let open = |name: &str, flags: OFlags| {
        openat(proc, Path::new(&child.pid.to_string()).join(name), flags | OFlags::CLOEXEC, Mode::empty())
    };
    let namespace = (|| {
        for (name, pair) in [("uid_map", exchange.uid), ("gid_map", exchange.gid)] {
            // The kernel takes a map in one write alone.
            File::from(open(name, OFlags::WRONLY)?).write_all(map(pair).as_bytes())?;
        }
        Ok(open("ns/user", OFlags::RDONLY)?)
    })();
    let _ = pidfd_send_signal(&child.pidfd, Signal::KILL);
    let _ = waitpid(Pid::from_raw(child.pid), WaitOptions::empty());
    namespace
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel does with a map.
    fn seen(map: &str, id: u32) -> Option<u32> {
        map.lines().find_map(|line| {
            let numbers: Vec<u32> = line.split(' ').map(|number| number.parse().unwrap()).collect();
            let offset = id.checked_sub(numbers[0])?;
            (offset < numbers[2]).then(|| numbers[1] + offset)
        })
    }

    #[test]
    fn two_ids_are_exchanged_and_none_is_lost() {
        for (disk, inside) in
            [(1501, 0), (1000, 1001), (1001, 1000), (1, 0), (1000, 1000), (u32::MAX - 1, 5), (u32::MAX, 0)]
        {
            let map = map((disk, inside));
            assert_eq!((seen(&map, disk), seen(&map, inside)), (Some(inside), Some(disk)), "{map}");
            for id in
                [0, 2, 999, 1002, 65_534, 100_000, u32::MAX - 2].into_iter().filter(|id| ![disk, inside].contains(id))
            {
                assert_eq!(seen(&map, id), Some(id), "{map}");
            }
        }
        assert_eq!(map((1501, 0)), "0 1501 1\n1 1 1500\n1501 0 1\n1502 1502 4294965793\n");
    }
}
