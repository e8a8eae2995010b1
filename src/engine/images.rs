//! Images as lowering needs them.

use std::path::Path;

use crate::image::host::{self, HostError};
use crate::image::{Image, ImageConfig};
use crate::plan::lower::{ImageHealth, OverlayPart, ServiceImage};

/// The host root file system as an image.
///
/// # Errors
/// When its layer cannot be made.
pub fn host_image(store: &Path) -> Result<ServiceImage, HostError> {
    let rootfs = host::prepare(store)?;
    Ok(ServiceImage {
        lower: rootfs.lower,
        overlays: rootfs
            .overlays
            .into_iter()
            .map(|part| OverlayPart { target: part.target, lower: part.lower, upper: part.upper, work: part.work })
            .collect(),
        ..from_config("rootfs: host", "", host::config())
    })
}

/// What a service gets from its image.
#[must_use]
pub fn service_image(reference: &str, image: &Image) -> ServiceImage {
    ServiceImage { lower: image.layers.clone(), ..from_config(reference, &image.id.to_string(), image.config.clone()) }
}

fn from_config(reference: &str, id: &str, config: ImageConfig) -> ServiceImage {
    let milliseconds = |nanoseconds: u64| nanoseconds / 1_000_000;
    ServiceImage {
        reference: reference.to_owned(),
        id: id.to_owned(),
        lower: vec![],
        overlays: vec![],
        env: config.env,
        entrypoint: config.entrypoint,
        cmd: config.cmd,
        user: config.user,
        working_dir: config.working_dir,
        volumes: config.volumes,
        exposed: config.exposed_ports,
        stop_signal: config.stop_signal,
        labels: config.labels,
        shell: config.shell,
        health: config.healthcheck.map(|health| ImageHealth {
            test: health.test,
            interval_ms: milliseconds(health.interval_ns),
            timeout_ms: milliseconds(health.timeout_ns),
            start_period_ms: milliseconds(health.start_period_ns),
            start_interval_ms: milliseconds(health.start_interval_ns),
            retries: health.retries,
        }),
    }
}
