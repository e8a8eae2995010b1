//! `windlass completion`: scripts for shells, and the man pages, from the definition of the command line.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use clap_complete::env::Shells;

use crate::cli::{CommandError, CommandResult, Context, complete};

#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// Print the script of this shell
    #[arg(value_enum, required_unless_present = "install")]
    pub shell: Option<Shell>,
    /// Put the scripts of all shells and the man pages where these look for them, for all users when run as root
    #[arg(long, conflicts_with = "shell")]
    pub install: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    const ALL: [Self; 3] = [Self::Bash, Self::Zsh, Self::Fish];

    fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
        }
    }

    /// Below the folder of shared data, where the shell looks by itself.
    fn place(self) -> &'static str {
        match self {
            Self::Bash => "bash-completion/completions/windlass",
            Self::Zsh => "zsh/site-functions/_windlass",
            Self::Fish => "fish/vendor_completions.d/windlass.fish",
        }
    }
}

/// # Errors
/// When a file cannot be written.
pub fn run(args: &CompletionArgs, context: &Context) -> CommandResult {
    if let Some(shell) = args.shell {
        io::stdout().write_all(&script(shell)?)?;
        return Ok(0);
    }
    let shared = shared(context)?;
    for shell in Shell::ALL {
        let path = shared.join(shell.place());
        write(&path, &script(shell)?)?;
        println!("{}", path.display());
    }
    let pages = shared.join("man/man1");
    fs::create_dir_all(&pages).map_err(|error| unwritable(&pages, &error))?;
    clap_mangen::generate_to(complete::command(), &pages).map_err(|error| unwritable(&pages, &error))?;
    println!("{}", pages.join("windlass.1").display());
    Ok(0)
}

/// It asks windlass itself at each press of the key, so that it knows the services of the folder.
fn script(shell: Shell) -> Result<Vec<u8>, CommandError> {
    let mut text = Vec::new();
    let known = Shells::builtins();
    let completer = known.completer(shell.name()).ok_or_else(|| CommandError::new("this shell is not known"))?;
    completer.write_registration(complete::VARIABLE, "windlass", "windlass", "windlass", &mut text)?;
    Ok(text)
}

fn shared(context: &Context) -> Result<PathBuf, CommandError> {
    if nix::unistd::geteuid().is_root() {
        return Ok("/usr/local/share".into());
    }
    let named = context.environment.get("XDG_DATA_HOME").filter(|path| path.starts_with('/')).map(PathBuf::from);
    named
        .or_else(|| context.home.as_ref().map(|home| home.join(".local/share")))
        .ok_or_else(|| CommandError::new("HOME is not set, so there is no place for your own files"))
}

fn write(path: &Path, content: &[u8]) -> Result<(), CommandError> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).and_then(|()| fs::write(path, content)).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> CommandError {
    CommandError::caused(format!("cannot write {}", path.display()), error)
}
