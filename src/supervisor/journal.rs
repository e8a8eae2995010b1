//! What happened to the project's containers, on disk, for `events`: readers need no supervisor, and see what it did
//! before they asked.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;

use super::container::Container;
use crate::record::HealthStatus;
use crate::record::event::{ContainerEvent, EventRecord, What};
use crate::record::logs::{LogFile, Rotation, Splitter, Stream};

/// Two files of a megabyte: some thousand events.
const ROTATION: Rotation = Rotation { max_size: Some(1 << 20), max_files: 2 };

#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    /// Open from the first event on.
    file: RefCell<Option<LogFile>>,
}

impl Journal {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: RefCell::new(None) }
    }

    /// The project's folder goes; whatever comes next begins anew.
    pub(super) fn close(&self) {
        *self.file.borrow_mut() = None;
    }

    pub(super) fn note(&self, container: &Container, event: &ContainerEvent) {
        self.append(&records(container, event), event.time);
    }

    /// Something of a network was not as it should be, and is again.
    pub(super) fn note_mended(&self, network: &str, what: &str, time: Timestamp) {
        let attributes = [("name", network), ("reason", what)].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let record = EventRecord {
            kind: "network".to_owned(),
            action: "mend".to_owned(),
            id: network.to_owned(),
            service: String::new(),
            attributes: attributes.into(),
        };
        self.append(&[record], time);
    }

    fn append(&self, records: &[EventRecord], time: Timestamp) {
        let mut file = self.file.borrow_mut();
        if file.is_none() {
            *file = LogFile::open(&self.path, ROTATION)
                .inspect_err(|error| tracing::warn!("events are not kept in {}: {error}", self.path.display()))
                .ok();
        }
        let Some(file) = &mut *file else { return };
        let mut splitter = Splitter::new(Stream::Stdout);
        let mut lines = Vec::new();
        for record in records {
            let Ok(mut text) = serde_json::to_vec(record) else { continue };
            text.push(b'\n');
            splitter.push(&text, time, &mut lines);
        }
        file.append(&lines);
    }
}

fn records(container: &Container, event: &ContainerEvent) -> Vec<EventRecord> {
    let record = &container.record;
    let own = record.labels.iter().filter(|(key, _)| !key.starts_with("com.docker.compose."));
    let mut attributes: BTreeMap<String, String> = own.map(|(key, value)| (key.clone(), value.clone())).collect();
    attributes.insert("image".into(), record.image.reference.clone());
    attributes.insert("name".into(), event.name.clone());
    let with = |action: &str, more: &[(&str, String)]| {
        let mut attributes = attributes.clone();
        attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        EventRecord {
            kind: "container".to_owned(),
            action: action.to_owned(),
            id: event.container.clone(),
            service: event.service.clone(),
            attributes,
        }
    };
    match &event.what {
        What::Created => vec![with("create", &[])],
        What::Started => vec![with("start", &[])],
        What::Health(HealthStatus::Healthy) => vec![with("health_status: healthy", &[])],
        What::Health(HealthStatus::Unhealthy) => vec![with("health_status: unhealthy", &[])],
        What::Health(HealthStatus::Starting) => vec![],
        What::Killed { signal } => vec![with("kill", &[("signal", signal.to_string())])],
        What::Stopped => vec![with("stop", &[])],
        What::Paused => vec![with("pause", &[])],
        What::Unpaused => vec![with("unpause", &[])],
        What::Exited { exit, oom_killed, .. } => {
            let die = with("die", &[("exitCode", exit.code().to_string())]);
            if *oom_killed { vec![with("oom", &[]), die] } else { vec![die] }
        }
        What::Removed => vec![with("destroy", &[])],
    }
}
