//! Starting a project's keeper, from the command line's process.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::keeper::predecessor::{Predecessor, children, is_supervisor, kill, supervisors};
use crate::keeper::process::{KeeperRecord, ROLE};
use crate::state::process::command_line;
use crate::state::record::{self, ReadError};
use crate::state::{Lock, Paths, ProjectPaths, messages};
use crate::sys::fault;

/// Why there is no keeper.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error("cannot make the folder {path}")]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot start the background process")]
    Start { source: io::Error },
    #[error("the background process did not come up: {reason}")]
    Failed { reason: String },
    #[error("the background process does not answer after {seconds} s (its messages are in {log})")]
    Silent { seconds: u64, log: PathBuf },
}

/// A supervisor needs a few milliseconds; a machine that is short of memory may need seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts the keeper of a project, which starts the supervisor; returns when the supervisor's socket answers. The
/// caller holds the project's `lock` and knows that there is no keeper but the `predecessor`. The keeper holds it too until it has said who it
/// is: a caller that is killed here does not let another one start a second keeper. What it needs of a `predecessor` it
/// takes from that process itself.
///
/// # Errors
/// With the reason, in the supervisor's own last words where it had any.
pub fn spawn(paths: &Paths, project: &str, lock: &Lock, predecessor: Option<&Predecessor>) -> Result<(), SpawnError> {
    let project_paths = paths.project(project);
    let folder = project_paths.run();
    make_folder(&project_paths).map_err(|source| SpawnError::Folder { path: folder.into(), source })?;
    let failed = |source| SpawnError::Start { source };
    let log_path = project_paths.log();
    let log = messages::open(&log_path).map_err(failed)?;
    let environment = fault::environment();
    let environment = environment.iter().filter_map(|entry| entry.to_str().ok()?.split_once('='));
    let mut child = Command::new("/proc/self/exe")
        .arg0(ROLE)
        .args(predecessor.map(Predecessor::arguments).into_iter().flatten())
        .args([paths.data().as_os_str(), paths.run().as_os_str(), project.as_ref()])
        .env_clear()
        .envs(environment)
        .stdin(lock.share().map_err(failed)?)
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(failed)?;
    let stdout = child.stdout.take();
    // It forks and ends; the keeper is its child and nobody's to wait for.
    let status = child.wait().map_err(failed)?;
    let Some(stdout) = stdout else { return Err(failed(io::ErrorKind::BrokenPipe.into())) };
    let timeout = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    let ready = loop {
        match poll(&mut [PollFd::new(&stdout, PollFlags::IN)], Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other.map_err(|error| failed(error.into()))?,
        }
    };
    if ready == 0 {
        return Err(SpawnError::Silent { seconds: PATIENCE.as_secs(), log: log_path });
    }
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).map_err(failed)?;
    match line.trim_end().strip_prefix("error: ") {
        _ if line == "ready\n" => Ok(()),
        Some(reason) => Err(SpawnError::Failed { reason: reason.to_owned() }),
        None => Err(SpawnError::Failed { reason: format!("it ended without a word ({status})") }),
    }
}

fn make_folder(project: &ProjectPaths) -> io::Result<()> {
    fault::around("make the runtime folder", || crate::state::folder::make(project.run()))
}

/// The living keeper of a project whose record is gone, because somebody has cleared the runtime folder. All processes
/// are looked at, but only for a project that has containers.
#[must_use]
pub fn find_lost(paths: &Paths, project: &ProjectPaths) -> Option<i32> {
    let has_containers = std::fs::read_dir(project.containers()).is_ok_and(|mut entries| entries.next().is_some());
    if !has_containers {
        return None;
    }
    let arguments = [paths.data().as_os_str(), paths.run().as_os_str(), OsStr::new(project.name())];
    let wanted: Vec<&[u8]> = arguments.iter().map(|argument| argument.as_bytes()).collect();
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(|pid| {
        let text = command_line(*pid);
        let words: Vec<&[u8]> = text.split(|byte| *byte == 0).filter(|word| !word.is_empty()).collect();
        words.first() == Some(&ROLE.as_bytes()) && words.ends_with(&wanted)
    })
}

/// Makes a keeper that was not found but looked for known again: by the end of its supervisor, after which it starts the
/// next one.
///
/// # Errors
/// When the folder cannot be made or the supervisor not be ended.
pub fn revive(project: &ProjectPaths, keeper: i32) -> io::Result<()> {
    make_folder(project)?;
    for supervisor in supervisors(keeper)? {
        kill(&supervisor)?;
    }
    Ok(())
}

/// The living keeper of a project, if there is one.
///
/// # Errors
/// When its record cannot be read.
pub fn find(project: &ProjectPaths) -> Result<Option<KeeperRecord>, ReadError> {
    Ok(record::read::<KeeperRecord>(&project.keeper())?.filter(KeeperRecord::is_alive))
}

/// The processes behind a project that live now, to be looked at.
#[derive(Debug, Default)]
pub struct Behind {
    pub keeper: Option<i32>,
    pub supervisors: Vec<i32>,
}

#[must_use]
pub fn behind(project: &ProjectPaths) -> Behind {
    let Ok(Some(keeper)) = find(project) else { return Behind::default() };
    let children = children(keeper.pid).unwrap_or_default();
    Behind { keeper: Some(keeper.pid), supervisors: children.into_iter().filter(|pid| is_supervisor(*pid)).collect() }
}
