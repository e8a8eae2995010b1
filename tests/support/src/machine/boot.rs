//! From the parts to the end of a script.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::{Machine, cpio};

pub const EMULATOR: &str = "qemu-system-x86_64";

/// In seconds; then the emulator is killed.
const PATIENCE: u32 = 1200;

/// The first process. The root that the kernel unpacked cannot be pivoted away from, which is what containers do with
/// theirs; a bind mount of it can.
const INIT: &str = "#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mkdir -p /root /new /dev /proc /sys /tmp /run
mount --rbind / /new
cd /new && mount --move . / && exec chroot . /machine/setup
";

const SETUP: &str = "#!/bin/sh
cd /
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs shm /dev/shm
chmod 1777 /tmp
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /var/tmp
mount -t tmpfs -o mode=1777 tmpfs /var/tmp
export TMPDIR=/var/tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t mqueue mqueue /dev/mqueue 2>/dev/null
ln -sfn /proc/self/fd /dev/fd
hostname machine
ip link set lo up
modprobe virtio_pci; modprobe virtio_net; modprobe overlay
for card in /sys/class/net/e*; do
    card=${card##*/}
    ip link set $card up
    ip address add 10.0.2.15/24 dev $card
    ip route add default via 10.0.2.2
done
echo 'nameserver 10.0.2.3' > /etc/resolv.conf
printf '127.0.0.1 localhost\\n::1 localhost\\n' > /etc/hosts
echo machine: Linux $(uname -r)
sh /machine/script < /dev/null
echo machine: exit $?
echo o > /proc/sysrq-trigger
sleep 100
";

/// How the script ended, and what it and the kernel wrote.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub text: String,
}

pub fn run(machine: &Machine, files: &[&Path], script: &str) -> Result<Outcome> {
    let work = tempfile::tempdir()?;
    let initramfs = work.path().join("initramfs");
    let mut out = BufWriter::new(File::create(&initramfs)?);
    for part in [&machine.system, &machine.modules] {
        io::copy(&mut File::open(part)?, &mut out)?;
    }
    let own: [(&str, &str); 3] = [("init", INIT), ("machine/setup", SETUP), ("machine/script", script)];
    cpio::member(&mut out, Path::new("machine"), 0o40755, &[])?;
    for (name, text) in own {
        cpio::member(&mut out, Path::new(name), 0o100_755, text.as_bytes())?;
    }
    for file in files {
        let name = file.strip_prefix("/").context("a file by its whole path")?;
        let mut folders: Vec<&Path> = name.ancestors().skip(1).filter(|path| *path != Path::new("")).collect();
        folders.reverse();
        for folder in folders {
            cpio::member(&mut out, folder, 0o40755, &[])?;
        }
        cpio::member(&mut out, name, 0o100_755, &stripped(file, work.path())?)?;
    }
    cpio::end(&mut out)?;
    out.flush()?;

    let output = Command::new("timeout")
        .args(["-s", "KILL", &PATIENCE.to_string(), EMULATOR])
        // With more than one processor, or with its cmpxchg16b, QEMU 7.2's emulation breaks Linux 6.12: double faults in
        // the kernel's allocator.
        .args(["-accel", "tcg", "-cpu", "max,la57=off,cx16=off", "-smp", "1", "-m", "3072"])
        .args(["-nodefaults", "-no-reboot"])
        .args(["-display", "none", "-serial", "stdio", "-append", "console=ttyS0 quiet panic=-1"])
        .args(["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net"])
        .arg("-kernel")
        .arg(&machine.kernel)
        .arg("-initrd")
        .arg(&initramfs)
        .stdin(Stdio::null())
        .output()
        .context("cannot run the emulator: the test script installs it")?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let text = text.replace('\r', "");
    let code = text.lines().rev().find_map(|line| line.strip_prefix("machine: exit ")?.trim().parse().ok());
    Ok(Outcome { code, text })
}

/// Programs without what only a debugger reads: the emulated machine has to unpack them.
fn stripped(file: &Path, work: &Path) -> Result<Vec<u8>> {
    let copy = work.join("stripped");
    let status = Command::new("strip").arg("-o").arg(&copy).arg(file).stderr(Stdio::null()).status();
    let source = if status.is_ok_and(|status| status.success()) { &copy } else { file };
    fs::read(source).with_context(|| format!("cannot read {}", source.display()))
}
