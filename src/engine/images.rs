//! Images as lowering needs them.

use std::path::Path;

use crate::image::host::{self, HostError, HostRootfs};
use sha2::{Digest, Sha256};

use crate::image::toolchain::Toolchain;
use crate::image::{Image, ImageConfig};
use crate::plan::lower::{ImageHealth, OverlayPart, ServiceImage};

/// The host root file system as an image.
///
/// # Errors
/// When its layer cannot be made.
pub fn host_image(store: &Path) -> Result<ServiceImage, HostError> {
    host::prepare(store).map(of_host)
}

/// The same, whose layer need not be there: it is not made.
///
/// # Errors
/// As [`host_image`].
pub fn foresee_host_image(store: &Path) -> Result<ServiceImage, HostError> {
    host::foresee(store).map(of_host)
}

fn of_host(rootfs: HostRootfs) -> ServiceImage {
    ServiceImage {
        lower: rootfs.lower,
        overlays: rootfs
            .overlays
            .into_iter()
            .map(|part| OverlayPart { target: part.target, lower: part.lower, upper: part.upper, work: part.work })
            .collect(),
        ..from_config("rootfs: host", "", host::config())
    }
}

/// Puts toolchains over the host root file system: first on the search path, and part of what the image is.
pub fn add_toolchains(image: &mut ServiceImage, toolchains: &[Toolchain]) {
    if toolchains.is_empty() {
        return;
    }
    let bins = toolchains.iter().flat_map(|toolchain| &toolchain.bins);
    let bins: Vec<String> = bins.map(|bin| bin.display().to_string()).collect();
    for variable in &mut image.env {
        if let Some(path) = variable.strip_prefix("PATH=") {
            *variable = format!("PATH={}:{path}", bins.join(":"));
        }
    }
    let mut identity = Sha256::new();
    for toolchain in toolchains {
        image.tools.extend(toolchain.folders.iter().cloned());
        image.env.extend(toolchain.env.iter().map(|(key, value)| format!("{key}={value}")));
        image.reference = format!("{}, {} {}", image.reference, toolchain.language.name(), toolchain.version);
        for (source, target) in &toolchain.folders {
            identity.update(format!("{}\0{}\0", source.display(), target.display()));
        }
    }
    image.id = format!("sha256:{}", hex::encode(identity.finalize()));
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
        tools: vec![],
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
        mounted: std::collections::BTreeMap::new(),
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
