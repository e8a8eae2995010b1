//! Images that services mount: `volumes` of `type: image`.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use crate::compose::model::{Project, Service, VolumeMountType};
use crate::image::view::{Sources, View};
use crate::plan::lower::{Fault, ImagePart, MountedImage, ServiceImage};

/// The images of a service's mounts that are of an image: their places in `volumes`, and their names.
pub(super) fn of<'a>(project: &'a Project, service: &str) -> impl Iterator<Item = (usize, &'a str)> {
    let mounts = project.services.get(service).into_iter().flat_map(|service| service.volumes.iter().enumerate());
    mounts
        .filter(|(_, mount)| mount.kind == VolumeMountType::Image)
        .filter_map(|(index, mount)| Some((index, mount.source.as_deref()?)))
}

/// The service of the file that the source of such a mount names: its image is meant.
pub(super) fn service<'a>(project: &'a Project, source: &str) -> Option<(&'a str, &'a Service)> {
    let mut known = project.services.iter().chain(&project.disabled_services);
    known.find(|(name, _)| *name == source).map(|(name, service)| (name.as_str(), service))
}

/// What `image.subpath` means of each, in place of the whole image.
///
/// # Errors
/// Each that is not in its image.
pub(super) fn narrow(project: &Project, images: &mut BTreeMap<String, ServiceImage>) -> Result<(), Vec<Fault>> {
    let mut faults = Vec::new();
    for (name, image) in images {
        let Some(service) = project.services.get(name) else { continue };
        for (index, mounted) in &mut image.mounted {
            let options = service.volumes.get(*index).and_then(|mount| mount.image.as_ref());
            let Some(subpath) = options.and_then(|options| options.subpath.as_deref()) else { continue };
            if let Err(message) = one(mounted, Path::new(subpath)) {
                let path = format!("services.{name}.volumes[{index}].image.subpath");
                let hint = "write a path inside of the image, without `/` at its beginning and without `..`".to_owned();
                faults.push(Fault { path, message, hint: Some(hint) });
            }
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn one(mounted: &mut MountedImage, subpath: &Path) -> Result<(), String> {
    if subpath.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(format!("`{}` leads out of the image {}", subpath.display(), mounted.reference));
    }
    let ImagePart::Folders(layers) = &mounted.part else { return Ok(()) };
    if layers.is_empty() {
        // A dry run knows nothing of an image that is not here.
        return Ok(());
    }
    let found = View::open(layers).and_then(|view| view.sources(subpath.as_os_str().as_bytes()));
    mounted.part = match found {
        Ok(Some(Sources::Folders(folders))) => ImagePart::Folders(folders),
        Ok(Some(Sources::File(file))) => ImagePart::File(file),
        Ok(None) => return Err(format!("the image {} has no `{}`", mounted.reference, subpath.display())),
        Err(error) => {
            return Err(format!("`{}` of the image {} cannot be read: {error}", subpath.display(), mounted.reference));
        }
    };
    Ok(())
}
