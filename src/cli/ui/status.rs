//! The state of a container in words: `running`, `Up 5 seconds (healthy)`.

use jiff::Timestamp;

use super::human;
use crate::record::{Health, HealthStatus, Status};

/// One word, as `--filter status=` takes it.
#[must_use]
pub fn word(status: &Status) -> &'static str {
    match status {
        Status::Created => "created",
        Status::Running { paused: true, .. } => "paused",
        Status::Running { .. } => "running",
        Status::Restarting { .. } => "restarting",
        Status::Exited { .. } => "exited",
    }
}

/// The STATUS column.
#[must_use]
pub fn sentence(status: &Status, now: Timestamp) -> String {
    match status {
        Status::Created => "Created".into(),
        Status::Running { started, paused: true, .. } => format!("Up {} (Paused)", human::since(*started, now)),
        Status::Running { started, health, .. } => {
            let up = human::since(*started, now);
            match health.as_ref().map(|health| health.status) {
                Some(HealthStatus::Starting) => format!("Up {up} (health: starting)"),
                Some(HealthStatus::Healthy) => format!("Up {up} (healthy)"),
                Some(HealthStatus::Unhealthy) => format!("Up {up} (unhealthy)"),
                None => format!("Up {up}"),
            }
        }
        Status::Restarting { exit, finished } => {
            format!("Restarting ({}) {} ago", exit.code(), human::since(*finished, now))
        }
        // It never ran: that is what the start that failed left behind.
        Status::Exited { started: None, .. } => "Created".into(),
        Status::Exited { exit, finished, .. } => {
            format!("Exited ({}) {} ago", exit.code(), human::since(*finished, now))
        }
    }
}

/// One word, empty without a health check.
#[must_use]
pub fn health(status: &Status) -> &'static str {
    match status {
        Status::Running { health: Some(Health { status, .. }), .. } => match status {
            HealthStatus::Starting => "starting",
            HealthStatus::Healthy => "healthy",
            HealthStatus::Unhealthy => "unhealthy",
        },
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::spec::ExitStatus;

    #[test]
    fn sentences_read_as_dockers() {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        let at = |text: &str| format!("2026-01-01T00:{text}Z").parse::<Timestamp>().unwrap();
        let running = |status: Option<HealthStatus>, paused| Status::Running {
            pid: 1,
            start_time: 1,
            boot_id: String::new(),
            started: at("09:55"),
            health: status.map(|status| Health { status, failing_streak: 0, log: vec![] }),
            paused,
        };
        let exited = |started, exit| Status::Exited { exit, started, finished: at("08:00") };
        for (status, text) in [
            (Status::Created, "created|Created|"),
            (running(None, false), "running|Up 5 seconds|"),
            (running(Some(HealthStatus::Starting), false), "running|Up 5 seconds (health: starting)|starting"),
            (running(Some(HealthStatus::Healthy), false), "running|Up 5 seconds (healthy)|healthy"),
            (running(Some(HealthStatus::Unhealthy), true), "paused|Up 5 seconds (Paused)|unhealthy"),
            (
                Status::Restarting { exit: ExitStatus::Code(3), finished: at("09:00") },
                "restarting|Restarting (3) About a minute ago|",
            ),
            (exited(Some(at("01:00")), ExitStatus::Signal(9)), "exited|Exited (137) 2 minutes ago|"),
            (exited(None, ExitStatus::Code(127)), "exited|Created|"),
        ] {
            assert_eq!(format!("{}|{}|{}", word(&status), sentence(&status, now), health(&status)), text);
        }
    }
}
