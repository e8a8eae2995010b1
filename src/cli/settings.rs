//! Variables by which people set how the command line itself behaves: from the shell, else from the file that variables
//! of the Compose file come from, as `docker compose` has it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::exit::{CommandError, USAGE};
use super::global::{Ansi, GlobalArgs, ProgressKind};
use crate::compose::dotenv;

/// Those that are not for the loader, which reads the files itself.
const SETTINGS: [&str; 7] = [
    "COMPOSE_ANSI",
    "COMPOSE_IGNORE_ORPHANS",
    "COMPOSE_MENU",
    "COMPOSE_PARALLEL_LIMIT",
    "COMPOSE_PROGRESS",
    "COMPOSE_REMOVE_ORPHANS",
    "COMPOSE_STATUS_STDOUT",
];

/// Adds what the environment files say of them. A file that is missing or not understood says nothing here: whoever
/// loads the project tells of it.
pub(super) fn from_files(environment: &mut BTreeMap<String, String>, global: &GlobalArgs, working_dir: &Path) {
    let mut files: Vec<PathBuf> = global.env_files.iter().map(PathBuf::from).collect();
    if files.is_empty() {
        if is_true(environment.get("COMPOSE_DISABLE_ENV_FILE")) {
            return;
        }
        let named = environment.get("COMPOSE_ENV_FILES").filter(|list| !list.is_empty());
        let list = named.map_or(".env", String::as_str);
        files = list.split(',').map(PathBuf::from).collect();
    }
    // The last file has the last word, and the shell the very last.
    for file in files.iter().rev() {
        let file = working_dir.join(file);
        // A pipe can be read once, by whoever loads the project, and may never be written to.
        if !std::fs::metadata(&file).is_ok_and(|found| found.is_file()) {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(file) else { continue };
        if !text.contains("COMPOSE_") {
            continue;
        }
        let shell = environment.clone();
        let Ok(assignments) = dotenv::parse(&text, &|name| shell.get(name).cloned()) else { continue };
        for assignment in assignments.into_iter().rev() {
            if let Some(value) = assignment.value.filter(|_| SETTINGS.contains(&assignment.key.as_str())) {
                environment.entry(assignment.key).or_insert(value);
            }
        }
    }
}

/// `COMPOSE_ANSI` and `COMPOSE_PROGRESS`, where no flag says otherwise.
///
/// # Errors
/// When one of them is not a value that the flag takes.
pub(super) fn fill(global: &mut GlobalArgs, environment: &BTreeMap<String, String>) -> Result<(), CommandError> {
    if global.ansi.is_none() {
        global.ansi = choice::<Ansi>("COMPOSE_ANSI", environment)?;
    }
    if global.progress.is_none() {
        global.progress = choice::<ProgressKind>("COMPOSE_PROGRESS", environment)?;
    }
    Ok(())
}

/// As the peer reads a boolean.
pub(super) fn is_true(value: Option<&String>) -> bool {
    value.is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "t" | "yes" | "y" | "on"))
}

fn choice<T: ValueEnum>(name: &str, environment: &BTreeMap<String, String>) -> Result<Option<T>, CommandError> {
    let Some(value) = environment.get(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    T::from_str(value, false).map(Some).map_err(|_| {
        let known: Vec<String> = T::value_variants()
            .iter()
            .filter_map(|value| Some(value.to_possible_value()?.get_name().to_owned()))
            .collect();
        CommandError::new(format!("{name} is `{value}`"))
            .hint(format!("it takes {}, or unset it", known.join(", ")))
            .code(USAGE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_then_the_shell_then_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".env"), "COMPOSE_PROGRESS=json\nCOMPOSE_ANSI=never\nOTHER=1\n").unwrap();
        std::fs::write(folder.path().join("b.env"), "COMPOSE_MENU=0\nCOMPOSE_PROGRESS=plain\n").unwrap();
        let read = |shell: &[(&str, &str)], files: &[&str]| {
            let mut environment = shell.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let mut global =
                GlobalArgs { env_files: files.iter().map(ToString::to_string).collect(), ..GlobalArgs::default() };
            from_files(&mut environment, &global, folder.path());
            let filled = fill(&mut global, &environment);
            (environment, global, filled.is_ok())
        };
        let (environment, global, _) = read(&[("COMPOSE_PROGRESS", "quiet")], &[]);
        assert_eq!((global.progress, global.ansi), (Some(ProgressKind::Quiet), Some(Ansi::Never)));
        assert!(!environment.contains_key("OTHER"));
        let (environment, global, _) = read(&[], &[".env", "b.env"]);
        assert_eq!((global.progress, environment["COMPOSE_MENU"].as_str()), (Some(ProgressKind::Plain), "0"));
        let (_, global, _) = read(&[("COMPOSE_DISABLE_ENV_FILE", "1")], &[]);
        assert_eq!((global.progress, global.ansi), (None, None));
        assert!(!read(&[("COMPOSE_ANSI", "sometimes")], &[]).2);
    }
}
