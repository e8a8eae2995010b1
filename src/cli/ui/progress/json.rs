//! Progress for programs: one object a line, with the keys of `docker compose --progress json`.

use serde::Serialize;

use super::{ProgressEvent, State};

#[derive(Serialize)]
struct Message<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a str>,
    #[serde(skip_serializing_if = "is_zero")]
    current: u64,
    #[serde(skip_serializing_if = "is_zero")]
    total: u64,
    #[serde(skip_serializing_if = "is_zero")]
    percent: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

pub(super) fn line(event: &ProgressEvent) -> String {
    let status = match event.state {
        State::Queued | State::Working => "Working",
        State::Done => "Done",
        State::Warning => "Warning",
        State::Error => "Error",
    };
    let message = Message {
        id: Some(&event.id),
        parent_id: event.parent.as_deref(),
        status: Some(status),
        text: &event.status,
        details: event.detail.as_deref(),
        current: event.current,
        total: event.total,
        percent: event.current.saturating_mul(100).checked_div(event.total).unwrap_or(0).min(100),
    };
    to_line(&message)
}

pub(super) fn note(text: &str) -> String {
    to_line(&Message { id: None, parent_id: None, status: None, text, details: None, current: 0, total: 0, percent: 0 })
}

fn to_line(message: &Message<'_>) -> String {
    let mut text = serde_json::to_string(message).unwrap_or_default();
    text.push('\n');
    text
}
