//! A container that runs, in other networks than before.

use std::os::fd::AsFd;

use super::naming::{name_entries, resolver};
use super::{Attached, Network, blocking};
use crate::network::mend::Attachment;
use crate::network::netns::{self, Resolver};
use crate::network::spec::{EndpointState, NetworkSpec};
use crate::network::{NetworkError, Publication};
use crate::record::ContainerRecord;
use crate::supervisor::error::SupervisorError;
use crate::supervisor::kept::Keepsake;

impl Network {
    /// Makes a network known that is none of the project's, for a container that is in it.
    pub(in crate::supervisor) async fn borrow_network(&self, name: &str) -> Result<(), NetworkError> {
        if self.leases.borrow().contains_key(name) {
            return Ok(());
        }
        let spec = NetworkSpec {
            name: name.to_owned(),
            key: name.to_owned(),
            driver: String::new(),
            driver_opts: Default::default(),
            internal: false,
            enable_ipv4: true,
            enable_ipv6: false,
            ipam: Vec::new(),
            labels: Default::default(),
            external: true,
        };
        self.ensure(std::slice::from_ref(&spec)).await?;
        self.borrowed.borrow_mut().insert(name.to_owned());
        Ok(())
    }

    /// No container of the project is in it any more.
    pub(in crate::supervisor) async fn give_back_network(&self, name: &str) -> Result<(), NetworkError> {
        if self.borrowed.borrow_mut().remove(name) {
            self.leases.borrow_mut().remove(name);
            self.update_rules().await?;
        }
        Ok(())
    }

    /// Lays and removes cables of a container that runs, until it has those of its specs.
    pub(in crate::supervisor) async fn rewire(
        &self,
        attachment: Attachment,
    ) -> Result<Vec<EndpointState>, NetworkError> {
        let networks = self.networks.clone();
        blocking(move || networks.rewire(&attachment)).await
    }

    /// Names, published ports and the name server follow the cables. `record` has the networks of now.
    pub(in crate::supervisor) async fn rewired(
        &self,
        record: &ContainerRecord,
        attached: &mut Attached,
        endpoints: Vec<EndpointState>,
    ) -> Result<(), SupervisorError> {
        attached.endpoints = endpoints;
        self.names.set(&record.id, name_entries(record, &attached.endpoints));
        let wanted = resolver(record);
        if attached.resolver.is_none() && wanted != Resolver::Absent {
            attached.resolver =
                netns::bind_resolver(&attached.namespace, wanted).map_err(SupervisorError::system("serve names"))?;
            if let Some(sockets) = &attached.resolver {
                self.hold(&record.id, Keepsake::Resolver { udp: sockets.udp.as_fd(), tcp: sockets.tcp.as_fd() })?;
            }
        }
        // The sockets stay: who asks meanwhile is answered by the next.
        drop(attached.server.take());
        attached.server = self.name_server(record, &attached.namespace, attached.resolver.as_ref())?;
        attached.target.send_replace(attached.addresses().first().copied());
        self.publish(record, attached)?;
        let addresses = attached.addresses();
        let ports = attached.ports().into_iter();
        let publications: Vec<Publication> =
            ports.map(|port| Publication { port, addresses: addresses.clone() }).collect();
        if !publications.is_empty() {
            self.publications.borrow_mut().insert(record.id.clone(), publications);
        }
        Ok(self.update_rules().await?)
    }
}
