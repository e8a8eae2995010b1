//! What has failed again by the time that `up -d` returns.

use jiff::Timestamp;

use super::Context;
use super::exit::CommandError;
use super::ui::error::{Report, render_warning};
use crate::record::logs::reader::{Reader, Span};
use crate::record::truth;
use crate::record::{ObservedContainer, Status};
use crate::state::ProjectPaths;

/// Lines of the log that are shown.
const LINES: usize = 10;

/// Warns of every container of these services that was started since `begun` and has failed.
///
/// # Errors
/// When the records cannot be read.
pub fn tell(
    context: &Context,
    paths: &ProjectPaths,
    services: &[String],
    begun: Timestamp,
) -> Result<(), CommandError> {
    for have in truth::containers(paths)?.iter().filter(|have| services.contains(&have.record.service)) {
        let Some(code) = failed(have, begun) else { continue };
        let service = &have.record.service;
        let log = last_lines(paths, have);
        let details = if log.is_empty() { vec![] } else { vec![(format!("end of the log of {service}"), log)] };
        let again = match have.state.status {
            Status::Restarting { .. } => ", and is started again",
            _ => "",
        };
        let report = Report {
            message: &format!("container {} has exited with code {code} already{again}", have.record.name),
            details: &details,
            hints: &[format!("`windlass logs {service}` has all of it; `windlass up {service}` tries again")],
            causes: &[],
        };
        eprint!("{}", render_warning(&report, context.palette()));
    }
    Ok(())
}

fn failed(have: &ObservedContainer, begun: Timestamp) -> Option<i32> {
    let (exit, finished) = match &have.state.status {
        Status::Exited { exit, finished, started: Some(_), .. } | Status::Restarting { exit, finished, .. } => {
            (exit, finished)
        }
        _ => return None,
    };
    (*finished >= begun && exit.code() != 0).then(|| exit.code())
}

fn last_lines(paths: &ProjectPaths, have: &ObservedContainer) -> String {
    let log = paths.container(&have.record.id).log();
    let mut text = String::new();
    // Without its log the end is told all the same.
    if let Ok(mut reader) = Reader::open(&log, Span { tail: Some(LINES), ..Span::default() }) {
        while let Ok(Some(entry)) = reader.next_entry() {
            text += &entry.log;
        }
    }
    text
}
