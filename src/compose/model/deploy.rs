//! `deploy` of a service.

use super::{Bytes, DeviceRequest, Duration, Extensions, Mapping, record};

record! {
    pub struct Deploy {
        pub mode: Option<String>,
        pub replicas: Option<u32>,
        pub labels: Mapping,
        pub update_config: Option<UpdateConfig>,
        pub rollback_config: Option<UpdateConfig>,
        pub resources: Resources,
        pub restart_policy: Option<RestartPolicy>,
        pub placement: Placement,
        pub endpoint_mode: Option<String>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct UpdateConfig {
        pub parallelism: Option<u64>,
        pub delay: Option<Duration>,
        pub failure_action: Option<String>,
        pub monitor: Option<Duration>,
        pub max_failure_ratio: Option<f64>,
        pub order: Option<String>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct Resources {
        pub limits: Option<ResourceLimits>,
        pub reservations: Option<Reservations>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct ResourceLimits {
        pub cpus: Option<f64>,
        pub memory: Option<Bytes>,
        pub pids: Option<i64>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct Reservations {
        pub cpus: Option<f64>,
        pub memory: Option<Bytes>,
        pub devices: Vec<DeviceRequest>,
        pub generic_resources: Vec<GenericResource>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct GenericResource {
        pub discrete_resource_spec: Option<DiscreteResource>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct DiscreteResource {
        pub kind: String,
        pub value: i64,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct RestartPolicy {
        /// `none`, `on-failure` or `any`.
        pub condition: Option<String>,
        pub delay: Option<Duration>,
        pub max_attempts: Option<u64>,
        pub window: Option<Duration>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct Placement {
        pub constraints: Vec<String>,
        pub preferences: Vec<PlacementPreference>,
        pub max_replicas_per_node: Option<u64>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct PlacementPreference {
        pub spread: Option<String>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}
