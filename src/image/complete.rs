//! Layers that leave something to the layers below them.
//!
//! An archive may hold `bin/tool` without an entry for `bin`: then `bin` is what lower layers say, be it a folder with
//! an owner and a mode, or a link to `usr/bin`. And it may hold a hard link to a file of a lower layer. Layers are
//! unpacked without each other, so such a layer is compared with those below it afterwards. Where they make a
//! difference, a copy of it (of hard links) is completed, which serves only on top of them.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    self, AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::error::LayerError;
use super::store::LayerRecord;
use super::unpack::tree::{enter, lossy, os};
use super::unpack::walk::Walk;
use super::view::{Found, Place, View, is_opaque};
use crate::sys::resolve;

type Parts = Vec<Vec<u8>>;

/// What the layers below change about a layer.
#[derive(Debug)]
pub(super) struct Completion {
    view: View,
    /// Folders that get the attributes of the folder below, by path: a path as one text is much smaller than in parts.
    attributes: Vec<(Vec<u8>, Stat)>,
    /// Folders whose content belongs where a link below leads, in the order in which they are moved.
    moved: Vec<(Parts, Parts)>,
    /// The same, to be found.
    leads: HashMap<Vec<u8>, Parts>,
    /// Link and target.
    links: Vec<(Parts, Vec<u8>)>,
}

/// Compares the unpacked layer in `folder` with those `below` it, the topmost first.
pub(super) fn compare(
    record: &LayerRecord,
    folder: &Path,
    below: &[PathBuf],
) -> Result<Option<Completion>, LayerError> {
    let missing = |link: &[u8], target: &[u8]| LayerError::MissingTarget { link: lossy(link), target: lossy(target) };
    if let (Some((link, target)), []) = (record.outside_links.first(), below) {
        return Err(missing(&link.0, &target.0));
    }
    if below.is_empty() || (record.implicit.is_empty() && record.outside_links.is_empty()) {
        return Ok(None);
    }
    let view = View::open(below).map_err(LayerError::Complete)?;
    let root = open_root(folder).map_err(LayerError::Complete)?;
    let mut walk = Walk::new(Level { here: root, hidden: false, below: view.top() });
    let mut completion =
        Completion { view, attributes: Vec::new(), moved: Vec::new(), leads: HashMap::new(), links: Vec::new() };
    for path in &record.implicit {
        let level = walk.to(&slices(&path.0), Level::enter).map_err(LayerError::Complete)?;
        if !level.hidden {
            completion.compare_folder(level, &path.0).map_err(LayerError::Complete)?;
        }
    }
    for (link, target) in &record.outside_links {
        let resolved = completion.view.resolve(&target.0).map_err(LayerError::Complete)?;
        if !matches!(resolved.found, Some(Found::File(_))) {
            return Err(missing(&link.0, &target.0));
        }
        completion.links.push((parts(&link.0), target.0.clone()));
    }
    let differs = !completion.attributes.is_empty() || !completion.moved.is_empty() || !completion.links.is_empty();
    Ok(differs.then_some(completion))
}

impl Completion {
    fn compare_folder(&mut self, level: &Level, original: &[u8]) -> io::Result<()> {
        // A folder above it may have been moved already.
        let moved = self.led(original);
        let found = match &moved {
            Some(path) => self.view.look(path)?.stat(),
            None => level.below.stat(),
        };
        let path = || moved.clone().unwrap_or_else(|| parts(original));
        match found.map(|stat| (FileType::from_raw_mode(stat.st_mode), stat)) {
            Some((FileType::Directory, stat)) => {
                let here = fs::fstat(&level.here)?;
                if moved.is_some()
                    || (here.st_mode, here.st_uid, here.st_gid) != (stat.st_mode, stat.st_uid, stat.st_gid)
                {
                    let path = moved.as_ref().map_or_else(|| original.to_vec(), |path| path.join(&b'/'));
                    self.attributes.push((path, stat));
                }
            }
            Some((FileType::Symlink, _)) => {
                let path = path();
                let text = path.join(&b'/');
                let resolved = self.view.resolve(&text)?;
                if !matches!(resolved.found, Some(Found::File(_))) {
                    self.leads.insert(text, resolved.path.clone());
                    self.moved.push((path, resolved.path));
                }
            }
            // A folder in the place of a file, or one that is new.
            _ => {}
        }
        Ok(())
    }

    /// Where a folder is after all moves; `None` is where it was. What a link leads to holds no link, so each move
    /// leaves less of the path to be moved.
    fn led(&self, original: &[u8]) -> Option<Parts> {
        let mut path: Option<Parts> = None;
        if self.leads.is_empty() {
            return path;
        }
        loop {
            let text = path.as_ref().map_or_else(|| original.to_vec(), |path| path.join(&b'/'));
            let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).chain([text.len()]);
            let mut ends = ends.filter_map(|end| Some((end, self.leads.get(&text[..end])?)));
            let Some((end, to)) = ends.next() else { return path };
            path = Some(to.iter().cloned().chain(parts(&text[end..])).collect());
        }
    }

    /// Makes the completed layer in the empty folder `to`.
    pub fn make(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (open_root(from)?, open_root(to)?);
        let mut folders = clone_tree(&from, &to)?;
        folders.sort_unstable();
        for (source, target) in &self.moved {
            let target_folder = self.ensure(&to, target)?;
            let (name, parents) = source.split_last().ok_or(io::ErrorKind::InvalidInput)?;
            let parent = open_beneath(&to, parents)?;
            let source_folder = open_beneath(&parent, std::slice::from_ref(name))?;
            merge(&source_folder, &target_folder)?;
            fs::unlinkat(&parent, os(name), AtFlags::REMOVEDIR)?;
        }
        for (link, target) in &self.links {
            let Some(Found::File(file)) = self.view.resolve(target)?.found else {
                return Err(io::ErrorKind::NotFound.into());
            };
            let (name, parents) = link.split_last().ok_or(io::ErrorKind::InvalidInput)?;
            let (parent, there) = file.parts();
            fs::linkat(parent, os(there), open_beneath(&to, parents)?, os(name), AtFlags::empty())?;
        }
        let (mut from, mut to) = (Walk::new(from), Walk::new(to));
        for path in folders.iter().rev() {
            match (from.to(&slices(path), enter), to.to(&slices(path), enter)) {
                (Ok(from), Ok(to)) => copy_attributes(from, to)?,
                // It was moved.
                (_, Err(Errno::NOENT)) => {}
                (from, to) => {
                    from?;
                    to?;
                }
            }
        }
        for (path, stat) in self.attributes.iter().rev() {
            apply(to.to(&slices(path), enter)?, stat)?;
        }
        Ok(())
    }

    /// Opens a folder of the layer; what is missing is made like the folder below.
    fn ensure(&self, root: &OwnedFd, path: &[Vec<u8>]) -> io::Result<OwnedFd> {
        let mut folder = root.try_clone()?;
        for (index, part) in path.iter().enumerate() {
            match fs::mkdirat(&folder, os(part), Mode::RWXU) {
                Ok(()) => {
                    let made = open_beneath(&folder, std::slice::from_ref(part))?;
                    match self.view.look(&path[..=index])?.stat() {
                        Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                            apply(&made, &stat)?;
                        }
                        _ => fs::fchmod(&made, Mode::from_raw_mode(0o755))?,
                    }
                    folder = made;
                }
                Err(Errno::EXIST) => folder = open_beneath(&folder, std::slice::from_ref(part))?,
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(folder)
    }
}

/// A folder of the layer beside what the layers below have at its place.
struct Level {
    here: OwnedFd,
    /// It, or one above it, hides the layers below.
    hidden: bool,
    below: Place,
}

impl Level {
    fn enter(&self, name: &[u8]) -> io::Result<Self> {
        let here = enter(&self.here, name)?;
        let hidden = self.hidden || is_opaque(&here);
        let below = if hidden { Place::nowhere() } else { self.below.enter(name)? };
        Ok(Self { here, hidden, below })
    }
}

/// Makes the same tree again: folders anew, everything else as a hard link. Returns the folders.
fn clone_tree(from: &OwnedFd, to: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let (mut from, mut to) = (Walk::new(from.try_clone()?), Walk::new(to.try_clone()?));
    let mut folders: Vec<Vec<u8>> = Vec::new();
    let mut ahead: Vec<Vec<u8>> = vec![Vec::new()];
    while let Some(path) = ahead.pop() {
        let (from, to) = (from.to(&slices(&path), enter)?, to.to(&slices(&path), enter)?);
        let mut entries = fs::Dir::read_from(from)?;
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let stat = fs::statat(from, os(name), AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                fs::mkdirat(to, os(name), Mode::RWXU)?;
                ahead.push(if path.is_empty() { name.to_vec() } else { [&path, &b"/"[..], name].concat() });
            } else {
                fs::linkat(from, os(name), to, os(name), AtFlags::empty())?;
            }
        }
        folders.push(path);
    }
    Ok(folders)
}

/// Moves everything in `from` into `to`. Folders that are in both are merged; of two files, the moved one stays.
fn merge(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    let mut names = Vec::new();
    let mut entries = fs::Dir::read_from(from)?;
    while let Some(entry) = entries.read() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    for name in names {
        match fs::renameat(from, os(&name), to, os(&name)) {
            Ok(()) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                let part = std::slice::from_ref(&name);
                merge(&open_beneath(from, part)?, &open_beneath(to, part)?)?;
                fs::unlinkat(from, os(&name), AtFlags::REMOVEDIR)?;
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn apply(folder: &OwnedFd, stat: &Stat) -> io::Result<()> {
    fs::fchown(folder, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    fs::fchmod(folder, Mode::from_raw_mode(stat.st_mode))?;
    let time = |seconds: i64, nanoseconds: u64| Timespec { tv_sec: seconds, tv_nsec: nanoseconds.cast_signed() };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    Ok(fs::futimens(folder, &times)?)
}

fn copy_attributes(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    let mut names = vec![0_u8; 64 << 10];
    let length = match fs::flistxattr(from, &mut names) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(errno) => return Err(errno.into()),
    };
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0_u8; 64 << 10];
        let length = fs::fgetxattr(from, os(name), &mut value)?;
        fs::fsetxattr(to, os(name), &value[..length], XattrFlags::empty())?;
    }
    apply(to, &fs::fstat(from)?)
}

fn open_root(path: &Path) -> io::Result<OwnedFd> {
    Ok(fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn open_beneath(folder: &OwnedFd, path: &[Vec<u8>]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if path.is_empty() {
        return folder.try_clone();
    }
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    Ok(resolve::open(folder, os(&path.join(&b'/')), flags, how)?)
}

fn slices(path: &[u8]) -> Vec<&[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect()
}

fn parts(path: &[u8]) -> Parts {
    slices(path).into_iter().map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::super::load::{Input, LoadOptions, load};
    use super::super::testing::{self, Item, Packing};
    use super::super::{Image, Store};

    fn stored(layers: &[Vec<Item>]) -> (tempfile::TempDir, Result<Image, super::super::ImageError>) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("images")).unwrap();
        let layout = folder.path().join("layout");
        testing::image(layers, Packing::Gzip).write_layout(&layout, Some("a:1"));
        let result = load(&store, Input::Path(layout), &LoadOptions::default(), &|_| {})
            .map(|loaded| store.image(&loaded[0].image).unwrap().unwrap());
        assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
        (folder, result)
    }

    #[test]
    fn folders_without_an_entry_are_as_the_layers_below_say() {
        let base = vec![
            Item::dir("./").mode(0o555),
            Item::dir("tmp/").mode(0o1777),
            Item::dir("home/").owner(5, 6).mode(0o700),
        ];
        let (_folder, image) = stored(&[base, vec![Item::file("tmp/x", "x"), Item::file("home/new/y", "y")]]);
        let image = image.unwrap();
        let meta = |path: &str| fs::symlink_metadata(image.layers[0].join(path)).unwrap();
        assert_eq!(meta("").mode() & 0o7777, 0o555);
        assert_eq!(meta("tmp").mode() & 0o7777, 0o1777);
        let home = meta("home");
        assert_eq!((home.uid(), home.gid(), home.mode() & 0o7777), (5, 6, 0o700));
        assert_eq!(meta("home/new").mode() & 0o7777, 0o755);
        assert_eq!(fs::read(image.layers[0].join("home/new/y")).unwrap(), b"y");
    }

    #[test]
    fn a_layer_that_agrees_with_those_below_is_shared() {
        let top = vec![Item::file("usr/x", "x")];
        let (_a, first) = stored(&[vec![Item::dir("./"), Item::dir("usr/")], top.clone()]);
        let (_b, second) = stored(&[vec![Item::dir("usr/").mode(0o700)], top]);
        let key = |image: &Image| image.layers[0].parent().unwrap().file_name().unwrap().to_owned();
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_ne!(key(&first), key(&second));
        assert!(key(&first).to_str().is_some_and(|key| first.diff_ids[1].hex().starts_with(key)));
    }

    #[test]
    fn a_folder_over_a_link_below_goes_where_the_link_leads() {
        let base = vec![
            Item::dir("usr/"),
            Item::dir("usr/bin/").mode(0o750),
            Item::file("usr/bin/sh", "sh"),
            Item::symlink("bin", "usr/bin"),
            Item::symlink("sbin", "/usr/sbin"),
        ];
        let top = vec![
            Item::file("bin/tool", "tool"),
            Item::file("bin/sub/deep", "deep"),
            Item::file("sbin/other", "other"),
            Item::file("usr/bin/third", "third"),
        ];
        let (_folder, image) = stored(&[base, top]);
        let layer = &image.unwrap().layers[0];
        for (path, content) in [
            ("usr/bin/tool", "tool"),
            ("usr/bin/sub/deep", "deep"),
            ("usr/sbin/other", "other"),
            ("usr/bin/third", "third"),
        ] {
            assert_eq!(fs::read_to_string(layer.join(path)).unwrap(), content, "{path}");
        }
        assert!(fs::symlink_metadata(layer.join("bin")).is_err());
        assert!(fs::symlink_metadata(layer.join("sbin")).is_err());
        assert_eq!(fs::metadata(layer.join("usr/bin")).unwrap().mode() & 0o7777, 0o750);
    }

    #[test]
    fn hard_links_to_files_below() {
        let base = vec![Item::dir("a/"), Item::file("a/file", "content").owner(1, 2)];
        let (_folder, image) = stored(&[base, vec![Item::dir("b/"), Item::hard_link("b/link", "a/file")]]);
        let link = image.unwrap().layers[0].join("b/link");
        assert_eq!(fs::read_to_string(&link).unwrap(), "content");
        assert_eq!(fs::metadata(&link).unwrap().uid(), 1);
    }

    #[test]
    fn hard_links_to_nothing_are_refused() {
        for layers in [
            vec![vec![Item::hard_link("link", "nothing")]],
            vec![vec![Item::file("x", "")], vec![Item::hard_link("link", "nothing")]],
            vec![vec![Item::dir("x/")], vec![Item::hard_link("link", "x")]],
            vec![vec![Item::file("x", "")], vec![Item::file(".wh.x", "")], vec![Item::hard_link("link", "x")]],
        ] {
            let (_folder, result) = stored(&layers);
            let error = result.unwrap_err();
            let text = std::error::Error::source(&error).unwrap().to_string();
            assert!(text.contains("is a hard link to"), "{text}");
        }
    }
}
