//! An OCI image layout: blobs by digest, and an index that names the images.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// How a layer is compressed.
#[derive(Debug, Clone, Copy)]
pub enum Compression {
    Gzip,
    Zstd,
}

/// A layout in the making.
#[derive(Debug)]
pub struct Layout {
    folder: PathBuf,
    architecture: String,
    images: Vec<Value>,
}

/// A layer in the layout.
#[derive(Debug, Clone)]
pub struct StoredLayer {
    descriptor: Value,
    diff_id: String,
}

impl Layout {
    pub fn create(folder: &Path, architecture: &str) -> Result<Self> {
        fs::create_dir_all(folder.join("blobs/sha256"))?;
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(Self { folder: folder.into(), architecture: architecture.into(), images: Vec::new() })
    }

    pub fn layer(&self, archive: &[u8], compression: Compression) -> Result<StoredLayer> {
        let (packed, kind) = match compression {
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(archive)?;
                (encoder.finish()?, "gzip")
            }
            Compression::Zstd => (zstd::encode_all(archive, 3)?, "zstd"),
        };
        let media_type = format!("application/vnd.oci.image.layer.v1.tar+{kind}");
        Ok(StoredLayer { descriptor: self.blob(&packed, &media_type)?, diff_id: digest(archive) })
    }

    /// Adds an image under `name`: an index with the image for this machine, behind one for a machine that nobody has.
    pub fn image(&mut self, name: &str, config: &Value, layers: &[StoredLayer]) -> Result<()> {
        let mut platforms = Vec::new();
        for architecture in ["s390x", self.architecture.as_str()] {
            let config = json!({
                "architecture": architecture, "os": "linux", "config": config,
                "rootfs": { "type": "layers", "diff_ids": layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>() },
                "history": layers.iter().map(|_| json!({ "created_by": "packages" })).collect::<Vec<_>>(),
            });
            let config = self.blob(config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json")?;
            let manifest = json!({
                "schemaVersion": 2, "mediaType": MANIFEST, "config": config,
                "layers": layers.iter().map(|layer| &layer.descriptor).collect::<Vec<_>>(),
            });
            let mut descriptor = self.blob(manifest.to_string().as_bytes(), MANIFEST)?;
            descriptor["platform"] = json!({ "os": "linux", "architecture": architecture });
            platforms.push(descriptor);
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": platforms });
        let mut descriptor = self.blob(index.to_string().as_bytes(), INDEX)?;
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        self.images.push(descriptor);
        Ok(())
    }

    pub fn finish(self) -> Result<()> {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": self.images });
        Ok(fs::write(self.folder.join("index.json"), index.to_string())?)
    }

    fn blob(&self, content: &[u8], media_type: &str) -> Result<Value> {
        let digest = digest(content);
        fs::write(blob_path(&self.folder, &digest), content)?;
        Ok(json!({ "mediaType": media_type, "digest": digest, "size": content.len() }))
    }
}

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// `sha256:` and the hash of `content`.
#[must_use]
pub fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

/// Where a layout keeps the blob with this digest.
#[must_use]
pub fn blob_path(layout: &Path, digest: &str) -> PathBuf {
    layout.join("blobs").join(digest.replace(':', "/"))
}

/// Reads a JSON file of a layout.
pub fn read_json(path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(serde_json::from_slice(&text)?)
}
