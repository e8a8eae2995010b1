//! Manifests and indexes: what a registry or an archive says an image is made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::platform::Platform;

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// What a client says it can read.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

/// No honest manifest is larger; the same bound as in other clients.
pub const LARGEST_MANIFEST: u64 = 4 << 20;
/// Configurations hold labels and history; the bound only keeps memory safe.
pub const LARGEST_CONFIG: u64 = 8 << 20;
/// More than overlayfs can stack (500), so nobody could run it.
pub(super) const MOST_LAYERS: usize = 500;

/// Why bytes are no usable manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("the manifest is not valid JSON")]
    Json(#[from] serde_json::Error),
    #[error("the registry calls the manifest `{header}`, but the manifest calls itself `{body}`")]
    Confused { header: String, body: String },
    #[error("the manifest claims to be both an image and a list of images")]
    Ambiguous,
    #[error("the manifest uses the format of 2015 (schema 1); push the image again with a current tool")]
    SchemaOne,
    #[error("`{0}` is not an image manifest")]
    Unknown(String),
    #[error("this is not a container image but an artifact of type `{0}`")]
    Artifact(String),
    #[error("the image has {0} layers; the kernel can stack at most {MOST_LAYERS}")]
    TooManyLayers(usize),
    #[error("layer {digest} has the media type `{media_type}`, which cannot be unpacked")]
    LayerType { digest: Digest, media_type: String },
    #[error("no variant of the image is for {wanted}; there is {offered}")]
    NoPlatform { wanted: Platform, offered: String },
    #[error("the size {0} of a part is negative")]
    Size(i64),
}

/// A reference to content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    #[serde(rename = "mediaType", default)]
    pub media_type: String,
    pub digest: Digest,
    #[serde(deserialize_with = "size")]
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<RawPlatform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawPlatform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl RawPlatform {
    fn canonical(&self) -> Platform {
        Platform::new(&self.os, &self.architecture, self.variant.as_deref())
    }
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageManifest {
    pub media_type: String,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

/// Either kind of manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manifest {
    Image(ImageManifest),
    Index(Vec<Descriptor>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    schema_version: Option<u32>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default, rename = "fsLayers")]
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Manifest {
    /// Reads a manifest. `media_type` is what came with it: the Content-Type or the descriptor's type. A manifest that
    /// means different things to different readers is refused (CVE-2021-41190).
    ///
    /// # Errors
    /// When it is damaged, ambiguous, not an image, or not one that could run here.
    pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Self, ManifestError> {
        let raw: Raw = serde_json::from_slice(bytes)?;
        if raw.fs_layers.is_some() || raw.schema_version == Some(1) {
            return Err(ManifestError::SchemaOne);
        }
        let header = media_type.map(bare).filter(|media_type| {
            // Some registries serve everything as plain JSON; that says nothing about the kind.
            !matches!(*media_type, "" | "application/json" | "text/plain" | "application/octet-stream")
        });
        if let (Some(header), Some(body)) = (header, raw.media_type.as_deref().filter(|body| !body.is_empty()))
            && header != body
        {
            return Err(ManifestError::Confused { header: header.into(), body: body.into() });
        }
        let is_index = raw.manifests.is_some();
        let is_image = raw.config.is_some() || raw.layers.is_some();
        let named = raw.media_type.as_deref().filter(|body| !body.is_empty()).or(header);
        match (named, is_index, is_image) {
            (_, true, true) => Err(ManifestError::Ambiguous),
            (None | Some(OCI_INDEX | DOCKER_LIST), true, false) => Ok(Self::Index(raw.manifests.unwrap_or_default())),
            (None | Some(OCI_MANIFEST | DOCKER_MANIFEST), false, true) => {
                let media_type = named.unwrap_or(OCI_MANIFEST).to_owned();
                let config =
                    raw.config.ok_or_else(|| ManifestError::Unknown("a manifest without configuration".into()))?;
                let image = ImageManifest { media_type, config, layers: raw.layers.unwrap_or_default() };
                image.check(raw.artifact_type.as_deref())?;
                Ok(Self::Image(image))
            }
            (Some(OCI_MANIFEST | DOCKER_MANIFEST), true, false) | (Some(OCI_INDEX | DOCKER_LIST), false, true) => {
                Err(ManifestError::Ambiguous)
            }
            (named, _, _) => Err(ManifestError::Unknown(named.unwrap_or("something without a media type").into())),
        }
    }
}

impl ImageManifest {
    fn check(&self, artifact_type: Option<&str>) -> Result<(), ManifestError> {
        if !matches!(self.config.media_type.as_str(), OCI_CONFIG | DOCKER_CONFIG | "") {
            let kind = artifact_type.unwrap_or(&self.config.media_type);
            return Err(ManifestError::Artifact(kind.into()));
        }
        if self.layers.len() > MOST_LAYERS {
            return Err(ManifestError::TooManyLayers(self.layers.len()));
        }
        for layer in &self.layers {
            // The type only tells whether it is a file system layer; how it is compressed is seen from its bytes.
            let known = [
                "application/vnd.oci.image.layer.v1.tar",
                "application/vnd.oci.image.layer.nondistributable.v1.tar",
                "application/vnd.docker.image.rootfs.diff.tar",
                "application/vnd.docker.image.rootfs.foreign.diff.tar",
            ];
            let fits = known.iter().any(|prefix| {
                layer
                    .media_type
                    .strip_prefix(prefix)
                    .is_some_and(|rest| matches!(rest, "" | "+gzip" | ".gzip" | "+zstd" | ".zstd"))
            });
            if !fits {
                return Err(ManifestError::LayerType { digest: layer.digest, media_type: layer.media_type.clone() });
            }
        }
        Ok(())
    }

    /// The manifest as bytes, for images whose own was not kept or never existed.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let value = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "config": self.config,
            "layers": self.layers,
        });
        value.to_string().into_bytes()
    }
}

/// Picks the member of an index that fits the platform best.
///
/// # Errors
/// When none does; the message lists what there is.
pub fn choose<'a>(manifests: &'a [Descriptor], wanted: &Platform) -> Result<&'a Descriptor, ManifestError> {
    let images = || {
        manifests.iter().filter(|descriptor| {
            // Build attestations are listed as manifests of the platform unknown/unknown.
            matches!(bare(&descriptor.media_type), OCI_MANIFEST | DOCKER_MANIFEST | OCI_INDEX | DOCKER_LIST | "")
                && !descriptor.annotations.contains_key("vnd.docker.reference.type")
                && descriptor.platform.as_ref().is_none_or(|platform| platform.os != "unknown")
        })
    };
    let best = images()
        .filter_map(|descriptor| {
            let platform = descriptor.platform.as_ref()?.canonical();
            Some((wanted.rank(&platform)?, descriptor))
        })
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, descriptor)| descriptor);
    // An entry without a platform is taken when there is nothing else (OCI layouts of single images).
    if let Some(descriptor) = best.or_else(|| images().find(|descriptor| descriptor.platform.is_none())) {
        return Ok(descriptor);
    }
    let mut offered: Vec<String> =
        images().filter_map(|descriptor| Some(descriptor.platform.as_ref()?.canonical().to_string())).collect();
    offered.dedup();
    let offered = if offered.is_empty() { "none at all".into() } else { offered.join(", ") };
    Err(ManifestError::NoPlatform { wanted: wanted.clone(), offered })
}

fn bare(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

fn size<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let size = i64::deserialize(deserializer)?;
    u64::try_from(size).map_err(|_| serde::de::Error::custom(ManifestError::Size(size)))
}

fn nullable<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn descriptor(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"{DIGEST}","size":3}}"#)
    }

    fn image(media_type: &str, layer: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{},"layers":[{}]}}"#,
            descriptor(OCI_CONFIG),
            descriptor(layer)
        )
    }

    fn parse(text: &str, media_type: Option<&str>) -> Result<Manifest, ManifestError> {
        Manifest::parse(text.as_bytes(), media_type)
    }

    #[test]
    fn both_kinds_of_both_families() {
        let layer = format!("{OCI_LAYER}+gzip");
        for media_type in [OCI_MANIFEST, DOCKER_MANIFEST] {
            let text = image(media_type, &layer);
            assert!(matches!(parse(&text, Some(media_type)), Ok(Manifest::Image(_))));
            assert!(matches!(parse(&text, Some("application/json; charset=utf-8")), Ok(Manifest::Image(_))));
            assert!(matches!(parse(&text, None), Ok(Manifest::Image(_))));
        }
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, descriptor(OCI_MANIFEST));
        assert!(matches!(parse(&index, Some(OCI_INDEX)), Ok(Manifest::Index(_))));
        assert!(matches!(parse(&index, Some(DOCKER_LIST)), Ok(Manifest::Index(_))));
    }

    #[test]
    fn what_could_be_read_two_ways_is_refused() {
        let layer = format!("{OCI_LAYER}+gzip");
        assert!(matches!(parse(&image(OCI_MANIFEST, &layer), Some(OCI_INDEX)), Err(ManifestError::Confused { .. })));
        assert!(matches!(parse(&image(OCI_INDEX, &layer), Some(OCI_INDEX)), Err(ManifestError::Ambiguous)));
        let both = format!(r#"{{"schemaVersion":2,"manifests":[],"config":{},"layers":[]}}"#, descriptor(OCI_CONFIG));
        assert!(matches!(parse(&both, None), Err(ManifestError::Ambiguous)));
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, descriptor(OCI_MANIFEST));
        assert!(matches!(parse(&index, Some(OCI_MANIFEST)), Err(ManifestError::Ambiguous)));
    }

    #[test]
    fn strange_manifests_are_refused() {
        assert!(matches!(parse(r#"{"schemaVersion":1,"fsLayers":[]}"#, None), Err(ManifestError::SchemaOne)));
        assert!(matches!(parse("{}", None), Err(ManifestError::Unknown(_))));
        assert!(matches!(parse("[", None), Err(ManifestError::Json(_))));
        let helm = image(OCI_MANIFEST, OCI_LAYER).replacen(OCI_CONFIG, "application/vnd.cncf.helm.config.v1+json", 1);
        assert!(matches!(parse(&helm, None), Err(ManifestError::Artifact(_))));
        let encrypted = image(OCI_MANIFEST, &format!("{OCI_LAYER}+gzip+encrypted"));
        assert!(matches!(parse(&encrypted, None), Err(ManifestError::LayerType { .. })));
        let negative = image(OCI_MANIFEST, OCI_LAYER).replace("\"size\":3", "\"size\":-3");
        assert!(parse(&negative, None).is_err());
        let layers = vec![descriptor(OCI_LAYER); 501].join(",");
        let many = format!(r#"{{"schemaVersion":2,"config":{},"layers":[{layers}]}}"#, descriptor(OCI_CONFIG));
        assert!(matches!(parse(&many, None), Err(ManifestError::TooManyLayers(501))));
    }

    #[test]
    fn the_best_variant_is_chosen() {
        let member = |platform: &str, size: u64| {
            let mut parts = platform.split('/').map(str::to_owned);
            Descriptor {
                media_type: OCI_MANIFEST.into(),
                digest: DIGEST.parse().unwrap(),
                size,
                platform: Some(RawPlatform {
                    os: parts.next().unwrap(),
                    architecture: parts.next().unwrap(),
                    variant: parts.next(),
                }),
                annotations: BTreeMap::new(),
            }
        };
        let members = [
            member("unknown/unknown", 1),
            member("linux/arm/v6", 2),
            member("linux/arm/v7", 3),
            member("linux/arm64/v8", 4),
        ];
        let size = |wanted: &str| choose(&members, &wanted.parse().unwrap()).map(|descriptor| descriptor.size);
        assert_eq!(size("linux/arm/v7").unwrap(), 3);
        assert_eq!(size("linux/arm64").unwrap(), 4);
        assert_eq!(size("linux/arm/v6").unwrap(), 2);
        let error = size("linux/amd64").unwrap_err().to_string();
        assert!(error.ends_with("there is linux/arm/v6, linux/arm/v7, linux/arm64"), "{error}");
    }
}
