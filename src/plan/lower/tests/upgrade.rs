//! What an older build has recorded: the same file asks for no other container.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::plan::lower::labels;

use super::project;

/// What a build recorded that hashed configurations as they were read, of the file beside it.
#[test]
fn a_configuration_recorded_by_an_older_build_is_the_same() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/upgrade");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let project = project(&read("compose.yaml"));
    let recorded: BTreeMap<String, Value> = serde_json::from_str(&read("recorded.json")).unwrap();
    let services: Vec<&String> = project.services.keys().collect();
    assert_eq!(services, recorded.keys().collect::<Vec<_>>());
    let mut hashed_otherwise = 0;
    for (name, old) in recorded {
        let contents: BTreeMap<String, String> = match old["config"].get(labels::CONTENTS) {
            Some(contents) => serde_json::from_value(contents.clone()).unwrap(),
            None => BTreeMap::new(),
        };
        let (config, hash) = labels::config(&project.services[&name], &contents, &BTreeMap::new());
        let again = labels::canonical(old["config"].clone());
        assert_eq!(again, config, "{name}");
        assert_eq!(labels::hash(&again), hash, "{name}");
        hashed_otherwise += usize::from(old["config_hash"] != hash.as_str());
    }
    assert_eq!(hashed_otherwise, 2, "the records of these are of an older form");
}
