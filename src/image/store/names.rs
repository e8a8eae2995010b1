//! Names, and the images that they mean.
//!
//! A name means one image, unless images for other machines were asked for: each of those stands beside it, by name and
//! platform, so that none takes the name from another.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use super::{Image, NameRecord, Store, json_files};
use crate::image::digest::Digest;
use crate::image::error::ImageError;
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::state::record::{self, Durability};

/// What a name means, without its other names.
#[derive(Debug)]
pub struct Named {
    pub image: Image,
    /// When it was last pulled, loaded or tagged; `None` for a digest that came with another name.
    pub at: Option<SystemTime>,
}

impl Store {
    /// The image with this name; `None` when it was never pulled, loaded or tagged.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub fn find(&self, reference: &Reference) -> Result<Option<Image>, ImageError> {
        if let Some((id, _)) = self.meaning(reference, None)? {
            return self.image(&id);
        }
        // Here for another machine alone.
        let key = name_key(reference);
        let other = self.names()?.into_iter().find(|name| name.reference == key);
        other.map_or(Ok(None), |name| self.image(&name.image))
    }

    /// Whether a name means an image that is here whole.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub fn has(&self, reference: &Reference, platform: Option<&Platform>) -> Result<bool, ImageError> {
        Ok(self.named(reference, platform)?.is_some_and(|named| named.image.is_whole()))
    }

    /// What a name means for a platform: the image that was asked for with it, or else what the name means anyhow.
    pub(in crate::image) fn named(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<Option<Named>, ImageError> {
        let found = match foreign(platform) {
            Some(platform) => self.meaning(reference, Some(platform))?,
            None => None,
        };
        let found = match found {
            Some(found) => Some(found),
            None => self.meaning(reference, None)?,
        };
        Ok(found.and_then(|(id, at)| Some(Named { image: self.unnamed(&id)?, at })))
    }

    fn meaning(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<Option<(Digest, Option<SystemTime>)>, ImageError> {
        let key = name_key(reference);
        let path = self.name_path(&key, platform);
        if let Some(name) = record::read_or_set_aside::<NameRecord>(&path)? {
            let at = fs::metadata(&path).and_then(|meta| meta.modified()).ok();
            return Ok(Some((name.image, at)));
        }
        // A digest that came with a tag has no record of its own.
        let Some(digest) = reference.digest() else { return Ok(None) };
        let same = |name: &NameRecord| {
            name.digest.as_ref() == Some(digest)
                && name.reference.repository() == reference.repository()
                && name.platform.as_ref() == platform
        };
        Ok(self.names()?.into_iter().find(same).map(|name| (name.image, None)))
    }

    /// Gives an image a further name; a name that meant another image is moved.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn tag(&self, id: &Digest, reference: &Reference) -> Result<(), ImageError> {
        let _using = self.using()?;
        if self.image_record(id)?.is_none() {
            return Err(ImageError::NotFound(id.to_string()));
        }
        self.write_name(&NameRecord::new(reference, id), Durability::Machine)
    }

    pub(in crate::image) fn names(&self) -> Result<Vec<NameRecord>, ImageError> {
        let mut names = Vec::new();
        for path in json_files(&self.root.join("names"))? {
            // One that cannot be read names nothing; the next pull writes it anew.
            names.extend(record::read_if_whole::<NameRecord>(&path));
        }
        Ok(names)
    }

    pub(in crate::image) fn write_name(&self, name: &NameRecord, durability: Durability) -> Result<(), ImageError> {
        Ok(record::write(&self.name_path(&name.reference, name.platform.as_ref()), name, durability)?)
    }

    pub(super) fn forget(&self, name: &NameRecord) -> Result<(), ImageError> {
        let path = self.name_path(&name.reference, name.platform.as_ref());
        fs::remove_file(&path).map_err(ImageError::io("remove", &path))
    }

    /// Names are hashed: they are longer than file names may be.
    fn name_path(&self, key: &Reference, platform: Option<&Platform>) -> PathBuf {
        let platform = platform.map_or_else(String::new, |platform| format!(" {platform}"));
        let hash = Digest::of(format!("{key}{platform}").as_bytes()).hex();
        self.root.join("names").join(format!("{}.json", &hash[..40]))
    }
}

impl NameRecord {
    pub fn new(reference: &Reference, image: &Digest) -> Self {
        Self { reference: name_key(reference), image: *image, digest: None, platform: None }
    }

    /// With what the registry said that the name stands for.
    pub fn standing_for(self, digest: Option<Digest>) -> Self {
        Self { digest: digest.filter(|_| self.reference.digest().is_none()), ..self }
    }

    /// As it was asked for: one for this machine is what the name means without a platform.
    pub fn asked_for(self, platform: Option<&Platform>) -> Self {
        Self { platform: foreign(platform).cloned(), ..self }
    }
}

/// A platform that is not simply this machine's.
fn foreign(platform: Option<&Platform>) -> Option<&Platform> {
    platform.filter(|platform| **platform != Platform::host())
}

/// A name with both is stored by its digest, which decides.
pub fn name_key(reference: &Reference) -> Reference {
    match reference.digest() {
        Some(digest) => reference.at(*digest),
        None => reference.clone(),
    }
}
