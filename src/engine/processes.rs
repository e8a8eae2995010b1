//! The processes of a container as `ps -ef` of the host has them.

use std::time::Duration;
use std::{fs, io};

use jiff::Timestamp;

use crate::record::ContainerRecord;
use crate::runtime::cgroup::{ControlGroup, Layout};
use crate::state::process::command_line;

/// One process.
#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    /// Effective, as the host numbers it.
    pub uid: u32,
    pub started: Timestamp,
    /// Of all its threads, since it began.
    pub cpu: Duration,
    /// Percent of one processor since it began.
    pub utilisation: u64,
    /// Number of the terminal's device.
    pub terminal: u64,
    /// Its arguments; `[name]` when it has none.
    pub command: String,
}

/// The control group of a container.
///
/// # Errors
/// When the mounts of this machine cannot be read.
pub fn control_group(record: &ContainerRecord) -> io::Result<ControlGroup> {
    Ok(ControlGroup::new(&Layout::detect()?, &record.spec.cgroup.path))
}

/// All processes of a container, in the order of their numbers.
///
/// # Errors
/// When the control group cannot be read. A process that ends meanwhile is left out.
pub fn of(record: &ContainerRecord) -> io::Result<Vec<Process>> {
    let mut pids = control_group(record)?.pids()?;
    pids.sort_unstable();
    pids.dedup();
    let boot = boot_time()?;
    let now = Timestamp::now();
    Ok(pids.into_iter().filter_map(|pid| read(pid, boot, now)).collect())
}

fn read(pid: i32, boot: i64, now: Timestamp) -> Option<Process> {
    let stat = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?).into_owned();
    let status = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/status")).ok()?).into_owned();
    parse(pid, &stat, &status, &command_line(pid), boot, now)
}

fn parse(pid: i32, stat: &str, status: &str, arguments: &[u8], boot: i64, now: Timestamp) -> Option<Process> {
    // The name may hold anything, parentheses and blanks too.
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let ticks = ticks_per_second();
    let cpu = Duration::from_millis((number(11)? + number(12)?) * 1000 / ticks);
    let started = Timestamp::from_millisecond(boot * 1000 + i64::try_from(number(19)? * 1000 / ticks).ok()?).ok()?;
    let alive = u64::try_from(now.duration_since(started).as_millis()).unwrap_or(0).max(1);
    let command = String::from_utf8_lossy(arguments).trim_end_matches('\0').replace('\0', " ");
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        uid: uids.split_ascii_whitespace().nth(1)?.parse().ok()?,
        started,
        cpu,
        utilisation: u64::try_from(cpu.as_millis()).unwrap_or(0) * 100 / alive,
        terminal: number(4)?,
        command: if command.is_empty() { format!("[{name}]") } else { command },
    })
}

/// `USER_HZ`, in which the kernel counts time for programs.
fn ticks_per_second() -> u64 {
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten();
    ticks.and_then(|ticks| u64::try_from(ticks).ok()).filter(|ticks| *ticks > 0).unwrap_or(100)
}

/// Seconds since 1970.
fn boot_time() -> io::Result<i64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().find_map(|line| line.strip_prefix("btime "));
    line.and_then(|seconds| seconds.trim().parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "42 (a) b (c) S 7 42 42 34816 42 4194304 1 0 0 0 150 50 0 0 20 0 3 0 1000 1 1";
        let status = "Name:\ta\nUid:\t1000\t33\t1000\t1000\n";
        let now = Timestamp::from_second(1_000_030).unwrap();
        let process = parse(42, stat, status, b"sh\0-c\0sleep 1\0", 1_000_000, now).unwrap();
        assert_eq!((process.parent, process.uid, process.terminal), (7, 33, 34816));
        assert_eq!(process.cpu, Duration::from_secs(2));
        assert_eq!(process.started, Timestamp::from_second(1_000_010).unwrap());
        assert_eq!(process.utilisation, 10);
        assert_eq!(process.command, "sh -c sleep 1");
        assert_eq!(parse(42, stat, status, b"", 0, now).unwrap().command, "[a) b (c]");
        assert!(parse(42, "42 (a) S 7", status, b"", 0, now).is_none());
    }
}
