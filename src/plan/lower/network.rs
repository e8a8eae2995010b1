//! Networks, endpoints and published ports.

use std::net::IpAddr;

use crate::compose::model::{self, NetworkAttachment, Project, Service};
use crate::network::Claims;
use crate::network::resolv_conf::is_word;
use crate::network::spec::{EndpointSpec, IpamConfig, NetworkSpec, PortSpec, Protocol};

use super::Fault;
use super::labels::of_resource;

/// `network_mode: bridge` means a network of the engine's own; here each project has its own such network.
const BRIDGE_MODE: &str = "bridge";

/// Its key; nobody calls a network of a file so.
const WAY_OUT: &str = "windlass-install";

pub(super) fn networks(project: &Project) -> Vec<NetworkSpec> {
    let mut networks = declared(project);
    if project.services.values().any(|service| service.network_mode.as_deref() == Some(BRIDGE_MODE)) {
        networks.push(NetworkSpec::plain(bridge_mode_name(project), BRIDGE_MODE));
    }
    let installs = |service: &&Service| service.windlass.install.is_some() && is_inside(project, service);
    if project.services.values().any(|service| installs(&service)) {
        networks.push(way_out(project));
    }
    for network in networks.iter_mut().filter(|network| !network.external) {
        let config = serde_json::json!(network);
        of_resource(&project.name, "network", &network.key, &mut network.labels, &config);
    }
    networks
}

fn bridge_mode_name(project: &Project) -> String {
    format!("{}_{BRIDGE_MODE}", project.name)
}

fn declared(project: &Project) -> Vec<NetworkSpec> {
    project
        .networks
        .iter()
        .map(|(key, network)| NetworkSpec {
            name: network.name.clone(),
            key: key.clone(),
            driver: network.driver.clone().unwrap_or_else(|| "bridge".to_owned()),
            driver_opts: network.driver_opts.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            internal: network.internal,
            enable_ipv4: network.enable_ipv4.unwrap_or(true),
            enable_ipv6: network.enable_ipv6.unwrap_or(false),
            ipam: network
                .ipam
                .config
                .iter()
                .map(|pool| IpamConfig {
                    subnet: pool.subnet.as_deref().and_then(|text| text.parse().ok()),
                    ip_range: pool.ip_range.as_deref().and_then(|text| text.parse().ok()),
                    gateway: pool.gateway.as_deref().and_then(|text| text.parse().ok()),
                    aux_addresses: pool
                        .aux_addresses
                        .iter()
                        .filter_map(|(name, address)| Some((name.clone(), address.parse().ok()?)))
                        .collect(),
                })
                .collect(),
            labels: network.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            external: network.external,
        })
        .collect()
}

/// The addresses that the file gives to services, also to those that are not asked for: nobody else may get them.
pub(super) fn claims(project: &Project) -> Claims {
    let mut claims = Claims::new();
    for service in project.services.values().chain(project.disabled_services.values()) {
        for (key, config) in &service.networks {
            let (Some(network), Some(config)) = (project.networks.get(key), config) else { continue };
            let addresses = [&config.ipv4_address, &config.ipv6_address].into_iter().flatten();
            let addresses = addresses.filter_map(|text| text.parse::<IpAddr>().ok());
            claims.entry(network.name.clone()).or_default().extend(addresses);
        }
    }
    // Also where there is none: there may have been before.
    for network in project.networks.values() {
        claims.entry(network.name.clone()).or_default().sort_unstable();
    }
    claims
}

/// In the order of the interfaces: highest `priority` first, then by name.
pub(super) fn endpoints(
    project: &Project,
    name: &str,
    service: &Service,
    faults: &mut Vec<Fault>,
) -> Vec<EndpointSpec> {
    let mut used: Vec<_> = service.networks.iter().collect();
    used.sort_by(|(a, left), (b, right)| {
        let priority = |config: &Option<NetworkAttachment>| config.as_ref().map_or(0, |config| config.priority);
        priority(right).cmp(&priority(left)).then_with(|| a.cmp(b))
    });
    let mut endpoints = Vec::new();
    if service.network_mode.as_deref() == Some(BRIDGE_MODE) {
        return vec![EndpointSpec {
            aliases: vec![name.to_owned()],
            mac: service.mac_address.clone(),
            ..EndpointSpec::plain(bridge_mode_name(project))
        }];
    }
    for (key, config) in used {
        let Some(network) = project.networks.get(key) else { continue };
        let config = config.clone().unwrap_or_default();
        let mut address = |attribute: &str, text: Option<&String>| -> Option<IpAddr> {
            let text = text?;
            let parsed = text.parse::<IpAddr>().ok();
            let what = match (attribute, parsed) {
                (_, None) => "an IP address",
                ("ipv4_address", Some(IpAddr::V6(_))) => "an IPv4 address",
                ("ipv6_address", Some(IpAddr::V4(_))) => "an IPv6 address",
                (_, Some(_)) => return parsed,
            };
            let path = format!("services.{name}.networks.{key}.{attribute}");
            faults.push(Fault::new(path, format!("`{text}` is not {what}")));
            None
        };
        let ipv4 = match address("ipv4_address", config.ipv4_address.as_ref()) {
            Some(IpAddr::V4(address)) => Some(address),
            _ => None,
        };
        let ipv6 = match address("ipv6_address", config.ipv6_address.as_ref()) {
            Some(IpAddr::V6(address)) => Some(address),
            _ => None,
        };
        let link_local =
            config.link_local_ips.iter().filter_map(|text| address("link_local_ips", Some(text))).collect();
        let mut aliases = vec![name.to_owned()];
        for alias in &config.aliases {
            if !aliases.contains(alias) {
                aliases.push(alias.clone());
            }
        }
        endpoints.push(EndpointSpec {
            network: network.name.clone(),
            aliases,
            ipv4,
            ipv6,
            link_local,
            mac: config.mac_address.clone().or_else(|| service.mac_address.clone().filter(|_| endpoints.is_empty())),
            interface: config.interface_name.clone(),
            gateway_priority: config.gw_priority,
            driver_opts: config.driver_opts.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            links: Vec::new(),
        });
    }
    endpoints
}

/// What ends up in the container's `hosts` and `resolv.conf`, or is asked for by name, is one word each.
pub(super) fn check_words(name: &str, service: &Service, faults: &mut Vec<Fault>) {
    let mut check = |path: String, text: &str| {
        if !text.is_empty() && !is_word(text) {
            faults.push(Fault::new(
                format!("services.{name}.{path}"),
                format!("{text:?} must be one word without blanks, line breaks or comments"),
            ));
        }
    };
    for (attribute, text) in [
        ("hostname", &service.hostname),
        ("domainname", &service.domainname),
        ("container_name", &service.container_name),
    ] {
        check(attribute.to_owned(), text.as_deref().unwrap_or_default());
    }
    for (attribute, texts) in [("dns_search", &service.dns_search), ("dns_opt", &service.dns_opt)] {
        for (index, text) in texts.iter().enumerate() {
            check(format!("{attribute}[{index}]"), text);
        }
    }
    for host in service.extra_hosts.keys() {
        check("extra_hosts".to_owned(), host);
    }
    for link in &service.links {
        check("links".to_owned(), link);
    }
    for (key, config) in &service.networks {
        for (index, alias) in config.iter().flat_map(|config| &config.aliases).enumerate() {
            check(format!("networks.{key}.aliases[{index}]"), alias);
        }
    }
}

/// Whether a service is in internal networks alone, as far as the file says: nobody outside reaches it.
pub(super) fn is_inside(project: &Project, service: &Service) -> bool {
    let mut networks = service.networks.keys().filter_map(|key| project.networks.get(key)).peekable();
    networks.peek().is_some() && networks.all(|network| network.internal && !network.external)
}

/// The network by which the install steps of services without a way out get one.
pub(super) fn way_out(project: &Project) -> NetworkSpec {
    NetworkSpec::plain(format!("{}_{WAY_OUT}", project.name), WAY_OUT)
}

pub(super) fn ports(name: &str, service: &Service, faults: &mut Vec<Fault>) -> Vec<PortSpec> {
    let mut ports = Vec::new();
    for (index, port) in service.ports.iter().enumerate() {
        let path = format!("services.{name}.ports[{index}]");
        let protocol = match port.protocol {
            model::Protocol::Tcp => Protocol::Tcp,
            model::Protocol::Udp => Protocol::Udp,
            model::Protocol::Sctp => {
                faults.push(Fault::new(path, "SCTP ports cannot be published").hint("use tcp or udp"));
                continue;
            }
        };
        let published = port.published.map(|range| (range.first, range.last)).filter(|&(_, last)| last > 0);
        let host_ip = match port.host_ip.as_deref() {
            None | Some("") => None,
            Some(text) => match text.trim_matches(['[', ']']).parse() {
                Ok(address) => Some(address),
                Err(_) => {
                    faults.push(Fault::new(path, format!("`{text}` is not an IP address")));
                    continue;
                }
            },
        };
        ports.push(PortSpec { host_ip, published, target: port.target, protocol });
    }
    ports
}
