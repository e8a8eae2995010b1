//! How the images of the store describe the archives of their layers, for layers that come without a description.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::{ImageRecord, LayerRef, Store};
use crate::image::digest::Digest;
use crate::image::error::ImageError;
use crate::state::record;

/// Read at the first question and then kept: an archive may bring thousands of images, each with many layers.
#[derive(Debug, Default)]
pub struct Archives(Mutex<Option<HashMap<Digest, LayerRef>>>);

impl Archives {
    /// How some image describes the archive of a layer, one whose archive was kept if there is any.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn of(&self, store: &Store, diff_id: &Digest) -> Result<Option<LayerRef>, ImageError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            let mut layers = HashMap::new();
            for id in store.image_ids()? {
                if let Some(image) = record::read_if_whole::<ImageRecord>(&store.image_path(&id)) {
                    note(&mut layers, store, &image);
                }
            }
            *known = Some(layers);
        }
        Ok(known.as_ref().and_then(|layers| layers.get(diff_id)).cloned())
    }

    /// There is one image more.
    pub fn add(&self, store: &Store, image: &ImageRecord) {
        if let Some(layers) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            note(layers, store, image);
        }
    }
}

fn note(layers: &mut HashMap<Digest, LayerRef>, store: &Store, image: &ImageRecord) {
    for layer in &image.layers {
        if layers.get(&layer.diff_id).is_none_or(|known| !store.has_blob(&known.digest)) {
            layers.insert(layer.diff_id, layer.clone());
        }
    }
}
