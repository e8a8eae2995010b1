//! `windlass network create`: a network of nobody's file, for `external: true`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use clap::Args;
use ipnetwork::IpNetwork;

use super::id;
use crate::cli::exit::USAGE;
use crate::cli::objects::pair;
use crate::cli::{CommandError, CommandResult, Context};
use crate::network::spec::{IpamConfig, NetworkSpec};
use crate::network::{Claims, Networks};

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Driver; `bridge` is the only one there is
    #[arg(short, long, value_name = "DRIVER", default_value = "bridge")]
    pub driver: String,
    /// Subnet in CIDR form, one of each IP version (can be repeated)
    #[arg(long = "subnet", value_name = "SUBNET")]
    pub subnets: Vec<IpNetwork>,
    /// The bridge's own address in a subnet (can be repeated)
    #[arg(long = "gateway", value_name = "ADDRESS")]
    pub gateways: Vec<IpAddr>,
    /// Give out addresses of this part of a subnet (can be repeated)
    #[arg(long = "ip-range", value_name = "RANGE")]
    pub ranges: Vec<IpNetwork>,
    /// An address that is never given out (can be repeated)
    #[arg(long = "aux-address", value_name = "NAME=ADDRESS")]
    pub aux_addresses: Vec<String>,
    /// No way out, and none in
    #[arg(long)]
    pub internal: bool,
    /// IPv4 too
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub ipv4: bool,
    /// IPv6 too
    #[arg(long, value_name = "BOOL", default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub ipv6: bool,
    /// Label (can be repeated)
    #[arg(long = "label", value_name = "KEY[=VALUE]")]
    pub labels: Vec<String>,
    /// Option of the driver, such as `com.docker.network.driver.mtu=1400` (can be repeated)
    #[arg(short, long = "opt", value_name = "KEY=VALUE")]
    pub options: Vec<String>,
    /// For scripts that say it: containers of every project can use the network anyway
    #[arg(long)]
    pub attachable: bool,
    pub name: String,
}

/// # Errors
/// When there is one of that name, or it cannot be as it is asked for.
pub fn create(args: &CreateArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-');
    if !args.name.starts_with(|char: char| char.is_ascii_alphanumeric()) || !args.name.chars().all(plain) {
        let message = format!("\"{}\" is no name of a network: letters, digits, `_`, `.` and `-` are", args.name);
        return Err(CommandError::new(message).code(USAGE));
    }
    if crate::network::leases(&context.paths)?.iter().any(|lease| lease.name == args.name) {
        return Err(CommandError::new(format!("network with name {} already exists", args.name)));
    }
    let spec = NetworkSpec {
        name: args.name.clone(),
        key: args.name.clone(),
        driver: args.driver.clone(),
        driver_opts: args.options.iter().map(|text| pair(text)).collect(),
        internal: args.internal,
        enable_ipv4: args.ipv4,
        enable_ipv6: args.ipv6,
        ipam: pools(args)?,
        labels: args.labels.iter().map(|text| pair(text)).collect(),
        external: false,
    };
    let made = Networks::standalone(&context.paths).ensure(std::slice::from_ref(&spec), &Claims::new())?;
    for lease in &made {
        println!("{}", id(lease));
    }
    Ok(0)
}

/// Each gateway, range and address belongs to the subnet that it is in.
fn pools(args: &CreateArgs) -> Result<Vec<IpamConfig>, CommandError> {
    let pool = |subnet| IpamConfig { subnet, ip_range: None, gateway: None, aux_addresses: BTreeMap::new() };
    let mut pools: Vec<IpamConfig> = args.subnets.iter().map(|subnet| pool(Some(*subnet))).collect();
    let outside = |what: &str, text: String| {
        CommandError::new(format!("{what} {text} is in no subnet that is given")).hint("say `--subnet` too").code(USAGE)
    };
    for gateway in &args.gateways {
        pool_of(&mut pools, *gateway).ok_or_else(|| outside("gateway", gateway.to_string()))?.gateway = Some(*gateway);
    }
    for range in &args.ranges {
        pool_of(&mut pools, range.ip()).ok_or_else(|| outside("range", range.to_string()))?.ip_range = Some(*range);
    }
    for text in &args.aux_addresses {
        let (name, address) = text.split_once('=').unwrap_or((text, text));
        let parsed = address
            .parse()
            .map_err(|_| CommandError::new(format!("--aux-address: `{address}` is not an address")).code(USAGE))?;
        let pool = pool_of(&mut pools, parsed).ok_or_else(|| outside("address", address.to_owned()))?;
        pool.aux_addresses.insert(name.to_owned(), parsed);
    }
    Ok(pools)
}

fn pool_of(pools: &mut [IpamConfig], address: IpAddr) -> Option<&mut IpamConfig> {
    pools.iter_mut().find(|pool| pool.subnet.is_some_and(|subnet| subnet.contains(address)))
}
