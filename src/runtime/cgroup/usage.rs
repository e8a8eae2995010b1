//! What a container uses.

use std::fs;
use std::io;
use std::path::Path;

use super::ControlGroup;

/// One reading of the kernel's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Nanoseconds of all processors.
    pub cpu: u64,
    /// Bytes, without page cache that is not in use.
    pub memory: u64,
    /// `None`: as much as the machine has.
    pub memory_limit: Option<u64>,
    pub processes: u64,
    /// Bytes read and written; `None` where the kernel does not count them for a group.
    pub disk: Option<(u64, u64)>,
}

impl ControlGroup {
    /// Reads the counters, from v1 where a controller is there.
    ///
    /// # Errors
    /// When the container has no control group (any more).
    pub fn usage(&self) -> io::Result<Usage> {
        let mut usage = Usage::default();
        let unified = self.unified().filter(|folder| folder.is_dir());
        match (self.v1("cpuacct"), &unified) {
            (Some(folder), _) => usage.cpu = number(&folder, "cpuacct.usage")?,
            (None, Some(folder)) => usage.cpu = field(folder, "cpu.stat", "usage_usec").unwrap_or(0) * 1000,
            (None, None) => return Err(io::ErrorKind::NotFound.into()),
        }
        // Docker's: what could be taken away at once is not counted.
        let memory = match (self.v1("memory"), &unified) {
            (Some(folder), _) => {
                Some((folder, ["memory.usage_in_bytes", "total_inactive_file", "memory.limit_in_bytes"]))
            }
            (None, Some(folder)) => Some((folder.clone(), ["memory.current", "inactive_file", "memory.max"])),
            (None, None) => None,
        };
        if let Some((folder, [used, idle, limit])) = memory {
            let all = number(&folder, used).unwrap_or(0);
            usage.memory = all.saturating_sub(field(&folder, "memory.stat", idle).unwrap_or(0));
            // v1 says "no limit" with a number that no machine has.
            usage.memory_limit = number(&folder, limit).ok().filter(|limit| *limit < 1 << 60);
        }
        usage.processes =
            match self.v1("pids").or_else(|| unified.clone()).map(|folder| number(&folder, "pids.current")) {
                Some(Ok(count)) => count,
                _ => self.pids()?.len() as u64,
            };
        usage.disk = match (self.v1("blkio").filter(|folder| folder.is_dir()), &unified) {
            (Some(folder), _) => text(&folder, "blkio.throttle.io_service_bytes").ok().map(|text| blkio(&text)),
            (None, Some(folder)) => text(folder, "io.stat").ok().map(|text| io_stat(&text)),
            (None, None) => None,
        };
        Ok(usage)
    }
}

fn text(folder: &Path, file: &str) -> io::Result<String> {
    fs::read_to_string(folder.join(file))
}

fn number(folder: &Path, file: &str) -> io::Result<u64> {
    text(folder, file)?.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
}

fn field(folder: &Path, file: &str, name: &str) -> Option<u64> {
    let text = text(folder, file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// `8:0 Read 4096`
fn blkio(text: &str) -> (u64, u64) {
    let sum = |what: &str| {
        text.lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace().skip(1);
                (words.next()? == what).then(|| words.next()?.parse::<u64>().ok()).flatten()
            })
            .sum()
    };
    (sum("Read"), sum("Write"))
}

/// `8:0 rbytes=4096 wbytes=0 rios=1 ...`
fn io_stat(text: &str) -> (u64, u64) {
    let sum =
        |what: &str| text.split_whitespace().filter_map(|word| word.strip_prefix(what)?.parse::<u64>().ok()).sum();
    (sum("rbytes="), sum("wbytes="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_disk_counters() {
        let text = "8:0 Read 4096\n8:0 Write 100\n8:16 Read 4\n8:16 Sync 7\n8:16 Total 11\nTotal 4211\n";
        assert_eq!(blkio(text), (4100, 100));
        assert_eq!(io_stat("8:0 rbytes=1 wbytes=2 rios=9\n8:16 rbytes=10 wbytes=20\n"), (11, 22));
    }
}
