//! Networks that a person connects a container to, or disconnects it from, besides what its file says: for as long as there
//! is the container.

use std::rc::Rc;
use std::sync::Arc;

use super::container::Container;
use super::error::SupervisorError;
use super::etc::{self, Addresses};
use super::project::Project;
use crate::network::mend::Attachment;
use crate::network::spec::EndpointSpec;
use crate::record::ContainerRecord;
use crate::runtime::spec::NetworkNamespace;

impl Container {
    /// Its record with the networks that it is to be in by now.
    pub(super) fn networked(&self) -> Rc<ContainerRecord> {
        let state = self.state();
        if state.connected.is_empty() && state.disconnected.is_empty() {
            return Rc::clone(&self.record);
        }
        Rc::new(ContainerRecord { endpoints: state.wanted_endpoints(&self.record), ..(*self.record).clone() })
    }

    /// The network that it has, with the endpoints that it is to have; each keeps the interface that it has.
    pub(super) fn attachment(&self) -> Option<Attachment> {
        let live = self.live.borrow();
        let network = live.network.as_ref()?;
        let states = network.endpoints.clone();
        let mut specs = self.networked().endpoints.clone();
        for spec in &mut specs {
            let state = states.iter().find(|state| state.network == spec.network);
            spec.interface = state.map(|state| state.interface.clone()).or_else(|| spec.interface.take());
        }
        Some(Attachment {
            container: self.record.id.clone(),
            // Nobody makes a one-off anew.
            name: if self.record.oneoff { String::new() } else { self.record.name.clone() },
            namespace: Arc::clone(&network.namespace),
            specs,
            states,
        })
    }
}

impl Project {
    /// Puts a container into a network: at once when it runs, and whenever it is started. `again`: a supervisor that died
    /// may have done it.
    ///
    /// # Errors
    /// When it is in it already, cannot be in any, or the network or the address cannot be had; it is as it was then.
    pub async fn connect(&self, id: &str, endpoint: EndpointSpec, again: bool) -> Result<(), SupervisorError> {
        let container = self.find(id)?;
        let _turn = container.turn.lock().await;
        check(&container)?;
        let (name, network) = (container.name(), endpoint.network.clone());
        if container.networked().endpoints.iter().any(|known| known.network == network) {
            if again {
                return self.rewire(&container).await;
            }
            return Err(SupervisorError::Connected { name, network });
        }
        self.inner.network.borrow_network(&network).await?;
        let before = container.state();
        container.update(|state| state.connected.push(endpoint));
        let result = self.rewire(&container).await;
        if result.is_err() {
            container.update(|state| state.connected.clone_from(&before.connected));
            let undone = self.rewire(&container).await;
            let given_back = self.give_back(&network).await;
            if let Err(error) = undone.and(given_back) {
                tracing::warn!(container = %container.record.name, "its networks are not as they were: {error}");
            }
        }
        result
    }

    /// Takes a container out of a network: at once when it runs, and for as long as it is there.
    ///
    /// # Errors
    /// When it is not in it, or the kernel refuses.
    pub async fn disconnect(&self, id: &str, network: &str, again: bool) -> Result<(), SupervisorError> {
        let container = self.find(id)?;
        let _turn = container.turn.lock().await;
        check(&container)?;
        if !again && !container.networked().endpoints.iter().any(|known| known.network == network) {
            return Err(SupervisorError::NotConnected { name: container.name(), network: network.to_owned() });
        }
        container.update(|state| {
            state.connected.retain(|endpoint| endpoint.network != network);
            let declared = container.record.endpoints.iter().any(|known| known.network == network);
            if declared && !state.disconnected.iter().any(|known| known == network) {
                state.disconnected.push(network.to_owned());
            }
        });
        self.rewire(&container).await?;
        self.give_back(network).await
    }

    /// What its containers were connected to, of those that a supervisor has just taken up.
    pub(super) async fn take_up_connections(&self) {
        for container in self.all() {
            let wanted = container.networked();
            let Some(has) = container.attachment() else { continue };
            let known = async {
                for endpoint in &container.state().connected {
                    self.inner.network.borrow_network(&endpoint.network).await?;
                }
                // It may have died between what it has noted and what it has done.
                let is_in = |endpoint: &EndpointSpec| has.states.iter().any(|state| state.network == endpoint.network);
                let all = wanted.endpoints.len() == has.states.len() && wanted.endpoints.iter().all(is_in);
                if all { Ok(()) } else { self.rewire(&container).await }
            };
            if let Err(error) = known.await {
                tracing::error!(container = %container.record.name, "its networks are not as they should be: {error}");
            }
        }
    }

    /// Makes the network of a container that has one what its state says.
    async fn rewire(&self, container: &Rc<Container>) -> Result<(), SupervisorError> {
        let Some(attachment) = container.attachment() else { return Ok(()) };
        let endpoints = self.inner.network.rewire(attachment).await?;
        let record = container.networked();
        let Some(mut attached) = container.live.borrow_mut().network.take() else { return Ok(()) };
        let rewired = self.inner.network.rewired(&record, &mut attached, endpoints).await;
        container.live.borrow_mut().network = Some(attached);
        rewired?;
        let (endpoints, ports) = container.live.borrow().connections();
        container.update(|state| {
            state.endpoints = endpoints;
            state.ports = ports;
        });
        let own = container.live.borrow().network.as_ref().map(|network| network.addresses()).unwrap_or_default();
        etc::write(&record, &Addresses { own, gateway: self.inner.network.gateway(&record) })
    }

    /// The project has no more to do with a network that none of its containers is in.
    async fn give_back(&self, network: &str) -> Result<(), SupervisorError> {
        let uses = |container: &Rc<Container>| {
            container.networked().endpoints.iter().any(|endpoint| endpoint.network == network)
        };
        if !self.all().iter().any(uses) {
            self.inner.network.give_back_network(network).await?;
        }
        Ok(())
    }
}

/// Whether it has a network of its own that cables can be laid to.
fn check(container: &Container) -> Result<(), SupervisorError> {
    let record = &container.record;
    let why = match &record.spec.namespaces.network {
        _ if container.removed.get() => return Err(SupervisorError::Unknown { id: record.id.clone() }),
        NetworkNamespace::Host => "it is in the network of this machine",
        NetworkNamespace::Container(_) => "it is in the network of another container",
        NetworkNamespace::Passed if record.endpoints.is_empty() => "it has `network_mode: none`",
        NetworkNamespace::Passed => return Ok(()),
    };
    Err(SupervisorError::NoNetworks { name: container.name(), why })
}
