//! The driver options of networks that Docker's bridge driver knows.

use std::net::IpAddr;

use super::error::{NetworkError, Result};
use super::names::check_interface;
use super::spec::NetworkSpec;

/// `driver_opts` of a network, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub mtu: Option<u32>,
    pub masquerade: bool,
    pub inter_container: bool,
    pub interface_prefix: String,
    pub host_binding: Option<IpAddr>,
    pub bridge: Option<String>,
    /// Options without effect here.
    pub ignored: Vec<String>,
}

/// Those that have an effect.
pub const KNOWN_OPTIONS: &[&str] = &[
    "com.docker.network.driver.mtu",
    "com.docker.network.bridge.enable_ip_masquerade",
    "com.docker.network.bridge.enable_icc",
    "com.docker.network.container_iface_prefix",
    "com.docker.network.bridge.host_binding_ipv4",
    "com.docker.network.bridge.name",
];

/// The driver options of a network that have no effect.
///
/// # Errors
/// When one that has an effect has no such value.
pub fn ignored_options(spec: &NetworkSpec) -> Result<Vec<String>> {
    Options::read(spec).map(|options| options.ignored)
}

impl Options {
    /// # Errors
    /// When the value of an option that is known cannot be used. One that is not known is among the `ignored`.
    pub fn read(spec: &NetworkSpec) -> Result<Self> {
        let mut options = Self {
            mtu: None,
            masquerade: true,
            inter_container: true,
            interface_prefix: "eth".to_owned(),
            host_binding: None,
            bridge: None,
            ignored: Vec::new(),
        };
        for (key, value) in &spec.driver_opts {
            let bad = |reason| NetworkError::Option {
                network: spec.name.clone(),
                option: key.clone(),
                value: value.clone(),
                reason,
            };
            let boolean = || match value.to_ascii_lowercase().as_str() {
                "true" | "1" | "t" => Ok(true),
                "false" | "0" | "f" => Ok(false),
                _ => Err(bad("expected `true` or `false`")),
            };
            match key.as_str() {
                "com.docker.network.driver.mtu" | "mtu" => {
                    let mtu = value.parse().map_err(|_| bad("expected a number of bytes"))?;
                    if !(68..=65535).contains(&mtu) {
                        return Err(bad("it must be between 68 and 65535"));
                    }
                    options.mtu = Some(mtu).filter(|&mtu| mtu != 0);
                }
                "com.docker.network.bridge.enable_ip_masquerade" => options.masquerade = boolean()?,
                "com.docker.network.bridge.enable_icc" => options.inter_container = boolean()?,
                "com.docker.network.container_iface_prefix" => {
                    check_interface(&format!("{value}0"))?;
                    options.interface_prefix.clone_from(value);
                }
                "com.docker.network.bridge.host_binding_ipv4" => {
                    options.host_binding = Some(value.parse().map_err(|_| bad("expected an address"))?);
                }
                "com.docker.network.bridge.name" => {
                    check_interface(value)?;
                    options.bridge = Some(value.clone());
                }
                _ => options.ignored.push(key.clone()),
            }
        }
        Ok(options)
    }
}
