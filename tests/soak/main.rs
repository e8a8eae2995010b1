//! Random commands, kills and edits on three projects at once, for so many minutes: at the end nothing is left, nothing
//! is lost, and the memory of a supervisor and its keeper is what it was. `scripts/soak MINUTES [SEED]`.
#![allow(dead_code, reason = "the helpers are those of the end-to-end tests")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what it does is told as it does it")]
#![allow(clippy::unwrap_used, reason = "a fault ends it")]

#[path = "../e2e/env.rs"]
mod env;
#[path = "../e2e/leaks.rs"]
mod leaks;
mod random;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use windlass::state::Paths;

use env::{Output, PATIENCE, TestEnv};
use random::Random;

/// A probe or an event under way holds some descriptors.
const SLACK: usize = 8;

/// Nothing is pulled: the services are on the machine's own files.
fn registry() -> String {
    "127.0.0.1:9".to_owned()
}

/// As the file of a project may be.
#[derive(Debug, Clone)]
struct Edit {
    setting: u64,
    config: u64,
    network: bool,
    job: bool,
}

impl Edit {
    fn compose(&self) -> String {
        let Self { setting, config, network, job } = self;
        let networks = if *network { "[default, back]" } else { "[default]" };
        let back = if *network { "networks: { back: { internal: true } }" } else { "" };
        let job = if *job { "job: { x-windlass: { rootfs: host }, command: echo done }" } else { "" };
        format!(
            r#"
services:
  count:
    x-windlass: {{ rootfs: host }}
    stop_signal: SIGKILL
    command: [python3, -uc, "import time, itertools\nfor n in itertools.count():\n  print(n)\n  time.sleep(0.01)"]
    logging: {{ driver: local }}
  web:
    x-windlass: {{ rootfs: host }}
    stop_signal: SIGKILL
    restart: always
    command: sleep 100000
    environment: {{ SETTING: "{setting}" }}
    ports: ["80"]
    networks: {networks}
    volumes: ["data:/data", "/anonymous"]
    configs: [settings]
    healthcheck: {{ test: "true", interval: 1s }}
    depends_on: [count]
  {job}
volumes: {{ data: }}
configs: {{ settings: {{ content: "{config}" }} }}
{back}
"#
        )
    }
}

struct Project {
    env: TestEnv,
    paths: Paths,
    random: Random,
    edit: Edit,
    /// Its processes are never killed and it never goes down: it shows whether memory grows.
    steady: bool,
    done: BTreeMap<String, usize>,
}

impl Project {
    fn new(name: &str, home: &Path, seed: u64, steady: bool) -> Self {
        let mut env = TestEnv::new(name);
        env.set("WINDLASS_HOME", &home.display().to_string());
        let edit = Edit { setting: 0, config: 0, network: false, job: false };
        let mut random = Random::new(seed);
        random.next();
        let project = Self { env, paths: Paths::from_home(Some(home)), random, edit, steady, done: BTreeMap::new() };
        project.env.file("compose.yaml", &project.edit.compose());
        project
    }

    fn id(&self) -> String {
        self.paths.project(self.env.name()).id().to_owned()
    }

    /// One step. Commands that converge must always succeed; others may find what they are for stopped or gone.
    fn step(&mut self) {
        let steps: &[(&str, u64)] = &[
            ("up", 10),
            ("edit", 10),
            ("scale", 4),
            ("restart", 4),
            ("stop and start", 3),
            ("pause", 2),
            ("exec", 6),
            ("run", 3),
            ("read", 6),
            ("kill a container", 4),
            ("two at once", 4),
            ("kill the supervisor", 6),
            ("kill the keeper", 4),
            ("kill both", 3),
            ("kill a command", 8),
            ("down", 3),
        ];
        let step = loop {
            let step = self.random.pick(steps);
            if !(self.steady && (step.starts_with("kill the") || step == "kill both" || step == "down")) {
                break step;
            }
        };
        *self.done.entry(step.to_owned()).or_default() += 1;
        match step {
            "up" => self.up(),
            "edit" => {
                match self.random.below(4) {
                    0 => self.edit.setting += 1,
                    1 => self.edit.config += 1,
                    2 => self.edit.network = !self.edit.network,
                    _ => self.edit.job = !self.edit.job,
                }
                self.env.file("compose.yaml", &self.edit.compose());
                self.up();
            }
            "scale" => {
                let scale = format!("web={}", 1 + self.random.below(3));
                self.must(&["up", "-d", "-t", "1", "--scale", &scale]);
            }
            "restart" => self.may(&["restart", "-t", "1", "web"]),
            "stop and start" => {
                self.may(&["stop", "-t", "1"]);
                self.may(&["start"]);
            }
            "pause" => {
                self.may(&["pause"]);
                self.may(&["unpause"]);
            }
            "exec" => self.may(&["exec", "-T", "web", "sh", "-c", "date >> /data/file; cat /etc/hosts"]),
            "run" => self.may(&["run", "--rm", "-T", "--no-deps", "web", "true"]),
            "read" => {
                for arguments in [&["ps", "-a"][..], &["logs", "-n", "5"], &["ls", "-a"], &["port", "web", "80"]] {
                    self.may(arguments);
                }
            }
            "kill a container" => {
                self.may(&["exec", "-T", "web", "sh", "-c", "kill -9 -1"]);
                self.may(&["kill", "web"]);
            }
            "two at once" => {
                let second = if self.steady || self.random.below(2) == 0 {
                    &["up", "-d", "--force-recreate", "-t", "1"][..]
                } else {
                    &["down", "-t", "1"]
                };
                let first = self.env.start(&["up", "-d", "-t", "1"]);
                let second = self.env.start(second);
                for running in [first, second] {
                    self.check(&running.finish(PATIENCE), true);
                }
            }
            "kill the supervisor" => self.kill(false, true),
            "kill the keeper" => self.kill(true, false),
            "kill both" => self.kill(true, true),
            "kill a command" => {
                self.edit.setting += 1;
                self.env.file("compose.yaml", &self.edit.compose());
                let arguments = if self.steady || self.random.below(3) > 0 {
                    &["up", "-d", "-t", "1"][..]
                } else {
                    &["down", "-v", "-t", "1"]
                };
                let running = self.env.start(arguments);
                std::thread::sleep(Duration::from_millis(self.random.below(400)));
                if !self.steady && self.random.below(3) == 0 {
                    self.kill_processes(self.random.clone().below(2) == 0, true);
                }
                running.signal(Signal::SIGKILL);
                drop(running);
                self.up();
            }
            _ => {
                let arguments =
                    if self.random.below(2) == 0 { &["down", "-t", "1"][..] } else { &["down", "-v", "-t", "1"] };
                self.must(arguments);
            }
        }
    }

    fn up(&self) {
        self.must(&["up", "-d", "-t", "1"]);
    }

    fn kill(&self, keeper: bool, supervisor: bool) {
        self.kill_processes(keeper, supervisor);
        self.up();
        self.nothing_is_lost();
    }

    fn kill_processes(&self, keeper: bool, supervisor: bool) {
        for (pid, role) in self.processes() {
            if if role == "windlass-keeper" { keeper } else { supervisor } {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }

    /// Keepers and supervisors of this project.
    fn processes(&self) -> Vec<(i32, String)> {
        let run = self.paths.run().display().to_string();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter_map(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let words: Vec<&str> = line.split('\0').filter(|word| !word.is_empty()).collect();
            let role = *words.first()?;
            let ours = role.starts_with("windlass-") && words.ends_with(&[run.as_str(), self.env.name()]);
            ours.then(|| (pid, role.to_owned()))
        })
        .collect()
    }

    /// Kilobytes of memory of keeper and supervisor.
    fn memory(&self) -> u64 {
        let of = |pid: &i32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or("0").to_owned();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0)
        };
        self.processes().iter().map(|(pid, _)| of(pid)).sum()
    }

    /// What keeper and supervisor hold, with the project as it was at first: descriptors, mounts that they see, groups.
    fn holdings(&mut self) -> [(&'static str, usize); 3] {
        self.edit = Edit { network: false, job: false, ..self.edit };
        self.env.file("compose.yaml", &self.edit.compose());
        self.must(&["up", "-d", "-t", "1", "--remove-orphans", "--scale", "web=1"]);
        let processes = self.processes();
        let entries = |folder: String| fs::read_dir(folder).map_or(0, Iterator::count);
        let lines = |file: String| fs::read_to_string(file).map_or(0, |text| text.lines().count());
        let id = self.id();
        let kernel = leaks::find(self.paths.run(), &[(self.env.name().to_owned(), id)]);
        // Processes and files are those of the other projects, too.
        let of_project = |line: &&String| ["link ", "nftables ", "cgroup "].iter().any(|kind| line.starts_with(kind));
        [
            ("descriptors", processes.iter().map(|(pid, _)| entries(format!("/proc/{pid}/fd"))).sum()),
            ("mounts", processes.iter().map(|(pid, _)| lines(format!("/proc/{pid}/mountinfo"))).sum()),
            ("links, tables and groups", kernel.iter().filter(of_project).count()),
        ]
    }

    /// Each run of the counter counts from nothing, without a gap. A supervisor that is killed while it writes leaves the
    /// lines of that moment to the next one, which writes them too.
    fn nothing_is_lost(&self) {
        let output = self.env.run(&["logs", "--no-log-prefix", "count"]);
        assert_eq!(output.code, 0, "{}", output.text());
        let mut expected: u64 = 0;
        for (number, line) in output.stdout.lines().enumerate() {
            // A number and the end of its line are two writes: a counter that is killed in between ends without it, and
            // the next one begins on the same line.
            if line == format!("{expected}0") {
                expected = 1;
                continue;
            }
            let found: u64 = line.parse().unwrap_or_else(|_| panic!("a torn line {number}: {line:?}"));
            assert!(found <= expected, "line {number} is {found}, not {expected}");
            if found != 0 && found < expected {
                println!("{}: lines {found} to {} are there twice", self.env.name(), expected - 1);
            }
            expected = found + 1;
        }
    }

    fn must(&self, arguments: &[&str]) {
        self.check(&self.env.run(arguments), true);
    }

    fn may(&self, arguments: &[&str]) {
        self.check(&self.env.run(arguments), false);
    }

    fn check(&self, output: &Output, must: bool) {
        assert!(!output.stderr.contains("panicked") && output.code < 1000, "{}", output.text());
        assert!(!must || output.code == 0, "{}: {}", self.env.name(), output.text());
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let minutes: f64 = arguments.next().map_or(0.05, |text| text.parse().expect("a number of minutes"));
    let seed: u64 =
        arguments.next().map_or_else(|| u64::from(std::process::id()), |text| text.parse().expect("a seed"));
    println!("soaking for {minutes} minutes, seed {seed}");
    let folder = tempfile::Builder::new().prefix("wl-soak-").tempdir().unwrap();
    let home: PathBuf = folder.path().join("home");
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(minutes * 60.0);
    let mut projects: Vec<Project> =
        (0..3).map(|number| Project::new(&format!("soak-{number}"), &home, seed * 10 + number, number == 0)).collect();
    let ids: Vec<(String, String)> =
        projects.iter().map(|project| (project.env.name().to_owned(), project.id())).collect();
    std::thread::scope(|scope| {
        for project in &mut projects {
            scope.spawn(move || {
                project.up();
                let mut first = None;
                while Instant::now() < end {
                    project.step();
                    // Caches are full after a tenth of the time.
                    if project.steady && first.is_none() && begin.elapsed() > (end - begin) / 10 {
                        let holdings = project.holdings();
                        first = Some((project.memory(), holdings));
                    }
                }
                project.up();
                project.nothing_is_lost();
                if project.steady {
                    let (memory, holdings) = first.expect("a tenth of the time was not enough for one step");
                    let last = project.holdings();
                    println!("keeper and supervisor hold {holdings:?} at first, {last:?} at last");
                    for ((what, first), (_, last)) in holdings.into_iter().zip(last) {
                        assert!(last <= first + SLACK, "{what} grow from {first} to {last}");
                    }
                    let last = project.memory();
                    println!("memory of keeper and supervisor: {memory} kB at first, {last} kB at last");
                    assert!(last < memory * 3 / 2 + 4096, "memory grows");
                }
                project.must(&["down", "-v", "--remove-orphans", "-t", "1"]);
            });
        }
    });
    let left = leaks::settled(&home, &ids);
    assert!(left.is_empty(), "left behind:\n{}", left.join("\n"));
    for project in &projects {
        let steps: usize = project.done.values().sum();
        println!("{}: {steps} steps: {:?}", project.env.name(), project.done);
    }
    println!("nothing left, nothing lost");
}
