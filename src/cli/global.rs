//! The flags that every command takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

/// Flags that every command takes.
#[derive(Debug, Clone, Default, Args)]
pub struct GlobalArgs {
    /// Compose file, `-` for standard input (can be repeated)
    #[arg(short = 'f', long = "file", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files: Vec<String>,
    /// Project name
    #[arg(short = 'p', long, value_name = "NAME")]
    pub project_name: Option<String>,
    /// Folder that relative paths start from; the first Compose file's by default
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub project_directory: Option<PathBuf>,
    /// Profile to enable (can be repeated)
    #[arg(long = "profile", value_name = "NAME")]
    pub profiles: Vec<String>,
    /// Environment file (can be repeated)
    #[arg(long = "env-file", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub env_files: Vec<String>,
    /// Include all resources, even those that no service uses: `up` creates their networks and volumes too
    #[arg(long)]
    pub all_resources: bool,
    /// When to print control sequences
    #[arg(long, value_name = "WHEN", value_enum)]
    pub ansi: Option<Ansi>,
    /// Kind of progress output
    #[arg(long, value_name = "KIND", value_enum)]
    pub progress: Option<ProgressKind>,
    /// Most pulls at the same time, -1 for no limit
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub parallel: Option<i32>,
    /// Join generated names of containers and images with `_`, as Compose V1 did (COMPOSE_COMPATIBILITY)
    #[arg(long)]
    pub compatibility: bool,
    /// Say what would be done, and do nothing
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Print where the time went, step by step
    #[arg(long)]
    pub timings: bool,
    /// Log what happens to standard error (twice: everything)
    #[arg(short = 'v', long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Ansi {
    Never,
    Always,
    Auto,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressKind {
    Auto,
    Tty,
    Plain,
    Json,
    Quiet,
}
