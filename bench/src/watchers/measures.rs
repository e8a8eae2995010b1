//! What is measured of a watcher, each in a process of its own that prints names and values.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};

use super::watcher::{News, Running, Which, start};

/// By name, and whether several processes are asked.
pub const ALL: &[(&str, bool)] =
    &[("start", true), ("latency", true), ("burst", true), ("reads", true), ("races", false)];

/// Saved files whose way is timed.
const SAVES: usize = 200;
/// Files of a burst, and of those that are only read.
const BURST: usize = 20_000;
/// Of each kind.
const RACES: usize = 100;
/// Nothing more comes when nothing came for so long.
const SILENCE: Duration = Duration::from_secs(2);

pub fn folder(top: &Path, number: usize) -> PathBuf {
    top.join(format!("{}/{}", number / 100, number % 100))
}

/// The folders of the tree, in the order of their numbers.
fn folders(top: &Path) -> Vec<PathBuf> {
    (0..).map(|number| folder(top, number)).take_while(|folder| folder.is_dir()).collect()
}

pub fn one(what: &str, which: Which, top: &Path) -> Result<()> {
    match what {
        "start" => begin(which, top),
        "latency" => latency(which, top),
        "burst" => burst(which, top),
        "reads" => reads(which, top),
        "races" => races(which, top),
        _ => bail!("no measure is called {what}"),
    }
}

/// What the process beside does.
pub fn work(what: &str, top: &Path) -> Result<()> {
    let folders = folders(top);
    for number in 0..BURST {
        let folder = &folders[number % folders.len()];
        match what {
            "write" => fs::write(folder.join(format!("burst-{number}")), "text")?,
            _ => drop(fs::read(folder.join("file"))?),
        }
    }
    Ok(())
}

fn beside(what: &str, top: &Path) -> Result<()> {
    let status = Command::new(env::current_exe()?).args(["work", what]).arg(top).status()?;
    ensure!(status.success(), "the process that works beside failed");
    Ok(())
}

/// Kilobytes that are this process's own.
fn memory() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Milliseconds of processor time of all threads; the kernel counts hundredths of a second here.
fn processor() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let after = text.rsplit_once(')').context("no name in the line of this process")?.1;
    let ticks: Vec<u64> = after.split_whitespace().skip(11).take(2).map_while(|word| word.parse().ok()).collect();
    Ok(ticks.iter().sum::<u64>() as f64 * 10.0)
}

fn begin(which: Which, top: &Path) -> Result<()> {
    let before = memory()?;
    let started = Instant::now();
    let running = start(which, top)?;
    println!("ms until all is watched\t{}", started.elapsed().as_secs_f64() * 1e3);
    println!("kB of memory\t{}", memory()? - before);
    drop(running);
    Ok(())
}

/// Waits for the first news that names the path as complete.
fn wait(running: &Running, path: &Path) -> Result<Instant> {
    loop {
        match running.news.recv_timeout(SILENCE).with_context(|| format!("nothing of {}", path.display()))? {
            News::Path(seen, true, at) if seen == path => return Ok(at),
            _ => {}
        }
    }
}

fn latency(which: Which, top: &Path) -> Result<()> {
    let folders = folders(top);
    let running = start(which, top)?;
    let mut times = Vec::new();
    for number in 0..SAVES {
        let path = folders[number * 7919 % folders.len()].join("file");
        let mut file = fs::File::create(&path)?;
        std::io::Write::write_all(&mut file, b"other text")?;
        let saved = Instant::now();
        drop(file);
        times.push(wait(&running, &path)?.saturating_duration_since(saved).as_secs_f64() * 1e6);
        // Whoever watches sleeps again by then, as it does between two saves of a person.
        while running.news.recv_timeout(Duration::from_millis(2)).is_ok() {}
    }
    times.sort_by(f64::total_cmp);
    println!("µs from the close of a file to its news, median\t{}", times[times.len() / 2]);
    println!("µs, the slowest in 20\t{}", times[times.len() * 95 / 100]);
    Ok(())
}

/// Takes the wanted paths off the list as they are named, until nothing more comes; whether an overflow was told.
fn collect(running: &Running, wanted: &mut HashSet<PathBuf>) -> bool {
    let mut overflow = false;
    while !wanted.is_empty()
        && let Ok(news) = running.news.recv_timeout(SILENCE)
    {
        match news {
            News::Path(path, _, _) => drop(wanted.remove(&path)),
            News::Overflow => overflow = true,
        }
    }
    overflow
}

fn burst(which: Which, top: &Path) -> Result<()> {
    let folders = folders(top);
    let written = |number: usize| folders[number % folders.len()].join(format!("burst-{number}"));
    let mut wanted: HashSet<PathBuf> = (0..BURST).map(written).collect();
    let running = start(which, top)?;
    let before = processor()?;
    beside("write", top)?;
    let overflow = collect(&running, &mut wanted);
    println!("burst of {BURST} files: files never named\t{}", wanted.len());
    println!("burst: an overflow was told\t{}", u8::from(overflow));
    println!("burst: ms of processor time\t{}", processor()? - before);
    Ok(())
}

fn reads(which: Which, top: &Path) -> Result<()> {
    let running = start(which, top)?;
    let before = processor()?;
    beside("read", top)?;
    // What is asked for next is told after all that was before.
    let path = folder(top, 0).join("file");
    fs::write(&path, "last")?;
    wait(&running, &path)?;
    println!("{BURST} files only read: ms of processor time\t{}", processor()? - before);
    Ok(())
}

fn races(which: Which, top: &Path) -> Result<()> {
    let outside = tempfile::tempdir_in(top.parent().context("a folder above")?)?;
    let base = folder(top, 0);
    let running = start(which, top)?;
    let missed = |name: &str, make: &dyn Fn(usize) -> Result<PathBuf>| -> Result<()> {
        let mut wanted = (0..RACES).map(make).collect::<Result<HashSet<_>>>()?;
        collect(&running, &mut wanted);
        println!("{name}, of {RACES}: never named\t{}", wanted.len());
        Ok(())
    };
    let write = |path: PathBuf| -> Result<PathBuf> {
        fs::write(&path, "text")?;
        Ok(path)
    };
    missed("a folder is made and a file in it at once", &|number| {
        let folder = base.join(format!("new-{number}"));
        fs::create_dir(&folder)?;
        write(folder.join("file"))
    })?;
    missed("the same, three folders deep", &|number| {
        let folder = base.join(format!("deep-{number}/a/b"));
        fs::create_dir_all(&folder)?;
        write(folder.join("file"))
    })?;
    missed("a folder is moved in with a file", &|number| {
        let folder = outside.path().join(number.to_string());
        fs::create_dir_all(folder.join("below"))?;
        fs::write(folder.join("below/file"), "text")?;
        fs::rename(&folder, base.join(format!("in-{number}")))?;
        Ok(base.join(format!("in-{number}/below/file")))
    })?;
    // What was made until now is renamed at leisure, then written to by its new name.
    for number in 0..RACES {
        fs::rename(base.join(format!("in-{number}")), base.join(format!("out-{number}")))?;
    }
    while running.news.recv_timeout(SILENCE).is_ok() {}
    let mut wanted = (0..RACES)
        .map(|number| write(base.join(format!("out-{number}/below/other"))))
        .collect::<Result<HashSet<_>>>()?;
    collect(&running, &mut wanted);
    println!("a file below a folder that was renamed, of {RACES}: not named by its new path\t{}", wanted.len());
    Ok(())
}
