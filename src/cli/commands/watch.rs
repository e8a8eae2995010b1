//! `windlass watch`

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use clap::{ArgAction, Args};

use crate::cli::conversation::foresee;
use crate::cli::desired::{ImageArgs, desired};
use crate::cli::exit::INTERRUPTED;
use crate::cli::foreground::interruptible;
use crate::cli::keys::Keys;
use crate::cli::load::{Loaded, Loading};
use crate::cli::logs::Screen;
use crate::cli::menu::{Choice, Menu};
use crate::cli::names::choose;
use crate::cli::signals::{Interrupts, Wake};
use crate::cli::ui::prefix::Prefixes;
use crate::cli::watching::{self, Following, Format, Watching};
use crate::cli::{CommandError, CommandResult, Context};
use crate::engine::client::Client;
use crate::engine::logs::Follower;
use crate::engine::watch::initial;
use crate::message::Request;
use crate::plan::UpOptions;
use crate::plan::lower::Watched;

#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Services to follow, with what they depend on; all by default
    pub services: Vec<String>,
    /// Do not start the services first
    #[arg(long)]
    pub no_up: bool,
    /// Remove images that a rebuild has replaced; there are none while nothing is built
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = true)]
    pub prune: bool,
    /// Print no progress of pulls
    #[arg(long)]
    pub quiet: bool,
    /// How events are printed: text, or a line of JSON each
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// # Errors
/// When the file is wrong, nothing is to be watched, or a service does not start.
pub fn run(args: &WatchArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    // Before any thread begins, so that all of them leave Ctrl-C to us.
    let interrupts = Interrupts::catch()?;
    let loaded = context.load(&Loading { services: args.services.clone(), ..Loading::default() })?;
    let chosen = choose(&loaded.project, &args.services, true)?;
    let watched = watching::rules(context, &loaded, &chosen)?;
    if !args.no_up && !raise(args, context, &loaded, &chosen, &watched, &interrupts)? {
        return Ok(INTERRUPTED);
    }
    if context.global.dry_run {
        return Ok(0);
    }
    // Before the watch's threads: they inherit which signals are ours. Lines of JSON are for programs.
    let mut menu = (args.format == Format::Text).then(|| Menu::open(context, chosen.clone(), false)).flatten();
    let scale = BTreeMap::new();
    let following = Following { context, loaded: &loaded, services: &chosen, scale: &scale };
    let mut watching = Some(watching::start(&following, watched, args.format)?);
    let paths = context.paths.project(&loaded.project.name);
    let keys = Keys { context, following, paths: &paths, interrupts: &interrupts, services: &chosen, timeout: None };
    if let Some(menu) = &mut menu {
        menu.watching = true;
    }
    let stdout = std::fs::File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let prefixes = Prefixes::new(context.palette_of_stdout(), false);
    let mut screen = Screen::new(prefixes, false, Box::new(stdout), Box::new(io::stderr()));
    let mut lines: Option<Follower> = None;
    loop {
        if let Some(lines) = &mut lines {
            screen.drain(lines)?;
        }
        if let Some(menu) = &mut menu {
            menu.show();
        }
        let mut fds: Vec<_> = watching.iter().map(Watching::as_fd).collect();
        fds.extend(menu.iter().flat_map(Menu::fds));
        fds.extend(lines.iter().filter_map(Follower::as_fd));
        let interrupted = interrupts.wait(&fds)? == Wake::Interrupted;
        if let Some(menu) = &mut menu {
            menu.hide();
        }
        if interrupted {
            return Ok(INTERRUPTED);
        }
        if let Some(lines) = &mut lines {
            lines.wait(&[], Some(Duration::ZERO))?;
        }
        if let Some(watching) = &watching {
            watching.print();
        }
        let Some(menu) = &mut menu else { continue };
        match menu.typed()? {
            None => {}
            Some(Choice::Watch) => keys.watch(menu, &mut watching),
            Some(Choice::Restart(service)) => {
                let goes_on = keys.restart(menu, &service);
                if !goes_on {
                    return Ok(INTERRUPTED);
                }
            }
            Some(Choice::Shell(service)) => keys.shell(menu, &service),
            Some(Choice::Logs(Some(service))) => lines = Some(keys.logs(menu, Some(&service), &[])?),
            Some(Choice::Logs(None)) => lines = None,
            Some(Choice::Detach | Choice::Quit) => return Ok(0),
        }
    }
}

/// Starts the services, each with the files that it is to have before; `false` when the person interrupts.
fn raise(
    args: &WatchArgs,
    context: &Context,
    loaded: &Loaded,
    chosen: &[String],
    watched: &[Watched],
    interrupts: &Interrupts,
) -> Result<bool, CommandError> {
    let progress = context.progress("watch");
    let images = ImageArgs { quiet_pull: args.quiet, ..ImageArgs::default() };
    let mut desired =
        interrupts.at_default(|| desired(context, loaded, chosen, &BTreeMap::new(), &images, &progress))?;
    desired.initial_sync = initial(watched).into_iter().collect();
    let request = Request::Up {
        desired: Box::new(desired),
        options: UpOptions { named: args.services.clone(), ..UpOptions::default() },
        timeout_ms: None,
        dry_run: context.global.dry_run,
    };
    let paths = context.paths.project(&loaded.project.name);
    if request.is_dry() {
        foresee(context, &paths, &request, &progress)?;
        return Ok(true);
    }
    let mut client = Client::connect_or_start(&context.paths, &paths)?;
    client.send(&request)?;
    Ok(interruptible(&mut client, interrupts, &progress)?.is_some())
}
