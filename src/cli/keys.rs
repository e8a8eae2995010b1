//! What the keys of the menu do, for `up` and `watch` alike.

use jiff::Timestamp;

use super::act;
use super::commands::exec::execute;
use super::exit::CommandError;
use super::logs::{Follower, Selection as Lines};
use super::menu::Menu;
use super::watching::{self, Following, Format, Watching};
use super::{Context, terminal};
use crate::plan::{Action, Selection};
use crate::runtime::spec::ExecSpec;
use crate::state::ProjectPaths;
use crate::supervisor::logs::reader::Span;

/// The project that the keys are about.
#[derive(Debug, Clone, Copy)]
pub struct Keys<'a> {
    pub context: &'a Context,
    pub following: Following<'a>,
    pub paths: &'a ProjectPaths,
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
        let started = watching::rules(self.context, &self.following.loaded.project, self.services)
            .and_then(|rules| watching::start(&self.following, rules, Format::Text));
        match started {
            Ok(started) => {
                menu.watching = true;
                *watching = Some(started);
            }
            Err(error) => error.print(self.context.palette()),
        }
    }

    /// Restarts a service. A Ctrl-C meanwhile is for afterwards.
    pub fn restart(&self, menu: &mut Menu, service: &str) {
        menu.hide();
        let selection = Selection { services: vec![service.to_owned()], ..Selection::default() };
        let action = Action::Restart { dependents: true };
        if let Err(error) = act::ask(self.context, "restart", self.paths, action, selection, self.timeout) {
            error.print(self.context.palette());
        }
    }

    /// A shell in the first container of a service that runs.
    pub fn shell(&self, menu: &mut Menu, service: &str) {
        let opened = menu.suspended(|| {
            let containers = crate::engine::inventory::containers(self.paths)?;
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
        Follower::open(self.paths, Lines { services, ..Lines::default() }, span, true)
    }
}
