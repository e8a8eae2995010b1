//! From a saved file to the file in the container, under `watch`.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail};

use crate::table::Table;
use crate::tools::{Tool, Tools};

/// Tells the service's process from all others.
const MARK: &str = "watched by the comparison";

struct Watching(Child);

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.0.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        }
        let _ = self.0.wait();
    }
}

pub fn measure(tools: &Tools, table: &mut Table) -> Result<()> {
    let image = tools.image("busybox:1.35");
    let mut times = [const { Vec::new() }; 2];
    for (which, tool) in tools.both().into_iter().enumerate() {
        // The peer watches only services that it could build.
        let build = if which == 0 { "" } else { "build: ., " };
        let text = format!(
            "services:\n  web: {{ {build}image: '{image}', command: [sh, -c, \": {MARK}; trap 'exit 0' TERM; sleep 1000 & wait\"], \
             develop: {{ watch: [{{ action: sync, path: ./src, target: /src }}] }} }}\n"
        );
        let folder = tools.project("watched", &text)?;
        fs::create_dir_all(folder.join("src"))?;
        fs::write(folder.join("Dockerfile"), format!("FROM {image}\n"))?;
        fs::write(folder.join("src/file"), "0")?;
        tool.time("watched", &["up", "-d"])?;
        times[which] = edits(tool, &folder, 20).with_context(|| tool.name)?;
        tool.time("watched", &["down", "-t", "0"])?;
    }
    let [ours, theirs] = times;
    table.times("watch: saved file to file in the container", ours, Some(theirs));
    Ok(())
}

fn edits(tool: &Tool, folder: &std::path::Path, count: usize) -> Result<Vec<f64>> {
    let mut command = tool.compose("watched", &["watch", "--no-up"]);
    let _watching = Watching(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    let inside = root()?.join("src/file");
    // It watches once a first edit arrives.
    let mut number = 0;
    let deadline = Instant::now() + Duration::from_secs(30);
    while fs::read_to_string(&inside).is_err() {
        if Instant::now() > deadline {
            bail!("no edit arrived within 30 s");
        }
        number += 1;
        fs::write(folder.join("src/file"), number.to_string())?;
        thread::sleep(Duration::from_secs(1));
    }
    let mut times = Vec::new();
    for _ in 0..count {
        // Edits of a person: nothing else is under way.
        thread::sleep(Duration::from_millis(700));
        number += 1;
        let text = number.to_string();
        let started = Instant::now();
        fs::write(folder.join("src/file"), &text)?;
        while fs::read_to_string(&inside).ok().as_deref() != Some(text.as_str()) {
            if started.elapsed() > Duration::from_secs(20) {
                bail!("an edit did not arrive within 20 s");
            }
            thread::sleep(Duration::from_micros(200));
        }
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    Ok(times)
}

/// The root of the service's file system, through its process.
fn root() -> Result<PathBuf> {
    for entry in fs::read_dir("/proc")?.flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if line.starts_with(b"sh\0") && String::from_utf8_lossy(&line).contains(MARK) {
            return Ok(entry.path().join("root"));
        }
    }
    bail!("the service's process is not there")
}
