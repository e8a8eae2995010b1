//! While git changes a repository, what it changes is left alone.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Paths above which a hold by git is looked for.
const GIT_LOCK: &str = ".git/index.lock";
/// A lock older than this is left from a git that died.
const STALE: Duration = Duration::from_secs(10);

/// Where git says that it is at work.
#[derive(Debug, Default)]
pub(super) struct LockOfGit {
    known: Vec<(PathBuf, Option<PathBuf>)>,
}

impl LockOfGit {
    /// Whether git is changing the repository that a path is in.
    pub(super) fn is_held(&mut self, path: &Path) -> bool {
        let lock = match self.known.iter().find(|(known, _)| known == path) {
            Some((_, lock)) => lock.clone(),
            None => {
                let top = path.ancestors().find(|folder| folder.join(".git").is_dir());
                let lock = top.map(|folder| folder.join(GIT_LOCK));
                self.known.push((path.to_owned(), lock.clone()));
                lock
            }
        };
        let Some(found) = lock.and_then(|lock| lock.metadata().ok()) else { return false };
        let age = found.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
        age.is_none_or(|age| age < STALE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_git_left_behind_holds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut lock = LockOfGit::default();
        std::fs::create_dir_all(folder.path().join(".git")).unwrap();
        let src = folder.path().join("src");
        assert!(!lock.is_held(&src));
        let file = std::fs::File::create(folder.path().join(GIT_LOCK)).unwrap();
        assert!(lock.is_held(&src));
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        assert!(!lock.is_held(&src));
    }
}
