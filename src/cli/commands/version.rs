//! `windlass version`

use clap::Args;

use crate::cli::{CommandResult, Context};

#[derive(Debug, Args)]
pub struct VersionArgs {
    /// `pretty` or `json`
    #[arg(short = 'f', long, value_name = "FORMAT", default_value = "pretty", value_parser = ["pretty", "json"])]
    pub format: String,
    /// Only the number
    #[arg(long)]
    pub short: bool,
}

/// # Errors
/// Never.
pub fn run(args: &VersionArgs, _context: &Context) -> CommandResult {
    println!("{}", render(args));
    Ok(0)
}

fn render(args: &VersionArgs) -> String {
    let version = env!("CARGO_PKG_VERSION");
    match args.format.as_str() {
        _ if args.short => version.to_owned(),
        "json" => serde_json::json!({"version": format!("v{version}")}).to_string(),
        _ => format!("windlass version v{version}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_forms() {
        let render = |format: &str, short| render(&VersionArgs { format: format.into(), short });
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(render("pretty", false), format!("windlass version v{version}"));
        assert_eq!(render("json", false), format!("{{\"version\":\"v{version}\"}}"));
        assert_eq!(render("json", true), version);
    }
}
