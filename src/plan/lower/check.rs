//! Values that a file may have and that nothing can be made of: told with their places, before anything is fetched.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::compose::model::{self, Deploy, Project, Service, UpdateConfig, VolumeMountType};
use crate::image::Platform;
use crate::network::KNOWN_OPTIONS;
use crate::record::signal;
use crate::runtime::is_capability;
use crate::volumes::{Store, VolumeError};

use super::{Fault, Inputs, ServiceImage, mounts, network};

/// What is wrong with the services asked for, as far as it shows without their images, and with what they use.
#[must_use]
pub fn check(project: &Project, inputs: &Inputs<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let asked: Vec<(&String, &Service)> =
        inputs.services.iter().filter_map(|name| Some((name, project.services.get(name)?))).collect();
    for (name, service) in &asked {
        words(name, service, &mut faults);
        lowered(project, name, service, inputs, &mut faults);
    }
    let networks: BTreeSet<&str> =
        asked.iter().flat_map(|(_, service)| service.networks.keys().map(String::as_str)).collect();
    for (key, network) in networks.into_iter().filter_map(|key| Some((key, project.networks.get(key)?))) {
        used_network(key, network, &mut faults);
    }
    for spec in network::networks(project).iter().filter(|spec| !spec.external) {
        let is_used = inputs.all_resources || asked.iter().any(|(_, service)| service.networks.contains_key(&spec.key));
        if let (true, Err(error)) = (is_used, crate::network::ignored_options(spec)) {
            faults.push(Fault::new(format!("networks.{}.driver_opts", spec.key), error.to_string()));
        }
    }
    for spec in mounts::volumes(project).iter().filter(|spec| !spec.external) {
        let is_used = |service: &Service| {
            service
                .volumes
                .iter()
                .any(|mount| mount.source.as_ref() == Some(&spec.key) && mount.kind == VolumeMountType::Volume)
        };
        if (inputs.all_resources || asked.iter().any(|(_, service)| is_used(service)))
            && let Err(error) = Store::check(spec)
        {
            let attribute = match &error {
                VolumeError::Name(_) => "name",
                VolumeError::Driver { .. } => "driver",
                _ => "driver_opts",
            };
            faults.push(Fault::new(format!("volumes.{}.{attribute}", spec.key), error.to_string()));
        }
    }
    faults
}

/// The faults that lowering itself would find, had it the image.
fn lowered(project: &Project, name: &str, service: &Service, inputs: &Inputs<'_>, faults: &mut Vec<Fault>) {
    super::security::lower(name, service, faults);
    mounts::lower(project, name, service, &ServiceImage::default(), inputs, faults);
    network::endpoints(project, name, service, faults);
    network::check_words(name, service, faults);
    network::ports(name, service, faults);
    super::namespaces::lower(name, service, faults);
    super::devices::lower(name, service, faults);
    super::restarts::policy(name, service, faults);
    super::logging::lower(name, service, faults);
    super::volumes_from::lower(name, service, faults);
    super::volumes_from::check(project, name, service, faults);
}

/// What is one of a few words, or has a form.
fn words(name: &str, service: &Service, faults: &mut Vec<Fault>) {
    let mut note = |attribute: String, message: String, hint: &str| {
        faults.push(Fault::new(format!("services.{name}.{attribute}"), message).hint(hint));
    };
    for (index, server) in service.dns.iter().enumerate().filter(|(_, server)| !is_address(server)) {
        note(format!("dns[{index}]"), not_an_address(server), "write the address of a name server, as 192.0.2.53");
    }
    for (host, addresses) in &service.extra_hosts {
        for address in addresses.iter().filter(|address| *address != "host-gateway" && !is_address(address)) {
            note(format!("extra_hosts.{host}"), not_an_address(address), "write an address, or `host-gateway`");
        }
    }
    if let Some(text) = service.stop_signal.as_deref().filter(|text| !text.is_empty() && signal::parse(text).is_none())
    {
        let hint = "write a name, as SIGTERM, or a number from 1 to 64";
        note("stop_signal".to_owned(), format!("`{text}` is not a signal"), hint);
    }
    if let Some(text) = service.userns_mode.as_deref().filter(|text| !matches!(*text, "" | "host")) {
        let message = format!("there is no user namespace `{text}`: containers are in that of this machine");
        note("userns_mode".to_owned(), message, "write `host`, or leave it out");
    }
    for (attribute, names) in [("cap_add", &service.cap_add), ("cap_drop", &service.cap_drop)] {
        for (index, text) in names.iter().enumerate().filter(|(_, text)| !is_capability(text)) {
            let hint = "capabilities(7) lists them; `ALL` is all of them";
            note(format!("{attribute}[{index}]"), format!("there is no capability `{text}`"), hint);
        }
    }
    for (index, text) in service.expose.iter().enumerate().filter(|(_, text)| !is_port(text)) {
        let hint = "write a port or a range, with a protocol where it is not tcp: `8080`, `53/udp`, `7000-7010`";
        note(format!("expose[{index}]"), format!("`{text}` is not a port"), hint);
    }
    if let Some(text) = service.platform.as_deref().filter(|text| !text.is_empty())
        && let Err(error) = text.parse::<Platform>()
    {
        let hint = "write a system and an architecture, as `linux/amd64`";
        note("platform".to_owned(), error.to_string(), hint);
    }
    for (index, port) in service.ports.iter().enumerate() {
        if let Some(mode) = port.mode.as_deref().filter(|mode| !matches!(*mode, "" | "host" | "ingress")) {
            note(format!("ports[{index}].mode"), format!("there is no mode `{mode}`"), "use `host` or `ingress`");
        }
    }
    for (index, bind) in service.volumes.iter().enumerate().filter_map(|(index, it)| Some((index, it.bind.as_ref()?))) {
        let known = ["", "private", "rprivate", "shared", "rshared", "slave", "rslave"];
        if let Some(text) = bind.propagation.as_deref().filter(|text| !known.contains(text)) {
            let hint = "use rprivate, private, rshared, shared, rslave or slave";
            note(format!("volumes[{index}].bind.propagation"), format!("there is no propagation `{text}`"), hint);
        }
        if bind.recursive.as_deref() == Some("writable") {
            let message = "what is mounted below a read-only bind is read-only here, too".to_owned();
            note(format!("volumes[{index}].bind.recursive"), message, "use `enabled`, or `disabled` to leave it out");
        }
    }
    for (key, config) in &service.networks {
        let Some(interface) = config.as_ref().and_then(|config| config.interface_name.as_deref()) else { continue };
        if let Err(error) = crate::network::check_interface(interface) {
            note(format!("networks.{key}.interface_name"), error.to_string(), "write up to 15 letters and digits");
        }
    }
    if let Some(deploy) = &service.deploy {
        deployment(deploy, &mut note);
    }
}

/// A note about an attribute: what is wrong with it, and what to do.
type Note<'a> = dyn FnMut(String, String, &str) + 'a;

fn deployment(deploy: &Deploy, note: &mut Note<'_>) {
    match deploy.mode.as_deref() {
        None | Some("" | "replicated") => {}
        // One machine: one container.
        Some("global") if deploy.replicas.is_none_or(|count| count <= 1) => {}
        Some("global") => {
            let message = "`global` is one container for each machine, and this is one machine".to_owned();
            note("deploy.replicas".to_owned(), message, "remove `replicas`, or use `mode: replicated`");
        }
        Some(text) => {
            let hint = "use `replicated` or `global`; a job is a service without a restart policy";
            note("deploy.mode".to_owned(), format!("there is no mode `{text}` here"), hint);
        }
    }
    let condition = deploy.restart_policy.as_ref().and_then(|policy| policy.condition.as_deref());
    let known = ["", "none", "no", "on-failure", "unless-stopped", "any", "always"];
    if let Some(text) = condition.filter(|text| !known.contains(text)) {
        let message = format!("unknown condition `{text}`");
        note("deploy.restart_policy.condition".to_owned(), message, "use none, on-failure, unless-stopped or any");
    }
    let action = |config: &Option<UpdateConfig>| config.as_ref().and_then(|config| config.failure_action.clone());
    let mut one_of = |attribute: &str, text: Option<String>, known: &[&str]| {
        if let Some(text) = text.filter(|text| !text.is_empty() && !known.contains(&text.as_str())) {
            let hint = format!("use {}", known.join(" or "));
            note(format!("deploy.{attribute}.failure_action"), format!("there is no action `{text}`"), &hint);
        }
    };
    one_of("update_config", action(&deploy.update_config), &["pause", "continue", "rollback"]);
    one_of("rollback_config", action(&deploy.rollback_config), &["pause", "continue"]);
}

fn used_network(key: &str, network: &model::Network, faults: &mut Vec<Fault>) {
    let mut note = |attribute: &str, message: String, hint: &str| {
        faults.push(Fault::new(format!("networks.{key}.{attribute}"), message).hint(hint));
    };
    if network.external {
        return;
    }
    if let Some(driver) = network.driver.as_deref().filter(|driver| !crate::network::is_driver(driver)) {
        let hint = "use `bridge`, or `network_mode: host` or `none` for a service";
        note("driver", format!("there is no network driver `{driver}`"), hint);
    }
    if let Some(driver) = network.ipam.driver.as_deref().filter(|driver| !matches!(*driver, "" | "default")) {
        note("ipam.driver", format!("nobody gives out addresses as `{driver}`"), "use `default`, or leave it out");
    }
    for (index, pool) in network.ipam.config.iter().enumerate() {
        let place = |attribute: &str| format!("ipam.config[{index}].{attribute}");
        let subnet = pool.subnet.as_deref().and_then(|text| text.parse::<IpNetwork>().ok());
        for (attribute, text) in [("subnet", &pool.subnet), ("ip_range", &pool.ip_range)] {
            if let Some(text) = text.as_deref().filter(|text| text.parse::<IpNetwork>().is_err()) {
                note(&place(attribute), format!("`{text}` is not a subnet"), "write it as 192.0.2.0/24");
            }
        }
        let range = pool.ip_range.as_deref().and_then(|text| text.parse::<IpNetwork>().ok());
        if let (Some(subnet), Some(range)) = (subnet, range)
            && !(subnet.contains(range.network()) && subnet.contains(range.broadcast()))
        {
            note(
                &place("ip_range"),
                format!("{range} is not within the subnet {subnet}"),
                "write a part of the subnet",
            );
        }
        let given = pool.aux_addresses.iter().map(|(name, text)| (format!("aux_addresses.{name}"), text));
        for (attribute, text) in pool.gateway.iter().map(|text| ("gateway".to_owned(), text)).chain(given) {
            match (text.parse::<IpAddr>(), subnet) {
                (Err(_), _) => note(&place(&attribute), not_an_address(text), "write an address of the subnet"),
                (Ok(address), Some(subnet)) if !subnet.contains(address) => {
                    let message = format!("{text} is not in the subnet {subnet}");
                    note(&place(&attribute), message, "write an address of the subnet");
                }
                (Ok(_), _) => {}
            }
        }
    }
}

/// What of the networks asked for is without effect.
pub(super) fn without_effect(project: &Project, services: &[String]) -> Vec<Fault> {
    let asked: Vec<&Service> = services.iter().filter_map(|name| project.services.get(name)).collect();
    let mut found = Vec::new();
    for spec in network::networks(project).iter().filter(|spec| !spec.external) {
        if !asked.iter().any(|service| service.networks.contains_key(&spec.key)) {
            continue;
        }
        for option in crate::network::ignored_options(spec).unwrap_or_default() {
            let path = format!("networks.{}.driver_opts.{option}", spec.key);
            let message = format!("the option {option} of network {} has no effect", spec.key);
            found.push(Fault::new(path, message).hint(format!("those that have one: {}", KNOWN_OPTIONS.join(", "))));
        }
    }
    found
}

fn is_address(text: &str) -> bool {
    text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

fn not_an_address(text: &str) -> String {
    format!("`{text}` is not an IP address")
}

/// `8080`, `53/udp`, `7000-7010`
fn is_port(text: &str) -> bool {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| text.parse::<u16>().ok().filter(|&port| port > 0);
    let in_order = number(first).zip(number(last)).is_some_and(|(first, last)| first <= last);
    in_order && ["tcp", "udp", "sctp"].iter().any(|known| protocol.eq_ignore_ascii_case(known))
}
