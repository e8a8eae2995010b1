//! The Debian system of a machine: this machine's own release, so that what was built here runs there.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::cpio;
use crate::debian::Debian;
use crate::run;

const PACKAGES: &[&str] = &[
    "base-files",
    "base-passwd",
    "bash",
    "busybox-static",
    "coreutils",
    "dash",
    "debianutils",
    "findutils",
    "grep",
    "hostname",
    "iproute2",
    "iptables",
    "kmod",
    "libc-bin",
    "libgcc-s1",
    "mawk",
    "mount",
    "nftables",
    "procps",
    "python3-minimal",
    "libpython3-stdlib",
    "sed",
    "tar",
    "util-linux",
    "wget",
];

/// Leaves `root.cpio` in `folder`.
pub fn make(debian: &Debian, folder: &Path) -> Result<()> {
    let release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).context("no codename")?;
    let archive = folder.join("root.tar");
    debian.root(suite.trim_matches('"'), PACKAGES, &["/usr/lib/udev/*", "/usr/share/locale/*"], &archive)?;
    let root = folder.join("root");
    fs::create_dir(&root)?;
    run(&root, Command::new("tar").arg("-xf").arg(&archive))?;
    // What the scripts of the packages would have made.
    for (master, name) in [("passwd.master", "passwd"), ("group.master", "group")] {
        fs::copy(root.join("usr/share/base-passwd").join(master), root.join("etc").join(name))?;
    }
    // Up to Debian 12 packages bring a /bin and a /lib of their own.
    for name in ["bin", "sbin", "lib", "lib64"] {
        let folder = root.join(name);
        if folder.is_dir() && !folder.is_symlink() {
            fs::create_dir_all(root.join("usr").join(name))?;
            run(&root, Command::new("cp").args(["-a", &format!("{name}/."), &format!("usr/{name}/")]))?;
            fs::remove_dir_all(&folder)?;
        }
        if root.join("usr").join(name).is_dir() && !folder.exists() {
            std::os::unix::fs::symlink(format!("usr/{name}"), folder)?;
        }
    }
    for (link, target) in [("usr/bin/sh", "dash"), ("usr/bin/awk", "mawk")] {
        let _ = fs::remove_file(root.join(link));
        std::os::unix::fs::symlink(target, root.join(link))?;
    }
    for (name, legacy) in [("iptables", "xtables-nft-multi"), ("ip6tables", "xtables-nft-multi")] {
        let link = root.join("usr/sbin").join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(legacy, link)?;
        }
    }
    run(&root, Command::new("ldconfig").env("PATH", "/usr/sbin:/sbin").arg("-r").arg("."))?;
    cpio::tree(&mut BufWriter::new(File::create(folder.join("root.cpio"))?), &root)?;
    fs::remove_dir_all(root)?;
    Ok(fs::remove_file(archive)?)
}
