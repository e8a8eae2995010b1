//! The state of a container as it is, not as it was last written: a supervisor or keeper may have died, the machine
//! may have been started anew.

use std::time::Duration;

use crate::keeper::protocol::ExitRecord;
use crate::record::restarts::Restarts;
use crate::record::{ContainerState, ObservedContainer, Status};
use crate::runtime::spec::ExitStatus;
use crate::state::{ContainerPaths, ProjectPaths, process, record};

/// [`crate::record::inventory::containers`], each checked against the processes that there are.
///
/// # Errors
/// When a record is damaged or cannot be read.
pub fn containers(paths: &ProjectPaths) -> Result<Vec<ObservedContainer>, record::ReadError> {
    crate::record::inventory::containers(paths).map(|found| corrected(paths, found))
}

/// The same for one service.
///
/// # Errors
/// As [`containers`].
pub fn containers_of(paths: &ProjectPaths, service: &str) -> Result<Vec<ObservedContainer>, record::ReadError> {
    crate::record::inventory::containers_of(paths, service).map(|found| corrected(paths, found))
}

/// [`crate::record::inventory::readable`], checked in the same way.
#[must_use]
pub fn readable(paths: &ProjectPaths) -> (Vec<ObservedContainer>, Vec<record::ReadError>) {
    let (found, faults) = crate::record::inventory::readable(paths);
    (corrected(paths, found), faults)
}

fn corrected(paths: &ProjectPaths, mut containers: Vec<ObservedContainer>) -> Vec<ObservedContainer> {
    for container in &mut containers {
        let places = paths.container(&container.record.id);
        let status = now(&places, container.state.status.clone(), &|| is_supervised(paths));
        let ObservedContainer { record, state } = container;
        let restarts = Restarts::new(record.restart.clone(), record.restart_limits.clone(), state.restarts);
        state.status = foreseen(state, restarts, status, &|| is_supervised(paths));
    }
    containers
}

/// Between the end of a container and its supervisor's word there is a moment: what is about to be started again has not
/// exited for good in it.
fn foreseen(state: &ContainerState, mut restarts: Restarts, now: Status, supervised: &dyn Fn() -> bool) -> Status {
    match (&state.status, &now) {
        (Status::Running { .. }, Status::Exited { exit, started: Some(started), finished })
            if *exit != ExitStatus::Unknown && !state.stopped_by_user =>
        {
            let ran = Duration::try_from(finished.duration_since(*started)).unwrap_or_default();
            match restarts.after_exit(*exit, ran) {
                Some(_) if supervised() => Status::Restarting { exit: *exit, finished: *finished },
                _ => now,
            }
        }
        _ => now,
    }
}

/// The same for one container, whose restarts are believed.
#[must_use]
pub fn status(paths: &ContainerPaths, written: Status) -> Status {
    now(paths, written, &|| true)
}

/// Corrects what is written: a container that is said to run, but does not, has exited; one that nobody starts again
/// does not restart.
fn now(paths: &ContainerPaths, written: Status, supervised: &dyn Fn() -> bool) -> Status {
    match written {
        Status::Running { pid, start_time, ref boot_id, started, .. } => {
            if process::is_alive(pid, start_time, boot_id) {
                return written;
            }
            // The keeper writes the exit down before anybody else hears of it, and while the dead process is still to be
            // seen; that of an earlier run is removed before a start. Who ends at once has ended before its start is
            // noted.
            let unburied = is_unburied(pid, start_time, boot_id);
            let seen = record::read::<ExitRecord>(&paths.exit()).ok().flatten();
            match seen.filter(|exit| exit.pid == pid) {
                Some(exit) => {
                    Status::Exited { exit: exit.status, started: Some(started), finished: exit.at.max(started) }
                }
                None if unburied => written,
                None => Status::Exited {
                    exit: ExitStatus::Unknown,
                    started: Some(started),
                    finished: last_sign(paths, started),
                },
            }
        }
        Status::Restarting { exit, finished } if !supervised() => {
            Status::Exited { exit, started: Some(finished), finished }
        }
        other => other,
    }
}

/// Whether it has ended, and its keeper is about to hear of it. Of a dead keeper's containers, another process takes
/// notice, or none.
fn is_unburied(pid: i32, start_time: u64, boot_id: &str) -> bool {
    process::boot_id().is_ok_and(|now| now == boot_id)
        && process::start_time_of_any(pid).is_ok_and(|now| now == start_time)
        && process::parent(pid).is_some_and(|parent| {
            process::command_line(parent).split(|byte| *byte == 0).next() == Some(crate::keeper::ROLE.as_bytes())
        })
}

/// Nobody saw it end: the last line it wrote, or its last change of state, is the last that is known.
fn last_sign(paths: &ContainerPaths, started: jiff::Timestamp) -> jiff::Timestamp {
    let changed = |path: std::path::PathBuf| {
        let modified = std::fs::metadata(path).and_then(|found| found.modified()).ok()?;
        jiff::Timestamp::try_from(modified).ok()
    };
    [changed(paths.log()), changed(paths.state())].into_iter().flatten().max().unwrap_or(started).max(started)
}

/// Whether somebody listens at the project's socket.
fn is_supervised(paths: &ProjectPaths) -> bool {
    use std::os::fd::AsRawFd;
    let Ok(folder) = std::fs::File::open(paths.run()) else { return false };
    // The whole path may be longer than a socket's address can be.
    let name = paths.socket();
    let name = name.file_name().unwrap_or_default();
    let short = std::path::Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
    std::os::unix::net::UnixStream::connect(short).is_ok()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::record::{RestartLimits, RestartPolicy};
    use crate::state::Paths;
    use crate::state::record::Durability;

    fn running(pid: i32, start_time: u64, boot_id: String) -> Status {
        let started = Timestamp::UNIX_EPOCH;
        Status::Running { pid, start_time, boot_id, started, health: None, paused: false }
    }

    #[test]
    fn what_is_written_yields_to_what_is() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::from_home(Some(home.path())).project("shop").container("abc");
        let boot = process::boot_id().unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let alive = running(pid, process::start_time(pid).unwrap().unwrap(), boot.clone());
        assert_eq!(now(&paths, alive.clone(), &|| false), alive);
        // The same number, but another process; and a process of an earlier boot.
        for gone in [running(pid, 1, boot.clone()), running(pid, 1, "earlier".into())] {
            assert!(matches!(now(&paths, gone, &|| true), Status::Exited { exit: ExitStatus::Unknown, .. }));
        }
        let at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let exit = ExitRecord { pid, status: ExitStatus::Code(3), at, oom_killed: false };
        record::write(&paths.exit(), &exit, Durability::Process).unwrap();
        let expected = Status::Exited { exit: ExitStatus::Code(3), started: Some(Timestamp::UNIX_EPOCH), finished: at };
        assert_eq!(now(&paths, running(pid, 1, boot.clone()), &|| true), expected);
        assert!(matches!(
            now(&paths, running(pid + 1, 1, boot), &|| true),
            Status::Exited { exit: ExitStatus::Unknown, .. }
        ));
        // Dead, its parent has taken no notice, and that is no keeper.
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let began = process::start_time_of_any(pid).unwrap();
        while process::start_time(pid).unwrap().is_some() {
            std::thread::yield_now();
        }
        assert_eq!(process::parent(pid), i32::try_from(std::process::id()).ok());
        let orphan = running(pid, began, process::boot_id().unwrap());
        assert!(matches!(now(&paths, orphan, &|| true), Status::Exited { exit: ExitStatus::Unknown, .. }));
        child.wait().unwrap();
        let restarting = Status::Restarting { exit: ExitStatus::Code(1), finished: at };
        assert_eq!(now(&paths, restarting.clone(), &|| true), restarting);
        assert!(matches!(now(&paths, restarting, &|| false), Status::Exited { exit: ExitStatus::Code(1), .. }));
    }

    #[test]
    fn what_is_about_to_be_restarted_has_not_exited() {
        let at = Timestamp::UNIX_EPOCH;
        let mut state = ContainerState::created();
        state.status = running(1, 1, "boot".into());
        let exited = |exit: ExitStatus| Status::Exited { exit, started: Some(at), finished: at };
        let failed = exited(ExitStatus::Code(1));
        let again = Status::Restarting { exit: ExitStatus::Code(1), finished: at };
        let restarts = |restarts: u32| {
            Restarts::new(RestartPolicy::OnFailure { max_retries: Some(2) }, RestartLimits::default(), restarts)
        };
        assert_eq!(foreseen(&state, restarts(1), failed.clone(), &|| true), again);
        // Nobody is there to do it; it was the last attempt; it ended well; nobody knows how it ended.
        assert_eq!(foreseen(&state, restarts(1), failed.clone(), &|| false), failed);
        assert_eq!(foreseen(&state, restarts(2), failed.clone(), &|| true), failed);
        for exit in [ExitStatus::Code(0), ExitStatus::Unknown] {
            assert_eq!(foreseen(&state, restarts(0), exited(exit), &|| true), exited(exit));
        }
        // A person has stopped it, or its supervisor has said so.
        let stopped = ContainerState { stopped_by_user: true, ..state.clone() };
        assert_eq!(foreseen(&stopped, restarts(0), failed.clone(), &|| true), failed);
        state.status = failed.clone();
        assert_eq!(foreseen(&state, restarts(0), failed.clone(), &|| true), failed);
    }
}
