//! Options of a `tmpfs` mount, as in the short syntax: `size=64m,mode=1777,exec`.

use std::os::fd::OwnedFd;

use rustix::mount::MountAttrFlags;

use crate::runtime::StartError;
use crate::runtime::filesystem::create;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    data: Vec<(String, String)>,
    attributes: MountAttrFlags,
}

impl Options {
    pub(super) fn parse(
        step: &str,
        size: Option<u64>,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        words: &[String],
    ) -> Result<Self, StartError> {
        let mut data = Vec::new();
        let mut attributes =
            MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        for word in words.iter().flat_map(|word| word.split(',')).map(str::trim).filter(|word| !word.is_empty()) {
            if let Some((key, value)) = word.split_once('=') {
                match key {
                    "size" | "mode" | "uid" | "gid" | "nr_inodes" | "nr_blocks" | "huge" | "mpol" => {
                        data.push((key.to_owned(), value.to_owned()));
                    }
                    _ => return Err(StartError::new(step, format!("tmpfs has no option `{key}`"))),
                }
                continue;
            }
            let times = MountAttrFlags::MOUNT_ATTR_NOATIME | MountAttrFlags::MOUNT_ATTR_STRICTATIME;
            match word {
                "ro" => attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY,
                "rw" => attributes -= MountAttrFlags::MOUNT_ATTR_RDONLY,
                "exec" => attributes -= MountAttrFlags::MOUNT_ATTR_NOEXEC,
                "noexec" => attributes |= MountAttrFlags::MOUNT_ATTR_NOEXEC,
                "suid" => attributes -= MountAttrFlags::MOUNT_ATTR_NOSUID,
                "nosuid" => attributes |= MountAttrFlags::MOUNT_ATTR_NOSUID,
                "dev" => attributes -= MountAttrFlags::MOUNT_ATTR_NODEV,
                "nodev" => attributes |= MountAttrFlags::MOUNT_ATTR_NODEV,
                "noatime" => attributes = (attributes - times) | MountAttrFlags::MOUNT_ATTR_NOATIME,
                "strictatime" => attributes = (attributes - times) | MountAttrFlags::MOUNT_ATTR_STRICTATIME,
                "atime" | "relatime" | "norelatime" => attributes -= times,
                "nodiratime" => attributes |= MountAttrFlags::MOUNT_ATTR_NODIRATIME,
                "diratime" => attributes -= MountAttrFlags::MOUNT_ATTR_NODIRATIME,
                // Without effect on memory, or what is done anyhow.
                "sync" | "async" | "dirsync" | "mand" | "nomand" | "defaults" | "private" | "rprivate" => {}
                _ => return Err(StartError::new(step, format!("tmpfs has no option `{word}`"))),
            }
        }
        let mut set = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                data.retain(|(known, _)| known != key);
                data.push((key.to_owned(), value));
            }
        };
        set("size", size.map(|size| size.to_string()));
        set("mode", mode.map(|mode| format!("{mode:o}")));
        set("uid", uid.map(|uid| uid.to_string()));
        set("gid", gid.map(|gid| gid.to_string()));
        Ok(Self { data, attributes })
    }

    pub(super) fn create(&self, step: &str) -> Result<OwnedFd, StartError> {
        let data: Vec<_> = self.data.iter().map(|(key, value)| (key.as_str(), Some(value.as_str()))).collect();
        create(step, "tmpfs", &data, self.attributes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Options, StartError> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        Options::parse("mount /x", Some(4096), None, None, None, &words)
    }

    #[test]
    fn flags_and_values() {
        let options = parse(&["exec,mode=0700", "size=1m", "noatime"]).unwrap();
        assert_eq!(options.data, [("mode".into(), "0700".into()), ("size".into(), "4096".into())]);
        assert!(!options.attributes.contains(MountAttrFlags::MOUNT_ATTR_NOEXEC));
        assert!(options.attributes.contains(MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOATIME));
        assert!(parse(&["lowerdir=/"]).is_err());
        assert!(parse(&["wat"]).is_err());
    }
}
