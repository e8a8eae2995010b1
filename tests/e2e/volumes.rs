//! Named and anonymous volumes, binds and tmpfs.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::env::TestEnv;

#[test]
fn a_named_volume_is_filled_at_first_use_shared_and_kept() {
    let env = TestEnv::with(
        "named",
        r#"
x-box: &box { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL }
services:
  one: { <<: *box, volumes: ["home:/home/user", "fresh:/fresh", "bare:/etc"] }
  two: { <<: *box, volumes: ["home:/data"], depends_on: [one] }
  empty: { <<: *box, volumes: [{ type: volume, source: bare2, target: /etc, volume: { nocopy: true } }] }
volumes: { home: {}, fresh: {}, bare: {}, bare2: {} }
"#,
    );
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("one", "stat -c '%u %g %a' /home/user"), "1000 1000 755", "owner and mode come from the image");
    assert_eq!(env.sh("one", "ls /etc | grep passwd"), "passwd", "and so do the files");
    assert_eq!(env.sh("one", "stat -c '%u %g %a' /fresh"), "0 0 755");
    assert_eq!(env.sh("empty", "ls /etc | grep -c passwd || true"), "0");
    env.sh("one", "echo kept > /home/user/note");
    assert_eq!(env.sh("two", "cat /data/note"), "kept");
    env.ok(&["down"]);
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("two", "cat /data/note"), "kept");
    env.ok(&["down", "-v"]);
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("two", "cat /data/note 2>/dev/null || echo gone"), "gone");
    env.down();
}

#[test]
fn anonymous_volumes_are_filled_and_go_with_the_project() {
    let env = TestEnv::with(
        "anonymous",
        r#"
services:
  box: { image: "busybox:1.35", command: sleep 1000, volumes: [/home/user], stop_signal: SIGKILL }
  cache: { image: "redis:8", stop_signal: SIGKILL }
"#,
    );
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("box", "stat -c '%u %a' /home/user; grep -c ' /home/user ' /proc/mounts"), "1000 755\n1");
    let mounts = env.sh("cache", "cut -d ' ' -f 2 /proc/mounts");
    assert!(mounts.lines().any(|place| place == "/data"), "a VOLUME of the image: {mounts}");
    env.ok(&["down", "-v"]);
    let volumes = env.home().join("data/volumes");
    let left = fs::read_dir(&volumes).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()).count();
    assert_eq!(left, 0, "no volume is left in {}", volumes.display());
}

#[test]
fn binds_show_the_hosts_files_and_missing_sources_are_made() {
    let env = TestEnv::with(
        "binds",
        r#"
services:
  box:
    image: "busybox:1.35"
    command: sleep 1000
    stop_signal: SIGKILL
    volumes:
      - ./data:/data
      - ./data:/read:ro
      - ./made/deep:/made
      - ./one.txt:/etc/one.txt
      - { type: bind, source: ./data, target: /long, read_only: true }
"#,
    );
    env.file("data/a", "from the host\n");
    env.file("one.txt", "one\n");
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("box", "cat /data/a /etc/one.txt"), "from the host\none");
    env.sh("box", "echo back > /data/b");
    assert_eq!(fs::read_to_string(env.folder().join("data/b")).unwrap(), "back\n");
    for target in ["/read", "/long"] {
        assert!(
            env.sh("box", &format!("(touch {target}/x) 2>&1 || true")).contains("Read-only file system"),
            "{target}"
        );
    }
    assert!(env.folder().join("made/deep").is_dir());
    env.down();
    assert!(env.folder().join("data/b").exists(), "what was bound stays");
}

#[test]
fn a_read_only_bind_is_read_only_all_the_way_down() {
    let env = TestEnv::with(
        "recursive",
        r#"services: { box: { image: "busybox:1.35", command: sleep 1000, volumes: ["./data:/data:ro"], stop_signal: SIGKILL } }"#,
    );
    let deep = env.folder().join("data/deep");
    fs::create_dir_all(&deep).unwrap();
    let mounted = Mounted::tmpfs(&deep, "size=1m");
    env.ok(&["up", "-d"]);
    assert!(env.sh("box", "(touch /data/deep/x) 2>&1 || true").contains("Read-only file system"));
    env.down();
    drop(mounted);
}

#[test]
fn tmpfs_mounts_have_their_size_and_mode() {
    let env = TestEnv::with(
        "tmpfs",
        r#"
services:
  box:
    image: "busybox:1.35"
    command: sleep 1000
    stop_signal: SIGKILL
    tmpfs: /plain
    volumes:
      - { type: tmpfs, target: /sized, tmpfs: { size: 2m, mode: 0711 } }
"#,
    );
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("box", "awk '$2 == \"/plain\" { print $3 }' /proc/mounts; stat -c %a /plain"), "tmpfs\n1777");
    assert_eq!(env.sh("box", "df -k /sized | awk 'END { print $2 }'; stat -c %a /sized"), "2048\n711");
    env.down();
}

#[test]
fn secrets_and_configs_are_files() {
    let mut env = TestEnv::with(
        "files",
        r#"
services:
  box:
    image: "busybox:1.35"
    command: sleep 1000
    stop_signal: SIGKILL
    user: "1000"
    secrets: [plain, from_env, { source: plain, target: renamed }]
    configs:
      - { source: inline, target: /etc/app/app.conf }
secrets:
  plain: { file: ./plain.txt }
  from_env: { environment: TOKEN }
configs:
  inline: { content: "colour = ${COLOUR:-green}\n" }
"#,
    );
    env.set("TOKEN", "t0ken");
    env.file("plain.txt", "plain\n");
    env.ok(&["up", "-d"]);
    assert_eq!(
        env.sh("box", "cat /run/secrets/plain /run/secrets/renamed /run/secrets/from_env"),
        "plain\nplain\nt0ken"
    );
    assert_eq!(env.sh("box", "cat /etc/app/app.conf"), "colour = green");
    assert!(env.sh("box", "(echo x > /run/secrets/plain) 2>&1 || true").contains("Read-only file system"));
    env.down();
}

#[test]
fn the_stores_of_volumes_are_closed_to_others() {
    let env = TestEnv::with(
        "closed",
        r#"services: { box: { image: "busybox:1.35", command: sleep 1000, volumes: ["vol:/v"], stop_signal: SIGKILL } }
volumes: { vol: {} }"#,
    );
    env.ok(&["up", "-d"]);
    let data = fs::metadata(env.home().join("data")).unwrap();
    assert_eq!((data.uid(), data.permissions().mode() & 0o007), (0, 0), "other users of the machine have no way in");
    env.down();
}

/// A file system that goes when this does.
pub struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    pub fn tmpfs(place: &'a Path, options: &str) -> Self {
        mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
        Self(place)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = umount2(self.0, MntFlags::MNT_DETACH);
    }
}
