//! The packet filter before nftables, which `iptables-legacy` still writes: another filter of the same packets, of which
//! netlink tells nothing. It is asked for passage by its own tool.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use super::neighbours::{FILTER, Interfaces, PASSAGES, Passage};
use crate::network::names;
use crate::sys::fault;

/// The tables of a version of IP that are in use in this namespace, and the tools that may know them.
const VERSIONS: [(&str, [&str; 4]); 2] = [
    (
        "/proc/thread-self/net/ip_tables_names",
        ["/usr/sbin/iptables-legacy", "/sbin/iptables-legacy", "/usr/sbin/iptables", "/sbin/iptables"],
    ),
    (
        "/proc/thread-self/net/ip6_tables_names",
        ["/usr/sbin/ip6tables-legacy", "/sbin/ip6tables-legacy", "/usr/sbin/ip6tables", "/sbin/ip6tables"],
    ),
];

/// One version's filter that drops what it forwards.
struct Door {
    tool: &'static str,
    chain: &'static str,
    rules: String,
}

/// Asks for passage; answers with what stands in the way all the same, in words for people.
///
/// # Errors
/// When `iptables` refuses a rule or cannot be run.
pub fn ask_for_passage(project_id: &str, passages: &[Passage]) -> io::Result<Vec<String>> {
    let mut obstacles = Vec::new();
    for door in doors(&mut obstacles) {
        let wanted = wanted(project_id, passages);
        if own(&door.rules, project_id).count() == wanted.len() {
            continue;
        }
        withdraw_from(&door, project_id)?;
        for rule in wanted {
            run(
                door.tool,
                &[&["-w", "-I", door.chain], &rule.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat(),
            )?;
        }
    }
    Ok(obstacles)
}

/// Whether everything that was asked for is there.
pub fn is_granted(project_id: &str, passages: &[Passage]) -> bool {
    let wanted = wanted(project_id, passages).len();
    doors(&mut Vec::new()).iter().all(|door| own(&door.rules, project_id).count() == wanted)
}

/// Takes back what was asked for.
///
/// # Errors
/// When `iptables` refuses to delete a rule or cannot be run.
pub fn withdraw(project_id: &str) -> io::Result<()> {
    doors(&mut Vec::new()).iter().try_for_each(|door| withdraw_from(door, project_id))
}

fn doors(obstacles: &mut Vec<String>) -> Vec<Door> {
    let mut doors = Vec::new();
    for (names, tools) in VERSIONS {
        // To read this loads nothing and makes no table.
        let Ok(tables) = fs::read_to_string(names) else { continue };
        if !tables.lines().any(|table| table == FILTER) {
            continue;
        }
        let Some(tool) = tools.into_iter().find(|tool| Path::new(tool).exists() && is_legacy(tool)) else {
            obstacles.push(format!(
                "this machine filters packets by iptables of the old kind, and there is no `iptables-legacy` to ask it \
                 for passage: containers may not reach the outside or each other until its chain {} accepts \
                 interfaces named wl*",
                PASSAGES[1]
            ));
            continue;
        };
        let Ok(rules) = run(tool, &["-w", "-S"]) else { continue };
        if !rules.lines().any(|line| line == format!("-P {} DROP", PASSAGES[1])) {
            continue;
        }
        let docker = format!("-N {}", PASSAGES[0]);
        let chain = if rules.lines().any(|line| line == docker) { PASSAGES[0] } else { PASSAGES[1] };
        doors.push(Door { tool, chain, rules });
    }
    doors
}

fn is_legacy(tool: &str) -> bool {
    tool.ends_with("-legacy") || run(tool, &["-V"]).is_ok_and(|version| !version.contains("nf_tables"))
}

/// The rules, as arguments.
fn wanted(project_id: &str, passages: &[Passage]) -> Vec<Vec<String>> {
    let mut rules = Vec::new();
    for passage in passages {
        let name = match &passage.interfaces {
            Interfaces::StartingWith(prefix) => format!("{prefix}+"),
            Interfaces::Named(name) => name.clone(),
        };
        let directions: &[&[&str]] = if passage.within { &[&["-i", "-o"]] } else { &[&["-i"], &["-o"]] };
        for direction in directions {
            let mut rule: Vec<String> = direction.iter().flat_map(|key| [(*key).to_owned(), name.clone()]).collect();
            let comment = ["-m", "comment", "--comment", &names::table(project_id), "-j", "ACCEPT"];
            rule.extend(comment.map(str::to_owned));
            rules.push(rule);
        }
    }
    rules
}

/// The lines that carry our mark.
fn own<'a>(rules: &'a str, project_id: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let mark = names::table(project_id);
    rules
        .lines()
        .filter(move |line| line.starts_with("-A ") && line.split(' ').any(|word| word.trim_matches('"') == mark))
}

fn withdraw_from(door: &Door, project_id: &str) -> io::Result<()> {
    for line in own(&door.rules, project_id) {
        let rule: Vec<&str> = line.split(' ').skip(1).map(|word| word.trim_matches('"')).collect();
        run(door.tool, &[&["-w", "-D"], &rule[..]].concat())?;
    }
    Ok(())
}

fn run(tool: &str, arguments: &[&str]) -> io::Result<String> {
    let run = || Command::new(tool).args(arguments).env_clear().output();
    // Only what changes something.
    let output = match arguments {
        [_, "-I" | "-D", ..] => fault::around("change packet rules", run)?,
        _ => run()?,
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("{tool} {}: {reason}", arguments.join(" "))))
}
