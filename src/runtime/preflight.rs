//! What of a specification cannot be met on this machine, found before anything is made for it.

use std::io;
use std::path::{Path, PathBuf};

use crate::runtime::StartError;
use crate::runtime::capability::Capabilities;
use crate::runtime::cgroup;
use crate::runtime::devices::{self, Rule};
use crate::runtime::seccomp;
use crate::runtime::spec::{ContainerSpec, Seccomp};
use crate::runtime::{identity, process, program, sysctl};
use crate::sys::overlay;

/// The part of a specification that cannot be met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Sysctl(String),
    Capabilities,
    Seccomp,
    /// By its path on the host.
    Device(PathBuf),
    DeviceRule(String),
    /// By the name that Compose has for it.
    Limit(&'static str),
    Rlimit(String),
    User,
    Program,
}

/// Everything of a specification that the start would fail for, as far as it can be known without one. Files of somebody
/// else's will be at `covered`.
///
/// # Errors
/// When the machine cannot be looked at.
pub fn check(spec: &ContainerSpec, covered: &[PathBuf]) -> io::Result<Vec<(Part, StartError)>> {
    let mut found = Vec::new();
    let mut note = |part: Part, checked: Result<(), StartError>| {
        if let Err(error) = checked {
            found.push((part, error));
        }
    };
    for (key, value) in &spec.sysctls {
        note(Part::Sysctl(key.clone()), sysctl::check_one(spec, key, value));
    }
    match Capabilities::of_container(&spec.security, Capabilities::held()?) {
        // Our own profile is a filter whatever the capabilities; making one takes as long as all the rest.
        Ok(_) if !matches!(spec.security.seccomp, Seccomp::Profile(_)) => {}
        Ok(capabilities) => {
            let filter = seccomp::Cache::default().filter_of(&spec.security, capabilities);
            note(Part::Seccomp, filter.map(drop));
        }
        Err(error) => note(Part::Capabilities, Err(error)),
    }
    for device in &spec.devices {
        note(Part::Device(device.source.clone()), devices::find_one(device).map(drop));
    }
    for rule in &spec.device_cgroup_rules {
        note(Part::DeviceRule(rule.clone()), Rule::parse(rule).map(drop));
    }
    for (name, error) in cgroup::impossible(&spec.cgroup.limits) {
        note(Part::Limit(name), Err(error));
    }
    for limit in &spec.process.rlimits {
        note(Part::Rlimit(limit.name.clone()), process::check_limit(limit));
    }
    note(Part::User, user(spec));
    note(Part::Program, program::check(spec, covered));
    Ok(found)
}

/// Names are looked up in the image, unless something is mounted over its accounts.
fn user(spec: &ContainerSpec) -> Result<(), StartError> {
    let names = std::iter::once(&spec.process.user).chain(&spec.process.groups);
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if names.flat_map(|name| name.split(':')).all(is_number) {
        return Ok(());
    }
    let accounts = ["/etc/passwd", "/etc/group"].map(Path::new);
    if spec.mounts.iter().any(|mount| accounts.iter().any(|file| file.starts_with(&mount.target))) {
        return Ok(());
    }
    // An image that cannot be looked at is for the start to tell of.
    let Ok(Some(image)) = overlay::root(&spec.rootfs.lower) else { return Ok(()) };
    identity::resolve(&image, &spec.process.user, &spec.process.groups).map(drop)
}
