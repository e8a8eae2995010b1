//! Volumes as `docker volume ls` lists them.

use std::path::Path;

use serde_json::{Value, json};

use super::format::{Listing, Row};
use super::human;
use super::narrow::Narrow;
use crate::volumes::spec::VolumeRecord;

pub const LISTING: Listing = Listing {
    fields: &["Availability", "Driver", "Group", "Labels", "Links", "Mountpoint", "Name", "Scope", "Size", "Status"],
    columns: &["Driver", "Name"],
    title,
    min_width: 10,
    gap: 3,
    narrow: Narrow { leave_out: &["Driver"], shorten: &[("Name", 10)] },
    json_array: false,
};

/// `usage` is the number of its users and its bytes, where that was asked for.
#[must_use]
pub fn row(volume: &VolumeRecord, data: &Path, usage: Option<(usize, u64)>) -> Row {
    let labels: Vec<String> = volume.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let fields = json!({
        "Availability": "N/A",
        "Driver": volume.driver,
        "Group": "N/A",
        "Labels": labels.join(","),
        "Links": usage.map_or_else(|| "N/A".to_owned(), |(users, _)| users.to_string()),
        "Mountpoint": data.display().to_string(),
        "Name": volume.name,
        "Scope": "local",
        "Size": usage.map_or_else(|| "N/A".to_owned(), |(_, bytes)| human::size(bytes)),
        "Status": "N/A",
    });
    let mut row = match fields {
        Value::Object(fields) => Row::new(fields),
        _ => Row::default(),
    };
    row.labels.clone_from(&volume.labels);
    row
}

fn title(field: &str) -> String {
    match field {
        "Name" => "VOLUME NAME".into(),
        other => other.to_uppercase(),
    }
}
