//! The content-addressed store that all projects share.
//!
//! ```text
//! images/
//!   names/<hash>.json     a name and the image it means
//!   images/<id>.json      an image: configuration and list of layers
//!   blobs/<digest>        configurations, manifests, and layers as they came (`.zst`: stored compressed by us)
//!   layers/<key>/fs       an unpacked layer, usable as overlay lower layer; key: start of its diff id or chain id
//!   layers/<key>/layer.json, synced
//!   empty/                the layer of images without any: overlayfs wants one at least
//!   locks/                one lock for each layer being made, and `use`: shared by users, exclusive for removers
//!   tmp/                  what is not finished; leftovers of dead processes go with the next command
//! ```
//!
//! Everything appears by rename, so a reader needs no lock. A layer appears as soon as it is complete; the image that
//! is made of it appears after its files are synced. A layer that no sync followed is trusted until the next boot only.

mod archives;
mod names;
mod records;
mod remove;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::config::{HistoryStep, ImageConfig};
use super::digest::Digest;
use super::error::ImageError;
use super::platform::Platform;
use super::reference::Reference;
use crate::state::record::{self, Durability, Record};

pub(super) use archives::Archives;
pub(super) use names::name_key;
pub use records::LayerRef;
pub(super) use records::{BytePath, ImageRecord, LayerRecord, NameRecord};
pub use remove::{Removal, Removed, Uses};

pub(super) use session::{Held, Session};

/// What the store keeps besides unpacked layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreOptions {
    /// Keep each layer's archive as it came, so that `save` (and `push`) give back the very same image.
    pub keep_blobs: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { keep_blobs: true }
    }
}

/// An open image store.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    options: StoreOptions,
}

/// An image that is here, with everything that running it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Digest of the configuration: Docker's image id.
    pub id: Digest,
    /// Names with tags, full form, sorted.
    pub references: Vec<Reference>,
    /// Names with digests, full form, sorted.
    pub digests: Vec<Reference>,
    pub manifest: Digest,
    pub config: ImageConfig,
    pub history: Vec<HistoryStep>,
    /// Layer folders for overlayfs, the topmost first.
    pub layers: Vec<PathBuf>,
    pub diff_ids: Vec<Digest>,
    /// Bytes of all files of all layers.
    pub size: u64,
    pub created: Option<Timestamp>,
    pub author: String,
    pub platform: Platform,
    pub architecture: String,
}

impl Image {
    /// Whether all its layers are still there. Nothing of ours takes them away, but people do.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.layers.iter().all(|layer| layer.is_dir())
    }
}

impl Store {
    /// Opens the store at `root` (see [`crate::state::Paths::images`]) and makes it when it is missing.
    ///
    /// # Errors
    /// When the folders cannot be made.
    pub fn open(root: &Path) -> Result<Self, ImageError> {
        Self::open_with(root, StoreOptions::default())
    }

    /// # Errors
    /// When the folders cannot be made.
    pub fn open_with(root: &Path, options: StoreOptions) -> Result<Self, ImageError> {
        let store = Self { root: root.to_owned(), options };
        let folders = ["names", "images", "blobs", "layers", "empty", "locks", "tmp"];
        for folder in std::iter::once(root.to_owned()).chain(folders.map(|name| root.join(name))) {
            // Nobody but root may enter: set-user programs of images must not be within reach (CVE-2021-41091).
            crate::state::folder::make(&folder).map_err(ImageError::io("create", &folder))?;
        }
        // It becomes the root of containers, whoever they run as.
        let empty = store.empty_layer();
        let public = fs::Permissions::from_mode(0o755);
        if fs::metadata(&empty).map_err(ImageError::io("read", &empty))?.permissions().mode() & 0o777 != 0o755 {
            fs::set_permissions(&empty, public).map_err(ImageError::io("prepare", &empty))?;
        }
        Ok(store)
    }

    /// The store at `root`, to be read only: nothing is made where there is none.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), options: StoreOptions::default() }
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    #[must_use]
    pub fn options(&self) -> StoreOptions {
        self.options
    }

    /// By name, id (`sha256:…`), the first digits of an id or of a digest, in this order, as `docker inspect` does.
    ///
    /// # Errors
    /// When the text is no name, more than one image matches, or a record cannot be read.
    pub fn resolve(&self, text: &str) -> Result<Option<Image>, ImageError> {
        if !is_whole_id(text) {
            let reference = text.parse::<Reference>();
            if let Ok(reference) = &reference
                && let Some(image) = self.find(reference)?
            {
                return Ok(Some(image));
            }
            if !is_digits(text) {
                reference?;
                return Ok(None);
            }
        }
        self.by_id(text)
    }

    /// By id, by digest, or by the first digits of one, with or without `sha256:`. A text that is nothing of the kind
    /// is no image.
    ///
    /// # Errors
    /// When more than one image matches, an id is malformed, or a record cannot be read.
    pub fn by_id(&self, text: &str) -> Result<Option<Image>, ImageError> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        if !is_digits(digits) {
            let malformed = text.parse::<Digest>().err().filter(|_| is_whole_id(text));
            return malformed.map_or(Ok(None), |error| Err(error.into()));
        }
        let ids = self.image_ids()?;
        let mut found: BTreeSet<Digest> = ids.iter().filter(|id| id.hex().starts_with(digits)).copied().collect();
        if found.is_empty() {
            let names = self.names()?.into_iter();
            let named = names.filter(|name| name.digest.is_some_and(|digest| digest.hex().starts_with(digits)));
            found.extend(named.map(|name| name.image));
            for id in ids {
                if self.image_record(&id)?.is_some_and(|image| image.manifest.hex().starts_with(digits)) {
                    found.insert(id);
                }
            }
        }
        match (found.pop_first(), found.first()) {
            (Some(one), Some(_)) => Err(self.ambiguous(digits, found.into_iter().chain([one]).collect())?),
            (Some(id), None) => self.image(&id),
            (None, _) => Ok(None),
        }
    }

    /// What the images are called that a text may mean, so that a person can choose.
    fn ambiguous(&self, start: &str, found: BTreeSet<Digest>) -> Result<ImageError, ImageError> {
        const SHOWN: usize = 5;
        let names = self.names()?;
        let name_of = |id: &Digest| {
            let name = names.iter().find(|name| name.image == *id && name.reference.digest().is_none());
            name.map_or_else(|| id.short(), |name| format!("{} ({})", id.short(), name.reference.familiar()))
        };
        let mut images: Vec<String> = found.iter().take(SHOWN).map(name_of).collect();
        if found.len() > SHOWN {
            images.push(format!("{} more", found.len() - SHOWN));
        }
        Ok(ImageError::AmbiguousId { start: start.to_owned(), images })
    }

    /// The image with this id.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub fn image(&self, id: &Digest) -> Result<Option<Image>, ImageError> {
        // One that cannot be read is pulled anew, as one that is missing.
        let Some(record) = record::read_if_whole::<ImageRecord>(&self.image_path(id)) else { return Ok(None) };
        let names = self.names()?.into_iter().filter(|name| name.image == *id).collect();
        Ok(Some(self.assemble(record, names)))
    }

    /// The same without its names, which are searched for among those of all images.
    pub(super) fn unnamed(&self, id: &Digest) -> Option<Image> {
        let record = record::read_if_whole::<ImageRecord>(&self.image_path(id))?;
        Some(self.assemble(record, Vec::new()))
    }

    /// Every image, the newest first.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub fn images(&self) -> Result<Vec<Image>, ImageError> {
        let mut names: BTreeMap<Digest, Vec<NameRecord>> = BTreeMap::new();
        for name in self.names()? {
            names.entry(name.image).or_default().push(name);
        }
        let mut images = Vec::new();
        for id in self.image_ids()? {
            // It may have been removed since the folder was listed.
            if let Some(record) = record::read_if_whole::<ImageRecord>(&self.image_path(&id)) {
                images.push(self.assemble(record, names.remove(&id).unwrap_or_default()));
            }
        }
        images.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.references.cmp(&b.references)));
        Ok(images)
    }

    /// Bytes of the files of each layer, from the bottom up.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub fn layer_sizes(&self, id: &Digest) -> Result<Vec<u64>, ImageError> {
        let record = self.image_record(id)?;
        Ok(record.map_or_else(Vec::new, |record| record.layers.iter().map(|layer| layer.size).collect()))
    }

    fn assemble(&self, record: ImageRecord, names: Vec<NameRecord>) -> Image {
        let (mut references, mut digests): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
        for name in names {
            if let Some(digest) = name.digest {
                digests.push(name.reference.at(digest));
            }
            if name.reference.digest().is_some() {
                digests.push(name.reference);
            } else {
                references.push(name.reference);
            }
        }
        references.sort();
        digests.sort();
        digests.dedup();
        let bottom = record.layers.iter().rposition(|layer| layer.opaque).unwrap_or(0);
        let mut layers: Vec<PathBuf> =
            record.layers[bottom..].iter().rev().map(|layer| self.layer_fs(&layer.key)).collect();
        if layers.is_empty() {
            layers.push(self.empty_layer());
        }
        Image {
            id: record.id,
            references,
            digests,
            manifest: record.manifest,
            layers,
            diff_ids: record.layers.iter().map(|layer| layer.diff_id).collect(),
            size: record.layers.iter().map(|layer| layer.size).sum(),
            config: record.config,
            history: record.history,
            created: record.created,
            author: record.author,
            architecture: record.platform.architecture.clone(),
            platform: record.platform,
        }
    }

    pub(super) fn image_ids(&self) -> Result<Vec<Digest>, ImageError> {
        let files = json_files(&self.root.join("images"))?;
        Ok(files.iter().filter_map(|path| format!("sha256:{}", path.file_stem()?.to_str()?).parse().ok()).collect())
    }

    pub(super) fn image_record(&self, id: &Digest) -> Result<Option<ImageRecord>, ImageError> {
        Ok(record::read(&self.image_path(id))?)
    }

    pub(super) fn write_image(&self, image: &ImageRecord) -> Result<(), ImageError> {
        Ok(record::write(&self.image_path(&image.id), image, Durability::Machine)?)
    }

    fn empty_layer(&self) -> PathBuf {
        self.root.join("empty")
    }

    pub(super) fn image_path(&self, id: &Digest) -> PathBuf {
        self.root.join("images").join(format!("{}.json", id.hex()))
    }

    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.hex())
    }

    /// The same content compressed by us: archives that came uncompressed.
    pub(super) fn packed_blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(format!("{}.zst", digest.hex()))
    }

    pub(super) fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).exists() || self.packed_blob_path(digest).exists()
    }

    /// Half of the digest keeps mount options short; the record inside has all of it.
    pub(super) fn layer_key(digest: &Digest) -> String {
        digest.hex()[..32].to_owned()
    }

    pub(super) fn layer_folder(&self, key: &str) -> PathBuf {
        self.root.join("layers").join(key)
    }

    pub(super) fn layer_fs(&self, key: &str) -> PathBuf {
        self.layer_folder(key).join("fs")
    }

    /// The unpacked layer with this content, if it is here and whole: as the archive has it, or, with a chain id,
    /// as completed on top of those layers.
    pub(super) fn layer(
        &self,
        diff_id: &Digest,
        chain_id: Option<&Digest>,
    ) -> Result<Option<(String, LayerRecord)>, ImageError> {
        let key = Self::layer_key(chain_id.unwrap_or(diff_id));
        let folder = self.layer_folder(&key);
        let Some(record) = record::read_or_set_aside::<LayerRecord>(&folder.join("layer.json"))? else {
            return Ok(None);
        };
        let fits = record.diff_id == *diff_id && record.chain_id.as_ref() == chain_id;
        let whole = || record.boot_id == boot_id() || folder.join("synced").exists();
        Ok((fits && whole()).then_some((key, record)))
    }

    /// Puts a finished folder in its place. A folder that is there already is broken (its user looked) and makes way.
    pub(super) fn place_layer(&self, session: &Session, from: &Path, key: &str) -> Result<(), ImageError> {
        let to = self.layer_folder(key);
        match fs::rename(&to, session.path("broken")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(ImageError::io("replace", &to)(error)),
            _ => {}
        }
        fs::rename(from, &to).map_err(ImageError::io("create", &to))
    }

    /// Makes sure that the layers survive a crash of the machine: one sync for all of them.
    pub(super) fn sync_layers(&self, keys: &[String]) -> Result<(), ImageError> {
        let marks: Vec<PathBuf> =
            keys.iter().map(|key| self.layer_folder(key).join("synced")).filter(|mark| !mark.exists()).collect();
        if marks.is_empty() {
            return Ok(());
        }
        self.sync()?;
        for mark in marks {
            File::create(&mark).map_err(ImageError::io("create", &mark))?;
        }
        Ok(())
    }

    /// Everything that was written survives a crash of the machine.
    pub(super) fn sync(&self) -> Result<(), ImageError> {
        let folder = File::open(&self.root).map_err(ImageError::io("open", &self.root))?;
        rustix::fs::syncfs(&folder).map_err(|errno| ImageError::io("sync", &self.root)(errno.into()))
    }

    /// Held while content is used that no record names yet, so that nobody removes it meanwhile.
    pub(super) fn using(&self) -> Result<Held, ImageError> {
        let path = self.root.join("locks/use");
        session::shared(&path).map_err(ImageError::io("lock", &path))
    }

    /// Held while a layer is fetched and unpacked: whoever wants the same one waits and then finds it.
    pub(super) fn making(&self, diff_id: &Digest) -> Result<Held, ImageError> {
        let path = self.root.join("locks").join(Self::layer_key(diff_id));
        session::exclusive(&path).map_err(ImageError::io("lock", &path))
    }

    pub(super) fn session(&self) -> Result<Session, ImageError> {
        let path = self.root.join("tmp");
        Session::start(&path).map_err(ImageError::io("prepare", &path))
    }
}

/// A text that can be nothing but an id or the beginning of one.
#[must_use]
pub fn is_whole_id(text: &str) -> bool {
    text.starts_with("sha256:") || (text.len() == 64 && is_digits(text))
}

/// A text that can be the beginning of an id as well as a name.
#[must_use]
pub fn could_be_id(text: &str) -> bool {
    is_whole_id(text) || is_digits(text)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub(super) fn boot_id() -> String {
    crate::state::process::boot_id().unwrap_or_default()
}

fn json_files(folder: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let mut files = Vec::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // No store has been made yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(ImageError::io("read", folder)(error)),
    };
    for entry in entries {
        let path = entry.map_err(ImageError::io("read", folder))?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    Ok(files)
}

/// For records of this store.
pub(super) fn write_record<T: Record>(path: &Path, record: &T) -> Result<(), ImageError> {
    Ok(record::write(path, record, Durability::Process)?)
}
