//! What a watch has done: one line each, for people or for programs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::prefix;
use super::style::{Meaning, Palette, printable, width};
use crate::compose::model::Project;
use crate::engine::watch::{Applied, WatchEvent};
use crate::message::{Failure, Refreshed};
use crate::watch::Action;

/// Files that are named; of the others only the number is told.
const NAMED: usize = 3;

/// `Watch enabled: web, worker (34 folders, 3 ms)`
#[must_use]
pub fn enabled(services: &[String], folders: usize, took: Duration) -> String {
    let folders = if folders == 1 { "1 folder".to_owned() } else { format!("{folders} folders") };
    format!("Watch enabled: {} ({folders}, {})", services.join(", "), milliseconds(took))
}

#[must_use]
pub fn enabled_json(services: &[String], folders: usize, took: Duration) -> Value {
    json!({ "event": "enabled", "services": services, "folders": folders, "took_ms": exact(took) })
}

/// `web  install  added 212 packages in 3s`
#[must_use]
pub fn said(service: &str, text: &str, services: &[String], room: usize, palette: Palette) -> String {
    format!("{}  install  {}\n", named(service, services, room, palette), printable(text))
}

/// A service in its colour, as wide as the widest.
fn named(name: &str, services: &[String], room: usize, palette: Palette) -> String {
    let padding = " ".repeat(room.saturating_sub(width(name)));
    palette.paint(Meaning::Service(prefix::colour(services, name)), format_args!("{name}{padding}"))
}

/// `web  sync+restart  src/app.py, src/page.html  18 ms`, and what went wrong or was said, each on a line of its own.
#[must_use]
pub fn applied(applied: &Applied, folder: &Path, services: &[String], room: usize, palette: Palette) -> String {
    let service = named(&applied.service, services, room, palette);
    let files = files(&applied.files, folder);
    let time = milliseconds(applied.waited + applied.took);
    let mut text = String::new();
    match &applied.result {
        Err(failure) => {
            let failed = palette.paint(Meaning::Bad, "failed");
            _ = writeln!(text, "{service}  {}  {files}  {failed}: {}", what(applied), chain(failure));
            for detail in &failure.details {
                _ = writeln!(text, "  {}:\n    {}", detail.title, detail.text.replace('\n', "\n    "));
            }
            for hint in &failure.hints {
                _ = writeln!(text, "  hint: {hint}");
            }
        }
        Ok(refreshed) if applied.initial => {
            let outcome = &refreshed.outcome;
            let counts = format!("{} copied, {} the same", outcome.copied, outcome.same);
            _ = writeln!(text, "{service}  initial {}  {counts}  {time}", what(applied));
        }
        Ok(refreshed) => {
            _ = writeln!(text, "{service}  {}  {files}  {time}{}", what(applied), remark(applied, refreshed));
        }
    }
    if let Ok(refreshed) = &applied.result {
        for reason in &refreshed.outcome.failed {
            _ = writeln!(text, "  {}: {reason}", palette.paint(Meaning::Bad, "not copied"));
        }
        for line in refreshed.output.iter().flat_map(|output| output.lines()) {
            _ = writeln!(text, "  {line}");
        }
    }
    text
}

fn what(applied: &Applied) -> String {
    applied.actions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What one would not expect from the action alone.
fn remark(applied: &Applied, refreshed: &Refreshed) -> String {
    if applied.actions.contains(&Action::Rebuild) {
        return "  (not rebuilt: windlass does not build images yet)".to_owned();
    }
    if applied.actions.contains(&Action::Install) {
        let how = match (refreshed.restarted.is_empty(), refreshed.installed) {
            (true, _) => "its packages are the same",
            (false, true) => "packages installed, container made anew",
            (false, false) => "packages were there already, container made anew",
        };
        return format!("  ({how}{})", also(refreshed, ", and "));
    }
    let restart = applied.actions.iter().any(|action| action.restarts());
    if restart && refreshed.restarted.is_empty() {
        return "  (not restarted: it was stopped)".to_owned();
    }
    let others = also(refreshed, "and ");
    if others.is_empty() { others } else { format!("  ({others})") }
}

/// What was restarted because the service was.
fn also(refreshed: &Refreshed, word: &str) -> String {
    let own = |name: &&String| refreshed.containers.iter().any(|container| container.name == **name);
    let others: Vec<&str> = refreshed.restarted.iter().filter(|name| !own(name)).map(String::as_str).collect();
    if others.is_empty() { String::new() } else { format!("{word}{}", others.join(", ")) }
}

fn files(files: &[PathBuf], folder: &Path) -> String {
    let shown = |path: &PathBuf| {
        let path = path.strip_prefix(folder).unwrap_or(path);
        if path.as_os_str().is_empty() { ".".to_owned() } else { path.display().to_string() }
    };
    let names: Vec<String> = files.iter().take(NAMED).map(shown).collect();
    match files.len().saturating_sub(NAMED) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// The message and its causes in one line.
fn chain(failure: &Failure) -> String {
    let mut text = failure.message.clone();
    for cause in &failure.causes {
        _ = write!(text, ": {cause}");
    }
    text
}

fn milliseconds(time: Duration) -> String {
    let exact = time.as_secs_f64() * 1000.0;
    if exact < 10.0 { format!("{exact:.1} ms") } else { format!("{exact:.0} ms") }
}

fn exact(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

/// A warning, with the place in the file that it is about.
#[must_use]
pub fn warning(text: &str, hint: Option<&str>, place: Option<&str>, project: &Project, palette: Palette) -> String {
    let mut lines = format!("{}: {text}\n", palette.paint(Meaning::Warning, "warning"));
    if let Some(path) = place {
        match project.place(path) {
            Some(place) => _ = writeln!(lines, "  --> {place} ({path})"),
            None => _ = writeln!(lines, "  --> {path}"),
        }
    }
    if let Some(hint) = hint {
        _ = writeln!(lines, "  hint: {hint}");
    }
    lines
}

/// An event as a line of JSON.
#[must_use]
pub fn json(event: &WatchEvent, project: &Project) -> Value {
    match event {
        WatchEvent::Warning { text, hint, place } => {
            let at = place.as_deref().and_then(|path| project.place(path)).map(ToString::to_string);
            json!({ "event": "warning", "text": text, "hint": hint, "path": place, "place": at })
        }
        WatchEvent::Said { service, text } => json!({ "event": "install", "service": service, "text": text }),
        WatchEvent::Applied(applied) => {
            let mut value = json!({
                "event": "applied",
                "service": applied.service,
                "actions": applied.actions,
                "initial": applied.initial,
                "files": applied.files.iter().map(|file| file.to_string_lossy()).collect::<Vec<_>>(),
                "waited_ms": exact(applied.waited),
                "took_ms": exact(applied.took),
            });
            match &applied.result {
                Ok(refreshed) => {
                    value["copied"] = refreshed.outcome.copied.into();
                    value["removed"] = refreshed.outcome.removed.into();
                    value["same"] = refreshed.outcome.same.into();
                    value["not_copied"] = refreshed.outcome.failed.clone().into();
                    value["installed"] = refreshed.installed.into();
                    value["restarted"] = refreshed.restarted.clone().into();
                    value["output"] = refreshed.output.clone().into();
                    value["error"] = Value::Null;
                }
                Err(failure) => value["error"] = chain(failure).into(),
            }
            value
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::ContainerRef;
    use crate::watch::Outcome;

    fn batch(actions: &[Action], files: &[&str]) -> Applied {
        let container = ContainerRef { id: "1".into(), name: "shop-web-1".into(), service: "web".into(), number: 1 };
        Applied {
            service: "web".into(),
            actions: actions.to_vec(),
            files: files.iter().map(PathBuf::from).collect(),
            initial: false,
            waited: Duration::from_millis(12),
            took: Duration::from_micros(1600),
            result: Ok(Refreshed { containers: vec![container], ..Refreshed::default() }),
        }
    }

    fn shown(batch: &Applied) -> String {
        applied(batch, Path::new("/shop"), &[], 5, Palette::plain())
    }

    #[test]
    fn a_line_for_a_batch() {
        let mut sync = batch(&[Action::Sync], &["/shop/src/a.py"]);
        assert_eq!(shown(&sync), "web    sync  src/a.py  14 ms\n");
        let many = batch(&[Action::Sync], &["/shop/a", "/shop/b", "/c", "/d", "/e"]);
        assert_eq!(shown(&many), "web    sync  a, b, /c and 2 more  14 ms\n");
        let mut restart = batch(&[Action::SyncRestart], &["/shop"]);
        assert_eq!(shown(&restart), "web    sync+restart  .  14 ms  (not restarted: it was stopped)\n");
        if let Ok(refreshed) = &mut restart.result {
            refreshed.restarted = vec!["shop-web-1".into(), "shop-worker-1".into()];
        }
        assert_eq!(shown(&restart), "web    sync+restart  .  14 ms  (and shop-worker-1)\n");
        sync.result = Ok(Refreshed {
            outcome: Outcome { failed: vec!["/app/a.py: is a mount point".into()], ..Outcome::default() },
            output: vec!["one\ntwo\n".into()],
            ..Refreshed::default()
        });
        assert!(shown(&sync).ends_with("  not copied: /app/a.py: is a mount point\n  one\n  two\n"));
        sync.result = Err(Failure::new("cannot copy").hint("do this"));
        assert_eq!(shown(&sync), "web    sync  src/a.py  failed: cannot copy\n  hint: do this\n");
    }

    #[test]
    fn a_line_of_a_step() {
        assert_eq!(said("web", "added\x1b 2", &[], 5, Palette::plain()), "web    install  added  2\n");
    }

    #[test]
    fn a_line_of_json() {
        let value = json(&WatchEvent::Applied(batch(&[Action::SyncExec], &["/shop/a"])), &Project::default());
        assert_eq!(value["actions"][0], "sync+exec");
        assert_eq!(value["took_ms"], 1.6);
        assert!(value["error"].is_null());
    }
}
