//! What the commands that make a project as its file says agree on: orphans, and volumes that are not as they were.

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal, Write};

use super::Context;
use super::exit::CommandError;
use crate::plan::Desired;
use crate::volumes::Store;

/// What becomes of containers that the file does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Orphans {
    pub remove: bool,
    /// They are not told of.
    pub ignore: bool,
}

impl Orphans {
    /// By the flag, `COMPOSE_REMOVE_ORPHANS` and `COMPOSE_IGNORE_ORPHANS`.
    ///
    /// # Errors
    /// When they are to be both removed and ignored.
    pub fn of(flag: bool, variables: &BTreeMap<String, String>) -> Result<Self, CommandError> {
        let orphans = Self {
            remove: flag || is_set(variables, "COMPOSE_REMOVE_ORPHANS"),
            ignore: is_set(variables, "COMPOSE_IGNORE_ORPHANS"),
        };
        if orphans.remove && orphans.ignore {
            return Err(CommandError::new("cannot combine COMPOSE_IGNORE_ORPHANS and --remove-orphans")
                .hint("leave out the variable, or COMPOSE_REMOVE_ORPHANS and the flag"));
        }
        Ok(orphans)
    }
}

/// Whether a variable says yes, in any of the words that `docker compose` takes for it.
#[must_use]
pub fn is_set(variables: &BTreeMap<String, String>, name: &str) -> bool {
    let value = variables.get(name).map(|value| value.to_ascii_lowercase());
    matches!(value.as_deref(), Some("1" | "t" | "true" | "y" | "yes"))
}

/// Names of the volumes that are to be made anew, because they exist in another form than the file's, and a person says
/// that what they hold may be lost: by `-y`, or when asked on a terminal.
///
/// # Errors
/// When it cannot be asked.
pub fn volumes_to_renew(context: &Context, desired: &Desired, yes: bool) -> Result<Vec<String>, CommandError> {
    let store = Store::new(&context.paths);
    let mut renewed = Vec::new();
    for volume in &desired.volumes {
        let Some(change) = store.divergence(volume, &desired.project.name) else { continue };
        let asks = !context.global.dry_run && io::stdin().is_terminal() && io::stderr().is_terminal();
        if yes || asks && confirmed(&volume.name, &change)? {
            renewed.push(volume.name.clone());
        }
    }
    Ok(renewed)
}

/// No answer is a no.
fn confirmed(volume: &str, change: &str) -> Result<bool, CommandError> {
    eprint!(
        "Volume \"{volume}\" exists but doesn't match configuration in compose file ({change}). Recreate (data will be lost)? [y/N] "
    );
    let mut answer = String::new();
    let asked = io::stderr().flush().and_then(|()| io::stdin().lock().read_line(&mut answer));
    asked.map_err(|error| CommandError::caused("the question cannot be asked", &error).hint("answer it with --yes"))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_and_flag_agree_or_are_refused() {
        let of = |flag, pairs: &[(&str, &str)]| {
            Orphans::of(flag, &pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
        };
        assert_eq!(of(false, &[]).unwrap(), Orphans::default());
        assert!(of(false, &[("COMPOSE_REMOVE_ORPHANS", "True")]).unwrap().remove);
        assert!(of(false, &[("COMPOSE_IGNORE_ORPHANS", "1")]).unwrap().ignore);
        assert!(!of(false, &[("COMPOSE_IGNORE_ORPHANS", "no")]).unwrap().ignore);
        assert!(of(true, &[("COMPOSE_IGNORE_ORPHANS", "1")]).is_err());
        assert!(of(false, &[("COMPOSE_IGNORE_ORPHANS", "1"), ("COMPOSE_REMOVE_ORPHANS", "1")]).is_err());
    }
}
