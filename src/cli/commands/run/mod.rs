//! `windlass run`

mod overrides;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use clap::{ArgAction, Args};

use crate::cli::converging::Orphans;
use crate::cli::conversation::{Answer, foresee, show};
use crate::cli::desired::{ImageArgs, desired};
use crate::cli::execute::other_ends;
use crate::cli::exit::{CommandError, INTERRUPTED};
use crate::cli::load::Loading;
use crate::cli::names::choose;
use crate::cli::signals::Interrupts;
use crate::cli::streams::{Carried, Streams};
use crate::cli::terminal::{DETACH_KEYS, RawMode, RelayEnd, relay};
use crate::cli::ui::progress::{Mode, Progress};
use crate::cli::{CommandResult, Context, names};
use crate::compose::LoadOptions;
use crate::engine::client::Client;
use crate::message::{Request, Response};
use crate::plan::desired::generated_name;
use crate::plan::lower::labels::ONEOFF;
use crate::plan::{Action, DesiredService, Selection, UpOptions};
use crate::record::{RestartLimits, RestartPolicy, new_container_id};
use crate::runtime::OtherEnds;
use crate::state::ProjectPaths;

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Run in the background and print the container's id
    #[arg(short = 'd', long)]
    pub detach: bool,
    /// Remove the container when it ends
    #[arg(long)]
    pub rm: bool,
    /// Set an environment variable, or pass one of the shell's on (can be repeated)
    #[arg(short = 'e', long, value_name = "KEY[=VALUE]")]
    pub env: Vec<String>,
    /// Set the variables of this file (can be repeated)
    #[arg(long, value_name = "FILE")]
    pub env_from_file: Vec<String>,
    /// Do not allocate a terminal; so by default unless standard input and output are one
    #[arg(short = 'T', long = "no-tty", visible_alias = "no-TTY")]
    pub no_tty: bool,
    /// Keep standard input open
    #[arg(short = 'i', long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_value_t = true, default_missing_value = "true")]
    pub interactive: bool,
    /// Allocate a terminal; so by default
    #[arg(short = 't', long, hide = true, conflicts_with = "no_tty")]
    pub tty: bool,
    /// Run as this user
    #[arg(short = 'u', long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Working directory in the container
    #[arg(short = 'w', long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Mount this too, as `volumes` has it (can be repeated)
    #[arg(short = 'v', long, value_name = "SOURCE:TARGET")]
    pub volume: Vec<String>,
    /// Publish this port, as `ports` has it (can be repeated)
    #[arg(short = 'p', long, value_name = "PORT", conflicts_with = "service_ports")]
    pub publish: Vec<String>,
    /// Publish the service's own ports
    #[arg(short = 'P', long)]
    pub service_ports: bool,
    /// Name of the container
    #[arg(long)]
    pub name: Option<String>,
    /// Program to run instead of the image's
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Option<String>,
    /// Do not start what the service depends on
    #[arg(long)]
    pub no_deps: bool,
    /// Add a label (can be repeated)
    #[arg(short = 'l', long, value_name = "KEY=VALUE")]
    pub label: Vec<String>,
    #[command(flatten)]
    pub images: ImageArgs,
    /// Print no progress
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// Remove containers of services that the file no longer has
    #[arg(long)]
    pub remove_orphans: bool,
    /// Be found under the service's names, too
    #[arg(long)]
    pub use_aliases: bool,
    /// Add a capability (can be repeated)
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_add: Vec<String>,
    /// Drop a capability (can be repeated)
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_drop: Vec<String>,
    pub service: String,
    /// Command and its arguments, instead of the service's
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// # Errors
/// When the file is wrong, something that the service depends on does not start, or the command cannot be started.
pub fn run(args: &RunArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    // Before any thread begins, so that all of them leave Ctrl-C to us.
    let interrupts = if args.detach { None } else { Some(Interrupts::catch()?) };
    let named = std::slice::from_ref(&args.service);
    // A volume that only the command line mounts is not used by any service.
    let options = LoadOptions { all_resources: !args.volume.is_empty(), ..LoadOptions::default() };
    let mut loaded = context.load(&Loading { services: named.to_vec(), options })?;
    let tty = !args.detach && !args.no_tty && io::stdin().is_terminal() && io::stdout().is_terminal();
    let known = names::services(&loaded.project);
    let chosen = choose(&loaded.project, named, !args.no_deps).map_err(|error| {
        let advice =
            "`run` takes a service of the file; for an image, write one: services: { it: { image: \"IMAGE\" } }";
        names::or_an_image(error, named, &known, advice)
    })?;
    overrides::apply(args, tty, context, &mut loaded.project)?;
    if !context.global.all_resources {
        crate::compose::prune(&mut loaded.project);
    }
    // What a pipe or a file gets is what the command says, and nothing of ours beside it.
    let piped = !args.detach && !io::stdout().is_terminal();
    let quiet = args.quiet || (piped && context.global.progress.is_none() && !context.global.dry_run);
    let progress = if quiet { Progress::start("run", Mode::Quiet, context.palette()) } else { context.progress("run") };
    let want = || desired(context, &loaded, &chosen, &BTreeMap::new(), &args.images, &progress);
    let mut desired = interrupts.as_ref().map_or_else(want, |interrupts| interrupts.at_default(want))?;
    let of_service = |service: &DesiredService| service.name == args.service;
    let Some(place) = desired.services.iter().position(of_service) else {
        return Err(names::no_such_service(named, &known));
    };
    let oneoff = oneoff(args, desired.services.remove(place));
    let paths = context.paths.project(&loaded.project.name);
    let orphans = Orphans::of(args.remove_orphans, &loaded.project.environment)?;
    let dependencies = desired.services.iter().map(|service| service.name.clone()).collect();
    let request = Request::Run {
        desired: Box::new(desired),
        oneoff: Box::new(oneoff),
        options: UpOptions {
            remove_orphans: orphans.remove,
            ignore_orphans: orphans.ignore,
            named: dependencies,
            ..UpOptions::default()
        },
        attach: !args.detach,
        stdin: args.interactive,
        dry_run: context.global.dry_run,
    };
    if request.is_dry() {
        foresee(context, &paths, &request, &progress)?;
        return Ok(0);
    }
    converse(args, context, &paths, &request, progress, interrupts.as_ref())
}

/// What the service is as a container of its own.
fn oneoff(args: &RunArgs, mut service: DesiredService) -> DesiredService {
    let slug = new_container_id();
    let record = &mut service.template;
    let short = slug.get(..12).unwrap_or(&slug);
    let name = generated_name(record, service.separator, &["run", short]);
    service.container_name = Some(args.name.clone().unwrap_or(name));
    record.oneoff = true;
    record.auto_remove = args.rm;
    record.restart = RestartPolicy::No;
    record.restart_limits = RestartLimits::default();
    record.restart_unhealthy = false;
    record.labels.insert(ONEOFF.to_owned(), "True".to_owned());
    record.labels.insert("com.docker.compose.slug".to_owned(), slug);
    if !args.use_aliases {
        for endpoint in &mut record.endpoints {
            endpoint.aliases.clear();
        }
    }
    service
}

fn converse(
    args: &RunArgs,
    context: &Context,
    paths: &ProjectPaths,
    request: &Request,
    progress: Progress,
    interrupts: Option<&Interrupts>,
) -> CommandResult {
    let mut client = Client::connect_or_start(&context.paths, paths)?;
    client.send(request)?;
    let mut answer = Answer::default();
    let mut progress = Some(progress);
    let mut streams: Option<Streams> = None;
    let mut signals = Signals { context, paths, container: None, early: None, sent: Vec::new() };
    loop {
        if let (Some(streams), Some(interrupts)) = (&mut streams, interrupts) {
            while let Carried::Unread(stream) = streams.carry(&[interrupts.as_fd(), client.as_fd()])? {
                client.send(&Request::Unread { stream })?;
            }
        }
        if let Some(interrupts) = interrupts
            && let Some(signal) = interrupts.wait_signal(&[client.as_fd()])?
        {
            match signals.early.replace(signal) {
                _ if signals.container.is_some() => signals.pass_on(signal)?,
                // It may run already without our having heard of it: the supervisor knows.
                None => client.send(&Request::GiveUp)?,
                Some(_) => return Ok(INTERRUPTED),
            }
            continue;
        }
        let (event, received) = client.receive()?;
        match event {
            Response::RunStarted { container } => {
                if let Some(progress) = progress.take() {
                    progress.finish();
                }
                if args.detach {
                    println!("{}", container.id);
                    return Ok(0);
                }
                signals.container = Some(container.id);
                if let Some(signal) = signals.early {
                    signals.pass_on(signal)?;
                }
                match other_ends(request, received)? {
                    OtherEnds::None => {}
                    OtherEnds::Pipes { stdin, stdout, stderr } => streams = Some(Streams::new(stdin, stdout, stderr)?),
                    OtherEnds::Terminal(master) => {
                        let raw = RawMode::enter().ok();
                        let end = loop {
                            match relay(&master, client.as_fd(), DETACH_KEYS)? {
                                RelayEnd::Signalled(signal) => signals.pass_on(signal)?,
                                end => break end,
                            }
                        };
                        drop(raw);
                        if end == RelayEnd::Detached {
                            return Ok(0);
                        }
                    }
                }
            }
            Response::Done { exit_code } => {
                if let Some(streams) = streams {
                    streams.finish();
                }
                return Ok(u8::try_from(exit_code & 0xff).unwrap_or(1));
            }
            Response::Failed(failure) => {
                drop(progress.take());
                if signals.early.is_some() && signals.container.is_none() {
                    return Ok(INTERRUPTED);
                }
                return Err(failure.into());
            }
            other => {
                match (&progress, &other) {
                    // It does not go where the command's own output goes.
                    (Some(progress), Response::Warning { text }) if progress.mode() == Mode::Quiet && !args.quiet => {
                        eprintln!("warning: {text}");
                    }
                    (Some(progress), _) => _ = show(&other, progress, &mut answer)?,
                    (None, _) => {}
                }
            }
        }
    }
}

/// Signals to the command on their way to the container.
struct Signals<'a> {
    context: &'a Context,
    paths: &'a ProjectPaths,
    container: Option<String>,
    /// What came before the container was known to run.
    early: Option<nix::sys::signal::Signal>,
    /// Connections whose requests are under way.
    sent: Vec<Client>,
}

impl Signals<'_> {
    /// The first is passed on as it is. A program that does not hear it, as the first of a container does not by
    /// default, is stopped by the second and killed by the third.
    fn pass_on(&mut self, signal: nix::sys::signal::Signal) -> Result<(), CommandError> {
        let Some(container) = &self.container else { return Ok(()) };
        let action = match self.sent.len() {
            0 => Action::Signal { signal: signal.as_str().to_owned() },
            1 => Action::Stop,
            _ => Action::Signal { signal: "SIGKILL".to_owned() },
        };
        let selection = Selection { containers: vec![container.clone()], ..Selection::default() };
        let mut client = Client::connect_or_start(&self.context.paths, self.paths)?;
        client.send(&Request::Act { action, selection, timeout_ms: None, dry_run: false })?;
        self.sent.push(client);
        Ok(())
    }
}
