//! An install step in the supervisor's process: a container that fills a volume with packages, all or none.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Duration, timeout};

use super::engine::Engine;
use super::executor::Cancelled;
use super::failure::start_failure;
use super::report::Report;
use crate::message::{Failure, ObjectKind};
use crate::plan::Install;
use crate::record::ContainerRecord;
use crate::runtime::Pipes;
use crate::supervisor::{Streams, SupervisorError};
use crate::sys::readiness;
use crate::volumes::packages::digest;

/// Lines that a failure repeats.
const TAIL: usize = 20;
/// Longer lines are cut.
const LONGEST: usize = 4096;
/// What the step has left behind may hold its output open; nobody waits for it longer than this.
const PARTING: Duration = Duration::from_millis(200);

impl Engine {
    /// Runs the step. Whatever it has installed is gone when it fails.
    pub(super) async fn install(
        &self,
        record: &ContainerRecord,
        install: &Install,
        cancelled: Cancelled,
        report: &Report,
    ) -> Result<(), Failure> {
        let name = &record.name;
        report.working(ObjectKind::Container, name, "Installing");
        let result = self.try_install(record, install, cancelled, report).await;
        let removed = self.remove_step(name).await;
        match result.and(removed) {
            Ok(()) => {
                report.done(ObjectKind::Container, name, "Installed");
                let (project, volume) = (self.project.clone(), install.volume.name.clone());
                tokio::task::spawn_local(async move {
                    if let Err(error) = project.sync_packages(&volume).await {
                        tracing::warn!("volume {volume} may not be on the disk: {error}");
                    }
                });
                Ok(())
            }
            Err(failure) => {
                // In use: by a container that was there before, and gets what the next step installs.
                if let Err(error) = self.project.remove_volume(&install.volume.name).await {
                    tracing::debug!("volume {} stays: {error}", install.volume.name);
                }
                report.error(ObjectKind::Container, name, "Error", &failure.message);
                Err(failure)
            }
        }
    }

    async fn try_install(
        &self,
        record: &ContainerRecord,
        install: &Install,
        mut cancelled: Cancelled,
        report: &Report,
    ) -> Result<(), Failure> {
        let service = &record.service;
        let failed =
            |error: &SupervisorError| Failure::caused(format!("cannot install the packages of {service}"), error);
        // Of a step that was interrupted together with the supervisor.
        self.remove_step(&record.name).await?;
        self.project.begin_packages(&install.volume.name, install.open).await.map_err(|error| failed(&error))?;
        self.project.create(record.clone()).await.map_err(|error| failed(&error))?;
        let (mut lines, streams) = Lines::open()
            .map_err(|error| Failure::caused(format!("cannot install the packages of {service}"), &error))?;
        let started = self.project.start_attached(&record.id, Some(streams)).await;
        for warning in self.project.start_warnings(&record.id) {
            report.warning(format!("{}: {warning}", record.name));
        }
        started.map_err(|error| start_failure(&record.name, &error))?;
        let mut ended = std::pin::pin!(self.project.wait_exit(&record.id));
        let exit = loop {
            tokio::select! {
                biased;
                line = lines.next(), if !lines.is_over => report.installing(&record.name, &line.unwrap_or_default()),
                exit = &mut ended => break exit.map_err(|error| failed(&error))?,
                _ = cancelled.wait_for(|cancelled| *cancelled) => return Err(Failure::given_up()),
            }
        };
        while let Ok(Some(line)) = timeout(PARTING, lines.next()).await {
            report.installing(&record.name, &line);
        }
        let code = exit.code();
        if code != 0 {
            let failure = Failure::new(format!("the install step of {service} failed with exit code {code}"));
            let text = lines.tail();
            let failure = if text.is_empty() { failure } else { failure.detail("end of its output", text.clone()) };
            let failure = match code {
                127 => failure.hint("its program is not in the container; see `x-windlass.install` of the service"),
                _ => match way_out_hint(&install.args, &text) {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                },
            };
            return Err(failure.hint(format!(
                "mend {} or `x-windlass.install`; the next `up` begins with nothing installed",
                install.lock
            )));
        }
        let changed = install.locks.iter().find(|(file, before)| digest(file).ok().as_ref() != Some(before));
        if let Some((file, _)) = changed {
            // Nobody knows which of the two is installed.
            report.warning(format!(
                "{} has changed while the packages of {service} were installed: the next `up` installs them again",
                file.display()
            ));
            return Ok(());
        }
        // First: a kill in between costs another run, and leaves no container that nobody looks for.
        self.remove_step(&record.name).await?;
        self.project.finish_packages(&install.volume.name).await.map_err(|error| failed(&error))
    }

    async fn remove_step(&self, name: &str) -> Result<(), Failure> {
        let containers = self.project.containers();
        let ids: Vec<String> =
            containers.iter().filter(|have| have.record.name == name).map(|have| have.record.id.clone()).collect();
        let failed = |error: &SupervisorError| Failure::caused(format!("cannot remove container {name}"), error);
        for id in &ids {
            self.project.stop(id, Some(Duration::ZERO)).await.map_err(|error| failed(&error))?;
        }
        if ids.is_empty() {
            return Ok(());
        }
        self.project.remove(&ids, true).await.map_err(|error| failed(&error))
    }
}

/// What helps a tool that did not reach its registry.
fn way_out_hint(args: &[String], output: &str) -> Option<String> {
    const UNREACHED: [&str; 9] = [
        "EAI_AGAIN",
        "ENOTFOUND",
        "ECONNREFUSED",
        "ETIMEDOUT",
        "ENETUNREACH",
        "name resolution",
        "resolve host",
        "dns error",
        "Network is unreachable",
    ];
    if !UNREACHED.iter().any(|word| output.contains(word)) {
        return None;
    }
    // What stands for each tool, wherever its name is in the command.
    const TOOLS: [(&str, &str); 8] = [
        ("pnpm", "NPM_CONFIG_REGISTRY"),
        ("npm", "NPM_CONFIG_REGISTRY"),
        ("yarn", "YARN_NPM_REGISTRY_SERVER"),
        ("bun", "NPM_CONFIG_REGISTRY"),
        ("uv", "UV_DEFAULT_INDEX"),
        ("pip", "PIP_INDEX_URL"),
        ("pipenv", "PIPENV_PYPI_MIRROR"),
        ("bundle", "BUNDLE_MIRROR__ALL"),
    ];
    let words: Vec<&str> = args.iter().flat_map(|arg| arg.split(|char: char| !char.is_ascii_alphanumeric())).collect();
    let tool = TOOLS.iter().find(|(tool, _)| words.contains(tool));
    let registry =
        tool.map_or(String::new(), |(tool, variable)| format!(", or another registry ({variable} of {tool})"));
    Some(format!(
        "the step did not reach the registry: where this machine needs a proxy, so does the service (`environment: [HTTPS_PROXY]`){registry}"
    ))
}

/// What the step writes, line by line, and the last of it.
struct Lines {
    pipe: AsyncFd<OwnedFd>,
    is_over: bool,
    begun: Vec<u8>,
    ready: VecDeque<String>,
    last: VecDeque<String>,
}

impl Lines {
    /// With the streams for the step: nothing to read, and one pipe for what it writes.
    fn open() -> std::io::Result<(Self, Pipes)> {
        let (streams, read) = Streams::gathered()?;
        let pipe = readiness::register(read, Interest::READABLE)?;
        let (begun, ready, last) = (Vec::new(), VecDeque::new(), VecDeque::new());
        Ok((Self { pipe, is_over: false, begun, ready, last }, streams))
    }

    /// `None` once nothing can come any more.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            if self.is_over {
                return None;
            }
            let mut buffer = [0u8; 8192];
            let read = self.pipe.async_io(Interest::READABLE, |pipe| Ok(rustix::io::read(pipe, &mut buffer)?)).await;
            match read {
                Ok(0) | Err(_) => {
                    self.is_over = true;
                    self.end_line();
                }
                Ok(count) => self.take(&buffer[..count]),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            // Progress bars go back to the beginning of their line.
            if matches!(byte, b'\n' | b'\r') {
                self.end_line();
            } else if self.begun.len() < LONGEST {
                self.begun.push(byte);
            }
        }
    }

    fn end_line(&mut self) {
        let bytes = std::mem::take(&mut self.begun);
        let text: String = String::from_utf8_lossy(&bytes).chars().filter(|char| !char.is_control()).collect();
        let text = text.trim().to_owned();
        if text.is_empty() {
            return;
        }
        if self.last.len() == TAIL {
            self.last.pop_front();
        }
        self.last.push_back(text.clone());
        self.ready.push_back(text);
    }

    fn tail(&self) -> String {
        self.last.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::way_out_hint;

    #[test]
    fn the_hint_fits_the_tool() {
        let args = |text: &str| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()];
        for (command, output, variable) in [
            ("npm ci", "npm error code EAI_AGAIN", "NPM_CONFIG_REGISTRY of npm"),
            ("pnpm install", "getaddrinfo ENOTFOUND registry.example", "of pnpm"),
            ("pip install -r requirements.txt", "Temporary failure in name resolution", "PIP_INDEX_URL"),
            ("uv sync", "dns error: failed to lookup address", "UV_DEFAULT_INDEX"),
            ("make deps", "curl: (6) Could not resolve host: x", "HTTPS_PROXY"),
        ] {
            let hint = way_out_hint(&args(command), output).unwrap();
            assert!(hint.contains(variable), "{command}: {hint}");
        }
        assert_eq!(way_out_hint(&args("npm ci"), "npm error code EUSAGE"), None);
    }
}
