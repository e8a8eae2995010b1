//! The watcher of windlass beside the crate `notify`, which could stand in its place: how long each takes to watch a tree
//! of so many folders, how long a saved file takes to be heard of, what they hold, and what they miss.
//!
//!     watchers [FOLDERS...]       # 10, 1000 and 20000 when none is named
//!
//! Each measure is a process of its own. What is written in a burst, and what is only read, is so by yet another process:
//! the processor time is the watcher's alone.

mod measures;
mod watcher;

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};

use watcher::Which;

/// Times that what needs a fresh process is measured.
const RUNS: usize = 5;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["measure", what, which, folder] => measures::one(what, which.parse()?, Path::new(folder)),
        ["work", what, folder] => measures::work(what, Path::new(folder)),
        [] => table(&[10, 1000, 20_000]),
        _ => table(&words.iter().map(|word| word.parse().context("a number of folders")).collect::<Result<Vec<_>>>()?),
    }
}

fn table(counts: &[usize]) -> Result<()> {
    println!("| | windlass | notify, the tree | notify, folder by folder |\n| --- | ---: | ---: | ---: |");
    for &count in counts {
        for (what, runs) in measures::ALL {
            let mut columns = Vec::new();
            for which in Which::ALL {
                columns.push(median(what, which, count, if *runs { RUNS } else { 1 })?);
            }
            for (row, (name, _)) in columns[0].iter().enumerate() {
                let values: Vec<String> = columns.iter().map(|column| show(column[row].1)).collect();
                println!("| {count} folders: {name} | {} |", values.join(" | "));
            }
        }
    }
    Ok(())
}

fn show(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.2}") }
}

/// Names and values, each the median of as many processes.
fn median(what: &str, which: Which, count: usize, runs: usize) -> Result<Vec<(String, f64)>> {
    let mut lines: Vec<(String, Vec<f64>)> = Vec::new();
    for _ in 0..runs {
        let folder = tempfile::tempdir()?;
        // Ours watches the folder above, too: nobody else is in this one.
        let top = folder.path().join("tree");
        grow(&top, count)?;
        let output = Command::new(env::current_exe()?).args(["measure", what, which.name()]).arg(&top).output()?;
        ensure!(output.status.success(), "{what} of {which:?}: {}", String::from_utf8_lossy(&output.stderr));
        for (row, line) in String::from_utf8(output.stdout)?.lines().enumerate() {
            let (name, value) = line.split_once('\t').context("a name and a value")?;
            if row == lines.len() {
                lines.push((name.to_owned(), Vec::new()));
            }
            lines[row].1.push(value.parse()?);
        }
    }
    let middle = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Ok(lines.into_iter().map(|(name, values)| (name, middle(values))).collect())
}

/// So many folders, a hundred in one, with a file each.
fn grow(top: &Path, count: usize) -> Result<()> {
    for number in 0..count {
        let folder = measures::folder(top, number);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("file"), "text")?;
    }
    Ok(())
}
