//! What the keys of the menu do, for `up` and `watch` alike.

use jiff::Timestamp;

use super::execute::execute;
use super::exit::CommandError;
use super::foreground::{give_up, interruptible};
use super::menu::Menu;
use super::signals::Interrupts;
use super::watching::{self, Following, Format, Watching};
use super::{Context, terminal};
use crate::engine::client::Client;
use crate::engine::logs::{Follower, LogSelection};
use crate::message::Request;
use crate::plan::{Action, Selection};
use crate::record::logs::reader::Span;
use crate::runtime::spec::ExecSpec;
use crate::state::ProjectPaths;

/// The project that the keys are about.
#[derive(Debug, Clone, Copy)]
pub struct Keys<'a> {
    pub context: &'a Context,
    pub following: Following<'a>,
    pub paths: &'a ProjectPaths,
    pub interrupts: &'a Interrupts,
    pub services: &'a [String],
    /// Grace period in seconds.
    pub timeout: Option<u64>,
}

/// Lines that are shown of a service when its lines alone are wanted.
const HISTORY: usize = 20;

/// The shell that people are used to, as far as the container has it.
pub(super) const SHELL: &str = "if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi";

impl Keys<'_> {
    /// Follows edits, or no longer. What cannot be followed is told.
    pub fn watch(&self, menu: &mut Menu, watching: &mut Option<Watching>) {
        menu.hide();
        if watching.take().is_some() {
            menu.watching = false;
            eprintln!("Watch disabled");
            return;
        }
        let started = watching::rules(self.context, self.following.loaded, self.services)
            .and_then(|rules| watching::start(&self.following, rules, Format::Text));
        match started {
            Ok(started) => {
                menu.watching = true;
                *watching = Some(started);
            }
            Err(error) => error.print(self.context.palette()),
        }
    }

    /// Restarts a service; `false` when the person interrupts that, and it begins nothing more.
    pub fn restart(&self, menu: &mut Menu, service: &str) -> bool {
        menu.hide();
        self.try_restart(service).unwrap_or_else(|error| {
            error.print(self.context.palette());
            true
        })
    }

    fn try_restart(&self, service: &str) -> Result<bool, CommandError> {
        let progress = self.context.progress("restart");
        let mut client = Client::connect_or_start(&self.context.paths, self.paths)?;
        client.send(&Request::Act {
            action: Action::Restart { dependents: true },
            selection: Selection { services: vec![service.to_owned()], ..Selection::default() },
            timeout_ms: self.timeout.map(|seconds| seconds.saturating_mul(1000)),
            dry_run: false,
        })?;
        if interruptible(&mut client, self.interrupts, &progress)?.is_some() {
            return Ok(true);
        }
        give_up(self.context, self.paths, client, self.interrupts, &progress, self.services)?;
        Ok(false)
    }

    /// A shell in the first container of a service that runs.
    pub fn shell(&self, menu: &mut Menu, service: &str) {
        let opened = menu.suspended(|| {
            let containers = crate::record::inventory::containers(self.paths)?;
            let running = containers.iter().find(|have| {
                have.record.service == service && !have.record.oneoff && super::containers::is_running(have)
            });
            let Some(running) = running else {
                return Err(CommandError::new(format!("service \"{service}\" is not running")));
            };
            eprintln!("Shell in {}; `exit` comes back", running.record.name);
            let spec = ExecSpec {
                args: ["sh", "-c", SHELL].map(str::to_owned).to_vec(),
                env: Vec::new(),
                cwd: None,
                user: None,
                tty: true,
                size: terminal::size(),
                privileged: false,
            };
            execute(self.context, self.paths, &running.record.id, spec, false)
        });
        if let Err(error) = opened {
            error.print(self.context.palette());
        }
    }

    /// The lines of one service with the last that it wrote, or those of `all` from now on.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn logs(&self, menu: &mut Menu, service: Option<&str>, all: &[String]) -> std::io::Result<Follower> {
        menu.hide();
        let (services, span) = match service {
            Some(service) => {
                eprintln!("Lines of {service} alone");
                (vec![service.to_owned()], Span { tail: Some(HISTORY), ..Span::default() })
            }
            None => {
                eprintln!("Lines of all services");
                (all.to_vec(), Span { since: Some(Timestamp::now()), ..Span::default() })
            }
        };
        Follower::open(self.paths, LogSelection { services, ..LogSelection::default() }, span, true)
    }
}
