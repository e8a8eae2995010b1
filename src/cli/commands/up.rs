//! `windlass up`

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use clap::Args;
use jiff::Timestamp;

use crate::cli::attach::{Appearance, Attached};
use crate::cli::conversation::{Answer, ask, converge, show};
use crate::cli::exit::{CommandError, INTERRUPTED};
use crate::cli::images::{PullFlags, ensure};
use crate::cli::load::Loading;
use crate::cli::signals::{Interrupts, Wake};
use crate::cli::ui::prefix::Prefixes;
use crate::cli::ui::progress::{Mode, Progress};
use crate::cli::ui::style::Palette;
use crate::cli::{CommandResult, Context, trace};
use crate::engine::client::Client;
use crate::engine::message::{ContainerRef, Event, Request};
use crate::engine::selection::select;
use crate::image::pull::PullPolicy;
use crate::plan::lower::{Fault, Inputs, lower};
use crate::plan::{Action, Desired, Selection, UpOptions};
use crate::state::ProjectPaths;

#[derive(Debug, Args)]
pub struct UpArgs {
    /// Services to start, with what they depend on; all by default
    pub services: Vec<String>,
    /// Run in the background and return
    #[arg(short = 'd', long)]
    pub detach: bool,
    /// Wait until the services run or are healthy; implies --detach
    #[arg(long)]
    pub wait: bool,
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
    /// When to pull images
    #[arg(long, value_name = "POLICY", value_parser = ["always", "missing", "never", "policy"])]
    pub pull: Option<String>,
    /// Pull without progress output
    #[arg(long)]
    pub quiet_pull: bool,
    /// Print no colours
    #[arg(long)]
    pub no_color: bool,
    /// Print no prefix before log lines
    #[arg(long)]
    pub no_log_prefix: bool,
    /// Show when each line was written
    #[arg(long)]
    pub timestamps: bool,
}

/// # Errors
/// When the file is wrong or a service does not start.
pub fn run(args: &UpArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let begun = Timestamp::now();
    let detached = args.detach || args.wait || args.no_start;
    // Before any thread begins, so that all of them leave Ctrl-C to us.
    let interrupts = if detached { None } else { Some(Interrupts::catch()?) };
    let loaded = context.load(&Loading { services: args.services.clone(), ..Loading::default() })?;
    let project = &loaded.project;
    let chosen = select(project, &args.services, !args.no_deps).map_err(|unknown| no_such_service(&unknown))?;
    if chosen.is_empty() {
        return Err(CommandError::new("no service selected").hint("enable a profile with --profile"));
    }
    let scale = scale(&args.scale, project)?;
    let progress = context.progress("up");
    let flags = PullFlags { policy: policy(args.pull.as_deref()), quiet: args.quiet_pull, ..PullFlags::default() };
    let images = ensure(context, project, &chosen, flags, &progress)?;
    let volumes = context.paths.volumes();
    let inputs = Inputs {
        images: &images,
        volumes: &volumes,
        services: &chosen,
        scale: &scale,
        version: env!("CARGO_PKG_VERSION"),
    };
    let mut desired = lower(project, &inputs).map_err(|faults| faults_of_the_file(context, project, &faults))?;
    desired.project.environment_files = loaded.environment_files.clone();
    let attached = attachable(project, &desired, args);
    let services = desired.project.services.clone();
    let paths = context.paths.project(&project.name);
    let request = Request::Up {
        desired: Box::new(desired),
        options: UpOptions {
            force_recreate: args.force_recreate,
            no_recreate: args.no_recreate,
            always_recreate_deps: args.always_recreate_deps,
            no_start: args.no_start,
            remove_orphans: args.remove_orphans,
            renew_anonymous_volumes: args.renew_anon_volumes,
            named: args.services.clone(),
        },
        timeout_ms: args.timeout.map(|seconds| seconds * 1000),
        dry_run: context.global.dry_run,
    };
    let answer = {
        let _span = tracing::info_span!(target: trace::TIMING, "converge").entered();
        match &interrupts {
            None => converge(context, &paths, &request, &progress)?,
            Some(interrupts) => {
                let mut client = Client::connect_or_start(&context.paths, &paths)?;
                client.send(&request, &[])?;
                match interruptible(&mut client, interrupts, &progress)? {
                    Some(answer) => answer,
                    None => {
                        // It begins nothing more.
                        drop(client);
                        progress.note("Gracefully stopping... (press Ctrl+C again to force)");
                        stop(context, &paths, interrupts, &progress, args.timeout)?;
                        return Ok(INTERRUPTED);
                    }
                }
            }
        }
    };
    if context.global.dry_run || args.no_start {
        return Ok(0);
    }
    if args.wait {
        let named = |container: &&ContainerRef| args.services.is_empty() || args.services.contains(&container.service);
        let containers = answer.containers.iter().filter(named).map(|container| container.id.clone()).collect();
        let timeout_ms = args.wait_timeout.map(|seconds| seconds * 1000);
        converge(context, &paths, &Request::Wait { containers, timeout_ms }, &progress)?;
    }
    let mode = progress.mode();
    progress.finish();
    if matches!(mode, Mode::Tty | Mode::Plain) {
        show_urls(context, &paths, &services)?;
    }
    let Some(interrupts) = interrupts else { return Ok(0) };
    let followed: Vec<ContainerRef> =
        answer.containers.into_iter().filter(|container| attached.contains(&container.service)).collect();
    follow(args, context, &paths, &interrupts, &followed, &services, begun)
}

/// Where the services answer, in the order of the file.
fn show_urls(context: &Context, paths: &ProjectPaths, services: &[String]) -> Result<(), CommandError> {
    let containers = crate::engine::inventory::containers(paths)?;
    let of = |service: &String| {
        let own = containers.iter().filter(|container| container.record.service == *service);
        own.flat_map(|container| container.state.ports.clone()).collect::<Vec<_>>()
    };
    let ports: Vec<_> = services.iter().map(|service| (service.as_str(), of(service))).collect();
    let ports: Vec<_> = ports.iter().map(|(service, ports)| (*service, ports.as_slice())).collect();
    eprint!("{}", super::super::ui::urls::render(&ports, context.palette()));
    Ok(())
}

/// Shows events until the last; `None` when the person interrupts.
fn interruptible(
    client: &mut Client,
    interrupts: &Interrupts,
    progress: &Progress,
) -> Result<Option<Answer>, CommandError> {
    let mut answer = Answer::default();
    loop {
        if interrupts.wait(&[client.as_fd()])? == Wake::Interrupted {
            return Ok(None);
        }
        let (event, _) = client.receive()?;
        if show(&event, progress, &mut answer)? {
            return Ok(Some(answer));
        }
    }
}

/// Prints the logs of `containers` until all have ended or the person interrupts.
fn follow(
    args: &UpArgs,
    context: &Context,
    paths: &ProjectPaths,
    interrupts: &Interrupts,
    containers: &[ContainerRef],
    services: &[String],
    since: Timestamp,
) -> CommandResult {
    let palette = if args.no_color { Palette::plain() } else { context.palette_of_stdout() };
    let appearance = Appearance { prefixes: Prefixes::new(palette, args.no_log_prefix), timestamps: args.timestamps };
    let mut attached = Attached::new(paths, containers, services, since, appearance)?;
    let mut client = Client::connect_or_start(&context.paths, paths)?;
    let ids = containers.iter().map(|container| container.id.clone()).collect();
    client.send(&Request::Follow { containers: ids }, &[])?;
    attached.print()?;
    loop {
        if interrupts.wait(&[client.as_fd(), attached.as_fd()])? == Wake::Interrupted {
            eprintln!("Gracefully stopping... (press Ctrl+C again to force)");
            let progress = context.progress("stop");
            stop(context, paths, interrupts, &progress, args.timeout)?;
            drop(progress);
            attached.print()?;
            return Ok(INTERRUPTED);
        }
        attached.print()?;
        if !readable(client.as_fd())? {
            continue;
        }
        match client.receive()?.0 {
            Event::Exited { container, exit_code, .. } => {
                attached.print()?;
                attached.remark(&container.id, &format!("exited with code {exit_code}"));
            }
            Event::Done { .. } => return Ok(0),
            Event::Failed(failure) => return Err(failure.into()),
            _ => {}
        }
    }
}

fn readable(fd: BorrowedFd<'_>) -> Result<bool, CommandError> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    Ok(poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::ZERO)? > 0)
}

/// Stops everything gracefully; a second Ctrl-C kills.
fn stop(
    context: &Context,
    paths: &ProjectPaths,
    interrupts: &Interrupts,
    progress: &Progress,
    timeout: Option<u64>,
) -> Result<(), CommandError> {
    let request = |action| Request::Act {
        action,
        selection: Selection::default(),
        timeout_ms: timeout.map(|seconds| seconds.saturating_mul(1000)),
        dry_run: false,
    };
    let mut client = Client::connect_or_start(&context.paths, paths)?;
    client.send(&request(Action::Stop), &[])?;
    if interruptible(&mut client, interrupts, progress)?.is_none() {
        let mut client = Client::connect_or_start(&context.paths, paths)?;
        ask(&mut client, &request(Action::Signal { signal: "SIGKILL".to_owned() }), &[], progress)?;
    }
    Ok(())
}

/// Services whose output a foreground `up` shows: the named ones (all when none is), unless they say `attach: false`.
fn attachable(project: &crate::compose::model::Project, desired: &Desired, args: &UpArgs) -> Vec<String> {
    desired
        .services
        .iter()
        .map(|service| service.name.clone())
        .filter(|name| args.services.is_empty() || args.services.contains(name))
        .filter(|name| project.services.get(name).is_none_or(|service| service.attach != Some(false)))
        .collect()
}

pub(super) fn policy(text: Option<&str>) -> Option<PullPolicy> {
    match text {
        Some("always") => Some(PullPolicy::Always),
        Some("missing") => Some(PullPolicy::Missing),
        Some("never") => Some(PullPolicy::Never),
        _ => None,
    }
}

fn scale(
    arguments: &[String],
    project: &crate::compose::model::Project,
) -> Result<BTreeMap<String, u32>, CommandError> {
    let mut scale = BTreeMap::new();
    for argument in arguments {
        let parsed = argument.split_once('=').and_then(|(name, count)| Some((name, count.parse::<u32>().ok()?)));
        let Some((name, count)) = parsed else {
            return Err(
                CommandError::new(format!("--scale {argument}: expected SERVICE=N")).code(super::super::exit::USAGE)
            );
        };
        if !project.services.contains_key(name) {
            return Err(no_such_service(&[name.to_owned()]));
        }
        if count > 1 && project.services[name].container_name.is_some() {
            return Err(CommandError::new(format!(
                "service \"{name}\" has a container_name, so it cannot have {count} containers: names are unique"
            )));
        }
        scale.insert(name.to_owned(), count);
    }
    Ok(scale)
}

pub(in crate::cli) fn no_such_service(names: &[String]) -> CommandError {
    CommandError::new(format!("no such service: {}", names.join(", ")))
        .hint("`windlass config --services` lists the services of this project")
}

/// Faults that only show when the file meets its images, each with its place.
pub(super) fn faults_of_the_file(
    _context: &Context,
    project: &crate::compose::model::Project,
    faults: &[Fault],
) -> CommandError {
    let mut text = String::new();
    for fault in faults {
        text += &format!("error: {}: {}\n", fault.path, fault.message);
        if let Some(place) = project.place(&fault.path) {
            text += &format!("  --> {place}\n");
        }
        if let Some(hint) = &fault.hint {
            text += &format!("  hint: {hint}\n");
        }
    }
    CommandError::rendered(text)
}
