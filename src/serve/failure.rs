//! Faults of the supervisor's machinery in the form that a command prints.

use crate::message::Failure;
use crate::supervisor::{self, ConditionFailure, Reason};

/// Lines of output that a message repeats.
fn shown(lines: &[String]) -> String {
    lines.join("\n")
}

/// A container's program could not be started.
pub(super) fn start_failure(name: &str, error: &supervisor::SupervisorError) -> Failure {
    let mut failure = Failure::caused(format!("cannot start container {name}"), error);
    failure.exit_code = 1;
    failure.start_code = error.exit_code();
    if let supervisor::SupervisorError::Start(start) = error {
        failure = match start.exit_code {
            127 => failure.hint("check `command:` and `entrypoint:`; the program must exist in the image's PATH"),
            126 => failure.hint("make the file executable, or run it through its interpreter"),
            _ => failure,
        };
    }
    failure
}

/// Something did not become what it was waited for; `dependent` is empty for `up --wait`.
pub(super) fn condition_failure(dependent: &str, name: &str, error: &ConditionFailure) -> Failure {
    let message = if dependent.is_empty() { error.to_string() } else { format!("dependency failed to start: {error}") };
    let mut failure = Failure::new(message);
    if !dependent.is_empty() {
        failure.causes.push(format!("container {dependent} waits for {name}"));
    }
    if let Some(probe) = &error.probe {
        let how = match probe.exit_code {
            Some(code) => format!("exited with {code}"),
            None => "ran into its timeout".to_owned(),
        };
        let output = probe.output.trim_end();
        let output = if output.is_empty() { "(no output)" } else { output };
        failure = failure.detail(format!("last health check of {name} {how}"), output);
    }
    if !error.log_tail.is_empty() {
        failure = failure.detail(format!("end of the log of {name}"), shown(&error.log_tail));
    }
    match error.reason {
        Reason::NoHealthCheck => failure.hint("give it a `healthcheck:`, or wait for `service_started`"),
        Reason::Unhealthy | Reason::Exited(_) => failure.hint(
            "`windlass logs` shows all that it wrote; what runs by now stays, and the same command goes on from here",
        ),
        Reason::NotStarted(_) | Reason::Removed => failure,
    }
}
