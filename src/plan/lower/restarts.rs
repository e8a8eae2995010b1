//! When a container is started again.

use crate::compose::model::{Duration, Service};
use crate::record::{RestartLimits, RestartPolicy};

use super::Fault;

/// What `deploy.restart_policy` says besides its condition.
pub(super) fn limits(service: &Service) -> RestartLimits {
    let Some(policy) = service.deploy.as_ref().and_then(|deploy| deploy.restart_policy.as_ref()) else {
        return RestartLimits::default();
    };
    RestartLimits {
        delay_ms: policy.delay.map(Duration::as_millis).filter(|&delay| delay > 0),
        max_attempts: policy.max_attempts.and_then(|count| u32::try_from(count).ok()).filter(|&count| count > 0),
        window_ms: policy.window.map(Duration::as_millis).filter(|&window| window > 0),
    }
}

/// `deploy.restart_policy` wins over `restart`.
pub(super) fn policy(name: &str, service: &Service, faults: &mut Vec<Fault>) -> RestartPolicy {
    if let Some(policy) = service.deploy.as_ref().and_then(|deploy| deploy.restart_policy.as_ref()) {
        return match policy.condition.as_deref() {
            Some("none" | "no") => RestartPolicy::No,
            Some("on-failure") => RestartPolicy::OnFailure { max_retries: None },
            Some("unless-stopped") => RestartPolicy::UnlessStopped,
            _ => RestartPolicy::Always,
        };
    }
    match service.restart.as_deref() {
        None | Some("" | "no") => RestartPolicy::No,
        Some("always") => RestartPolicy::Always,
        Some("unless-stopped") => RestartPolicy::UnlessStopped,
        Some(text) => {
            let (policy, count) = text.split_once(':').unwrap_or((text, ""));
            let retries = if count.is_empty() { Some(None) } else { count.parse::<u32>().ok().map(Some) };
            match (policy, retries) {
                ("on-failure", Some(max_retries)) => {
                    RestartPolicy::OnFailure { max_retries: max_retries.filter(|&count| count > 0) }
                }
                _ => {
                    faults.push(
                        Fault::new(format!("services.{name}.restart"), format!("unknown restart policy `{text}`"))
                            .hint("use no, always, unless-stopped or on-failure[:RETRIES]"),
                    );
                    RestartPolicy::No
                }
            }
        }
    }
}
