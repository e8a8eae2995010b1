//! What the cloned process does to become a container. One thread, a private copy of the keeper's memory, new
//! namespaces; every failure is reported as a [`StartError`] with its step.
//!
//! The order is forced. Each step takes away something that the steps before it needed:
//!
//! 1. *Closed.* Not dumpable, to die with the keeper (until the program is about to run), a session of its own, the
//!    score for the OOM killer. Nobody in a namespace that is joined later can look into this copy of the keeper. Then
//!    the control group, and the AppArmor label, which is written while `/proc` is still the host's.
//! 2. *Alone.* All descriptors but the few that are needed are closed, before any namespace of somebody else is joined.
//! 3. *Namespaces.* Mount, uts, ipc and pid came with the clone. The network is joined; `sysfs` shows the network of
//!    whoever mounts it, so this is before the mounts. The cgroup namespace is made now, since its root is the control
//!    group that the process is in.
//! 4. *Sources.* What is mounted from the host is opened, as detached trees, while the host's root is still there.
//! 5. *The root.* The overlay becomes `/`, the host's tree is unmounted. No path names anything of the host any more.
//! 6. *Into the root.* `/proc`, `/dev`, `/sys`, the sources, devices. Targets are found by descriptor, within the root:
//!    the image may have put links anywhere. Our own `proc` and `/dev/null` stay open, also when a mount of the user's
//!    covers them: what is written or masked later goes through these.
//! 7. *Closed again.* The working directory is made while the root can be written; then masked and read-only paths,
//!    then the read-only root, since the other way round nothing could be put over them.
//! 8. *The program* ([`process`](super::process)): limits, terminal, report, and at the end privileges, since each step
//!    above needs some.
//!
//! Until the report nothing has been promised: a failure at any step ends the process, with it the mount namespace and
//! all that was made in it, and the keeper removes the control group. So nothing here is undone by hand.
//!
//! This is a copy of the keeper, which has one thread: no lock is held by somebody who is not here. It logs nothing;
//! what it has to say goes through the report.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{
    MountAttrFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags, mount_change, move_mount, unmount,
};
use rustix::process::{DumpableBehavior, Signal, fchdir, pivot_root};

use crate::runtime::StartError;
use crate::runtime::capability::Capabilities;
use crate::runtime::cgroup::{ControlGroup, Hierarchies};
use crate::runtime::devices::{self, Node};
use crate::runtime::error::Step;
use crate::runtime::filesystem::{add_attributes, attach, clone_tree, create, overlay};
use crate::runtime::inroot;
use crate::runtime::match_user::Owners;
use crate::runtime::mounts::{self, Targets, mount_below, real_directory};
use crate::runtime::process::{Program, ROOT, Streams, fail};
use crate::runtime::report::ChildReport;
use crate::runtime::spec::{ContainerSpec, Namespace, Security};
use crate::runtime::streams::Pipes;
use crate::runtime::{protect, sysctl, terminal};
use crate::sys::fault;
use crate::sys::mount::RDONLY;
use crate::sys::process::close_all_but;
use crate::sys::seccomp::Instruction;

/// What the parent has prepared.
#[derive(Debug)]
pub(super) struct ChildSetup<'a> {
    pub spec: &'a ContainerSpec,
    pub cgroup: &'a ControlGroup,
    pub nodes: &'a [Node],
    pub capabilities: Capabilities,
    pub filter: Option<&'a [Instruction]>,
    pub open_files: rustix::process::Rlimit,
    /// Namespaces to enter: a namespace, or a pidfd whose namespace of that kind is meant.
    pub join: Vec<(OwnedFd, CloneFlags)>,
    /// stdin, stdout, stderr; `None` with a terminal.
    pub streams: Option<Pipes>,
    /// Mounted onto `/dev/shm` instead of a new one: that of the joined ipc namespace.
    pub shm: Option<OwnedFd>,
}

impl ChildSetup<'_> {
    /// Becomes the container's program. Returns the exit code after a failure, which is reported.
    pub(super) fn run(self, report: OwnedFd) -> i32 {
        match self.set_up(report.as_fd()) {
            Err(error) => fail(&error, report.as_fd()),
            Ok((program, root, streams)) => program.run(root.as_fd(), streams, report),
        }
    }

    fn set_up(&self, report: BorrowedFd<'_>) -> Result<(Program<'_>, OwnedFd, Streams), StartError> {
        let spec = self.spec;
        harden(spec.process.oom_score_adj.unwrap_or(0), report)?;
        self.cgroup.join(false).step(|| "join the control group")?;
        label(&spec.security)?;
        self.close_others(report.as_raw_fd()).step(|| "close descriptors")?;
        for (namespace, kind) in &self.join {
            setns(namespace, *kind).step(|| "join a namespace")?;
        }
        if spec.namespaces.cgroup == Namespace::Private {
            // Only now: its root is the control group that the process is in.
            unshare(CloneFlags::CLONE_NEWCGROUP).step(|| "make a cgroup namespace")?;
        }
        rustix::process::umask(Mode::empty());
        let hierarchies = self.cgroup.joined();
        let sources = mounts::prepare(spec)?;
        let host_shm = if spec.namespaces.ipc == Namespace::Host {
            // Named semaphores and shared memory go with the namespace.
            clone_tree(CWD, Path::new("/dev/shm"), false).ok()
        } else {
            None
        };
        let root = enter_root(spec)?;
        let dev = self.mount_defaults(root.as_fd(), &hierarchies, host_shm.as_ref().or(self.shm.as_ref()))?;
        let owners = Owners { spec, proc: dev.proc.as_fd(), report };
        mounts::attach_all(root.as_fd(), sources, Some(&owners))?;
        devices::make_all(root.as_fd(), self.nodes)?;
        let streams = self.streams(root.as_fd(), &dev)?;
        if spec.namespaces.uts == Namespace::Private {
            rustix::system::sethostname(spec.hostname.as_bytes()).step(|| "set the host name")?;
            if let Some(domain) = &spec.domainname {
                rustix::system::setdomainname(domain.as_bytes()).step(|| "set the domain name")?;
            }
        }
        sysctl::apply(spec, dev.proc.as_fd())?;
        // Before the root may become read-only.
        inroot::ensure(root.as_fd(), &spec.process.cwd, inroot::Kind::Directory)
            .step(|| format!("working directory {}", spec.process.cwd.display()))?;
        if spec.security.mask_paths && !spec.security.privileged {
            protect::apply(root.as_fd(), dev.null.as_fd())?;
        }
        if spec.rootfs.read_only {
            add_attributes(&root, RDONLY).step(|| "make the root read-only")?;
        }
        let process = &spec.process;
        let program = Program {
            id: &spec.id,
            args: &process.args,
            env: process.env.clone(),
            hostname: &spec.hostname,
            cwd: &process.cwd,
            user: &process.user,
            groups: &process.groups,
            rlimits: &process.rlimits,
            capabilities: self.capabilities,
            no_new_privileges: spec.security.no_new_privileges,
            filter: self.filter,
            open_files: self.open_files,
            init: spec.init,
        };
        Ok((program, root, streams))
    }

    /// Closes what the keeper had open for others.
    fn close_others(&self, report: RawFd) -> std::io::Result<()> {
        let mut keep = vec![0, 1, 2, report];
        keep.extend(self.join.iter().map(|(fd, _)| fd.as_raw_fd()));
        keep.extend(self.streams.iter().flatten().flatten().map(AsRawFd::as_raw_fd));
        keep.extend(self.shm.iter().map(AsRawFd::as_raw_fd));
        close_all_but(&keep)
    }

    fn streams(&self, root: BorrowedFd<'_>, dev: &Defaults) -> Result<Streams, StartError> {
        match &self.streams {
            Some(pipes) => Streams::piped(pipes, || protect::open_null(&dev.dev)),
            None => {
                let terminal = terminal::open(root, self.spec.process.size)?;
                terminal::bind_console(root, &terminal)?;
                Ok(Streams::Terminal(terminal))
            }
        }
    }

    /// The file systems that every container has.
    fn mount_defaults(
        &self,
        root: BorrowedFd<'_>,
        hierarchies: &Hierarchies,
        shm: Option<&OwnedFd>,
    ) -> Result<Defaults, StartError> {
        let spec = self.spec;
        let targets = Targets::of(spec);
        let (nosuid, nodev, noexec) =
            (MountAttrFlags::MOUNT_ATTR_NOSUID, MountAttrFlags::MOUNT_ATTR_NODEV, MountAttrFlags::MOUNT_ATTR_NOEXEC);
        let closed = nosuid | nodev | noexec;

        // Also when the user has mounted another one over it: what we write goes through ours.
        let proc = create("mount /proc", "proc", &[], closed)?;
        let place = real_directory(root, "proc")?;
        if !targets.replace("/proc") {
            attach(&proc, &place).step(|| "mount /proc")?;
        }

        let dev_options = [("mode", Some("755")), ("size", Some("65536k"))];
        let attributes = nosuid | MountAttrFlags::MOUNT_ATTR_STRICTATIME;
        let dev = create("mount /dev", "tmpfs", &dev_options, attributes)?;
        devices::populate(dev.as_fd(), spec.process.tty)?;
        let null = protect::null_of(dev.as_fd())?;
        let place = real_directory(root, "dev")?;
        // Also when the user's mount will cover it: paths are masked with its null device.
        attach(&dev, &place).step(|| "mount /dev")?;
        if !targets.replace("/dev") {
            let pts_options =
                [("newinstance", None), ("ptmxmode", Some("0666")), ("mode", Some("0620")), ("gid", Some("5"))];
            if !targets.replace("/dev/pts") {
                mount_below(dev.as_fd(), "pts", "mount /dev/pts", "devpts", &pts_options, nosuid | noexec)?;
            }
            if !targets.replace("/dev/mqueue") {
                mount_below(dev.as_fd(), "mqueue", "mount /dev/mqueue", "mqueue", &[], closed)?;
            }
            if !targets.replace("/dev/shm") {
                let size = spec.shm_size.to_string();
                match shm {
                    Some(shm) => {
                        let place = openat(&dev, "shm", ROOT, Mode::empty()).step(|| "mount /dev/shm")?;
                        attach(shm, &place).step(|| "mount /dev/shm")?;
                    }
                    None => {
                        let options = [("source", Some("shm")), ("mode", Some("1777")), ("size", Some(size.as_str()))];
                        mount_below(dev.as_fd(), "shm", "mount /dev/shm", "tmpfs", &options, closed)?;
                    }
                }
            }
        }

        if !targets.replace("/sys") {
            let read_only =
                if spec.security.privileged { MountAttrFlags::empty() } else { MountAttrFlags::MOUNT_ATTR_RDONLY };
            let place = real_directory(root, "sys")?;
            let sys = create("mount /sys", "sysfs", &[], closed | read_only)?;
            attach(&sys, &place).step(|| "mount /sys")?;
            if !targets.replace("/sys/fs/cgroup") {
                hierarchies.mount(sys.as_fd(), closed | read_only)?;
            }
        }
        Ok(Defaults { proc, dev, null })
    }
}

struct Defaults {
    proc: OwnedFd,
    /// Ours, also when the user has mounted another one over it.
    dev: OwnedFd,
    null: OwnedFd,
}

/// What every cloned process does first.
pub(super) fn harden(oom_score_adj: i32, report: BorrowedFd<'_>) -> Result<(), StartError> {
    // Until the program runs, this is a copy of the keeper: nobody in the container may look into it.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).step(|| "protect the process")?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).step(|| "protect the process")?;
    rustix::process::setsid().step(|| "start a session")?;
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", oom_score_adj.to_string()) {
        let warning = format!("oom_score_adj is not set to {oom_score_adj}: {error}");
        ChildReport::Warning(warning).send(report).step(|| "report")?;
    }
    Ok(())
}

/// Makes the overlay the root of this mount namespace, in which nothing else of the host remains.
fn enter_root(spec: &ContainerSpec) -> Result<OwnedFd, StartError> {
    let rootfs = &spec.rootfs;
    let step = || "mount the root file system";
    let new = overlay(step(), &rootfs.lower, Some((&rootfs.upper, &rootfs.work)))?;
    // After the sources were opened: a shared bind mount stays the peer of the host's.
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).step(|| "detach the mount namespace")?;
    let old = openat(CWD, "/", ROOT, Mode::empty()).step(step)?;
    // Any folder will do for the moment until the pivot; this one is known to exist.
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    fault::around("mount the root", || move_mount(&new, c"", CWD, rootfs.upper.as_path(), flags)).step(step)?;
    fchdir(&new).step(step)?;
    fault::around("change the root", || pivot_root(".", ".")).step(|| "change the root")?;
    // The old root now lies on top of the new one.
    fchdir(&old).step(|| "leave the old root")?;
    unmount(".", UnmountFlags::DETACH).step(|| "leave the old root")?;
    drop(old);
    rustix::process::chdir("/").step(|| "enter the new root")?;
    openat(CWD, "/", ROOT, Mode::empty()).step(|| "enter the new root")
}

/// The AppArmor profile of the program to be executed. Written while `/proc` is still the host's.
pub(super) fn label(security: &Security) -> Result<(), StartError> {
    let Some(profile) = security.apparmor.as_deref().filter(|profile| !profile.is_empty()) else { return Ok(()) };
    match openat(CWD, "/proc/thread-self/attr/apparmor/exec", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => {
            rustix::io::write(&file, format!("exec {profile}").as_bytes())
                .step(|| format!("apply the AppArmor profile {profile}"))?;
            Ok(())
        }
        // A machine without AppArmor.
        Err(_) => Ok(()),
    }
}
