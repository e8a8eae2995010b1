use std::ffi::OsStr;
use std::fs as std_fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::*;
use crate::image::testing::{self, Item};

/// A folder to unpack into, beside files that nothing may touch.
struct World {
    folder: tempfile::TempDir,
    root: PathBuf,
    before: Vec<(PathBuf, u64, u32, i64, Vec<u8>)>,
}

impl World {
    fn new() -> Self {
        Self::inside(tempfile::tempdir().unwrap())
    }

    /// In memory where the machine has a place for that: a journal's time says nothing about ours.
    fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        match memory.is_dir() {
            true => Self::inside(tempfile::tempdir_in(memory).unwrap()),
            false => Self::new(),
        }
    }

    fn inside(folder: tempfile::TempDir) -> Self {
        let root = folder.path().join("a/b/root");
        std_fs::create_dir_all(&root).unwrap();
        for path in ["victim", "a/victim", "a/b/victim"] {
            std_fs::write(folder.path().join(path), "precious").unwrap();
        }
        std_fs::create_dir(folder.path().join("a/b/folder")).unwrap();
        let mut world = Self { folder, root, before: Vec::new() };
        world.before = world.outside();
        world
    }

    /// Everything outside the root, in every detail that an archive could change.
    fn outside(&self) -> Vec<(PathBuf, u64, u32, i64, Vec<u8>)> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std_fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path == self.root {
                    continue;
                }
                let meta = std_fs::symlink_metadata(&path).unwrap();
                let content = if meta.is_file() { std_fs::read(&path).unwrap() } else { Vec::new() };
                found.push((path.clone(), meta.nlink(), meta.mode() ^ meta.uid(), meta.mtime_nsec(), content));
                if meta.is_dir() {
                    folders.push(path);
                }
            }
        }
        found.sort();
        found
    }

    fn unpack_with(&self, bytes: &[u8], limits: &Limits) -> Result<Unpacked, UnpackError> {
        let root = rustix::fs::open(&self.root, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let result = unpack(bytes, root, limits).map(|(unpacked, _)| unpacked);
        assert_eq!(self.outside(), self.before, "something outside the root was changed");
        result
    }

    fn unpack(&self, items: &[Item]) -> Result<Unpacked, UnpackError> {
        self.unpack_with(&testing::archive(items), &Limits::default())
    }

    fn meta(&self, path: &str) -> std_fs::Metadata {
        std_fs::symlink_metadata(self.root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn read(&self, path: &str) -> String {
        std_fs::read_to_string(self.root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn exists(&self, path: &str) -> bool {
        self.root.join(path).symlink_metadata().is_ok()
    }

    fn is_whiteout(&self, path: &str) -> bool {
        let meta = self.meta(path);
        meta.file_type().is_char_device() && meta.rdev() == 0
    }

    fn is_opaque(&self, path: &str) -> bool {
        let mut value = [0; 4];
        matches!(rustix::fs::lgetxattr(self.root.join(path), OPAQUE_XATTR, &mut value[..]), Ok(1) if value[0] == b'y')
    }
}

fn unpacked(items: &[Item]) -> World {
    let world = World::new();
    world.unpack(items).unwrap();
    world
}

fn refused(items: &[Item]) -> String {
    let world = World::new();
    let error = world.unpack(items).unwrap_err();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[test]
fn everything_keeps_its_owner_mode_time_and_kind() {
    let world = World::new();
    let result = world
        .unpack(&[
            Item::dir("./").mode(0o711),
            Item::dir("d/").mode(0o2775).owner(7, 8).mtime(1_000),
            Item::file("d/set", "x").mode(0o6755).owner(9, 10).mtime(2_000),
            Item::file("d/closed", "").mode(0),
            Item::symlink("d/link", "/etc/passwd").owner(11, 12).mtime(3_000),
            Item::hard_link("hard", "d/set"),
            Item::hard_link("hardlink-of-link", "d/link"),
            Item::device("null", 1, 3).mode(0o666).owner(1, 2),
            Item { mode: 0o600, ..Item::new(tar::EntryType::Fifo, "fifo") },
            Item::dir("read-only/").mode(0o555),
            Item::file("read-only/x", "x"),
        ])
        .unwrap();
    assert_eq!((result.size, result.entries), (2, 11));
    assert_eq!(result.implicit, Vec::<Vec<u8>>::new());
    let facts = |path: &str| {
        let meta = world.meta(path);
        (meta.uid(), meta.gid(), meta.mode() & 0o7777, meta.mtime())
    };
    assert_eq!(world.meta("").mode() & 0o7777, 0o711);
    assert_eq!(facts("d"), (7, 8, 0o2775, 1_000));
    assert_eq!(facts("d/set"), (9, 10, 0o6755, 2_000));
    assert_eq!(facts("d/closed").2, 0);
    assert_eq!((facts("d/link").0, facts("d/link").3), (11, 3_000));
    assert_eq!(std_fs::read_link(world.root.join("d/link")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(world.meta("hard").ino(), world.meta("d/set").ino());
    assert!(world.meta("hardlink-of-link").is_symlink());
    let null = world.meta("null");
    assert!(null.file_type().is_char_device());
    assert_eq!((null.rdev(), null.uid(), null.mode() & 0o777), (rustix::fs::makedev(1, 3), 1, 0o666));
    assert!(world.meta("fifo").file_type().is_fifo());
    assert_eq!(facts("read-only").2, 0o555);
}

#[test]
fn attributes_of_capabilities_and_users_are_kept_and_overlays_are_not() {
    // cap_net_bind_service=ep
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let world = unpacked(&[
        Item::file("ping", "x")
            .mode(0o755)
            .owner(5, 5)
            .pax("SCHILY.xattr.security.capability", capability)
            .pax("SCHILY.xattr.user.note", "hello")
            .pax("SCHILY.xattr.trusted.overlay.redirect", "/secret")
            .pax("SCHILY.xattr.user.overlay.opaque", "y")
            .pax("SCHILY.xattr.security.selinux", "label"),
        Item::dir("d/").pax("SCHILY.xattr.trusted.overlay.opaque", "y").pax("SCHILY.xattr.user.note", "folder"),
        Item::symlink("l", "x").pax("SCHILY.xattr.user.note", "links take none"),
    ]);
    let xattr = |path: &str, name: &str| {
        let mut value = [0; 100];
        rustix::fs::lgetxattr(world.root.join(path), name, &mut value[..]).ok().map(|length| value[..length].to_vec())
    };
    assert_eq!(xattr("ping", "security.capability").unwrap(), capability);
    assert_eq!(xattr("ping", "user.note").unwrap(), b"hello");
    for name in ["trusted.overlay.redirect", "user.overlay.opaque", "security.selinux"] {
        assert_eq!(xattr("ping", name), None, "{name}");
    }
    assert_eq!(xattr("d", "user.note").unwrap(), b"folder");
    assert!(!world.is_opaque("d"));
}

#[test]
fn whiteouts_hide_what_is_below_and_never_what_is_beside_them() {
    let world = unpacked(&[
        Item::file("d/.wh.gone", ""),
        Item::file("d/stays", "stays"),
        Item::file("d/.wh.stays", ""),
        Item::file("e/x", "x"),
        Item::file("e/.wh..wh..opq", ""),
        Item::file("f/.wh..wh..opq", ""),
        Item::file("f/y", "y"),
        Item::file(".wh.again", ""),
        Item::dir("again/"),
        Item::file("again/new", "new"),
        Item::dir("before/"),
        Item::file(".wh.before", ""),
        Item::file(".wh.implicit", ""),
        Item::file("implicit/new", "new"),
        Item::file(".wh.replaced", ""),
        Item::file("replaced", "replaced"),
        Item::file("f/.wh..wh.plnk", "aufs"),
        Item::hard_link("f/.wh..wh.aufs", "f/y"),
    ]);
    assert!(world.is_whiteout("d/gone"));
    assert_eq!(world.read("d/stays"), "stays");
    assert_eq!(
        (world.read("e/x"), world.read("f/y"), world.read("replaced")),
        ("x".into(), "y".into(), "replaced".into())
    );
    for (path, opaque) in
        [("d", false), ("e", true), ("f", true), ("again", true), ("before", true), ("implicit", true)]
    {
        assert_eq!(world.is_opaque(path), opaque, "{path}");
    }
    assert!(!world.exists("f/.wh..wh.plnk") && !world.exists("f/.wh..wh.aufs"));
    let world = World::new();
    assert!(world.unpack(&[Item::file(".wh..wh..opq", ""), Item::file("x", "")]).unwrap().opaque_root);
    for name in [".wh.", "d/.wh..", ".wh...", ".wh.d/x", ".wh.d/.wh.x"] {
        let text = refused(&[Item::file(name, "")]);
        assert!(text.contains("is refused"), "{name}: {text}");
    }
}

#[test]
fn names_cannot_lead_out() {
    for name in ["../victim", "x/../../victim", "..", "a/..", "/../victim", "./../../a/victim", ".//..//victim"] {
        for item in [
            Item::file(name, "evil"),
            Item::dir(name),
            Item::symlink(name, "x"),
            Item::file(name, "").pax("path", name),
        ] {
            let text = refused(&[item]);
            assert!(text.contains("leads out of the image"), "{name}: {text}");
        }
        let text = refused(&[Item::file("x", ""), Item::hard_link("y", name)]);
        assert!(text.contains("leads out of the image"), "{name}: {text}");
    }
    let world = unpacked(&[Item::file("/etc/absolute", "1"), Item::file("//x//./y", "2"), Item::file("./z", "3")]);
    assert_eq!((world.read("etc/absolute"), world.read("x/y"), world.read("z")), ("1".into(), "2".into(), "3".into()));
}

#[test]
fn links_on_the_way_stay_inside() {
    let outside = ["/", "../../..", "../..", "..", "/tmp", "../folder", "/proc/self/root", "/proc/self/cwd", "."];
    for target in outside {
        let world = World::new();
        let _ = world.unpack(&[
            Item::symlink("link", target),
            Item::file("link/victim", "evil"),
            Item::file("link/a/victim", "evil").mode(0o777).owner(5, 5),
            Item::dir("link/folder/").mode(0o777),
            Item::file("link/b/.wh.victim", ""),
            Item::file("link/folder/.wh..wh..opq", ""),
            Item::hard_link("mine", "link/victim"),
            Item::device("link/null", 1, 3),
        ]);
    }
    // As other engines do, through a link that leads to a folder of the image.
    let world = unpacked(&[
        Item::dir("usr/"),
        Item::dir("usr/lib/"),
        Item::symlink("lib", "usr/lib"),
        Item::symlink("usr/lib64", "/../../usr/./lib"),
        Item::file("lib/one", "1"),
        Item::file("usr/lib64/two", "2"),
    ]);
    assert_eq!((world.read("usr/lib/one"), world.read("usr/lib/two")), ("1".into(), "2".into()));
    assert!(world.meta("lib").is_symlink());
}

#[test]
fn links_in_a_circle_and_files_on_the_way_are_errors() {
    let text = refused(&[Item::symlink("a", "b"), Item::symlink("b", "a"), Item::file("a/x", "")]);
    assert!(text.contains("too many symbolic links"), "{text}");
    let text = refused(&[Item::symlink("a", "a/a"), Item::file("a/x", "")]);
    assert!(text.contains("too many symbolic links"), "{text}");
    let text = refused(&[Item::file("a", ""), Item::file("a/x", "")]);
    assert!(text.contains("`a` is not a directory"), "{text}");
    let text = refused(&[Item::device("a", 1, 3), Item::file("a/x", "")]);
    assert!(text.contains("`a` is not a directory"), "{text}");
}

#[test]
fn what_comes_again_replaces_and_nothing_is_written_through() {
    let world = unpacked(&[
        Item::file("target", "target"),
        Item::symlink("x", "target"),
        Item::file("x", "file"),
        Item::file("y", "file"),
        Item::hard_link("z", "y"),
        Item::file("y", "other"),
        Item::dir("d/"),
        Item::file("d/inside", ""),
        Item::file("d", "now a file"),
        Item::symlink("e", "/"),
        Item::dir("e/").mode(0o700),
        Item::file("f", ""),
        Item::dir("f/"),
        Item::file("f/g", "g"),
        Item::dir("h/"),
        Item::file("h/keep", "keep"),
        Item::dir("h/").mode(0o701),
        Item::hard_link("self", "target"),
        Item::hard_link("self", "self"),
        Item::hard_link("target", "self"),
        Item::device("dev", 1, 3),
        Item::file("dev", "no device"),
        Item::dir("cached/"),
        Item::file("cached/a", ""),
        Item::symlink("cached", "h"),
        Item::file("cached/b", "b"),
    ]);
    assert_eq!((world.read("target"), world.read("x")), ("target".into(), "file".into()));
    assert_eq!((world.read("y"), world.read("z")), ("other".into(), "file".into()));
    assert_eq!(world.read("d"), "now a file");
    assert!(world.meta("e").is_dir());
    assert_eq!((world.read("f/g"), world.read("h/keep")), ("g".into(), "keep".into()));
    assert_eq!(world.meta("h").mode() & 0o7777, 0o701);
    assert_eq!(world.meta("self").ino(), world.meta("target").ino());
    assert_eq!(world.read("dev"), "no device");
    assert_eq!(world.read("h/b"), "b");
}

#[test]
fn hard_links_to_folders_and_to_nothing() {
    assert!(refused(&[Item::dir("d/"), Item::hard_link("x", "d")]).contains("hard link to the directory"));
    assert!(refused(&[Item::hard_link("x", "/")]).contains("root directory"));
    let world = World::new();
    let result = world.unpack(&[Item::file("x", ""), Item::hard_link("x", "missing")]).unwrap();
    assert_eq!(result.outside_links, [(b"x".to_vec(), b"missing".to_vec())]);
    assert!(!world.exists("x"));
    // Deleting the tree that the target is in leaves nothing to link to.
    assert!(
        refused(&[Item::dir("a/"), Item::file("a/b", ""), Item::hard_link("a", "a/b")]).contains("cannot be unpacked")
    );
}

#[test]
fn long_and_strange_names() {
    let name = "n".repeat(255);
    let world = unpacked(&[
        Item::file("x", "1").pax("path", &name),
        Item::file("x", "2").pax("path", b"\xff\xfe\n\x1b[31m"),
        Item::file("back\\slash", "3"),
        Item::dir("\u{e4}/"),
    ]);
    assert_eq!(world.read(&name), "1");
    assert_eq!(
        std_fs::read_to_string(world.root.join(Path::new(OsStr::from_bytes(b"\xff\xfe\n\x1b[31m")))).unwrap(),
        "2"
    );
    assert!(refused(&[Item::file("x", "").pax("path", "n".repeat(256))]).contains("longer than 255 bytes"));
    let deep = "d/".repeat(3000);
    assert!(refused(&[Item::file("x", "").pax("path", &deep)]).contains("longer than 4095 bytes"));
    assert!(refused(&[Item::symlink("x", "")]).contains("needs a target"));
    assert!(refused(&[Item::symlink("x", "").pax("linkpath", "x".repeat(5000))]).contains("needs a target"));
    assert!(refused(&[Item::file(".", "x")]).contains("only a directory can be the root"));
    // What is shown of a hostile name cannot change the terminal.
    let text = refused(&[Item::file("x", "").pax("path", b"../\x1b[31m")]);
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn a_deep_tree_is_unpacked_and_replaced_without_many_descriptors() {
    let deep = "d/".repeat(1500);
    let world = unpacked(&[Item::file("x", "").pax("path", format!("{deep}x")), Item::file("d", "flat")]);
    assert_eq!(world.read("d"), "flat");
}

#[test]
fn owners_that_mean_something_else_are_refused() {
    for id in ["4294967295", "4294967296", "18446744073709551615"] {
        for kind in [Item::file("x", ""), Item::dir("x/"), Item::symlink("x", "y")] {
            assert!(refused(&[kind.clone().pax("uid", id)]).contains("no valid user or group id"));
            assert!(refused(&[kind.pax("gid", id)]).contains("no valid user or group id"));
        }
    }
    let world = unpacked(&[Item::file("x", "").pax("uid", "4294967294")]);
    assert_eq!(world.meta("x").uid(), u32::MAX - 1);
}

#[test]
fn too_many_entries_are_refused() {
    let items: Vec<Item> = (0..20).map(|number| Item::file(&format!("f{number}"), "")).collect();
    let limits = Limits { entries: 19, ..Limits::default() };
    let error = World::new().unpack_with(&testing::archive(&items), &limits).unwrap_err();
    assert!(matches!(error, UnpackError::TooManyEntries(19)), "{error:?}");
}

#[test]
fn folders_without_entries_are_told() {
    let world = World::new();
    let result = world.unpack(&[Item::file("a/b/c", ""), Item::dir("a/")]).unwrap();
    assert_eq!(result.implicit, [b"".to_vec(), b"a/b".to_vec()]);
    assert_eq!(world.meta("a/b").permissions().mode() & 0o7777, 0o755);
    assert_eq!(world.meta("").permissions().mode() & 0o7777, 0o755);
}

/// Time per entry stays the same, whatever the entries do.
#[track_caller]
fn linear(size: usize, items: impl Fn(usize) -> Vec<Item>) {
    let growth = crate::sys::growth::eightfold(size, |size| {
        World::in_memory().unpack(&items(size)).unwrap();
    });
    assert!(growth < 24, "{growth} times the time for 8 times the entries");
}

#[test]
fn folders_in_folders_take_linear_time() {
    let path = |depth| "a/".repeat(depth);
    linear(60, |depth| (1..=depth).map(|depth| Item::dir("x").pax("path", path(depth))).collect());
    linear(60, |depth| vec![Item::file("x", "").pax("path", format!("{}x", path(depth)))]);
}

#[test]
fn what_is_replaced_takes_linear_time() {
    let many = |size: usize, item: fn(String) -> Item| (0..size).map(move |index| item(format!("folder{index}")));
    let file = |name: String| Item::file(&format!("{name}/file"), "");
    let again = |size| many(size, file).chain(many(size, file)).collect();
    let other = |size| many(size, |name| Item::dir(&name)).chain(many(size, |name| Item::file(&name, ""))).collect();
    for items in [&again as &dyn Fn(usize) -> Vec<Item>, &other] {
        let growth = crate::sys::growth::fold(64, 20, |size| {
            World::in_memory().unpack(&items(size)).unwrap();
        });
        // Quadratic would be 4096.
        assert!(growth < 256, "{growth} times the time for 64 times the entries");
    }
}

#[test]
fn attributes_of_one_entry_take_linear_time_and_bounded_space() {
    let with = |count: usize, length: usize| {
        let names = (0..count).map(|index| format!("SCHILY.xattr.trusted.{index}"));
        vec![names.fold(Item::file("file", ""), |item, name| item.pax(&name, "x".repeat(length)))]
    };
    linear(1_000, |size| with(size, 1));
    assert!(refused(&with(20, 60_000)).contains("larger than 1 MiB"));
}

#[test]
fn folders_that_nothing_names_are_bounded() {
    let items = [Item::file("x", "").pax("path", format!("{}x", "a/".repeat(200)))];
    let limits = |names| Limits { names, ..Limits::default() };
    World::new().unpack_with(&testing::archive(&items), &limits(100_000)).unwrap();
    let error = World::new().unpack_with(&testing::archive(&items), &limits(10_000)).unwrap_err();
    assert!(matches!(error, UnpackError::Entry { source: TreeError::TooManyImplicit, .. }), "{error:?}");
}

/// Entries whose names, targets and kinds are made of pieces that matter.
fn hostile_item() -> impl proptest::strategy::Strategy<Value = Item> {
    use proptest::prelude::*;
    let part =
        proptest::sample::select(vec!["a", "b", "link", "..", ".", "", ".wh.a", ".wh..wh..opq", "victim", "folder"]);
    let path = proptest::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"));
    let kind = proptest::sample::select(vec![
        tar::EntryType::Regular,
        tar::EntryType::Directory,
        tar::EntryType::Symlink,
        tar::EntryType::Link,
        tar::EntryType::Char,
        tar::EntryType::Fifo,
    ]);
    let target = proptest::sample::select(vec![
        "a",
        "b/a",
        "/",
        "..",
        "../../victim",
        "/tmp",
        "link",
        "/proc/self/root",
        "folder",
    ]);
    (path, kind, target).prop_map(|(path, kind, target)| Item {
        link: target.into(),
        content: if kind == tar::EntryType::Regular { b"evil".to_vec() } else { Vec::new() },
        mode: 0o777,
        device: (1, 3),
        ..Item::new(kind, &path)
    })
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 300, ..Default::default() })]
    #[test]
    fn no_sequence_of_entries_reaches_outside(items in proptest::collection::vec(hostile_item(), 1..12)) {
        // `unpack` itself looks at everything around the root.
        let _ = World::new().unpack(&items);
    }
}
