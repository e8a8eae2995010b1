//! The root and its mounts.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use windlass::runtime::spec::{Mount, MountKind, Propagation};

use crate::support::Direct;

fn bind(source: &std::path::Path, target: &str, read_only: bool) -> Mount {
    let kind = MountKind::Bind {
        source: source.into(),
        subpath: None,
        read_only,
        recursive: true,
        propagation: Propagation::Rprivate,
    };
    Mount { target: target.into(), kind }
}

fn tmpfs(target: &str, options: &[&str]) -> Mount {
    let options = options.iter().map(|o| (*o).to_owned()).collect();
    Mount {
        target: target.into(),
        kind: MountKind::Tmpfs { size: Some(1 << 20), mode: None, uid: None, gid: None, options },
    }
}

#[test]
fn default_mounts_have_their_flags() {
    let mut keeper = Direct::new();
    let text = keeper.script("cat /proc/self/mounts; stat -c '%a %u' / /dev/shm");
    for line in [
        "overlay / overlay rw",
        "proc /proc proc rw,nosuid,nodev,noexec",
        "tmpfs /dev tmpfs rw,nosuid",
        "devpts /dev/pts devpts rw,nosuid,noexec",
        "sysfs /sys sysfs ro,nosuid,nodev,noexec",
        "mqueue /dev/mqueue mqueue rw,nosuid,nodev,noexec",
        "shm /dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=65536k",
        "proc /proc/sys proc ro",
    ] {
        assert!(text.lines().any(|l| l.starts_with(line)), "`{line}` is not in:\n{text}");
    }
    assert!(text.lines().all(|l| !l.starts_with("none ")), "a mount without a name:\n{text}");
    assert!(text.ends_with("755 0\n1777 0\n"), "{text}");
    assert!(!text.contains("/mnt") && !text.contains("ext4"), "mounts of the host are visible:\n{text}");
}

#[test]
fn the_layers_stay_as_they_are() {
    let mut keeper = Direct::new();
    fs::write(keeper.lower().join("data/old"), "old").unwrap();
    let spec = keeper.shell("echo new > /data/new; rm /data/old; ls /data");
    assert_eq!(keeper.output(&spec), "new\n");
    assert!(keeper.lower().join("data/old").exists() && !keeper.lower().join("data/new").exists());
    assert!(spec.rootfs.upper.join("data/new").exists());
}

#[test]
fn a_read_only_root() {
    let mut keeper = Direct::new();
    let mut spec =
        keeper.shell("touch /x; touch /data/x; touch /dev/shm/x && touch /scratch/x && echo shm; id -u; pwd");
    spec.rootfs.read_only = true;
    spec.process.cwd = "/new/place".into();
    spec.mounts = vec![tmpfs("/scratch", &[])];
    let outcome = keeper.run(&spec);
    assert_eq!(outcome.stdout, "shm\n0\n/new/place\n");
    assert_eq!(outcome.stderr.matches("Read-only file system").count(), 2, "{outcome:?}");
}

#[test]
fn binds_of_folders_and_files() {
    let mut keeper = Direct::new();
    let source = keeper.path("source");
    fs::create_dir_all(source.join("sub/deep")).unwrap();
    fs::write(source.join("file"), "content\n").unwrap();
    let mut spec = keeper.shell(
        "cat /made/up/path/file /etc/one; echo written > /made/up/path/out; touch /ro/x; echo more >> /etc/one; ls /sub",
    );
    let sub = Mount {
        target: "/sub".into(),
        kind: MountKind::Bind {
            source: source.clone(),
            subpath: Some("sub".into()),
            read_only: false,
            recursive: true,
            propagation: Propagation::Rprivate,
        },
    };
    spec.mounts = vec![
        bind(&source, "/made/up/path", false),
        bind(&source.join("file"), "/etc/one", true),
        bind(&source, "/ro", true),
        sub,
    ];
    let outcome = keeper.run(&spec);
    assert_eq!(outcome.stdout, "content\ncontent\ndeep\n", "{outcome:?}");
    assert_eq!(outcome.stderr.matches("Read-only file system").count(), 2, "{outcome:?}");
    assert_eq!(fs::read_to_string(source.join("out")).unwrap(), "written\n");
    assert_eq!(fs::read_to_string(source.join("file")).unwrap(), "content\n");
}

#[test]
fn a_missing_source_or_a_mismatch_is_explained() {
    let mut keeper = Direct::new();
    let file = keeper.path("file");
    fs::write(&file, "").unwrap();
    let folder = keeper.lower();
    let mut check = |mount: Mount, words: &str| {
        let mut spec = keeper.spec(&["true"]);
        spec.mounts = vec![mount];
        let error = keeper.failure(&spec).to_string();
        assert!(error.contains(words), "{error}");
    };
    check(bind("/no/such/place".as_ref(), "/x", false), "mount /x: the source /no/such/place: no such file");
    check(
        bind(&file, "/etc", false),
        "mount /etc: the source is a file, but the target in the container is a directory",
    );
    check(bind(&folder, "/etc/passwd", false), "the source is a directory, but the target in the container is a file");
    check(bind(&folder, "/", false), "mount /: the target must be an absolute path other than /");
    check(bind(&folder, "/proc", false), "nothing may be mounted over /proc");
    check(bind(&folder, "/proc/sys/net", false), "/proc");
    check(tmpfs("/x", &["bogus"]), "tmpfs has no option `bogus`");
    let mut outside = bind(&folder, "/x", false);
    if let MountKind::Bind { subpath, .. } = &mut outside.kind {
        *subpath = Some("../..".into());
    }
    check(outside, "mount /x: the source ../..");
}

#[test]
fn tmpfs_and_etc_files() {
    let mut keeper = Direct::new();
    let hosts = keeper.path("hosts");
    fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    symlink("../run/resolve/stub", keeper.lower().join("etc/resolv.conf")).unwrap();
    let mut spec = keeper.shell("cat /etc/hosts /etc/resolv.conf; grep ' /t ' /proc/mounts; stat -c '%a %u %g' /t");
    spec.etc.hosts = Some(hosts.clone());
    spec.etc.resolv_conf = Some(hosts);
    let mut mount = tmpfs("/t", &["exec,mode=0750"]);
    if let MountKind::Tmpfs { uid, gid, .. } = &mut mount.kind {
        (*uid, *gid) = (Some(5), Some(6));
    }
    spec.mounts = vec![mount];
    let text = keeper.output(&spec);
    assert!(text.starts_with("127.0.0.1 localhost\n127.0.0.1 localhost\n"), "{text}");
    assert!(text.contains("rw,nosuid,nodev,relatime,size=1024k") && text.ends_with("750 5 6\n"), "{text}");
}

#[test]
fn further_overlays_and_replaced_defaults() {
    let mut keeper = Direct::new();
    let (a, b) = (keeper.path("a"), keeper.path("b"));
    for (folder, name) in [(&a, "one"), (&b, "two")] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join(name), "").unwrap();
    }
    let mut spec =
        keeper.shell("ls /both /single; touch /both/x; touch /single/x; touch /rw/x; ls /rw; stat -c %s /dev/shm/here");
    let overlay = |target: &str, lower: Vec<std::path::PathBuf>, own: Option<&str>| Mount {
        target: target.into(),
        kind: MountKind::Overlay {
            lower,
            upper: own.map(|own| keeper.path(&format!("{own}-upper"))),
            work: own.map(|own| keeper.path(&format!("{own}-work"))),
        },
    };
    for folder in ["rw-upper", "rw-work"] {
        fs::create_dir(keeper.path(folder)).unwrap();
    }
    let shm = keeper.path("shm");
    fs::create_dir(&shm).unwrap();
    fs::write(shm.join("here"), "12345").unwrap();
    spec.mounts = vec![
        overlay("/both", vec![a.clone(), b.clone()], None),
        overlay("/single", vec![a.clone()], None),
        overlay("/rw", vec![a.clone(), b], Some("rw")),
        bind(&shm, "/dev/shm", false),
    ];
    let outcome = keeper.run(&spec);
    assert_eq!(outcome.stdout, "/both:\none\ntwo\n\n/single:\none\none\ntwo\nx\n5\n", "{outcome:?}");
    assert_eq!(outcome.stderr.matches("Read-only file system").count(), 2, "{outcome:?}");
}

#[test]
fn targets_resolve_inside_the_root() {
    let mut keeper = Direct::new();
    let source = keeper.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("f"), "f\n").unwrap();
    let outside = keeper.path("outside");
    fs::create_dir(&outside).unwrap();
    symlink("/", keeper.lower().join("up")).unwrap();
    symlink("../../../../..", keeper.lower().join("data/far")).unwrap();
    symlink(&outside, keeper.lower().join("data/abs")).unwrap();
    symlink("loop", keeper.lower().join("data/loop")).unwrap();
    let mut spec = keeper.shell("cat /data2/f /far/f; ls -d /tmp/*/outside/made; true");
    spec.mounts = vec![
        bind(&source, "/up/data2", false),
        bind(&source, "/data/far/far", false),
        bind(&source, "/data/abs/made", false),
    ];
    let outcome = keeper.run(&spec);
    assert!(outcome.stdout.starts_with("f\nf\n"), "{outcome:?}");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "something was made on the host");
    let mut spec = keeper.spec(&["true"]);
    spec.mounts = vec![bind(&source, "/data/loop/x", false)];
    assert!(keeper.failure(&spec).to_string().contains("link"));
}

#[test]
fn a_user_s_file_keeps_its_owner() {
    let mut keeper = Direct::new();
    let source = keeper.path("source");
    fs::create_dir(&source).unwrap();
    let mut spec = keeper.shell("touch /s/x 2>&1; touch /tmp/ok && echo ok");
    spec.process.user = "1000:1001".into();
    spec.mounts = vec![bind(&source, "/s", false)];
    let text = keeper.output(&spec);
    assert!(text.contains("Permission denied") && text.ends_with("ok\n"), "{text}");
    assert_eq!(fs::metadata(&source).unwrap().uid(), 0);
}
