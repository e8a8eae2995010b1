//! Opening a path below a folder that is not trusted.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

/// More often a `..` does not become doubtful, unless somebody does nothing but rename and mount.
const TRIES: u32 = 1000;

/// `openat2(2)`, close-on-exec. A rename or a mount anywhere on the machine makes the kernel doubt a `..` (of the path or
/// of a link) that it must keep below the folder: it answers EAGAIN then, and is asked again.
///
/// # Errors
/// As `openat2(2)`.
pub fn open(folder: impl AsFd, path: impl AsRef<Path>, flags: OFlags, how: ResolveFlags) -> Result<OwnedFd, Errno> {
    let (folder, path, flags) = (folder.as_fd(), path.as_ref(), flags | OFlags::CLOEXEC);
    let mut answer = Err(Errno::AGAIN);
    for _ in 0..TRIES {
        answer = openat2(folder, path, flags, Mode::empty(), how);
        if !matches!(answer, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    #[test]
    fn renames_elsewhere_do_not_matter() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        for name in ["one", "two"] {
            std::fs::create_dir_all(elsewhere.path().join(name).join("in")).unwrap();
        }
        let root = rustix::fs::open(folder.path(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let (done, doubted) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Between folders: only that takes the lock of all renames.
                let paths = ["one/in/x", "two/in/x"].map(|path| elsewhere.path().join(path));
                std::fs::create_dir(&paths[0]).unwrap();
                while !done.load(Ordering::Relaxed) {
                    std::fs::rename(&paths[0], &paths[1]).unwrap();
                    std::fs::rename(&paths[1], &paths[0]).unwrap();
                }
            });
            let path = Path::new("a/b/../../a/b/../../a/b/../../a/b");
            // On a busy machine the other thread may have its turn late.
            let end = Instant::now() + Duration::from_secs(20);
            let mut looks = 0;
            while looks < 20_000 || (!doubted.load(Ordering::Relaxed) && Instant::now() < end) {
                looks += 1;
                let bare = openat2(&root, path, OFlags::PATH, Mode::empty(), ResolveFlags::BENEATH);
                doubted.fetch_or(bare.is_err(), Ordering::Relaxed);
                let found = open(&root, path, OFlags::PATH, ResolveFlags::BENEATH);
                if found.is_err() {
                    done.store(true, Ordering::Relaxed);
                }
                found.unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        assert!(doubted.into_inner(), "the kernel never doubted: this test saw nothing");
    }
}
