//! A project with a home of its own, containers of busybox, and the check that nothing is left.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use windlass::keeper;
use windlass::message::rpc::Client;
use windlass::network::spec::{EndpointSpec, NetworkSpec};
use windlass::record::logs::reader::{Reader, Span};
use windlass::record::*;
use windlass::runtime::spec::*;
use windlass::state::{Lock, Paths, ProjectPaths};

use crate::engine::Call;

/// Long enough for a loaded machine; nothing waits this long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct TestProject {
    pub home: tempfile::TempDir,
    pub paths: Paths,
    pub project: ProjectPaths,
    pub name: String,
    keeper: i32,
}

impl TestProject {
    pub fn new() -> Self {
        let home = tempfile::Builder::new().prefix("wl-sup-").tempdir().unwrap();
        let paths = Paths::from_home(Some(home.path()));
        let name = "shop".to_owned();
        let project = paths.project(&name);
        make_root(&home.path().join("root"));
        let mut made = Self { home, paths, project, name, keeper: 0 };
        made.spawn();
        made
    }

    pub fn spawn(&mut self) {
        let lock = Lock::acquire(&self.paths.project(&self.name).lock()).unwrap();
        keeper::spawn(&self.paths, &self.name, &lock, None).unwrap();
        self.keeper = keeper::find(&self.project).unwrap().unwrap().pid;
    }

    pub fn keeper_pid(&self) -> i32 {
        keeper::find(&self.project).unwrap().unwrap().pid
    }

    pub fn call(&self, call: Call) -> Result<Value, String> {
        let mut client = Client::connect(&self.project).map_err(|error| error.to_string())?;
        client.send(&call).map_err(|error| error.to_string())?;
        let (answer, _): (Value, _) =
            client.recv().map_err(|error| error.to_string())?.ok_or_else(|| "the supervisor has gone".to_owned())?;
        match answer.get("error") {
            Some(error) => Err(error.as_str().unwrap_or_default().to_owned()),
            None => Ok(answer["ok"].clone()),
        }
    }

    pub fn ok(&self, call: Call) -> Value {
        let what = format!("{call:?}");
        self.call(call).unwrap_or_else(|error| panic!("{}: {error}\n{}", &what[..what.len().min(200)], self.messages()))
    }

    pub fn messages(&self) -> String {
        fs::read_to_string(self.project.log()).unwrap_or_default()
    }

    pub fn record(&self, service: &str, script: &str) -> ContainerRecord {
        let id = windlass::record::new_container_id();
        let paths = self.project.container(&id);
        let root = self.home.path().join("root");
        let plain = windlass::runtime::sample::spec(&["/bin/sh", "-c", script]);
        let spec = ContainerSpec {
            id: id.clone(),
            hostname: id[..12].to_owned(),
            rootfs: Rootfs { lower: vec![root], upper: paths.upper(), work: paths.work(), read_only: false },
            etc: EtcFiles {
                hosts: Some(paths.etc("hosts")),
                hostname: Some(paths.etc("hostname")),
                resolv_conf: Some(paths.etc("resolv.conf")),
            },
            cgroup: Cgroup { path: format!("windlass/{}/{id}", self.project.id()), limits: Limits::default() },
            ..plain
        };
        ContainerRecord {
            name: format!("{}-{service}-1", self.name),
            number: 1,
            created: jiff::Timestamp::now(),
            command: script.to_owned(),
            id,
            ..sample::record(&self.name, service, spec)
        }
    }

    pub fn network(&self) -> NetworkSpec {
        NetworkSpec::plain(format!("{}_default", self.name), "default")
    }

    pub fn endpoint(&self, alias: &str) -> EndpointSpec {
        EndpointSpec { aliases: vec![alias.to_owned()], ..EndpointSpec::plain(format!("{}_default", self.name)) }
    }

    /// Creates and starts.
    pub fn run(&self, record: &ContainerRecord) -> String {
        self.ok(Call::Create(Box::new(record.clone())));
        self.ok(Call::Start(vec![record.id.clone()]));
        record.id.clone()
    }

    pub fn state(&self, id: &str) -> ContainerState {
        windlass::state::record::read(&self.project.container(id).state()).unwrap().unwrap()
    }

    pub fn log(&self, id: &str) -> String {
        let mut reader = Reader::open(&self.project.container(id).log(), Span::default()).unwrap();
        let mut text = String::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            text.push_str(&entry.log);
        }
        text
    }

    /// The supervisor's process.
    pub fn supervisor_pid(&self) -> i32 {
        let keeper = self.keeper_pid();
        let children = fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).unwrap_or_default();
        children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .find(|pid: &i32| {
                fs::read(format!("/proc/{pid}/cmdline"))
                    .is_ok_and(|line| line.starts_with(keeper::SUPERVISOR_ROLE.as_bytes()))
            })
            .unwrap_or(0)
    }

    /// Removes everything and looks whether something is left.
    pub fn finish(self, ids: &[&str]) {
        let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        let pids: Vec<i32> = ids
            .iter()
            .filter_map(|id| {
                windlass::state::record::read::<ContainerState>(&self.project.container(id).state()).ok()?
            })
            .filter_map(|state| match state.status {
                Status::Running { pid, .. } => Some(pid),
                _ => None,
            })
            .collect();
        let (keeper, supervisor) = (self.keeper_pid(), self.supervisor_pid());
        self.ok(Call::Remove(ids, true));
        let networks = vec![format!("{}_default", self.name)];
        self.ok(Call::RemoveNetworks(networks));
        let mut client = Client::connect(&self.project).unwrap();
        client.send(&Call::Settle).unwrap();
        client.recv::<Value>().unwrap();
        assert!(client.wait_for_end(PATIENCE).unwrap(), "the connection stays open");
        for pid in pids.into_iter().chain([keeper, supervisor]) {
            eventually(&format!("process {pid} ends"), || !alive(pid));
        }
        assert!(!self.project.run().exists(), "{:?} is left", self.project.run());
        assert!(!self.project.data().exists(), "{:?} is left", self.project.data());
        let id = self.project.id().to_owned();
        eventually("the links go", || !links().contains(&format!("wl{id}")));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.home.path().to_str().unwrap()), "a mount is left");
        eventually("the control groups go", || cgroups(&id).is_empty());
        let leases: Vec<PathBuf> = files(&self.paths.networks());
        assert!(leases.iter().all(|path| path.ends_with("lock")), "{leases:?} are left");
    }
}

impl Drop for TestProject {
    /// After a failed test: what still runs is killed.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.messages());
        }
        let mut keepers = vec![self.keeper];
        keepers.extend(keeper::find(&self.project).ok().flatten().map(|keeper| keeper.pid));
        for container in fs::read_dir(self.project.containers()).into_iter().flatten().flatten() {
            let id = container.file_name().into_string().unwrap();
            if let Ok(layout) = windlass::runtime::cgroup::Layout::detect() {
                let path = format!("windlass/{}/{id}", self.project.id());
                let group = windlass::runtime::cgroup::ControlGroup::new(&layout, &path);
                for pid in keepers.drain(..) {
                    kill_role(pid);
                }
                let _ = group.kill();
                for _ in 0..100 {
                    if matches!(group.remove(), Ok(true)) {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        }
        for pid in keepers {
            kill_role(pid);
        }
        let _ = windlass::network::Networks::new(&self.paths, &self.project).remove_all();
    }
}

/// Kills a keeper of ours with its supervisor, and nothing else.
fn kill_role(pid: i32) {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if pid > 1 && line.starts_with(keeper::ROLE.as_bytes()) {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        kill(pid);
        for child in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            let line = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            if line.starts_with(keeper::SUPERVISOR_ROLE.as_bytes()) {
                kill(child);
            }
        }
    }
}

/// Neither gone nor waiting to be reaped by whoever is init here.
pub fn alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

pub fn kill(pid: i32) {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
}

pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn links() -> String {
    fs::read_dir("/sys/class/net").unwrap().map(|link| link.unwrap().file_name().into_string().unwrap() + " ").collect()
}

fn cgroups(id: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts
        .lines()
        .filter(|line| line.contains(" - cgroup"))
        .filter_map(|line| line.split(' ').nth(4))
        .map(|mount| Path::new(mount).join("windlass").join(id))
        .filter(|path| path.exists())
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn make_root(root: &Path) {
    for folder in ["bin", "etc", "tmp", "proc", "sys", "dev", "data"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for name in [
        "sh", "sleep", "cat", "echo", "true", "false", "nc", "wget", "nslookup", "touch", "test", "id", "seq", "kill",
        "httpd", "hostname", "ls", "rm", "mkdir",
    ] {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\n").unwrap();
}
