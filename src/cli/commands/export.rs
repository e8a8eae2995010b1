//! `windlass export`

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

use clap::Args;

use crate::cli::containers::Containers;
use crate::cli::{CommandError, CommandResult, Context};
use crate::engine::copy::{self, Place};

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Number of the replica
    #[arg(long, value_name = "N")]
    pub index: Option<u32>,
    /// Write to this file instead of standard output
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    pub service: String,
}

/// # Errors
/// When the service has no container, or its files cannot be read or written.
pub fn run(args: &ExportArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let containers = Containers::of_service(context, &args.service)?;
    containers.check_services(std::slice::from_ref(&args.service))?;
    let container = containers.pick(&args.service, args.index, false)?;
    let output = args.output.as_ref().map(|path| context.working_dir.join(path));
    if output.is_none() && io::stdout().is_terminal() {
        return Err(
            CommandError::new("a terminal is no place for an archive").hint("name a file with -o, or use a pipe")
        );
    }
    let from = Place::container(&context.paths, &containers.project, container)?;
    match output {
        None => {
            let mut out = BufWriter::new(File::from(io::stdout().as_fd().try_clone_to_owned()?));
            copy::export(&from, &mut out)?;
            out.flush()?;
        }
        Some(path) => {
            let failed = |error: io::Error| CommandError::caused(format!("cannot write {}", path.display()), &error);
            // Complete or not there at all.
            let mut partial = path.clone().into_os_string();
            partial.push(".partial");
            let written = File::create(&partial).map_err(failed).and_then(|file| {
                let mut out = BufWriter::new(file);
                copy::export(&from, &mut out)?;
                out.flush().and_then(|()| std::fs::rename(&partial, &path)).map_err(failed)
            });
            if written.is_err() {
                let _ = std::fs::remove_file(&partial);
            }
            written?;
        }
    }
    Ok(0)
}
