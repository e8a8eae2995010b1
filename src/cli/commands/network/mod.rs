//! `windlass network`: the networks of all projects. Flags and columns are those of `docker network`.

mod connect;
mod create;

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::cli::confirm::confirmed;
use crate::cli::filter::Filters;
use crate::cli::ui::format::{Listing, Row};
use crate::cli::ui::narrow::Narrow;
use crate::cli::ui::stdout;
use crate::cli::{CommandError, CommandResult, Context, dry, objects};
use crate::image::Digest;
use crate::network::{NetworkLease, Networks};
use crate::record::{ProjectRecord, inventory};
use crate::state::record;

#[derive(Debug, Subcommand)]
pub enum NetworkCommand {
    /// List networks
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// Make a network, as for `external: true`
    Create(create::CreateArgs),
    /// Put a container into a network, besides those of its file
    Connect(connect::ConnectArgs),
    /// Take a container out of a network
    Disconnect(connect::DisconnectArgs),
    /// Show everything that is known about networks
    Inspect(InspectArgs),
    /// Remove networks that no container uses
    #[command(visible_alias = "remove")]
    Rm(RmArgs),
    /// Remove all networks that no container uses
    Prune(PruneArgs),
}

#[derive(Debug, Args)]
pub struct LsArgs {
    /// `dangling=true|false`, `driver=bridge`, `id=START`, `label=KEY[=VALUE]`, `name=PART`, `project=NAME` (can be repeated)
    #[arg(short, long = "filter", value_name = "FILTER")]
    pub filters: Vec<String>,
    /// `table`, `json`, `table TEMPLATE` or a template such as `{{.Name}}`
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Do not shorten ids
    #[arg(long)]
    pub no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Networks by name or id
    #[arg(value_name = "NETWORK", required = true)]
    pub names: Vec<String>,
    /// `json`, or a template such as `{{.Name}}`
    #[arg(short, long, value_name = "FORMAT", default_value = "json")]
    pub format: String,
}

#[derive(Debug, Args)]
pub struct RmArgs {
    /// Networks by name or id
    #[arg(value_name = "NETWORK", required = true)]
    pub names: Vec<String>,
    /// A network that is not there is no fault
    #[arg(short, long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
    /// `label=KEY[=VALUE]`, `label!=KEY[=VALUE]`, `project=NAME` (can be repeated)
    #[arg(long = "filter", value_name = "FILTER")]
    pub filters: Vec<String>,
}

const LISTING: Listing = Listing {
    fields: &["CreatedAt", "Driver", "ID", "IPv4", "IPv6", "Internal", "Labels", "Name", "Scope"],
    columns: &["ID", "Name", "Driver", "Scope"],
    title,
    min_width: 10,
    gap: 3,
    narrow: Narrow { leave_out: &["Scope", "Driver", "ID"], shorten: &[("Name", 10)] },
    json_array: false,
};

/// # Errors
/// Whatever the command fails with.
pub fn run(command: &NetworkCommand, context: &Context) -> CommandResult {
    match command {
        NetworkCommand::Ls(args) => ls(args, context),
        NetworkCommand::Create(args) => create::create(args, context),
        NetworkCommand::Connect(args) => connect::connect(args, context),
        NetworkCommand::Disconnect(args) => connect::disconnect(args, context),
        NetworkCommand::Inspect(args) => inspect(args, context),
        NetworkCommand::Rm(args) => rm(args, context),
        NetworkCommand::Prune(args) => prune(args, context),
    }
}

/// A network and what its project knows of it.
struct Network {
    lease: NetworkLease,
    id: String,
    labels: BTreeMap<String, String>,
}

fn all(context: &Context) -> Result<Vec<Network>, CommandError> {
    let mut networks = Vec::new();
    for lease in crate::network::leases(&context.paths)? {
        let paths = context.paths.project(&lease.project);
        let project = match lease.is_standalone() {
            true => None,
            false => record::read_if_whole::<ProjectRecord>(&paths.record()),
        };
        let spec = project.and_then(|project| project.networks.into_iter().find(|spec| spec.name == lease.name));
        let mut labels = spec.as_ref().map(|spec| spec.labels.clone()).unwrap_or_default();
        labels.extend(lease.labels.clone());
        if !lease.is_standalone() {
            labels.entry("com.docker.compose.project".into()).or_insert_with(|| lease.project.clone());
        }
        if let Some(spec) = spec {
            labels.entry("com.docker.compose.network".into()).or_insert(spec.key);
        }
        let id = id(&lease);
        networks.push(Network { lease, id, labels });
    }
    networks.sort_by(|a, b| (&a.lease.name, &a.lease.project).cmp(&(&b.lease.name, &b.lease.project)));
    Ok(networks)
}

/// As long as Docker's, and the same as long as it exists.
fn id(lease: &NetworkLease) -> String {
    Digest::of(format!("{}/{}", lease.project_id, lease.name).as_bytes()).hex()
}

fn find<'a>(networks: &'a [Network], text: &str) -> Result<Option<&'a Network>, CommandError> {
    let named: Vec<&Network> = networks.iter().filter(|network| network.lease.name == text).collect();
    let found = match named.is_empty() {
        true => networks.iter().filter(|network| !text.is_empty() && network.id.starts_with(text)).collect(),
        false => named,
    };
    match &found[..] {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => Err(CommandError::new(format!("several networks are called {text}"))
            .hint("name one by its id: `windlass network ls`")),
    }
}

fn ls(args: &LsArgs, context: &Context) -> CommandResult {
    let format = LISTING.parse(args.format.as_deref())?;
    let filters = Filters::parse(&args.filters, &["dangling", "driver", "id", "label", "label!", "name", "project"])?;
    let dangling = filters.flag("dangling")?;
    let mut networks = all(context)?;
    networks.retain(|network| {
        filters.labels(&network.labels)
            && filters.any("name", |part| network.lease.name.contains(part))
            && filters.any("id", |start| network.id.starts_with(start))
            && filters.any("driver", |driver| driver == "bridge")
            && filters.any("project", |project| network.lease.project == project)
            && dangling.is_none_or(|dangling| network.lease.endpoints.is_empty() == dangling)
    });
    let id = |network: &Network| if args.no_trunc { network.id.clone() } else { network.id.chars().take(12).collect() };
    if args.quiet {
        networks.iter().for_each(|network| println!("{}", id(network)));
        return Ok(0);
    }
    let rows: Vec<Row> = networks
        .iter()
        .map(|network| {
            let labels: Vec<String> = network.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let value = json!({
                "CreatedAt": "",
                "Driver": "bridge",
                "ID": id(network),
                "IPv4": network.lease.subnet(true).is_some().to_string(),
                "IPv6": network.lease.subnet(false).is_some().to_string(),
                "Internal": network.lease.internal.to_string(),
                "Labels": labels.join(","),
                "Name": network.lease.name,
                "Scope": "local",
            });
            let mut row = match value {
                Value::Object(fields) => Row::new(fields),
                _ => Row::default(),
            };
            row.labels.clone_from(&network.labels);
            row
        })
        .collect();
    print!("{}", LISTING.render_in(&format, &rows, stdout::columns())?);
    Ok(0)
}

fn inspect(args: &InspectArgs, context: &Context) -> CommandResult {
    let networks = all(context)?;
    objects::inspect("network", &args.names, &args.format, |name| Ok(find(&networks, name)?.map(description)))
}

fn description(network: &Network) -> Map<String, Value> {
    let lease = &network.lease;
    let pools: Vec<Value> = lease
        .subnets
        .iter()
        .map(|subnet| {
            let mut pool = json!({"Subnet": subnet.subnet, "Gateway": subnet.gateway});
            if let Some(range) = subnet.range {
                pool["IPRange"] = json!(range);
            }
            pool
        })
        .collect();
    let prefix = |ipv4| lease.subnet(ipv4).map_or(0, |subnet| subnet.subnet.prefix());
    let containers: Map<String, Value> = lease
        .endpoints
        .iter()
        .map(|(container, endpoint)| {
            let value = json!({
                "Name": endpoint.holder(container),
                "IPv4Address": endpoint.ipv4.map(|ip| format!("{ip}/{}", prefix(true))).unwrap_or_default(),
                "IPv6Address": endpoint.ipv6.map(|ip| format!("{ip}/{}", prefix(false))).unwrap_or_default(),
            });
            (container.clone(), value)
        })
        .collect();
    let value = json!({
        "Name": lease.name,
        "Id": network.id,
        "Scope": "local",
        "Driver": "bridge",
        "EnableIPv4": lease.subnet(true).is_some(),
        "EnableIPv6": lease.subnet(false).is_some(),
        "IPAM": {"Driver": "default", "Config": pools},
        "Internal": lease.internal,
        "Containers": containers,
        "Options": {"com.docker.network.bridge.name": lease.bridge, "com.docker.network.driver.mtu": lease.mtu.to_string()},
        "Labels": network.labels,
    });
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn rm(args: &RmArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let networks = all(context)?;
    objects::remove_each("network", &args.names, args.force, context, |name| {
        find(&networks, name)?.map(|network| remove(context, &network.lease)).transpose().map(|found| found.is_some())
    })
}

fn remove(context: &Context, lease: &NetworkLease) -> Result<(), CommandError> {
    let users: Vec<&str> = lease.endpoints.iter().map(|(id, endpoint)| endpoint.holder(id)).collect();
    if !users.is_empty() {
        return Err(CommandError::new(format!("network {} is in use by {}", lease.name, users.join(", ")))
            .hint("take the containers down first: `windlass -p PROJECT down`"));
    }
    if context.global.dry_run {
        return Ok(());
    }
    let networks = match lease.is_standalone() {
        true => Networks::standalone(&context.paths),
        false => Networks::new(&context.paths, &context.paths.project(&lease.project)),
    };
    match networks.remove(&[&lease.name])?.into_iter().next() {
        Some(in_use) => Err(in_use.into()),
        None => Ok(()),
    }
}

fn prune(args: &PruneArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let filters = Filters::parse(&args.filters, &["label", "label!", "project"])?;
    if context.global.dry_run {
        dry::tell(prune_now(context, &filters)?.iter().map(|name| format!("remove network {name}: nobody uses it")));
        return Ok(0);
    }
    if !args.force && !confirmed("This will remove all custom networks not used by at least one container.")? {
        return Ok(0);
    }
    let removed = prune_now(context, &filters)?;
    if !removed.is_empty() {
        println!("Deleted Networks:");
        removed.iter().for_each(|name| println!("{name}"));
    }
    Ok(0)
}

/// Removes the networks of projects that have no container; answers with their names. A dry run only does the latter.
pub(super) fn prune_now(context: &Context, filters: &Filters) -> Result<Vec<String>, CommandError> {
    let mut removed = Vec::new();
    for network in all(context)? {
        let lease = &network.lease;
        let chosen = filters.labels(&network.labels) && filters.any("project", |project| lease.project == project);
        // A container that was made and not started yet has no endpoint, but will want its network.
        // What cannot be read may want it too.
        let containers = inventory::containers(&context.paths.project(&lease.project));
        let wanted = !lease.is_standalone() && containers.map_or(true, |found| !found.is_empty());
        if chosen && lease.endpoints.is_empty() && !wanted {
            remove(context, lease)?;
            removed.push(lease.name.clone());
        }
    }
    if !context.global.dry_run {
        crate::network::discard_damaged(&context.paths)?;
    }
    Ok(removed)
}

fn title(field: &str) -> String {
    match field {
        "ID" => "NETWORK ID".into(),
        "CreatedAt" => "CREATED AT".into(),
        other => other.to_uppercase(),
    }
}
