//! `windlass cp`

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::containers::Containers;
use crate::cli::ui::progress::{ProgressEvent, State};
use crate::cli::{CommandError, CommandResult, Context};
use crate::engine::copy::{self, CopyOptions, Place};
use crate::record::ObservedContainer;

#[derive(Debug, Args)]
pub struct CpArgs {
    /// Containers made by `run` too
    #[arg(long)]
    pub all: bool,
    /// Keep owners, special modes and extended attributes
    #[arg(short = 'a', long)]
    pub archive: bool,
    /// A source that is a link: copy what it leads to
    #[arg(short = 'L', long)]
    pub follow_link: bool,
    /// Number of the replica; into all of them, out of the first by default
    #[arg(long, value_name = "N")]
    pub index: Option<u32>,
    /// `SERVICE:PATH`, a path of this machine, or `-`: a tar archive on standard input
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// `SERVICE:PATH`, a path of this machine, or `-`: a tar archive on standard output
    #[arg(value_name = "TARGET")]
    pub target: String,
}

/// # Errors
/// When a service has no container, or something cannot be copied.
pub fn run(args: &CpArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    match (split(&args.source), split(&args.target)) {
        (Some((service, path)), None) => out_of(args, context, service, path),
        (None, Some((service, path))) => into(args, context, service, path),
        (Some(_), Some(_)) => Err(CommandError::new("copying between services is not supported")
            .hint("copy to this machine first, or: windlass cp a:/path - | windlass cp - b:/path")),
        (None, None) => {
            Err(CommandError::new("neither of the two is in a container").hint("write SERVICE:PATH for one of them"))
        }
    }
}

/// `SERVICE:PATH`; a path that begins with `/` or `.` is one of this machine, whatever it holds.
fn split(text: &str) -> Option<(&str, &str)> {
    if text.starts_with(['/', '.']) {
        return None;
    }
    text.split_once(':').filter(|(service, _)| !service.is_empty())
}

fn out_of(args: &CpArgs, context: &Context, service: &str, path: &str) -> CommandResult {
    let containers = Containers::of(context)?;
    containers.check_services(&[service.to_owned()])?;
    let container = containers.pick(service, args.index, false)?;
    let from = Place::container(&context.paths, &containers.project, container)?;
    if args.target == "-" {
        refuse_terminal(&io::stdout())?;
        let mut out = io::BufWriter::new(std::fs::File::from(io::stdout().as_fd().try_clone_to_owned()?));
        copy::pack_to(&from, Path::new(path), args.follow_link, &mut out)?;
        out.flush()?;
        return Ok(0);
    }
    let target = absolute(context, &args.target);
    let options = CopyOptions { follow: args.follow_link, archive: args.archive };
    let left_out = copy::copy(&from, Path::new(path), &Place::machine()?, &target, false, options)?;
    tell(&left_out);
    told(context, container, &args.source, &args.target);
    Ok(0)
}

fn into(args: &CpArgs, context: &Context, service: &str, path: &str) -> CommandResult {
    let containers = Containers::of(context)?;
    let services = [service.to_owned()];
    containers.check_services(&services)?;
    let chosen: Vec<&ObservedContainer> = match args.index {
        Some(index) if index > 0 => vec![containers.pick(service, args.index, false)?],
        _ => containers.of_services(&services, args.all).collect(),
    };
    if chosen.is_empty() {
        // For its message.
        containers.pick(service, None, false)?;
        return Err(CommandError::new(format!("service \"{service}\" has only containers made by `run`"))
            .hint("copy to those too with --all"));
    }
    let path = Path::new(path);
    if args.source == "-" {
        refuse_terminal(&io::stdin())?;
        let [container] = chosen[..] else {
            return Err(CommandError::new(format!(
                "service \"{service}\" has several containers, and standard input can be read once"
            ))
            .hint("name one with --index"));
        };
        let to = Place::container(&context.paths, &containers.project, container)?;
        tell(&copy::unpack_from(io::BufReader::new(io::stdin().lock()), &to, path)?);
        return Ok(0);
    }
    let source = absolute(context, &args.source);
    let options = CopyOptions { follow: args.follow_link, archive: args.archive };
    for container in chosen {
        let to = Place::container(&context.paths, &containers.project, container)?;
        tell(&copy::copy(&Place::machine()?, &source, &to, path, true, options)?);
        told(context, container, &args.source, &args.target);
    }
    Ok(0)
}

/// As the shell sees it; a `/.` at its end stays.
fn absolute(context: &Context, path: &str) -> PathBuf {
    let mut whole = context.working_dir.join(path).into_os_string();
    if path == "." {
        whole.push("/.");
    }
    whole.into()
}

fn refuse_terminal(stream: &impl io::IsTerminal) -> Result<(), CommandError> {
    if !stream.is_terminal() {
        return Ok(());
    }
    Err(CommandError::new("a terminal is no place for an archive")
        .hint("use a pipe or a file: windlass cp web:/etc - > etc.tar"))
}

fn tell(left_out: &[PathBuf]) {
    for path in left_out {
        eprintln!("warning: `{}` is a socket or a device and was left out", path.display());
    }
}

fn told(context: &Context, container: &ObservedContainer, source: &str, target: &str) {
    let progress = context.progress("Copying");
    progress.event(ProgressEvent::new(
        format!("{} copy {source} to {target}", container.record.name),
        "Copied",
        State::Done,
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_and_paths() {
        assert_eq!(split("web:/etc"), Some(("web", "/etc")));
        assert_eq!(split("web:"), Some(("web", "")));
        for path in ["/a:b", "./a:b", "../a:b", "plain", "-", ":x"] {
            assert_eq!(split(path), None, "{path}");
        }
    }
}
