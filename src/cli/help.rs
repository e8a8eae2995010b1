//! `windlass --help`: commands by what people do with them.

use std::fmt::Write as _;

use clap::Command;

/// Every command of the first level, in the order in which people meet them.
const GROUPS: &[(&str, &[&str])] = &[
    ("Raise and lower", &["up", "down", "watch", "create", "start", "stop", "restart", "scale", "run", "pull"]),
    ("Look", &["ps", "logs", "ls", "top", "stats", "events", "port", "images", "volumes"]),
    ("Get inside", &["exec", "shell", "attach", "cp", "export", "commit"]),
    ("The file", &["config", "explain", "graph"]),
    ("Intervene", &["kill", "pause", "unpause", "rm", "wait"]),
    ("Across projects", &["image", "volume", "network", "system", "version", "completion"]),
];

/// The command line whose help lists its commands in groups.
pub(super) fn grouped(command: Command) -> Command {
    let mut list = String::new();
    for (title, names) in GROUPS {
        let _ = writeln!(list, "{title}:");
        for command in names.iter().filter_map(|name| command.find_subcommand(name)) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(list, "  {:<12}{about}", command.get_name());
        }
        list.push('\n');
    }
    let template = format!(
        "{{about}}\n\n{{usage-heading}} {{usage}}\n\n{list}Options:\n{{options}}\n\n`windlass help COMMAND` tells more of one.\n"
    );
    command.help_template(template)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::args::Cli;

    #[test]
    fn every_command_is_in_one_group() {
        let mut there: Vec<String> = Cli::command()
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .map(|command| command.get_name().to_owned())
            .collect();
        let mut listed: Vec<String> =
            GROUPS.iter().flat_map(|(_, names)| names.iter().map(ToString::to_string)).collect();
        there.sort();
        listed.sort();
        assert_eq!(there, listed);
    }

    #[test]
    fn help_is_no_wider_than_a_terminal() {
        let help = grouped(Cli::command()).render_help().to_string();
        let commands = help.split("Options:").next().unwrap();
        assert!(commands.contains("Raise and lower:\n  up          Create and start"), "{commands}");
        for line in commands.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
