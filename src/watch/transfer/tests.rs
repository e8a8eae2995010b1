use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;

struct Sides {
    folder: tempfile::TempDir,
}

impl Sides {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["host", "root", "outside"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }

    fn apply(&self, paths: &[&str]) -> Outcome {
        self.apply_as(paths, false)
    }

    fn apply_as(&self, paths: &[&str], initial: bool) -> Outcome {
        let root = fs::File::open(self.at("root")).unwrap();
        let paths = paths.iter().map(|&path| path.to_owned()).collect();
        let transfer = Transfer { source: self.at("host"), target: "/app".into(), paths, initial };
        let outcome = apply(root.as_fd(), Owner { uid: 1234, gid: 99 }, &[transfer]);
        let left = fs::read_dir(self.at("root/app")).into_iter().flatten().flatten();
        assert!(left.into_iter().all(|entry| !entry.file_name().to_string_lossy().starts_with(".wl-")));
        outcome
    }
}

fn counts(outcome: &Outcome) -> (u64, u64, u64) {
    assert_eq!(outcome.failed, Vec::<String>::new());
    (outcome.copied, outcome.removed, outcome.same)
}

#[test]
fn files_arrive_with_owner_mode_and_time() {
    let sides = Sides::new();
    sides.write("host/sub/run.sh", "echo");
    fs::set_permissions(sides.at("host/sub/run.sh"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::set_permissions(sides.at("host/sub"), fs::Permissions::from_mode(0o711)).unwrap();
    assert_eq!(counts(&sides.apply(&["", "sub", "sub/run.sh"])), (3, 0, 0));
    let (host, have) = (fs::metadata(sides.at("host/sub/run.sh")).unwrap(), sides.at("root/app/sub/run.sh"));
    let have = fs::metadata(have).unwrap();
    assert_eq!((have.uid(), have.gid(), have.mode() & 0o7777), (1234, 99, 0o750));
    assert_eq!(have.modified().unwrap(), host.modified().unwrap());
    let folder = fs::metadata(sides.at("root/app/sub")).unwrap();
    assert_eq!((folder.uid(), folder.mode() & 0o7777), (1234, 0o711));
    assert_eq!(counts(&sides.apply(&["sub", "sub/run.sh"])), (0, 0, 2));
}

#[test]
fn what_is_the_same_is_not_copied() {
    let sides = Sides::new();
    sides.write("host/a", "text");
    sides.write("root/app/a", "text");
    let before = fs::metadata(sides.at("root/app/a")).unwrap();
    assert_eq!(counts(&sides.apply_as(&["a"], true)), (0, 0, 1));
    let after = fs::metadata(sides.at("root/app/a")).unwrap();
    assert_eq!((after.ino(), after.mtime_nsec()), (before.ino(), before.mtime_nsec()));
    // A touch on the host is one in the container.
    assert_eq!(counts(&sides.apply(&["a"])), (0, 0, 1));
    let (host, have) = (fs::metadata(sides.at("host/a")).unwrap(), fs::metadata(sides.at("root/app/a")).unwrap());
    assert_eq!(host.modified().unwrap(), have.modified().unwrap());
    assert_eq!(have.ino(), before.ino());
    fs::set_permissions(sides.at("host/a"), fs::Permissions::from_mode(0o600)).unwrap();
    sides.apply(&["a"]);
    assert_eq!(fs::metadata(sides.at("root/app/a")).unwrap().mode() & 0o777, 0o600);
    sides.write("host/a", "tex2");
    assert_eq!(counts(&sides.apply_as(&["a"], true)), (1, 0, 0));
    assert_eq!(sides.read("root/app/a"), "tex2");
}

#[test]
fn what_is_gone_is_removed_with_all_below_it() {
    let sides = Sides::new();
    for path in ["root/app/dir/deep/file", "root/app/dir/file", "root/app/file", "root/app/stays"] {
        sides.write(path, "x");
    }
    assert_eq!(counts(&sides.apply(&["dir", "dir/deep/file", "dir/file", "file", "never"])), (0, 2, 3));
    let left: Vec<_> = fs::read_dir(sides.at("root/app")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["stays"]);
    // The watched folder as a whole is away: nothing of the container's goes with it.
    fs::remove_dir(sides.at("host")).unwrap();
    assert_eq!(counts(&sides.apply(&[""])), (0, 0, 1));
    assert_eq!(sides.read("root/app/stays"), "x");
}

#[test]
fn a_kind_may_change() {
    let sides = Sides::new();
    sides.write("root/app/was-folder/x", "x");
    sides.write("root/app/was-file", "x");
    sides.write("root/app/was-file-2", "x");
    sides.write("host/was-folder", "now a file");
    fs::create_dir(sides.at("host/was-file")).unwrap();
    symlink("was-folder", sides.at("host/was-file-2")).unwrap();
    assert_eq!(counts(&sides.apply(&["was-folder", "was-file", "was-file-2"])), (3, 0, 0));
    assert_eq!(sides.read("root/app/was-folder"), "now a file");
    assert!(sides.at("root/app/was-file").is_dir());
    assert_eq!(fs::read_link(sides.at("root/app/was-file-2")).unwrap(), Path::new("was-folder"));
    assert_eq!(counts(&sides.apply(&["was-file-2"])), (0, 0, 1));
}

#[test]
fn links_in_the_container_never_lead_outside() {
    let sides = Sides::new();
    let outside = sides.at("outside");
    fs::write(outside.join("victim"), "untouched").unwrap();
    fs::create_dir(sides.at("root/app")).unwrap();
    symlink(&outside, sides.at("root/app/folder")).unwrap();
    symlink("../../outside", sides.at("root/app/up")).unwrap();
    symlink(outside.join("victim"), sides.at("root/app/file")).unwrap();
    symlink("/proc/self/root", sides.at("root/app/magic")).unwrap();
    for path in ["folder/victim", "up/victim", "file", "magic/victim"] {
        sides.write(&format!("host/{path}"), "evil");
    }
    // All of them, and their folders, as a sync of everything has it.
    let outcome = sides.apply(&["folder", "folder/victim", "up", "up/victim", "file", "magic", "magic/victim"]);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(outside.join("victim")).unwrap(), "untouched");
    // The link itself was replaced by the file.
    assert!(fs::symlink_metadata(sides.at("root/app/file")).unwrap().is_file());
    assert_eq!(sides.read("root/app/file"), "evil", "{outcome:?}");
    for path in ["folder/victim", "up/victim", "magic/victim", "file", "folder", "up", "magic"] {
        let _ = fs::remove_dir_all(sides.at("host").join(path));
        let _ = fs::remove_file(sides.at("host").join(path));
    }
    sides.apply(&["folder/victim", "up/victim", "magic/victim", "folder", "up", "magic"]);
    assert_eq!(fs::read_to_string(outside.join("victim")).unwrap(), "untouched");
}

#[test]
fn a_link_to_a_folder_of_the_container_stands_for_it() {
    let sides = Sides::new();
    fs::create_dir_all(sides.at("root/srv/real")).unwrap();
    symlink("/srv/real", sides.at("root/app")).unwrap();
    sides.write("host/a", "x");
    assert_eq!(counts(&sides.apply(&["", "a"])), (1, 0, 1));
    assert_eq!(sides.read("root/srv/real/a"), "x");
}

#[test]
fn links_of_the_host_are_copied_and_never_followed() {
    let sides = Sides::new();
    fs::write(sides.at("outside/secret"), "secret").unwrap();
    symlink(sides.at("outside"), sides.at("host/dir")).unwrap();
    symlink("/etc/shadow", sides.at("host/link")).unwrap();
    sides.write("root/app/dir2/secret", "x");
    let outcome = sides.apply(&["dir", "dir/secret", "link"]);
    assert_eq!(outcome.copied, 2);
    assert!(fs::symlink_metadata(sides.at("root/app/link")).unwrap().is_symlink());
    assert!(fs::symlink_metadata(sides.at("root/app/dir")).unwrap().is_symlink());
}

#[test]
fn a_tree_of_any_depth_does_not_bring_us_down() {
    let sides = Sides::new();
    fs::create_dir(sides.at("root/app")).unwrap();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = openat(CWD, sides.at("root/app"), flags, Mode::empty()).unwrap();
    for _ in 0..(DEEPEST + 20) {
        mkdirat(&at, "d", Mode::RWXU).unwrap();
        at = openat(&at, "d", flags, Mode::empty()).unwrap();
    }
    let outcome = sides.apply(&["d"]);
    assert!(outcome.failed[0].contains("too many folders"), "{outcome:?}");
}
