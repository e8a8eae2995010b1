//! From the text of a Compose file to what is made of it.

mod hash;
mod upgrade;
mod values;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::compose::model::Project;
use crate::compose::{FsSource, LoadOptions, LoadRequest, load};

use super::{Inputs, ServiceImage};

/// What a command that starts containers makes of a file.
fn project(text: &str) -> Project {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("compose.yaml"), text).unwrap();
    let request = LoadRequest {
        current_dir: folder.path().to_owned(),
        project_name: Some("shop".into()),
        options: LoadOptions { for_running: true, ..LoadOptions::default() },
        ..LoadRequest::default()
    };
    load(request, &FsSource).unwrap_or_else(|failure| panic!("{text}\n{failure}")).project
}

/// Does `look` with what lowering needs for all services of a project.
fn with_inputs<T>(project: &Project, look: impl FnOnce(&Inputs<'_>) -> T) -> T {
    let services: Vec<String> = project.services.keys().cloned().collect();
    let image = ServiceImage { cmd: Some(vec!["true".into()]), ..ServiceImage::default() };
    let images = services.iter().map(|name| (name.clone(), image.clone())).collect();
    look(&Inputs {
        images: &images,
        volumes: Path::new("/volumes"),
        services: &services,
        scale: &BTreeMap::new(),
        digests: &BTreeMap::new(),
        locks: &BTreeMap::new(),
        all_resources: false,
        for_person: false,
        version: "0",
    })
}
