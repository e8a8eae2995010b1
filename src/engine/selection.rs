//! Which services a command is about: the named ones and, mostly, what they depend on.

use std::collections::BTreeSet;

use crate::compose::model::Project;

/// The named services (all when none is named) and everything they need, in the order of the file.
///
/// # Errors
/// The names that are no active service of the project.
pub fn select(project: &Project, named: &[String], with_dependencies: bool) -> Result<Vec<String>, Vec<String>> {
    let unknown: Vec<String> = named.iter().filter(|name| !project.services.contains_key(*name)).cloned().collect();
    if !unknown.is_empty() {
        return Err(unknown);
    }
    if named.is_empty() {
        return Ok(project.services.keys().cloned().collect());
    }
    let mut chosen: BTreeSet<&str> = BTreeSet::new();
    let mut pending: Vec<&str> = named.iter().map(String::as_str).collect();
    while let Some(name) = pending.pop() {
        let Some(service) = project.services.get(name) else { continue };
        if chosen.insert(name) && with_dependencies {
            pending.extend(service.depends_on.keys().map(String::as_str));
        }
    }
    Ok(project.services.keys().filter(|name| chosen.contains(name.as_str())).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::model::{Dependency, Service};

    fn project() -> Project {
        let mut project = Project::default();
        for (name, needs) in [("web", vec!["app"]), ("app", vec!["db"]), ("db", vec![]), ("mail", vec![])] {
            let mut service = Service { name: name.into(), ..Service::default() };
            for needed in needs {
                service.depends_on.insert(needed.into(), Dependency::default());
            }
            project.services.insert(name.into(), service);
        }
        project
    }

    #[test]
    fn dependencies_come_along_in_the_order_of_the_file() {
        let names = |named: &[&str], deps| {
            select(&project(), &named.iter().map(|&name| name.to_owned()).collect::<Vec<_>>(), deps)
        };
        assert_eq!(names(&["web"], true).unwrap(), ["web", "app", "db"]);
        assert_eq!(names(&["web"], false).unwrap(), ["web"]);
        assert_eq!(names(&[], true).unwrap().len(), 4);
        assert_eq!(names(&["nope", "web"], true).unwrap_err(), ["nope"]);
    }
}
