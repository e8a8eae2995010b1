//! `windlass shell`

use clap::Args;

use crate::cli::containers::Containers;
use crate::cli::desired::ImageArgs;
use crate::cli::exit::{CommandError, USAGE};
use crate::cli::keys::SHELL;
use crate::cli::load::Loading;
use crate::cli::{CommandResult, Context};
use crate::compose::model::Project;

use super::exec::{self, ExecArgs};
use super::run::{self, RunArgs};

#[derive(Debug, Args)]
pub struct ShellArgs {
    /// Set an environment variable, or pass one of yours on (can be repeated)
    #[arg(short = 'e', long, value_name = "KEY[=VALUE]")]
    pub env: Vec<String>,
    /// Run as this user instead of the service's
    #[arg(short = 'u', long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Working directory in the container instead of the service's
    #[arg(short = 'w', long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// A container of its own, also when the service runs
    #[arg(long)]
    pub new: bool,
    /// Do not start what the service depends on
    #[arg(long)]
    pub no_deps: bool,
    /// Service; without one, the only one of the project, or the only one with a toolchain
    pub service: Option<String>,
}

/// # Errors
/// When it is not clear which service is meant, or the shell cannot be started.
pub fn run(args: &ShellArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let service = match &args.service {
        Some(service) => service.clone(),
        None => the_one(&context.load(&Loading::default())?.project)?,
    };
    let shell: Vec<String> = ["-c", SHELL].map(str::to_owned).into();
    if !args.new && Containers::of(context).is_ok_and(|containers| containers.pick(&service, None, true).is_ok()) {
        let command = [vec!["sh".to_owned()], shell].concat();
        let exec = ExecArgs {
            detach: false,
            env: args.env.clone(),
            index: 0,
            privileged: false,
            no_tty: false,
            user: args.user.clone(),
            workdir: args.workdir.clone().map(Into::into),
            interactive: true,
            tty: false,
            service,
            command,
        };
        return exec::run(&exec, context);
    }
    let oneoff = RunArgs {
        detach: false,
        rm: true,
        env: args.env.clone(),
        env_from_file: vec![],
        no_tty: false,
        interactive: true,
        tty: false,
        user: args.user.clone(),
        workdir: args.workdir.clone(),
        volume: vec![],
        publish: vec![],
        service_ports: false,
        name: None,
        // What an image prepares before its program is not for a shell.
        entrypoint: Some("sh".to_owned()),
        no_deps: args.no_deps,
        label: vec![],
        images: ImageArgs::default(),
        quiet: false,
        remove_orphans: false,
        use_aliases: false,
        cap_add: vec![],
        cap_drop: vec![],
        service,
        command: shell,
    };
    run::run(&oneoff, context)
}

/// The service that is meant when none is named.
fn the_one(project: &Project) -> Result<String, CommandError> {
    let names: Vec<&String> = project.services.keys().collect();
    let with_toolchain: Vec<&String> =
        project.services.iter().filter(|(_, it)| !it.windlass.toolchain.is_empty()).map(|(name, _)| name).collect();
    for candidates in [&names, &with_toolchain] {
        if let [only] = candidates[..] {
            return Ok(only.clone());
        }
    }
    let candidates = if with_toolchain.is_empty() { names } else { with_toolchain };
    let list: Vec<&str> = candidates.iter().map(|name| name.as_str()).collect();
    Err(CommandError::new("there are several services, and a shell opens in one of them")
        .hint(format!("name it: windlass shell {}", list.join("|")))
        .code(USAGE))
}
