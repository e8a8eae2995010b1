//! A project of a test's own, and the binary to run on it.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use windlass::state::Paths;

use crate::leaks;

/// Longer than anything that works takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A project folder, a home for windlass's state, and a cleared environment. What is left of the project when this is
/// dropped fails the test.
pub struct TestEnv {
    name: String,
    root: TempDir,
    variables: Vec<(String, String)>,
}

/// What is tested: windlass, or another program that takes the arguments of `docker compose`, such as that one itself,
/// to learn whether a test expects what it should.
pub fn binary() -> std::ffi::OsString {
    std::env::var_os("WINDLASS_TEST_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_windlass").into())
}

/// What a command did.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A command that has not ended yet; it is killed when dropped.
pub struct Running {
    child: Child,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
    seen: (Vec<u8>, Vec<u8>),
    what: String,
}

impl TestEnv {
    /// `name` is the project's name: the test's own.
    pub fn new(name: &str) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "these tests start containers: run them as root");
        let root = tempfile::Builder::new().prefix("wl-e2e-").tempdir().unwrap();
        // Users of containers must be able to reach what is bound from here.
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let env = Self { name: name.into(), root, variables: Vec::new() };
        fs::create_dir_all(env.folder()).unwrap();
        fs::create_dir_all(env.root.path().join("user")).unwrap();
        env
    }

    /// The same with a Compose file.
    pub fn with(name: &str, compose: &str) -> Self {
        let env = Self::new(name);
        env.file("compose.yaml", compose);
        env
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The project's folder.
    pub fn folder(&self) -> PathBuf {
        self.root.path().join(&self.name)
    }

    /// `WINDLASS_HOME`.
    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// The digits in the names of the project's kernel objects.
    pub fn id(&self) -> String {
        Paths::from_home(Some(&self.home())).project(&self.name).id().to_owned()
    }

    /// Sets a variable of every later command.
    pub fn set(&mut self, key: &str, value: &str) {
        self.variables.push((key.into(), value.into()));
    }

    /// Writes a file of the project.
    pub fn file(&self, path: &str, content: &str) -> PathBuf {
        let path = self.folder().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Copies a folder of the source tree into the project's.
    pub fn copy(&self, from: &Path) {
        copy_tree(from, &self.folder());
    }

    /// The command with the test's environment, not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        self.prepare(&mut command);
        command.args(arguments);
        command
    }

    /// Gives a command the test's environment and folder.
    pub fn prepare(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.root.path().join("user"))
            .env("WINDLASS_HOME", self.home())
            .env("WINDLASS_REGISTRY_MIRROR", format!("http://{}", crate::registry()))
            .envs(self.variables.iter().map(|(key, value)| (key, value)))
            .current_dir(self.folder())
            .stdin(Stdio::null());
    }

    /// Starts windlass and returns at once.
    pub fn start(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(arguments), format!("windlass {}", arguments.join(" ")))
    }

    /// Runs windlass to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.start(arguments).finish(PATIENCE)
    }

    /// Runs windlass, which must succeed.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> Output {
        let output = self.run(arguments);
        assert_eq!(output.code, 0, "windlass {} failed:\n{}", arguments.join(" "), output.text());
        output
    }

    /// Runs windlass, which must fail, not crash, and give its reason.
    #[track_caller]
    pub fn fails(&self, arguments: &[&str]) -> Output {
        let output = self.run(arguments);
        let text = output.text();
        assert!(output.code > 0 && output.code < 128, "windlass {} should have failed:\n{text}", arguments.join(" "));
        assert!(!output.stderr.trim().is_empty(), "windlass {} failed without a word", arguments.join(" "));
        assert!(!output.stderr.contains("panicked"), "windlass {} crashed:\n{text}", arguments.join(" "));
        output
    }

    /// What a shell command says inside a service's container.
    #[track_caller]
    pub fn sh(&self, service: &str, script: &str) -> String {
        self.ok(&["exec", "-T", service, "sh", "-c", script]).stdout.trim_end().to_owned()
    }

    /// The same for who asks until it is so: a script that fails has not said it yet.
    pub fn asks(&self, service: &str, script: &str, wanted: &str) -> Result<(), String> {
        let output = self.run(&["exec", "-T", service, "sh", "-c", script]);
        if output.stdout.trim_end() == wanted { Ok(()) } else { Err(output.text()) }
    }

    /// The rows of `ps -a --format json`.
    #[track_caller]
    pub fn ps(&self) -> Vec<serde_json::Value> {
        let output = self.ok(&["ps", "-a", "--format", "json"]);
        output
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line of JSON for each container"))
            .collect()
    }

    /// One field of the first container of a service, as `ps` has it.
    #[track_caller]
    pub fn ps_field(&self, service: &str, field: &str) -> String {
        let rows = self.ps();
        let row =
            rows.iter().find(|row| row["Service"] == service).unwrap_or_else(|| panic!("no {service} in {rows:?}"));
        row[field].as_str().map_or_else(|| row[field].to_string(), str::to_owned)
    }

    /// Takes the project down and checks at once that nothing of it is left.
    #[track_caller]
    pub fn down(&self) {
        self.ok(&["--profile", "*", "down", "-v", "--remove-orphans", "-t", "1"]);
        self.assert_nothing_left();
    }

    /// Fails when a process, mount, link, cgroup, rule, socket or file of the project is left.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let left = leaks::settled(&self.home(), &[(self.name.clone(), self.id())]);
        assert!(left.is_empty(), "{} left something behind:\n{}", self.name, left.join("\n"));
    }
}

impl TestEnv {
    /// The same, where another project of the same home lives on: only what carries this one's id or name counts.
    #[track_caller]
    pub fn assert_nothing_left_but(&self, others: &[&str]) {
        let own = |left: &String| !others.iter().any(|other| left.contains(other)) && left.contains(&self.id());
        let left: Vec<String> = leaks::find(&self.home(), &[(self.name.clone(), self.id())]);
        let left: Vec<String> = left.into_iter().filter(own).collect();
        assert!(left.is_empty(), "{} left something behind:\n{}", self.name, left.join("\n"));
        let data = self.home().join("data/projects").join(&self.name);
        assert!(!data.exists(), "{} is left", data.display());
    }
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        let panicking = std::thread::panicking();
        if panicking {
            leaks::keep_artifacts(&self.name, &self.home());
        }
        // A second panic would end the whole run, so faults are gathered first.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let down = self.start(&["-p", &self.name, "down", "-v", "--remove-orphans", "-t", "0"]).ended(PATIENCE);
            let left = leaks::settled(&self.home(), &[(self.name.clone(), self.id())]);
            leaks::clean(&self.home(), &self.id());
            match down {
                Err(fault) => Some(fault),
                Ok(output) if output.code != 0 => Some(format!("the last down failed:\n{}", output.text())),
                Ok(_) if !left.is_empty() => Some(format!("{} left something behind:\n{}", self.name, left.join("\n"))),
                Ok(_) => None,
            }
        }));
        let fault = ended.unwrap_or_else(|_| Some(format!("{} could not be cleaned up", self.name)));
        assert!(panicking || fault.is_none(), "{}", fault.unwrap_or_default());
    }
}

impl Output {
    /// Both streams, for a message.
    pub fn text(&self) -> String {
        format!("exit code {}\n--- stdout\n{}\n--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

impl Running {
    pub fn start(command: Command, what: String) -> Self {
        Self::start_with(command, what, |_| {})
    }

    /// `begun` may take the child's standard input.
    pub fn start_with(mut command: Command, what: String, begun: impl FnOnce(&mut Child)) -> Self {
        // Its own process group, so that Ctrl-C can be sent as a terminal does.
        command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {what}: {error}"));
        begun(&mut child);
        let stdout = drain(child.stdout.take().unwrap());
        let stderr = drain(child.stderr.take().unwrap());
        Self { child, stdout, stderr, seen: Default::default(), what }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// What it has printed so far.
    pub fn stdout(&mut self) -> String {
        self.seen.0.extend(self.stdout.try_iter().flatten());
        String::from_utf8_lossy(&self.seen.0).into_owned()
    }

    /// What it has said so far on standard error.
    pub fn stderr(&mut self) -> String {
        self.seen.1.extend(self.stderr.try_iter().flatten());
        String::from_utf8_lossy(&self.seen.1).into_owned()
    }

    /// Waits until it has printed `text` on standard output.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        let what = format!("{} prints {text:?}", self.what);
        support::eventually(&what, PATIENCE, || {
            let printed = self.stdout();
            if printed.contains(text) { Ok(()) } else { Err(format!("so far:\n{printed}")) }
        });
    }

    /// Waits for its end.
    #[track_caller]
    pub fn finish(self, timeout: Duration) -> Output {
        self.ended(timeout).unwrap_or_else(|fault| panic!("{fault}"))
    }

    /// Waits for its end. A background process that keeps the output open after that is a fault: a pipe would hang.
    fn ended(mut self, timeout: Duration) -> Result<Output, String> {
        let end = Instant::now() + timeout;
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break Some(status),
                Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(2)),
                Ok(None) | Err(_) => break None,
            }
        };
        if status.is_none() {
            kill_group(self.pid());
            let _ = self.child.wait();
        }
        let closed = collect(&self.stdout, &mut self.seen.0) & collect(&self.stderr, &mut self.seen.1);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&self.seen.0), text(&self.seen.1));
        let what = &self.what;
        let Some(status) = status else {
            return Err(format!("{what} did not end in {timeout:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"));
        };
        if !closed {
            return Err(format!("{what} has ended, but something holds its output open"));
        }
        // As a shell has it, but out of the way of real codes.
        let code = status.code().or_else(|| Some(1000 + status.signal()?)).unwrap_or(-1);
        Ok(Output { code, stdout, stderr })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            kill_group(self.pid());
            let _ = self.child.wait();
        }
    }
}

fn kill_group(pid: Pid) {
    let _ = nix::sys::signal::killpg(pid, Signal::SIGKILL);
}

fn drain(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Takes what is left of a stream; whether its end was seen.
fn collect(stream: &Receiver<Vec<u8>>, into: &mut Vec<u8>) -> bool {
    loop {
        match stream.recv_timeout(Duration::from_secs(3)) {
            Ok(bytes) => into.extend(bytes),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return true,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => return false,
        }
    }
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
