//! One name, one concept: whoever reads `Event` in one file and in another must not have to ask which.

use std::collections::BTreeMap;

use super::tidy::sources;

/// Names that several modules have, each with the number of its types: everyone of them is to get the name of its
/// concept. This list only gets shorter.
const NOT_YET: &[(&str, usize)] = &[
    ("Action", 5),
    ("Archive", 2),
    ("Base", 3),
    ("Build", 2),
    ("Cache", 2),
    ("Changes", 2),
    ("Client", 3),
    ("Condition", 3),
    ("Container", 2),
    ("Dependency", 2),
    ("Device", 2),
    ("Entry", 4),
    ("Exit", 2),
    ("Failure", 2),
    ("Fault", 2),
    ("Filter", 3),
    ("Filters", 2),
    ("Folder", 2),
    ("Format", 3),
    ("Found", 3),
    ("Healthcheck", 2),
    ("Holder", 2),
    ("Hook", 2),
    ("HostRootfs", 2),
    ("Input", 2),
    ("Install", 2),
    ("Instruction", 2),
    ("IpamConfig", 2),
    ("Kind", 5),
    ("Layer", 2),
    ("Limits", 2),
    ("Link", 3),
    ("LoadOptions", 2),
    ("Loaded", 3),
    ("Logging", 2),
    ("Mapping", 2),
    ("Mended", 2),
    ("Mount", 2),
    ("Names", 3),
    ("Namespace", 2),
    ("Need", 2),
    ("Network", 2),
    ("Node", 4),
    ("Options", 3),
    ("Origin", 4),
    ("Outcome", 2),
    ("Output", 2),
    ("Part", 3),
    ("Pipes", 2),
    ("Place", 3),
    ("Port", 2),
    ("Process", 3),
    ("Project", 2),
    ("Protocol", 2),
    ("Reason", 2),
    ("Received", 2),
    ("Record", 2),
    ("Removed", 2),
    ("Report", 2),
    ("Request", 4),
    ("RestartPolicy", 2),
    ("Root", 2),
    ("Row", 2),
    ("Rule", 5),
    ("Server", 2),
    ("Session", 3),
    ("Shown", 2),
    ("Span", 2),
    ("Started", 2),
    ("Step", 3),
    ("Store", 2),
    ("Streams", 4),
    ("Table", 2),
    ("Task", 3),
    ("Template", 2),
    ("TemplateError", 2),
    ("Token", 2),
    ("Tree", 2),
    ("View", 3),
    ("Wanted", 3),
    ("Watch", 2),
    ("Wish", 2),
];

/// The name of the type that is defined in a line for others to use.
fn defined(line: &str) -> Option<&str> {
    let line = line.trim_start().strip_prefix("pub")?;
    let line = match line.strip_prefix('(') {
        Some(rest) => rest.split_once(')')?.1,
        None => line,
    };
    let line = line.strip_prefix(' ')?;
    let kinds = ["struct ", "enum ", "union ", "trait ", "type "];
    let name = kinds.iter().find_map(|kind| line.strip_prefix(kind))?;
    let end = name.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(name.len());
    Some(&name[..end])
}

#[test]
fn what_defines_a_type_is_seen() {
    assert_eq!(defined("pub struct Event {"), Some("Event"));
    assert_eq!(defined("    pub(super) enum Event<'a> {"), Some("Event"));
    assert_eq!(defined("pub(in crate::supervisor) type Event = u8;"), Some("Event"));
    assert_eq!(defined("pub(crate) trait Event: Send {"), Some("Event"));
    for line in ["struct Event;", "pub fn event() {", "pub use a::Event;", "public struct Event", "// pub struct Event"]
    {
        assert_eq!(defined(line), None, "{line}");
    }
}

#[test]
fn a_name_stands_for_one_concept() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        for (number, line) in source.code() {
            if let Some(name) = defined(line) {
                places.entry(name.to_owned()).or_default().push(format!("src/{}:{number}", source.path.display()));
            }
        }
    }
    // A command's arguments are used in its own file and where commands are listed.
    let of_commands = |name: &str, places: &[String]| {
        name.ends_with("Args") && places.iter().all(|place| place.starts_with("src/cli/commands/"))
    };
    let mut faults = Vec::new();
    for (name, places) in &places {
        match NOT_YET.iter().find(|(known, _)| known == name) {
            Some((_, known)) if places.len() > *known => {
                faults.push(format!("{name} has one more meaning: {}", places.join(", ")));
            }
            Some((_, known)) if places.len() < *known => {
                faults.push(format!("{name} has {} meanings by now, not {known}: shorten the list", places.len()));
            }
            None if places.len() > 1 && !of_commands(name, places) => {
                faults.push(format!("{name} has several meanings: {}", places.join(", ")));
            }
            _ => {}
        }
    }
    for (name, known) in NOT_YET {
        if *known < 2 || !places.contains_key(*name) {
            faults.push(format!("{name} need not be in the list"));
        }
    }
    assert!(faults.is_empty(), "find the field's term for each:\n{}", faults.join("\n"));
}
