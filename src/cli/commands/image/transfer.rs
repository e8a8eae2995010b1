//! `windlass image pull`, `load` and `save`

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;

use crate::cli::images::{open_store, pull_options, registry, shown};
use crate::cli::ui::progress::{Mode, Progress, ProgressEvent, State};
use crate::cli::{CommandError, CommandResult, Context, dry};
use crate::image::load::{Input, LoadOptions};
use crate::image::save::ToSave;
use crate::image::{Need, Platform, PullPolicy, Reference, ensure_all, load, save};

#[derive(Debug, Args)]
pub struct PullArgs {
    /// Images, as in `nginx`, `ghcr.io/owner/app:1`, `name@sha256:…`
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<String>,
    /// Platform to pull for, as in `linux/arm64`
    #[arg(long)]
    pub platform: Option<Platform>,
    /// Print no progress
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Archive (plain, gzip or zstd) or folder with an OCI layout; standard input by default
    #[arg(short, long, value_name = "PATH")]
    pub input: Option<PathBuf>,
    /// Name for an image that has none of its own
    #[arg(long)]
    pub name: Option<String>,
    /// Platform to load, of archives with several
    #[arg(long)]
    pub platform: Option<Platform>,
    /// Print no progress
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct SaveArgs {
    /// Images by name or id
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<String>,
    /// Where to; an existing folder becomes an OCI layout. Standard output by default
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
}

/// How many images are pulled at the same time.
const IMAGES_AT_ONCE: usize = 4;

pub(super) fn pull(args: &PullArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let store = open_store(context)?;
    let client = registry(context);
    let options = pull_options(context)?;
    let platform = args.platform.clone().or_else(|| options.platform.clone());
    let mut needs = Vec::new();
    for image in &args.images {
        needs.push(Need {
            reference: image.parse::<Reference>()?,
            policy: PullPolicy::Always,
            platform: platform.clone(),
        });
    }
    if context.global.dry_run {
        dry::tell(needs.iter().map(|need| format!("pull image {}: as asked for", need.reference.familiar())));
        return Ok(0);
    }
    let progress = progress(context, "image pull", args.quiet);
    let results = ensure_all(&store, &client, &needs, &options, IMAGES_AT_ONCE, &|event| progress.event(shown(&event)));
    let mut failure = None;
    for (need, result) in needs.iter().zip(&results) {
        if let Err(error) = result {
            let event = ProgressEvent::new(format!("Image {}", need.reference.familiar()), "Error", State::Error);
            progress.event(event.detail(innermost(error)));
        }
    }
    progress.finish();
    for (need, result) in needs.iter().zip(results) {
        match result {
            Ok(_) => println!("{}", need.reference),
            Err(error) => {
                // The last one is printed by whoever called; the others here.
                let remedy = error.remedy();
                let error = remedy.into_iter().fold(CommandError::from(error), CommandError::hint);
                if let Some(earlier) = failure.replace(error) {
                    earlier.print(context.palette());
                }
            }
        }
    }
    failure.map_or(Ok(0), Err)
}

fn progress(context: &Context, title: &str, quiet: bool) -> Progress {
    if quiet { Progress::start(title, Mode::Quiet, context.palette()) } else { context.progress(title) }
}

/// The last cause says the most in the fewest words.
fn innermost(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), innermost)
}

pub(super) fn load(args: &LoadArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let store = open_store(context)?;
    let pull = pull_options(context)?;
    let mut options = LoadOptions { parallel: pull.parallel, ..LoadOptions::default() };
    if let Some(platform) = args.platform.clone().or(pull.platform) {
        options.platform = platform;
    }
    if let Some(name) = &args.name {
        options.name = Some(name.parse::<Reference>()?);
    }
    let input = match &args.input {
        Some(path) => Input::Path(context.working_dir.join(path)),
        None if std::io::stdin().is_terminal() => {
            return Err(
                CommandError::new("standard input is a terminal, not an archive").hint("name the archive with --input")
            );
        }
        None => Input::Stream(Box::new(std::io::stdin())),
    };
    let progress = progress(context, "image load", args.quiet);
    let loaded = load::load(&store, input, &options, &|event| {
        let mut event = shown(&event);
        event.status = event.status.replace("Pull", "Load");
        progress.event(event);
    });
    progress.finish();
    for image in loaded? {
        for reference in &image.references {
            println!("Loaded image: {}", reference.familiar());
        }
        if image.references.is_empty() {
            println!("Loaded image ID: {}", image.image);
        }
    }
    Ok(0)
}

pub(super) fn save(args: &SaveArgs, context: &Context) -> CommandResult {
    let store = open_store(context)?;
    let mut images: Vec<ToSave> = Vec::new();
    for text in &args.images {
        let image = store.resolve(text)?.ok_or_else(|| CommandError::new(format!("no such image: {text}")))?;
        let reference = text.parse::<Reference>().ok().filter(|reference| image.references.contains(reference));
        match images.iter_mut().find(|known| known.image == image.id) {
            Some(known) => known.references.extend(reference),
            None => images.push(ToSave { image: image.id, references: reference.into_iter().collect() }),
        }
    }
    let Some(path) = args.output.as_ref().map(|path| context.working_dir.join(path)) else {
        let mut output = std::io::stdout();
        if output.is_terminal() {
            return Err(CommandError::new("an archive would only confuse the terminal")
                .hint("name a file with --output, or redirect standard output"));
        }
        save::save(&store, &images, &mut output)?;
        return Ok(0);
    };
    if path.is_dir() {
        save::save_layout(&store, &images, &path)?;
        return Ok(0);
    }
    // A file appears when it is complete.
    let mut partial = path.clone().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let saved = (|| -> Result<(), CommandError> {
        let mut file = File::create(&partial)
            .map_err(|error| CommandError::caused(format!("cannot create {}", partial.display()), &error))?;
        save::save(&store, &images, &mut file)?;
        let written = file.flush().and_then(|()| std::fs::rename(&partial, &path));
        written.map_err(|error| CommandError::caused(format!("cannot write {}", path.display()), &error))
    })();
    if saved.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    saved.map(|()| 0)
}
