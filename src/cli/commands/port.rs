//! `windlass port`

use std::net::SocketAddr;

use clap::Args;

use crate::cli::containers::Containers;
use crate::cli::ui::ports::{self, Port};
use crate::cli::{CommandError, CommandResult, Context};
use crate::record::ObservedContainer;

#[derive(Debug, Args)]
pub struct PortArgs {
    /// Number of the replica
    #[arg(long, value_name = "N")]
    pub index: Option<u32>,
    /// tcp or udp
    #[arg(long, value_name = "PROTOCOL", default_value = "tcp", value_parser = ["tcp", "udp", "sctp", "TCP", "UDP", "SCTP"])]
    pub protocol: String,
    pub service: String,
    /// Port in the container: `80`, or `53/udp`
    #[arg(value_name = "PRIVATE_PORT")]
    pub port: String,
}

/// # Errors
/// When the service does not run, or does not publish the port.
pub fn run(args: &PortArgs, context: &Context) -> CommandResult {
    let (number, protocol) = args.port.split_once('/').unwrap_or((&args.port, &args.protocol));
    let wanted =
        number.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(|| {
            CommandError::new(format!("`{number}` is not a port")).hint("write a number from 1 to 65535")
        })?;
    let containers = Containers::of_service(context, &args.service)?;
    containers.check_services(std::slice::from_ref(&args.service))?;
    let container = containers.pick(&args.service, args.index, true)?;
    let address = published(container, wanted, &protocol.to_ascii_lowercase())
        .ok_or_else(|| not_published(container, wanted, protocol))?;
    println!("{address}");
    Ok(0)
}

/// The first of the addresses: an IPv4 one when there is one.
fn published(container: &ObservedContainer, target: u16, protocol: &str) -> Option<SocketAddr> {
    let ports = container.state.ports.iter();
    ports
        .filter(|port| port.target == target && ports::protocol(port.protocol) == protocol)
        .map(|port| SocketAddr::new(port.host_ip, port.published))
        .min()
}

fn not_published(container: &ObservedContainer, port: u16, protocol: &str) -> CommandError {
    let have: Vec<Port> = container
        .state
        .ports
        .iter()
        .map(|port| Port {
            host: Some((port.host_ip, port.published)),
            target: port.target,
            protocol: ports::protocol(port.protocol),
        })
        .collect();
    let have = if have.is_empty() { "it publishes none".to_owned() } else { ports::render(&have) };
    CommandError::new(format!("no port {port}/{protocol} for container {}: {have}", container.record.name))
}
