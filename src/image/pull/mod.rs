//! Images from registries.

use std::io::Read;
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use super::digest::Digest;
use super::error::ImageError;
use super::import::{Import, Source, Wanted};
use super::manifest::{ImageManifest, LARGEST_CONFIG, Manifest, choose};
use super::platform::Platform;
use super::progress::{Reporter, TransferObserver, TransferStatus};
use super::reference::Reference;
use super::registry::{Client, Fetched};
use super::store::{Archives, Image, NameRecord, Store};
use super::unpack::Limits;
use crate::state::record::Durability;

/// Docker's `docker pull` and containerd fetch three at a time; unpacking is bound by the processors.
const FETCH_AT_ONCE: usize = 4;
const DEEPEST_INDEX: usize = 4;

/// When to ask the registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PullPolicy {
    Always,
    /// When it was not pulled, loaded or tagged for this long.
    Refresh(Duration),
    /// Only when the image is not here.
    #[default]
    Missing,
    Never,
}

impl PullPolicy {
    /// The one of two that asks more often.
    #[must_use]
    pub fn more_eager(self, other: Self) -> Self {
        let rank = |policy| match policy {
            Self::Always => (0, Duration::ZERO),
            Self::Refresh(after) => (1, after),
            Self::Missing => (2, Duration::ZERO),
            Self::Never => (3, Duration::ZERO),
        };
        if rank(other) < rank(self) { other } else { self }
    }
}

#[derive(Debug, Clone)]
pub struct PullOptions {
    pub policy: PullPolicy,
    /// `None`: this machine's.
    pub platform: Option<Platform>,
    pub limits: Limits,
    /// Layers of an image that are fetched and unpacked at the same time.
    pub parallel: usize,
}

impl Default for PullOptions {
    fn default() -> Self {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            policy: PullPolicy::default(),
            platform: None,
            limits: Limits::default(),
            parallel: FETCH_AT_ONCE.max(processors).min(16),
        }
    }
}

/// Gives the image, without its names, pulling it when the policy says so.
///
/// # Errors
/// When it is not here and may not or cannot be pulled.
pub fn ensure(
    store: &Store,
    client: &Client,
    reference: &Reference,
    options: &PullOptions,
    progress: TransferObserver<'_>,
) -> Result<Image, ImageError> {
    match foresee(store, reference, options.policy, options.platform.as_ref())? {
        Foresight::Here(image) => Ok(*image),
        Foresight::Pull(_) => pull(store, client, reference, options, progress),
    }
}

/// What [`ensure`] does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foresight {
    /// What is here will do.
    Here(Box<Image>),
    /// It asks the registry; with what is here, if that may come out of it again.
    Pull(Option<Box<Image>>),
}

/// What [`ensure`] would do. No registry is asked.
///
/// # Errors
/// When the image is not here and may not be pulled.
pub fn foresee(
    store: &Store,
    reference: &Reference,
    policy: PullPolicy,
    platform: Option<&Platform>,
) -> Result<Foresight, ImageError> {
    let here = store.named(reference, platform)?.filter(|named| named.image.is_whole());
    let here = match here.map(|named| fits(reference, &named.image, platform).map(|()| named)) {
        Some(Ok(named)) => Some(named),
        Some(Err(error)) if policy == PullPolicy::Never => return Err(error),
        Some(Err(_)) | None => None,
    };
    match here {
        Some(named) if policy != PullPolicy::Always && !is_due(named.at, policy) => {
            Ok(Foresight::Here(Box::new(named.image)))
        }
        None if policy == PullPolicy::Never => Err(ImageError::Never { reference: reference.familiar() }),
        here => Ok(Foresight::Pull(here.map(|named| Box::new(named.image)))),
    }
}

/// Whether what is here has grown old. A clock that was set back makes nothing old.
fn is_due(named: Option<SystemTime>, policy: PullPolicy) -> bool {
    let PullPolicy::Refresh(after) = policy else { return false };
    named.is_none_or(|named| SystemTime::now().duration_since(named).is_ok_and(|age| age >= after))
}

/// One image that is wanted.
#[derive(Debug, Clone)]
pub struct Need {
    pub reference: Reference,
    pub policy: PullPolicy,
    pub platform: Option<Platform>,
}

/// Several images at the same time, in the order they were asked for. A failed one does not keep the others.
pub fn ensure_all(
    store: &Store,
    client: &Client,
    needs: &[Need],
    options: &PullOptions,
    at_once: usize,
    progress: TransferObserver<'_>,
) -> Vec<Result<Image, ImageError>> {
    let next = Mutex::new(0..needs.len());
    let results = Mutex::new(needs.iter().map(|_| None).collect::<Vec<_>>());
    thread::scope(|scope| {
        for _ in 0..at_once.clamp(1, needs.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let Some(index) = next.lock().unwrap_or_else(PoisonError::into_inner).next() else { return };
                    let need = &needs[index];
                    let options =
                        PullOptions { policy: need.policy, platform: need.platform.clone(), ..options.clone() };
                    let result = ensure(store, client, &need.reference, &options, progress);
                    results.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(result);
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    let lost = |reference: &Reference| Err(ImageError::NotFound(reference.familiar()));
    results.into_iter().zip(needs).map(|(result, need)| result.unwrap_or_else(|| lost(&need.reference))).collect()
}

/// Asks the registry what the name means now, and brings in what is missing of it. The image comes without its names.
///
/// # Errors
/// When the registry does not give the image, or the image is damaged or hostile.
pub fn pull(
    store: &Store,
    client: &Client,
    reference: &Reference,
    options: &PullOptions,
    progress: TransferObserver<'_>,
) -> Result<Image, ImageError> {
    let label = reference.familiar();
    let puller = Puller { store, client, reference, options, reporter: Reporter { image: &label, progress } };
    puller.run().map_err(|source| match source {
        error @ ImageError::Platform { .. } => error,
        source => ImageError::Pull { reference: label.clone(), source: Box::new(source) },
    })
}

struct Puller<'a> {
    store: &'a Store,
    client: &'a Client,
    reference: &'a Reference,
    options: &'a PullOptions,
    reporter: Reporter<'a>,
}

struct RegistryLayers<'a> {
    client: &'a Client,
    reference: &'a Reference,
    from: &'a Fetched,
    manifest: &'a ImageManifest,
}

impl Source for RegistryLayers<'_> {
    fn open(&self, index: usize) -> Result<Box<dyn Read + Send + '_>, ImageError> {
        Ok(Box::new(self.client.blob_reader(self.from, self.reference, &self.manifest.layers[index])?))
    }
}

impl Puller<'_> {
    fn run(&self) -> Result<Image, ImageError> {
        self.reporter.image(TransferStatus::Resolving);
        let named = self.client.manifest(self.reference)?;
        let (fetched, manifest) = self.image_manifest(&named)?;
        let id = manifest.config.digest;
        let _using = self.store.using()?;
        let known = self.store.unnamed(&id).filter(Image::is_whole);
        let platform = self.options.platform.as_ref();
        let before = self.store.named(self.reference, platform)?.map(|named| named.image.id);
        if known.is_none() {
            self.import(&fetched, &manifest)?;
        }
        let image = self.store.unnamed(&id).ok_or_else(|| ImageError::NotFound(self.reference.familiar()))?;
        fits(self.reference, &image, platform)?;
        let name = NameRecord::new(self.reference, &id).standing_for(Some(named.digest)).asked_for(platform);
        self.store.write_name(&name, Durability::Machine)?;
        self.reporter.image(TransferStatus::Done { changed: before != Some(id) });
        Ok(image)
    }

    /// Follows indexes to the variant for the platform.
    fn image_manifest(&self, named: &Fetched) -> Result<(Fetched, ImageManifest), ImageError> {
        let platform = self.options.platform.clone().unwrap_or_else(Platform::host);
        let mut fetched = named.clone();
        for _ in 0..DEEPEST_INDEX {
            match Manifest::parse(&fetched.bytes, fetched.media_type.as_deref())? {
                Manifest::Image(manifest) => return Ok((fetched, manifest)),
                Manifest::Index(members) => {
                    fetched = self.client.member(&fetched, self.reference, choose(&members, &platform)?)?;
                }
            }
        }
        Err(ImageError::NotAnImage("its indexes are nested too deep".into()))
    }

    fn import(&self, fetched: &Fetched, manifest: &ImageManifest) -> Result<(), ImageError> {
        if manifest.config.size > LARGEST_CONFIG {
            return Err(ImageError::NotAnImage(format!("its configuration has {} bytes", manifest.config.size)));
        }
        let config = self.client.blob(fetched, self.reference, &manifest.config)?;
        let found = Digest::of(&config);
        if found != manifest.config.digest {
            let what = "the image's configuration".to_owned();
            return Err(ImageError::Mismatch { what, expected: manifest.config.digest, found });
        }
        let layers: Vec<Wanted> = manifest
            .layers
            .iter()
            .map(|layer| Wanted {
                digest: Some(layer.digest),
                size: Some(layer.size),
                media_type: layer.media_type.clone(),
            })
            .collect();
        let bytes = manifest.layers.iter().fold(0, |sum: u64, layer| sum.saturating_add(layer.size));
        self.reporter.image(TransferStatus::Pulling { layers: layers.len(), bytes });
        let source = RegistryLayers { client: self.client, reference: self.reference, from: fetched, manifest };
        let session = self.store.session()?;
        let import = Import {
            manifest: Some(&fetched.bytes),
            manifest_type: &manifest.media_type,
            config: &config,
            config_type: &manifest.config.media_type,
            layers,
            source: &source,
            limits: self.options.limits,
            parallel: self.options.parallel,
            reporter: self.reporter,
            archives: &Archives::default(),
        };
        import.run(self.store, &session)?;
        Ok(())
    }
}

/// Whether the image is for the platform that was asked for; without one, anything that is here will do.
fn fits(reference: &Reference, image: &Image, wanted: Option<&Platform>) -> Result<(), ImageError> {
    match wanted {
        Some(wanted) if wanted.rank(&image.platform).is_none() => Err(ImageError::Platform {
            reference: reference.familiar(),
            found: image.platform.to_string(),
            wanted: wanted.to_string(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
