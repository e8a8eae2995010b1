//! `up` in the foreground: the lines of the services until they have ended, something makes an end, or the person does.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use jiff::Timestamp;

use super::conversation::{Answer, ask, show};
use super::exit::{CommandError, INTERRUPTED};
use super::keys::Keys;
use super::logs::{Screen, short_name};
use super::menu::{Choice, Menu};
use super::signals::{self, Interrupts};
use super::ui::prefix;
use super::ui::progress::Progress;
use super::watching::Watching;
use super::{CommandResult, Context};
use crate::engine::client::Client;
use crate::engine::logs::{Follower, LogSelection, Waited};
use crate::message::{ContainerRef, Request, Response};
use crate::plan::{Action, Selection};
use crate::record::logs::reader::Span;
use crate::state::ProjectPaths;

/// Which end of a container ends everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abort {
    OnExit,
    OnFailure,
}

/// What is shown, and when it ends.
#[derive(Debug)]
pub struct Foreground<'a> {
    pub context: &'a Context,
    pub paths: &'a ProjectPaths,
    pub interrupts: &'a Interrupts,
    /// Services whose lines are shown.
    pub attached: &'a [String],
    /// Services that are stopped at the end: what the others only depend on goes on.
    pub stopped: &'a [String],
    /// The containers of this `up`.
    pub containers: &'a [ContainerRef],
    /// What the hooks of their start have written.
    pub hooks: &'a [(ContainerRef, Vec<String>)],
    /// Containers of this `up` that had ended before it, and were not to run again: that ends nothing.
    pub ended_before: &'a [String],
    pub abort: Option<Abort>,
    pub exit_code_from: Option<&'a str>,
    /// Grace period in seconds.
    pub timeout: Option<u64>,
    /// Lines before this are not shown.
    pub since: Timestamp,
}

impl Foreground<'_> {
    /// Returns when everything that is waited for has ended. While edits are followed nothing has ended for good.
    ///
    /// # Errors
    /// When a log cannot be read or the supervisor has gone.
    pub fn run(
        &self,
        screen: &mut Screen<'_>,
        mut watching: Option<Watching>,
        keys: &Keys<'_>,
        mut menu: Option<Menu>,
    ) -> CommandResult {
        if let Some(menu) = &mut menu {
            menu.watching = watching.is_some();
        }
        let mut follower = if self.attached.is_empty() {
            None
        } else {
            let lines = LogSelection { services: self.attached.to_vec(), ..LogSelection::default() };
            let span = Span { since: Some(self.since), ..Span::default() };
            let mut follower = Follower::open(self.paths, lines, span, true).map_err(unreadable)?;
            follower.tell_ends_since(self.since);
            let names: Vec<&str> = follower.sources().map(short_name).collect();
            eprintln!("Attaching to {}", names.join(", "));
            self.show_hooks(screen, self.hooks).map_err(unreadable)?;
            Some(follower)
        };
        let mut client = Client::connect_or_start(&self.context.paths, self.paths)?;
        let awaited: Vec<String> =
            self.containers.iter().filter(|it| self.is_awaited(it)).map(|it| it.id.clone()).collect();
        client.send(&Request::Follow { containers: awaited })?;
        let mut client = Some(client);
        let mut ending = Ending::default();
        loop {
            if let Some(follower) = &mut follower {
                screen.drain(follower).map_err(unreadable)?;
            }
            if let Some(menu) = &mut menu {
                menu.show();
            }
            let mut others = vec![self.interrupts.as_fd()];
            others.extend(client.iter().map(Client::as_fd));
            others.extend(watching.iter().map(Watching::as_fd));
            others.extend(menu.iter().flat_map(Menu::fds));
            let woken = match &mut follower {
                Some(follower) => follower.wait(&others, None).map_err(unreadable)?,
                None => match self.interrupts.wait(&others[1..])? {
                    signals::Wake::Interrupted => {
                        drop((watching, menu));
                        return self.interrupted(None, screen);
                    }
                    signals::Wake::Ready => Waited::Other,
                },
            };
            // Whatever is printed next is printed above it.
            if let Some(menu) = &mut menu {
                menu.hide();
            }
            if woken != Waited::Other {
                continue;
            }
            if self.interrupts.pending() {
                // Nothing is started again from here on.
                drop((watching, menu));
                return self.interrupted(follower, screen);
            }
            if let Some(menu) = &mut menu {
                match menu.typed()? {
                    None => {}
                    Some(Choice::Watch) => keys.watch(menu, &mut watching),
                    Some(Choice::Restart(service)) => {
                        let goes_on = keys.restart(menu, &service);
                        if !goes_on {
                            drop((watching, menu.hide()));
                            return self.ended(follower, screen);
                        }
                    }
                    Some(Choice::Shell(service)) => keys.shell(menu, &service),
                    Some(Choice::Logs(service)) => {
                        let shown = keys.logs(menu, service.as_deref(), self.attached).map_err(unreadable)?;
                        follower = (service.is_some() || !self.attached.is_empty()).then_some(shown);
                    }
                    Some(Choice::Detach) => {
                        eprintln!("Detached: `windlass logs -f` follows the services, `windlass stop` stops them");
                        return Ok(0);
                    }
                    Some(Choice::Quit) => {
                        drop((watching, menu.hide()));
                        return self.interrupted(follower, screen);
                    }
                }
            }
            // Everything has ended, and nobody makes an edit run any more.
            if client.is_none() && watching.is_none() {
                break;
            }
            if let Some(watching) = &watching {
                watching.print();
            }
            let Some(following) = &mut client else { continue };
            if !readable(following)? {
                continue;
            }
            match following.receive()?.0 {
                Response::Exited { container, exit_code, last: true } => {
                    if self.exit_code_from == Some(container.service.as_str()) {
                        ending.from.get_or_insert(exit_code);
                    }
                    if !ending.aborted && self.ends_all(&container, exit_code) {
                        ending.aborted = true;
                        ending.first = exit_code;
                        if let Some(follower) = &mut follower {
                            screen.drain(follower).map_err(unreadable)?;
                        }
                        eprintln!("Aborting on container exit...");
                        self.stop(screen)?;
                    }
                }
                // What was edited may run again.
                Response::Done { .. } if watching.is_some() && !ending.aborted => client = None,
                Response::Done { .. } => break,
                Response::Failed(failure) => return Err(failure.into()),
                _ => {}
            }
        }
        if let Some(follower) = &mut follower {
            // Its last words may be newer than what woke us.
            follower.wait(&[], Some(Duration::ZERO)).map_err(unreadable)?;
            screen.drain(follower).map_err(unreadable)?;
        }
        Ok(u8::try_from(ending.code(self.exit_code_from.is_some()) & 0xff).unwrap_or(1))
    }

    /// What only has to end for `up` to end: what is shown, or everything when the end of anything counts.
    fn is_awaited(&self, container: &ContainerRef) -> bool {
        self.abort.is_some() || self.attached.is_empty() || self.attached.contains(&container.service)
    }

    fn ends_all(&self, container: &ContainerRef, exit_code: i32) -> bool {
        match self.abort {
            _ if self.ended_before.contains(&container.id) => false,
            None => false,
            Some(Abort::OnFailure) => exit_code != 0,
            Some(Abort::OnExit) => true,
        }
    }

    fn interrupted(&self, follower: Option<Follower>, screen: &mut Screen<'_>) -> CommandResult {
        eprintln!("Gracefully stopping... (press Ctrl+C again to force)");
        self.ended(follower, screen)
    }

    fn ended(&self, follower: Option<Follower>, screen: &mut Screen<'_>) -> CommandResult {
        self.stop(screen)?;
        if let Some(mut follower) = follower {
            follower.wait(&[], Some(Duration::ZERO)).map_err(unreadable)?;
            screen.drain(&mut follower).map_err(unreadable)?;
        }
        Ok(INTERRUPTED)
    }

    fn show_hooks(&self, screen: &mut Screen<'_>, hooks: &[(ContainerRef, Vec<String>)]) -> io::Result<()> {
        let services: Vec<String> = self.containers.iter().map(|container| container.service.clone()).collect();
        for (container, lines) in hooks.iter().filter(|(container, _)| self.attached.contains(&container.service)) {
            let name = prefix::short_name(self.paths.name(), &container.name);
            screen.hook(name, prefix::colour(&services, &container.service), lines)?;
        }
        Ok(())
    }

    fn stop(&self, screen: &mut Screen<'_>) -> Result<(), CommandError> {
        let progress = self.context.progress("stop");
        let hooks = stop(self.context, self.paths, self.interrupts, &progress, self.stopped.to_vec(), self.timeout)?;
        progress.finish();
        self.show_hooks(screen, &hooks).map_err(unreadable)
    }
}

/// How it came to an end.
#[derive(Debug, Default)]
struct Ending {
    aborted: bool,
    /// The code of the container that ended everything.
    first: i32,
    /// The code of the service that was asked for.
    from: Option<i32>,
}

impl Ending {
    fn code(&self, of_service: bool) -> i32 {
        if of_service { self.from.unwrap_or(self.first) } else { self.first }
    }
}

/// Stops services gracefully (all when none is named); a second Ctrl-C kills. What their hooks have written.
///
/// # Errors
/// When the supervisor cannot be asked.
pub fn stop(
    context: &Context,
    paths: &ProjectPaths,
    interrupts: &Interrupts,
    progress: &Progress,
    services: Vec<String>,
    timeout: Option<u64>,
) -> Result<Vec<(ContainerRef, Vec<String>)>, CommandError> {
    let request = Request::Act {
        action: Action::Stop,
        selection: Selection { services: services.clone(), ..Selection::default() },
        timeout_ms: timeout.map(|seconds| seconds.saturating_mul(1000)),
        dry_run: false,
    };
    let mut client = Client::connect_or_start(&context.paths, paths)?;
    client.send(&request)?;
    let answer = interruptible(&mut client, interrupts, progress)?;
    if answer.is_none() {
        force(context, paths, progress, &services)?;
    }
    Ok(answer.map_or_else(Vec::new, |answer| answer.hooks))
}

/// Kills services, all when none is named.
fn force(
    context: &Context,
    paths: &ProjectPaths,
    progress: &Progress,
    services: &[String],
) -> Result<(), CommandError> {
    let mut client = Client::connect_or_start(&context.paths, paths)?;
    let request = Request::Act {
        action: Action::Signal { signal: "SIGKILL".to_owned() },
        selection: Selection { services: services.to_vec(), ..Selection::default() },
        timeout_ms: None,
        dry_run: false,
    };
    ask(&mut client, &request, progress).map(drop)
}

/// The person has interrupted a request: it begins nothing more, and what is under way is finished before anything else is
/// asked for. A second Ctrl-C kills the services (all when none is named).
///
/// # Errors
/// When the supervisor cannot be asked.
pub fn give_up(
    context: &Context,
    paths: &ProjectPaths,
    mut client: Client,
    interrupts: &Interrupts,
    progress: &Progress,
    services: &[String],
) -> Result<(), CommandError> {
    progress.note("Gracefully stopping... (press Ctrl+C again to force)");
    client.send(&Request::GiveUp)?;
    // Why it ends is known; whatever else went wrong is told by what is asked for next.
    if let Ok(None) = interruptible(&mut client, interrupts, progress) {
        force(context, paths, progress, services)?;
        let _ = interruptible(&mut client, interrupts, progress);
    }
    Ok(())
}

/// Shows events until the last; `None` when the person interrupts.
///
/// # Errors
/// The failure that the supervisor told, or that it has gone.
pub fn interruptible(
    client: &mut Client,
    interrupts: &Interrupts,
    progress: &Progress,
) -> Result<Option<Answer>, CommandError> {
    let mut answer = Answer::default();
    loop {
        if interrupts.wait(&[client.as_fd()])? == signals::Wake::Interrupted {
            return Ok(None);
        }
        let (event, _) = client.receive()?;
        if show(&event, progress, &mut answer)? {
            return Ok(Some(answer));
        }
    }
}

fn readable(client: &Client) -> Result<bool, CommandError> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    Ok(poll(&mut [PollFd::new(client.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO)? > 0)
}

#[expect(clippy::needless_pass_by_value, reason = "used where errors are mapped")]
fn unreadable(error: io::Error) -> CommandError {
    match error.kind() {
        // Nobody reads what we print any more.
        io::ErrorKind::BrokenPipe => CommandError::silent(super::exit::FAILURE),
        _ => CommandError::caused("cannot read the logs", &error),
    }
}
