//! What happens in the watched folders, from one inotify instance. Folders in which nothing counts are neither read
//! nor watched.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use super::filter::Filter;
use super::polled::{self, Polled};

/// A watched path: a folder with all that counts below it, or a file.
#[derive(Debug)]
pub struct Root {
    pub path: PathBuf,
    pub filter: Filter,
}

/// What happened to a path of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is as it is meant to be: written and closed, moved here, or made.
    Settled,
    /// It is gone.
    Gone,
    /// A file was made and is being written; its close is to come.
    Begun,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Index of the root.
    pub root: usize,
    pub path: PathBuf,
    pub kind: Kind,
}

/// All that has happened since the last time.
#[derive(Debug, Default)]
pub struct Changes {
    pub changes: Vec<Change>,
    /// The kernel's queue was full: more has happened than it told.
    pub overflow: bool,
    /// Folders that could not be watched, each with the reason.
    pub faults: Vec<Fault>,
}

/// Why a folder is not watched, or not as quickly as others.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error(
        "the kernel watches no more than {limit} folders for a user, so changes in {} and others are not seen; \
         raise the limit with `sysctl fs.inotify.max_user_watches={}`", path.display(), limit.saturating_mul(4)
    )]
    Watches { path: PathBuf, limit: u64 },
    #[error(
        "the kernel has no further inotify instance for this user (there are {limit}); \
         raise the limit with `sysctl fs.inotify.max_user_instances={}`", limit.saturating_mul(4)
    )]
    Instances { limit: u64 },
    #[error("{} cannot be watched", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("changes of files cannot be read")]
    Read { source: io::Error },
    #[error(
        "{} is on {kind}, where the kernel hears nothing of changes made elsewhere: it is looked at once a second", path.display()
    )]
    Polled { path: PathBuf, kind: &'static str },
}

/// The watched folders.
#[derive(Debug)]
pub struct Tree {
    inotify: OwnedFd,
    roots: Vec<Root>,
    folders: HashMap<i32, PathBuf>,
    /// The same by path: a folder and all below it lie side by side.
    watches: BTreeMap<PathBuf, i32>,
    /// The limit was told already.
    full: bool,
    polled: Option<Polled>,
    /// What the file system of a folder is called when it tells nothing.
    silent: fn(&Path) -> Option<&'static str>,
}

const EVENTS: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::EXCL_UNLINK)
    .union(WatchFlags::ONLYDIR);

fn limit(name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

impl Tree {
    /// Begins to watch.
    ///
    /// # Errors
    /// When there is no inotify instance to be had; folders that cannot be watched are in the list.
    pub fn new(roots: Vec<Root>) -> Result<(Self, Vec<Fault>), Fault> {
        Self::on(roots, polled::silent)
    }

    fn on(roots: Vec<Root>, silent: fn(&Path) -> Option<&'static str>) -> Result<(Self, Vec<Fault>), Fault> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(|errno| match errno {
            Errno::MFILE => Fault::Instances { limit: limit("max_user_instances") },
            errno => Fault::Read { source: errno.into() },
        })?;
        let (folders, watches) = (HashMap::new(), BTreeMap::new());
        let mut tree = Self { inotify, roots, folders, watches, full: false, polled: None, silent };
        let mut changes = Changes::default();
        for root in 0..tree.roots.len() {
            tree.arm(root, &mut changes.faults);
        }
        Ok((tree, changes.faults))
    }

    /// Readable when [`Tree::read`] has something to say.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.polled.as_ref().map_or_else(|| self.inotify.as_fd(), Polled::as_fd)
    }

    /// How many folders are watched.
    #[must_use]
    pub fn folders(&self) -> usize {
        self.folders.len() + self.polled.as_ref().map_or(0, Polled::folders)
    }

    #[must_use]
    pub fn roots(&self) -> &[Root] {
        &self.roots
    }

    /// All that counts of a root as it is now: folders before what is in them.
    #[must_use]
    pub fn list(&mut self, root: usize) -> Vec<PathBuf> {
        let path = self.roots[root].path.clone();
        let mut found = Vec::new();
        if path.is_dir() {
            self.walk(&path, Some(root), &mut |_, path, _| found.push(path), &mut Vec::new());
        } else if path.symlink_metadata().is_ok() {
            found.push(path);
        }
        found
    }

    /// Watches the root, and the nearest folder above it that exists: that is where it goes and comes back.
    fn arm(&mut self, root: usize, faults: &mut Vec<Fault>) {
        let path = self.roots[root].path.clone();
        if let Some(above) = path.ancestors().skip(1).find(|path| path.is_dir()) {
            self.add(above, faults);
        }
        if path.is_dir() {
            self.walk(&path, Some(root), &mut |_, _, _| {}, faults);
        }
    }

    /// Reads a folder and all below it in which something counts, watches each, and tells of every entry for each root
    /// that it belongs to (`only` one of them).
    fn walk(
        &mut self,
        top: &Path,
        only: Option<usize>,
        seen: &mut dyn FnMut(usize, PathBuf, Kind),
        faults: &mut Vec<Fault>,
    ) {
        let mut pending = vec![top.to_owned()];
        while let Some(folder) = pending.pop() {
            let mut interested = Vec::new();
            for (index, root) in self.roots.iter_mut().enumerate() {
                if only.is_none_or(|only| only == index) && folder.starts_with(&root.path) {
                    root.filter.enter(&folder);
                    if root.filter.enters(&folder) {
                        interested.push(index);
                    }
                }
            }
            // First watched, then read: what comes between is seen twice rather than never.
            if interested.is_empty() || !self.add(&folder, faults) {
                continue;
            }
            let entries = match std::fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => {
                    faults.push(Fault::Folder { path: folder, source });
                    continue;
                }
            };
            for entry in entries.flatten() {
                let path = entry.path();
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                for &root in &interested {
                    if self.roots[root].filter.counts(&path, is_folder) {
                        seen(root, path.clone(), Kind::Settled);
                    }
                }
                if is_folder {
                    pending.push(path);
                }
            }
        }
    }

    fn add(&mut self, folder: &Path, faults: &mut Vec<Fault>) -> bool {
        if self.watches.contains_key(folder) {
            return true;
        }
        if let Some(kind) = (self.silent)(folder) {
            return self.add_polled(folder, kind, faults);
        }
        match inotify::add_watch(&self.inotify, folder, EVENTS) {
            Ok(watch) => {
                // The same folder by another name (a bind mount): the first name is kept.
                if self.folders.contains_key(&watch) {
                    return true;
                }
                self.folders.insert(watch, folder.to_owned());
                self.watches.insert(folder.to_owned(), watch);
                true
            }
            Err(Errno::NOSPC) => {
                if !std::mem::replace(&mut self.full, true) {
                    faults.push(Fault::Watches { path: folder.to_owned(), limit: limit("max_user_watches") });
                }
                // It is read nevertheless: the files that are there are known.
                true
            }
            Err(Errno::NOENT | Errno::NOTDIR) => false,
            Err(errno) => {
                faults.push(Fault::Folder { path: folder.to_owned(), source: errno.into() });
                false
            }
        }
    }

    fn add_polled(&mut self, folder: &Path, kind: &'static str, faults: &mut Vec<Fault>) -> bool {
        let polled = match &mut self.polled {
            Some(polled) => polled,
            none => match Polled::beside(self.inotify.as_fd(), polled::INTERVAL) {
                Ok(polled) => {
                    faults.push(Fault::Polled { path: folder.to_owned(), kind });
                    none.insert(polled)
                }
                Err(source) => {
                    faults.push(Fault::Read { source });
                    return false;
                }
            },
        };
        match polled.add(folder) {
            Ok(()) => true,
            Err(source) if source.kind() == io::ErrorKind::NotFound => false,
            Err(source) => {
                faults.push(Fault::Folder { path: folder.to_owned(), source });
                false
            }
        }
    }

    /// Forgets a folder that has gone elsewhere, with all below it.
    fn forget(&mut self, folder: &Path) {
        let below = self.watches.range(folder.to_owned()..).take_while(|(path, _)| path.starts_with(folder));
        let gone: Vec<(PathBuf, i32)> = below.map(|(path, watch)| (path.clone(), *watch)).collect();
        for (path, watch) in gone {
            self.watches.remove(&path);
            self.folders.remove(&watch);
            let _ = inotify::remove_watch(&self.inotify, watch);
        }
        if let Some(polled) = &mut self.polled {
            polled.forget(folder);
        }
    }

    /// Takes all that has happened. Never waits.
    ///
    /// # Errors
    /// When the kernel's answer cannot be read.
    pub fn read(&mut self) -> Result<Changes, Fault> {
        let mut raw = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); 64 * 1024];
        let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
        loop {
            match events.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| {
                        use std::os::unix::ffi::OsStrExt;
                        std::ffi::OsStr::from_bytes(name.to_bytes()).to_owned()
                    });
                    raw.push((event.wd(), event.events(), name));
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Fault::Read { source: errno.into() }),
            }
        }
        let mut changes = Changes::default();
        for (watch, flags, name) in raw {
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                changes.overflow = true;
            } else if flags.contains(ReadFlags::IGNORED) {
                if let Some(path) = self.folders.remove(&watch) {
                    self.watches.remove(&path);
                }
            } else if let Some(name) = name
                && let Some(folder) = self.folders.get(&watch)
            {
                let path = folder.join(name);
                self.happened(&path, flags, &mut changes);
            }
        }
        for (path, flags) in self.polled.as_ref().map(Polled::take).unwrap_or_default() {
            self.happened(&path, flags, &mut changes);
        }
        Ok(changes)
    }

    fn happened(&mut self, path: &Path, flags: ReadFlags, changes: &mut Changes) {
        let is_folder = flags.contains(ReadFlags::ISDIR);
        let came = flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
        if is_folder && flags.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM) {
            self.forget(path);
        }
        if path.file_name().is_some_and(|name| name == ".gitignore")
            && let Some(folder) = path.parent()
        {
            for root in &mut self.roots {
                root.filter.enter(folder);
            }
        }
        let kind = match () {
            () if flags.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM) => Kind::Gone,
            () if flags.contains(ReadFlags::CREATE) && !is_folder => made(path),
            () => Kind::Settled,
        };
        let mut interested = false;
        for index in 0..self.roots.len() {
            let root = &self.roots[index];
            if path.starts_with(&root.path) {
                interested |= is_folder;
                if root.filter.counts(path, is_folder) {
                    changes.changes.push(Change { root: index, path: path.to_owned(), kind });
                }
            } else if came && root.path.starts_with(path) {
                // The way to a root is there (again).
                self.arm(index, &mut changes.faults);
                let found = self.list(index);
                let change = |path| Change { root: index, path, kind: Kind::Settled };
                changes.changes.extend(found.into_iter().map(change));
            }
        }
        if interested && came {
            let mut found = Vec::new();
            self.walk(path, None, &mut |root, path, kind| found.push(Change { root, path, kind }), &mut changes.faults);
            changes.changes.extend(found);
        }
    }
}

/// A new name: of a file that is being written, or of one that is complete (a link, a pipe).
fn made(path: &Path) -> Kind {
    use std::os::unix::fs::MetadataExt;
    match path.symlink_metadata() {
        Ok(found) if found.is_file() && found.nlink() == 1 => Kind::Begun,
        // Gone again; that is told next.
        Err(_) => Kind::Begun,
        Ok(_) => Kind::Settled,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::watch::filter::Lists;

    struct Watched {
        folder: tempfile::TempDir,
        tree: Tree,
    }

    impl Watched {
        fn new(paths: &[&str], prepare: impl FnOnce(&Path)) -> Self {
            let folder = tempfile::tempdir().unwrap();
            prepare(folder.path());
            let roots = paths.iter().map(|path| {
                let path = folder.path().join(path);
                Root { filter: Filter::new(&path, &Lists::default()), path }
            });
            let (tree, faults) = Tree::new(roots.collect()).unwrap();
            assert!(faults.is_empty(), "{faults:?}");
            Self { folder, tree }
        }

        fn at(&self, path: &str) -> PathBuf {
            self.folder.path().join(path)
        }

        /// `root:path` of what has settled, sorted, each once.
        fn seen(&mut self) -> Vec<String> {
            let changes = self.tree.read().unwrap();
            assert!(!changes.overflow && changes.faults.is_empty());
            let show = |change: Change| {
                let mark = if change.kind == Kind::Begun { "+" } else { "" };
                format!("{}:{}{mark}", change.root, change.path.strip_prefix(self.folder.path()).unwrap().display())
            };
            let mut seen: Vec<String> = changes.changes.into_iter().map(show).collect();
            seen.sort();
            seen.dedup();
            seen
        }
    }

    #[test]
    fn a_new_file_settles_when_it_is_closed() {
        let mut watched = Watched::new(&["src"], |path| fs::create_dir(path.join("src")).unwrap());
        let file = fs::File::create(watched.at("src/a")).unwrap();
        assert_eq!(watched.seen(), ["0:src/a+"]);
        drop(file);
        assert_eq!(watched.seen(), ["0:src/a"]);
        std::os::unix::fs::symlink("a", watched.at("src/link")).unwrap();
        assert_eq!(watched.seen(), ["0:src/link"]);
        fs::hard_link(watched.at("src/a"), watched.at("src/b")).unwrap();
        assert_eq!(watched.seen(), ["0:src/b"]);
        fs::rename(watched.at("src/b"), watched.at("src/c")).unwrap();
        assert_eq!(watched.seen(), ["0:src/b", "0:src/c"]);
        fs::remove_file(watched.at("src/c")).unwrap();
        assert_eq!(watched.seen(), ["0:src/c"]);
    }

    #[test]
    fn folders_that_come_later_are_watched_with_what_is_in_them() {
        let mut watched = Watched::new(&["src"], |path| fs::create_dir(path.join("src")).unwrap());
        fs::create_dir_all(watched.at("src/a/b")).unwrap();
        fs::write(watched.at("src/a/b/one"), "1").unwrap();
        assert_eq!(watched.seen(), ["0:src/a", "0:src/a/b", "0:src/a/b/one"]);
        watched.seen();
        fs::write(watched.at("src/a/b/two"), "2").unwrap();
        assert!(watched.seen().contains(&"0:src/a/b/two".to_owned()));
        // Elsewhere it is no longer ours, and under its new name it is.
        fs::rename(watched.at("src/a"), watched.at("out")).unwrap();
        assert_eq!(watched.seen(), ["0:src/a"]);
        fs::write(watched.at("out/b/two"), "3").unwrap();
        assert_eq!(watched.seen(), Vec::<String>::new());
        fs::rename(watched.at("out"), watched.at("src/new")).unwrap();
        assert!(watched.seen().contains(&"0:src/new/b/two".to_owned()));
        fs::write(watched.at("src/new/b/two"), "4").unwrap();
        assert_eq!(watched.seen(), ["0:src/new/b/two"]);
    }

    #[test]
    fn a_file_alone_is_watched_through_its_folder() {
        let mut watched =
            Watched::new(&["conf.ini", "missing/later"], |path| fs::write(path.join("conf.ini"), "").unwrap());
        fs::write(watched.at("other.ini"), "x").unwrap();
        assert_eq!(watched.seen(), Vec::<String>::new());
        fs::write(watched.at("new"), "x").unwrap();
        fs::rename(watched.at("new"), watched.at("conf.ini")).unwrap();
        assert_eq!(watched.seen(), ["0:conf.ini"]);
        // What is not there yet is found when it comes, through all folders on the way.
        fs::create_dir_all(watched.at("missing/later/deep")).unwrap();
        assert!(watched.seen().contains(&"1:missing/later/deep".to_owned()));
        fs::write(watched.at("missing/later/deep/file"), "x").unwrap();
        assert!(watched.seen().contains(&"1:missing/later/deep/file".to_owned()));
    }

    #[test]
    fn what_is_ignored_is_not_watched() {
        let mut watched = Watched::new(&["", "web"], |path| {
            for number in 0..50 {
                fs::create_dir_all(path.join(format!("node_modules/p{number}/lib"))).unwrap();
            }
            fs::create_dir_all(path.join("web/.git/objects")).unwrap();
            fs::create_dir_all(path.join("web/src")).unwrap();
        });
        // The folder above the root, the root, web, src.
        assert_eq!(watched.tree.folders(), 4);
        fs::write(watched.at("node_modules/p1/index.js"), "x").unwrap();
        fs::write(watched.at("web/src/.a.swp"), "x").unwrap();
        assert_eq!(watched.seen(), Vec::<String>::new());
        fs::write(watched.at("web/src/a"), "x").unwrap();
        assert_eq!(watched.seen(), ["0:web/src/a", "0:web/src/a+", "1:web/src/a", "1:web/src/a+"]);
        fs::remove_dir_all(watched.at("web/src")).unwrap();
        assert!(watched.seen().contains(&"1:web/src".to_owned()));
        assert_eq!(watched.tree.folders(), 3);
    }

    #[test]
    fn where_the_kernel_hears_nothing_folders_are_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("web/node_modules")).unwrap();
        fs::write(folder.path().join("web/old"), "").unwrap();
        let path = folder.path().join("web");
        let root = Root { filter: Filter::new(&path, &Lists::default()), path: path.clone() };
        let (mut tree, faults) = Tree::on(vec![root], |_| Some("NFS")).unwrap();
        let told = faults.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(matches!(&told[..], [once] if once.contains("is on NFS")), "{told:?}");
        assert!(!tree.polled.as_ref().unwrap().has(&path.join("node_modules")));
        let mut until = |what: Change| {
            let begin = std::time::Instant::now();
            while begin.elapsed() < std::time::Duration::from_secs(60) {
                let mut poll = [rustix::event::PollFd::from_borrowed_fd(tree.as_fd(), rustix::event::PollFlags::IN)];
                let limit = rustix::event::Timespec { tv_sec: 60, tv_nsec: 0 };
                rustix::event::poll(&mut poll, Some(&limit)).unwrap();
                if tree.read().unwrap().changes.contains(&what) {
                    return;
                }
            }
            panic!("nothing was heard of {what:?}");
        };
        let settled = |name: &str| Change { root: 0, path: path.join(name), kind: Kind::Settled };
        fs::write(path.join("new"), "").unwrap();
        until(settled("new"));
        fs::create_dir(path.join("src")).unwrap();
        until(settled("src"));
        fs::write(path.join("src/app.py"), "1").unwrap();
        until(settled("src/app.py"));
        fs::remove_file(path.join("old")).unwrap();
        until(Change { kind: Kind::Gone, ..settled("old") });
    }
}
