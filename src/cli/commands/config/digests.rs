//! `--resolve-image-digests` and `--lock-image-digests`: images by what they are today.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde_json::{Map, Value};

use super::ConfigArgs;
use crate::cli::Context;
use crate::cli::exit::CommandError;
use crate::cli::images::registry;
use crate::compose::Loaded;
use crate::compose::model::{Project, Service};
use crate::image::Reference;
use crate::image::registry::Client;

/// Registries are asked for so many images at the same time.
const AT_ONCE: usize = 8;

/// Gives the images of the services that are printed their digests.
///
/// # Errors
/// Every image whose registry does not tell.
pub(super) fn pin(loaded: &mut Loaded, args: &ConfigArgs, context: &Context) -> Result<(), CommandError> {
    let images: BTreeSet<String> = match args.no_interpolate {
        true => of_tree(&mut loaded.tree).map(|image| &*image).cloned().collect(),
        false => super::only(&loaded.project, &args.only).services.values().filter_map(|it| it.image.clone()).collect(),
    };
    let pinned = resolve(&registry(context), images)?;
    let change = |image: &mut String| {
        if let Some(pinned) = pinned.get(image) {
            image.clone_from(pinned);
        }
    };
    loaded.project.services.values_mut().filter_map(|service| service.image.as_mut()).for_each(change);
    if args.no_interpolate {
        of_tree(&mut loaded.tree).for_each(change);
    }
    Ok(())
}

/// The images of a tree without interpolation.
fn of_tree(tree: &mut Value) -> impl Iterator<Item = &mut String> {
    let services = tree.get_mut("services").and_then(Value::as_object_mut);
    services.into_iter().flat_map(Map::values_mut).filter_map(|service| match service.get_mut("image") {
        Some(Value::String(image)) => Some(image),
        _ => None,
    })
}

/// Each image and what it is with its digest.
fn resolve(client: &Client, images: BTreeSet<String>) -> Result<BTreeMap<String, String>, CommandError> {
    let threads = images.len().min(AT_ONCE);
    let waiting = Mutex::new(images.into_iter());
    let done = Mutex::new(Vec::new());
    let next = || waiting.lock().ok().and_then(|mut images| images.next());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(image) = next() {
                    let result = with_digest(client, &image);
                    if let Ok(mut done) = done.lock() {
                        done.push((image, result));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by(|(left, _), (right, _)| left.cmp(right));
    let mut pinned = BTreeMap::new();
    let mut failed: Option<CommandError> = None;
    for (image, result) in done {
        match result {
            Ok(text) => _ = pinned.insert(image, text),
            Err(error) => {
                let message = format!("cannot learn the digest of {image}");
                failed = Some(match failed {
                    None => CommandError::caused(message, error.as_ref()),
                    Some(earlier) => earlier.also(message, error.as_ref()),
                });
            }
        }
    }
    match failed {
        None => Ok(pinned),
        Some(error) => Err(error.hint("an image that is only built here is in no registry: push it, or leave it out")),
    }
}

fn with_digest(client: &Client, image: &str) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    if image.contains('$') {
        return Err("its name has a variable in it, and nothing is interpolated".into());
    }
    let reference: Reference = image.parse()?;
    if let Some(digest) = reference.digest() {
        return Ok(reference.at(*digest).to_string());
    }
    let digest = client.manifest(&reference)?.digest;
    Ok(format!("{}:{}@{digest}", reference.repository(), reference.selector()))
}

/// The services with their images and nothing else.
pub(super) fn locked(project: &Project) -> Project {
    let image_alone = |service: &Service| Service { image: service.image.clone(), ..Service::default() };
    Project {
        services: project.services.iter().map(|(name, service)| (name.clone(), image_alone(service))).collect(),
        ..Project::default()
    }
}

/// The same for a tree.
pub(super) fn only_images(tree: &Value) -> Value {
    let services = tree.get("services").and_then(Value::as_object).into_iter().flatten();
    let images = services.map(|(name, service)| {
        let image = service.get("image").map(|image| ("image".to_owned(), image.clone()));
        (name.clone(), Value::Object(image.into_iter().collect()))
    });
    Value::Object([("services".to_owned(), Value::Object(images.collect()))].into_iter().collect())
}
