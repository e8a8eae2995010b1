//! Images from files: docker archives, OCI archives and OCI layouts.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::Read;
use std::path::PathBuf;

use serde::Deserialize;

use super::digest::Digest;
use super::error::ImageError;
use super::import::{Import, Source, Wanted};
use super::manifest::{
    Descriptor, ImageManifest, LARGEST_CONFIG, LARGEST_MANIFEST, MOST_LAYERS, Manifest, ManifestError, OCI_CONFIG,
    OCI_LAYER, OCI_MANIFEST, choose,
};
use super::members::{Members, missing};
use super::platform::Platform;
use super::progress::{Reporter, TransferObserver, TransferStatus};
use super::reference::Reference;
use super::store::{Archives, NameRecord, Session, Store};
use super::unpack::Limits;
use crate::state::record::Durability;

/// Where images are loaded from.
pub enum Input<'a> {
    /// An archive (which may be compressed), or a folder with an OCI layout.
    Path(PathBuf),
    Stream(Box<dyn Read + Send + 'a>),
}

impl std::fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Self::Stream(_) => f.debug_tuple("Stream").finish(),
        }
    }
}

#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Which variant of an image to take.
    pub platform: Platform,
    pub limits: Limits,
    /// Layers that are unpacked at the same time.
    pub parallel: usize,
    /// For the images that have no name of their own.
    pub name: Option<Reference>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { platform: Platform::host(), limits: Limits::default(), parallel: 4, name: None }
    }
}

/// One image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    pub image: Digest,
    pub references: Vec<Reference>,
}

/// Loads every image of an archive or layout.
///
/// # Errors
/// When it holds no image, or one that is damaged or hostile.
pub fn load(
    store: &Store,
    input: Input<'_>,
    options: &LoadOptions,
    progress: TransferObserver<'_>,
) -> Result<Vec<Loaded>, ImageError> {
    let session = store.session()?;
    let members = match input {
        Input::Path(path) => Members::open(&path, &session, &options.limits)?,
        Input::Stream(stream) => Members::from_stream(stream, &session, &options.limits)?,
    };
    let _using = store.using()?;
    let mut loader = Loader {
        store,
        session: &session,
        members: &members,
        options,
        progress,
        archives: Archives::default(),
        named: 0,
    };
    let loaded = if let Some(index) = members.read("index.json", LARGEST_MANIFEST)? {
        loader.oci(&index)
    } else if let Some(manifest) = members.read("manifest.json", LARGEST_MANIFEST)? {
        loader.docker(&manifest)
    } else {
        Err(ImageError::NotAnImage("it has neither index.json (OCI) nor manifest.json (Docker)".into()))
    };
    if loader.named > SYNCED_ONE_BY_ONE {
        store.sync()?;
    }
    loaded
}

/// More names than this are synced together: one image may have tens of thousands.
const SYNCED_ONE_BY_ONE: usize = 16;

struct Loader<'a> {
    store: &'a Store,
    session: &'a Session,
    members: &'a Members,
    options: &'a LoadOptions,
    progress: TransferObserver<'a>,
    archives: Archives,
    /// Names that were written.
    named: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

struct MemberLayers<'a> {
    members: &'a Members,
    names: Vec<String>,
}

impl Source for MemberLayers<'_> {
    fn open(&self, index: usize) -> Result<Box<dyn Read + Send + '_>, ImageError> {
        let name = &self.names[index];
        Ok(self.members.get(name)?.ok_or_else(|| missing(name))?.0)
    }
}

impl Loader<'_> {
    fn oci(&mut self, index: &[u8]) -> Result<Vec<Loaded>, ImageError> {
        let Manifest::Index(members) = Manifest::parse(index, None)? else {
            return Err(ImageError::NotAnImage("its index.json is not an index".into()));
        };
        let mut all = Images::default();
        // By the descriptor: an index may name one manifest again and again.
        let mut known: HashMap<Digest, Option<Digest>> = HashMap::new();
        for descriptor in self.chosen(&members)? {
            let references = self.names_of(descriptor)?;
            let image = match known.get(&descriptor.digest) {
                Some(image) => *image,
                None => self.bring(descriptor, &references)?,
            };
            known.insert(descriptor.digest, image);
            let Some(image) = image else { continue };
            self.name(&references, &image, Some(descriptor.digest))?;
            all.add(image, references);
        }
        all.listed().ok_or_else(|| ImageError::NotAnImage("it holds no image".into()))
    }

    /// `None` for what is beside an image.
    fn bring(&self, descriptor: &Descriptor, references: &[Reference]) -> Result<Option<Digest>, ImageError> {
        let Some((bytes, manifest)) = self.image_of(descriptor)? else { return Ok(None) };
        let layers = MemberLayers {
            members: self.members,
            names: manifest.layers.iter().map(|layer| blob_name(&layer.digest)).collect(),
        };
        let wanted = manifest.layers.iter().map(|layer| Wanted {
            digest: Some(layer.digest),
            size: Some(layer.size),
            media_type: layer.media_type.clone(),
        });
        let config = self.checked_blob(&manifest.config, LARGEST_CONFIG)?;
        let import = About {
            manifest: Some(&bytes),
            manifest_type: &manifest.media_type,
            config: &config,
            config_type: &manifest.config.media_type,
        };
        self.import(import, wanted.collect(), &layers, references).map(Some)
    }

    /// The members that run here; a layout of one image for another machine is loaded all the same.
    fn chosen<'m>(&self, members: &'m [Descriptor]) -> Result<Vec<&'m Descriptor>, ImageError> {
        let fits = |descriptor: &&Descriptor| {
            descriptor.platform.is_none() || choose(std::slice::from_ref(*descriptor), &self.options.platform).is_ok()
        };
        let chosen: Vec<_> = members.iter().filter(fits).collect();
        match (&chosen[..], members) {
            ([], [only]) => Ok(vec![only]),
            ([], [_, ..]) => Err(choose(members, &self.options.platform)
                .err()
                .map_or_else(|| ImageError::NotAnImage("it holds no image".into()), ImageError::from)),
            _ => Ok(chosen),
        }
    }

    fn names_of(&self, descriptor: &Descriptor) -> Result<Vec<Reference>, ImageError> {
        let annotation = |key| descriptor.annotations.get(key);
        let name = annotation("io.containerd.image.name").or_else(|| {
            // By the specification this may be a mere tag, which names no image.
            annotation("org.opencontainers.image.ref.name").filter(|name| name.contains([':', '/']))
        });
        match name {
            Some(name) => Ok(vec![name.parse()?]),
            None => Ok(self.options.name.iter().cloned().collect()),
        }
    }

    /// The image manifest behind a descriptor; an index is followed to the variant for this machine.
    fn image_of(&self, descriptor: &Descriptor) -> Result<Option<(Vec<u8>, ImageManifest)>, ImageError> {
        let mut descriptor = descriptor.clone();
        for _ in 0..4 {
            let bytes = self.checked_blob(&descriptor, LARGEST_MANIFEST)?;
            match Manifest::parse(&bytes, Some(&descriptor.media_type)) {
                Ok(Manifest::Image(manifest)) => return Ok(Some((bytes, manifest))),
                Ok(Manifest::Index(members)) => descriptor = choose(&members, &self.options.platform)?.clone(),
                // Signatures and attestations beside the image.
                Err(ManifestError::Artifact(_)) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Err(ImageError::NotAnImage("its indexes are nested too deep".into()))
    }

    fn checked_blob(&self, descriptor: &Descriptor, largest: u64) -> Result<Vec<u8>, ImageError> {
        let name = blob_name(&descriptor.digest);
        let bytes = self.members.need(&name, largest)?;
        let found = Digest::of(&bytes);
        if found != descriptor.digest {
            return Err(ImageError::Mismatch { what: format!("`{name}`"), expected: descriptor.digest, found });
        }
        Ok(bytes)
    }

    fn docker(&mut self, manifest: &[u8]) -> Result<Vec<Loaded>, ImageError> {
        let images: Vec<DockerImage> = serde_json::from_slice(manifest)
            .map_err(|error| ImageError::NotAnImage(format!("its manifest.json cannot be read: {error}")))?;
        let mut all = Images::default();
        let mut known: HashMap<(String, Vec<String>), Digest> = HashMap::new();
        for image in images {
            let mut references = Vec::new();
            for name in image.repo_tags.iter().flatten() {
                references.push(name.parse::<Reference>()?);
            }
            if references.is_empty() {
                references.extend(self.options.name.clone());
            }
            let names = image.layers.unwrap_or_default();
            let key = (image.config, names.clone());
            if let Some(image) = known.get(&key) {
                self.name(&references, image, None)?;
                all.add(*image, references);
                continue;
            }
            let config = self.members.need(&key.0, LARGEST_CONFIG)?;
            if names.len() > MOST_LAYERS {
                return Err(ManifestError::TooManyLayers(names.len()).into());
            }
            let mut wanted = Vec::with_capacity(names.len());
            for name in &names {
                let size = self.members.get(name)?.ok_or_else(|| missing(name))?.1;
                wanted.push(Wanted { digest: None, size: Some(size), media_type: OCI_LAYER.into() });
            }
            let import =
                About { manifest: None, manifest_type: OCI_MANIFEST, config: &config, config_type: OCI_CONFIG };
            let layers = MemberLayers { members: self.members, names };
            let image = self.import(import, wanted, &layers, &references)?;
            self.name(&references, &image, None)?;
            known.insert(key, image);
            all.add(image, references);
        }
        all.listed().ok_or_else(|| ImageError::NotAnImage("its manifest.json lists no image".into()))
    }

    fn name(&mut self, references: &[Reference], image: &Digest, digest: Option<Digest>) -> Result<(), ImageError> {
        for reference in references {
            self.named += 1;
            let durability = if self.named > SYNCED_ONE_BY_ONE { Durability::Process } else { Durability::Machine };
            self.store.write_name(&NameRecord::new(reference, image).standing_for(digest), durability)?;
        }
        Ok(())
    }

    fn import(
        &self,
        about: About<'_>,
        layers: Vec<Wanted>,
        source: &dyn Source,
        references: &[Reference],
    ) -> Result<Digest, ImageError> {
        let label = references.first().map_or_else(|| Digest::of(about.config).short(), Reference::familiar);
        let reporter = Reporter { image: &label, progress: self.progress };
        let bytes = layers.iter().filter_map(|layer| layer.size).fold(0, u64::saturating_add);
        reporter.image(TransferStatus::Pulling { layers: layers.len(), bytes });
        let import = Import {
            manifest: about.manifest,
            manifest_type: about.manifest_type,
            config: about.config,
            config_type: about.config_type,
            layers,
            source,
            limits: self.options.limits,
            parallel: self.options.parallel,
            reporter,
            archives: &self.archives,
        };
        let image = import.run(self.store, self.session)?;
        reporter.image(TransferStatus::Done { changed: true });
        Ok(image.id)
    }
}

/// Each image once, in the order in which they came.
#[derive(Default)]
struct Images {
    loaded: Vec<Loaded>,
    places: HashMap<Digest, usize>,
}

impl Images {
    fn add(&mut self, image: Digest, references: Vec<Reference>) {
        match self.places.entry(image) {
            Entry::Occupied(place) => self.loaded[*place.get()].references.extend(references),
            Entry::Vacant(place) => {
                place.insert(self.loaded.len());
                self.loaded.push(Loaded { image, references });
            }
        }
    }

    fn listed(self) -> Option<Vec<Loaded>> {
        (!self.loaded.is_empty()).then_some(self.loaded)
    }
}

struct About<'a> {
    manifest: Option<&'a [u8]>,
    manifest_type: &'a str,
    config: &'a [u8],
    config_type: &'a str,
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

#[cfg(test)]
mod tests;
