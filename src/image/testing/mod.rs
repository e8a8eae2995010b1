//! Small images for tests: archives, configurations, layouts.
#![allow(dead_code, reason = "a kit: not every test needs every piece")]

pub mod server;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::json;

use super::digest::Digest;

/// One entry of a layer.
#[derive(Debug, Clone)]
pub struct Item {
    pub path: String,
    pub kind: tar::EntryType,
    pub content: Vec<u8>,
    pub link: String,
    pub mode: u32,
    pub owner: (u64, u64),
    pub mtime: u64,
    pub device: (u32, u32),
    pub pax: Vec<(String, Vec<u8>)>,
}

impl Item {
    pub fn new(kind: tar::EntryType, path: &str) -> Self {
        Self {
            path: path.into(),
            kind,
            content: Vec::new(),
            link: String::new(),
            mode: 0o644,
            owner: (0, 0),
            mtime: 1_700_000_000,
            device: (0, 0),
            pax: Vec::new(),
        }
    }

    pub fn file(path: &str, content: impl AsRef<[u8]>) -> Self {
        Self { content: content.as_ref().to_vec(), ..Self::new(tar::EntryType::Regular, path) }
    }

    pub fn dir(path: &str) -> Self {
        Self { mode: 0o755, ..Self::new(tar::EntryType::Directory, path) }
    }

    pub fn symlink(path: &str, target: &str) -> Self {
        Self { link: target.into(), mode: 0o777, ..Self::new(tar::EntryType::Symlink, path) }
    }

    pub fn hard_link(path: &str, target: &str) -> Self {
        Self { link: target.into(), ..Self::new(tar::EntryType::Link, path) }
    }

    pub fn device(path: &str, major: u32, minor: u32) -> Self {
        Self { device: (major, minor), ..Self::new(tar::EntryType::Char, path) }
    }

    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    pub fn owner(self, uid: u64, gid: u64) -> Self {
        Self { owner: (uid, gid), ..self }
    }

    pub fn mtime(self, mtime: u64) -> Self {
        Self { mtime, ..self }
    }

    pub fn pax(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax.push((key.into(), value.as_ref().to_vec()));
        self
    }

    /// The blocks of the entry, whatever nonsense they say.
    pub fn blocks(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if !self.pax.is_empty() {
            let records: Vec<u8> = self.pax.iter().flat_map(|(key, value)| pax_record(key, value)).collect();
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(tar::EntryType::XHeader);
            header.set_size(records.len() as u64);
            put(&mut header, &mut bytes, &records);
        }
        let mut header = tar::Header::new_ustar();
        let fields = header.as_ustar_mut().unwrap();
        let name = self.path.as_bytes();
        if name.len() <= 100 {
            fields.name[..name.len()].copy_from_slice(name);
        } else {
            let split = (name.len() - 100..name.len()).find(|at| name[*at] == b'/').unwrap_or(name.len() - 100);
            let front = split.min(155);
            fields.prefix[..front].copy_from_slice(&name[..front]);
            let rest = &name[split + 1..];
            fields.name[..rest.len().min(100)].copy_from_slice(&rest[..rest.len().min(100)]);
        }
        let link = self.link.as_bytes();
        fields.linkname[..link.len().min(100)].copy_from_slice(&link[..link.len().min(100)]);
        header.set_entry_type(self.kind);
        header.set_mode(self.mode);
        header.set_uid(self.owner.0);
        header.set_gid(self.owner.1);
        header.set_mtime(self.mtime);
        header.set_size(self.content.len() as u64);
        header.set_device_major(self.device.0).unwrap();
        header.set_device_minor(self.device.1).unwrap();
        put(&mut header, &mut bytes, &self.content);
        bytes
    }
}

fn put(header: &mut tar::Header, bytes: &mut Vec<u8>, content: &[u8]) {
    header.set_cksum();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
}

fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

/// A whole archive.
pub fn archive(items: &[Item]) -> Vec<u8> {
    let mut bytes: Vec<u8> = items.iter().flat_map(Item::blocks).collect();
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

pub fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// An image in memory: blobs by digest, and the digest of its manifest.
#[derive(Debug, Clone)]
pub struct TestImage {
    pub blobs: BTreeMap<Digest, Vec<u8>>,
    pub manifest: Digest,
    pub config: Digest,
    pub layers: Vec<Digest>,
}

/// How the layers of a test image come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

pub fn image(layers: &[Vec<Item>], packing: Packing) -> TestImage {
    let archives: Vec<Vec<u8>> = layers.iter().map(|items| archive(items)).collect();
    image_of(&archives, packing, json!({"Env": ["PATH=/bin"], "Cmd": ["/bin/true"]}))
}

pub fn image_of(archives: &[Vec<u8>], packing: Packing, config: serde_json::Value) -> TestImage {
    let mut blobs = BTreeMap::new();
    let mut put = |bytes: Vec<u8>| {
        let digest = Digest::of(&bytes);
        let size = bytes.len();
        blobs.insert(digest, bytes);
        (digest, size)
    };
    let (kind, mut descriptors, mut layers) = match packing {
        Packing::Plain => ("", Vec::new(), Vec::new()),
        Packing::Gzip => ("+gzip", Vec::new(), Vec::new()),
        Packing::Zstd => ("+zstd", Vec::new(), Vec::new()),
    };
    for archive in archives {
        let packed = match packing {
            Packing::Plain => archive.clone(),
            Packing::Gzip => gzip(archive),
            Packing::Zstd => zstd::encode_all(&archive[..], 1).unwrap(),
        };
        let (digest, size) = put(packed);
        layers.push(digest);
        let media_type = format!("application/vnd.oci.image.layer.v1.tar{kind}");
        descriptors.push(json!({"mediaType": media_type, "digest": digest, "size": size}));
    }
    let host = super::platform::Platform::host();
    let config = json!({
        "created": "2026-01-02T03:04:05Z", "architecture": host.architecture, "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": archives.iter().map(|archive| Digest::of(archive)).collect::<Vec<_>>()},
        "history": [{"created": "2026-01-02T03:04:05Z", "created_by": "COPY . ."}],
    });
    let (config, config_size) = put(config.to_string().into_bytes());
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size},
        "layers": descriptors,
    });
    let (manifest, _) = put(manifest.to_string().into_bytes());
    TestImage { blobs, manifest, config, layers }
}

impl TestImage {
    /// Adds the image to the OCI layout in the folder.
    pub fn write_layout(&self, folder: &Path, name: Option<&str>) {
        let blobs = folder.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        for (digest, bytes) in &self.blobs {
            fs::write(blobs.join(digest.hex()), bytes).unwrap();
        }
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let mut descriptor = json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": self.manifest, "size": self.blobs[&self.manifest].len(),
        });
        if let Some(name) = name {
            descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        }
        let index = folder.join("index.json");
        let mut value: serde_json::Value = match fs::read(&index) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap(),
            Err(_) => json!({"schemaVersion": 2, "manifests": []}),
        };
        value["manifests"].as_array_mut().unwrap().push(descriptor);
        fs::write(index, value.to_string()).unwrap();
    }
}
