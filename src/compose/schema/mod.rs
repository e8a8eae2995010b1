//! Which attributes there are and what their values look like. One table for reading, `config --schema` and the docs.

mod build;
mod deploy;
mod empty;
mod json;
mod resource;
mod service;

pub use empty::{EmptyPair, EmptyText, empty_text};
pub use json::json_schema;
pub use resource::PROJECT;
pub(super) use resource::{EXTERNAL, INCLUDE};
pub(super) use service::{
    DEPENDENCY, DEVICE, DEVICE_REQUEST, ENV_FILE, EXTENDS, FILE_REFERENCE, MODEL_USE, NETWORK_ATTACHMENT, PORT, ULIMIT,
    VOLUME_MOUNT,
};
pub use service::{INSTALL, SERVICE};

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A string; numbers must be quoted.
    Text,
    /// A string; a number stands for its digits.
    TextOrNumber,
    /// A string; a number or boolean stands for its text.
    Scalar,
    /// A string or a boolean.
    TextOrFlag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A boolean, also as text.
    Flag,
    /// A whole number, also as text.
    Whole { min: i64, max: i64 },
    /// A number, also as text.
    Number,
    /// A number of bytes: `64m`; -1 is no limit.
    Size,
    /// A number of bytes that something takes up.
    Space,
    /// `1m30s`.
    Duration,
    /// Permission bits.
    Mode,
    /// Anything.
    Any,
    /// A list.
    List(&'static Shape),
    /// A list in which a repeated string counts once.
    Set(&'static Shape),
    /// A string or a list of strings.
    TextOrList,
    /// Names to values.
    Table(&'static Shape),
    /// `KEY: value` or `- KEY=value`.
    Pairs(EmptyPair),
    /// Known keys.
    Object(&'static Object),
    /// Known keys, or nothing at all.
    Nullable(&'static Object),
    /// A short syntax of its own.
    Special(Special),
}

/// Short syntaxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    Build,
    Command,
    ContainerName,
    HealthTest,
    DependsOn,
    Devices,
    DeviceCount,
    EnvFile,
    Extends,
    External,
    ExtraHosts,
    FileReferences,
    SecretReferences,
    Gpus,
    Include,
    Install,
    MacAddress,
    Models,
    Networks,
    Ports,
    ProviderOptions,
    PullPolicy,
    Restart,
    Script,
    Ssh,
    Ulimits,
    Volumes,
}

/// Known keys and their values. `x-…` keys are allowed everywhere.
#[derive(Debug)]
pub struct Object {
    /// What people call it.
    pub name: &'static str,
    pub attributes: &'static [(&'static str, Shape)],
    pub required: &'static [&'static str],
}

impl Object {
    /// The shape of an attribute.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&Shape> {
        self.attributes.iter().find(|(known, _)| *known == name).map(|(_, shape)| shape)
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.attributes.iter().map(|(name, _)| *name)
    }
}

const WHOLE: Shape = Shape::Whole { min: i64::MIN, max: i64::MAX };
const COUNT: Shape = Shape::Whole { min: 0, max: u32::MAX as i64 };
const LABELS: Shape = Shape::Pairs(EmptyPair::Blank);
const PAIRS: Shape = Shape::Pairs(EmptyPair::Refused);
const ENVIRONMENT: Shape = Shape::Pairs(EmptyPair::Unset);
const OPTIONS: Shape = Shape::Table(&Shape::Scalar);
const DRIVER_OPTIONS: Shape = Shape::Table(&Shape::TextOrNumber);
const TEXTS: Shape = Shape::Set(&Shape::Text);

/// `build` in its long form.
pub(super) fn build_object() -> &'static Object {
    &build::BUILD
}

/// The canonical form of a short syntax.
pub(super) fn object_of(special: Special) -> Option<&'static Shape> {
    static BUILD: Shape = Shape::Object(&build::BUILD);
    static DEPENDENCIES: Shape = Shape::Table(&Shape::Object(&DEPENDENCY));
    static DEVICES: Shape = Shape::List(&Shape::Object(&DEVICE));
    static ENV_FILES: Shape = Shape::List(&Shape::Object(&ENV_FILE));
    static EXTENSION: Shape = Shape::Object(&EXTENDS);
    static FILES: Shape = Shape::List(&Shape::Object(&FILE_REFERENCE));
    static INSTALLS: Shape = Shape::Object(&INSTALL);
    static GPUS: Shape = Shape::List(&Shape::Object(&DEVICE_REQUEST));
    static INCLUDES: Shape = Shape::List(&Shape::Object(&INCLUDE));
    static MODELS: Shape = Shape::Table(&Shape::Nullable(&MODEL_USE));
    static NETWORKS: Shape = Shape::Table(&Shape::Nullable(&NETWORK_ATTACHMENT));
    static PORTS: Shape = Shape::List(&Shape::Object(&PORT));
    static ULIMITS: Shape = Shape::Table(&Shape::Object(&ULIMIT));
    static MOUNTS: Shape = Shape::List(&Shape::Object(&VOLUME_MOUNT));
    match special {
        Special::Build => Some(&BUILD),
        Special::DependsOn => Some(&DEPENDENCIES),
        Special::Devices => Some(&DEVICES),
        Special::EnvFile => Some(&ENV_FILES),
        Special::Extends => Some(&EXTENSION),
        Special::FileReferences | Special::SecretReferences => Some(&FILES),
        Special::Gpus => Some(&GPUS),
        Special::Include => Some(&INCLUDES),
        Special::Install => Some(&INSTALLS),
        Special::Models => Some(&MODELS),
        Special::Networks => Some(&NETWORKS),
        Special::Ports => Some(&PORTS),
        Special::Ulimits => Some(&ULIMITS),
        Special::Volumes => Some(&MOUNTS),
        Special::Command
        | Special::ContainerName
        | Special::HealthTest
        | Special::DeviceCount
        | Special::External
        | Special::ExtraHosts
        | Special::MacAddress
        | Special::ProviderOptions
        | Special::PullPolicy
        | Special::Restart
        | Special::Script
        | Special::Ssh => None,
    }
}

/// The paths of all attributes, `*` for names and indexes.
#[must_use]
pub fn paths() -> Vec<String> {
    attributes().into_iter().map(|(path, _)| path).collect()
}

/// The same, with what an empty text means for each.
#[must_use]
pub fn attributes() -> Vec<(String, EmptyText)> {
    let mut all = Vec::new();
    below(&PROJECT, "", &mut all);
    all
}

fn below(known: &Object, path: &str, all: &mut Vec<(String, EmptyText)>) {
    for (name, shape) in known.attributes {
        let path = if path.is_empty() { (*name).to_owned() } else { format!("{path}.{name}") };
        all.push((path.clone(), empty_text(known, name)));
        let mut shape = match shape {
            Shape::Special(special) => object_of(*special).unwrap_or(shape),
            shape => shape,
        };
        let mut inner = path;
        while let Shape::Table(item) | Shape::List(item) | Shape::Set(item) = shape {
            inner.push_str(".*");
            shape = item;
        }
        if let Shape::Object(known) | Shape::Nullable(known) = shape {
            below(known, &inner, all);
        }
    }
}
