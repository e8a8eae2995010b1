//! What the pages say of files and of each other: a path that is named is there, a link leads somewhere.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Folders of this repository. What begins with another name may be of a reader's project.
const FOLDERS: &[&str] = &["src/", "tests/", "docs/", "scripts/", "bench/", "fuzz/", "findings/", "examples/", ".ci/"];

/// Every page that is written for people, with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut pages = Vec::new();
    let mut folders = vec![PathBuf::from(ROOT)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name());
            let below = path.strip_prefix(ROOT).unwrap();
            if path.is_dir() && ["docs", "examples", "findings"].iter().any(|top| below.starts_with(top)) {
                folders.push(path);
            } else if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
                pages.push((below.to_owned(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(pages.len() > 30, "{}", pages.len());
    pages
}

/// What stands between backticks, line by line, without what is shown as a block.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    let mut shown = false;
    text.lines()
        .filter(move |line| {
            let fence = line.trim_start().starts_with("```");
            shown ^= fence;
            !shown && !fence
        })
        .flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// The ways to write several at once: `{a,b}.rs`.
fn unfolded(path: &str) -> Vec<String> {
    match path.split_once('{').and_then(|(head, rest)| Some((head, rest.split_once('}')?))) {
        Some((head, (list, tail))) => list.split(',').map(|item| format!("{head}{}{tail}", item.trim())).collect(),
        None => vec![path.to_owned()],
    }
}

/// The file or folder that is meant: from the top, or from `src` or `tests` when it is a source.
fn found(path: &str) -> Option<PathBuf> {
    let bases: &[&str] = if path.ends_with(".rs") { &["", "src", "tests"] } else { &[""] };
    bases.iter().map(|base| Path::new(ROOT).join(base).join(path)).find(|path| path.exists())
}

fn fault_of(span: &str) -> Option<String> {
    let (path, function) = span.split_once("::").map_or((span, None), |(path, function)| (path, Some(function)));
    let is_path = |text: &str| text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-./{},".contains(letter));
    let is_source = path.contains('/') && path.ends_with(".rs");
    if !is_path(path) || !is_source && !FOLDERS.iter().any(|folder| path.starts_with(folder)) {
        return None;
    }
    for path in unfolded(path) {
        let Some(file) = found(&path) else { return Some(format!("{path} is not there")) };
        if let Some(function) = function.filter(|_| file.is_file())
            && !fs::read_to_string(&file).unwrap().contains(&format!("fn {function}("))
        {
            return Some(format!("{path} has no function `{function}`"));
        }
    }
    None
}

#[test]
fn every_path_that_a_page_names_is_there() {
    let faults: Vec<String> = pages()
        .iter()
        .flat_map(|(page, text)| {
            spans(text).filter_map(move |span| Some(format!("{}: {}", page.display(), fault_of(span)?)))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for gone in ["src/engine/gone.rs", "keeper/gone.rs", "docs/gone.md", "src/main.rs::gone", "src/{main,gone}.rs"] {
        assert!(fault_of(gone).is_some(), "{gone}");
    }
}

/// A heading as a link names it.
fn anchor(heading: &str) -> String {
    let kept = heading
        .to_lowercase()
        .chars()
        .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter))
        .collect::<String>();
    kept.trim().replace(' ', "-")
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let mut faults = Vec::new();
    for (page, text) in pages() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("http") {
                continue;
            }
            let (file, heading) =
                target.split_once('#').map_or((target, None), |(file, heading)| (file, Some(heading)));
            let here = Path::new(ROOT).join(&page);
            let file = if file.is_empty() { here } else { here.parent().unwrap().join(file) };
            let text = if file.is_file() { fs::read_to_string(&file).unwrap() } else { String::new() };
            let mut headings =
                text.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#')));
            if !file.exists() || heading.is_some_and(|heading| !headings.any(|have| have == heading)) {
                faults.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
