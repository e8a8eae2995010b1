//! Kernel parameters of the container's own namespaces.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::runtime::StartError;
use crate::runtime::error::Step;
use crate::runtime::spec::{ContainerSpec, Namespace, NetworkNamespace};

/// Checks what the user asks for: only parameters that belong to a namespace of this container's own.
pub(super) fn check(spec: &ContainerSpec) -> Result<(), StartError> {
    spec.sysctls.iter().try_for_each(|(key, value)| check_one(spec, key, value))
}

pub(super) fn check_one(spec: &ContainerSpec, key: &str, value: &str) -> Result<(), StartError> {
    let refuse = |why: &str| Err(StartError::new(format!("sysctl {key}"), why));
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    if key.is_empty() || !key.chars().all(plain) || key.split(['.', '/']).any(|part| part.is_empty()) {
        return refuse("this is not the name of a kernel parameter");
    }
    // A value that smuggles a second assignment was CVE-2022-0811.
    if value.chars().any(|c| c.is_control() && c != '\t') || value.contains(['+', '=']) {
        return refuse("the value holds a character that no kernel parameter needs");
    }
    let dotted = key.replace('/', ".");
    if dotted.starts_with("net.") {
        if spec.namespaces.network == NetworkNamespace::Host {
            return refuse("the container uses the host's network, whose parameters it may not change");
        }
    } else if is_ipc(&dotted) {
        if spec.namespaces.ipc == Namespace::Host {
            return refuse("the container uses the host's ipc namespace, whose parameters it may not change");
        }
    } else if dotted == "kernel.domainname" || dotted == "kernel.hostname" {
        return refuse("set `hostname` or `domainname` instead");
    } else {
        return refuse("the parameter belongs to the whole machine, not to a container");
    }
    Ok(())
}

fn is_ipc(key: &str) -> bool {
    const IPC: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    IPC.contains(&key) || key.starts_with("fs.mqueue.")
}

/// Writes the parameters through a procfs of our own, at which nobody else can have put anything.
pub(super) fn apply(spec: &ContainerSpec, proc: BorrowedFd<'_>) -> Result<(), StartError> {
    let mut wanted = BTreeMap::new();
    if spec.namespaces.network == NetworkNamespace::Passed {
        // As Docker: no port is privileged and everybody may ping.
        for (key, value) in
            [("net/ipv4/ip_unprivileged_port_start", "0"), ("net/ipv4/ping_group_range", "0 2147483647")]
        {
            wanted.insert(key.to_owned(), (value, false));
        }
    }
    for (key, value) in &spec.sysctls {
        // `net.ipv4.conf.eth0/1.x` has a slash for a dot in a name, as sysctl(8) has it.
        let path = if key.contains('/') && !key.contains('.') {
            key.clone()
        } else {
            key.chars()
                .map(|c| {
                    if c == '.' {
                        '/'
                    } else if c == '/' {
                        '.'
                    } else {
                        c
                    }
                })
                .collect()
        };
        wanted.insert(path, (value, true));
    }
    for (path, (value, required)) in wanted {
        let step = || format!("sysctl {}", path.replace('/', "."));
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let written = openat2(proc, format!("sys/{path}"), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), how)
            .and_then(|file| rustix::io::write(file, value.as_bytes()));
        if required {
            written.step(step)?;
        }
    }
    Ok(())
}
