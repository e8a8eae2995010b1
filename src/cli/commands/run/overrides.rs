//! What the flags of `run` change of a service. What has the form of an attribute of the file is read by the loader.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::RunArgs;
use crate::cli::{CommandError, Context, names};
use crate::compose::model::{Place, Project, Service, VolumeMountType};
use crate::compose::{self, FileSource, FsSource, LoadOptions, LoadRequest};

/// Changes the service in the project.
///
/// # Errors
/// When a flag does not say what it should.
pub(super) fn apply(args: &RunArgs, tty: bool, context: &Context, project: &mut Project) -> Result<(), CommandError> {
    let flags = read(args, context, project)?;
    for mount in flags.volumes.iter().filter(|mount| mount.kind == VolumeMountType::Volume) {
        if let Some(name) = mount.source.as_ref().filter(|name| !project.volumes.contains_key(*name)) {
            return Err(CommandError::new(format!("--volume: the project declares no volume `{name}`"))
                .hint(format!("declare it under `volumes:`, or bind a folder: ./{name}:{}", mount.target)));
        }
    }
    let mut said = Said { places: &mut project.places, service: &args.service };
    let Some(service) = project.services.get_mut(&args.service) else {
        return Err(names::no_such_service(std::slice::from_ref(&args.service), &[]));
    };
    service.container_name = None;
    if !args.detach {
        service.tty = tty;
        service.stdin_open = args.interactive;
    }
    if let Some(user) = &args.user {
        service.user = Some(user.clone());
        said.by("user", "--user");
    }
    if let Some(install) = &mut service.windlass.install {
        install.optional = true;
    }
    if let Some(folder) = &args.workdir {
        // Its packages stay those of where the service itself works.
        if let Some(install) = &mut service.windlass.install {
            install.working_dir.clone_from(&service.working_dir);
        }
        service.working_dir = Some(folder.clone());
        said.by("working_dir", "--workdir");
    }
    if let Some(text) = &args.entrypoint {
        let words = shell_words::split(text)
            .map_err(|error| CommandError::caused(format!("--entrypoint: `{text}` is not a command line"), &error))?;
        // The service's command is for its own program.
        service.entrypoint = Some(words);
        service.command = Some(Vec::new());
        said.by("entrypoint", "--entrypoint");
        said.by("command", "--entrypoint");
    }
    if !args.command.is_empty() {
        service.command = Some(args.command.clone());
        said.by("command", "the command line");
    }
    if !args.service_ports {
        service.ports = flags.ports;
        said.by("ports", "--publish");
    }
    // A variable without a value anywhere stays what the file or the image makes it.
    service.environment.extend(flags.environment.into_iter().filter(|(_, value)| value.is_some()));
    service.labels.extend(flags.labels);
    service.cap_drop.retain(|name| !args.cap_add.contains(name));
    service.cap_add.retain(|name| !args.cap_drop.contains(name));
    said.further("cap_add", service.cap_add.len(), args.cap_add.len(), "--cap-add");
    service.cap_add.extend(args.cap_add.iter().cloned());
    said.further("cap_drop", service.cap_drop.len(), args.cap_drop.len(), "--cap-drop");
    service.cap_drop.extend(args.cap_drop.iter().cloned());
    service.volumes.retain(|mount| !flags.volumes.iter().any(|flag| flag.target == mount.target));
    said.further("volumes", service.volumes.len(), flags.volumes.len(), "--volume");
    service.volumes.extend(flags.volumes);
    Ok(())
}

/// The places of the service's attributes: what a flag says stands in no file.
struct Said<'a> {
    places: &'a mut BTreeMap<String, Place>,
    service: &'a str,
}

impl Said<'_> {
    fn by(&mut self, attribute: &str, flag: &str) {
        let path = format!("services.{}.{attribute}", self.service);
        self.forget_within(&path);
        self.places.insert(path, Place { file: flag.into(), line: 0, column: 0 });
    }

    /// `more` entries of a list, after `kept` of the file's, which may have moved up: those have the list's place.
    fn further(&mut self, attribute: &str, kept: usize, more: usize, flag: &str) {
        if more == 0 {
            return;
        }
        let path = format!("services.{}.{attribute}", self.service);
        self.forget_within(&path);
        for index in kept..kept + more {
            self.places.insert(format!("{path}[{index}]"), Place { file: flag.into(), line: 0, column: 0 });
        }
    }

    fn forget_within(&mut self, path: &str) {
        let within = |found: &str| found.strip_prefix(path).is_some_and(|rest| rest.starts_with(['.', '[']));
        self.places.retain(|found, _| !within(found));
    }
}

/// The flags as the attributes that they are.
fn read(args: &RunArgs, context: &Context, project: &Project) -> Result<Service, CommandError> {
    let files: Vec<PathBuf> = args.env_from_file.iter().map(|file| context.working_dir.join(file)).collect();
    let mut service = json!({ "image": "flags" });
    let mut set = |key: &str, value: Value| {
        if value.as_array().is_some_and(|list| !list.is_empty()) {
            service[key] = value;
        }
    };
    set("env_file", json!(files));
    set("environment", json!(args.env));
    set("labels", json!(args.label));
    set("ports", json!(args.publish));
    set("volumes", json!(args.volume));
    let text = json!({ "name": project.name, "services": { "flags": service } }).to_string();
    // The shell has put in its variables already.
    let text = text.replace('$', "$$");
    let request = LoadRequest {
        current_dir: context.working_dir.clone(),
        files: vec![PathBuf::from("-")],
        project_directory: Some(context.working_dir.clone()),
        env_files: context.global.env_files.iter().map(PathBuf::from).collect(),
        environment: context.environment.clone(),
        options: LoadOptions { check_consistency: false, for_running: true, ..LoadOptions::default() },
        ..LoadRequest::default()
    };
    let loaded = compose::load(request, &Flags(text)).map_err(|failure| {
        let reasons = failure.diagnostics.iter().map(|diagnostic| diagnostic.message.clone()).collect();
        CommandError::new("the flags of run are not understood").causes(reasons)
    })?;
    let mut services = loaded.project.services;
    services.shift_remove("flags").ok_or_else(|| CommandError::new("the flags of run are not understood"))
}

/// A file that is the command line; the files that it names are real.
struct Flags(String);

impl FileSource for Flags {
    fn read(&self, path: &Path) -> io::Result<String> {
        FsSource.read(path)
    }

    fn is_file(&self, path: &Path) -> bool {
        FsSource.is_file(path)
    }

    fn stdin(&self) -> io::Result<String> {
        Ok(self.0.clone())
    }
}
