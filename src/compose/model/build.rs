//! `build` of a service.

use indexmap::IndexMap;

use super::{Bytes, Extensions, FileReference, Mapping, Ulimit, record};

record! {
    pub struct Build {
        /// Absolute path, or a URL.
        pub context: String,
        pub dockerfile: Option<String>,
        pub dockerfile_inline: Option<String>,
        pub entitlements: Vec<String>,
        /// `None` takes the value from the project's environment.
        pub args: IndexMap<String, Option<String>>,
        pub provenance: Option<String>,
        pub sbom: Option<String>,
        /// `default` or `id[=path]`.
        pub ssh: Vec<String>,
        pub labels: Mapping,
        pub cache_from: Vec<String>,
        pub cache_to: Vec<String>,
        pub no_cache: bool,
        pub no_cache_filter: Vec<String>,
        pub additional_contexts: Mapping,
        pub pull: bool,
        /// `HOST` to addresses.
        #[serde(deserialize_with = "super::value::hosts")]
        pub extra_hosts: IndexMap<String, Vec<String>>,
        pub isolation: Option<String>,
        pub network: Option<String>,
        pub target: Option<String>,
        pub secrets: Vec<FileReference>,
        pub shm_size: Option<Bytes>,
        pub tags: Vec<String>,
        pub ulimits: IndexMap<String, Ulimit>,
        pub platforms: Vec<String>,
        pub privileged: bool,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}
