//! A further process in a running container.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sched::{CloneFlags, setns};
use rustix::fs::{CWD, Mode, openat};

use crate::runtime::StartError;
use crate::runtime::capability::Capabilities;
use crate::runtime::cgroup::ControlGroup;
use crate::runtime::child::{harden, label};
use crate::runtime::error::Step;
use crate::runtime::process::{Program, ROOT, Streams, fail};
use crate::runtime::report::ChildReport;
use crate::runtime::spec::{ContainerSpec, ExecSpec};
use crate::runtime::start::{Runtime, Starting};
use crate::runtime::streams::Pipes;
use crate::runtime::{inroot, protect, terminal};
use crate::sys::process::close_all_but;
use crate::sys::seccomp::Instruction;
use crate::sys::{clone, packet};

impl Runtime {
    /// Begins to start a further process in a container. `target` is the pidfd of the container's own process; `files`
    /// are stdin, stdout and stderr, or `None` for a terminal. The process becomes a child of the caller, and so does
    /// a helper that ends at once.
    ///
    /// # Errors
    /// When the specification cannot be met or no process can be made.
    pub fn exec(
        &mut self,
        container: &ContainerSpec,
        exec: &ExecSpec,
        target: OwnedFd,
        streams: Option<Pipes>,
    ) -> Result<Starting, StartError> {
        if streams.is_some() == exec.tty {
            return Err(StartError::new("exec", "a process has either a terminal or three streams"));
        }
        let (capabilities, filter) = if exec.privileged {
            (self.held, None)
        } else {
            let capabilities = Capabilities::of_container(&container.security, self.held)?;
            (capabilities, self.filters.filter_of(&container.security, capabilities)?)
        };
        let cgroup = self.cgroup(&container.cgroup.path);
        let (report, child_report) = Starting::channel()?;
        let (filter, open_files) = (filter.as_deref(), self.open_files);
        let helper = Helper { container, exec, cgroup: &cgroup, target, streams, capabilities, filter, open_files };
        let unified = cgroup.open_unified();
        let cloned = clone::clone3(0, unified.as_ref().map(AsFd::as_fd), move || helper.run(&child_report))
            .step(|| "clone a process")?;
        Ok(Starting::new(cloned, report, Vec::new()))
    }
}

/// Enters the container and makes the process there: a pid namespace takes in only what is cloned after entering.
struct Helper<'a> {
    container: &'a ContainerSpec,
    exec: &'a ExecSpec,
    cgroup: &'a ControlGroup,
    target: OwnedFd,
    streams: Option<Pipes>,
    capabilities: Capabilities,
    filter: Option<&'a [Instruction]>,
    open_files: rustix::process::Rlimit,
}

impl Helper<'_> {
    fn run(self, report: &OwnedFd) -> i32 {
        match self.enter(report.as_fd()) {
            Ok(()) => 0,
            Err(error) => fail(&error, report.as_fd()),
        }
    }

    fn enter(self, report: BorrowedFd<'_>) -> Result<(), StartError> {
        harden(self.container.process.oom_score_adj.unwrap_or(0), report)?;
        self.cgroup.join(false).step(|| "join the container's control group")?;
        if !self.exec.privileged {
            label(&self.container.security)?;
        }
        let mut keep = vec![0, 1, 2, report.as_raw_fd(), self.target.as_raw_fd()];
        keep.extend(self.streams.iter().flatten().flatten().map(AsRawFd::as_raw_fd));
        close_all_but(&keep).step(|| "close descriptors")?;
        let all = CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWCGROUP;
        // All at once and by the descriptor: what it stands for cannot become another process meanwhile.
        match setns(&self.target, all) {
            Err(nix::errno::Errno::ESRCH) => return Err(StartError::new("exec", "the container is not running")),
            other => other.step(|| "enter the container")?,
        }
        let cloned = clone::clone3(clone::PARENT, None, || self.become_program(report)).step(|| "clone a process")?;
        ChildReport::Cloned { pid: cloned.pid, pidfd: cloned.pidfd.as_fd() }.send(report).step(|| "report")
    }

    fn become_program(&self, report: BorrowedFd<'_>) -> i32 {
        let Ok(report) = report.try_clone_to_owned() else { return 125 };
        let prepared = (|| {
            rustix::process::setsid().step(|| "start a session")?;
            let root = openat(CWD, "/", ROOT, Mode::empty()).step(|| "open the container's root")?;
            let streams = match &self.streams {
                Some(pipes) => Streams::piped(pipes, || null(root.as_fd()))?,
                None => Streams::Terminal(terminal::open(root.as_fd(), self.exec.size)?),
            };
            Ok((root, streams))
        })();
        let (root, streams) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return fail(&error, report.as_fd()),
        };
        let process = &self.container.process;
        let mut env = process.env.clone();
        env.extend(self.exec.env.iter().cloned());
        let program = Program {
            id: &self.container.id,
            args: &self.exec.args,
            env,
            hostname: &self.container.hostname,
            cwd: self.exec.cwd.as_deref().unwrap_or(&process.cwd),
            user: self.exec.user.as_deref().unwrap_or(&process.user),
            groups: &process.groups,
            rlimits: &process.rlimits,
            capabilities: self.capabilities,
            no_new_privileges: self.container.security.no_new_privileges,
            filter: self.filter,
            open_files: self.open_files,
            init: false,
        };
        program.run(root.as_fd(), streams, report)
    }
}

/// The null device of a container whose programs may have done anything to it.
fn null(root: BorrowedFd<'_>) -> Result<OwnedFd, StartError> {
    let step = || "open the container's /dev/null";
    let dev = inroot::open_without_links(root, Path::new("dev"), ROOT).step(step)?;
    protect::open_null(&dev)
}

impl Starting {
    /// The keeper's end, non-blocking, and the process's.
    pub(super) fn channel() -> Result<(OwnedFd, OwnedFd), StartError> {
        let (report, child) = packet::pair().step(|| "start")?;
        rustix::io::ioctl_fionbio(&report, true).step(|| "start")?;
        Ok((report, child))
    }
}
