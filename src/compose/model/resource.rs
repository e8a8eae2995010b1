//! Top-level resources: networks, volumes, secrets, configs, models.

use super::{Extensions, Mapping, record};

record! {
    pub struct Network {
        /// Full name: `<project>_<key>` unless the file names it.
        pub name: String,
        pub driver: Option<String>,
        pub driver_opts: Mapping,
        pub ipam: IpamConfig,
        pub external: bool,
        pub internal: bool,
        pub attachable: bool,
        pub labels: Mapping,
        pub enable_ipv4: Option<bool>,
        pub enable_ipv6: Option<bool>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct IpamConfig {
        pub driver: Option<String>,
        pub config: Vec<IpamPool>,
        pub options: Mapping,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct IpamPool {
        pub subnet: Option<String>,
        pub gateway: Option<String>,
        pub ip_range: Option<String>,
        pub aux_addresses: Mapping,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct Volume {
        /// Full name: `<project>_<key>` unless the file names it.
        pub name: String,
        pub driver: Option<String>,
        pub driver_opts: Mapping,
        pub external: bool,
        pub labels: Mapping,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    /// Exactly one of `file`, `environment` and `external` is set.
    pub struct Secret {
        pub name: String,
        /// Absolute path.
        pub file: Option<String>,
        /// Name of a variable of the project's environment.
        pub environment: Option<String>,
        /// Value of the variable that `environment` names, taken at loading; never printed.
        #[serde(rename = "#content")]
        pub content: Option<String>,
        pub external: bool,
        pub labels: Mapping,
        pub driver: Option<String>,
        pub driver_opts: Mapping,
        pub template_driver: Option<String>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    /// Exactly one of `file`, `environment`, `content` and `external` is set.
    pub struct ConfigObject {
        pub name: String,
        /// Absolute path.
        pub file: Option<String>,
        /// Name of a variable of the project's environment.
        pub environment: Option<String>,
        /// Also the value of the variable that `environment` names, taken at loading.
        pub content: Option<String>,
        pub external: bool,
        pub labels: Mapping,
        pub template_driver: Option<String>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct Model {
        pub name: String,
        pub model: String,
        pub context_size: Option<i64>,
        pub runtime_flags: Vec<String>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}
