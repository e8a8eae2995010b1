//! Brings an image into the store: all layers fetched, uncompressed, checked and unpacked at the same time.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use jiff::Timestamp;

use super::complete;
use super::config::{ConfigFile, MOST_VOLUMES};
use super::digest::Digest;
use super::error::{ImageError, LayerError};
use super::layer::{self, Job};
use super::manifest::{Descriptor, ImageManifest, MOST_LAYERS, ManifestError};
use super::progress::{Reporter, TransferStatus};
use super::store::{Archives, BytePath, ImageRecord, LayerRecord, LayerRef, Session, Store, boot_id, write_record};
use super::unpack::Limits;
use super::unpack::compression::Compression;
use crate::state::record::{self, Durability};

/// Where layers come from.
pub(super) trait Source: Sync {
    /// Opens the archive of the layer at this place of the image.
    fn open(&self, index: usize) -> Result<Box<dyn Read + Send + '_>, ImageError>;
}

/// A layer as its source describes it.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// `None`: not known before it is read (docker archives).
    pub digest: Option<Digest>,
    pub size: Option<u64>,
    pub media_type: String,
}

/// An image that is to be brought in.
pub(super) struct Import<'a> {
    /// The manifest's own bytes; made up when the source has none.
    pub manifest: Option<&'a [u8]>,
    pub manifest_type: &'a str,
    pub config: &'a [u8],
    pub config_type: &'a str,
    pub layers: Vec<Wanted>,
    pub source: &'a dyn Source,
    pub limits: Limits,
    /// Layers that are fetched at the same time.
    pub parallel: usize,
    pub reporter: Reporter<'a>,
    /// Asked about layers without a digest that are here already.
    pub archives: &'a Archives,
}

struct Shared<'a> {
    store: &'a Store,
    session: &'a Session,
    import: &'a Import<'a>,
    diff_ids: &'a [Digest],
    next: AtomicUsize,
    cancelled: AtomicBool,
    made: Mutex<Vec<Option<Result<Made, ImageError>>>>,
}

/// A layer that is in the store.
struct Made {
    digest: Digest,
    media_type: String,
    compressed_size: u64,
    key: String,
    record: LayerRecord,
}

impl Import<'_> {
    /// Brings everything in and writes the image's record. The caller holds [`Store::using`].
    pub(super) fn run(self, store: &Store, session: &Session) -> Result<ImageRecord, ImageError> {
        let config = ConfigFile::parse(self.config).map_err(ImageError::Config)?;
        if config.config.volumes.len() > MOST_VOLUMES {
            return Err(ImageError::TooManyVolumes(config.config.volumes.len()));
        }
        if self.layers.len() > MOST_LAYERS {
            return Err(ManifestError::TooManyLayers(self.layers.len()).into());
        }
        if self.layers.len() != config.diff_ids.len() {
            return Err(ImageError::LayerCount { layers: self.layers.len(), diff_ids: config.diff_ids.len() });
        }
        let mut chain_ids: Vec<Digest> = Vec::new();
        for diff_id in &config.diff_ids {
            chain_ids.push(Digest::chain(chain_ids.last(), diff_id));
        }
        let made = self.layers(store, session, &config.diff_ids)?;
        let layers = self.settle(store, session, made, &config.diff_ids, &chain_ids)?;

        let id = Digest::of(self.config);
        let manifest = match self.manifest {
            Some(bytes) => bytes.to_vec(),
            None => made_up(&id, &self, &layers).to_json(),
        };
        let manifest_id = Digest::of(&manifest);
        for (digest, bytes) in [(&id, self.config), (&manifest_id, manifest.as_slice())] {
            record::write_bytes(&store.blob_path(digest), bytes, 0o600, Durability::Process)?;
        }
        let keys: Vec<String> = layers.iter().map(|layer| layer.key.clone()).collect();
        store.sync_layers(&keys)?;
        let image = ImageRecord {
            id,
            manifest: manifest_id,
            media_type: self.manifest_type.to_owned(),
            config_media_type: self.config_type.to_owned(),
            config_size: self.config.len() as u64,
            platform: config.platform,
            created: config.created,
            author: config.author,
            stored: Timestamp::now(),
            config: config.config,
            history: config.history,
            layers,
        };
        store.write_image(&image)?;
        self.archives.add(store, &image);
        Ok(image)
    }

    fn layers(&self, store: &Store, session: &Session, diff_ids: &[Digest]) -> Result<Vec<Made>, ImageError> {
        let shared = Shared {
            store,
            session,
            import: self,
            diff_ids,
            next: AtomicUsize::new(0),
            cancelled: AtomicBool::new(false),
            made: Mutex::new(diff_ids.iter().map(|_| None).collect()),
        };
        thread::scope(|scope| {
            for _ in 0..self.parallel.clamp(1, diff_ids.len().max(1)) {
                scope.spawn(|| shared.work());
            }
        });
        let made = shared.made.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut layers = Vec::with_capacity(made.len());
        let mut failure = None;
        for made in made {
            match made {
                Some(Ok(made)) => layers.push(made),
                // The reason matters, not the layers that were given up because of it.
                Some(Err(ImageError::Layer(_, error))) if matches!(*error, LayerError::Cancelled) => {}
                Some(Err(error)) => failure = failure.or(Some(error)),
                None => {}
            }
        }
        match failure {
            Some(error) => Err(error),
            None if layers.len() < diff_ids.len() => {
                Err(ImageError::Layer("of the image".into(), Box::new(LayerError::Cancelled)))
            }
            None => Ok(layers),
        }
    }

    /// Lists the layers from the bottom up, completing those that depend on the ones below.
    fn settle(
        &self,
        store: &Store,
        session: &Session,
        made: Vec<Made>,
        diff_ids: &[Digest],
        chain_ids: &[Digest],
    ) -> Result<Vec<LayerRef>, ImageError> {
        let mut layers: Vec<LayerRef> = Vec::with_capacity(made.len());
        // The topmost first, for lookups.
        let mut below: Vec<PathBuf> = Vec::with_capacity(made.len());
        for (index, mut made) in made.into_iter().enumerate() {
            if made.record.opaque {
                below.clear();
            }
            let fs = store.layer_fs(&made.key);
            let in_layer = |error| ImageError::Layer(made.digest.short(), Box::new(error));
            if let Some(completion) = complete::compare(&made.record, &fs, &below).map_err(in_layer)? {
                let chain_id = &chain_ids[index];
                let _making = store.making(chain_id)?;
                (made.key, made.record) = match store.layer(&diff_ids[index], Some(chain_id))? {
                    Some(known) => known,
                    None => {
                        let folder = session.path("completed");
                        let root = folder.join("fs");
                        fs::create_dir_all(&root).map_err(ImageError::io("create", &root))?;
                        completion.make(&fs, &root).map_err(|error| in_layer(LayerError::Complete(error)))?;
                        let record = LayerRecord {
                            chain_id: Some(*chain_id),
                            implicit: Vec::new(),
                            outside_links: Vec::new(),
                            ..made.record
                        };
                        place(store, session, &folder, record)?
                    }
                };
            }
            below.insert(0, store.layer_fs(&made.key));
            layers.push(LayerRef {
                diff_id: diff_ids[index],
                digest: made.digest,
                media_type: made.media_type,
                compressed_size: made.compressed_size,
                size: made.record.size,
                key: made.key,
                opaque: made.record.opaque,
            });
        }
        Ok(layers)
    }
}

impl Shared<'_> {
    fn work(&self) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.diff_ids.len() || self.cancelled.load(Ordering::Relaxed) {
                return;
            }
            let made = self.layer(index);
            if made.is_err() {
                self.cancelled.store(true, Ordering::Relaxed);
            }
            self.made.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(made);
        }
    }

    fn layer(&self, index: usize) -> Result<Made, ImageError> {
        let wanted = &self.import.layers[index];
        let diff_id = &self.diff_ids[index];
        let label = wanted.digest.as_ref().unwrap_or(diff_id).short();
        let report = |status| self.import.reporter.layer(&label, status);
        let here = || -> Result<Option<Made>, ImageError> {
            let Some((key, record)) = self.store.layer(diff_id, None)? else { return Ok(None) };
            report(TransferStatus::Exists);
            // An archive that nobody named is that of the image which brought the layer in.
            let known = match wanted.digest {
                Some(_) => None,
                None => self.import.archives.of(self.store, diff_id)?,
            };
            let (digest, media_type, compressed_size) = match known {
                Some(layer) => (layer.digest, layer.media_type, layer.compressed_size),
                None => (wanted.digest.unwrap_or(*diff_id), wanted.media_type.clone(), wanted.size.unwrap_or(0)),
            };
            Ok(Some(Made { digest, media_type, compressed_size, key, record }))
        };
        if let Some(made) = here()? {
            return Ok(made);
        }
        report(TransferStatus::Waiting);
        let _making = self.store.making(diff_id)?;
        if let Some(made) = here()? {
            return Ok(made);
        }
        let folder = self.session.path("layer");
        let root = folder.join("fs");
        fs::create_dir_all(&root).map_err(ImageError::io("create", &root))?;
        let archive = self.session.path("blob");
        let keep = self.store.options().keep_blobs && !wanted.digest.is_some_and(|digest| self.store.has_blob(&digest));
        let source = self.import.source.open(index)?;
        let job = Job {
            wanted,
            diff_id,
            root: &root,
            archive: keep.then_some(archive.as_path()),
            limits: &self.import.limits,
            cancelled: &self.cancelled,
            report: &report,
        };
        let done = layer::make(&job, source).map_err(|error| ImageError::Layer(label.clone(), Box::new(error)))?;
        if keep {
            let place = match done.compression {
                Compression::None => self.store.packed_blob_path(&done.digest),
                _ => self.store.blob_path(&done.digest),
            };
            fs::rename(&archive, &place).map_err(ImageError::io("create", &place))?;
        }
        let record = LayerRecord {
            diff_id: *diff_id,
            chain_id: None,
            size: done.unpacked.size,
            entries: done.unpacked.entries,
            opaque: done.unpacked.opaque_root,
            implicit: done.unpacked.implicit.into_iter().map(BytePath).collect(),
            outside_links: done
                .unpacked
                .outside_links
                .into_iter()
                .map(|(link, target)| (BytePath(link), BytePath(target)))
                .collect(),
            boot_id: boot_id(),
        };
        let (key, record) = place(self.store, self.session, &folder, record)?;
        report(TransferStatus::Complete);
        let media_type = match (wanted.digest, done.compression) {
            (Some(_), _) | (None, Compression::None) => wanted.media_type.clone(),
            (None, Compression::Gzip) => format!("{}+gzip", wanted.media_type),
            (None, Compression::Zstd) => format!("{}+zstd", wanted.media_type),
        };
        Ok(Made { digest: done.digest, media_type, compressed_size: done.bytes, key, record })
    }
}

/// Writes the layer's record and moves its folder into the store.
fn place(
    store: &Store,
    session: &Session,
    folder: &Path,
    record: LayerRecord,
) -> Result<(String, LayerRecord), ImageError> {
    let key = Store::layer_key(&record.chain_id.unwrap_or(record.diff_id));
    write_record(&folder.join("layer.json"), &record)?;
    store.place_layer(session, folder, &key)?;
    Ok((key, record))
}

/// A manifest for an image that came without one.
fn made_up(id: &Digest, import: &Import<'_>, layers: &[LayerRef]) -> ImageManifest {
    let descriptor = |media_type: &str, digest: Digest, size: u64| Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        platform: None,
        annotations: Default::default(),
    };
    ImageManifest {
        media_type: import.manifest_type.to_owned(),
        config: descriptor(import.config_type, *id, import.config.len() as u64),
        layers: layers.iter().map(|layer| descriptor(&layer.media_type, layer.digest, layer.compressed_size)).collect(),
    }
}
