//! A keeper without a supervisor, and containers whose root is busybox.

use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use windlass::keeper::descriptors::StartBrings;
use windlass::keeper::protocol::{KeeperEvent, KeeperRequest, StartError, recv, send};
use windlass::runtime::spec::*;

/// Long enough for a loaded machine; nothing waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Direct {
    pub child: Child,
    pub socket: OwnedFd,
    pub folder: tempfile::TempDir,
    tag: String,
    seq: u64,
    next: u32,
}

/// A container that has started.
pub struct Running {
    pub id: String,
    pub pid: i32,
    pub pidfd: OwnedFd,
    pub fds: Vec<OwnedFd>,
    pub warnings: Vec<String>,
    pub spec: ContainerSpec,
}

/// How one ended, with what it wrote.
#[derive(Debug)]
pub struct Outcome {
    pub status: ExitStatus,
    pub oom_killed: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Direct {
    pub fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "these tests start real containers: run them as root");
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let (ours, theirs) = windlass::sys::packet::pair().unwrap();
        let raw = theirs.as_raw_fd();
        let mut command = Command::new(binary());
        command.arg0("windlass-keeper").arg("direct").stdin(Stdio::null());
        #[allow(unsafe_code, reason = "puts the socket where the role expects it")]
        // SAFETY: async-signal-safe calls only, on a descriptor that stays open in the parent.
        unsafe {
            command.pre_exec(move || {
                let flags = nix::libc::dup2(raw, 3);
                if flags < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
            });
        }
        let child = command.spawn().unwrap();
        let tag = format!("wltest{}x{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::Builder::new().prefix("wl-runtime-").tempdir().unwrap();
        let mut keeper = Self { child, socket: ours, folder, tag, seq: 0, next: 0 };
        keeper.make_root();
        assert!(matches!(keeper.event().0, KeeperEvent::Ready));
        keeper
    }

    /// One shared lower layer with busybox and a few files.
    fn make_root(&self) {
        let root = self.lower();
        for folder in ["bin", "etc", "tmp", "proc", "sys", "dev", "data", "home/web"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::set_permissions(root.join("tmp"), Permissions::from_mode(0o1777)).unwrap();
        fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is needed at /bin/busybox");
        let applets = Command::new("/bin/busybox").arg("--list").output().unwrap().stdout;
        for applet in String::from_utf8(applets).unwrap().lines() {
            let _ = symlink("busybox", root.join("bin").join(applet));
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:1000:1001::/home/web:/bin/sh\n").unwrap();
        fs::write(root.join("etc/group"), "root:x:0:\nweb:x:1001:\nlog:x:4:web\n").unwrap();
    }

    pub fn lower(&self) -> PathBuf {
        self.folder.path().join("lower")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A container that runs a command, with everything as it is by default.
    pub fn spec(&mut self, args: &[&str]) -> ContainerSpec {
        self.next += 1;
        let id = format!("{:0>64}", format!("{}{}", self.tag.replace(|c: char| !c.is_ascii_hexdigit(), ""), self.next));
        let own = self.path(&format!("c{}", self.next));
        let plain = windlass::runtime::sample::spec(args);
        ContainerSpec {
            hostname: "box".into(),
            rootfs: Rootfs {
                lower: vec![self.lower()],
                upper: own.join("upper"),
                work: own.join("work"),
                read_only: false,
            },
            namespaces: Namespaces { network: NetworkNamespace::Host, ..plain.namespaces },
            cgroup: Cgroup { path: format!("windlass/{}/{}", self.tag, &id[52..]), limits: Limits::default() },
            id,
            ..plain
        }
    }

    /// The shell, with everything as it is by default.
    pub fn shell(&mut self, script: &str) -> ContainerSpec {
        self.spec(&["sh", "-c", script])
    }

    pub fn send(&mut self, request: &KeeperRequest, fds: &[&OwnedFd]) {
        let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
        send(&self.socket, request, &fds).unwrap();
    }

    /// The next event; fails when none comes.
    pub fn event(&mut self) -> (KeeperEvent, Vec<OwnedFd>) {
        wait_readable(&self.socket);
        recv(&self.socket).unwrap().expect("the keeper is gone")
    }

    pub fn run_folder(&self, spec: &ContainerSpec) -> PathBuf {
        self.path("run").join(&spec.id)
    }

    pub fn exit_record(&self, spec: &ContainerSpec) -> PathBuf {
        self.run_folder(spec).join("exit.json")
    }

    pub fn request_start(&mut self, spec: &ContainerSpec, network: Option<&OwnedFd>) -> u64 {
        self.seq += 1;
        let request = KeeperRequest::Start {
            seq: self.seq,
            brings: StartBrings { network: network.is_some(), piped: None },
            spec: Box::new(spec.clone()),
            pipes: self.run_folder(spec),
            exit_record: self.exit_record(spec),
        };
        let fds: Vec<_> = network.into_iter().collect();
        self.send(&request, &fds);
        self.seq
    }

    pub fn try_start(&mut self, spec: &ContainerSpec) -> Result<Running, StartError> {
        self.try_start_in(spec, None)
    }

    pub fn try_start_in(&mut self, spec: &ContainerSpec, network: Option<&OwnedFd>) -> Result<Running, StartError> {
        let expected = self.request_start(spec, network);
        match self.event() {
            (KeeperEvent::Started { seq, container, pid, warnings, .. }, mut fds) if seq == expected => {
                assert_eq!(container, spec.id);
                let pidfd = fds.remove(0);
                Ok(Running { id: container, pid, pidfd, fds, warnings, spec: spec.clone() })
            }
            (KeeperEvent::Failed { seq, error }, _) if seq == expected => {
                self.assert_clean(spec);
                Err(error)
            }
            (other, _) => panic!("unexpected {other:?}"),
        }
    }

    pub fn start(&mut self, spec: &ContainerSpec) -> Running {
        self.try_start(spec).unwrap_or_else(|error| panic!("{error}: {error:?}"))
    }

    /// Waits for the end of a container that runs, and takes what it wrote.
    pub fn finish(&mut self, running: Running) -> Outcome {
        let (event, _) = self.event();
        let KeeperEvent::Exited { container, status, oom_killed, .. } = event else { panic!("unexpected {event:?}") };
        assert_eq!(container, running.id);
        assert!(self.exit_record(&running.spec).exists(), "the exit is told before it is recorded");
        let (stdout, stderr) = match running.fds.len() {
            3 => (drain(&running.fds[1]), drain(&running.fds[2])),
            _ => (drain(&running.fds[0]), String::new()),
        };
        self.send(&KeeperRequest::Forget { container: running.id.clone() }, &[]);
        self.assert_clean(&running.spec);
        Outcome { status, oom_killed, stdout, stderr }
    }

    pub fn run(&mut self, spec: &ContainerSpec) -> Outcome {
        let running = self.start(spec);
        self.finish(running)
    }

    /// Runs a script and returns what it printed; it must succeed.
    pub fn output(&mut self, spec: &ContainerSpec) -> String {
        let outcome = self.run(spec);
        assert_eq!(outcome.status, ExitStatus::Code(0), "{outcome:?}");
        outcome.stdout
    }

    pub fn script(&mut self, script: &str) -> String {
        let spec = self.shell(script);
        self.output(&spec)
    }

    pub fn failure(&mut self, spec: &ContainerSpec) -> StartError {
        match self.try_start(spec) {
            Ok(_) => panic!("it started"),
            Err(error) => error,
        }
    }

    pub fn kill(&mut self, running: Running) -> Outcome {
        rustix::process::pidfd_send_signal(&running.pidfd, rustix::process::Signal::KILL).unwrap();
        self.finish(running)
    }

    /// Begins an exec whose output goes to one pipe; its outcome.
    pub fn exec(&mut self, container: &str, spec: ExecSpec) -> Result<Outcome, StartError> {
        self.seq += 1;
        let tty = spec.tty;
        let request = KeeperRequest::Exec {
            seq: self.seq,
            exec: format!("e{}", self.seq),
            container: container.to_owned(),
            spec: Box::new(spec),
            piped: [false, !tty, !tty],
        };
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        let streams = [&writer, &writer];
        self.send(&request, if tty { &[] } else { &streams });
        drop(writer);
        let master = match self.event() {
            (KeeperEvent::ExecStarted { .. }, mut fds) => {
                assert_eq!(fds.len(), if tty { 2 } else { 1 });
                fds.pop()
            }
            (KeeperEvent::Failed { error, .. }, _) => return Err(error),
            (other, _) => panic!("unexpected {other:?}"),
        };
        let (KeeperEvent::ExecExited { status, .. }, _) = self.event() else { panic!("no end of the exec") };
        let stdout = match master {
            Some(master) if tty => drain(&master),
            _ => drain(&reader),
        };
        Ok(Outcome { status, oom_killed: false, stdout, stderr: String::new() })
    }

    /// Nothing of a container is left in any hierarchy.
    pub fn assert_clean(&self, spec: &ContainerSpec) {
        until("the control groups are gone", || groups(&spec.cgroup.path).is_empty());
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        let (replacement, _) = windlass::sys::packet::pair().unwrap();
        drop(std::mem::replace(&mut self.socket, replacement));
        let _ = self.child.wait();
        if !std::thread::panicking() {
            assert!(groups(&format!("windlass/{}", self.tag)).is_empty(), "control groups are left");
        }
    }
}

/// The binary under test; `WINDLASS_BINARY` names another one, to measure a release.
pub fn binary() -> PathBuf {
    std::env::var_os("WINDLASS_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_windlass").into(), PathBuf::from)
}

/// The directories of a control group in all hierarchies.
pub fn groups(path: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts =
        mounts.lines().filter(|line| line.contains(" - cgroup")).map(|l| l.split(' ').nth(4).unwrap().to_owned());
    mounts.map(|mount| Path::new(&mount).join(path)).filter(|path| path.exists()).collect()
}

/// Waits for something to become true.
pub fn until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "never true: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub fn wait_readable(fd: impl AsFd) {
    let timeout = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)).unwrap();
    assert!(ready > 0, "nothing comes");
}

/// What is in a pipe (or terminal) now.
pub fn drain(fd: &OwnedFd) -> String {
    rustix::io::ioctl_fionbio(fd, true).unwrap();
    let mut bytes = Vec::new();
    let _ = File::from(fd.try_clone().unwrap()).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads from a pipe until a line with the text has come.
pub fn read_until(fd: &OwnedFd, text: &str) -> String {
    let mut all = String::new();
    while !all.contains(text) {
        wait_readable(fd);
        let mut buffer = [0; 4096];
        match rustix::io::read(fd, &mut buffer) {
            Ok(length) => all.push_str(&String::from_utf8_lossy(&buffer[..length])),
            Err(rustix::io::Errno::AGAIN) => {}
            Err(error) => panic!("{error} after `{all}`"),
        }
    }
    all
}

/// A new network namespace.
pub fn new_network() -> OwnedFd {
    std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        File::open("/proc/thread-self/ns/net").unwrap().into()
    })
    .join()
    .unwrap()
}
