//! The store on a real disk: fills of hostile and of ordinary trees, crashes, concurrency, mounts.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::*;
use crate::state::Paths;

struct Home {
    folder: tempfile::TempDir,
    store: Store,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(&Paths::from_home(Some(folder.path())));
        Self { folder, store }
    }

    fn image(&self) -> std::path::PathBuf {
        let image = self.folder.path().join("image");
        fs::create_dir_all(&image).unwrap();
        image
    }
}

fn spec(name: &str) -> VolumeSpec {
    VolumeSpec {
        name: name.into(),
        key: "data".into(),
        driver: "local".into(),
        driver_opts: BTreeMap::new(),
        labels: BTreeMap::from([("a".into(), "b".into())]),
        external: false,
    }
}

fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_volume_is_made_found_listed_and_removed() {
    let home = Home::new();
    assert_eq!(home.store.list().unwrap(), []);
    let made = home.store.ensure(&spec("shop_data"), Some("shop")).unwrap();
    assert!(made.created);
    assert!(home.store.data("shop_data").is_dir());
    let again = home.store.ensure(&spec("shop_data"), Some("shop")).unwrap();
    assert_eq!((again.created, &again.volume), (false, &made.volume));
    let other = VolumeSpec { driver_opts: options(&[("type", "tmpfs"), ("device", "tmpfs")]), ..spec("shop_data") };
    assert_eq!(home.store.ensure(&other, Some("b")).unwrap().volume, made.volume, "it stays what it is");
    let change = home.store.divergence(&other, "shop").unwrap();
    assert_eq!(change, "driver_opts.device (none) → tmpfs, driver_opts.type (none) → tmpfs");
    assert_eq!(home.store.divergence(&other, "b"), None, "it is not that project's to make anew");
    assert_eq!(home.store.divergence(&spec("shop_data"), "shop"), None);
    assert_eq!(home.store.list().unwrap(), [made.volume]);
    fs::write(home.store.data("shop_data").join("file"), "x").unwrap();
    let used = home.store.remove("shop_data", || vec!["shop-db-1".into()]).unwrap_err();
    assert_eq!(used.to_string(), "volume `shop_data` is in use by shop-db-1");
    assert!(home.store.remove("shop_data", Vec::new).unwrap());
    assert!(!home.store.remove("shop_data", Vec::new).unwrap());
    assert_eq!(fs::read_dir(home.folder.path().join("data/volumes")).unwrap().count(), 0);
}

#[test]
fn an_external_volume_must_exist() {
    let home = Home::new();
    let external = VolumeSpec { external: true, ..spec("theirs") };
    assert!(matches!(home.store.ensure(&external, Some("shop")), Err(VolumeError::ExternalMissing { .. })));
    home.store.ensure(&spec("theirs"), None).unwrap();
    let found = home.store.ensure(&external, Some("shop")).unwrap();
    assert!(!found.created);
}

#[test]
fn wrong_names_drivers_and_options_are_refused_before_anything_is_made() {
    let home = Home::new();
    assert!(matches!(home.store.ensure(&spec("../up"), None), Err(VolumeError::Name(_))));
    let driver = VolumeSpec { driver: "rexray".into(), ..spec("x") };
    assert!(matches!(home.store.ensure(&driver, None), Err(VolumeError::Driver { .. })));
    for (pairs, option) in [
        (&[("size", "10G")][..], "size"),
        (&[("color", "red")], "color"),
        (&[("type", "tmpfs")], "device"),
        (&[("device", "/x")], "type"),
        (&[("type", "none"), ("o", "bind"), ("device", "x")], "device"),
        (&[("type", "none"), ("device", "/x")], "type"),
    ] {
        let wrong = VolumeSpec { driver_opts: options(pairs), ..spec("x") };
        match home.store.ensure(&wrong, None) {
            Err(VolumeError::Option { option: named, .. }) => assert_eq!(named, option),
            other => panic!("{pairs:?}: {other:?}"),
        }
    }
    assert_eq!(home.store.list().unwrap(), []);
    assert!(!home.folder.path().join("data/volumes/x").exists());
}

#[test]
fn an_interrupted_creation_or_removal_is_finished_by_the_next() {
    let home = Home::new();
    let root = home.folder.path().join("data/volumes");
    fs::create_dir_all(root.join("half/_data")).unwrap();
    fs::create_dir_all(root.join(".rm-1-gone/_data")).unwrap();
    assert!(home.store.find("half").unwrap().is_none());
    assert!(home.store.ensure(&spec("half"), None).unwrap().created);
    home.store.remove("half", Vec::new).unwrap();
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
}

#[test]
fn a_fill_keeps_everything_about_the_files() {
    let home = Home::new();
    home.store.ensure(&spec("v"), None).unwrap();
    let image = home.image();
    fs::set_permissions(&image, PermissionsExt::from_mode(0o1770)).unwrap();
    std::os::unix::fs::chown(&image, Some(70), Some(71)).unwrap();
    fs::create_dir(image.join("sub")).unwrap();
    fs::write(image.join("sub/file"), "content").unwrap();
    std::os::unix::fs::chown(image.join("sub/file"), Some(1000), Some(1001)).unwrap();
    fs::set_permissions(image.join("sub/file"), PermissionsExt::from_mode(0o4755)).unwrap();
    fs::hard_link(image.join("sub/file"), image.join("linked")).unwrap();
    symlink("/etc/hostname", image.join("symlink")).unwrap();
    symlink("/etc", image.join("folder-link")).unwrap();
    rustix::fs::setxattr(image.join("sub/file"), "user.colour", b"red", rustix::fs::XattrFlags::empty()).unwrap();
    nix::unistd::mkfifo(&image.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let sparse = File::create(image.join("sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    drop(std::os::unix::net::UnixListener::bind(image.join("socket")).unwrap());
    for path in [image.join("sub/file"), image.join("sub")] {
        File::open(path)
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000, 42))
            .unwrap();
    }
    let source = File::open(&image).unwrap();
    assert_eq!(home.store.fill("v", source.as_fd()).unwrap(), Filled::Copied { entries: 7 });
    let data = home.store.data("v");
    let root = fs::metadata(&data).unwrap();
    assert_eq!((root.uid(), root.gid(), root.mode() & 0o7777), (70, 71, 0o1770));
    let file = fs::metadata(data.join("sub/file")).unwrap();
    assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777, file.nlink()), (1000, 1001, 0o4755, 2));
    assert_eq!((file.mtime(), file.mtime_nsec()), (1_000_000, 42));
    assert_eq!(fs::metadata(data.join("sub")).unwrap().mtime(), 1_000_000);
    assert_eq!(fs::metadata(data.join("linked")).unwrap().ino(), file.ino());
    assert_eq!(fs::read_to_string(data.join("linked")).unwrap(), "content");
    let mut colour = [0; 8];
    assert_eq!(rustix::fs::getxattr(data.join("linked"), "user.colour", &mut colour[..]).unwrap(), 3);
    assert_eq!(fs::read_link(data.join("symlink")).unwrap(), Path::new("/etc/hostname"));
    assert!(fs::symlink_metadata(data.join("folder-link")).unwrap().is_symlink());
    let fifo = fs::symlink_metadata(data.join("fifo")).unwrap();
    assert!(fifo.file_type().is_fifo() && fifo.mode() & 0o777 == 0o700);
    let sparse = fs::metadata(data.join("sparse")).unwrap();
    assert_eq!((sparse.len(), sparse.blocks()), (1 << 40, 0));
    assert!(!data.join("socket").exists());
    // What a person deletes stays deleted.
    fs::remove_dir_all(data.join("sub")).unwrap();
    for entry in fs::read_dir(&data).unwrap().flatten() {
        let _ = fs::remove_file(entry.path());
    }
    assert_eq!(home.store.fill("v", source.as_fd()).unwrap(), Filled::Kept);
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
}

#[test]
fn a_volume_that_holds_something_is_left_alone() {
    let home = Home::new();
    home.store.ensure(&spec("v"), None).unwrap();
    fs::write(home.store.data("v").join("mine"), "").unwrap();
    fs::write(home.image().join("theirs"), "").unwrap();
    let source = File::open(home.image()).unwrap();
    assert_eq!(home.store.fill("v", source.as_fd()).unwrap(), Filled::Kept);
    assert!(!home.store.data("v").join("theirs").exists());
}

#[test]
fn an_empty_folder_gives_its_owner_once_and_the_next_image_may_fill() {
    let home = Home::new();
    home.store.ensure(&spec("v"), None).unwrap();
    let empty = home.image();
    std::os::unix::fs::chown(&empty, Some(999), Some(999)).unwrap();
    let source = File::open(&empty).unwrap();
    assert_eq!(home.store.fill("v", source.as_fd()).unwrap(), Filled::Copied { entries: 0 });
    assert_eq!(fs::metadata(home.store.data("v")).unwrap().uid(), 999);
    std::os::unix::fs::chown(home.store.data("v"), Some(5), Some(5)).unwrap();
    home.store.fill("v", source.as_fd()).unwrap();
    assert_eq!(fs::metadata(home.store.data("v")).unwrap().uid(), 5);
    fs::write(empty.join("file"), "").unwrap();
    assert_eq!(home.store.fill("v", source.as_fd()).unwrap(), Filled::Copied { entries: 1 });
}

#[test]
fn a_half_fill_is_made_again() {
    let home = Home::new();
    home.store.ensure(&spec("v"), None).unwrap();
    let image = home.image();
    fs::create_dir(image.join("sub")).unwrap();
    fs::write(image.join("sub/file"), "whole").unwrap();
    fs::hard_link(image.join("sub/file"), image.join("a-link")).unwrap();
    let data = home.store.data("v");
    fs::create_dir(data.join("sub")).unwrap();
    fs::write(data.join("sub/file"), "wh").unwrap();
    fs::write(data.join("a-link"), "wh").unwrap();
    let path = data.with_file_name("volume.json");
    let mut volume: VolumeRecord = crate::state::record::read(&path).unwrap().unwrap();
    volume.fill = FillState::Started;
    crate::state::record::write(&path, &volume, crate::state::record::Durability::Process).unwrap();
    let source = File::open(&image).unwrap();
    assert_eq!(home.store.fill("v", source.as_fd()).unwrap(), Filled::Copied { entries: 3 });
    assert_eq!(fs::read_to_string(data.join("sub/file")).unwrap(), "whole");
    assert_eq!(fs::metadata(data.join("a-link")).unwrap().nlink(), 2);
}

#[test]
fn content_that_a_crash_of_the_machine_took_comes_back_after_the_next_boot() {
    let home = Home::new();
    home.store.ensure(&spec("v"), None).unwrap();
    let image = home.image();
    for name in ["lost", "emptied", "deleted", "changed"] {
        fs::write(image.join(name), "from the image").unwrap();
    }
    let source = File::open(&image).unwrap();
    home.store.fill("v", source.as_fd()).unwrap();
    let data = home.store.data("v");
    let lose = |name: &str, time| {
        let file = File::options().write(true).truncate(true).open(data.join(name)).unwrap();
        file.set_modified(time).unwrap();
    };
    lose("lost", fs::metadata(image.join("lost")).unwrap().modified().unwrap());
    lose("emptied", std::time::SystemTime::now() + std::time::Duration::from_secs(5));
    fs::remove_file(data.join("deleted")).unwrap();
    fs::write(data.join("changed"), "by a person").unwrap();
    let read = |name: &str| fs::read_to_string(data.join(name)).unwrap_or_else(|_| "none".into());
    home.store.fill("v", source.as_fd()).unwrap();
    assert_eq!(read("lost"), "");
    let path = data.with_file_name("volume.json");
    let mut volume: VolumeRecord = crate::state::record::read(&path).unwrap().unwrap();
    volume.fill_boot = Some("an earlier boot".into());
    crate::state::record::write(&path, &volume, crate::state::record::Durability::Process).unwrap();
    assert_eq!(home.store.fill("v", source.as_fd()).unwrap(), Filled::Kept);
    assert_eq!(["lost", "emptied", "deleted", "changed"].map(read), ["from the image", "", "none", "by a person"]);
    assert_eq!(home.store.find("v").unwrap().unwrap().fill, FillState::Done);
}

#[test]
fn the_source_is_looked_up_inside_the_layers() {
    let home = Home::new();
    let (upper, lower) = (home.folder.path().join("upper"), home.folder.path().join("lo:wer"));
    for layer in [&upper, &lower] {
        fs::create_dir_all(layer.join("var/data")).unwrap();
    }
    fs::write(upper.join("var/data/a"), "").unwrap();
    fs::write(lower.join("var/data/b"), "").unwrap();
    // Both would show the host's folder if they were followed from here.
    symlink("/etc", upper.join("absolute")).unwrap();
    symlink("../../../../../../../etc", upper.join("relative")).unwrap();
    symlink("/var/data", upper.join("inside")).unwrap();
    fs::write(upper.join("file"), "").unwrap();
    for layers in [vec![upper.clone()], vec![upper.clone(), lower.clone()]] {
        for missing in ["/absolute", "/relative", "/file", "/nothing", "/var/data/../../../etc"] {
            assert!(source::open_in_layers(&layers, Path::new(missing)).unwrap().is_none(), "{missing}");
        }
        let folder = source::open_in_layers(&layers, Path::new("/inside")).unwrap().unwrap();
        home.store.ensure(&spec("v"), None).unwrap();
        let expected = layers.len() as u64;
        assert_eq!(home.store.fill("v", folder.as_fd()).unwrap(), Filled::Copied { entries: expected });
        home.store.remove("v", Vec::new).unwrap();
    }
    assert!(source::open_in_layers(&[], Path::new("/")).unwrap().is_none());
}

#[test]
fn many_at_once_make_one_volume_and_fill_it_once() {
    let home = Home::new();
    for index in 0..50 {
        fs::write(home.image().join(index.to_string()), "x").unwrap();
    }
    let source = File::open(home.image()).unwrap();
    let (created, filled) = (std::sync::atomic::AtomicU32::new(0), std::sync::atomic::AtomicU32::new(0));
    let count = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                if home.store.ensure(&spec("v"), None).unwrap().created {
                    created.fetch_add(1, count);
                }
                if matches!(home.store.fill("v", source.as_fd()).unwrap(), Filled::Copied { .. }) {
                    filled.fetch_add(1, count);
                }
            });
        }
    });
    assert_eq!((created.load(count), filled.load(count)), (1, 1));
    assert_eq!(fs::read_dir(home.store.data("v")).unwrap().count(), 50);
}

#[test]
fn removal_and_creation_at_the_same_time_end_in_a_whole_volume_or_none() {
    let home = Home::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    home.store.ensure(&spec("v"), None).unwrap();
                    home.store.remove("v", Vec::new).unwrap();
                }
            });
        }
    });
    home.store.ensure(&spec("v"), None).unwrap();
    assert!(home.store.data("v").is_dir());
    assert_eq!(fs::read_dir(home.folder.path().join("data/volumes")).unwrap().count(), 1);
}

/// Runs `test` on a thread with a mount namespace of its own, from which nothing gets out.
fn in_mount_namespace(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS | nix::sched::CloneFlags::CLONE_FS)
                .expect("this test needs root");
            let private = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
            nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
            test();
        });
        thread.join().unwrap();
    });
}

#[test]
fn options_are_mounted_at_use_and_the_device_survives_removal() {
    let home = Home::new();
    let device = home.folder.path().join("device");
    fs::create_dir(&device).unwrap();
    fs::write(device.join("precious"), "").unwrap();
    in_mount_namespace(|| {
        let bind = options(&[("type", "none"), ("o", "bind,ro"), ("device", device.to_str().unwrap())]);
        home.store.ensure(&VolumeSpec { driver_opts: bind, ..spec("bound") }, None).unwrap();
        home.store.mount("bound").unwrap();
        home.store.mount("bound").unwrap();
        let data = home.store.data("bound");
        assert!(data.join("precious").exists());
        assert!(fs::write(data.join("new"), "").is_err());
        home.store.unmount("bound", || vec!["a container".into()]).unwrap();
        assert!(data.join("precious").exists());
        home.store.unmount("bound", Vec::new).unwrap();
        assert!(!data.join("precious").exists());
        home.store.mount("bound").unwrap();
        assert!(home.store.remove("bound", Vec::new).unwrap());
        assert!(device.join("precious").exists());

        let tmpfs = options(&[("type", "tmpfs"), ("o", "size=1m,uid=7,noexec"), ("device", "tmpfs")]);
        home.store.ensure(&VolumeSpec { driver_opts: tmpfs, ..spec("memory") }, None).unwrap();
        home.store.mount("memory").unwrap();
        assert_eq!(fs::metadata(home.store.data("memory")).unwrap().uid(), 7);
        fs::write(home.image().join("file"), "").unwrap();
        let source = File::open(home.image()).unwrap();
        // A file system that comes and goes is filled whenever it is empty.
        for _ in 0..2 {
            assert_eq!(home.store.fill("memory", source.as_fd()).unwrap(), Filled::Copied { entries: 1 });
            assert_eq!(home.store.fill("memory", source.as_fd()).unwrap(), Filled::Kept);
            home.store.unmount("memory", Vec::new).unwrap();
            home.store.mount("memory").unwrap();
        }
        assert!(home.store.remove("memory", Vec::new).unwrap());
    });
}

#[test]
fn nothing_is_deleted_through_a_mount_inside_the_volume() {
    let home = Home::new();
    let device = home.folder.path().join("device");
    fs::create_dir(&device).unwrap();
    fs::write(device.join("precious"), "").unwrap();
    in_mount_namespace(|| {
        home.store.ensure(&spec("v"), None).unwrap();
        let inner = home.store.data("v").join("in ner");
        fs::create_dir(&inner).unwrap();
        let bind = nix::mount::MsFlags::MS_BIND;
        nix::mount::mount(Some(&device), &inner, None::<&str>, bind, None::<&str>).unwrap();
        match home.store.remove("v", Vec::new) {
            Err(VolumeError::Mounted { path, .. }) => assert_eq!(path, inner.canonicalize().unwrap()),
            other => panic!("{other:?}"),
        }
        assert!(device.join("precious").exists());
    });
}

#[test]
fn a_refused_mount_says_why() {
    let home = Home::new();
    for (pairs, words) in [
        (&[("type", "none"), ("o", "bind"), ("device", "/no/such/folder")][..], "the folder must exist"),
        (&[("type", "nosuchfs"), ("device", "x")], "no file system `nosuchfs`"),
    ] {
        home.store.ensure(&VolumeSpec { driver_opts: options(pairs), ..spec("v") }, None).unwrap();
        let error = home.store.mount("v").unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        home.store.remove("v", Vec::new).unwrap();
    }
}
