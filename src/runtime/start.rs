//! Starting a container: what the keeper does, and the handle to what it has begun.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use nix::sched::CloneFlags;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::runtime::StartError;
use crate::runtime::capability::Capabilities;
use crate::runtime::cgroup::{ControlGroup, Layout};
use crate::runtime::child::ChildSetup;
use crate::runtime::error::Step;
use crate::runtime::intermediate::Helper;
use crate::runtime::report::Reported;
use crate::runtime::spec::{ContainerSpec, Namespace, NetworkNamespace};
use crate::runtime::streams::Pipes;
use crate::runtime::{devices, seccomp, sysctl};
use crate::sys::clone;

/// What is the same for all containers of a keeper.
#[derive(Debug)]
pub struct Runtime {
    pub(super) layout: Layout,
    /// What this process may give.
    pub(super) held: Capabilities,
    pub(super) filters: seccomp::Cache,
    /// How many files a container's process may open when nothing is said: as many as this one could at first.
    pub(super) open_files: Rlimit,
}

/// Descriptors that a new container gets.
#[derive(Debug)]
pub struct Descriptors {
    /// For [`NetworkNamespace::Passed`].
    pub network: Option<OwnedFd>,
    /// stdin, stdout and stderr; `None` with a terminal.
    pub streams: Option<Pipes>,
}

/// A process that is being set up.
#[derive(Debug)]
pub struct Starting {
    /// The process itself, or (`exec`, joined pid namespace) the helper that clones it.
    pub pid: i32,
    pub pidfd: OwnedFd,
    socket: OwnedFd,
    terminal: Option<OwnedFd>,
    warnings: Vec<String>,
    ready: bool,
}

/// A process that runs the container's program.
#[derive(Debug)]
pub struct Started {
    pub pid: i32,
    pub pidfd: OwnedFd,
    /// The terminal's master.
    pub terminal: Option<OwnedFd>,
    /// What was asked for and is not there, in words.
    pub warnings: Vec<String>,
}

/// How far a start has come.
#[derive(Debug)]
pub enum StartPoll {
    /// Call again when [`Starting::socket`] is readable.
    Pending(Starting),
    Started(Started),
    /// The process has been killed, but not reaped.
    Failed {
        error: StartError,
        pid: i32,
    },
}

impl Runtime {
    /// Looks at the machine, and allows this process as many open files as it may have: four for each container, and
    /// ten while one starts.
    ///
    /// # Errors
    /// When `/proc` or this process's capabilities cannot be read.
    pub fn new() -> io::Result<Self> {
        let open_files = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: open_files.maximum, maximum: open_files.maximum });
        let (layout, held) = (Layout::detect()?, Capabilities::held()?);
        Ok(Self { layout, held, filters: seccomp::Cache::default(), open_files })
    }

    /// The control group of a container.
    #[must_use]
    pub fn cgroup(&self, path: &str) -> ControlGroup {
        ControlGroup::new(&self.layout, path)
    }

    /// Begins to start a container. The calling process must have one thread. `peer` gives the pidfd of a running
    /// container, for namespaces that are shared.
    ///
    /// # Errors
    /// When the specification cannot be met; nothing is left behind then. After `Ok` the control group exists, and
    /// the caller removes it when the process has ended.
    pub fn start(
        &mut self,
        spec: &ContainerSpec,
        descriptors: Descriptors,
        peer: impl Fn(&str) -> Option<OwnedFd>,
    ) -> Result<Starting, StartError> {
        if descriptors.streams.is_some() == spec.process.tty {
            return Err(StartError::new("start", "a container has either a terminal or three streams"));
        }
        sysctl::check(spec)?;
        let capabilities = Capabilities::of_container(&spec.security, self.held)?;
        let filter = self.filters.filter_of(&spec.security, capabilities)?;
        let nodes = devices::find(spec)?;
        let rules = devices::rules(spec, &nodes)?;
        let joined = Joined::of(spec, descriptors.network, peer)?;
        let cgroup = self.cgroup(&spec.cgroup.path);
        let (report, child_report) = Starting::channel()?;
        let begun = (|| {
            prepare_folders(spec)?;
            let warnings = cgroup.create(&spec.cgroup.limits, rules.as_deref())?;
            let plan = ChildSetup {
                spec,
                cgroup: &cgroup,
                nodes: &nodes,
                capabilities,
                filter: filter.as_deref(),
                open_files: self.open_files,
                join: joined.namespaces,
                streams: descriptors.streams,
                shm: None,
            };
            let unified = cgroup.open_unified();
            let unified = unified.as_ref().map(AsFd::as_fd);
            let cloned = if joined.pid.is_some() || joined.ipc.is_some() {
                let helper = Helper { plan, pid: joined.pid, ipc: joined.ipc, new: joined.new };
                clone::clone3(0, unified, move || helper.run(child_report))
            } else {
                clone::clone3(joined.new, unified, move || plan.run(child_report))
            };
            let cloned = cloned.step(|| "clone the container's process")?;
            Ok((cloned, warnings))
        })();
        match begun {
            Ok((cloned, warnings)) => Ok(Starting::new(cloned, report, warnings)),
            Err(error) => {
                let _ = cgroup.remove();
                Err(error)
            }
        }
    }
}

/// The private folders of the root file system. The upper one is what `/` looks like.
fn prepare_folders(spec: &ContainerSpec) -> Result<(), StartError> {
    use std::os::unix::fs::PermissionsExt;
    for folder in [&spec.rootfs.upper, &spec.rootfs.work] {
        if !folder.is_dir() {
            let step = || format!("make {}", folder.display());
            std::fs::create_dir_all(folder).step(step)?;
            // Whatever the umask is.
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).step(step)?;
        }
    }
    Ok(())
}

struct Joined {
    namespaces: Vec<(OwnedFd, CloneFlags)>,
    /// Flags of the namespaces to make.
    new: u64,
    /// The container whose pid namespace is joined: a process enters one only by being born there.
    pid: Option<OwnedFd>,
    /// The container whose ipc namespace, and with it `/dev/shm`, is joined.
    ipc: Option<OwnedFd>,
}

impl Joined {
    fn of(
        spec: &ContainerSpec,
        network: Option<OwnedFd>,
        peer: impl Fn(&str) -> Option<OwnedFd>,
    ) -> Result<Self, StartError> {
        let mut joined = Self { namespaces: Vec::new(), new: clone::NEW_MOUNT, pid: None, ipc: None };
        let running = |id: &str| {
            peer(id).ok_or_else(|| {
                StartError::new(
                    "join a namespace",
                    format!("the container {} does not run", id.get(..12).unwrap_or(id)),
                )
            })
        };
        match &spec.namespaces.network {
            NetworkNamespace::Passed => {
                let network = network.ok_or_else(|| StartError::new("join the network", "no network was passed"))?;
                joined.namespaces.push((network, CloneFlags::CLONE_NEWNET));
            }
            NetworkNamespace::Host => {}
            NetworkNamespace::Container(id) => joined.namespaces.push((running(id)?, CloneFlags::CLONE_NEWNET)),
        }
        match &spec.namespaces.uts {
            Namespace::Private => joined.new |= clone::NEW_UTS,
            Namespace::Host => {}
            Namespace::Container(id) => joined.namespaces.push((running(id)?, CloneFlags::CLONE_NEWUTS)),
        }
        match &spec.namespaces.ipc {
            Namespace::Private => joined.new |= clone::NEW_IPC,
            Namespace::Host => {}
            Namespace::Container(id) => {
                joined.namespaces.push((running(id)?, CloneFlags::CLONE_NEWIPC));
                joined.ipc = Some(running(id)?);
            }
        }
        match &spec.namespaces.pid {
            Namespace::Private => joined.new |= clone::NEW_PID,
            Namespace::Host => {}
            Namespace::Container(id) => joined.pid = Some(running(id)?),
        }
        Ok(joined)
    }
}

impl Starting {
    pub(super) fn new(cloned: clone::Cloned, socket: OwnedFd, warnings: Vec<String>) -> Self {
        Self { pid: cloned.pid, pidfd: cloned.pidfd, socket, terminal: None, warnings, ready: false }
    }

    /// Readable when there is progress to be made.
    #[must_use]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes what the process has reported.
    #[must_use]
    pub fn advance(mut self) -> StartPoll {
        match self.take_reports() {
            Ok(true) => StartPoll::Started(Started {
                pid: self.pid,
                pidfd: self.pidfd,
                terminal: self.terminal,
                warnings: self.warnings,
            }),
            Ok(false) => StartPoll::Pending(self),
            Err(error) => {
                // It ends by itself, unless it is stuck.
                let _ = rustix::process::pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
                StartPoll::Failed { error, pid: self.pid }
            }
        }
    }

    /// Whether the program runs.
    fn take_reports(&mut self) -> Result<bool, StartError> {
        loop {
            match Reported::recv(self.socket.as_fd()) {
                Ok(Some(Reported::Warning(warning))) => self.warnings.push(warning),
                Ok(Some(Reported::Cloned { pid, pidfd })) => (self.pid, self.pidfd) = (pid, pidfd),
                Ok(Some(Reported::Ready { terminal })) => {
                    self.terminal = terminal;
                    self.ready = true;
                }
                Ok(Some(Reported::Failed(error))) => return Err(error),
                // The socket was closed by the exec.
                Ok(None) if self.ready => return Ok(true),
                Ok(None) => {
                    return Err(StartError::new(
                        "start",
                        "the process was killed while it was being set up (for lack of memory, perhaps)",
                    ));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(StartError::io("start", &error)),
            }
        }
    }
}

/// A filter that several containers use.
pub(super) type Filter = Rc<[crate::sys::seccomp::Instruction]>;
