//! Progress where nothing can be drawn over: one line when something changes, no line for bytes.

use super::board::Task;
use super::{ProgressEvent, State};
use crate::cli::ui::human;
use crate::cli::ui::style::{Meaning, Palette, printable};

/// ` Container shop-web-1  Started 0.3s`; `None` when nothing changed that is worth a line.
pub(super) fn line(event: &ProgressEvent, before: Option<&Task>, palette: Palette) -> Option<String> {
    // Layers of an image are too many for a log.
    let part = event.parent.is_some() && event.state != State::Error;
    let detail = printable(event.detail.as_deref().unwrap_or_default());
    if part
        || before.is_some_and(|task| task.status == event.status && task.detail == detail && task.state == event.state)
    {
        return None;
    }
    let meaning = match event.state {
        State::Queued | State::Working => None,
        State::Done => Some(Meaning::Good),
        State::Warning => Some(Meaning::Warning),
        State::Error => Some(Meaning::Bad),
    };
    let status = printable(&event.status);
    let mut line =
        format!(" {}  {}", printable(&event.id), meaning.map_or(status.clone(), |m| palette.paint(m, &status)));
    if !detail.is_empty() {
        line += &format!(" {detail}");
    }
    if let Some(elapsed) = event.elapsed.filter(|_| event.state != State::Working) {
        line += &format!(" {}", human::elapsed(elapsed));
    }
    line.push('\n');
    Some(line)
}
