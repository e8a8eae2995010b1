//! The last steps of a cloned process: from the keeper's copy to the container's program.

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Gid, Mode, OFlags, Uid, fstat};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::Resource;

use crate::runtime::StartError;
use crate::runtime::capability::Capabilities;
use crate::runtime::error::Step;
use crate::runtime::identity::{self, Identity};
use crate::runtime::init;
use crate::runtime::inroot::{self, Kind, show};
use crate::runtime::report::ChildReport;
use crate::runtime::spec::{DEFAULT_PATH, Rlimit};
use crate::runtime::streams::Pipes;
use crate::runtime::terminal::Terminal;
use crate::sys::seccomp::Instruction;
use crate::sys::{capability, fault, process, seccomp};

/// A process that is about to be.
#[derive(Debug)]
pub(super) struct Program<'a> {
    pub id: &'a str,
    pub args: &'a [String],
    pub env: Vec<String>,
    pub hostname: &'a str,
    pub cwd: &'a Path,
    pub user: &'a str,
    pub groups: &'a [String],
    pub rlimits: &'a [Rlimit],
    pub capabilities: Capabilities,
    pub no_new_privileges: bool,
    pub filter: Option<&'a [Instruction]>,
    pub open_files: rustix::process::Rlimit,
    pub init: bool,
}

/// Where its output goes.
#[derive(Debug)]
pub(super) enum Streams {
    /// Pipes that were made for this process, and null devices of its container.
    Pipes([OwnedFd; 3]),
    Terminal(Terminal),
}

impl Streams {
    /// Copies of the pipes, and what `null` opens for those that are missing.
    pub(super) fn piped(pipes: &Pipes, null: impl Fn() -> Result<OwnedFd, StartError>) -> Result<Self, StartError> {
        let one = |pipe: &Option<OwnedFd>| match pipe {
            Some(pipe) => pipe.try_clone().step(|| "connect the standard streams"),
            None => null(),
        };
        // A container may be without the device; reading nothing needs none.
        let stdin = match one(&pipes[0]) {
            Err(_) if pipes[0].is_none() => rustix::pipe::pipe_with(PipeFlags::CLOEXEC).step(|| "make a pipe")?.0,
            other => other?,
        };
        Ok(Self::Pipes([stdin, one(&pipes[1])?, one(&pipes[2])?]))
    }
}

impl Program<'_> {
    /// Becomes the program; when that fails, reports why and ends. Never returns: what the caller owns is closed here
    /// without its knowledge.
    pub(super) fn run(self, root: BorrowedFd<'_>, streams: Streams, report: OwnedFd) -> ! {
        let mut report = Some(report);
        let Err(error) = self.become_it(root, streams, &mut report);
        let code = match report {
            Some(report) => fail(&error, report.as_fd()),
            None => error.exit_code,
        };
        process::exit_now(code)
    }

    fn become_it(
        self,
        root: BorrowedFd<'_>,
        streams: Streams,
        report: &mut Option<OwnedFd>,
    ) -> Result<Infallible, StartError> {
        let identity = identity::resolve(root, self.user, self.groups)?;
        let env = environment(&self.env, self.hostname, &identity.home, matches!(streams, Streams::Terminal(_)));
        let argv = strings("args", self.args)?;
        let envp = strings("environment", &env)?;
        let _ = rustix::process::setrlimit(Resource::Nofile, self.open_files);
        for limit in self.rlimits {
            if let Some(warning) = set_limit(limit)?
                && let Some(report) = report
            {
                let _ = ChildReport::Warning(warning).send(report.as_fd());
            }
        }
        enter(root, self.cwd)?;
        let terminal = connect(&streams, &identity)?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        if let Ok(name) = CString::new(format!("_ses.{}", self.id)) {
            // Without keyrings in the kernel, or room for one more, there is nothing to protect.
            let _ = process::new_session_keyring(&name);
        }
        // The keeper may die without taking its containers with it.
        let _ = rustix::process::set_parent_process_death_signal(None);
        if let Some(socket) = report {
            let terminal = match &streams {
                Streams::Terminal(terminal) => Some(terminal.master.as_fd()),
                Streams::Pipes(_) => None,
            };
            fault::around("report", || ChildReport::Ready { terminal }.send(socket.as_fd())).step(|| "report")?;
            // Whatever the keeper had open is not for the container, neither now nor as /proc/self/fd/N of the exec.
            process::close_all_but(&[0, 1, 2, socket.as_raw_fd()]).step(|| "close descriptors")?;
        }
        // Closed a line above without their owner's knowledge.
        std::mem::forget(streams);
        self.drop_privileges(&identity)?;
        if self.init
            && let Some(socket) = report.take()
        {
            *report = Some(init::split(socket, terminal)?);
        } else {
            process::reset_signals();
        }
        Err(execute(self.args, &argv, &envp, &env))
    }

    /// Bounding set, groups, ids, capabilities and filter, in the only order that works.
    fn drop_privileges(&self, identity: &Identity) -> Result<(), StartError> {
        for number in 0..64 {
            match capability::in_bounding(number) {
                None => break,
                Some(true) if !self.capabilities.contains(number) => {
                    capability::drop_bounding(number).step(|| "drop capabilities")?;
                }
                Some(_) => {}
            }
        }
        let step = || format!("become user {}:{}", identity.uid, identity.gid);
        let _ = capability::clear_ambient();
        rustix::thread::set_keep_capabilities(true).step(step)?;
        let groups: Vec<_> = identity.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        rustix::thread::set_thread_groups(&groups).step(step)?;
        let gid = Gid::from_raw(identity.gid);
        rustix::thread::set_thread_res_gid(gid, gid, gid).step(step)?;
        let uid = Uid::from_raw(identity.uid);
        rustix::thread::set_thread_res_uid(uid, uid, uid).step(step)?;
        rustix::thread::set_keep_capabilities(false).step(step)?;
        if self.no_new_privileges {
            rustix::thread::set_no_new_privs(true).step(|| "set no_new_privs")?;
        }
        if let Some(filter) = self.filter {
            // Without no_new_privs a filter needs CAP_SYS_ADMIN, which a change of the user has made ineffective.
            let held = capability::permitted().step(step)?;
            capability::set(held, held).step(|| "set capabilities")?;
            seccomp::install(filter).step(|| "install the seccomp filter")?;
        }
        let wanted = self.capabilities.0;
        capability::set(if identity.uid == 0 { wanted } else { 0 }, wanted).step(|| "set capabilities")
    }
}

/// Reports a failure; the exit code.
pub(super) fn fail(error: &StartError, report: BorrowedFd<'_>) -> i32 {
    let _ = ChildReport::Failed(error.clone()).send(report);
    error.exit_code
}

/// The environment with what every process has.
pub(super) fn environment(env: &[String], hostname: &str, home: &str, terminal: bool) -> Vec<String> {
    let mut result: Vec<String> = Vec::with_capacity(env.len() + 4);
    // By name, since an image may bring tens of thousands.
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(env.len());
    // The last of several assignments counts.
    for entry in env {
        let key = entry.split('=').next().unwrap_or_default();
        match places.entry(key) {
            Occupied(place) => result[*place.get()].clone_from(entry),
            Vacant(place) => {
                place.insert(result.len());
                result.push(entry.clone());
            }
        }
    }
    let mut default = |key: &str, value: &str| {
        let entry = format!("{key}={value}");
        match places.get(key).map(|place| &mut result[*place]).filter(|entry| entry.len() > key.len()) {
            Some(known) if key == "HOME" && known.len() == key.len() + 1 => *known = entry,
            Some(_) => {}
            None => result.push(entry),
        }
    };
    default("PATH", DEFAULT_PATH);
    default("HOSTNAME", hostname);
    default("HOME", home);
    if terminal {
        default("TERM", "xterm");
    }
    result
}

fn strings(what: &str, all: &[String]) -> Result<Vec<CString>, StartError> {
    let one = |text: &String| {
        CString::new(text.as_bytes())
            .map_err(|_| StartError::new(what, format!("`{}` holds a NUL byte", text.escape_debug())))
    };
    all.iter().map(one).collect()
}

fn resource(limit: &Rlimit) -> Result<Resource, StartError> {
    Ok(match limit.name.as_str() {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => return Err(StartError::new(format!("ulimit {}", limit.name), "there is no such limit")),
    })
}

/// What the kernel would not take as a limit.
pub(super) fn check_limit(limit: &Rlimit) -> Result<(), StartError> {
    resource(limit)?;
    // -1 is the highest.
    let value = |number: i64| u64::try_from(number).unwrap_or(u64::MAX);
    if value(limit.soft) > value(limit.hard) {
        let detail = format!("the soft limit {} is above the hard limit {}", limit.soft, limit.hard);
        return Err(StartError::new(format!("ulimit {}", limit.name), detail));
    }
    Ok(())
}

/// Sets a limit; the kernel's refusal to raise it is a warning, and the limit is then as high as it may be.
fn set_limit(limit: &Rlimit) -> Result<Option<String>, StartError> {
    let step = || format!("ulimit {}", limit.name);
    let resource = resource(limit)?;
    let value = |number: i64| u64::try_from(number).ok();
    let wanted = rustix::process::Rlimit { current: value(limit.soft), maximum: value(limit.hard) };
    match rustix::process::setrlimit(resource, wanted) {
        Ok(()) => Ok(None),
        Err(Errno::PERM) => {
            let most = rustix::process::getrlimit(resource).maximum;
            let lower = |a: Option<u64>| match (a, most) {
                (Some(a), Some(most)) => Some(a.min(most)),
                (Some(a), None) => Some(a),
                (None, most) => most,
            };
            let capped = rustix::process::Rlimit { current: lower(wanted.current), maximum: lower(wanted.maximum) };
            rustix::process::setrlimit(resource, capped).step(step)?;
            let most = most.map_or_else(|| "unlimited".to_owned(), |most| most.to_string());
            Ok(Some(format!("ulimit {}: may not be raised above {most} here, set to that", limit.name)))
        }
        Err(error) => Err(error).step(step),
    }
}

/// Makes the working directory when it is missing, and goes there without following magic links: `/proc/self/fd/N` was
/// the way out of CVE-2024-21626.
fn enter(root: BorrowedFd<'_>, cwd: &Path) -> Result<(), StartError> {
    let cwd = if cwd.as_os_str().is_empty() { Path::new("/") } else { cwd };
    let step = || format!("working directory {}", show(cwd));
    if !cwd.is_absolute() {
        return Err(StartError::new(step(), "the path must be absolute"));
    }
    let folder = inroot::ensure(root, cwd, Kind::Directory).step(step)?;
    rustix::process::fchdir(&folder).step(step)?;
    let now = rustix::process::getcwd(Vec::new()).step(step)?;
    if now.as_bytes().first() == Some(&b'/') {
        Ok(())
    } else {
        Err(StartError::new(step(), "the path is outside the container"))
    }
}

/// Puts the streams onto descriptors 0 to 2. Answers whether they are a terminal.
fn connect(streams: &Streams, identity: &Identity) -> Result<bool, StartError> {
    let step = || "connect the standard streams";
    let [stdin, stdout, stderr] = match streams {
        Streams::Pipes([stdin, stdout, stderr]) => [stdin, stdout, stderr],
        Streams::Terminal(terminal) => {
            rustix::process::ioctl_tiocsctty(&terminal.peer).step(|| "take the terminal")?;
            [&terminal.peer; 3]
        }
    };
    for file in [stdin, stdout, stderr] {
        let found = fstat(file).step(step)?;
        let kind = FileType::from_raw_mode(found.st_mode);
        let is_null = kind == FileType::CharacterDevice && found.st_rdev == rustix::fs::makedev(1, 3);
        if identity.uid != found.st_uid && !is_null {
            // So that the program may open /dev/stdout. Refused on a read-only place, which is as good as it gets.
            let _ = rustix::fs::fchown(file, Some(Uid::from_raw(identity.uid)), None);
        }
    }
    // None of them is below 3 (the keeper's own are open), so no copy overwrites one that is still needed.
    rustix::stdio::dup2_stdin(stdin).step(step)?;
    rustix::stdio::dup2_stdout(stdout).step(step)?;
    rustix::stdio::dup2_stderr(stderr).step(step)?;
    Ok(matches!(streams, Streams::Terminal(_)))
}

/// Executes the first program that the container's own `PATH` finds. Returns the reason when none can be.
fn execute(args: &[String], argv: &[CString], envp: &[CString], env: &[String]) -> StartError {
    let Some(name) = args.first() else { return StartError::new("exec", "no command is given") };
    let step = format!("exec \"{name}\"");
    if name.is_empty() {
        return not_found(step, "the command is empty");
    }
    if name.contains('/') {
        let errno = try_execute(name, argv, envp);
        return explain(step, name, errno);
    }
    let mut refused = None;
    for candidate in candidates(name, env) {
        match try_execute(&candidate, argv, envp) {
            Errno::NOENT if !Path::new(&candidate).exists() => {}
            Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP => {}
            // A directory, or not executable: perhaps there is a better one further on.
            Errno::ACCESS => refused = refused.or(Some((candidate, Errno::ACCESS))),
            errno => return explain(step, &candidate, errno),
        }
    }
    match refused {
        Some((candidate, errno)) if !Path::new(&candidate).is_dir() => explain(step, &candidate, errno),
        _ => not_found(step, "executable file not found in $PATH"),
    }
}

/// Where a program is looked for, in this order.
pub(super) fn candidates(name: &str, env: &[String]) -> Vec<String> {
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    let path = env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    let place = |folder: &str| if folder.is_empty() { format!("./{name}") } else { format!("{folder}/{name}") };
    path.split(':').map(place).collect()
}

fn try_execute(path: &str, argv: &[CString], envp: &[CString]) -> Errno {
    let Ok(path) = CString::new(path) else { return Errno::NOENT };
    match nix::unistd::execve(&path, argv, envp) {
        Err(errno) => Errno::from_raw_os_error(errno as i32),
        Ok(never) => match never {},
    }
}

/// What is there, and is a folder or may not be executed.
pub(super) fn refused(step: String, folder: Option<&Path>) -> StartError {
    let detail = match folder {
        Some(path) => format!("{} is a directory", path.display()),
        None => "permission denied".to_owned(),
    };
    StartError { step, detail, errno: Some(Errno::ACCESS.raw_os_error()), exit_code: 126 }
}

pub(super) fn not_found(step: String, detail: &str) -> StartError {
    StartError { step, detail: detail.to_owned(), errno: Some(Errno::NOENT.raw_os_error()), exit_code: 127 }
}

fn explain(step: String, path: &str, errno: Errno) -> StartError {
    let path = Path::new(path);
    let (detail, exit_code) = match errno {
        Errno::NOENT if path.exists() => {
            (format!("{} is there, but the interpreter or loader that it names is not", path.display()), 127)
        }
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => ("no such file or directory".to_owned(), 127),
        Errno::ACCESS => return refused(step, path.is_dir().then_some(path)),
        Errno::PERM => ("permission denied".to_owned(), 126),
        Errno::NOEXEC => (
            "exec format error: not a program of this machine's architecture, and no script with a `#!` line"
                .to_owned(),
            126,
        ),
        other => (StartError::io("", &other.into()).detail, 126),
    };
    StartError { step, detail, errno: Some(errno.raw_os_error()), exit_code }
}

/// The flags with which the keeper opens a root directory.
pub(super) const ROOT: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_has_defaults_and_the_last_assignment() {
        let env = ["A=1", "B=2", "A=3", "HOME="].map(str::to_owned);
        let env = environment(&env, "box", "/root", true);
        assert_eq!(env, ["A=3", "B=2", "HOME=/root", &format!("PATH={DEFAULT_PATH}"), "HOSTNAME=box", "TERM=xterm"]);
        let env = environment(&["HOME", "TERM=dumb", "HOME"].map(str::to_owned), "box", "/h", true);
        assert_eq!(env, ["HOME", "TERM=dumb", &format!("PATH={DEFAULT_PATH}"), "HOSTNAME=box", "HOME=/h"]);
    }

    #[test]
    fn the_environment_is_built_in_linear_time() {
        let growth = crate::sys::growth::eightfold(4_000, |size| {
            let env: Vec<String> = (0..size).map(|index| format!("VARIABLE_NUMBER_{index}=x")).collect();
            assert_eq!(environment(&env, "box", "/root", false).len(), size + 3);
        });
        assert!(growth < 24, "{growth} times the time for 8 times the variables");
    }
}
