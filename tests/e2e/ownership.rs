//! Whose the files are that containers write into the project's folder.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;

use crate::env::TestEnv;

/// Nobody of this machine.
const PERSON: u32 = 15_010;

const COMPOSE: &str = r#"
services:
  root: { x-windlass: { rootfs: host, IDMAP }, command: sleep 1000, stop_signal: SIGKILL, volumes: ["./src:/work", "./made/deep:/made"] }
  node: { x-windlass: { rootfs: host, IDMAP }, user: "1000:1000", command: sleep 1000, stop_signal: SIGKILL, volumes: ["./src:/work"] }
"#;

/// A project in a folder of the person's, with a file.
fn project(name: &str, setting: &str) -> TestEnv {
    let env = TestEnv::with(name, &COMPOSE.replace("IDMAP", setting));
    env.file("src/file", "theirs");
    for path in ["", "src", "src/file"] {
        chown(env.folder().join(path), Some(PERSON), Some(PERSON)).unwrap();
    }
    env
}

fn owner(path: impl AsRef<Path>) -> (u32, u32) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid())
}

#[test]
fn what_containers_write_is_the_persons() {
    let env = project("own-matched", "bind-idmap: match-user");
    let output = env.ok(&["up", "-d"]);
    assert!(!output.stderr.contains("warning"), "{}", output.text());
    // Each sees the person's files as its own.
    assert_eq!(env.sh("root", "stat -c %u:%g /work /work/file"), "0:0\n0:0");
    assert_eq!(env.sh("node", "stat -c %u:%g /work /work/file"), "1000:1000\n1000:1000");
    env.sh("root", "touch /work/by-root && mkdir /work/folder && ln -s x /work/link && echo more >> /work/file");
    env.sh("node", "touch /work/by-node && echo more >> /work/file && rm /work/folder -r");
    for path in ["src/by-root", "src/link", "src/by-node", "src/file"] {
        assert_eq!(owner(env.folder().join(path)), (PERSON, PERSON), "{path}");
    }
    assert_eq!(fs::read_to_string(env.folder().join("src/file")).unwrap(), "theirsmore\nmore\n");
    // Every other user can write, and stays who it is; a change of owner means what it says.
    env.sh("root", "touch /work/given && chown 33:33 /work/given");
    assert_eq!(owner(env.folder().join("src/given")), (33, 33));
    assert_eq!(env.sh("node", "stat -c %u /work/given"), "33");
    // What was missing is the person's, all the way down.
    for path in ["made", "made/deep"] {
        assert_eq!(owner(env.folder().join(path)), (PERSON, PERSON), "{path}");
    }
    env.sh("root", "touch /made/here");
    assert_eq!(owner(env.folder().join("made/deep/here")), (PERSON, PERSON));
    // The mount is the container's alone: the host sees its own owners.
    assert_eq!(owner(env.folder().join("src")), (PERSON, PERSON));
    env.down();
}

#[test]
fn sudo_turns_it_on_and_off_turns_it_off() {
    let mut env = project("own-sudo", "");
    env.ok(&["up", "-d"]);
    env.sh("root", "touch /work/without");
    assert_eq!(owner(env.folder().join("src/without")), (0, 0), "as everywhere else");
    assert_eq!(owner(env.folder().join("made")), (PERSON, PERSON), "folders are made for the person anyway");
    env.down();
    env.set("SUDO_UID", "15010");
    env.set("SUDO_GID", "15010");
    env.ok(&["up", "-d"]);
    env.sh("root", "touch /work/with");
    assert_eq!(owner(env.folder().join("src/with")), (PERSON, PERSON));
    env.down();
    let mut env = project("own-off", "bind-idmap: off");
    env.set("SUDO_UID", "15010");
    env.ok(&["up", "-d"]);
    env.sh("root", "touch /work/off");
    assert_eq!(owner(env.folder().join("src/off")), (0, 0));
    env.down();
}

#[test]
fn another_user_of_the_container_can_be_the_one() {
    let env = project("own-named", "bind-idmap: \"match-user:1234:1234\"");
    env.ok(&["up", "-d", "root"]);
    assert_eq!(env.sh("root", "stat -c %u:%g /work/file"), "1234:1234");
    env.down();
    // As images do it that start as root and go on as somebody else.
    let env = project("own-puid", "bind-idmap: match-user");
    let text = fs::read_to_string(env.folder().join("compose.yaml")).unwrap();
    env.file("compose.yaml", &text.replace("  root: {", "  root: { environment: { PUID: 1300, PGID: 1400 },"));
    env.ok(&["up", "-d", "root"]);
    env.sh("root", "setpriv --reuid 1300 --regid 1400 --clear-groups touch /work/as-app");
    assert_eq!(owner(env.folder().join("src/as-app")), (PERSON, PERSON));
    env.down();
    let env = project("own-wrong", "bind-idmap: mine");
    let output = env.fails(&["up", "-d"]);
    assert!(output.stderr.contains("services.root.x-windlass.bind-idmap"), "{}", output.text());
    assert!(output.stderr.contains("match-user:NAME"), "{}", output.text());
}

/// A file system that the kernel cannot show as somebody else's.
struct Ramfs<'a>(&'a Path);

impl<'a> Ramfs<'a> {
    fn mount(place: &'a Path) -> Self {
        fs::create_dir(place).unwrap();
        assert!(Command::new("mount").args(["-t", "ramfs", "none"]).arg(place).status().unwrap().success());
        Self(place)
    }
}

impl Drop for Ramfs<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn a_file_system_that_cannot_is_told_once() {
    let env = project("own-cannot", "bind-idmap: match-user");
    let place = env.folder().join("plain");
    let mounted = Ramfs::mount(&place);
    chown(&place, Some(PERSON), Some(PERSON)).unwrap();
    let text = fs::read_to_string(env.folder().join("compose.yaml")).unwrap();
    env.file("compose.yaml", &text.replace("./made/deep:/made", "./plain:/plain"));
    let output = env.ok(&["up", "-d", "root"]);
    assert_eq!(output.stderr.matches("warning").count(), 1, "{}", output.text());
    assert!(output.stderr.contains("/plain") && output.stderr.contains("file system cannot"), "{}", output.text());
    env.sh("root", "touch /plain/file /work/file2");
    assert_eq!(owner(place.join("file")), (0, 0));
    assert_eq!(owner(env.folder().join("src/file2")), (PERSON, PERSON), "the other one is not given up for it");
    env.down();
    drop(mounted);
}

#[test]
fn what_names_no_owner_is_the_users() {
    let mut env = TestEnv::with(
        "secret-owner",
        r#"
x-box: &box { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL, secrets: [{ source: key, mode: 0400 }] }
services:
  numbers: { <<: *box, user: "1005:1006" }
  name: { <<: *box, user: nobody }
  root: *box
  own: { <<: *box, user: "1005", secrets: [{ source: key, uid: "7", gid: "8", mode: 0440 }], configs: [{ source: text }] }
secrets: { key: { environment: KEY } }
configs: { text: { content: hello } }
"#,
    );
    env.set("KEY", "hush");
    env.ok(&["up", "-d"]);
    let seen = |service: &str, path: &str| env.sh(service, &format!("stat -c '%u:%g %a' {path}"));
    assert_eq!(seen("numbers", "/run/secrets/key"), "1005:1006 400");
    assert_eq!(env.sh("numbers", "cat /run/secrets/key"), "hush");
    let nobody = env.sh("name", "id -u") + ":" + &env.sh("name", "id -g");
    assert_eq!(seen("name", "/run/secrets/key"), format!("{nobody} 400"));
    assert_eq!(seen("root", "/run/secrets/key"), "0:0 400");
    assert_eq!(seen("own", "/run/secrets/key"), "7:8 440");
    assert_eq!(seen("own", "/text"), "1005:0 444");
    env.down();
}
