//! Resource limits. The short attributes and `deploy.resources` say the same thing; loading made sure they agree.

use crate::compose::model::{BlkioLimit, Service};
use crate::runtime::spec::{BlkioDevice, BlkioSetting, Limits};

pub(super) fn lower(service: &Service) -> Limits {
    let deployed = service.deploy.as_ref().map(|deploy| &deploy.resources);
    let limits = deployed.and_then(|resources| resources.limits.as_ref());
    let reservations = deployed.and_then(|resources| resources.reservations.as_ref());
    let cpus = service.cpus.filter(|&cpus| cpus > 0.0).or_else(|| limits.and_then(|limits| limits.cpus));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of processors is small")]
    let nano_cpus = cpus.map(|cpus| (cpus * 1e9).round() as u64);
    let mut result = Limits {
        nano_cpus,
        cpu_shares: positive(service.cpu_shares),
        cpu_quota: service.cpu_quota.filter(|&value| value != 0),
        cpu_period: positive(service.cpu_period),
        cpuset_cpus: service.cpuset.clone().filter(|cpuset| !cpuset.is_empty()),
        cpuset_mems: None,
        memory: service
            .mem_limit
            .filter(|bytes| bytes.0 > 0)
            .or_else(|| limits.and_then(|limits| limits.memory))
            .map(|bytes| bytes.0),
        memory_reservation: service
            .mem_reservation
            .filter(|bytes| bytes.0 > 0)
            .or_else(|| reservations.and_then(|reservations| reservations.memory))
            .map(|bytes| bytes.0),
        memory_swap: service.memswap_limit.map(|bytes| bytes.0).filter(|&bytes| bytes != 0),
        memory_swappiness: positive(service.mem_swappiness),
        oom_kill_disable: service.oom_kill_disable.then_some(true),
        pids: service.pids_limit.filter(|&pids| pids != 0).or_else(|| limits.and_then(|limits| limits.pids)),
        ..Limits::default()
    };
    if let Some(blkio) = &service.blkio_config {
        result.blkio_weight = blkio.weight;
        for device in &blkio.weight_device {
            result.blkio_devices.push(BlkioDevice {
                path: device.path.clone().into(),
                setting: BlkioSetting::Weight,
                value: device.weight.into(),
            });
        }
        let mut add = |list: &[BlkioLimit], setting: BlkioSetting| {
            for device in list {
                let value = u64::try_from(device.rate.0).unwrap_or(0);
                result.blkio_devices.push(BlkioDevice { path: device.path.clone().into(), setting, value });
            }
        };
        add(&blkio.device_read_bps, BlkioSetting::ReadBps);
        add(&blkio.device_write_bps, BlkioSetting::WriteBps);
        add(&blkio.device_read_iops, BlkioSetting::ReadIops);
        add(&blkio.device_write_iops, BlkioSetting::WriteIops);
    }
    result
}

fn positive(value: Option<i64>) -> Option<u64> {
    value.and_then(|value| u64::try_from(value).ok()).filter(|&value| value > 0)
}
