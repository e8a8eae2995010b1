//! `docs/reference/cli.md`: every command with its arguments, from the definition that also parses them.

use std::fmt::Write;

use clap::builder::StyledStr;
use clap::{Arg, Command};
use windlass::cli::args;

/// A cell of a table.
fn cell(text: Option<&StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default().replace('|', "\\|").replace('\n', " ")
}

fn spelled(arg: &Arg) -> String {
    let values = arg.get_value_names().unwrap_or_default().iter().map(|name| name.to_string()).collect::<Vec<_>>();
    let takes = arg.get_action().takes_values();
    if arg.is_positional() {
        let many = arg.get_num_args().is_some_and(|range| range.max_values() > 1);
        let name = values.first().cloned().unwrap_or_else(|| arg.get_id().to_string().to_uppercase());
        let name = if many { format!("{name}...") } else { name };
        return if arg.is_required_set() { format!("`{name}`") } else { format!("`[{name}]`") };
    }
    let short = arg.get_short_and_visible_aliases().unwrap_or_default().into_iter().map(|short| format!("`-{short}`"));
    let long = arg.get_long_and_visible_aliases().unwrap_or_default().into_iter().map(|long| format!("`--{long}`"));
    let mut text = short.chain(long).collect::<Vec<_>>().join(", ");
    if takes {
        write!(text, " `{}`", values.join(" ")).unwrap();
    }
    text
}

/// What a flag may be and what it is when nobody says.
fn explained(arg: &Arg) -> String {
    let mut text = cell(arg.get_help());
    let possible: Vec<String> = match arg.get_action().takes_values() {
        true => arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect(),
        false => vec![],
    };
    if !possible.is_empty() && !arg.is_hide_possible_values_set() {
        write!(text, ": {}", possible.join(", ")).unwrap();
    }
    let default: Vec<String> =
        arg.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
    if arg.get_action().takes_values() && !default.is_empty() {
        write!(text, " (default {})", default.join(" ")).unwrap();
    }
    text
}

fn table(page: &mut String, command: &Command) {
    // What every command takes stands in the first table.
    let first = command.get_name() == "windlass";
    let shown = |arg: &&Arg| {
        !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str()) && (first || !arg.is_global_set())
    };
    let arguments: Vec<&Arg> = command.get_arguments().filter(shown).collect();
    if arguments.is_empty() {
        return;
    }
    page.push_str("\n| argument | |\n| --- | --- |\n");
    for arg in arguments {
        writeln!(page, "| {} | {} |", spelled(arg), explained(arg)).unwrap();
    }
}

fn section(page: &mut String, before: &str, command: &Command) {
    let name = format!("{before} {}", command.get_name());
    let aliases: Vec<&str> = command.get_visible_aliases().collect();
    write!(page, "\n## `{name}`\n\n{}.", cell(command.get_about())).unwrap();
    if !aliases.is_empty() {
        write!(page, " Also `{}`.", aliases.join("`, `")).unwrap();
    }
    page.push('\n');
    let below: Vec<&Command> =
        command.get_subcommands().filter(|it| !it.is_hide_set() && it.get_name() != "help").collect();
    table(page, command);
    for command in below {
        section(page, &name, command);
    }
}

fn page() -> String {
    let mut root = args::command();
    root.build();
    let mut page = String::from(
        "# Commands\n\nMade from the definition that the program parses with; `windlass help COMMAND` says the same. Flags \
         of the first table stand before the command, `--dry-run` anywhere.\n",
    );
    table(&mut page, &root);
    let commands = root.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help");
    for command in commands {
        section(&mut page, "windlass", command);
    }
    page
}

#[test]
fn the_page_of_commands_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/cli.md");
    let page = page();
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert!(std::fs::read_to_string(path).unwrap_or_default() == page, "run with UPDATE_FIXTURES=1");
}
