//! What a registry of npm says of a package.

use std::collections::BTreeMap;
use std::io::Read;

use serde::Deserialize;

use super::error::ToolchainError;
use super::{Archive, NpmRegistry};
use crate::image::registry::web::{Web, Wish};
use crate::language::{Range, Version};

/// Without readme and changelog, and with what is wanted here.
const ABBREVIATED: &str = "application/vnd.npm.install-v1+json";
/// Larger answers are not read; npm itself, with all its versions, has 3 MB.
const LARGEST: u64 = 64 << 20;

/// The versions of a package.
#[derive(Debug, Deserialize)]
pub(super) struct Package {
    #[serde(skip)]
    name: String,
    #[serde(default)]
    versions: BTreeMap<String, Release>,
}

#[derive(Debug, Deserialize)]
struct Release {
    dist: Dist,
    #[serde(default)]
    engines: serde_json::Value,
}

#[derive(Debug, Deserialize)]
struct Dist {
    #[serde(default)]
    integrity: Option<String>,
}

impl Package {
    pub fn read(web: &Web, registry: &NpmRegistry, name: &str) -> Result<Self, ToolchainError> {
        let NpmRegistry { url, token } = registry;
        let registry = url.trim_end_matches('/');
        let wish = Wish {
            url: &format!("{registry}/{name}"),
            accept: Some(ABBREVIATED),
            token: token.as_deref(),
            what: &format!("package {name}"),
        };
        let protocol = |why: String| ToolchainError::Protocol { host: registry.to_owned(), why };
        let mut text = Vec::new();
        let body = web.get(&wish)?.body;
        body.take(LARGEST + 1).read_to_end(&mut text).map_err(ToolchainError::io("receive", wish.url))?;
        if text.len() as u64 > LARGEST {
            return Err(ToolchainError::TooLarge { what: format!("the answer of {registry}"), limit: LARGEST >> 20 });
        }
        let read: Self = serde_json::from_slice(&text).map_err(|error| protocol(error.to_string()))?;
        Ok(Self { name: name.to_owned(), ..read })
    }

    pub fn versions(&self) -> Vec<Version> {
        self.versions.keys().filter_map(|text| Version::parse(text)).collect()
    }

    /// Which versions of Node.js a version of the package works with.
    pub fn works_with(&self, version: &Version) -> Option<Range> {
        let engines = self.versions.get(&version.to_string())?.engines.get("node")?.as_str()?;
        Range::npm(engines).ok()
    }

    /// The digest of the archive of a version.
    pub fn integrity(&self, version: &Version, registry: &str) -> Result<String, ToolchainError> {
        let protocol = |why: String| ToolchainError::Protocol { host: registry.to_owned(), why };
        let text = version.to_string();
        let release = self.versions.get(&text).ok_or_else(|| protocol(format!("{} {text} is gone", self.name)))?;
        let listed = release.dist.integrity.as_deref().unwrap_or_default();
        let integrity = listed.split_whitespace().find(|text| text.starts_with("sha512-"));
        let integrity = integrity.ok_or_else(|| protocol(format!("{} {text} has no sha512 digest", self.name)))?;
        Ok(integrity.to_owned())
    }
}

/// Where npm's registries keep an archive; what they hold under it is checked.
pub(super) fn archive(name: &str, version: &str, integrity: &str, registry: &NpmRegistry) -> Archive {
    let url = registry.url.trim_end_matches('/');
    Archive {
        name: format!("{name} {version}"),
        url: format!("{url}/{name}/-/{name}-{version}.tgz"),
        token: registry.token.clone(),
        integrity: integrity.to_owned(),
    }
}
