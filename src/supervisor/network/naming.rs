//! The name server of a container.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::watch;

use super::{Attached, Network};
use crate::network::dns::{NameEntry, Server, Upstream, View};
use crate::network::netns::{Resolver, ResolverSockets};
use crate::network::spec::EndpointSpec;
use crate::record::{ContainerRecord, EndpointState};
use crate::supervisor::error::SupervisorError;

impl Network {
    /// Starts the name server of a namespace and makes the container known.
    pub(super) fn serve(
        &self,
        record: &ContainerRecord,
        namespace: Arc<OwnedFd>,
        endpoints: Vec<EndpointState>,
        resolver: Option<ResolverSockets>,
    ) -> Result<Attached, SupervisorError> {
        let server = self.name_server(record, &namespace, resolver.as_ref())?;
        self.names.set(&record.id, name_entries(record, &endpoints));
        let mut attached = Attached {
            namespace,
            endpoints,
            resolver,
            server,
            target: watch::Sender::new(None),
            reservations: Vec::new(),
            proxies: Vec::new(),
        };
        attached.target.send_replace(attached.addresses().first().copied());
        attached.proxies.clear();
        Ok(attached)
    }

    pub(super) fn name_server(
        &self,
        record: &ContainerRecord,
        namespace: &Arc<OwnedFd>,
        resolver: Option<&ResolverSockets>,
    ) -> Result<Option<Server>, SupervisorError> {
        let Some(sockets) = resolver else { return Ok(None) };
        let upstream = self.upstream(record, namespace);
        let server = Server::start(sockets, self.names.clone(), self.view(record), upstream, &self.name_budget);
        server.map(Some).map_err(SupervisorError::system("serve names"))
    }

    pub(super) fn upstream(&self, record: &ContainerRecord, namespace: &Arc<OwnedFd>) -> Upstream {
        let leases = self.leases.borrow();
        let inside = |endpoint: &EndpointSpec| leases.get(&endpoint.network).is_some_and(|lease| lease.internal);
        if !record.dns.servers.is_empty() {
            Upstream::Container { namespace: Arc::clone(namespace), servers: record.dns.servers.clone() }
        } else if record.endpoints.iter().all(inside) {
            Upstream::Nobody
        } else {
            Upstream::Host(self.host.clone())
        }
    }

    pub(super) fn view(&self, record: &ContainerRecord) -> View {
        let keys = self.keys.borrow();
        let network = |endpoint: &EndpointSpec| {
            let key = keys.get(&endpoint.network).cloned().unwrap_or_else(|| endpoint.network.clone());
            (endpoint.network.clone(), key)
        };
        let declared = record.links.iter().map(|link| (link.alias.clone(), link.service.clone()));
        let connected = record.endpoints.iter().flat_map(|endpoint| endpoint.links.iter().cloned());
        View { networks: record.endpoints.iter().map(network).collect(), links: declared.chain(connected).collect() }
    }
}

/// A container that is a name server itself needs port 53.
pub(super) fn resolver(record: &ContainerRecord) -> Resolver {
    if record.endpoints.is_empty() {
        return Resolver::Absent;
    }
    // `53`, `53/udp` or `50-60/tcp`.
    let exposed = record.exposed.iter().filter_map(|port| {
        let (first, last) = port.split('/').next()?.split_once('-').unwrap_or((port.split('/').next()?, ""));
        let first: u16 = first.parse().ok()?;
        Some(first..=last.parse().unwrap_or(first))
    });
    Resolver::for_ports(exposed.flatten().chain(record.ports.iter().map(|port| port.target)))
}

pub(super) fn name_entries(record: &ContainerRecord, endpoints: &[EndpointState]) -> Vec<NameEntry> {
    let v4 = |address: Option<IpAddr>| address.and_then(|a| if let IpAddr::V4(a) = a { Some(a) } else { None });
    let v6 = |address: Option<IpAddr>| address.and_then(|a| if let IpAddr::V6(a) = a { Some(a) } else { None });
    endpoints
        .iter()
        .map(|state| {
            let mut names = vec![record.name.clone()];
            let aliases = record.endpoints.iter().filter(|spec| spec.network == state.network);
            for alias in aliases.flat_map(|spec| &spec.aliases) {
                if !names.contains(alias) {
                    names.push(alias.clone());
                }
            }
            NameEntry { network: state.network.clone(), names, ipv4: v4(state.ipv4), ipv6: v6(state.ipv6) }
        })
        .collect()
}
