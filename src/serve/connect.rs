//! `network connect` and `network disconnect` in the supervisor's process.

use super::engine::Engine;
use crate::message::Failure;
use crate::network::NetworkError;
use crate::network::spec::EndpointSpec;
use crate::supervisor::SupervisorError;

impl Engine {
    pub(super) async fn connect(&self, container: &str, endpoint: EndpointSpec, again: bool) -> Result<i32, Failure> {
        let (name, network) = (self.project.name_of(container), endpoint.network.clone());
        let connected = self.project.connect(container, endpoint, again).await;
        let message = format!("cannot connect container {name} to network {network}");
        connected.map(|()| 0).map_err(|error| explained(message, &error))
    }

    pub(super) async fn disconnect(&self, container: &str, network: &str, again: bool) -> Result<i32, Failure> {
        let message = format!("cannot disconnect container {} from network {network}", self.project.name_of(container));
        let disconnected = self.project.disconnect(container, network, again).await;
        disconnected.map(|()| 0).map_err(|error| explained(message, &error))
    }
}

fn explained(message: String, error: &SupervisorError) -> Failure {
    let failure = Failure::caused(message, error);
    match error {
        SupervisorError::Connected { .. } => failure.hint("to change its place there, disconnect it first"),
        SupervisorError::NotConnected { .. } => {
            failure.hint("`windlass network inspect` shows who is in a network; -f is content when nobody is")
        }
        SupervisorError::NoNetworks { .. } => {
            failure.hint("take `network_mode` out of its service, and make it anew with `windlass up -d`")
        }
        SupervisorError::Network(NetworkError::AddressTaken { .. } | NetworkError::AddressInvalid { .. }) => {
            failure.hint("choose another --ip, or leave it out to get a free one")
        }
        SupervisorError::Network(NetworkError::OutsideSubnet { .. }) => {
            failure.hint("`windlass network inspect` shows the subnets; without --ip there is a free address")
        }
        _ => failure,
    }
}
