//! What the store writes about images, names and layers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::image::config::{HistoryStep, ImageConfig};
use crate::image::digest::Digest;
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::state::record::Record;

/// `names/<hash>.json`: one name and the image that it means now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameRecord {
    /// With a tag or a digest, never both.
    pub reference: Reference,
    pub image: Digest,
    /// What the registry said the name stands for: the index, or the manifest of an image without one.
    pub digest: Option<Digest>,
    /// What it was asked for with, if that is another machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

impl Record for NameRecord {
    const VERSION: u32 = 1;
}

/// `images/<config digest>.json`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    pub id: Digest,
    pub manifest: Digest,
    pub media_type: String,
    pub config_media_type: String,
    pub config_size: u64,
    pub platform: Platform,
    pub created: Option<Timestamp>,
    #[serde(default)]
    pub author: String,
    /// When it came into this store.
    pub stored: Timestamp,
    pub config: ImageConfig,
    pub history: Vec<HistoryStep>,
    /// From the bottom up.
    pub layers: Vec<LayerRef>,
}

impl Record for ImageRecord {
    const VERSION: u32 = 1;
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRef {
    /// Of the uncompressed archive.
    pub diff_id: Digest,
    /// Of the archive as the registry has it.
    pub digest: Digest,
    pub media_type: String,
    /// Of the archive as the registry has it.
    pub compressed_size: u64,
    /// Bytes of all files.
    pub size: u64,
    /// Name of the folder below `layers/`.
    pub key: String,
    /// Everything below is hidden (an opaque mark on the root).
    #[serde(default)]
    pub opaque: bool,
}

/// `layers/<key>/layer.json`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    pub diff_id: Digest,
    /// Set for a layer whose folder was completed from the layers below it: it serves only on top of these.
    #[serde(default)]
    pub chain_id: Option<Digest>,
    pub size: u64,
    pub entries: u64,
    #[serde(default)]
    pub opaque: bool,
    /// Folders without an entry in the archive: completed from the layers below.
    #[serde(default)]
    pub implicit: Vec<BytePath>,
    /// Hard links to files that only lower layers can have.
    #[serde(default)]
    pub outside_links: Vec<(BytePath, BytePath)>,
    /// The files were not synced when this was written: they count only until the machine restarts.
    pub boot_id: String,
}

impl Record for LayerRecord {
    const VERSION: u32 = 1;
}

/// A path as text; bytes that are no UTF-8 are kept as hexadecimal digits after a mark that no path can hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct BytePath(pub Vec<u8>);

const HEX_MARK: &str = "\0";

impl From<String> for BytePath {
    fn from(text: String) -> Self {
        Self(match text.strip_prefix(HEX_MARK) {
            Some(digits) => hex::decode(digits).unwrap_or_default(),
            None => text.into_bytes(),
        })
    }
}

impl From<BytePath> for String {
    fn from(path: BytePath) -> Self {
        String::from_utf8(path.0).unwrap_or_else(|error| format!("{HEX_MARK}{}", hex::encode(error.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_any_bytes_survive() {
        for path in [&b"usr/bin"[..], b"", b"\xff/\x80x", "ä/\n".as_bytes()] {
            let text = serde_json::to_string(&BytePath(path.to_vec())).unwrap();
            assert_eq!(serde_json::from_str::<BytePath>(&text).unwrap().0, path);
        }
    }
}
