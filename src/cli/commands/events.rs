//! `windlass events`

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::json;

use crate::cli::exit::INTERRUPTED;
use crate::cli::logs::{parse_time, remaining};
use crate::cli::signals::Interrupts;
use crate::cli::standstill::Standstill;
use crate::cli::{CommandError, CommandResult, Context};
use crate::record::event::EventRecord;
use crate::record::logs::reader::{Reader, Span, Watch};
use crate::state::ProjectPaths;

#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Services whose events are shown; all by default
    pub services: Vec<String>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// From this time on: 2026-01-02T13:23:37Z, or how long ago: 42m; from now on by default
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Up to this time: 2026-01-02T13:23:37Z, or how long ago: 42m
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

/// # Errors
/// When the project cannot be named, or its events cannot be read.
pub fn run(args: &EventsArgs, context: &Context) -> CommandResult {
    let now = Timestamp::now();
    let time = |flag, text: &Option<String>| text.as_deref().map(|text| parse_time(flag, text, now)).transpose();
    let (since, until) = (time("since", &args.since)?, time("until", &args.until)?);
    let project = context.named(&args.services)?;
    let past = until.is_some_and(|until| until <= now);
    // What is asked for is over: history alone; otherwise what comes, and history when it is asked for.
    let since = if past { since } else { since.or(Some(now)) };
    let interrupts = Interrupts::catch()?;
    let mut events = Events {
        project: &project,
        span: Span { tail: None, since, until },
        reader: None,
        watch: Watch::new()?,
        services: &args.services,
        json: args.json,
        out: io::stdout().lock(),
        part: String::new(),
    };
    if !past {
        // To see the project come.
        crate::state::folder::make(&context.paths.projects())?;
        events.watch.add(&context.paths.projects())?;
    }
    match events.show(&interrupts, past, Standstill::new(context, &project)) {
        // `windlass events | head`: whoever read has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        Err(error) => Err(CommandError::caused("cannot read the events", &error)),
        Ok(code) => Ok(code),
    }
}

struct Events<'a> {
    project: &'a ProjectPaths,
    span: Span,
    reader: Option<Reader>,
    watch: Watch,
    services: &'a [String],
    json: bool,
    out: io::StdoutLock<'a>,
    /// The beginning of a long line.
    part: String,
}

impl Events<'_> {
    fn show(&mut self, interrupts: &Interrupts, past: bool, mut standstill: Standstill<'_>) -> io::Result<u8> {
        loop {
            self.drain()?;
            let left = remaining(self.span.until, Timestamp::now());
            if past || left.is_some_and(|left| left.is_zero()) {
                return Ok(0);
            }
            let mut fds = [
                PollFd::new(self.watch.as_fd(), PollFlags::POLLIN),
                PollFd::new(interrupts.as_fd(), PollFlags::POLLIN),
            ];
            standstill.look();
            match poll(&mut fds, timeout(standstill.at_most(left))) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if interrupts.pending() {
                return Ok(INTERRUPTED);
            }
            self.watch.changed()?;
        }
    }

    fn drain(&mut self) -> io::Result<()> {
        // What was still written when the project went is read from the file that nobody else sees any more.
        self.drain_open()?;
        let journal = self.project.events();
        if self.reader.is_none() || !journal.exists() {
            self.reader = None;
            if self.project.data().is_dir() {
                match self.watch.add(self.project.data()) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
            if journal.exists() {
                self.reader = Some(Reader::open(&journal, self.span)?);
            }
            self.drain_open()?;
        }
        Ok(())
    }

    fn drain_open(&mut self) -> io::Result<()> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        while let Some(entry) = reader.next_entry()? {
            self.part.push_str(&entry.log);
            if !self.part.ends_with('\n') {
                continue;
            }
            let line = std::mem::take(&mut self.part);
            let Ok(event) = serde_json::from_str::<EventRecord>(&line) else { continue };
            if self.services.is_empty() || self.services.contains(&event.service) {
                writeln!(
                    self.out,
                    "{}",
                    if self.json { as_json(&event, entry.time) } else { as_text(&event, entry.time) }
                )?;
            }
        }
        self.out.flush()
    }
}

fn timeout(left: Duration) -> PollTimeout {
    let millis = i32::try_from(left.as_millis().saturating_add(1)).unwrap_or(i32::MAX);
    PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
}

/// The keys in the order of the peer.
fn as_json(event: &EventRecord, time: Timestamp) -> String {
    json!({
        "action": event.action,
        "attributes": event.attributes,
        "id": event.id,
        "service": event.service,
        "time": time.to_zoned(TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string(),
        "type": event.kind,
    })
    .to_string()
}

/// `2026-01-02 03:04:05.123456 container start 5f… (image=web, name=shop-web-1)`
fn as_text(event: &EventRecord, time: Timestamp) -> String {
    let attributes: Vec<String> = event.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let time = time.to_zoned(TimeZone::system());
    let time = time.strftime("%Y-%m-%d %H:%M:%S%.6f");
    format!("{time} {} {} {} ({})", event.kind, event.action, event.id, attributes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_read_as_the_peers() {
        let event = EventRecord {
            kind: "container".into(),
            action: "die".into(),
            id: "abc".into(),
            service: "web".into(),
            attributes: [("exitCode", "3"), ("name", "shop-web-1")].map(|(k, v)| (k.into(), v.into())).into(),
        };
        let time: Timestamp = "2026-01-02T03:04:05.123456789Z".parse().unwrap();
        assert!(as_text(&event, time).ends_with(".123456 container die abc (exitCode=3, name=shop-web-1)"));
        let json: serde_json::Value = serde_json::from_str(&as_json(&event, time)).unwrap();
        assert_eq!(json["time"].as_str().unwrap().parse::<Timestamp>().unwrap(), time);
        assert_eq!((&json["type"], &json["service"]), (&"container".into(), &"web".into()));
    }
}
