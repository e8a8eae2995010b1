//! The rules of `ARCHITECTURE.md` that a program can check.

use std::fs;
use std::path::{Path, PathBuf};

/// What each top-level module of `src` may use. The order is that of the layers, lowest first.
const MAY_USE: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("diag", &[]),
    ("state", &["sys"]),
    ("language", &[]),
    ("compose", &["diag", "language"]),
    ("runtime", &["sys", "state"]),
    ("network", &["sys", "state"]),
    ("volumes", &["sys", "state"]),
    ("image", &["sys", "state", "language"]),
    ("keeper", &["sys", "state", "runtime"]),
    ("watch", &["sys", "runtime"]),
    ("record", &["sys", "state", "runtime", "network", "volumes", "keeper"]),
    ("supervisor", &["sys", "state", "runtime", "network", "volumes", "keeper", "watch", "record"]),
    ("plan", &["compose", "state", "runtime", "network", "volumes", "image", "watch", "record"]),
    ("message", &["sys", "state", "runtime", "network", "watch", "record", "plan"]),
    (
        "serve",
        &[
            "sys",
            "state",
            "runtime",
            "network",
            "volumes",
            "keeper",
            "watch",
            "record",
            "supervisor",
            "plan",
            "message",
        ],
    ),
    (
        "engine",
        &[
            "sys", "compose", "state", "runtime", "network", "volumes", "image", "keeper", "watch", "record", "plan",
            "message",
        ],
    ),
    (
        "cli",
        &[
            "diag", "language", "compose", "state", "runtime", "network", "volumes", "image", "keeper", "watch",
            "record", "plan", "message", "serve", "engine",
        ],
    ),
];

/// Names that say nothing about what is behind them.
const EMPTY_NAMES: &[&str] =
    &["util", "utils", "helper", "helpers", "common", "core", "misc", "manager", "handler", "types", "info", "data"];

/// Longer files do more than one thing.
const MOST_LINES: usize = 550;

/// What a folder's `mod.rs` says is what is in the folder, not all of it.
const MOST_LINES_OF_A_FOLDER: usize = 120;

/// Longer than that still. This list only gets shorter.
const LONG: &[(&str, usize)] = &[
    ("cli/commands/config/mod.rs", 322),
    ("cli/commands/network/mod.rs", 329),
    ("cli/commands/run/mod.rs", 301),
    ("cli/graph/mod.rs", 159),
    ("cli/menu/mod.rs", 307),
    ("cli/streams/mod.rs", 135),
    ("cli/ui/progress/mod.rs", 315),
    ("compose/schema/mod.rs", 211),
    ("compose/yaml/parse/mod.rs", 387),
    ("engine/watch/mod.rs", 199),
    ("image/host/mod.rs", 158),
    ("image/load/mod.rs", 349),
    ("image/pull/mod.rs", 297),
    ("image/registry/mod.rs", 247),
    ("image/store/mod.rs", 448),
    ("image/toolchain/mod.rs", 122),
    ("image/toolchain/python/mod.rs", 197),
    ("image/unpack/archive/mod.rs", 416),
    ("image/unpack/mod.rs", 442),
    ("network/dns/answer/mod.rs", 123),
    ("network/firewall/mod.rs", 372),
    ("network/ipam/mod.rs", 130),
    ("network/lease/mod.rs", 250),
    ("network/mod.rs", 273),
    ("plan/reconcile/mod.rs", 294),
    ("runtime/cgroup/mod.rs", 461),
    ("supervisor/network/mod.rs", 509),
    ("supervisor/project/mod.rs", 416),
    ("watch/transfer/mod.rs", 428),
];

pub struct Source {
    /// Below `src`.
    pub path: PathBuf,
    text: String,
}

impl Source {
    /// The top-level module that the file belongs to.
    pub fn module(&self) -> String {
        self.path.iter().next().unwrap().to_string_lossy().trim_end_matches(".rs").to_owned()
    }

    /// Tests, and what only tests use.
    pub fn is_test(&self) -> bool {
        self.path.iter().any(|part| {
            let name = part.to_string_lossy();
            name.starts_with("test") || name == "sample.rs"
        })
    }

    /// Numbered lines of code: no comments, and nothing of a test module.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        // A module with a body, which stands last; one that is only named may stand first.
        let mut modules = self.text.match_indices("#[cfg(test)]\nmod ");
        let has_body =
            |(at, _): &(usize, &str)| self.text[*at..].lines().nth(1).is_some_and(|line| line.ends_with('{'));
        let end = modules.find(has_body).map_or(self.text.len(), |(at, _)| at);
        let lines = self.text[..end].lines().enumerate();
        lines.map(|(number, line)| (number + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

pub fn sources() -> Vec<Source> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<Source>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(Source { path: path.strip_prefix(root).unwrap().into(), text });
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Fails with every place where `fault` finds something.
#[track_caller]
fn check(rule: &str, fault: impl Fn(&Source, &mut Vec<String>)) {
    let mut faults = Vec::new();
    for source in sources() {
        let mut found = Vec::new();
        fault(&source, &mut found);
        faults.extend(found.into_iter().map(|text| format!("src/{}: {text}", source.path.display())));
    }
    assert!(faults.is_empty(), "{rule}:\n{}", faults.join("\n"));
}

/// The top-level modules named in a line: `crate::a::b`, `crate::{a::b, c}`, `windlass::a`.
fn modules_named(line: &str) -> Vec<&str> {
    let mut named = Vec::new();
    for (place, _) in line.match_indices("crate::") {
        let rest = &line[place + "crate::".len()..];
        let list = rest.strip_prefix('{').map_or_else(|| vec![rest], |list| list.split(',').collect());
        for item in list {
            let item = item.trim_start();
            let end = item.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(item.len());
            named.push(&item[..end]);
        }
    }
    named
}

#[test]
fn modules_use_only_what_is_below_them() {
    check("the arrows point down", |source, faults| {
        let module = source.module();
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            if module != "lib" && module != "main" {
                faults.push(format!("{module} has no place among the layers: add it to this test"));
            }
            return;
        };
        for (number, line) in source.code() {
            for used in modules_named(line) {
                if used != module && MAY_USE.iter().any(|(name, _)| *name == used) && !allowed.contains(&used) {
                    faults.push(format!("{number}: {module} must not use {used}"));
                }
            }
        }
    });
}

#[test]
fn no_arrow_is_allowed_that_nobody_draws() {
    let sources = sources();
    for (module, allowed) in MAY_USE {
        for granted in *allowed {
            let drawn = sources
                .iter()
                .filter(|source| source.module() == *module)
                .any(|source| source.text.lines().any(|line| modules_named(line).contains(granted)));
            assert!(drawn, "{module} does not use {granted}: take it out of the table");
        }
    }
}

#[test]
fn only_sys_is_unsafe() {
    check("unsafe code is in src/sys", |source, faults| {
        if source.module() != "sys" {
            for (number, line) in source.code() {
                let code = line.replace("unsafe_code", "").replace("unsafe_op", "");
                if code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl") {
                    faults.push(format!("{number}: {}", line.trim()));
                }
                if code.contains("libc::syscall") {
                    faults.push(format!("{number}: a raw system call"));
                }
            }
        }
    });
}

#[test]
fn only_cli_prints_ends_the_process_and_reads_the_environment() {
    check("that is for cli", |source, faults| {
        // Points for the crash tests must work in processes that have no command line.
        if source.module() == "cli" || source.is_test() || source.path.ends_with("sys/fault.rs") {
            return;
        }
        for (number, line) in source.code() {
            for call in ["println!", "print!(", "dbg!", "std::env::var", "env::var(", "env::vars", "process::exit("] {
                if line.contains(call) {
                    faults.push(format!("{number}: {}", line.trim()));
                }
            }
        }
    });
}

#[test]
fn nothing_panics_on_purpose() {
    check("errors are values", |source, faults| {
        if source.is_test() {
            return;
        }
        for (number, line) in source.code() {
            if [".unwrap()", "todo!(", "unimplemented!("].iter().any(|call| line.contains(call)) {
                faults.push(format!("{number}: {}", line.trim()));
            }
        }
    });
}

#[test]
fn names_say_something() {
    check("find the name of what is in it", |source, faults| {
        for part in &source.path {
            let name = part.to_string_lossy();
            let name = name.trim_end_matches(".rs");
            if EMPTY_NAMES.contains(&name) {
                faults.push(format!("{name:?} says nothing"));
            }
        }
    });
}

#[test]
fn files_are_short() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let (path, lines) = (source.path.to_string_lossy(), source.text.lines().count());
        let most = if source.path.ends_with("mod.rs") { MOST_LINES_OF_A_FOLDER } else { MOST_LINES };
        match LONG.iter().find(|(name, _)| *name == path) {
            None if lines > most => faults.push(format!("src/{path}: {lines} lines, more than {most}")),
            Some((_, known)) if lines > *known => faults.push(format!("src/{path}: {lines} lines, and was {known}")),
            Some(_) if lines <= most => faults.push(format!("src/{path}: is short by now, take it out of the list")),
            _ => {}
        }
    }
    for (name, _) in LONG {
        if !sources().iter().any(|source| source.path.ends_with(name)) {
            faults.push(format!("src/{name}: is not there any more"));
        }
    }
    assert!(faults.is_empty(), "one file, one thing:\n{}", faults.join("\n"));
}

#[test]
fn the_map_is_short_and_names_every_module() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    assert!(map.lines().count() <= 250, "ARCHITECTURE.md is a map, not a book");
    for entry in fs::read_dir(root.join("src")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(!entry.path().is_dir() || map.contains(&format!("`src/{name}`")), "ARCHITECTURE.md lacks `src/{name}`");
    }
}
