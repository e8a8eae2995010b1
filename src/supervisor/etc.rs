//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::error::SupervisorError;
use crate::network::resolv_conf::{ResolvConf, hosts_file, is_word};
use crate::record::ContainerRecord;
use crate::runtime::spec::NetworkNamespace;
use crate::sys::fault;

/// What is written for a container with its network.
#[derive(Debug)]
pub(super) struct Addresses {
    pub own: Vec<IpAddr>,
    pub gateway: Option<IpAddr>,
}

/// Writes the files to where the record says. In place: they are mounted into containers one by one.
pub(super) fn write(record: &ContainerRecord, addresses: &Addresses) -> Result<(), SupervisorError> {
    check(record)?;
    let etc = &record.spec.etc;
    if let Some(path) = &etc.hostname {
        put(path, format!("{}\n", record.spec.hostname).as_bytes())?;
    }
    let host_network = record.spec.namespaces.network == NetworkNamespace::Host;
    if let Some(path) = &etc.hosts {
        put(path, hosts(record, addresses, host_network)?.as_bytes())?;
    }
    if let Some(path) = &etc.resolv_conf {
        let host = ResolvConf::parse(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
        let dns = &record.dns;
        let text = if record.endpoints.is_empty() {
            ResolvConf::for_host_network(&host, &dns.servers, &dns.search, &dns.options)
        } else {
            ResolvConf::for_container(&host, &dns.search, &dns.options)
        };
        put(path, text.as_bytes())?;
    }
    Ok(())
}

/// Nothing that a file says adds a line or a name of its own to these files.
fn check(record: &ContainerRecord) -> Result<(), SupervisorError> {
    let spec = &record.spec;
    let words = [("hostname", Some(&spec.hostname)), ("domainname", spec.domainname.as_ref())];
    let words = words.into_iter().filter_map(|(what, text)| Some((what, text.filter(|text| !text.is_empty())?)));
    let lists = [("dns_search", &record.dns.search), ("dns_opt", &record.dns.options)];
    let lists = lists.into_iter().flat_map(|(what, texts)| texts.iter().map(move |text| (what, text)));
    let hosts = record.extra_hosts.iter().map(|(host, _)| ("extra_hosts", host));
    match words.chain(lists).chain(hosts).find(|(_, text)| !is_word(text)) {
        None => Ok(()),
        Some((what, text)) => Err(SupervisorError::Option {
            reason: format!("{what}: {text:?} is not one word without blanks, line breaks or comments"),
        }),
    }
}

/// A container in the network of another one has that one's files, as they were at its start.
pub(super) fn share(record: &ContainerRecord, target: &ContainerRecord) -> Result<(), SupervisorError> {
    check(record)?;
    let (own, other) = (&record.spec.etc, &target.spec.etc);
    if let Some(path) = &own.hostname {
        put(path, format!("{}\n", record.spec.hostname).as_bytes())?;
    }
    for (own, other) in [(&own.hosts, &other.hosts), (&own.resolv_conf, &other.resolv_conf)] {
        if let (Some(own), Some(other)) = (own, other) {
            put(own, &fs::read(other).map_err(SupervisorError::io("read", other))?)?;
        }
    }
    Ok(())
}

fn hosts(record: &ContainerRecord, addresses: &Addresses, host_network: bool) -> Result<String, SupervisorError> {
    let mut extra = Vec::new();
    for (host, address) in &record.extra_hosts {
        let fault = |reason: String| SupervisorError::ExtraHost { host: host.clone(), reason };
        let address = if address == "host-gateway" {
            let gateway = if host_network { Some(IpAddr::from([127, 0, 0, 1])) } else { addresses.gateway };
            gateway.ok_or_else(|| fault("`host-gateway` needs a network with a way to the host".to_owned()))?
        } else {
            let bare = address.trim_start_matches('[').trim_end_matches(']');
            bare.parse().map_err(|_| fault(format!("`{address}` is not an address")))?
        };
        extra.push((host.clone(), address));
    }
    if host_network {
        // As Docker does: the machine's own names hold.
        let mut text = fs::read_to_string("/etc/hosts").unwrap_or_default();
        for (host, address) in &extra {
            text.push_str(&format!("{address}\t{host}\n"));
        }
        return Ok(text);
    }
    let domain = record.spec.domainname.as_deref().filter(|domain| !domain.is_empty());
    Ok(hosts_file(true, &extra, &addresses.own, &record.spec.hostname, domain))
}

/// Truncates and writes; everybody may read, whatever our umask.
fn put(path: &Path, bytes: &[u8]) -> Result<(), SupervisorError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o644);
    let mut file = match options.open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                crate::state::folder::make(folder).map_err(SupervisorError::io("create", folder))?;
            }
            options.open(path).map_err(SupervisorError::io("create", path))?
        }
        other => other.map_err(SupervisorError::io("write", path))?,
    };
    let written = fault::around_file("write", path, || file.write_all(bytes));
    written.map_err(SupervisorError::io("write", path))?;
    file.set_permissions(Permissions::from_mode(0o644)).map_err(SupervisorError::io("write", path))
}
