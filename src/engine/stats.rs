//! `stats`: what containers use, by two readings of the kernel's counters.

use std::time::Instant;
use std::{fs, io};

use super::processes::control_group;
use crate::record::{ObservedContainer, Status};
use crate::runtime::cgroup::Usage;

/// One reading.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    pub at: Instant,
    pub usage: Usage,
    /// Bytes received and sent, loopback left out.
    pub network: (u64, u64),
    pub disk: (u64, u64),
}

/// Reads the counters of a running container; `None` for one that does not run.
///
/// # Errors
/// When they cannot be read.
pub fn read(container: &ObservedContainer) -> io::Result<Option<Reading>> {
    let Status::Running { pid, .. } = container.state.status else { return Ok(None) };
    let group = control_group(&container.record)?;
    let usage = match group.usage() {
        Ok(usage) => usage,
        // It has just ended.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let network = fs::read_to_string(format!("/proc/{pid}/net/dev")).map(|text| devices(&text)).unwrap_or_default();
    let disk = match usage.disk {
        Some(disk) => disk,
        // What processes that have ended did is lost then.
        None => group.pids()?.into_iter().map(of_process).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1)),
    };
    Ok(Some(Reading { at: Instant::now(), usage, network, disk }))
}

impl Reading {
    /// Percent of one processor since the reading before.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
    pub fn cpu_percent(&self, before: &Self) -> f64 {
        let elapsed = self.at.saturating_duration_since(before.at).as_nanos();
        if elapsed == 0 {
            return 0.0;
        }
        self.usage.cpu.saturating_sub(before.usage.cpu) as f64 / elapsed as f64 * 100.0
    }
}

/// Bytes of the machine's memory.
///
/// # Errors
/// When `/proc/meminfo` cannot be read.
pub fn machine_memory() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.map(|kilobytes| kilobytes * 1024).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// `/proc/PID/net/dev`: two lines of header, then `eth0: received ... sent ...`.
fn devices(text: &str) -> (u64, u64) {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(name, _)| name.trim() != "lo").fold((0, 0), |all, (_, counters)| {
        let counters: Vec<u64> = counters.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let at = |index: usize| counters.get(index).copied().unwrap_or(0);
        (all.0 + at(0), all.1 + at(8))
    })
}

fn of_process(pid: i32) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let field =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok()).unwrap_or(0);
    (field("read_bytes:"), field("write_bytes:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_not_network() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes\n    lo: 9 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n  eth0: 100 2 0 0 0 0 0 0 50 3 0 0 0 0 0 0\n  eth1:1 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n";
        assert_eq!(devices(text), (101, 52));
    }
}
