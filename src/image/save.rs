//! Images as files: one archive that is an OCI layout and a docker archive at once, or an OCI layout in a folder.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::digest::Digest;
use super::error::ImageError;
use super::manifest::{Descriptor, ImageManifest};
use super::reference::Reference;
use super::store::{Archives, ImageRecord, Store};

/// An image and the names that it is saved with.
#[derive(Debug, Clone)]
pub struct ToSave {
    pub image: Digest,
    pub references: Vec<Reference>,
}

/// Where files of a layout go.
trait Sink {
    fn file(&mut self, name: &str, size: u64, content: &mut dyn Read) -> io::Result<()>;
}

struct ArchiveSink<'a>(tar::Builder<&'a mut dyn Write>);

impl Sink for ArchiveSink<'_> {
    fn file(&mut self, name: &str, size: u64, content: &mut dyn Read) -> io::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_path(name)?;
        header.set_size(size);
        header.set_mode(0o644);
        // No time of ours: the same images make the same archive.
        header.set_mtime(0);
        header.set_cksum();
        let mut content = Exactly { content, left: size };
        self.0.append(&header, &mut content)
    }
}

struct FolderSink<'a>(&'a Path);

impl Sink for FolderSink<'_> {
    fn file(&mut self, name: &str, size: u64, content: &mut dyn Read) -> io::Result<()> {
        let path = self.0.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let temporary = path.with_extension("partial");
        let mut file = File::create(&temporary)?;
        io::copy(&mut Exactly { content, left: size }, &mut file)?;
        fs::rename(temporary, path)
    }
}

/// Fails when the content is shorter or longer than was written in front of it.
struct Exactly<'a> {
    content: &'a mut dyn Read,
    left: u64,
}

impl Read for Exactly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        match (read, self.left.checked_sub(read as u64)) {
            (0, _) if self.left == 0 || buffer.is_empty() => Ok(0),
            (0, _) | (_, None) => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "the stored archive has the wrong size"))
            }
            (_, Some(left)) => {
                self.left = left;
                Ok(read)
            }
        }
    }
}

/// Writes an archive that `docker load`, `podman load`, `skopeo` and [`super::load`] read.
///
/// # Errors
/// When an image or the archive of a layer is not here, or the output cannot be written.
pub fn save(store: &Store, images: &[ToSave], output: &mut dyn Write) -> Result<(), ImageError> {
    let mut sink = ArchiveSink(tar::Builder::new(output));
    write(store, images, &mut sink, true)?;
    sink.0.finish().map_err(ImageError::io("write", Path::new("the archive")))
}

/// Writes an OCI layout into a folder.
///
/// # Errors
/// When an image or the archive of a layer is not here, or the folder cannot be written.
pub fn save_layout(store: &Store, images: &[ToSave], folder: &Path) -> Result<(), ImageError> {
    write(store, images, &mut FolderSink(folder), false)
}

fn write(store: &Store, images: &[ToSave], sink: &mut dyn Sink, docker: bool) -> Result<(), ImageError> {
    let _using = store.using()?;
    let mut written = BTreeMap::new();
    let (mut members, mut legacy): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
    for image in images {
        let record = store.image_record(&image.image)?.ok_or_else(|| ImageError::NotFound(image.image.to_string()))?;
        let (manifest, bytes) = manifest_of(store, &record)?;
        for layer in &manifest.layers {
            if written.insert(layer.digest, ()).is_none() {
                let mut content = open_blob(store, &layer.digest)?;
                put(sink, &layer.digest, layer.size, &mut content)?;
            }
        }
        let config = read_blob(store, &record.id)?;
        let manifest_id = Digest::of(&bytes);
        for (digest, bytes) in [(record.id, &config), (manifest_id, &bytes)] {
            if written.insert(digest, ()).is_none() {
                put(sink, &digest, bytes.len() as u64, &mut bytes.as_slice())?;
            }
        }
        members.extend(index_members(image, &record, &manifest, manifest_id, bytes.len()));
        legacy.push(json!({
            "Config": blob_name(&record.id),
            "RepoTags": image.references.iter().map(Reference::familiar).collect::<Vec<_>>(),
            "Layers": manifest.layers.iter().map(|layer| blob_name(&layer.digest)).collect::<Vec<_>>(),
        }));
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": super::manifest::OCI_INDEX,
        "manifests": members,
    });
    let mut text = |name: &str, value: &Value| {
        let text = value.to_string();
        sink.file(name, text.len() as u64, &mut text.as_bytes()).map_err(ImageError::io("write", Path::new(name)))
    };
    if docker {
        text("manifest.json", &Value::Array(legacy))?;
    }
    text("index.json", &index)?;
    text("oci-layout", &json!({"imageLayoutVersion": "1.0.0"}))
}

/// The image's own manifest, or a new one when its layers are here in another packing only.
fn manifest_of(store: &Store, record: &ImageRecord) -> Result<(ImageManifest, Vec<u8>), ImageError> {
    let descriptor = |media_type: &str, digest: Digest, size: u64| Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        platform: None,
        annotations: BTreeMap::new(),
    };
    let mut layers = Vec::with_capacity(record.layers.len());
    let archives = Archives::default();
    let mut original = true;
    for layer in &record.layers {
        let mut layer = layer.clone();
        if !store.has_blob(&layer.digest) {
            original = false;
            layer = archives
                .of(store, &layer.diff_id)?
                .filter(|other| store.has_blob(&other.digest))
                .ok_or_else(|| ImageError::NotKept { layer: layer.digest.short() })?;
        }
        layers.push(descriptor(&layer.media_type, layer.digest, layer.compressed_size));
    }
    let config = descriptor(&record.config_media_type, record.id, record.config_size);
    let manifest = ImageManifest { media_type: record.media_type.clone(), config, layers };
    let bytes = if original { read_blob(store, &record.manifest)? } else { manifest.to_json() };
    Ok((manifest, bytes))
}

/// One member for each name; one without annotations for an image without names.
fn index_members(
    image: &ToSave,
    record: &ImageRecord,
    manifest: &ImageManifest,
    digest: Digest,
    size: usize,
) -> Vec<Value> {
    let member = json!({
        "mediaType": manifest.media_type, "digest": digest, "size": size,
        "platform": {"os": record.platform.os, "architecture": record.platform.architecture},
    });
    let named = image.references.iter().map(|reference| {
        let mut member = member.clone();
        member["annotations"] = json!({
            "io.containerd.image.name": reference.to_string(),
            "org.opencontainers.image.ref.name": reference.tag().unwrap_or_default(),
        });
        member
    });
    let mut members: Vec<Value> = named.collect();
    if members.is_empty() {
        members.push(member);
    }
    members
}

fn put(sink: &mut dyn Sink, digest: &Digest, size: u64, content: &mut dyn Read) -> Result<(), ImageError> {
    let name = blob_name(digest);
    sink.file(&name, size, content).map_err(ImageError::io("write", Path::new(&name)))
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn read_blob(store: &Store, digest: &Digest) -> Result<Vec<u8>, ImageError> {
    let path = store.blob_path(digest);
    fs::read(&path).map_err(ImageError::io("read", &path))
}

fn open_blob(store: &Store, digest: &Digest) -> Result<Box<dyn Read>, ImageError> {
    let path = store.blob_path(digest);
    match File::open(&path) {
        Ok(file) => return Ok(Box::new(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(ImageError::io("open", &path)(error)),
    }
    let path = store.packed_blob_path(digest);
    let file = File::open(&path).map_err(ImageError::io("open", &path))?;
    let decoder = zstd::stream::read::Decoder::new(file).map_err(ImageError::io("read", &path))?;
    Ok(Box::new(decoder))
}

#[cfg(test)]
mod tests {
    use super::super::load::{Input, LoadOptions, load};
    use super::super::testing::{self, Item, Packing};
    use super::*;

    fn store(folder: &Path) -> Store {
        Store::open(folder).unwrap()
    }

    #[test]
    fn what_is_saved_loads_as_the_very_same_image() {
        let folder = tempfile::tempdir().unwrap();
        for (number, packing) in [Packing::Plain, Packing::Gzip, Packing::Zstd].into_iter().enumerate() {
            let first = store(&folder.path().join(format!("first{number}")));
            let layers = [vec![Item::dir("./"), Item::file("a", "a")], vec![Item::file("b", "b")]];
            let image = testing::image(&layers, packing);
            let layout = folder.path().join(format!("layout{number}"));
            image.write_layout(&layout, Some("app:1"));
            load(&first, Input::Path(layout), &LoadOptions::default(), &|_| {}).unwrap();
            let names = vec!["app:1".parse::<Reference>().unwrap(), "r.example/b:2".parse().unwrap()];
            let images = [ToSave { image: image.config, references: names.clone() }];
            let (mut once, mut again) = (Vec::new(), Vec::new());
            save(&first, &images, &mut once).unwrap();
            save(&first, &images, &mut again).unwrap();
            assert!(once == again, "two archives of the same image differ");

            let second = store(&folder.path().join(format!("second{number}")));
            load(&second, Input::Stream(Box::new(&once[..])), &LoadOptions::default(), &|_| {}).unwrap();
            let loaded = second.find(&names[1]).unwrap().unwrap();
            assert_eq!((loaded.id, loaded.manifest), (image.config, image.manifest));
            assert_eq!(loaded.references, names);

            let out = folder.path().join(format!("out{number}"));
            save_layout(&second, &images, &out).unwrap();
            let third = store(&folder.path().join(format!("third{number}")));
            load(&third, Input::Path(out), &LoadOptions::default(), &|_| {}).unwrap();
            assert_eq!(third.find(&names[0]).unwrap().unwrap().manifest, image.manifest);
        }
    }

    #[test]
    fn without_the_archives_saving_says_why_it_cannot() {
        let folder = tempfile::tempdir().unwrap();
        let options = super::super::StoreOptions { keep_blobs: false };
        let store = Store::open_with(&folder.path().join("images"), options).unwrap();
        let image = testing::image(&[vec![Item::file("a", "a")]], Packing::Gzip);
        let layout = folder.path().join("layout");
        image.write_layout(&layout, Some("app:1"));
        load(&store, Input::Path(layout), &LoadOptions::default(), &|_| {}).unwrap();
        let images = [ToSave { image: image.config, references: vec![] }];
        let error = save(&store, &images, &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("was not kept"), "{error}");
    }
}
