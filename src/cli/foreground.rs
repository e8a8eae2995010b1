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
        watching: Option<Watching>,
        keys: &Keys<'_>,
        mut menu: Option<Menu>,
    ) -> CommandResult {
        if let Some(menu) = &mut menu {
            menu.watching = watching.is_some();
        }
        let follower = self.follow(screen)?;
        let client = Some(self.wait_for_ends()?);
        let mut wait = Wait { up: self, screen, keys, follower, client, watching, menu, ending: Ending::default() };
        let end = loop {
            if let Some(end) = wait.next()? {
                break end;
            }
        };
        // Nothing is started again from here on, and nothing drawn below what is printed.
        wait.watching = None;
        wait.menu = None;
        match end {
            End::Reached => wait.last_words()?,
            End::Interrupted => {
                eprintln!("Gracefully stopping... (press Ctrl+C again to force)");
                return wait.stopped();
            }
            End::GivenUp => return wait.stopped(),
            End::Detached => {
                eprintln!("Detached: `windlass logs -f` follows the services, `windlass stop` stops them");
                return Ok(0);
            }
        }
        Ok(u8::try_from(wait.ending.code(self.exit_code_from.is_some()) & 0xff).unwrap_or(1))
    }

    /// The lines of the services that are shown, from what the hooks of their start have written on.
    fn follow(&self, screen: &mut Screen<'_>) -> Result<Option<Follower>, CommandError> {
        if self.attached.is_empty() {
            return Ok(None);
        }
        let lines = LogSelection { services: self.attached.to_vec(), ..LogSelection::default() };
        let span = Span { since: Some(self.since), ..Span::default() };
        let mut follower = Follower::open(self.paths, lines, span, true).map_err(unreadable)?;
        follower.tell_ends_since(self.since);
        let names: Vec<&str> = follower.sources().map(short_name).collect();
        eprintln!("Attaching to {}", names.join(", "));
        self.show_hooks(screen, self.hooks).map_err(unreadable)?;
        Ok(Some(follower))
    }

    /// A client that is told when a container ends.
    fn wait_for_ends(&self) -> Result<Client, CommandError> {
        let mut client = Client::connect_or_start(&self.context.paths, self.paths)?;
        let awaited = self.containers.iter().filter(|it| self.is_awaited(it)).map(|it| it.id.clone()).collect();
        client.send(&Request::Follow { containers: awaited })?;
        Ok(client)
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

/// Why nothing is waited for any more.
enum End {
    /// Everything that is waited for has ended.
    Reached,
    /// The person wants everything stopped.
    Interrupted,
    /// The same, and it was said already.
    GivenUp,
    Detached,
}

/// What goes on until an end.
struct Wait<'a, 's> {
    up: &'a Foreground<'a>,
    screen: &'a mut Screen<'s>,
    keys: &'a Keys<'a>,
    follower: Option<Follower>,
    /// Tells of ends; `None` once everything has ended that may run again after an edit.
    client: Option<Client>,
    watching: Option<Watching>,
    menu: Option<Menu>,
    ending: Ending,
}

impl Wait<'_, '_> {
    /// Waits for something to happen, and does what that asks for.
    fn next(&mut self) -> Result<Option<End>, CommandError> {
        self.drain()?;
        if let Some(menu) = &mut self.menu {
            menu.show();
        }
        let woken = self.woken()?;
        // Whatever is printed next is printed above it.
        if let Some(menu) = &mut self.menu {
            menu.hide();
        }
        match woken {
            None => return Ok(Some(End::Interrupted)),
            Some(Waited::Other) => {}
            Some(_) => return Ok(None),
        }
        if self.up.interrupts.pending() {
            return Ok(Some(End::Interrupted));
        }
        if let Some(end) = self.typed()? {
            return Ok(Some(end));
        }
        // Everything has ended, and nobody makes an edit run any more.
        if self.client.is_none() && self.watching.is_none() {
            return Ok(Some(End::Reached));
        }
        if let Some(watching) = &self.watching {
            watching.print();
        }
        self.told()
    }

    /// What has happened; `None` when the person has interrupted, unless the lines are followed as well.
    fn woken(&mut self) -> Result<Option<Waited>, CommandError> {
        let interrupts = self.up.interrupts;
        let mut others = vec![interrupts.as_fd()];
        others.extend(self.client.iter().map(Client::as_fd));
        others.extend(self.watching.iter().map(Watching::as_fd));
        others.extend(self.menu.iter().flat_map(Menu::fds));
        match &mut self.follower {
            Some(follower) => follower.wait(&others, None).map(Some).map_err(unreadable),
            None => match interrupts.wait(&others[1..])? {
                signals::Wake::Interrupted => Ok(None),
                signals::Wake::Ready => Ok(Some(Waited::Other)),
            },
        }
    }

    /// Does what was chosen by a key.
    fn typed(&mut self) -> Result<Option<End>, CommandError> {
        let Some(menu) = &mut self.menu else { return Ok(None) };
        match menu.typed()? {
            None => {}
            Some(Choice::Watch) => self.keys.watch(menu, &mut self.watching),
            Some(Choice::Restart(service)) => {
                let goes_on = self.keys.restart(menu, &service);
                return Ok((!goes_on).then_some(End::GivenUp));
            }
            Some(Choice::Shell(service)) => self.keys.shell(menu, &service),
            Some(Choice::Logs(service)) => {
                let attached = self.up.attached;
                let shown = self.keys.logs(menu, service.as_deref(), attached).map_err(unreadable)?;
                self.follower = (service.is_some() || !attached.is_empty()).then_some(shown);
            }
            Some(Choice::Detach) => return Ok(Some(End::Detached)),
            Some(Choice::Quit) => return Ok(Some(End::Interrupted)),
        }
        Ok(None)
    }

    /// What the supervisor tells, if it does.
    fn told(&mut self) -> Result<Option<End>, CommandError> {
        let Some(client) = &mut self.client else { return Ok(None) };
        if !readable(client)? {
            return Ok(None);
        }
        match client.receive()?.0 {
            Response::Exited { container, exit_code, last: true } => self.exited(&container, exit_code)?,
            // What was edited may run again.
            Response::Done { .. } if self.watching.is_some() && !self.ending.aborted => self.client = None,
            Response::Done { .. } => return Ok(Some(End::Reached)),
            Response::Failed(failure) => return Err(failure.into()),
            _ => {}
        }
        Ok(None)
    }

    fn exited(&mut self, container: &ContainerRef, exit_code: i32) -> Result<(), CommandError> {
        if self.up.exit_code_from == Some(container.service.as_str()) {
            self.ending.from.get_or_insert(exit_code);
        }
        if self.ending.aborted || !self.up.ends_all(container, exit_code) {
            return Ok(());
        }
        self.ending.aborted = true;
        self.ending.first = exit_code;
        self.drain()?;
        eprintln!("Aborting on container exit...");
        self.up.stop(self.screen)
    }

    fn drain(&mut self) -> Result<(), CommandError> {
        let Self { follower, screen, .. } = self;
        follower.as_mut().map_or(Ok(()), |follower| screen.drain(follower)).map_err(unreadable)
    }

    /// They may be newer than what woke us.
    fn last_words(&mut self) -> Result<(), CommandError> {
        if let Some(follower) = &mut self.follower {
            follower.wait(&[], Some(Duration::ZERO)).map_err(unreadable)?;
        }
        self.drain()
    }

    /// Stops the services, because the person wants that.
    fn stopped(&mut self) -> CommandResult {
        self.up.stop(self.screen)?;
        self.last_words()?;
        Ok(INTERRUPTED)
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
