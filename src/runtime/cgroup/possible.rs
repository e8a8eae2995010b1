//! Limits that no kernel takes, or not that of this machine.

use std::fs;
use std::ops::RangeInclusive;

use super::{Layout, limits};
use crate::runtime::StartError;
use crate::runtime::spec::Limits;

/// With less a container's first process does not come to its program; Docker's least, too.
const LEAST_MEMORY: i64 = 6 << 20;
/// Microseconds.
const PERIODS: RangeInclusive<u64> = 1000..=1_000_000;
const LEAST_QUOTA: i64 = 1000;

/// Each with the name that Compose has for it.
pub fn impossible(limits: &Limits) -> Vec<(&'static str, StartError)> {
    let mut found = Vec::new();
    let mut note = |name: &'static str, detail: String| found.push((name, StartError::new(name, detail)));
    if let Some(cpus) = limits.cpuset_cpus.as_deref().filter(|cpus| !cpus.is_empty()) {
        let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
        match (numbers(cpus), numbers(online.trim())) {
            (None, _) => note("cpuset", format!("`{cpus}` is no list of processors, as `0-2,5` is")),
            (Some(wanted), Some(online)) => {
                let here = |cpu: u32| online.iter().any(|range| range.contains(&cpu));
                if wanted.iter().any(|range| !here(*range.start()) || !here(*range.end())) {
                    let text = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
                    note("cpuset", format!("`{cpus}`: this machine has the processors {}", text.trim()));
                }
            }
            (Some(_), None) => {}
        }
    }
    let given = |bytes: Option<i64>| bytes.filter(|&bytes| bytes > 0);
    if let Some(memory) = given(limits.memory) {
        if memory < LEAST_MEMORY {
            note("mem_limit", format!("{memory} bytes are too few; the least is 6m"));
        }
        if given(limits.memory_reservation).is_some_and(|reserved| reserved > memory) {
            note("mem_reservation", "it is above the memory limit".to_owned());
        }
        if given(limits.memory_swap).is_some_and(|both| both < memory) {
            note("memswap_limit", "it is memory and swap together, and below the memory limit".to_owned());
        }
    }
    if let Some(period) = limits.cpu_period.filter(|period| *period != 0 && !PERIODS.contains(period)) {
        note("cpu_period", format!("{period} is not between 1000 and 1000000 microseconds"));
    }
    if let Some(quota) = limits.cpu_quota.filter(|&quota| quota > 0 && quota < LEAST_QUOTA) {
        note("cpu_quota", format!("{quota} is below 1000 microseconds"));
    }
    let devices = match Layout::detect() {
        Ok(layout) if layout.v1.is_empty() => limits::v2(limits),
        _ => limits::v1(limits),
    };
    if let Err(error) = devices {
        found.push(("blkio_config", error));
    }
    found
}

/// `0-2,5`
fn numbers(text: &str) -> Option<Vec<RangeInclusive<u32>>> {
    let one = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first <= last).then_some(first..=last)
    };
    text.split(',').map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(limits: Limits) -> Vec<&'static str> {
        impossible(&limits).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn what_no_kernel_takes_is_found() {
        let limits = Limits::default();
        assert!(names(limits.clone()).is_empty());
        for cpus in ["0-99999", "x", "3-1", "0,,1"] {
            assert_eq!(names(Limits { cpuset_cpus: Some(cpus.into()), ..limits.clone() }), ["cpuset"], "{cpus}");
        }
        assert!(names(Limits { cpuset_cpus: Some("0".into()), ..limits.clone() }).is_empty());
        let memory = |memory, reserved, both| Limits {
            memory: Some(memory),
            memory_reservation: reserved,
            memory_swap: both,
            ..Limits::default()
        };
        assert_eq!(names(memory(4 << 20, None, None)), ["mem_limit"]);
        assert_eq!(names(memory(64 << 20, Some(65 << 20), Some(1 << 20))), ["mem_reservation", "memswap_limit"]);
        assert!(names(memory(64 << 20, Some(32 << 20), Some(-1))).is_empty());
        assert_eq!(names(Limits { cpu_period: Some(1), cpu_quota: Some(999), ..limits }), ["cpu_period", "cpu_quota"]);
    }
}
