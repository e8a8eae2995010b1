//! Layers made of a small host of our own, and the real host's, really mounted.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use super::*;

/// A host with a merged `/usr`, secrets, and links that lead astray.
fn small_host() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    for folder in [
        "usr/bin",
        "usr/share/polkit-1/rules.d",
        "usr/local/etc",
        "etc/ssl/private",
        "etc/ssl/certs",
        "etc/ssh",
        "etc/app",
        "var/lib/nginx",
        "var/lib/windlass",
        "home/ann",
        "opt/tool",
    ] {
        fs::create_dir_all(at(folder)).unwrap();
    }
    for (file, mode) in [
        ("usr/bin/tool", 0o755),
        ("usr/local/etc/token", 0o600),
        ("usr/local/etc/settings", 0o644),
        ("etc/passwd", 0o644),
        ("etc/passwd-", 0o644),
        ("etc/shadow", 0o640),
        ("etc/ssl/certs/ca.pem", 0o644),
        ("etc/ssl/private/key.pem", 0o644),
        ("etc/ssh/ssh_host_key", 0o600),
        ("etc/machine-id", 0o444),
        ("etc/app/public", 0o644),
        ("etc/app/secret", 0o600),
        ("etc/hosts", 0o644),
        ("home/ann/diary", 0o644),
    ] {
        fs::write(at(file), file).unwrap();
        fs::set_permissions(at(file), PermissionsExt::from_mode(mode)).unwrap();
    }
    fs::set_permissions(at("usr/share/polkit-1/rules.d"), PermissionsExt::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(at("var/lib/nginx"), Some(33), Some(33)).unwrap();
    symlink("usr/bin", at("bin")).unwrap();
    symlink("home/ann", at("lib64")).unwrap();
    symlink("../usr/bin/tool", at("etc/alternative")).unwrap();
    root
}

#[test]
fn the_root_layer_has_what_everybody_may_read_of_etc_and_nothing_else_of_the_host() {
    let (host, store) = (small_host(), tempfile::tempdir().unwrap());
    let prepared = prepare_from(host.path(), store.path()).unwrap();
    let root = prepared.lower[0].clone();
    let has = |path: &str| fs::symlink_metadata(root.join(path)).is_ok();
    for shown in ["etc/passwd", "etc/ssl/certs/ca.pem", "etc/app/public", "etc/alternative", "bin", "usr", "var/tmp"] {
        assert!(has(shown), "{shown} is missing");
    }
    for hidden in [
        "etc/shadow",
        "etc/passwd-",
        "etc/ssl/private/key.pem",
        "etc/ssl/private",
        "etc/ssh",
        "etc/app/secret",
        "home/ann",
        "lib64",
        "opt/tool",
        "usr/bin",
        "var/lib/windlass",
    ] {
        assert!(!has(hidden), "{hidden} is shown");
    }
    assert_eq!(fs::read_to_string(root.join("etc/machine-id")).unwrap(), "");
    assert_eq!(fs::read_to_string(root.join("etc/hosts")).unwrap(), "");
    assert_eq!(fs::read_link(root.join("var/run")).unwrap(), Path::new("/run"));
    assert_eq!(fs::metadata(root.join("tmp")).unwrap().mode() & 0o7777, 0o1777);
    let nginx = fs::metadata(root.join("var/lib/nginx")).unwrap();
    assert_eq!((nginx.uid(), nginx.gid()), (33, 33));
    let [usr] = prepared.overlays.as_slice() else { panic!("{:?}", prepared.overlays) };
    assert_eq!(usr.target, Path::new("/usr"));
    assert_eq!(usr.lower[1], host.path().join("usr"));
    for hidden in ["local/etc/token", "share/polkit-1/rules.d"] {
        let whiteout = fs::symlink_metadata(usr.lower[0].join(hidden)).unwrap();
        assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0, "{hidden}");
    }
    assert!(!usr.lower[0].join("local/etc/settings").exists());
}

#[test]
fn layers_are_made_once_and_anew_when_the_host_changes() {
    let (host, store) = (small_host(), tempfile::tempdir().unwrap());
    let first = prepare_from(host.path(), store.path()).unwrap();
    fs::write(host.path().join("etc/app/secret"), "changed").unwrap();
    fs::write(host.path().join("var/lib/nginx/file"), "").unwrap();
    assert_eq!(prepare_from(host.path(), store.path()).unwrap(), first);
    fs::write(host.path().join("etc/passwd"), "changed").unwrap();
    let second = prepare_from(host.path(), store.path()).unwrap();
    assert_ne!(second, first);
    assert_eq!(fs::read_to_string(second.lower[0].join("etc/passwd")).unwrap(), "changed");
    assert_eq!(fs::read_to_string(first.lower[0].join("etc/passwd")).unwrap(), "etc/passwd");
    let names: Vec<_> = fs::read_dir(store.path().join("host")).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn layers_that_a_crash_of_the_machine_broke_are_made_again_after_the_next_boot() {
    let (host, store) = (small_host(), tempfile::tempdir().unwrap());
    let first = prepare_from(host.path(), store.path()).unwrap();
    let passwd = first.lower[0].join("etc/passwd");
    let marker = first.lower[0].with_file_name("boot");
    fs::write(&passwd, "").unwrap();
    fs::write(&marker, "an earlier boot").unwrap();
    assert_eq!(prepare_from(host.path(), store.path()).unwrap(), first);
    assert_eq!(fs::read_to_string(&passwd).unwrap(), "etc/passwd");
    // Whole ones stay: a container may use them already.
    let inode = fs::metadata(&passwd).unwrap().ino();
    fs::write(&marker, "an earlier boot").unwrap();
    prepare_from(host.path(), store.path()).unwrap();
    assert_eq!(fs::metadata(&passwd).unwrap().ino(), inode);
    assert_eq!(fs::read_to_string(&marker).unwrap(), crate::state::process::boot_id().unwrap());
}

#[test]
fn pruning_leaves_what_is_used_or_current() {
    let (host, store) = (small_host(), tempfile::tempdir().unwrap());
    assert_eq!(prune_from(host.path(), store.path(), &[]).unwrap(), 0);
    let mut states = Vec::new();
    for state in ["one", "two", "three"] {
        fs::write(host.path().join("etc/app/public"), state).unwrap();
        states.push(prepare_from(host.path(), store.path()).unwrap().lower[0].clone());
    }
    assert!(prune_from(host.path(), store.path(), &states[..1]).unwrap() > 0);
    assert_eq!(states.iter().map(|layer| layer.exists()).collect::<Vec<_>>(), [true, false, true]);
}

#[test]
fn a_data_root_inside_a_system_folder_is_refused() {
    let host = small_host();
    let error = prepare_from(host.path(), &host.path().join("usr/share/windlass")).unwrap_err();
    assert!(matches!(error, HostError::DataInside { .. }), "{error}");
}

#[test]
fn many_commands_at_once_end_with_the_same_layers() {
    let (host, store) = (small_host(), tempfile::tempdir().unwrap());
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| prepare_from(host.path(), store.path()).unwrap())).collect();
        let results: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
        assert!(results[0].lower[0].join("etc/passwd").exists());
    });
}

/// Mounts the real host's root file system as a container would, and runs programs of it.
#[test]
fn programs_of_this_machine_run_in_it_and_its_secrets_are_not_there() {
    let home = tempfile::tempdir().unwrap();
    let prepared = prepare(&home.path().join("images")).unwrap();
    let container = home.path().join("container");
    let target = home.path().join("root");
    fs::create_dir_all(&target).unwrap();
    let marker = "/usr/local/etc/windlass-test-marker";
    let script = format!(
        "set -e
        grep -q ^root: /etc/passwd
        for hidden in /etc/shadow /etc/ssh /etc/ssl/private /home/* /root/.[a-z]* /srv/* /usr/share/polkit-1/rules.d/*
        do if test -e \"$hidden\"; then echo \"$hidden is shown\"; exit 1; fi; done
        test -w /tmp && test -d /var/log && test ! -s /etc/machine-id
        mkdir -p /usr/local/etc /srv/new; echo x > {marker}; echo x >> /etc/passwd; rm /usr/bin/env
        sh -c 'echo alive'"
    );
    let output = std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS | nix::sched::CloneFlags::CLONE_FS)
                .expect("this test needs root");
            let private = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
            nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
            let mount = |lower: &[PathBuf], upper: &Path, work: &Path, target: &Path| {
                make_upper(&lower[0], upper, work).unwrap();
                let tree = crate::sys::overlay::detached(lower, Some((upper, work))).unwrap();
                let flags = rustix::mount::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
                rustix::mount::move_mount(&tree, "", rustix::fs::CWD, target, flags).unwrap();
            };
            mount(&prepared.lower, &container.join("upper"), &container.join("work"), &target);
            for overlay in &prepared.overlays {
                let (upper, work) = (container.join(&overlay.upper), container.join(&overlay.work));
                mount(&overlay.lower, &upper, &work, &target.join(overlay.target.strip_prefix("/").unwrap()));
            }
            Command::new("chroot")
                .arg(&target)
                .args(["/bin/sh", "-c", &script])
                .env_clear()
                .env("PATH", &config().env[0][5..])
                .output()
        });
        run.join().unwrap().unwrap()
    });
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "alive\n");
    assert!(!Path::new(marker).exists() && Path::new("/usr/bin/env").exists());
    assert!(container.join("host/usr/upper/local/etc/windlass-test-marker").exists());
}
