//! `windlass network connect` and `disconnect`: containers in other networks than their file says.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clap::Args;

use super::{Network, all, find};
use crate::cli::conversation::converge;
use crate::cli::exit::USAGE;
use crate::cli::{CommandError, CommandResult, Context};
use crate::message::Request;
use crate::network::spec::EndpointSpec;
use crate::network::{Networks, check_interface};
use crate::record::{ObservedContainer, inventory};
use crate::state::ProjectPaths;

/// Digits of an id that are enough to name a container, and its name for others.
const SHORT_ID: usize = 12;

/// Docker's option for the name of an interface.
const INTERFACE: &str = "com.docker.network.endpoint.ifname";

#[derive(Debug, Args)]
pub struct ConnectArgs {
    /// Another name under which containers of the network find it (can be repeated)
    #[arg(long = "alias", value_name = "NAME")]
    pub aliases: Vec<String>,
    /// Its IPv4 address there; a free one by default
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<Ipv4Addr>,
    /// Its IPv6 address there; a free one by default
    #[arg(long, value_name = "ADDRESS")]
    pub ip6: Option<Ipv6Addr>,
    /// Link-local address there (can be repeated)
    #[arg(long = "link-local-ip", value_name = "ADDRESS")]
    pub link_local: Vec<IpAddr>,
    /// The network with the highest has the default route; among equals, the first by name
    #[arg(long, value_name = "N", default_value_t = 0, allow_hyphen_values = true)]
    pub gw_priority: i64,
    /// Another name by which it alone finds a container (can be repeated)
    #[arg(long = "link", value_name = "CONTAINER[:ALIAS]")]
    pub links: Vec<String>,
    /// Option of its place there: `com.docker.network.endpoint.ifname=NAME` names its interface (can be repeated)
    #[arg(long = "driver-opt", value_name = "KEY=VALUE")]
    pub driver_opts: Vec<String>,
    /// Network by name or id
    pub network: String,
    /// Container by name or id, or the service of the project that has it
    #[arg(value_name = "CONTAINER|SERVICE")]
    pub container: String,
}

#[derive(Debug, Args)]
pub struct DisconnectArgs {
    /// It is no fault when the container, or its place in the network, is not there
    #[arg(short, long)]
    pub force: bool,
    /// Network by name or id
    pub network: String,
    /// Container by name or id, or the service of the project that has it
    #[arg(value_name = "CONTAINER|SERVICE")]
    pub container: String,
}

/// # Errors
/// When the network or container is not there, or it cannot be connected.
pub fn connect(args: &ConnectArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let links = args.links.iter().map(|text| link(text)).collect::<Result<_, _>>()?;
    let interface = interface(&args.driver_opts)?;
    let network = named(context, &args.network)?;
    let (project, container) = meant(context, &args.container)?;
    check_owner(context, &network, &project)?;
    let short = container.record.id.get(..SHORT_ID).unwrap_or(&container.record.id).to_owned();
    let mut aliases = vec![container.record.name.clone()];
    for alias in args.aliases.iter().chain([&short]) {
        if !aliases.contains(alias) {
            aliases.push(alias.clone());
        }
    }
    let endpoint = EndpointSpec {
        network: network.lease.name,
        aliases,
        ipv4: args.ip,
        ipv6: args.ip6,
        link_local: args.link_local.clone(),
        mac: None,
        interface,
        gateway_priority: args.gw_priority,
        driver_opts: BTreeMap::new(),
        links,
    };
    let request = Request::Connect { container: container.record.id, endpoint: Box::new(endpoint), again: false };
    converge(context, &project, &request, &context.progress("network connect"))?;
    Ok(0)
}

/// `db` or `db:store`: the name that it is known by, and what that stands for. Who is meant is looked for when it is asked
/// for by name, as by Docker.
fn link(text: &str) -> Result<(String, String), CommandError> {
    let (name, alias) = text.split_once(':').unwrap_or((text, text));
    if [name, alias].iter().any(|part| part.is_empty() || part.contains(|c: char| c == ':' || c.is_whitespace())) {
        return Err(
            CommandError::new(format!("--link: `{text}` is no link: CONTAINER or CONTAINER:ALIAS is")).code(USAGE)
        );
    }
    Ok((alias.to_owned(), name.to_owned()))
}

/// The one option of a place in a bridge network that has an effect: the name of the interface.
fn interface(options: &[String]) -> Result<Option<String>, CommandError> {
    let mut interface = None;
    for text in options {
        let Some((key, value)) =
            text.split_once('=').map(|(key, value)| (key.trim(), value.trim())).filter(|it| !it.0.is_empty())
        else {
            return Err(CommandError::new(format!("--driver-opt: `{text}` is no option: KEY=VALUE is")).code(USAGE));
        };
        if key != INTERFACE {
            return Err(CommandError::new(format!("--driver-opt: the option {key} has no effect in a bridge network"))
                .hint(format!("{INTERFACE}=NAME names the interface; there is no other option"))
                .code(USAGE));
        }
        check_interface(value)
            .map_err(|error| CommandError::caused(format!("--driver-opt {key}"), &error).code(USAGE))?;
        interface = Some(value.to_owned());
    }
    Ok(interface)
}

/// # Errors
/// When the network or container is not there, or the container not in it.
pub fn disconnect(args: &DisconnectArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let network = named(context, &args.network)?;
    let (project, container) = match meant(context, &args.container) {
        Ok(found) => found,
        Err(_) if args.force => return forget(context, &network, &args.container),
        Err(error) => return Err(error),
    };
    check_owner(context, &network, &project)?;
    let is_in = container.endpoints().iter().any(|endpoint| endpoint.network == network.lease.name);
    if args.force && !is_in {
        return forget(context, &network, &container.record.name);
    }
    let request = Request::Disconnect { container: container.record.id, network: network.lease.name, again: false };
    converge(context, &project, &request, &context.progress("network disconnect"))?;
    Ok(0)
}

/// Gives back the address of a container that is not there any more.
fn forget(context: &Context, network: &Network, name: &str) -> CommandResult {
    let held = network.lease.endpoints.iter().filter(|(id, endpoint)| endpoint.holder(id) == name);
    let ids: Vec<&str> = held.map(|(id, _)| id.as_str()).collect();
    if !ids.is_empty() {
        Networks::standalone(&context.paths).leave(&ids)?;
    }
    Ok(0)
}

fn named(context: &Context, text: &str) -> Result<Network, CommandError> {
    let networks = all(context)?;
    let found = find(&networks, text)?.map(|network| network.id.clone());
    let found = found.and_then(|id| networks.into_iter().find(|network| network.id == id));
    found.ok_or_else(|| {
        CommandError::new(format!("no such network: {text}"))
            .hint("`windlass network ls` lists them, `windlass network create` makes one")
    })
}

/// A project means its own network by a name that two have.
fn check_owner(context: &Context, network: &Network, project: &ProjectPaths) -> Result<(), CommandError> {
    let lease = &network.lease;
    let own = |other: &Network| other.lease.project_id == project.id() && other.lease.name == lease.name;
    if lease.project_id == project.id() || !all(context)?.iter().any(own) {
        return Ok(());
    }
    Err(CommandError::new(format!("project {} has a network {} of its own", project.name(), lease.name))
        .hint("two networks of one name cannot be in one container: give one of them another name"))
}

/// By name, by the beginning of its id, or by its service.
fn meant(context: &Context, text: &str) -> Result<(ProjectPaths, ObservedContainer), CommandError> {
    let mut by_id = Vec::new();
    for name in inventory::projects(&context.paths)? {
        let project = context.paths.project(&name);
        // A damaged record of another project is no reason not to find this one.
        for container in inventory::readable(&project).0 {
            if container.record.name == text {
                return Ok((project, container));
            }
            if text.len() >= SHORT_ID && container.record.id.starts_with(text) {
                by_id.push((project.clone(), container));
            }
        }
    }
    if let Some(found) = by_id.pop() {
        return Ok(found);
    }
    let unknown = || {
        CommandError::new(format!("no such container: {text}"))
            .hint("name a container, its id, or a service of the project; `windlass ps -a` lists them")
    };
    let (project, _) = context.identified(&[]).map_err(|_| unknown())?;
    let (found, _) = inventory::readable(&project);
    let mut found = found.into_iter().filter(|have| have.record.service == text && !have.record.oneoff);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok((project, one)),
        (Some(one), Some(other)) => Err(CommandError::new(format!("service {text} has several containers"))
            .hint(format!("name one of them: {}, {}", one.record.name, other.record.name))),
        (None, _) => Err(unknown()),
    }
}
