//! What is to happen when something below a path changes.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::filter::Lists;
use super::transfer::Transfer;

/// What is done with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Action {
    /// Packages are installed again, and the containers made anew with them.
    #[serde(rename = "install")]
    Install,
    #[serde(rename = "rebuild")]
    Rebuild,
    #[serde(rename = "sync")]
    Sync,
    #[serde(rename = "sync+exec")]
    SyncExec,
    #[serde(rename = "sync+restart")]
    SyncRestart,
    #[serde(rename = "restart")]
    Restart,
}

impl Action {
    #[must_use]
    pub fn restarts(self) -> bool {
        matches!(self, Self::SyncRestart | Self::Restart)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Install => "install",
            Self::Rebuild => "rebuild",
            Self::Sync => "sync",
            Self::SyncExec => "sync+exec",
            Self::SyncRestart => "sync+restart",
            Self::Restart => "restart",
        })
    }
}

/// A path of the host and what follows from its changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// A folder or a file.
    pub path: PathBuf,
    pub action: Action,
    /// Where it is in the container; `None` when nothing is to be copied: the action does not, or the path is mounted
    /// there already.
    pub target: Option<PathBuf>,
    pub lists: Lists,
    /// Copied once before anything is watched.
    pub initial_sync: bool,
}

impl Rule {
    /// How the changed paths get into the container; `None` when nothing is to be copied. Names that are not UTF-8
    /// cannot be told to the supervisor: they are in the second list.
    #[must_use]
    pub fn transfer<'a>(
        &self,
        paths: impl IntoIterator<Item = &'a Path>,
        initial: bool,
    ) -> (Option<Transfer>, Vec<PathBuf>) {
        let Some(target) = &self.target else { return (None, Vec::new()) };
        let target = match self.path.file_name() {
            // A file into a folder, as `cp` has it.
            Some(name) if target.as_os_str().as_encoded_bytes().ends_with(b"/") && !self.path.is_dir() => {
                target.join(name)
            }
            _ => target.clone(),
        };
        let mut transfer = Transfer { source: self.path.clone(), target, paths: Vec::new(), initial };
        let mut refused = Vec::new();
        for path in paths {
            match path.strip_prefix(&self.path).ok().and_then(Path::to_str) {
                Some(relative) => transfer.paths.push(relative.to_owned()),
                None => refused.push(path.to_owned()),
            }
        }
        (Some(transfer).filter(|transfer| !transfer.paths.is_empty()), refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_mapped_into_the_container() {
        let mut rule = Rule {
            path: "/work/src".into(),
            action: Action::Sync,
            target: Some("/app".into()),
            lists: Lists::default(),
            initial_sync: false,
        };
        use std::os::unix::ffi::OsStrExt;
        let strange = Path::new("/work/src").join(std::ffi::OsStr::from_bytes(b"\xff"));
        let paths = [Path::new("/work/src/a/b.py"), Path::new("/work/src"), &strange];
        let (transfer, refused) = rule.transfer(paths, false);
        assert_eq!(transfer.unwrap().paths, ["a/b.py", ""]);
        assert_eq!(refused, std::slice::from_ref(&strange));
        rule.target = None;
        assert_eq!(rule.transfer(paths, false), (None, vec![]));
    }
}
