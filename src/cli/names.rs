//! Names of services on the command line: one that nothing has gets the same words from every command, and the name
//! that was probably meant.

use super::CommandError;
use crate::compose::model::Project;
use crate::diag::nearest;
use crate::engine::selection::select;

/// Every service of the files, also those whose profile is off.
#[must_use]
pub fn services(project: &Project) -> Vec<String> {
    project.services.keys().chain(project.disabled_services.keys()).cloned().collect()
}

/// The named services (all when none is named), with what they depend on where that is wanted.
///
/// # Errors
/// When one of them is no service of the project.
pub fn choose(project: &Project, named: &[String], with_dependencies: bool) -> Result<Vec<String>, CommandError> {
    select(project, named, with_dependencies).map_err(|unknown| no_such_service(&unknown, &services(project)))
}

/// # Errors
/// When one of the named is not known.
pub fn check(named: &[String], known: &[String]) -> Result<(), CommandError> {
    let unknown: Vec<String> = named.iter().filter(|name| !known.contains(name)).cloned().collect();
    if unknown.is_empty() { Ok(()) } else { Err(no_such_service(&unknown, known)) }
}

/// `no such service: wbe`, and what it may have meant.
#[must_use]
pub fn no_such_service(unknown: &[String], known: &[String]) -> CommandError {
    let error = CommandError::new(format!("no such service: {}", unknown.join(", ")));
    let near: Vec<String> = unknown
        .iter()
        .filter_map(|name| nearest(name, known.iter().map(String::as_str)))
        .map(|name| format!("`{name}`"))
        .collect();
    match (near.is_empty(), known.is_empty()) {
        (false, _) => error.hint(format!("did you mean {}?", near.join(", "))),
        (true, false) => error.hint(format!("the services are {}", known.join(", "))),
        (true, true) => error.hint("nothing is known of this project: `windlass ls -a` lists those that are up"),
    }
}

/// The same for a command that people also give the name of an image: `pull nginx:1.27`.
#[must_use]
pub fn or_an_image(error: CommandError, named: &[String], known: &[String], advice: &str) -> CommandError {
    let stranger = |name: &&String| nearest(name, known.iter().map(String::as_str)).is_none() && !known.contains(name);
    match named.iter().find(stranger) {
        Some(image) => error.hint(advice.replace("IMAGE", image)),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Failure;

    fn hints(unknown: &[&str], known: &[&str]) -> Vec<String> {
        let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        Failure::from(no_such_service(&own(unknown), &own(known))).hints
    }

    #[test]
    fn the_name_that_was_meant_or_all_that_there_are() {
        assert_eq!(hints(&["wbe"], &["web", "db"]), ["did you mean `web`?"]);
        assert_eq!(hints(&["wbe", "bd"], &["web", "db"]), ["did you mean `web`, `db`?"]);
        assert_eq!(hints(&["mailer"], &["web", "db"]), ["the services are web, db"]);
        assert!(hints(&["mailer"], &[])[0].contains("windlass ls -a"));
    }
}
