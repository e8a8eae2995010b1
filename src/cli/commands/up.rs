//! `windlass up`

use std::io;
use std::os::fd::AsFd;

use clap::Args;
use jiff::Timestamp;

use crate::cli::converging::{Orphans, volumes_to_renew};
use crate::cli::conversation::{Answer, converge};
use crate::cli::desired::{ImageArgs, desired, scale};
use crate::cli::exit::{CommandError, INTERRUPTED};
use crate::cli::foreground::{Abort, Foreground, give_up, interruptible, stop};
use crate::cli::keys::Keys;
use crate::cli::load::Loading;
use crate::cli::logs::Screen;
use crate::cli::menu::Menu;
use crate::cli::names::choose;
use crate::cli::signals::Interrupts;
use crate::cli::ui::prefix::Prefixes;
use crate::cli::ui::progress::{Mode, Progress};
use crate::cli::ui::style::Palette;
use crate::cli::watching::{self, Following};
use crate::cli::{CommandResult, Context, ended, names, trace};
use crate::compose::model::Project;
use crate::engine::client::Client;
use crate::message::Request;
use crate::network::ports::listens;
use crate::network::spec::PublishedPort;
use crate::plan::lower::Watched;
use crate::plan::{Desired, UpOptions};
use crate::record::Status;
use crate::state::ProjectPaths;

/// What only has a meaning while `up` waits.
const FOREGROUND: [&str; 6] = [
    "abort_on_container_exit",
    "abort_on_container_failure",
    "exit_code_from",
    "attach",
    "attach_dependencies",
    "watch",
];

#[derive(Debug, Args)]
pub struct UpArgs {
    /// Services to start, with what they depend on; all by default
    pub services: Vec<String>,
    /// Run in the background and return
    #[arg(short = 'd', long, conflicts_with_all = FOREGROUND)]
    pub detach: bool,
    /// Wait until the services run or are healthy; implies --detach
    #[arg(long, conflicts_with_all = FOREGROUND)]
    pub wait: bool,
    /// Stop everything when a container ends, and return its exit code
    #[arg(long, conflicts_with = "abort_on_container_failure")]
    pub abort_on_container_exit: bool,
    /// Stop everything when a container fails, and return its exit code
    #[arg(long)]
    pub abort_on_container_failure: bool,
    /// Return the exit code of this service; implies --abort-on-container-exit
    #[arg(long, value_name = "SERVICE")]
    pub exit_code_from: Option<String>,
    /// Show the output of this service only (can be repeated)
    #[arg(long, value_name = "SERVICE")]
    pub attach: Vec<String>,
    /// Do not show the output of this service (can be repeated)
    #[arg(long, value_name = "SERVICE")]
    pub no_attach: Vec<String>,
    /// Also show the output of what the services depend on
    #[arg(long)]
    pub attach_dependencies: bool,
    /// Give up waiting after this many seconds
    #[arg(long, value_name = "SECONDS")]
    pub wait_timeout: Option<u64>,
    /// Grace period in seconds when containers are stopped
    #[arg(short = 't', long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Create the containers again even when nothing changed
    #[arg(long)]
    pub force_recreate: bool,
    /// Keep containers that exist, even when their configuration changed
    #[arg(long, conflicts_with_all = ["force_recreate", "renew_anon_volumes", "always_recreate_deps"])]
    pub no_recreate: bool,
    /// Create dependencies again too
    #[arg(long)]
    pub always_recreate_deps: bool,
    /// Do not start what the services depend on
    #[arg(long)]
    pub no_deps: bool,
    /// Create the containers, but do not start them
    #[arg(long)]
    pub no_start: bool,
    /// Remove containers of services that the file no longer has
    #[arg(long)]
    pub remove_orphans: bool,
    /// Make new anonymous volumes instead of keeping those of the old containers
    #[arg(short = 'V', long)]
    pub renew_anon_volumes: bool,
    /// Number of containers of a service (can be repeated)
    #[arg(long, value_name = "SERVICE=N")]
    pub scale: Vec<String>,
    #[command(flatten)]
    pub images: ImageArgs,
    /// Answer every question with yes: volumes that exist in another form than the file's are made anew
    #[arg(short = 'y', long)]
    pub yes: bool,
    /// Print no colours
    #[arg(long)]
    pub no_color: bool,
    /// Print no prefix before log lines
    #[arg(long)]
    pub no_log_prefix: bool,
    /// Show when each line was written
    #[arg(long)]
    pub timestamps: bool,
    /// Follow edits: what `develop.watch` and `x-windlass.reload` ask for
    #[arg(short = 'w', long, conflicts_with = "no_start")]
    pub watch: bool,
    /// Keys to watch, detach, restart, and open a shell, on a terminal; so by default (COMPOSE_MENU)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true,
        default_missing_value = "true", action = clap::ArgAction::Set)]
    pub menu: bool,
}

/// # Errors
/// When the file is wrong or a service does not start.
pub fn run(args: &UpArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let begun = Timestamp::now();
    // Before any thread begins, so that all of them leave Ctrl-C to us.
    let interrupts = if args.returns_at_once(context) { None } else { Some(Interrupts::catch()?) };
    let loaded = context.load(&Loading { services: args.services.clone(), ..Loading::default() })?;
    let project = &loaded.project;
    let chosen = choose(project, &args.services, !args.no_deps)?;
    if chosen.is_empty() && !context.global.all_resources {
        return Err(no_service(project));
    }
    // There is nothing to wait for without services.
    let interrupts = interrupts.filter(|_| !chosen.is_empty());
    let attached = attachable(project, &chosen, args)?;
    let scale = scale(&args.scale, project)?;
    let watched = if args.watch { watching::rules(context, &loaded, &chosen)? } else { Vec::new() };
    let following = Following { context, loaded: &loaded, services: &chosen, scale: &scale };
    let paths = context.paths.project(&project.name);
    let up = Up { args, context, begun, paths: &paths, following };
    let progress = context.progress("up");
    let desired = up.desired(&watched, interrupts.as_ref(), &progress)?;
    let services = desired.project.services.clone();
    let request = up.request(desired)?;
    let Some(answer) = up.converge(&request, interrupts.as_ref(), &progress)? else { return Ok(INTERRUPTED) };
    if context.global.dry_run || args.no_start {
        return Ok(0);
    }
    if args.wait {
        up.wait(&answer, &progress)?;
    }
    let is_read = matches!(progress.mode(), Mode::Tty | Mode::Plain);
    progress.finish();
    if is_read {
        show_urls(context, up.paths, &services)?;
    }
    if let Some(interrupts) = interrupts {
        return up.stay(&interrupts, &answer, &attached, watched);
    }
    if is_read && !args.wait {
        ended::tell(context, up.paths, &services, begun)?;
    }
    Ok(0)
}

/// One `up`, once it is known what it is about.
struct Up<'a> {
    args: &'a UpArgs,
    context: &'a Context,
    begun: Timestamp,
    paths: &'a ProjectPaths,
    following: Following<'a>,
}

impl Up<'_> {
    /// What is to be, with the images for it: a pull that is broken off costs nothing but itself.
    fn desired(
        &self,
        watched: &[Watched],
        interrupts: Option<&Interrupts>,
        progress: &Progress,
    ) -> Result<Desired, CommandError> {
        let Following { context, loaded, services, scale } = self.following;
        let want = || desired(context, loaded, services, scale, &self.args.images, progress);
        let mut desired = interrupts.map_or_else(want, |interrupts| interrupts.at_default(want))?;
        desired.initial_sync = crate::engine::watch::initial(watched).into_iter().collect();
        Ok(desired)
    }

    fn request(&self, desired: Desired) -> Result<Request, CommandError> {
        let Self { args, context, .. } = *self;
        let orphans = Orphans::of(args.remove_orphans, &self.following.loaded.project.environment)?;
        let renew_volumes = volumes_to_renew(context, &desired, args.yes)?;
        Ok(Request::Up {
            desired: Box::new(desired),
            options: UpOptions {
                force_recreate: args.force_recreate,
                no_recreate: args.no_recreate,
                always_recreate_deps: args.always_recreate_deps,
                no_start: args.no_start,
                remove_orphans: orphans.remove,
                ignore_orphans: orphans.ignore,
                renew_volumes,
                renew_anonymous_volumes: args.renew_anon_volumes,
                named: args.services.clone(),
            },
            timeout_ms: args.timeout.map(|seconds| seconds.saturating_mul(1000)),
            dry_run: context.global.dry_run,
        })
    }

    /// `None` when the person has interrupted it, and everything is stopped.
    fn converge(
        &self,
        request: &Request,
        interrupts: Option<&Interrupts>,
        progress: &Progress,
    ) -> Result<Option<Answer>, CommandError> {
        let Self { args, context, paths, following, .. } = *self;
        let _span = tracing::info_span!(target: trace::TIMING, "converge").entered();
        let Some(interrupts) = interrupts else { return converge(context, paths, request, progress).map(Some) };
        let mut client = Client::connect_or_start(&context.paths, paths)?;
        client.send(request)?;
        let answer = interruptible(&mut client, interrupts, progress)?;
        if answer.is_none() {
            give_up(context, paths, client, interrupts, progress, following.services)?;
            stop(context, paths, interrupts, progress, self.stopped().to_vec(), args.timeout)?;
        }
        Ok(answer)
    }

    /// Until the services run or are healthy.
    fn wait(&self, answer: &Answer, progress: &Progress) -> Result<(), CommandError> {
        let containers = answer.containers.iter().map(|container| container.id.clone()).collect();
        let timeout_ms = self.args.wait_timeout.map(|seconds| seconds.saturating_mul(1000));
        converge(self.context, self.paths, &Request::Wait { containers, timeout_ms }, progress).map(drop)
    }

    /// In the foreground until an end.
    fn stay(
        &self,
        interrupts: &Interrupts,
        answer: &Answer,
        attached: &[String],
        watched: Vec<Watched>,
    ) -> CommandResult {
        let Self { args, context, paths, following, begun } = *self;
        // Before the watch's threads: they inherit which signals are ours.
        let menu = args.menu.then(|| Menu::open(context, following.services.to_vec(), true)).flatten();
        let watching = match args.watch {
            true => Some(watching::start(&following, watched, watching::Format::Text)?),
            false => None,
        };
        let palette = if args.no_color { Palette::plain() } else { context.palette_of_stdout() };
        // Not Rust's own stdout, which writes at every line end.
        let stdout = std::fs::File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let prefixes = Prefixes::new(palette, args.no_log_prefix);
        let mut screen = Screen::new(prefixes, args.timestamps, Box::new(stdout), Box::new(io::stderr()));
        let foreground = Foreground {
            context,
            paths,
            interrupts,
            attached,
            stopped: self.stopped(),
            containers: &answer.containers,
            hooks: &answer.hooks,
            ended_before: &ended_before(paths, begun)?,
            abort: args.abort(),
            exit_code_from: args.exit_code_from.as_deref(),
            timeout: args.timeout,
            since: begun,
        };
        let (services, timeout) = (following.services, args.timeout);
        let keys = Keys { context, following, paths, interrupts, services, timeout };
        foreground.run(&mut screen, watching, &keys, menu)
    }

    /// What is stopped with it. As the peer: what was only started because others depend on it goes on.
    fn stopped(&self) -> &[String] {
        let only_named = !self.args.services.is_empty() && !self.args.attach_dependencies;
        if only_named { &self.args.services } else { self.following.services }
    }
}

impl UpArgs {
    /// Nothing is followed once everything is as it is to be.
    fn returns_at_once(&self, context: &Context) -> bool {
        self.detach || self.wait || self.no_start || context.global.dry_run
    }

    fn abort(&self) -> Option<Abort> {
        if self.abort_on_container_failure {
            return Some(Abort::OnFailure);
        }
        (self.abort_on_container_exit || self.exit_code_from.is_some()).then_some(Abort::OnExit)
    }
}

/// Containers that had ended before `begun`, and were not started again.
fn ended_before(paths: &ProjectPaths, begun: Timestamp) -> Result<Vec<String>, CommandError> {
    let containers = crate::record::inventory::containers(paths)?;
    let ended = containers
        .into_iter()
        .filter(|container| matches!(container.state.status, Status::Exited { finished, .. } if finished < begun));
    Ok(ended.map(|container| container.record.id).collect())
}

/// Where the services answer, in the order of the file.
fn show_urls(context: &Context, paths: &ProjectPaths, services: &[String]) -> Result<(), CommandError> {
    let containers = crate::record::inventory::containers(paths)?;
    let of = |service: &String| {
        let own = containers.iter().filter(|container| container.record.service == *service);
        own.flat_map(|container| container.state.ports.clone()).collect::<Vec<_>>()
    };
    let ports: Vec<_> = services.iter().map(|service| (service.as_str(), of(service))).collect();
    let ports: Vec<_> = ports.iter().map(|(service, ports)| (*service, ports.as_slice())).collect();
    let answers = |service: &str, port: &PublishedPort| {
        containers
            .iter()
            .filter(|container| container.record.service == service)
            .any(|container| matches!(container.state.status, Status::Running { pid, .. } if listens(pid, port.target)))
    };
    eprint!("{}", super::super::ui::urls::render(&ports, answers, context.palette()));
    Ok(())
}

/// Nothing is to be made of such a file.
fn no_service(project: &Project) -> CommandError {
    let error = CommandError::new("no service selected");
    match project.disabled_services.is_empty() {
        true => error.hint("`--all-resources` creates networks and volumes that no service uses"),
        false => error.hint("enable a profile with --profile"),
    }
}

/// Services whose output a foreground `up` shows: the named ones (all when none is) unless they say `attach: false`, or
/// those of `--attach`.
fn attachable(project: &Project, chosen: &[String], args: &UpArgs) -> Result<Vec<String>, CommandError> {
    let known = names::services(project);
    for named in [&args.attach, &args.no_attach, &args.exit_code_from.iter().cloned().collect()] {
        names::check(named, &known)?;
    }
    if let Some(service) = args.exit_code_from.iter().find(|service| !chosen.contains(service)) {
        return Err(CommandError::new(format!("--exit-code-from: service \"{service}\" is not among those to start"))
            .hint("name it too, or leave all names out"));
    }
    let attached: Vec<String> = if args.attach.is_empty() {
        let named =
            |name: &&String| args.attach_dependencies || args.services.is_empty() || args.services.contains(name);
        let willing = |name: &&String| project.services.get(*name).is_none_or(|service| service.attach != Some(false));
        chosen.iter().filter(named).filter(willing).cloned().collect()
    } else {
        let strangers: Vec<&str> =
            args.attach.iter().filter(|name| !chosen.contains(name)).map(String::as_str).collect();
        if !strangers.is_empty() {
            return Err(CommandError::new(format!(
                "cannot attach to services not included in up: {}",
                strangers.join(", ")
            )));
        }
        args.attach.clone()
    };
    Ok(attached.into_iter().filter(|name| !args.no_attach.contains(name)).collect())
}
