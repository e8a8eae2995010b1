//! The typed model of a loaded project: canonical, merged, interpolated, normalised and checked.
//!
//! Field order is that of the canonical form that `config` prints. Everything round-trips through JSON.

mod build;
mod deploy;
mod mount;
mod project;
mod resource;
mod service;
mod value;

pub use build::Build;
pub use deploy::{
    Deploy, DiscreteResource, GenericResource, Placement, PlacementPreference, Reservations, ResourceLimits, Resources,
    RestartPolicy, UpdateConfig,
};
pub use mount::{
    BindOptions, FileMode, FileReference, ImageOptions, TmpfsOptions, VolumeMount, VolumeMountType, VolumeOptions,
};
pub use project::{DeclaredVersion, Place, Project};
pub use resource::{ConfigObject, IpamConfig, IpamPool, Model, Network, Secret, Volume};
pub use service::{
    BlkioConfig, BlkioLimit, BlkioWeight, Condition, CredentialSpec, Dependency, DependencyOrigin, Develop, Device,
    DeviceCount, DeviceRequest, EnvFile, Extends, Healthcheck, Hook, HostRootfs, Install, Logging, NetworkAttachment,
    Port, PreStartHook, Protocol, Provider, Service, ServiceModel, Ulimit, WatchAction, WatchRule, Windlass,
};
pub use value::{Bytes, Duration, PortRange};

use indexmap::IndexMap;

/// `x-…` keys and their values.
pub type Extensions = IndexMap<String, serde_json::Value>;
/// `KEY=VALUE` pairs.
pub type Mapping = IndexMap<String, String>;

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A plain record of the model: absent keys take the default, defaults are not written.
macro_rules! record {
    ($(#[$meta:meta])* pub struct $name:ident { $( $(#[$field_meta:meta])* pub $field:ident : $type:ty ),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[serde(skip_serializing_if = "crate::compose::model::is_default")]
                pub $field: $type,
            )*
        }
    };
}
pub(crate) use record;
