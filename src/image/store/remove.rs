//! Removing names and images, and content that nothing refers to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Image, NameRecord, Session, Store, name_key, session};
use crate::image::digest::Digest;
use crate::image::error::ImageError;
use crate::image::reference::Reference;
use crate::state::{paths, record};
use crate::sys::regular;

/// Longer records are not ours.
const LONGEST_RECORD: u64 = 64 << 20;

/// Which containers were made from which image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uses {
    by_image: BTreeMap<Digest, Vec<String>>,
    /// Containers that may have been made from any image, since their records cannot be read: where, and why.
    unknown: Vec<(PathBuf, String)>,
}

/// One thing that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    Name(Reference),
    Image(Digest),
}

/// What a removal did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removal {
    pub removed: Vec<Removed>,
    /// Space that came free.
    pub bytes: u64,
    /// Images that lost their names but stay, because containers need their files.
    pub kept: Vec<(Digest, String)>,
}

#[derive(Deserialize)]
struct ContainerImage {
    #[serde(default)]
    name: String,
    image: ImageId,
    #[serde(default)]
    mounted_images: Vec<ImageId>,
}

#[derive(Deserialize)]
struct ImageId {
    id: String,
}

impl Uses {
    /// Reads the records of all containers below the folder of all projects. One that cannot be read may be that of a
    /// container of any image: as long as it is there, every image counts as used.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn read(projects: &Path) -> Result<Self, ImageError> {
        let mut uses = Self::default();
        for project in entries(projects)? {
            for container in entries(&paths::containers(&project))? {
                let path = paths::container_record(&container);
                match regular::read(&path, LONGEST_RECORD).map(|text| serde_json::from_slice::<ContainerImage>(&text)) {
                    Ok(Ok(read)) => {
                        // Containers on the host root file system have an identity that is no digest.
                        let images = std::iter::once(&read.image).chain(&read.mounted_images);
                        let ids: BTreeSet<Digest> = images.filter_map(|image| image.id.parse().ok()).collect();
                        for id in ids {
                            uses.by_image.entry(id).or_default().push(read.name.clone());
                        }
                    }
                    // It is just being made, or just being removed.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => uses.unknown.push((path, error.to_string())),
                    Ok(Err(error)) => uses.unknown.push((path, error.to_string())),
                }
            }
        }
        Ok(uses)
    }

    /// The containers that were, or may have been, made from this image or mount it.
    #[must_use]
    pub fn of(&self, image: &Digest) -> Vec<String> {
        let known = self.by_image.get(image).into_iter().flatten().cloned();
        let unknown =
            self.unknown.iter().map(|(path, _)| format!("a container whose record {} is damaged", path.display()));
        known.chain(unknown).collect()
    }

    /// The records that cannot be read, for which no image is removed: where they are, and why.
    #[must_use]
    pub fn unknown(&self) -> &[(PathBuf, String)] {
        &self.unknown
    }
}

impl Store {
    /// Removes a name, and the image when that was its last one; or, by id, the image with all its names.
    ///
    /// With `force`, an image that containers use loses its names; its files stay as long as they are used.
    ///
    /// # Errors
    /// When there is no such image, when containers use it, or when an id has several names (without `force`).
    pub fn remove(&self, text: &str, uses: &Uses, force: bool) -> Result<Removal, ImageError> {
        let session = self.session()?;
        let _removing = self.removing()?;
        let (image, doomed, is_last) = self.doomed(text, uses, force)?;
        let mut removal = Removal::default();
        for name in doomed {
            self.forget(&name)?;
            removal.removed.push(Removed::Name(name.reference));
        }
        if is_last {
            let left: Vec<NameRecord> = self.names()?.into_iter().filter(|name| name.image == image.id).collect();
            self.drop_image(&image, &uses.of(&image.id), &left, &mut removal)?;
        }
        self.collect(&session, &mut removal)?;
        Ok(removal)
    }

    /// What [`Self::remove`] would remove.
    ///
    /// # Errors
    /// As that.
    pub fn would_remove(&self, text: &str, uses: &Uses, force: bool) -> Result<Vec<Removed>, ImageError> {
        let (image, doomed, is_last) = self.doomed(text, uses, force)?;
        let names = doomed.into_iter().map(|name| Removed::Name(name.reference));
        let goes = is_last && uses.of(&image.id).is_empty();
        Ok(names.chain(goes.then_some(Removed::Image(image.id))).collect())
    }

    /// The image that is meant, the names of it that go, and whether these are all.
    fn doomed(&self, text: &str, uses: &Uses, force: bool) -> Result<(Image, Vec<NameRecord>, bool), ImageError> {
        let image = self.resolve(text)?.ok_or_else(|| ImageError::NotFound(text.to_owned()))?;
        let named = text.parse::<Reference>().ok().map(|reference| name_key(&reference));
        let mut names: Vec<NameRecord> = self.names()?.into_iter().filter(|name| name.image == image.id).collect();
        names.sort_by(|a, b| a.reference.cmp(&b.reference));
        // A text that is an id means all names.
        let by_name = named.filter(|named| self.find(named).is_ok_and(|found| found.is_some()));
        let is_doomed = |name: &NameRecord| by_name.as_ref().is_none_or(|named| means(name, named));
        let (doomed, left): (Vec<NameRecord>, Vec<NameRecord>) = names.into_iter().partition(is_doomed);
        // Names with digests do not keep an image: they are only another way to say the same.
        let is_tag = |name: &&NameRecord| name.reference.digest().is_none();
        if by_name.is_none() && !force {
            let tags: Vec<String> = doomed.iter().filter(is_tag).map(|name| name.reference.familiar()).collect();
            if tags.len() > 1 {
                let names = tags.join(", ");
                return Err(ImageError::Refused(format!("image {} has several names ({names})", image.id.short())));
            }
        }
        let is_last = left.iter().filter(is_tag).count() == 0;
        let users = uses.of(&image.id);
        if is_last && !users.is_empty() && !force {
            return Err(ImageError::InUse { image: text.to_owned(), by: users.join(", ") });
        }
        Ok((image, doomed, is_last))
    }

    /// Removes images without a name, with `all` also those that no container uses, and content without an image.
    ///
    /// # Errors
    /// When something cannot be read or removed.
    pub fn prune(&self, uses: &Uses, all: bool, wanted: &dyn Fn(&Image) -> bool) -> Result<Removal, ImageError> {
        let session = self.session()?;
        let _removing = self.removing()?;
        let mut removal = Removal::default();
        let mut names: BTreeMap<Digest, Vec<NameRecord>> = BTreeMap::new();
        for name in self.names()? {
            names.entry(name.image).or_default().push(name);
        }
        for image in self.would_prune(uses, all, wanted)? {
            for name in names.remove(&image.id).unwrap_or_default() {
                self.forget(&name)?;
                removal.removed.push(Removed::Name(name.reference));
            }
            self.drop_image(&image, &[], &[], &mut removal)?;
        }
        self.collect(&session, &mut removal)?;
        Ok(removal)
    }

    /// The images that [`Self::prune`] would remove.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub fn would_prune(
        &self,
        uses: &Uses,
        all: bool,
        wanted: &dyn Fn(&Image) -> bool,
    ) -> Result<Vec<Image>, ImageError> {
        let goes =
            |image: &Image| uses.of(&image.id).is_empty() && (all || image.references.is_empty()) && wanted(image);
        Ok(self.images()?.into_iter().filter(goes).collect())
    }

    /// `names` are those that are left of it.
    fn drop_image(
        &self,
        image: &Image,
        users: &[String],
        names: &[NameRecord],
        removal: &mut Removal,
    ) -> Result<(), ImageError> {
        if !users.is_empty() {
            removal.kept.push((image.id, users.join(", ")));
            return Ok(());
        }
        for name in names {
            self.forget(name)?;
        }
        let path = self.image_path(&image.id);
        fs::remove_file(&path).map_err(ImageError::io("remove", &path))?;
        removal.removed.push(Removed::Image(image.id));
        Ok(())
    }

    /// Removes layers and blobs that no image refers to. The caller is the only one who uses the store.
    fn collect(&self, session: &Session, removal: &mut Removal) -> Result<(), ImageError> {
        let mut layers = BTreeSet::new();
        let mut blobs = BTreeSet::new();
        for id in self.image_ids()? {
            let Some(image) = self.image_record(&id)? else { continue };
            blobs.extend([image.id.hex(), image.manifest.hex()]);
            for layer in image.layers {
                blobs.insert(layer.digest.hex());
                // A completed layer shares its files with the plain one, which others may want next.
                layers.extend([layer.key, Self::layer_key(&layer.diff_id)]);
            }
        }
        for path in entries(&self.root.join("layers"))? {
            if !layers.contains(&*path.file_name().unwrap_or_default().to_string_lossy()) {
                let record = record::read::<super::LayerRecord>(&path.join("layer.json"));
                removal.bytes += record.ok().flatten().map_or(0, |record| record.size);
                // Out of sight at once; the files go when the session ends.
                let away = session.path("removed");
                fs::rename(&path, &away).map_err(ImageError::io("remove", &path))?;
            }
        }
        for path in entries(&self.root.join("blobs"))? {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if !blobs.contains(&stem) {
                removal.bytes += fs::symlink_metadata(&path).map_or(0, |meta| meta.len());
                fs::remove_file(&path).map_err(ImageError::io("remove", &path))?;
            }
        }
        for path in entries(&self.root.join("locks"))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name != "use" && !layers.contains(&name) {
                let _ = fs::remove_file(&path);
            }
        }
        Ok(())
    }

    fn removing(&self) -> Result<session::Held, ImageError> {
        let path = self.root.join("locks/use");
        session::exclusive(&path).map_err(ImageError::io("lock", &path))
    }
}

/// Whether a record is what the person named, or a digest that came with that name.
fn means(name: &NameRecord, named: &Reference) -> bool {
    if name.reference == *named {
        return true;
    }
    named.digest().is_some()
        && named.digest() == name.digest.as_ref()
        && named.repository() == name.reference.repository()
}

/// The entries of a folder that may not exist.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let read = match fs::read_dir(folder) {
        Ok(read) => read,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(Vec::new()),
        Err(error) => return Err(ImageError::io("read", folder)(error)),
    };
    read.map(|entry| Ok(entry.map_err(ImageError::io("read", folder))?.path())).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::super::super::load::{Input, LoadOptions, load};
    use super::super::super::testing::{self, Item, Packing};
    use super::*;

    struct World {
        folder: tempfile::TempDir,
        store: Store,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(&folder.path().join("images")).unwrap();
            Self { folder, store }
        }

        /// Two layers, of which the lower one is the same in all images.
        fn image(&self, name: &str) -> Digest {
            let layout = self.folder.path().join(name);
            let layers = [vec![Item::dir("./"), Item::file("base", "base")], vec![Item::file("name", name)]];
            let image = testing::image(&layers, Packing::Gzip);
            image.write_layout(&layout, Some(&format!("{name}:1")));
            load(&self.store, Input::Path(layout), &LoadOptions::default(), &|_| {}).unwrap();
            image.config
        }

        fn container(&self, name: &str, image: &Digest) -> Uses {
            let projects = self.folder.path().join("projects");
            let folder = projects.join("p/containers").join(name);
            fs::create_dir_all(&folder).unwrap();
            let record = json!({"version": 1, "name": name, "image": {"reference": "x", "id": image}});
            fs::write(folder.join("record.json"), record.to_string()).unwrap();
            fs::create_dir_all(projects.join("q/containers/unfinished")).unwrap();
            Uses::read(&projects).unwrap()
        }

        fn count(&self, folder: &str) -> usize {
            fs::read_dir(self.store.root().join(folder)).unwrap().count()
        }
    }

    #[test]
    fn the_last_name_takes_the_image_with_it_but_not_what_others_share() {
        let world = World::new();
        let (first, _) = (world.image("first"), world.image("second"));
        world.store.tag(&first, &"other:2".parse().unwrap()).unwrap();
        assert_eq!((world.count("layers"), world.count("blobs")), (3, 7));
        let removal = world.store.remove("first:1", &Uses::default(), false).unwrap();
        assert_eq!(removal.removed, [Removed::Name("first:1".parse().unwrap())]);
        assert_eq!(world.count("layers"), 3);
        let removal = world.store.remove("other:2", &Uses::default(), false).unwrap();
        assert_eq!(removal.removed, [Removed::Name("other:2".parse().unwrap()), Removed::Image(first)]);
        assert!(removal.bytes > 0);
        assert_eq!((world.count("layers"), world.count("blobs"), world.count("images")), (2, 4, 1));
        assert!(matches!(world.store.remove("other:2", &Uses::default(), false), Err(ImageError::NotFound(_))));
        world.store.remove("second:1", &Uses::default(), false).unwrap();
        let left = ["layers", "blobs", "images", "names", "tmp"].map(|folder| world.count(folder));
        assert_eq!(left, [0; 5]);
    }

    #[test]
    fn by_id_all_names_go_when_forced() {
        let world = World::new();
        let id = world.image("app");
        world.store.tag(&id, &"other:2".parse().unwrap()).unwrap();
        let error = world.store.remove(&id.short(), &Uses::default(), false).unwrap_err();
        assert!(error.to_string().contains("has several names (app:1, other:2)"), "{error}");
        world.store.remove(&id.short(), &Uses::default(), true).unwrap();
        assert_eq!(world.store.images().unwrap(), []);
    }

    #[test]
    fn what_a_container_uses_stays() {
        let world = World::new();
        let id = world.image("app");
        let uses = world.container("p-web-1", &id);
        let error = world.store.remove("app:1", &uses, false).unwrap_err();
        assert_eq!(error.to_string(), "image app:1 is in use by p-web-1");
        let removal = world.store.remove("app:1", &uses, true).unwrap();
        assert_eq!(removal.kept, [(id, "p-web-1".to_owned())]);
        let image = world.store.image(&id).unwrap().unwrap();
        assert!(image.layers.iter().all(|layer| layer.exists()));
        assert_eq!(world.store.prune(&uses, true, &|_| true).unwrap().removed, []);
        assert_eq!(world.store.prune(&Uses::default(), false, &|_| true).unwrap().removed, [Removed::Image(id)]);
        assert_eq!(world.count("layers"), 0);
    }

    #[test]
    fn a_damaged_record_keeps_every_image() {
        let world = World::new();
        let id = world.image("app");
        let path = world.folder.path().join("projects/p/containers/p-web-1/record.json");
        for damage in ["", "{\"version\": 1, \"na", "[]", "\0\0\0"] {
            world.container("p-web-1", &id);
            fs::write(&path, damage).unwrap();
            let uses = Uses::read(&world.folder.path().join("projects")).unwrap();
            assert_eq!(uses.unknown().iter().map(|(path, _)| path).collect::<Vec<_>>(), [&path], "{damage:?}");
            assert_eq!(world.store.prune(&uses, true, &|_| true).unwrap(), Removal::default(), "{damage:?}");
            let error = world.store.remove("app:1", &uses, false).unwrap_err();
            assert!(error.to_string().contains("p-web-1/record.json is damaged"), "{error}");
        }
        fs::remove_file(&path).unwrap();
        let uses = Uses::read(&world.folder.path().join("projects")).unwrap();
        assert!(!world.store.prune(&uses, true, &|_| true).unwrap().removed.is_empty());
    }

    #[test]
    fn prune_takes_unnamed_images_and_with_all_unused_ones() {
        let world = World::new();
        let (first, second) = (world.image("first"), world.image("second"));
        world.store.tag(&second, &"first:1".parse().unwrap()).unwrap();
        let removal = world.store.prune(&Uses::default(), false, &|_| true).unwrap();
        assert_eq!(removal.removed, [Removed::Image(first)]);
        let removal = world.store.prune(&Uses::default(), true, &|_| true).unwrap();
        assert!(removal.removed.contains(&Removed::Image(second)));
        assert_eq!(world.store.images().unwrap(), []);
    }
}
