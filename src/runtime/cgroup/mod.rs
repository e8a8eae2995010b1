//! The control group of a container, in every hierarchy that the machine has.

mod devices;
mod layout;
mod limits;
mod possible;
mod usage;
mod view;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, openat};

pub use layout::Layout;
pub use possible::impossible;
pub use usage::Usage;
pub(super) use view::Hierarchies;

use crate::runtime::StartError;
use crate::runtime::devices::Rule;
use crate::runtime::error::Step;
use crate::runtime::spec::Limits;
use crate::sys::fault;

/// v1 controllers that every container joins; the rest only when a limit needs them.
const ALWAYS: [&str; 5] = ["cpu", "cpuacct", "memory", "devices", "pids"];

/// The directories of one container. Any process may hold one and act on it: nothing is kept but paths.
#[derive(Debug, Clone)]
pub struct ControlGroup {
    layout: Layout,
    path: String,
}

impl ControlGroup {
    /// `path` is that of [`crate::runtime::spec::Cgroup`].
    #[must_use]
    pub fn new(layout: &Layout, path: &str) -> Self {
        Self { layout: layout.clone(), path: path.trim_matches('/').to_owned() }
    }

    /// Below each hierarchy's root.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    fn unified(&self) -> Option<PathBuf> {
        self.layout.unified.as_ref().map(|mount| mount.join(&self.path))
    }

    fn v1(&self, controller: &str) -> Option<PathBuf> {
        self.layout.v1_of(controller).map(|mount| mount.join(&self.path))
    }

    /// Every directory that may exist.
    fn directories(&self) -> impl Iterator<Item = (&Path, PathBuf)> {
        let mounts = self.layout.v1.iter().map(|h| h.mount.as_path()).chain(self.layout.unified.as_deref());
        mounts.map(|mount| (mount, mount.join(&self.path)))
    }

    /// Makes the directories and writes the limits; answers with what the kernel does not offer.
    pub(super) fn create(&self, limits: &Limits, rules: Option<&[Rule]>) -> Result<Vec<String>, StartError> {
        let mut warnings = Vec::new();
        let v1 = limits::v1(limits)?;
        let v2 = limits::v2(limits)?;
        let mut joined: BTreeSet<&Path> = BTreeSet::new();
        for hierarchy in &self.layout.v1 {
            let needed = hierarchy.controllers.iter().any(|c| {
                ALWAYS.contains(&c.as_str())
                    || v1.iter().any(|s| s.controller == c)
                    || (c == "freezer" && self.layout.unified.is_none())
            });
            if needed {
                joined.insert(&hierarchy.mount);
                self.make(&hierarchy.mount, hierarchy.controllers.iter().any(|c| c == "cpuset"))?;
            }
        }
        if let Some(unified) = &self.layout.unified {
            self.make(unified, false)?;
            self.enable_controllers(unified);
        }
        for setting in v1.iter().filter(|s| self.v1(s.controller).is_some()) {
            if let Some(folder) = self.v1(setting.controller) {
                apply(&folder, setting, &mut warnings)?;
            }
        }
        let unified_only = |controller: &str| self.layout.v1_of(controller).is_none();
        for setting in v2.iter().filter(|s| unified_only(if s.controller == "io" { "blkio" } else { s.controller })) {
            match self.unified().filter(|_| self.layout.unified_has(setting.controller)) {
                Some(folder) => apply(&folder, setting, &mut warnings)?,
                None => {
                    warnings.push(format!("no {} controller here: {} is not limited", setting.controller, setting.file))
                }
            }
        }
        if self.layout.v1.is_empty() {
            warnings.extend(limits::v2_lacks(limits).iter().map(|what| format!("{what}: not in cgroup v2, ignored")));
        }
        if let Some(rules) = rules {
            self.restrict_devices(rules, &mut warnings)?;
        }
        Ok(warnings)
    }

    /// Makes one directory. One that is left of an earlier run goes first, with what runs in it and with its limits;
    /// and since Linux 6.13 whatever is cloned into a group is killed that was ever killed before.
    fn make(&self, mount: &Path, cpuset: bool) -> Result<(), StartError> {
        let folder = mount.join(&self.path);
        let step = || format!("make the control group {}", folder.display());
        for _ in 0..16 {
            match fault::around("make a control group", || fs::create_dir(&folder)) {
                Ok(()) => {
                    open_to_all(&folder).step(step)?;
                    if cpuset {
                        fill_cpuset(mount, &self.path).step(step)?;
                    }
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match remove_tree(&folder) {
                    Err(error) if is_busy(&error) => {
                        self.kill().step(step)?;
                        self.wait_until_empty(Duration::from_secs(2));
                    }
                    removed => removed.step(step)?,
                },
                // Somebody may remove the empty parents at the same time: again.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if let Some(parent) = folder.parent() {
                        let _ = fs::create_dir_all(parent);
                        let made = parent.ancestors().take_while(|folder| *folder != mount);
                        made.for_each(|folder| drop(open_to_all(folder)));
                    }
                }
                Err(error) => return Err(error).step(step),
            }
        }
        Err(StartError::new(step(), "it could not be made although its parent exists"))
    }

    /// Hands the controllers down to the container's directory, as far as the machine lets us.
    fn enable_controllers(&self, mount: &Path) {
        const WANTED: [&str; 5] = ["cpu", "memory", "pids", "io", "cpuset"];
        let wanted: Vec<_> = WANTED.into_iter().filter(|c| self.layout.unified_has(c)).collect();
        let have = fs::read_to_string(mount.join(&self.path).join("cgroup.controllers")).unwrap_or_default();
        if wanted.iter().all(|c| have.split_whitespace().any(|h| h == *c)) {
            return;
        }
        let mut folder = mount.to_owned();
        let parents: Vec<_> = self.path.split('/').collect();
        for name in std::iter::once("").chain(parents[..parents.len() - 1].iter().copied()) {
            folder.push(name);
            for controller in &wanted {
                let _ = write(folder.join("cgroup.subtree_control"), format!("+{controller}"));
            }
        }
    }

    fn restrict_devices(&self, rules: &[Rule], warnings: &mut Vec<String>) -> Result<(), StartError> {
        let step = || "restrict devices";
        if let Some(folder) = self.v1("devices") {
            write(folder.join("devices.deny"), "a").step(step)?;
            for rule in rules {
                write(folder.join("devices.allow"), rule.text()).step(step)?;
            }
        } else if let Some(folder) = self.unified() {
            let folder = open(&folder).step(step)?;
            let program = devices::program(rules);
            crate::sys::devices_bpf::attach(rustix::fd::AsFd::as_fd(&folder), &program).step(step)?;
        } else {
            warnings.push("no device controller here: access to devices is not restricted".to_owned());
        }
        Ok(())
    }

    /// The unified directory, to be born in.
    pub(super) fn open_unified(&self) -> Option<OwnedFd> {
        self.unified().and_then(|folder| open(&folder).ok())
    }

    /// Moves the calling process, which has one thread, into the v1 directories that exist, and with `unified` into that
    /// one too. A thread that moves itself (`tasks`) does not wait for the threads of the whole machine, which takes the
    /// kernel about 10 ms (an RCU grace period, `cgroup_threadgroup_rwsem`) when a process is moved (`cgroup.procs`).
    pub(super) fn join(&self, unified: bool) -> io::Result<()> {
        let v1 = self.layout.v1.iter().map(|h| h.mount.join(&self.path).join("tasks"));
        let unified = self.unified().filter(|_| unified).map(|folder| folder.join("cgroup.procs"));
        for file in v1.chain(unified) {
            match write(file, "0") {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// The hierarchies in which the container has a directory.
    pub(super) fn joined(&self) -> Hierarchies {
        let v1 = self.layout.v1.iter().filter(|h| h.mount.join(&self.path).is_dir()).cloned().collect();
        Hierarchies { v1, unified: self.unified().is_some_and(|folder| folder.is_dir()) }
    }

    /// Names of the groups directly below, in every hierarchy.
    #[must_use]
    pub fn children(&self) -> BTreeSet<String> {
        let folders = self.directories().filter_map(|(_, folder)| fs::read_dir(folder).ok());
        let entries = folders.flat_map(|entries| entries.flatten());
        let groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        groups.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// Whether no process is in it or below it, in any hierarchy. What cannot be read counts as a process.
    #[must_use]
    pub fn is_deserted(&self) -> bool {
        self.directories().all(|(_, folder)| is_deserted(&folder))
    }

    /// Kills every process of the container at once.
    ///
    /// # Errors
    /// When a control file cannot be written.
    pub fn kill(&self) -> io::Result<()> {
        if let Some(folder) = self.unified() {
            match fault::around("kill a control group", || write(folder.join("cgroup.kill"), "1")) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => return other,
            }
        }
        // Before Linux 5.14: stop them, so that none forks away, and kill one by one.
        let frozen = self.freeze().is_ok();
        for _ in 0..100 {
            let pids = self.pids()?;
            if pids.is_empty() {
                break;
            }
            for pid in pids {
                if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
            if frozen {
                self.thaw()?;
                break;
            }
        }
        Ok(())
    }

    /// Stops every process of the container.
    ///
    /// # Errors
    /// When the machine has no freezer or the container no control group.
    pub fn freeze(&self) -> io::Result<()> {
        self.set_frozen(true)
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// When the machine has no freezer or the container no control group.
    pub fn thaw(&self) -> io::Result<()> {
        self.set_frozen(false)
    }

    fn set_frozen(&self, frozen: bool) -> io::Result<()> {
        if let Some(folder) = self.unified() {
            write(folder.join("cgroup.freeze"), if frozen { "1" } else { "0" })?;
            return wait_for(&folder.join("cgroup.events"), |text| {
                let line = if frozen { "frozen 1" } else { "frozen 0" };
                text.lines().any(|l| l == line)
            });
        }
        let folder = self.v1("freezer").ok_or(io::ErrorKind::Unsupported)?;
        let state = if frozen { "FROZEN" } else { "THAWED" };
        let file = folder.join("freezer.state");
        write(&file, state)?;
        wait_for(&file, |text| text.trim() == state)
    }

    /// The processes of the container, those of groups below included.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn pids(&self) -> io::Result<Vec<i32>> {
        let folder = self.unified().or_else(|| self.v1("pids")).or_else(|| self.v1("memory"));
        let mut pids = Vec::new();
        if let Some(folder) = folder {
            collect_pids(&folder, &mut pids)?;
        }
        Ok(pids)
    }

    /// How many processes the kernel has killed here for lack of memory.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        let (folder, file) = match self.v1("memory") {
            Some(folder) => (Some(folder), "memory.oom_control"),
            None => (self.unified(), "memory.events"),
        };
        let text = folder.and_then(|folder| fs::read_to_string(folder.join(file)).ok()).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }

    /// Removes the directories, and those above them that became empty. `false`: processes are still in them.
    ///
    /// # Errors
    /// When a directory cannot be removed for another reason.
    pub fn remove(&self) -> io::Result<bool> {
        let mut gone = true;
        for (mount, folder) in self.directories() {
            match remove_tree(&folder) {
                Ok(()) => {
                    let mut parent = folder.parent();
                    while let Some(folder) = parent.filter(|folder| *folder != mount && folder.starts_with(mount)) {
                        if fault::around("remove a parent group", || fs::remove_dir(folder)).is_err() {
                            break;
                        }
                        parent = folder.parent();
                    }
                }
                Err(error) if is_busy(&error) => gone = false,
                Err(error) => return Err(error),
            }
        }
        Ok(gone)
    }

    /// Removes the directories of a container that nobody follows; what runs in them is killed. `false`: it could not
    /// be.
    ///
    /// # Errors
    /// When a directory cannot be removed for another reason, or a control file not be written.
    pub fn clear(&self) -> io::Result<bool> {
        if self.remove()? {
            return Ok(true);
        }
        self.kill()?;
        self.wait_until_empty(Duration::from_secs(2));
        self.remove()
    }

    fn wait_until_empty(&self, limit: Duration) {
        let end = Instant::now() + limit;
        while self.pids().is_ok_and(|pids| !pids.is_empty()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Whoever runs in a container may read its limits, whatever its user: the umask of the process that made the group is
/// not for it.
fn open_to_all(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

/// Writes a control file that exists. (`fs::write` would ask to create it, which is `EACCES` here when it is missing.)
fn write(file: impl AsRef<Path>, text: impl AsRef<[u8]>) -> io::Result<()> {
    use std::io::Write;
    fs::OpenOptions::new().write(true).open(file)?.write_all(text.as_ref())
}

fn is_busy(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(rustix::io::Errno::from_raw_os_error),
        Some(rustix::io::Errno::BUSY | rustix::io::Errno::NOTEMPTY)
    )
}

fn open(folder: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn is_deserted(folder: &Path) -> bool {
    match fs::read_to_string(folder.join("cgroup.procs")) {
        Ok(text) if text.trim().is_empty() => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return true,
        _ => return false,
    }
    let Ok(entries) = fs::read_dir(folder) else { return false };
    let mut folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.all(|entry| is_deserted(&entry.path()))
}

fn collect_pids(folder: &Path, pids: &mut Vec<i32>) -> io::Result<()> {
    let text = match fs::read_to_string(folder.join("cgroup.procs")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_pids(&entry.path(), pids)?;
        }
    }
    Ok(())
}

/// Removes a group and those that a container has made below it.
fn remove_tree(folder: &Path) -> io::Result<()> {
    match fault::around("remove a control group", || fs::remove_dir(folder)) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if !is_busy(&error) => return Err(error),
        Err(_) => {}
    }
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A new cpuset of v1 has no processor and takes no process before it has.
fn fill_cpuset(mount: &Path, path: &str) -> io::Result<()> {
    let mut folder = mount.to_owned();
    for name in path.split('/') {
        let parent = folder.clone();
        folder.push(name);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if fs::read_to_string(folder.join(file))?.trim().is_empty() {
                write(folder.join(file), fs::read_to_string(parent.join(file))?.trim())?;
            }
        }
    }
    Ok(())
}

fn apply(folder: &Path, setting: &limits::Setting, warnings: &mut Vec<String>) -> Result<(), StartError> {
    match write(folder.join(setting.file), &setting.value) {
        Ok(()) => Ok(()),
        Err(error) if setting.optional => {
            warnings.push(format!("{} is not set to {}: {error}", setting.file, setting.value));
            Ok(())
        }
        Err(error) => Err(error).step(|| format!("set {} to {}", setting.file, setting.value)),
    }
}

/// Waits (at most a second) until a control file says what it should.
fn wait_for(file: &Path, done: impl Fn(&str) -> bool) -> io::Result<()> {
    let end = Instant::now() + Duration::from_secs(1);
    loop {
        if done(&fs::read_to_string(file)?) {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}
