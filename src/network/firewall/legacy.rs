//! The packet filter before nftables, which `iptables-legacy` still writes: another filter of the same packets, of which
//! netlink tells nothing. It is asked for passage by its own tool.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use super::neighbours::{DOCKER, Door, FILTER, Interfaces, Passage, Way};
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

/// A chain of one version's filter that drops what it is not told to let pass.
struct Closed {
    tool: &'static str,
    door: Door,
    chain: &'static str,
    rules: String,
}

/// Asks for passage; answers with what stands in the way all the same, in words for people.
///
/// # Errors
/// When `iptables` refuses a rule or cannot be run.
pub fn ask_for_passage(project_id: &str, passages: &[Passage]) -> io::Result<Vec<String>> {
    let mut obstacles = Vec::new();
    for closed in doors(project_id, &mut obstacles) {
        let wanted = wanted(project_id, passages, closed.door);
        if is_there(&closed, project_id, &wanted) {
            continue;
        }
        withdraw_from(&closed, project_id)?;
        for rule in wanted {
            let rule: Vec<&str> = rule.iter().map(String::as_str).collect();
            run(closed.tool, &[&["-w", "-I", closed.chain], &rule[..]].concat())?;
        }
    }
    Ok(obstacles)
}

/// Whether everything that was asked for is there.
pub fn is_granted(project_id: &str, passages: &[Passage]) -> bool {
    let doors = doors(project_id, &mut Vec::new());
    doors.iter().all(|closed| is_there(closed, project_id, &wanted(project_id, passages, closed.door)))
}

/// Whether these rules are there, in the words in which `iptables` lists them, and no others of ours.
fn is_there(closed: &Closed, project_id: &str, wanted: &[Vec<String>]) -> bool {
    let own: Vec<String> = own(closed, project_id).map(|line| line.replace('"', "")).collect();
    let line = |rule: &Vec<String>| format!("-A {} {}", closed.chain, rule.join(" "));
    own.len() == wanted.len() && wanted.iter().all(|rule| own.contains(&line(rule)))
}

/// Takes back what was asked for.
///
/// # Errors
/// When `iptables` refuses to delete a rule or cannot be run.
pub fn withdraw(project_id: &str) -> io::Result<()> {
    doors(project_id, &mut Vec::new()).iter().try_for_each(|closed| withdraw_from(closed, project_id))
}

fn doors(project_id: &str, obstacles: &mut Vec<String>) -> Vec<Closed> {
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
                 for passage: containers may not reach the outside or each other until it accepts the project's \
                 interfaces: iptables-legacy -I {chain} -i {prefix}+ -j ACCEPT && iptables-legacy -I {chain} -o \
                 {prefix}+ -j ACCEPT",
                chain = Door::Elsewhere.chain(),
                prefix = names::prefix(project_id)
            ));
            continue;
        };
        let Ok(rules) = run(tool, &["-w", "-S"]) else { continue };
        let has = |wanted: String| rules.lines().any(|line| line == wanted);
        for door in Door::ALL {
            if has(format!("-P {} DROP", door.chain())) {
                let docker = door == Door::Elsewhere && has(format!("-N {DOCKER}"));
                let chain = if docker { DOCKER } else { door.chain() };
                doors.push(Closed { tool, door, chain, rules: rules.clone() });
            }
        }
    }
    doors
}

fn is_legacy(tool: &str) -> bool {
    tool.ends_with("-legacy") || run(tool, &["-V"]).is_ok_and(|version| !version.contains("nf_tables"))
}

/// The rules for a door, as arguments.
fn wanted(project_id: &str, passages: &[Passage], door: Door) -> Vec<Vec<String>> {
    let mut rules = Vec::new();
    for passage in passages.iter().filter(|passage| passage.door() == door) {
        let name = match &passage.interfaces {
            Interfaces::StartingWith(prefix) => format!("{prefix}+"),
            Interfaces::Named(name) => name.clone(),
        };
        let directions: &[&[&str]] = match passage.way {
            Way::Through => &[&["-i"], &["-o"]],
            Way::Within => &[&["-i", "-o"]],
            Way::To(..) => &[&["-i"]],
        };
        for direction in directions {
            let mut rule: Vec<String> = direction.iter().flat_map(|key| [(*key).to_owned(), name.clone()]).collect();
            if let Way::To(protocol, first, last) = passage.way {
                let protocol = protocol.to_string();
                let ports = if first == last { first.to_string() } else { format!("{first}:{last}") };
                rule.extend(["-p", &protocol, "-m", &protocol, "--dport", &ports].map(str::to_owned));
            }
            let comment = ["-m", "comment", "--comment", &names::table(project_id), "-j", "ACCEPT"];
            rule.extend(comment.map(str::to_owned));
            rules.push(rule);
        }
    }
    rules
}

/// The lines of the chain that carry our mark.
fn own<'a>(closed: &'a Closed, project_id: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let (mark, chain) = (names::table(project_id), format!("-A {} ", closed.chain));
    closed
        .rules
        .lines()
        .filter(move |line| line.starts_with(&chain) && line.split(' ').any(|word| word.trim_matches('"') == mark))
}

fn withdraw_from(closed: &Closed, project_id: &str) -> io::Result<()> {
    for line in own(closed, project_id) {
        let rule: Vec<&str> = line.split(' ').skip(1).map(|word| word.trim_matches('"')).collect();
        run(closed.tool, &[&["-w", "-D"], &rule[..]].concat())?;
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
