//! A process that goes ahead into another container's namespaces, where the new container's process is then born.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sched::{CloneFlags, setns};
use rustix::fs::{CWD, Mode, OFlags, fstatfs, openat};

use crate::runtime::StartError;
use crate::runtime::child::ChildSetup;
use crate::runtime::error::Step;
use crate::runtime::filesystem::clone_tree;
use crate::runtime::inroot;
use crate::runtime::process::{ROOT, fail};
use crate::runtime::report::ChildReport;
use crate::sys::clone;

pub(super) struct Helper<'a> {
    pub plan: ChildSetup<'a>,
    /// The process whose pid namespace is entered.
    pub pid: Option<OwnedFd>,
    /// The process whose `/dev/shm` is shared.
    pub ipc: Option<OwnedFd>,
    /// Flags for the container's own process.
    pub new: u64,
}

const TMPFS_MAGIC: u64 = 0x0102_1994;

impl Helper<'_> {
    pub(super) fn run(mut self, report: OwnedFd) -> i32 {
        match self.prepare() {
            Ok(()) => {}
            Err(error) => return fail(&error, report.as_fd()),
        }
        let (Ok(own), Ok(child_report)) = (report.try_clone(), report.try_clone()) else { return 125 };
        let plan = self.plan;
        match clone::clone3(clone::PARENT | self.new, None, move || plan.run(child_report)) {
            Ok(cloned) => {
                let told = ChildReport::Cloned { pid: cloned.pid, pidfd: cloned.pidfd.as_fd() }.send(own.as_fd());
                i32::from(told.is_err())
            }
            Err(error) => fail(&StartError::io("clone the container's process", &error), own.as_fd()),
        }
    }

    fn prepare(&mut self) -> Result<(), StartError> {
        // A copy of the keeper that the other container must not look into.
        let not_dumpable = rustix::process::DumpableBehavior::NotDumpable;
        rustix::process::set_dumpable_behavior(not_dumpable).step(|| "protect the process")?;
        if let Some(ipc) = self.ipc.take() {
            self.plan.shm = shared_memory(ipc.as_fd())?;
        }
        if let Some(pid) = self.pid.take() {
            setns(&pid, CloneFlags::CLONE_NEWPID).step(|| "join the pid namespace")?;
        }
        Ok(())
    }
}

/// A detached copy of another container's `/dev/shm`; `None` when it has none.
fn shared_memory(target: BorrowedFd<'_>) -> Result<Option<OwnedFd>, StartError> {
    let step = || "share /dev/shm";
    let home = openat(CWD, "/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).step(step)?;
    setns(target, CloneFlags::CLONE_NEWNS).step(step)?;
    let found = (|| {
        let root = openat(CWD, "/", ROOT, Mode::empty()).step(step)?;
        let Ok(folder) = inroot::open_without_links(&root, Path::new("dev/shm"), OFlags::PATH | OFlags::DIRECTORY)
        else {
            return Ok(None);
        };
        // Whatever else the other container has put there is not its shared memory.
        if u64::try_from(fstatfs(&folder).step(step)?.f_type).unwrap_or(0) != TMPFS_MAGIC {
            return Ok(None);
        }
        clone_tree(folder.as_fd(), Path::new(""), false).step(step).map(Some)
    })();
    setns(&home, CloneFlags::CLONE_NEWNS).step(step)?;
    found
}
