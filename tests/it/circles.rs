//! Files that use each other in a circle can only be understood together: circles stay small.

use std::collections::{BTreeMap, BTreeSet};

use crate::tidy::{Source, sources};

/// As many files fit into one head.
const LARGEST: usize = 5;

type Module = Vec<String>;

/// The files of `src` by module, and what their `pub use` makes known under another name.
struct Tree {
    files: BTreeMap<Module, usize>,
    renamed: BTreeMap<Module, BTreeMap<String, Module>>,
}

fn module_of(source: &Source) -> Module {
    let text = source.path.with_extension("").to_string_lossy().into_owned();
    let parts: Module = text.split('/').map(str::to_owned).collect();
    match parts.last().map(String::as_str) {
        Some("mod") => parts[..parts.len() - 1].to_vec(),
        Some("lib" | "main") if parts.len() == 1 => vec![],
        _ => parts,
    }
}

/// Every path that `a::{b, c::{self, d}}` stands for.
fn spread(text: &str, before: &[String], found: &mut Vec<Module>) {
    let text = text.trim();
    let words = |text: &str| -> Module {
        let name = text.split(" as ").next().unwrap_or_default();
        name.split("::").map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let Some((head, rest)) = text.split_once('{') else {
        let mut path = [before, &words(text)].concat();
        path.retain(|word| !word.is_empty());
        if path.len() > 1 && path.last().is_some_and(|word| word == "self") {
            path.pop();
        }
        return found.push(path);
    };
    let before = [before, &words(head)].concat();
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let (mut depth, mut begin) = (0, 0);
    for (at, letter) in inner.char_indices().chain([(inner.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !inner[begin..at].trim().is_empty() {
                    spread(&inner[begin..at], &before, found);
                }
                begin = at + 1;
            }
            _ => {}
        }
    }
}

/// What a file uses: its `use` items, each with whether it is a `pub use`, and the paths in its text.
fn used(source: &Source) -> Vec<(Module, bool)> {
    let code: Vec<&str> = source.code().map(|(_, line)| line).collect();
    let mut found: Vec<(Module, bool)> = Vec::new();
    let mut item: Option<(String, bool)> = None;
    for line in code {
        if item.is_none() {
            let bare = line.trim_start();
            let after = bare.strip_prefix("pub").map_or(bare, |rest| {
                let rest = rest.strip_prefix('(').map_or(rest, |list| list.split_once(')').map_or(list, |it| it.1));
                rest.trim_start()
            });
            match after.strip_prefix("use ") {
                Some(path) => item = Some((path.to_owned(), bare.starts_with("pub"))),
                None => found.extend(inline(line).into_iter().map(|path| (path, false))),
            }
        } else if let Some((text, _)) = &mut item {
            text.push_str(line.trim());
        }
        if let Some((text, public)) = item.take_if(|(text, _)| text.contains(';')) {
            let mut paths = Vec::new();
            spread(text.split(';').next().unwrap_or_default(), &[], &mut paths);
            found.extend(paths.into_iter().map(|path| (path, public)));
        }
    }
    found
}

/// `crate::a::b` and `super::c` in the middle of a line.
fn inline(line: &str) -> Vec<Module> {
    let mut found = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in line.match_indices(start) {
            let before = line[..at].chars().next_back();
            if line[..at].ends_with("(in ") || before.is_some_and(|it| it.is_alphanumeric() || it == ':' || it == '_') {
                continue;
            }
            let path = &line[at..];
            let end = path.find(|it: char| !it.is_alphanumeric() && it != '_' && it != ':').unwrap_or(path.len());
            found.push(path[..end].split("::").filter(|word| !word.is_empty()).map(str::to_owned).collect());
        }
    }
    found
}

impl Tree {
    /// From the root of the crate, when it is a path of ours.
    fn absolute(&self, path: &[String], from: &[String]) -> Option<Module> {
        let up = path.iter().take_while(|word| *word == "super").count();
        match path.first()?.as_str() {
            "crate" => Some(path[1..].to_vec()),
            "super" => Some([&from[..from.len().checked_sub(up)?], &path[up..]].concat()),
            "self" => Some([from, &path[1..]].concat()),
            first => {
                let child = [from, &[first.to_owned()]].concat();
                self.files.contains_key(&child).then(|| [from, path].concat())
            }
        }
    }

    /// The file that has what the path names.
    fn file(&self, path: &[String], depth: usize) -> Option<usize> {
        let length = (1..=path.len()).rev().find(|length| self.files.contains_key(&path[..*length]))?;
        let (module, rest) = path.split_at(length);
        let known = self.renamed.get(module);
        if let (Some(name), Some(known), true) = (rest.first(), known, depth < 6) {
            if let Some(target) = known.get(name) {
                return self.file(&[target, &rest[1..]].concat(), depth + 1);
            }
            if let Some(all) = known.get("*") {
                return self.file(&[&all[..all.len() - 1], rest].concat(), depth + 1);
            }
        }
        self.files.get(module).copied()
    }
}

fn uses(sources: &[Source]) -> Vec<BTreeSet<usize>> {
    let files = sources.iter().enumerate().map(|(index, source)| (module_of(source), index)).collect();
    let mut tree = Tree { files, renamed: BTreeMap::new() };
    let all: Vec<Vec<(Module, bool)>> = sources.iter().map(used).collect();
    for (source, paths) in sources.iter().zip(&all) {
        let module = module_of(source);
        for (path, _) in paths.iter().filter(|(_, public)| *public) {
            if let (Some(target), Some(name)) = (tree.absolute(path, &module), path.last()) {
                tree.renamed.entry(module.clone()).or_default().insert(name.clone(), target);
            }
        }
    }
    let mut edges = vec![BTreeSet::new(); sources.len()];
    for (index, (source, paths)) in sources.iter().zip(&all).enumerate() {
        if source.is_test() {
            continue;
        }
        let module = module_of(source);
        let targets = paths.iter().filter(|(_, public)| !public).filter_map(|(path, _)| tree.absolute(path, &module));
        edges[index] = targets.filter_map(|path| tree.file(&path, 0)).filter(|target| *target != index).collect();
    }
    edges
}

fn reached(from: usize, edges: &[BTreeSet<usize>]) -> BTreeSet<usize> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(file) = next.pop() {
        next.extend(edges[file].iter().filter(|target| seen.insert(**target)));
    }
    seen
}

#[test]
fn circles_are_small() {
    let sources = sources();
    let edges = uses(&sources);
    let count: usize = edges.iter().map(BTreeSet::len).sum();
    assert!(count > sources.len(), "{count} uses among {} files: they are not read any more", sources.len());
    let reach: Vec<BTreeSet<usize>> = (0..sources.len()).map(|file| reached(file, &edges)).collect();
    let mut circles: BTreeSet<Vec<usize>> = BTreeSet::new();
    for file in 0..sources.len() {
        circles.insert(reach[file].iter().copied().filter(|other| reach[*other].contains(&file)).collect());
    }
    let large: Vec<String> = circles
        .iter()
        .filter(|circle| circle.len() > LARGEST)
        .map(|circle| circle.iter().map(|file| sources[*file].path.display().to_string()).collect::<Vec<_>>().join(" "))
        .collect();
    assert!(large.is_empty(), "more than {LARGEST} files use each other in a circle:\n{}", large.join("\n"));
}
