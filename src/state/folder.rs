//! Folders of our own: nobody but root passes, whichever command happens to be the first that needs one, and whatever
//! its umask.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes a folder, and those above it that are missing, for root alone. One that is there stays as it is.
///
/// # Errors
/// When the disk refuses, or something that is no folder is in the way.
pub fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::state::lock::Lock;
    use crate::state::record::{Durability, write_bytes};

    #[test]
    fn whoever_makes_a_folder_makes_it_for_root_alone() {
        let home = tempfile::tempdir().unwrap();
        make(&home.path().join("made/below")).unwrap();
        write_bytes(&home.path().join("record/below/it"), b"x", 0o600, Durability::Process).unwrap();
        drop(Lock::acquire(&home.path().join("lock/below/it")).unwrap());
        for first in ["made", "record", "lock"] {
            for folder in [home.path().join(first), home.path().join(first).join("below")] {
                let mode = fs::metadata(&folder).unwrap().permissions().mode();
                assert_eq!(mode & 0o7777, 0o700, "{}", folder.display());
            }
        }
    }
}
