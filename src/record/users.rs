//! Which containers mount a volume, of all projects.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::state::Paths;

#[derive(Deserialize)]
struct Container {
    name: String,
    volumes: Vec<Used>,
}

#[derive(Deserialize)]
struct Used {
    volume: String,
}

/// Names of the containers that mount a volume, but those of the project `except`. What cannot be read counts as a
/// user: better a volume too many than one too few.
#[must_use]
pub fn of_volume(paths: &Paths, volume: &str, except: Option<&str>) -> Vec<String> {
    let mut users = Vec::new();
    for project in entries(&paths.projects(), &mut users) {
        let name = project.file_name().unwrap_or_default();
        if except.is_some_and(|except| name == except) {
            continue;
        }
        let places = paths.project(&name.to_string_lossy());
        for container in entries(&places.containers(), &mut users) {
            let id = container.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let record = places.container(&id).record();
            match fs::read(&record) {
                Ok(text) => match serde_json::from_slice::<Container>(&text) {
                    Ok(found) if found.volumes.iter().any(|used| used.volume == volume) => users.push(found.name),
                    Ok(_) => {}
                    Err(_) => users.push(format!("a container whose record is damaged ({})", record.display())),
                },
                // It is just being made, or just being removed.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(_) => users.push(format!("a container whose record cannot be read ({})", record.display())),
            }
        }
    }
    users.sort();
    users
}

fn entries(folder: &Path, users: &mut Vec<String>) -> Vec<PathBuf> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect(),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            Vec::new()
        }
        Err(_) => {
            users.push(format!("containers that cannot be listed ({})", folder.display()));
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_projects_count_and_so_does_what_cannot_be_read() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::from_home(Some(home.path()));
        assert!(of_volume(&paths, "data", None).is_empty());
        for (project, text) in [
            ("shop", r#"{"name":"shop-web-1","volumes":[{"volume":"data"}]}"#),
            ("blog", r#"{"name":"blog-web-1","volumes":[{"volume":"data"},{"volume":"x"}]}"#),
            ("torn", "{"),
        ] {
            let record = paths.project(project).container("abc").record();
            fs::create_dir_all(record.parent().unwrap()).unwrap();
            fs::write(record, text).unwrap();
        }
        let users = of_volume(&paths, "data", Some("shop"));
        assert_eq!((users.len(), users[1].as_str()), (2, "blog-web-1"));
        assert!(users[0].contains("damaged"));
        fs::remove_dir_all(paths.project("torn").data()).unwrap();
        assert_eq!(of_volume(&paths, "x", None), ["blog-web-1"]);
    }
}
