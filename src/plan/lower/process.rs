//! Command, environment and user: the file over the image, by Compose's rules.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::compose::model::Service;
use crate::runtime::spec::{Process, Rlimit, TerminalSize};

use super::{Fault, ServiceImage};

pub(super) fn lower(name: &str, service: &Service, image: &ServiceImage) -> Result<Process, Fault> {
    Ok(Process {
        args: args(name, service, image)?,
        env: environment(service, image),
        cwd: cwd(service, image),
        user: service.user.clone().unwrap_or_else(|| image.user.clone()),
        groups: service.group_add.clone(),
        rlimits: service
            .ulimits
            .iter()
            .map(|(name, limit)| Rlimit { name: name.clone(), soft: limit.soft(), hard: limit.hard() })
            .collect(),
        oom_score_adj: service.oom_score_adj,
        tty: service.tty,
        stdin_open: service.stdin_open,
        size: TerminalSize::default(),
    })
}

/// An entrypoint in the file replaces the image's and drops the image's command with it.
fn args(name: &str, service: &Service, image: &ServiceImage) -> Result<Vec<String>, Fault> {
    let (mut args, default_cmd) = match &service.entrypoint {
        Some(entrypoint) => (entrypoint.clone(), Vec::new()),
        None => (image.entrypoint.clone().unwrap_or_default(), image.cmd.clone().unwrap_or_default()),
    };
    args.extend(service.command.clone().unwrap_or(default_cmd));
    if args.is_empty() && image.is_here() {
        let path = format!("services.{name}");
        return Err(Fault::new(
            path,
            format!("image {} names no command, and neither does the service", image.reference),
        )
        .hint("add `command:`"));
    }
    Ok(args)
}

/// Image, then `env_file` and `environment` (one map by now); a name without a value takes the image's away too.
fn environment(service: &Service, image: &ServiceImage) -> Vec<String> {
    let mut merged: Vec<(String, String)> = Vec::new();
    let mut index: BTreeMap<String, usize> = BTreeMap::new();
    for variable in &image.env {
        let (key, value) = variable.split_once('=').unwrap_or((variable, ""));
        index.insert(key.to_owned(), merged.len());
        merged.push((key.to_owned(), value.to_owned()));
    }
    for (key, value) in &service.environment {
        match (index.get(key), value) {
            (Some(&at), Some(value)) => merged[at].1.clone_from(value),
            (None, Some(value)) => merged.push((key.clone(), value.clone())),
            (Some(&at), None) => merged[at].0.clear(),
            (None, None) => {}
        }
    }
    merged.into_iter().filter(|(key, _)| !key.is_empty()).map(|(key, value)| format!("{key}={value}")).collect()
}

fn cwd(service: &Service, image: &ServiceImage) -> PathBuf {
    let text = service.working_dir.clone().unwrap_or_else(|| image.working_dir.clone());
    if text.is_empty() { PathBuf::from("/") } else { PathBuf::from("/").join(text) }
}
