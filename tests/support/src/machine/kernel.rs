//! A Debian release's cloud kernel: unpacked, never installed.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::cpio;
use crate::debian::Debian;
use crate::run;

/// The folders of modules that a test may need: the rest is drivers for hardware.
const FOLDERS: &[&str] = &[
    "kernel/net",
    "kernel/fs/overlayfs",
    "kernel/drivers/net",
    "kernel/drivers/virtio",
    "kernel/lib",
    "kernel/crypto",
];

/// Leaves `vmlinuz` and `modules.cpio` in `folder`.
pub fn make(debian: &Debian, suite: &str, folder: &Path) -> Result<()> {
    let archive = folder.join("kernel.tar");
    debian.root(suite, &["linux-image-cloud-amd64"], &[], &archive)?;
    let all = folder.join("all");
    fs::create_dir(&all)?;
    let patterns = ["./boot/vmlinuz-*", "*/lib/modules/*", "./lib/modules/*"];
    // One of the patterns of modules matches nothing.
    let _ = Command::new("tar").arg("-C").arg(&all).arg("--wildcards").arg("-xf").arg(&archive).args(patterns).output();
    let vmlinuz = fs::read_dir(all.join("boot"))?.next().context("the package has no kernel")??.path();
    fs::copy(vmlinuz, folder.join("vmlinuz"))?;

    let modules = [all.join("usr/lib/modules"), all.join("lib/modules")].into_iter().find(|path| path.is_dir());
    let modules = fs::read_dir(modules.context("the package has no modules")?)?.next().context("no version")??.path();
    let root = folder.join("root");
    let wanted = root.join("usr/lib/modules").join(modules.file_name().context("a version")?);
    for name in FOLDERS {
        let target = wanted.join(name);
        if modules.join(name).is_dir() {
            fs::create_dir_all(target.parent().context("a folder")?)?;
            fs::rename(modules.join(name), target)?;
        }
    }
    for name in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
        fs::copy(modules.join(name), wanted.join(name))?;
    }
    std::os::unix::fs::symlink("usr/lib", root.join("lib"))?;
    let mut depmod = Command::new("depmod");
    depmod
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .arg("-b")
        .arg(&root)
        .arg(wanted.file_name().context("a version")?);
    run(folder, &mut depmod)?;
    fs::remove_file(root.join("lib"))?;
    cpio::tree(&mut BufWriter::new(File::create(folder.join("modules.cpio"))?), &root)?;
    for rest in [&all, &root] {
        fs::remove_dir_all(rest)?;
    }
    Ok(fs::remove_file(archive)?)
}
