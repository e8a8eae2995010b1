//! Further processes in a container: for people, for health checks, for hooks.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::Interest;

use super::container::Container;
use super::error::SupervisorError;
use super::link::Exec;
use super::project::Project;
use super::streams::Streams;
use crate::record::{Hook, signal};
use crate::runtime::Pipes;
use crate::runtime::spec::{ExecSpec, ExitStatus, TerminalSize};
use crate::sys::readiness;

/// What a process wrote and how it ended.
#[derive(Debug)]
pub(super) struct Captured {
    /// `None`: it was killed at its time limit.
    pub exit: Option<ExitStatus>,
    pub output: Vec<u8>,
}

/// Which part of a long output is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    First(usize),
    Last(usize),
}

/// As much of what a hook writes is shown; of one that fails the last lines.
const HOOK_OUTPUT: usize = 64 * 1024;

/// How long the end of a process that was killed is waited for.
const AFTER_KILL: Duration = Duration::from_secs(2);
/// More reads than these see what was not in the pipe when the process ended: it holds 64 KiB.
const PIPE_READS: usize = 16;

impl Project {
    /// Starts a further process in a running container, on these streams unless it has a terminal, whose master then
    /// comes back.
    ///
    /// # Errors
    /// When the container does not run, or the program cannot be executed in it.
    pub async fn exec(&self, id: &str, spec: ExecSpec, streams: Pipes) -> Result<Exec, SupervisorError> {
        let container = self.find(id)?;
        if !container.is_running() {
            return Err(SupervisorError::NotRunning { name: container.name() });
        }
        if container.is_paused() {
            return Err(SupervisorError::Paused { name: container.name() });
        }
        Ok(self.inner.link.exec(container.record.id.clone(), spec, streams).await?)
    }

    /// A copy of the write end of a container's stdin, or of its terminal's master.
    ///
    /// # Errors
    /// When the container does not run.
    pub fn input(&self, id: &str) -> Result<Option<OwnedFd>, SupervisorError> {
        let container = self.find(id)?;
        let live = container.live.borrow();
        let Some(process) = &live.process else { return Err(SupervisorError::NotRunning { name: container.name() }) };
        process.input.as_ref().map(OwnedFd::try_clone).transpose().map_err(SupervisorError::system("copy a descriptor"))
    }

    /// Runs a process to its end, or to its time limit.
    pub(super) async fn capture(
        &self,
        container: &Container,
        spec: ExecSpec,
        limit: Option<Duration>,
        keep: Keep,
    ) -> Result<Captured, SupervisorError> {
        let (streams, reader) = Streams::gathered().map_err(SupervisorError::system("make a pipe"))?;
        let mut exec = self.exec(container.id(), spec, streams).await?;
        let reader =
            readiness::register(reader, Interest::READABLE).map_err(SupervisorError::system("read from a pipe"))?;
        let mut output = Tail::new(keep);
        let reading = async {
            loop {
                match reader.readable().await {
                    Ok(mut ready) => match ready.try_io(|reader| output.read(reader.get_ref())) {
                        Ok(Ok(true)) | Err(_) => {}
                        // All who could write have gone, or it is broken: only the end is left to wait for.
                        Ok(Ok(false) | Err(_)) => std::future::pending::<()>().await,
                    },
                    Err(_) => std::future::pending::<()>().await,
                }
            }
        };
        let limited = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let exit = tokio::select! {
            status = exec.wait() => Some(status?),
            () = reading => None,
            () = limited => None,
        };
        if exit.is_none() {
            // It leads a session of its own: what it started goes with it, as far as it stayed in its group.
            kill_group(exec.pid);
            let _ = signal::send(&exec.pidfd, nix::libc::SIGKILL);
            let _ = tokio::time::timeout(AFTER_KILL, exec.wait()).await;
        }
        // A process that it left behind may hold the pipe open, and write on without end: what is in it now is all.
        for _ in 0..PIPE_READS {
            if !matches!(output.read(reader.get_ref()), Ok(true)) {
                break;
            }
        }
        Ok(Captured { exit, output: output.finish() })
    }

    /// Runs the hooks one after the other; the first that fails ends it.
    pub(super) async fn run_hooks(
        &self,
        container: &Container,
        which: &'static str,
        hooks: &[Hook],
        limit: Option<Duration>,
    ) -> Result<(), SupervisorError> {
        container.live.borrow_mut().said.clear();
        for hook in hooks {
            let output = self.run_hook(container, which, hook, limit).await?;
            container.live.borrow_mut().said.extend(output.lines().map(str::to_owned));
        }
        Ok(())
    }

    /// What the hooks of a container's last start or stop wrote, once.
    #[must_use]
    pub fn hooks_said(&self, id: &str) -> Vec<String> {
        self.find(id).map(|container| std::mem::take(&mut container.live.borrow_mut().said)).unwrap_or_default()
    }

    /// Runs a command in a running container to its end, and gives the end of what it wrote.
    ///
    /// # Errors
    /// When it cannot be run, or fails.
    pub async fn run_command(&self, id: &str, command: &Hook) -> Result<String, SupervisorError> {
        let container = self.find(id)?;
        self.run_hook(&container, "exec", command, None).await
    }

    async fn run_hook(
        &self,
        container: &Container,
        which: &'static str,
        hook: &Hook,
        limit: Option<Duration>,
    ) -> Result<String, SupervisorError> {
        let spec = ExecSpec {
            args: hook.command.clone(),
            env: hook.environment.clone(),
            cwd: hook.working_dir.clone(),
            user: hook.user.clone(),
            tty: false,
            size: TerminalSize::default(),
            privileged: hook.privileged,
        };
        let captured = self.capture(container, spec, limit, Keep::Last(HOOK_OUTPUT)).await?;
        let exit = captured.exit.unwrap_or(ExitStatus::Signal(nix::libc::SIGKILL));
        let text = String::from_utf8_lossy(&captured.output).into_owned();
        if exit.code() == 0 {
            return Ok(text);
        }
        let lines: Vec<&str> = text.lines().collect();
        Err(SupervisorError::Hook {
            hook: which,
            command: hook.command.join(" "),
            exit,
            output: lines[lines.len().saturating_sub(10)..].join("\n"),
        })
    }
}

fn kill_group(pid: i32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}

#[derive(Debug)]
struct Tail {
    keep: Keep,
    kept: VecDeque<u8>,
}

impl Tail {
    fn new(keep: Keep) -> Self {
        Self { keep, kept: VecDeque::new() }
    }

    /// One read; `false` at the end.
    fn read(&mut self, reader: &OwnedFd) -> io::Result<bool> {
        let mut buffer = [0; 8192];
        let count = rustix::io::read(reader, &mut buffer)?;
        let bytes = &buffer[..count];
        match self.keep {
            Keep::First(most) => {
                let room = most.saturating_sub(self.kept.len());
                self.kept.extend(&bytes[..count.min(room)]);
            }
            Keep::Last(most) => {
                self.kept.extend(bytes);
                let excess = self.kept.len().saturating_sub(most);
                self.kept.drain(..excess);
            }
        }
        Ok(count > 0)
    }

    fn finish(self) -> Vec<u8> {
        self.kept.into()
    }
}

#[cfg(test)]
mod tests {
    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    fn keep(keep: Keep, text: &str) -> String {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        rustix::io::write(&writer, text.as_bytes()).unwrap();
        drop(writer);
        let mut tail = Tail::new(keep);
        while tail.read(&reader).unwrap() {}
        String::from_utf8(tail.finish()).unwrap()
    }

    #[test]
    fn the_beginning_or_the_end_is_kept() {
        assert_eq!(keep(Keep::First(3), "abcdef"), "abc");
        assert_eq!(keep(Keep::Last(3), "abcdef"), "def");
        assert_eq!(keep(Keep::First(9), "abc"), "abc");
    }
}
