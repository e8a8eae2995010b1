//! Resource limits as lines of control files.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::runtime::StartError;
use crate::runtime::error::Step;
use crate::runtime::spec::{BlkioSetting, Limits};

/// One line to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub controller: &'static str,
    pub file: &'static str,
    pub value: String,
    /// The kernel may lack it (swap accounting); a warning is enough then.
    pub optional: bool,
}

const PERIOD: u64 = 100_000;

fn setting(controller: &'static str, file: &'static str, value: impl ToString) -> Setting {
    Setting { controller, file, value: value.to_string(), optional: false }
}

fn optional(controller: &'static str, file: &'static str, value: impl ToString) -> Setting {
    Setting { optional: true, ..setting(controller, file, value) }
}

/// Quota and period in microseconds.
fn bandwidth(limits: &Limits) -> (Option<i64>, Option<u64>) {
    match limits.nano_cpus {
        Some(nano) if nano > 0 => {
            let quota = u128::from(nano) * u128::from(PERIOD) / 1_000_000_000;
            // The kernel takes no less than a millisecond.
            (Some(i64::try_from(quota).unwrap_or(i64::MAX).max(1000)), Some(PERIOD))
        }
        _ => (limits.cpu_quota.filter(|quota| *quota != 0), limits.cpu_period.filter(|period| *period != 0)),
    }
}

/// Memory plus swap; Docker allows as much swap as memory when nothing is said.
fn memory_and_swap(limits: &Limits) -> Option<i64> {
    match (limits.memory, limits.memory_swap) {
        (_, Some(-1)) => Some(-1),
        (_, Some(both)) if both > 0 => Some(both),
        (Some(memory), _) if memory > 0 => Some(memory.saturating_mul(2)),
        _ => None,
    }
}

pub(super) fn v1(limits: &Limits) -> Result<Vec<Setting>, StartError> {
    let mut all = Vec::new();
    if let Some(shares) = limits.cpu_shares.filter(|shares| *shares > 0) {
        all.push(setting("cpu", "cpu.shares", shares));
    }
    let (quota, period) = bandwidth(limits);
    if let Some(period) = period {
        all.push(setting("cpu", "cpu.cfs_period_us", period));
    }
    if let Some(quota) = quota {
        all.push(setting("cpu", "cpu.cfs_quota_us", quota));
    }
    cpuset(limits, &mut all);
    if let Some(memory) = limits.memory.filter(|memory| *memory != 0) {
        all.push(setting("memory", "memory.limit_in_bytes", memory));
    }
    if let Some(both) = memory_and_swap(limits) {
        all.push(optional("memory", "memory.memsw.limit_in_bytes", both));
    }
    if let Some(low) = limits.memory_reservation.filter(|low| *low != 0) {
        all.push(setting("memory", "memory.soft_limit_in_bytes", low));
    }
    if let Some(swappiness) = limits.memory_swappiness {
        all.push(optional("memory", "memory.swappiness", swappiness));
    }
    if limits.oom_kill_disable == Some(true) {
        all.push(setting("memory", "memory.oom_control", 1));
    }
    pids(limits, &mut all);
    if let Some(weight) = limits.blkio_weight.filter(|weight| *weight > 0) {
        all.push(optional("blkio", "blkio.weight", weight));
    }
    for device in &limits.blkio_devices {
        let number = device_number(&device.path)?;
        let file = match device.setting {
            BlkioSetting::Weight => "blkio.weight_device",
            BlkioSetting::ReadBps => "blkio.throttle.read_bps_device",
            BlkioSetting::WriteBps => "blkio.throttle.write_bps_device",
            BlkioSetting::ReadIops => "blkio.throttle.read_iops_device",
            BlkioSetting::WriteIops => "blkio.throttle.write_iops_device",
        };
        let line = format!("{number} {}", device.value);
        let weight = device.setting == BlkioSetting::Weight;
        all.push(Setting { optional: weight, ..setting("blkio", file, line) });
    }
    Ok(all)
}

pub(super) fn v2(limits: &Limits) -> Result<Vec<Setting>, StartError> {
    let mut all = Vec::new();
    if let Some(shares) = limits.cpu_shares.filter(|shares| *shares > 0) {
        all.push(setting("cpu", "cpu.weight", cpu_weight(shares)));
    }
    let (quota, period) = bandwidth(limits);
    if quota.is_some() || period.is_some() {
        let quota = quota.filter(|quota| *quota > 0).map_or_else(|| "max".to_owned(), |quota| quota.to_string());
        all.push(setting("cpu", "cpu.max", format!("{quota} {}", period.unwrap_or(PERIOD))));
    }
    cpuset(limits, &mut all);
    let max = |bytes: i64| if bytes < 0 { "max".to_owned() } else { bytes.to_string() };
    if let Some(memory) = limits.memory.filter(|memory| *memory != 0) {
        all.push(setting("memory", "memory.max", max(memory)));
    }
    if let Some(both) = memory_and_swap(limits) {
        let swap = if both < 0 { -1 } else { (both - limits.memory.unwrap_or(0).max(0)).max(0) };
        all.push(optional("memory", "memory.swap.max", max(swap)));
    }
    if let Some(low) = limits.memory_reservation.filter(|low| *low != 0) {
        all.push(setting("memory", "memory.low", max(low)));
    }
    pids(limits, &mut all);
    if let Some(weight) = limits.blkio_weight.filter(|weight| *weight > 0) {
        all.push(optional("io", "io.weight", format!("default {}", io_weight(u64::from(weight)))));
    }
    for device in &limits.blkio_devices {
        let number = device_number(&device.path)?;
        let (file, line) = match device.setting {
            BlkioSetting::Weight => ("io.weight", format!("{number} {}", io_weight(device.value))),
            BlkioSetting::ReadBps => ("io.max", format!("{number} rbps={}", device.value)),
            BlkioSetting::WriteBps => ("io.max", format!("{number} wbps={}", device.value)),
            BlkioSetting::ReadIops => ("io.max", format!("{number} riops={}", device.value)),
            BlkioSetting::WriteIops => ("io.max", format!("{number} wiops={}", device.value)),
        };
        all.push(Setting { optional: file == "io.weight", ..setting("io", file, line) });
    }
    Ok(all)
}

/// What was asked for and does not exist in the unified hierarchy.
pub(super) fn v2_lacks(limits: &Limits) -> Vec<&'static str> {
    let mut all = Vec::new();
    if limits.memory_swappiness.is_some() {
        all.push("mem_swappiness");
    }
    if limits.oom_kill_disable == Some(true) {
        all.push("oom_kill_disable");
    }
    all
}

fn cpuset(limits: &Limits, all: &mut Vec<Setting>) {
    if let Some(cpus) = limits.cpuset_cpus.as_deref().filter(|cpus| !cpus.is_empty()) {
        all.push(setting("cpuset", "cpuset.cpus", cpus));
    }
    if let Some(mems) = limits.cpuset_mems.as_deref().filter(|mems| !mems.is_empty()) {
        all.push(setting("cpuset", "cpuset.mems", mems));
    }
}

fn pids(limits: &Limits, all: &mut Vec<Setting>) {
    match limits.pids {
        Some(pids) if pids > 0 => all.push(setting("pids", "pids.max", pids)),
        Some(pids) if pids < 0 => all.push(setting("pids", "pids.max", "max")),
        _ => {}
    }
}

/// Shares (2 to 262144, 1024 is usual) to a weight (1 to 10000, 100 is usual): the curve that runc and crun use, which
/// keeps the usual value usual.
fn cpu_weight(shares: u64) -> u64 {
    let shares = shares.clamp(2, 262_144);
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    (10f64.powf(exponent).ceil() as u64).clamp(1, 10_000)
}

/// 10 to 1000 becomes 1 to 10000.
fn io_weight(weight: u64) -> u64 {
    1 + (weight.clamp(10, 1000) - 10) * 9999 / 990
}

fn device_number(path: &Path) -> Result<String, StartError> {
    let step = || format!("blkio_config {}", path.display());
    let metadata = std::fs::metadata(path).step(step)?;
    if !metadata.file_type().is_block_device() {
        return Err(StartError::new(step(), "is not a block device"));
    }
    Ok(format!("{}:{}", rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::spec::BlkioDevice;

    fn lines(settings: &[Setting]) -> Vec<String> {
        settings.iter().map(|s| format!("{}={}", s.file, s.value)).collect()
    }

    #[test]
    fn both_versions_of_the_usual_limits() {
        let limits = Limits {
            nano_cpus: Some(500_000_000),
            cpu_shares: Some(1024),
            memory: Some(64 << 20),
            memory_reservation: Some(32 << 20),
            pids: Some(100),
            blkio_weight: Some(500),
            ..Limits::default()
        };
        assert_eq!(
            lines(&v1(&limits).unwrap()),
            [
                "cpu.shares=1024",
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=50000",
                "memory.limit_in_bytes=67108864",
                "memory.memsw.limit_in_bytes=134217728",
                "memory.soft_limit_in_bytes=33554432",
                "pids.max=100",
                "blkio.weight=500"
            ]
        );
        assert_eq!(
            lines(&v2(&limits).unwrap()),
            [
                "cpu.weight=100",
                "cpu.max=50000 100000",
                "memory.max=67108864",
                "memory.swap.max=67108864",
                "memory.low=33554432",
                "pids.max=100",
                "io.weight=default 4950"
            ]
        );
    }

    #[test]
    fn swap_rules_and_weights() {
        let limits = |memory, memory_swap| Limits { memory, memory_swap, ..Limits::default() };
        assert_eq!(lines(&v2(&limits(Some(100), Some(-1))).unwrap())[1], "memory.swap.max=max");
        assert_eq!(lines(&v2(&limits(Some(100), Some(100))).unwrap())[1], "memory.swap.max=0");
        assert_eq!((cpu_weight(2), cpu_weight(1024), cpu_weight(262_144)), (1, 100, 10_000));
        assert_eq!((io_weight(10), io_weight(1000)), (1, 10_000));
    }
    #[test]
    fn a_device_has_a_weight_of_its_own() {
        // Any block device will do; without one there is nothing to weigh.
        let disks = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
        let path = disks.map(|disk| Path::new("/dev").join(disk.file_name())).find(|path| path.exists());
        let Some(path) = path else { return };
        let number = device_number(&path).unwrap();
        let weight_device = BlkioDevice { path, setting: BlkioSetting::Weight, value: 500 };
        let limits = Limits { blkio_devices: vec![weight_device], ..Limits::default() };
        assert_eq!(lines(&v1(&limits).unwrap()), [format!("blkio.weight_device={number} 500")]);
        assert_eq!(lines(&v2(&limits).unwrap()), [format!("io.weight={number} 4950")]);
        let wrong = BlkioDevice { path: "/etc/hosts".into(), setting: BlkioSetting::Weight, value: 500 };
        assert!(v1(&Limits { blkio_devices: vec![wrong], ..Limits::default() }).is_err());
    }
}
