//! What a container's start would fail for, found before anything is touched for it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::record::logs::Rotation;
use crate::record::{ContainerRecord, signal};
use crate::runtime::preflight::{self, Part};
use crate::runtime::spec::MountKind;
use crate::sys::regular;
use crate::volumes::bind::{self, BindError};

/// Something that a container needs and that is not there, or that nobody can give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    pub about: About,
    pub reason: String,
    /// What a command that runs the container alone ends with.
    pub code: i32,
}

/// What is no program's fault.
const OURS: i32 = 125;

/// What of the container it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A file or folder of the host; `true` when nothing is there.
    Source(PathBuf, bool),
    Logging,
    StopSignal,
    Spec(Part),
}

/// Longest secret or config that is copied into a container.
pub(super) const LONGEST_FILE: u64 = 16 << 20;

/// What keeps a container from being made at all.
pub(super) fn options(record: &ContainerRecord) -> Vec<Obstacle> {
    let mut found = Vec::new();
    let logging = &record.logging;
    if !matches!(logging.driver.as_str(), "" | "json-file" | "local" | "none") {
        let reason = format!("logging driver `{}` is not supported; use json-file, local or none", logging.driver);
        found.push(Obstacle { about: About::Logging, reason, code: OURS });
    } else if let Err(reason) = Rotation::parse(logging) {
        found.push(Obstacle { about: About::Logging, reason, code: OURS });
    }
    if signal::parse(&record.stop_signal).is_none() {
        let reason = format!("`{}` is not a signal", record.stop_signal);
        found.push(Obstacle { about: About::StopSignal, reason, code: OURS });
    }
    found
}

/// Everything that is known to keep a container from starting. What lies in one of the folders `made` may be written by
/// another container until then.
#[must_use]
pub fn obstacles(record: &ContainerRecord, made: &BTreeSet<&Path>) -> Vec<Obstacle> {
    let mut found = options(record);
    let may_come = |path: &Path| path.ancestors().skip(1).any(|folder| made.contains(folder));
    for bind in &record.binds {
        if let Err(error) = bind::check_source(&bind.source, bind.create) {
            let missing = matches!(error, BindError::Missing { .. });
            if !(missing && may_come(&bind.source)) {
                let about = About::Source(bind.source.clone(), missing);
                found.push(Obstacle { about, reason: with_causes(&error), code: OURS });
            }
        }
    }
    for path in record.files.iter().filter_map(|file| file.source.as_ref()) {
        if let Err(error) = regular::open(path) {
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            if !(missing && may_come(path)) {
                let reason = match missing {
                    true => format!("{} does not exist", path.display()),
                    false => format!("{} cannot be read: {error}", path.display()),
                };
                found.push(Obstacle { about: About::Source(path.clone(), missing), reason, code: OURS });
            }
        }
    }
    let covered: Vec<PathBuf> = record.files.iter().map(|file| file.target.clone()).collect();
    match preflight::check(&record.spec, &covered) {
        Ok(parts) => found.extend(parts.into_iter().map(|(part, error)| Obstacle {
            about: About::Spec(part),
            reason: error.to_string(),
            code: error.exit_code,
        })),
        Err(error) => tracing::warn!("cannot look at the machine: {error}"),
    }
    found
}

/// Sources of bind mounts that are missing and become folders, though both their name and that of the target say file.
pub fn files_made_as_folders(record: &ContainerRecord) -> impl Iterator<Item = &Path> {
    let ending = |path: &Path| {
        let ending = path.extension()?.to_str()?.to_owned();
        // `conf.d`, `v1.2`
        (ending.len() > 1 && ending.chars().any(char::is_alphabetic)).then_some(ending)
    };
    let targets = |source: &Path| {
        let source = source.to_owned();
        record
            .spec
            .mounts
            .iter()
            .filter(move |mount| matches!(&mount.kind, MountKind::Bind { source: bound, .. } if *bound == source))
    };
    record.binds.iter().filter(|bind| bind.create).map(|bind| bind.source.as_path()).filter(move |source| {
        ending(source).is_some()
            && targets(source).any(|mount| ending(&mount.target) == ending(source))
            && bind::check_source(source, true).is_ok_and(|exists| !exists)
    })
}

fn with_causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
