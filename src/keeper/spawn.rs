//! Starting a project's keeper, from the command line's process.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::keeper::main::{KeeperRecord, ROLE};
use crate::state::record::{self, ReadError};
use crate::state::{Paths, ProjectPaths};

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
/// caller holds the project's lock and knows that there is no keeper.
///
/// # Errors
/// With the reason, in the supervisor's own last words where it had any.
pub fn spawn(paths: &Paths, project: &str) -> Result<(), SpawnError> {
    let project_paths = paths.project(project);
    let folder = project_paths.run();
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(folder).map_err(|source| SpawnError::Folder { path: folder.into(), source })?;
    let failed = |source| SpawnError::Start { source };
    let log_path = project_paths.log();
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&log_path).map_err(failed)?;
    let mut child = Command::new("/proc/self/exe")
        .arg0(ROLE)
        .args([paths.data().as_os_str(), paths.run().as_os_str(), project.as_ref()])
        .env_clear()
        .stdin(Stdio::null())
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

/// The living keeper of a project, if there is one.
///
/// # Errors
/// When its record cannot be read.
pub fn find(project: &ProjectPaths) -> Result<Option<KeeperRecord>, ReadError> {
    Ok(record::read::<KeeperRecord>(&project.keeper())?.filter(KeeperRecord::is_alive))
}
