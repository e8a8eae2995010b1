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
    ("supervisor", &["sys", "state", "runtime", "network", "volumes", "image", "keeper", "watch"]),
    (
        "plan",
        &["diag", "language", "compose", "state", "runtime", "network", "volumes", "image", "watch", "supervisor"],
    ),
    (
        "engine",
        &[
            "sys",
            "diag",
            "language",
            "compose",
            "state",
            "runtime",
            "network",
            "volumes",
            "image",
            "keeper",
            "watch",
            "supervisor",
            "plan",
        ],
    ),
    (
        "cli",
        &[
            "sys",
            "diag",
            "language",
            "compose",
            "state",
            "runtime",
            "network",
            "volumes",
            "image",
            "keeper",
            "watch",
            "supervisor",
            "plan",
            "engine",
        ],
    ),
];

/// Names that say nothing about what is behind them.
const EMPTY_NAMES: &[&str] =
    &["util", "utils", "helper", "helpers", "common", "core", "misc", "manager", "handler", "types", "info", "data"];

/// Longer files do more than one thing.
const MOST_LINES: usize = 900;

struct Source {
    /// Below `src`.
    path: PathBuf,
    text: String,
}

impl Source {
    /// The top-level module that the file belongs to.
    fn module(&self) -> String {
        self.path.iter().next().unwrap().to_string_lossy().trim_end_matches(".rs").to_owned()
    }

    /// Tests, and what only tests use.
    fn is_test(&self) -> bool {
        self.path.iter().any(|part| {
            let name = part.to_string_lossy();
            name.starts_with("test") || name == "sample.rs"
        })
    }

    /// Numbered lines of code: no comments, and nothing of a test module.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("#[cfg(test)]\nmod ").unwrap_or(self.text.len());
        let lines = self.text[..end].lines().enumerate();
        lines.map(|(number, line)| (number + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn sources() -> Vec<Source> {
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
    check("one file, one thing", |source, faults| {
        let lines = source.text.lines().count();
        if !source.is_test() && lines > MOST_LINES {
            faults.push(format!("{lines} lines, more than {MOST_LINES}"));
        }
    });
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
