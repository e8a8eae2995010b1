//! The three watchers, each on threads of its own, behind one channel.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;
use std::{fs, thread};

use anyhow::{Result, bail};
use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{Config, RecommendedWatcher, RecursiveMode, Watcher};
use rustix::event::{PollFd, PollFlags, poll};
use windlass::watch::tree::Kind;
use windlass::watch::{Filter, Lists, Root, Tree};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Ours,
    /// `notify` watches the tree by itself: also what is ignored.
    Whole,
    /// `notify` is told each folder in which something counts, as the lists of what is ignored want it.
    Each,
}

impl Which {
    pub const ALL: [Self; 3] = [Self::Ours, Self::Whole, Self::Each];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Whole => "whole",
            Self::Each => "each",
        }
    }
}

impl std::str::FromStr for Which {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|which| which.name() == text) {
            Some(which) => Ok(which),
            None => bail!("no watcher is called {text}"),
        }
    }
}

/// What a watcher says.
#[derive(Debug)]
pub enum News {
    /// A path was named; `true` when it is complete.
    Path(PathBuf, bool, Instant),
    /// More has happened than could be told.
    Overflow,
}

/// A watcher at work, until the process ends.
pub struct Running {
    pub news: Receiver<News>,
    /// Dropped, it would end.
    _whole: Option<RecommendedWatcher>,
}

pub fn start(which: Which, folder: &Path) -> Result<Running> {
    let (to, news) = channel();
    let whole = match which {
        Which::Ours => ours(folder, to).map(|()| None),
        Which::Whole => whole(folder, to).map(Some),
        Which::Each => each(folder, to).map(|()| None),
    }?;
    Ok(Running { news, _whole: whole })
}

fn filter(folder: &Path) -> Filter {
    Filter::new(folder, &Lists::default())
}

fn ours(folder: &Path, to: Sender<News>) -> Result<()> {
    let root = Root { path: folder.to_owned(), filter: filter(folder) };
    let (mut tree, faults) = Tree::new(vec![root])?;
    if let Some(fault) = faults.into_iter().next() {
        return Err(fault.into());
    }
    thread::spawn(move || {
        loop {
            let _ = poll(&mut [PollFd::from_borrowed_fd(tree.as_fd(), PollFlags::IN)], None);
            let Ok(changes) = tree.read() else { return };
            let at = Instant::now();
            if changes.overflow {
                let _ = to.send(News::Overflow);
            }
            for change in changes.changes {
                let _ = to.send(News::Path(change.path, change.kind == Kind::Settled, at));
            }
        }
    });
    Ok(())
}

fn whole(folder: &Path, to: Sender<News>) -> Result<RecommendedWatcher> {
    let tell = move |event: notify::Result<notify::Event>| told(event, &to);
    let mut watcher = RecommendedWatcher::new(tell, Config::default().with_follow_symlinks(false))?;
    watcher.watch(folder, RecursiveMode::Recursive)?;
    Ok(watcher)
}

fn told(event: notify::Result<notify::Event>, to: &Sender<News>) {
    let Ok(event) = event else { return };
    if event.need_rescan() {
        let _ = to.send(News::Overflow);
    }
    let complete = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => true,
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => false,
        // Both ends of a rename were told one by one; opening and writing are no news.
        _ => return,
    };
    let at = Instant::now();
    for path in event.paths {
        let _ = to.send(News::Path(path, complete, at));
    }
}

/// What [`Tree`] does with the kernel, done with `notify`: a folder is watched and then read.
struct Folders {
    watcher: RecommendedWatcher,
    filter: Filter,
    watched: BTreeSet<PathBuf>,
}

impl Folders {
    fn walk(&mut self, top: &Path, seen: &mut dyn FnMut(PathBuf)) {
        let mut pending = vec![top.to_owned()];
        while let Some(folder) = pending.pop() {
            self.filter.enter(&folder);
            if !self.filter.enters(&folder) {
                continue;
            }
            if !self.watched.contains(&folder) {
                if self.watcher.watch(&folder, RecursiveMode::NonRecursive).is_err() {
                    continue;
                }
                self.watched.insert(folder.clone());
            }
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for entry in entries.flatten() {
                let (path, is_folder) = (entry.path(), entry.file_type().is_ok_and(|kind| kind.is_dir()));
                if self.filter.counts(&path, is_folder) {
                    seen(path.clone());
                }
                if is_folder {
                    pending.push(path);
                }
            }
        }
    }

    fn forget(&mut self, folder: &Path) {
        let below = self.watched.range(folder.to_owned()..).take_while(|path| path.starts_with(folder));
        for path in below.cloned().collect::<Vec<_>>() {
            let _ = self.watcher.unwatch(&path);
            self.watched.remove(&path);
        }
    }

    fn happened(&mut self, event: notify::Result<notify::Event>, to: &Sender<News>) {
        let Ok(event) = event else { return };
        let came = matches!(
            event.kind,
            EventKind::Create(CreateKind::Folder) | EventKind::Modify(ModifyKind::Name(RenameMode::To))
        );
        let went = event.kind.is_remove() || event.kind == EventKind::Modify(ModifyKind::Name(RenameMode::From));
        for path in &event.paths {
            if went && self.watched.contains(path) {
                self.forget(path);
            }
            if came && path.is_dir() {
                self.walk(path, &mut |path| drop(to.send(News::Path(path, true, Instant::now()))));
            }
        }
        let counts = |path: &PathBuf| self.filter.counts(path, false);
        if event.need_rescan() || event.paths.iter().any(counts) {
            told(Ok(event), to);
        }
    }
}

fn each(folder: &Path, to: Sender<News>) -> Result<()> {
    // The thread of `notify` may not be asked for another folder by what it calls.
    let (tell, events) = channel();
    let watcher = RecommendedWatcher::new(tell, Config::default().with_follow_symlinks(false))?;
    let mut folders = Folders { watcher, filter: filter(folder), watched: BTreeSet::new() };
    folders.walk(folder, &mut drop);
    thread::spawn(move || {
        for event in events {
            folders.happened(event, &to);
        }
    });
    Ok(())
}
