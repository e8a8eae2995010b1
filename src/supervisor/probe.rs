//! Health checks: the task that probes a running container.

use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::container::Container;
use super::exec::Keep;
use super::life::health::{Monitor, Outcome};
use super::project::Project;
use crate::record::event::What;
use crate::record::{Health, HealthSpec, HealthStatus, HealthTest, Status};
use crate::runtime::spec::{ExecSpec, TerminalSize};

/// Docker's bound on what is kept of a probe's output.
const OUTPUT: usize = 4096;

/// Probes until the task is aborted. `earlier` is the health that an earlier supervisor saw of the same process.
pub(super) async fn watch(
    project: Project,
    container: Rc<Container>,
    spec: HealthSpec,
    since: Instant,
    earlier: Option<Health>,
) {
    let mut monitor = Monitor::new(&spec, earlier, since.elapsed());
    loop {
        tokio::time::sleep_until(since + monitor.next()).await;
        if container.is_paused() {
            // A frozen container answers nothing.
            let mut changes = container.watch();
            let thawed =
                |state: &crate::record::ContainerState| !matches!(state.status, Status::Running { paused: true, .. });
            if changes.wait_for(thawed).await.is_err() {
                return;
            }
        }
        let probe = monitor.begin(since.elapsed());
        let start = Timestamp::now();
        let outcome = run(&project, &container, &spec.test, monitor.timeout()).await;
        let before = monitor.health().failing_streak;
        let changed = monitor.finish(probe, outcome, since.elapsed(), start, Timestamp::now());
        let health = monitor.health().clone();
        let status = health.status;
        let worth_writing = changed || status != HealthStatus::Starting || health.failing_streak != before;
        let set = |state: &mut crate::record::ContainerState| {
            if let Status::Running { health: known, .. } = &mut state.status {
                *known = Some(health);
            }
        };
        if worth_writing {
            container.update(set);
        } else {
            container.update_in_memory(set);
        }
        if changed {
            project.emit(&container, What::Health(status));
            if status == HealthStatus::Unhealthy && container.record.restart_unhealthy {
                let (project, container) = (project.clone(), Rc::clone(&container));
                // Not here: the end of the container is the end of this task.
                tokio::task::spawn_local(async move { project.end_unhealthy(&container).await });
            }
        }
    }
}

async fn run(project: &Project, container: &Container, test: &HealthTest, timeout: Duration) -> Outcome {
    let args = match test {
        HealthTest::Command(args) => args.clone(),
        HealthTest::Shell(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
    };
    let size = TerminalSize::default();
    let spec = ExecSpec { args, env: Vec::new(), cwd: None, user: None, tty: false, size, privileged: false };
    match project.capture(container, spec, Some(timeout), Keep::First(OUTPUT)).await {
        Ok(captured) => {
            let text = String::from_utf8_lossy(&captured.output).into_owned();
            let output = match captured.exit {
                Some(_) => text,
                None => format!("the probe took longer than {timeout:?} and was killed\n{text}").trim_end().to_owned(),
            };
            Outcome { exit_code: captured.exit.map(crate::runtime::spec::ExitStatus::code), output }
        }
        Err(error) => Outcome { exit_code: Some(error.exit_code()), output: error.to_string() },
    }
}
