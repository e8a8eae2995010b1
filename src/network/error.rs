//! What can go wrong, in words for people.

use std::io;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::ports::PortConflict;
use crate::state::record::{ReadError, WriteError};

#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("cannot {action}")]
    Kernel { action: String, source: io::Error },
    #[error("cannot lock the address leases")]
    Lock { source: io::Error },
    #[error("{0}")]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("network {network}: the driver `{driver}` is not supported; use `bridge`")]
    Driver { network: String, driver: String },
    #[error("network {network}: `{value}` is not valid for {option}: {reason}")]
    Option { network: String, option: String, value: String, reason: &'static str },
    #[error("network {network} is declared external, but there is none of that name; create it first")]
    ExternalMissing { network: String },
    #[error("network {network} is declared external, but several projects have one of that name ({owners})")]
    ExternalAmbiguous { network: String, owners: String },
    #[error("network {network} is not known; it has to be created before containers are attached")]
    Unknown { network: String },
    #[error("network {network}: subnet {subnet} overlaps {other}; choose another `subnet`")]
    Overlap { network: String, subnet: IpNetwork, other: String },
    #[error("network {network}: {address} is not in the subnet {subnet}")]
    OutsideSubnet { network: String, address: IpAddr, subnet: IpNetwork },
    #[error("network {network}: ip_range {range} is not in the subnet {subnet}")]
    RangeOutsideSubnet { network: String, range: IpNetwork, subnet: IpNetwork },
    #[error("network {network}: {reason}")]
    Ipam { network: String, reason: String },
    #[error(
        "no free subnet for network {network}: every default pool overlaps a route of this host or another network; give a `subnet` under `ipam`"
    )]
    NoSubnet { network: String },
    #[error("network {network} already exists with other settings ({difference}); bring the project down first")]
    Changed { network: String, difference: String },
    #[error("network {network}: address {address} is already used by {holder}")]
    AddressTaken { network: String, address: IpAddr, holder: String },
    #[error("network {network}: address {address} cannot be given to a container: {reason}")]
    AddressInvalid { network: String, address: IpAddr, reason: String },
    #[error("network {network}: no free address is left in {subnet}")]
    NoAddress { network: String, subnet: IpNetwork },
    #[error("network {network} is still used by {users}")]
    InUse { network: String, users: String },
    #[error("`{mac}` is not a usable MAC address: {reason}")]
    Mac { mac: String, reason: &'static str },
    #[error("`{name}` is not a usable interface name: {reason}")]
    Interface { name: String, reason: &'static str },
    #[error(transparent)]
    Port(#[from] PortConflict),
}

impl NetworkError {
    pub(super) fn kernel(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Kernel { action, source }
    }
}

pub type Result<T, E = NetworkError> = std::result::Result<T, E>;
