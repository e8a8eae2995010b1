//! The `local` driver's options: what is mounted as the volume when a container uses it.

use std::collections::BTreeMap;
use std::io;
use std::net::ToSocketAddrs;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount as mount_call, umount2};

use super::error::VolumeError;
use super::folder::Folder;
use super::spec::VolumeRecord;

/// `type`, `o` and `device`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DriverMount {
    device: String,
    kind: String,
    flags: MsFlags,
    /// What is not a flag, for the file system.
    data: Vec<String>,
}

impl DriverMount {
    /// `None` without options: the volume is a folder of the store.
    pub(super) fn parse(name: &str, options: &BTreeMap<String, String>) -> Result<Option<Self>, VolumeError> {
        let wrong = |option: &str, reason: &str| VolumeError::Option {
            name: name.to_owned(),
            option: option.to_owned(),
            reason: reason.to_owned(),
        };
        if let Some(unknown) = options.keys().find(|key| !matches!(key.as_str(), "type" | "o" | "device")) {
            let reason = match unknown.as_str() {
                "size" => "is not supported: use `type: tmpfs` with `o: size=...`, or a disk with a quota of its own",
                _ => "is unknown; the local driver takes `type`, `o` and `device`",
            };
            return Err(wrong(unknown, reason));
        }
        let text = |key: &str| options.get(key).map(|value| value.trim()).unwrap_or_default();
        let (kind, device, list) = (text("type"), text("device"), text("o"));
        if kind.is_empty() && device.is_empty() && list.is_empty() {
            return Ok(None);
        }
        if device.is_empty() {
            return Err(wrong("device", "is missing"));
        }
        let (mut flags, mut data) = (MsFlags::empty(), Vec::new());
        for option in list.split(',').map(str::trim).filter(|option| !option.is_empty()) {
            match flag(option) {
                Some((flag, true)) => flags.insert(flag),
                Some((flag, false)) => flags.remove(flag),
                None if matches!(option, "defaults" | "_netdev" | "auto" | "noauto" | "nofail") => {}
                None => data.push(option.to_owned()),
            }
        }
        if kind.is_empty() && !flags.contains(MsFlags::MS_BIND) {
            return Err(wrong("type", "is missing"));
        }
        if kind == "bind" {
            flags.insert(MsFlags::MS_BIND);
        }
        if flags.contains(MsFlags::MS_BIND) && !Path::new(device).is_absolute() {
            return Err(wrong("device", &format!("must be an absolute path for a bind, not `{device}`")));
        }
        if kind == "none" && !flags.contains(MsFlags::MS_BIND) {
            return Err(wrong("type", "is `none`, which needs `o: bind`"));
        }
        Ok(Some(Self { device: device.to_owned(), kind: kind.to_owned(), flags, data }))
    }

    fn mount_at(&self, target: &Path) -> Result<(), (io::Error, Option<String>)> {
        let plain = |errno: Errno| (io::Error::from(errno), self.hint(errno));
        if self.flags.contains(MsFlags::MS_BIND) {
            mount_call(
                Some(self.device.as_str()),
                target,
                None::<&str>,
                self.flags & (MsFlags::MS_BIND | MsFlags::MS_REC),
                None::<&str>,
            )
            .map_err(plain)?;
            let rest = self.flags - MsFlags::MS_REC - MsFlags::MS_BIND;
            if rest.is_empty() {
                return Ok(());
            }
            // A bind takes its flags only in a second step.
            let flags = (self.flags - MsFlags::MS_REC) | MsFlags::MS_REMOUNT;
            return mount_call(None::<&str>, target, None::<&str>, flags, None::<&str>).map_err(|errno| {
                let _ = umount2(target, MntFlags::MNT_DETACH);
                plain(errno)
            });
        }
        let data =
            self.resolved().map_err(|(error, host)| (error, Some(format!("the address of `{host}` is unknown"))))?;
        mount_call(Some(self.device.as_str()), target, Some(self.kind.as_str()), self.flags, Some(data.as_str()))
            .map_err(plain)
    }

    /// The kernel wants addresses where people write the names of servers.
    fn resolved(&self) -> Result<String, (io::Error, String)> {
        let network = matches!(self.kind.as_str(), "nfs" | "nfs4" | "cifs" | "smb3");
        let mut data = Vec::with_capacity(self.data.len());
        let mut addressed = false;
        for option in &self.data {
            match option.strip_prefix("addr=") {
                Some(host) if network => {
                    data.push(format!("addr={}", address(host)?));
                    addressed = true;
                }
                _ => data.push(option.clone()),
            }
        }
        if network && !addressed {
            let host = match self.device.strip_prefix("//") {
                Some(share) => share.split('/').next(),
                None => self.device.split_once(":/").map(|(host, _)| host),
            };
            if let Some(host) = host.filter(|host| !host.is_empty()) {
                data.push(format!("addr={}", address(host)?));
            }
        }
        Ok(data.join(","))
    }

    fn hint(&self, errno: Errno) -> Option<String> {
        Some(match errno {
            Errno::ENODEV => format!("this kernel has no file system `{}`", self.kind),
            Errno::ENOENT | Errno::ENOTDIR if self.flags.contains(MsFlags::MS_BIND) => {
                "the folder must exist; a bind volume does not create it".into()
            }
            Errno::ENOTBLK => "it is not a block device".into(),
            Errno::EINVAL => {
                format!("`{}` refuses the options `{}`; the kernel's log says more", self.kind, self.data.join(","))
            }
            _ => return None,
        })
    }
}

fn address(host: &str) -> Result<std::net::IpAddr, (io::Error, String)> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let unknown = |error| (error, host.to_owned());
    let mut found = (bare, 0).to_socket_addrs().map_err(unknown)?;
    found.next().map(|found| found.ip()).ok_or_else(|| (io::Error::from(io::ErrorKind::NotFound), host.to_owned()))
}

/// The flag that an option sets or clears.
fn flag(option: &str) -> Option<(MsFlags, bool)> {
    Some(match option {
        "bind" => (MsFlags::MS_BIND, true),
        "rbind" => (MsFlags::MS_BIND | MsFlags::MS_REC, true),
        "ro" => (MsFlags::MS_RDONLY, true),
        "rw" => (MsFlags::MS_RDONLY, false),
        "nosuid" => (MsFlags::MS_NOSUID, true),
        "suid" => (MsFlags::MS_NOSUID, false),
        "nodev" => (MsFlags::MS_NODEV, true),
        "dev" => (MsFlags::MS_NODEV, false),
        "noexec" => (MsFlags::MS_NOEXEC, true),
        "exec" => (MsFlags::MS_NOEXEC, false),
        "sync" => (MsFlags::MS_SYNCHRONOUS, true),
        "async" => (MsFlags::MS_SYNCHRONOUS, false),
        "dirsync" => (MsFlags::MS_DIRSYNC, true),
        "mand" => (MsFlags::MS_MANDLOCK, true),
        "nomand" => (MsFlags::MS_MANDLOCK, false),
        "noatime" => (MsFlags::MS_NOATIME, true),
        "atime" => (MsFlags::MS_NOATIME, false),
        "nodiratime" => (MsFlags::MS_NODIRATIME, true),
        "diratime" => (MsFlags::MS_NODIRATIME, false),
        "relatime" => (MsFlags::MS_RELATIME, true),
        "norelatime" => (MsFlags::MS_RELATIME, false),
        "strictatime" => (MsFlags::MS_STRICTATIME, true),
        _ => return None,
    })
}

/// Mounts what the record asks for over `_data`.
pub(super) fn mount(volume: &VolumeRecord, folder: &Folder) -> Result<(), VolumeError> {
    let Some(wanted) = DriverMount::parse(&volume.name, &volume.driver_opts)? else { return Ok(()) };
    folder.create_data().map_err(VolumeError::io("create", folder.data()))?;
    if folder.is_mounted().map_err(VolumeError::io("look at", folder.data()))? {
        return Ok(());
    }
    wanted.mount_at(&folder.data()).map_err(|(source, hint)| VolumeError::Mount {
        name: volume.name.clone(),
        device: wanted.device.clone(),
        hint,
        source,
    })
}

/// Undoes [`mount`]. Containers that still have the file system keep it until they end.
pub(super) fn unmount(name: &str, folder: &Folder) -> Result<(), VolumeError> {
    loop {
        match folder.is_mounted() {
            Ok(true) => umount2(&folder.data(), MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
                .map_err(|errno| VolumeError::Unmount { name: name.to_owned(), source: errno.into() })?,
            _ => return Ok(()),
        }
    }
}
