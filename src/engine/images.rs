//! Images as lowering needs them.

use crate::image::Image;
use crate::plan::lower::{ImageHealth, ServiceImage};

/// What a service gets from its image.
#[must_use]
pub fn service_image(reference: &str, image: &Image) -> ServiceImage {
    let config = image.config.clone();
    let milliseconds = |nanoseconds: u64| nanoseconds / 1_000_000;
    ServiceImage {
        reference: reference.to_owned(),
        id: image.id.to_string(),
        lower: image.layers.clone(),
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
