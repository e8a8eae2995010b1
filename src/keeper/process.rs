//! The keeper's process: detached, from a copy of the binary that cannot be written, the parent of the supervisor.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::keeper::copy;
use crate::keeper::predecessor::Predecessor;
use crate::keeper::serve::{Keeper, Turn};
use crate::keeper::terminals::Terminals;
use crate::runtime::spec::ExitStatus;
use crate::state::record::{self, Durability, Record};
use crate::state::{Paths, ProjectPaths, messages, process as process_record};
use crate::sys::{clone, fault, packet, process, spawn};

/// The role's argv\[0\].
pub const ROLE: &str = "windlass-keeper";
/// The role that the keeper starts, with arguments: data root, run root, project. Descriptor 3 is its socket.
pub const SUPERVISOR_ROLE: &str = "windlass-supervisor";

/// The process in a message.
pub const CALLED: &str = "the keeper of the project";

/// First argument once the process runs from the copy.
const COPIED: &str = "copied";
/// First argument of a keeper without a supervisor: descriptor 3 is the socket of whoever tells it what to do.
const DIRECT: &str = "direct";

/// The file at [`ProjectPaths::keeper`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeeperRecord {
    pub pid: i32,
    pub start_time: u64,
    pub boot_id: String,
}

impl Record for KeeperRecord {
    const VERSION: u32 = 1;
}

impl KeeperRecord {
    /// Whether the process of the record still lives.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        process_record::is_alive(self.pid, self.start_time, &self.boot_id)
    }
}

/// The role's entry point.
#[must_use]
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.collect();
    let first = arguments.first().map(OsString::as_os_str);
    // Whatever a careless caller has left open is not for us, and least of all for a container.
    let keep: &[RawFd] = if first == Some(OsStr::new(DIRECT)) { &[0, 1, 2, 3] } else { &[0, 1, 2] };
    let _ = process::close_all_but(keep);
    let result = match first {
        Some(first) if first == DIRECT => direct(),
        Some(first) if first == COPIED => run(&arguments[1..]),
        _ => detach(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // To whoever waits for the keeper to be ready.
            tell(&format!("error: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

/// One line to the process that waits for us, at the other end of stdout.
fn tell(line: &str) {
    let _ = io::stdout().write_all(line.as_bytes());
    let _ = io::stdout().flush();
}

/// Leaves the caller's session and process, and continues from the copy.
fn detach(arguments: &[OsString]) -> io::Result<()> {
    let _ = rustix::process::setsid();
    match clone::fork()? {
        clone::Fork::Parent(_) => Ok(()),
        clone::Fork::Child => {
            let mut all: Vec<&OsStr> = vec![OsStr::new(COPIED)];
            all.extend(arguments.iter().map(OsString::as_os_str));
            Err(copy::execute(ROLE, &all))
        }
    }
}

/// What makes this process hard to reach and hard to kill.
fn protect() {
    // No container may look into the memory of its parent, nor, when it is cloned from us, of what it was before.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    // Orphans of a container's process, and of the supervisor, come to us.
    let _ = rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1));
    for score in ["-999", "-500"] {
        if std::fs::write("/proc/self/oom_score_adj", score).is_ok() {
            break;
        }
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let _ = rustix::process::chdir("/");
}

/// Serves the socket at descriptor 3 until it is closed, then kills what is left.
fn direct() -> io::Result<()> {
    let socket = spawn::inherited_socket().ok_or_else(|| io::Error::other("descriptor 3 is not open"))?;
    protect();
    let mut keeper = Keeper::new(Terminals::default())?;
    keeper.connect(socket)?;
    while keeper.run(None)? != Turn::Lost {}
    keeper.kill_all()
}

struct Project {
    paths: ProjectPaths,
    arguments: Vec<OsString>,
    record: KeeperRecord,
}

fn run(arguments: &[OsString]) -> io::Result<()> {
    let (predecessor, arguments) = Predecessor::from_arguments(arguments)?;
    let [data, run, name] = arguments else { return Err(io::Error::other("three arguments are needed")) };
    let name = name.to_str().ok_or_else(|| io::Error::other("the project's name is not text"))?;
    let paths = Paths::new(PathBuf::from(data), PathBuf::from(run)).project(name);
    protect();
    messages::collect("keeper", &paths.log());
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let keeper =
        KeeperRecord { pid, start_time: process_record::start_time_of_any(pid)?, boot_id: process_record::boot_id()? };
    let project = Project { paths, arguments: arguments.to_vec(), record: keeper };
    let terminals = predecessor.map_or_else(|| Ok(Terminals::default()), |predecessor| predecessor.succeed())?;
    project.appear()?;
    // Whoever looks for a keeper finds this one: the lock of the one that started us is not needed any more.
    let null = OpenOptions::new().read(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    let result = project.keep(terminals);
    // A keeper that was started meanwhile has its own record there.
    if project.is_known() {
        let record = project.paths.keeper();
        let _ = fault::around_file("remove", &record, || std::fs::remove_file(&record));
    }
    result
}

/// The pause before a supervisor that died is started again.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// So many pauses a start that nobody waits for may take.
const MOST_STARTS: u32 = 250;
/// Between closing its socket and ending.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// After so long a life its death is no habit.
const LONG_LIFE: Duration = Duration::from_secs(10);

impl Project {
    /// Makes itself known in the runtime folder, which somebody may have cleared.
    fn appear(&self) -> io::Result<()> {
        if self.is_known() {
            return Ok(());
        }
        crate::state::folder::make(self.paths.run())?;
        record::write(&self.paths.keeper(), &self.record, Durability::Process).map_err(io::Error::other)
    }

    fn is_known(&self) -> bool {
        record::read::<KeeperRecord>(&self.paths.keeper()).ok().flatten().as_ref() == Some(&self.record)
    }

    fn keep(&self, terminals: Terminals) -> io::Result<()> {
        let mut keeper = Keeper::new(terminals)?;
        let mut announced = false;
        let mut pause = FIRST_PAUSE;
        loop {
            let born = Instant::now();
            let supervisor = self.start_supervisor(&mut keeper)?;
            let mut patience = None;
            let status = loop {
                match keeper.run(patience)? {
                    Turn::Serving => {
                        if !announced {
                            announced = true;
                            tell("ready\n");
                            silence();
                        }
                    }
                    Turn::Child { pid, status } if pid == supervisor => break status,
                    Turn::Child { .. } => {}
                    // Its end follows, unless it is stuck.
                    Turn::Lost => patience = Some(Instant::now() + LAST_WORDS),
                    Turn::Timeout => {
                        process::kill(supervisor, Signal::KILL.as_raw());
                        patience = None;
                    }
                }
            };
            keeper.disconnect();
            if keeper.shutdown {
                return Ok(());
            }
            if !announced && keeper.is_idle() {
                return Err(io::Error::other(self.why(status)));
            }
            // It was killed while it ended: nothing is left to keep, and nobody finds this keeper any more.
            if keeper.is_idle() && !self.paths.run().exists() {
                return Ok(());
            }
            if born.elapsed() >= LONG_LIFE {
                pause = FIRST_PAUSE;
            }
            let again = Instant::now() + pause;
            // Containers' ends are recorded meanwhile.
            while keeper.run(Some(again))? != Turn::Timeout {}
            // The answers to its starts were for the dead one: the next is told what runs, once that is known.
            for attempt in 0.. {
                if !keeper.is_starting() {
                    break;
                }
                if attempt == MOST_STARTS {
                    keeper.abandon_starts();
                }
                while keeper.run(Some(Instant::now() + FIRST_PAUSE))? != Turn::Timeout {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn start_supervisor(&self, keeper: &mut Keeper) -> io::Result<i32> {
        self.appear()?;
        let log = messages::open(&self.paths.log())?;
        let (ours, theirs) = packet::pair()?;
        let arguments: Vec<&OsStr> = self.arguments.iter().map(OsString::as_os_str).collect();
        let start = || spawn::role(SUPERVISOR_ROLE, &arguments, theirs.as_fd(), &log);
        let pid = fault::around("start the supervisor", start)?;
        keeper.connect(ours)?;
        Ok(pid)
    }

    /// Why the first supervisor did not come up: its last words.
    fn why(&self, status: ExitStatus) -> String {
        let text = std::fs::read(self.paths.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text[text.len().saturating_sub(2000)..]).into_owned();
        let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
        let end = match status {
            ExitStatus::Code(code) => format!("with status {code}"),
            ExitStatus::Signal(signal) => format!("by signal {signal}"),
            ExitStatus::Unknown => "for an unknown reason".to_owned(),
        };
        format!("the supervisor ended {end}: {last} (its messages are in {})", show(&self.paths.log()))
    }
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

/// Lets go of the stdout at which a command was waiting.
fn silence() {
    if let Ok(null) = OpenOptions::new().read(true).write(true).open("/dev/null") {
        let null: OwnedFd = null.into();
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}
