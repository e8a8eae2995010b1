//! Health checks: the file's, then the image's, then Docker's defaults.

use crate::compose::model::{Duration, Service};
use crate::record::{HealthSpec, HealthTest};

use super::{Fault, ServiceImage};

const DEFAULT_INTERVAL_MS: u64 = 30_000;
const DEFAULT_TIMEOUT_MS: u64 = 30_000;
const DEFAULT_START_INTERVAL_MS: u64 = 5_000;
const DEFAULT_RETRIES: u32 = 3;

pub(super) fn lower(name: &str, service: &Service, image: &ServiceImage) -> Result<Option<HealthSpec>, Fault> {
    let file = service.healthcheck.as_ref();
    if file.is_some_and(|health| health.disable) {
        return Ok(None);
    }
    let base = image.health.clone().unwrap_or_default();
    let words = match file {
        Some(health) if !health.test.is_empty() => health.test.clone(),
        _ => base.test,
    };
    let Some(kind) = words.first() else { return Ok(None) };
    let test = match kind.as_str() {
        "NONE" => return Ok(None),
        "CMD" if words.len() > 1 => HealthTest::Command(words[1..].to_vec()),
        "CMD-SHELL" if words.len() > 1 => {
            let line = words[1..].join(" ");
            match &image.shell {
                // SHELL of the image: its words come before the line.
                Some(shell) if !shell.is_empty() => {
                    HealthTest::Command(shell.iter().cloned().chain(std::iter::once(line)).collect())
                }
                _ => HealthTest::Shell(line),
            }
        }
        _ => {
            let path = format!("services.{name}.healthcheck.test");
            return Err(Fault::new(path, "the health check has no command").hint(
                "write [\"CMD\", \"program\", \"argument\"], [\"CMD-SHELL\", \"command line\"], or a command line as one string",
            ));
        }
    };
    let pick = |from_file: Option<u64>, from_image: u64, default: u64| {
        from_file.filter(|&value| value > 0).unwrap_or(if from_image > 0 { from_image } else { default })
    };
    Ok(Some(HealthSpec {
        test,
        interval_ms: pick(
            file.and_then(|health| health.interval).map(Duration::as_millis),
            base.interval_ms,
            DEFAULT_INTERVAL_MS,
        ),
        timeout_ms: pick(
            file.and_then(|health| health.timeout).map(Duration::as_millis),
            base.timeout_ms,
            DEFAULT_TIMEOUT_MS,
        ),
        start_period_ms: pick(
            file.and_then(|health| health.start_period).map(Duration::as_millis),
            base.start_period_ms,
            0,
        ),
        start_interval_ms: pick(
            file.and_then(|health| health.start_interval).map(Duration::as_millis),
            base.start_interval_ms,
            DEFAULT_START_INTERVAL_MS,
        ),
        retries: file.and_then(|health| health.retries).filter(|&retries| retries > 0).unwrap_or(if base.retries > 0 {
            base.retries
        } else {
            DEFAULT_RETRIES
        }),
    }))
}
