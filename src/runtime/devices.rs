//! Device nodes, and the rules of the device controller.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Gid, Mode, OFlags, Uid, chownat, fstat, mknodat, openat, symlinkat};
use rustix::io::Errno;

use crate::runtime::StartError;
use crate::runtime::error::Step;
use crate::runtime::inroot::{self, Kind, show};
use crate::runtime::spec::{ContainerSpec, Device};

/// What every container has: name, major, minor.
const DEFAULT: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// A device of the host that the container gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub target: PathBuf,
    pub block: bool,
    pub major: u32,
    pub minor: u32,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub permissions: String,
}

/// Finds the devices of the specification on the host; with `privileged`, all devices.
pub(super) fn find(spec: &ContainerSpec) -> Result<Vec<Node>, StartError> {
    let mut nodes = Vec::new();
    if spec.security.privileged {
        collect(Path::new("/dev"), Path::new("/dev"), "rwm", 0, &mut nodes);
    }
    for device in &spec.devices {
        for node in find_one(device)? {
            nodes.retain(|known: &Node| known.target != node.target);
            nodes.push(node);
        }
    }
    Ok(nodes)
}

/// A device of the specification, or all of a folder.
pub(super) fn find_one(device: &Device) -> Result<Vec<Node>, StartError> {
    let step = || format!("device {}", show(&device.source));
    let permissions = if device.permissions.is_empty() { "rwm" } else { device.permissions.as_str() };
    if permissions.chars().any(|c| !"rwm".contains(c)) {
        return Err(StartError::new(step(), format!("`{permissions}` are not permissions: letters of rwm")));
    }
    if !super::filesystem::is_valid(&device.target) {
        return Err(StartError::new(step(), "the path in the container must be absolute"));
    }
    let metadata = std::fs::metadata(&device.source).step(step)?;
    let mut nodes = Vec::new();
    if metadata.is_dir() {
        collect(&device.source, &device.target, permissions, 0, &mut nodes);
    } else {
        let node = node(&metadata, device.target.clone(), permissions);
        nodes.push(node.ok_or_else(|| StartError::new(step(), "is not a device"))?);
    }
    Ok(nodes)
}

fn node(metadata: &std::fs::Metadata, target: PathBuf, permissions: &str) -> Option<Node> {
    let kind = metadata.file_type();
    if !kind.is_char_device() && !kind.is_block_device() {
        return None;
    }
    Some(Node {
        target,
        block: kind.is_block_device(),
        major: rustix::fs::major(metadata.rdev()),
        minor: rustix::fs::minor(metadata.rdev()),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        permissions: permissions.to_owned(),
    })
}

/// All devices below a folder of the host. What is of one container's own (terminals, shared memory) is left out.
fn collect(folder: &Path, target: &Path, permissions: &str, depth: u32, nodes: &mut Vec<Node>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let known = name.to_str().unwrap_or_default();
        if ["pts", "shm", "fd", "mqueue", "console", "ptmx", ".lxc", ".lxd-mounts"].contains(&known)
            || (depth == 0 && DEFAULT.iter().any(|(default, ..)| *default == known))
        {
            continue;
        }
        let Ok(metadata) = entry.path().symlink_metadata() else { continue };
        if metadata.is_dir() && depth < 8 {
            collect(&entry.path(), &target.join(&name), permissions, depth + 1, nodes);
        } else if let Some(node) = node(&metadata, target.join(&name), permissions) {
            nodes.push(node);
        }
    }
}

/// Fills the new tmpfs that becomes `/dev`. Works by its descriptor: no path of the image is involved.
pub(super) fn populate(dev: BorrowedFd<'_>, terminal: bool) -> Result<(), StartError> {
    for (name, major, minor) in DEFAULT {
        let step = || format!("make /dev/{name}");
        make(dev, Path::new(name), FileType::CharacterDevice, major, minor, 0o666).step(step)?;
    }
    let links = [
        ("pts/ptmx", "ptmx"),
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
        ("/proc/kcore", "core"),
    ];
    for (text, name) in links {
        // A link to nothing would only confuse; few kernels show their memory.
        if name == "core" && !Path::new(text).exists() {
            continue;
        }
        symlinkat(text, dev, name).step(|| format!("make /dev/{name}"))?;
    }
    for (name, mode) in [("pts", 0o755), ("mqueue", 0o755), ("shm", 0o1777)] {
        rustix::fs::mkdirat(dev, name, Mode::from_raw_mode(mode)).step(|| format!("make /dev/{name}"))?;
    }
    if terminal {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        openat(dev, "console", flags, Mode::from_raw_mode(0o600)).step(|| "make /dev/console")?;
    }
    Ok(())
}

fn make(
    parent: BorrowedFd<'_>,
    name: &Path,
    kind: FileType,
    major: u32,
    minor: u32,
    mode: u32,
) -> Result<(), std::io::Error> {
    let number = rustix::fs::makedev(major, minor);
    match mknodat(parent, name, kind, Mode::from_raw_mode(mode), number) {
        Err(Errno::EXIST) => {
            // Left from an earlier start; it must be the very same device.
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let found = fstat(openat(parent, name, flags, Mode::empty())?)?;
            if FileType::from_raw_mode(found.st_mode) == kind && found.st_rdev == number {
                Ok(())
            } else {
                Err(Errno::EXIST.into())
            }
        }
        other => Ok(other?),
    }
}

/// Makes the user's devices inside the root.
pub(super) fn make_all(root: BorrowedFd<'_>, nodes: &[Node]) -> Result<(), StartError> {
    for node in nodes {
        let step = || format!("device {}", show(&node.target));
        let (Some(parent), Some(name)) = (node.target.parent(), node.target.file_name()) else {
            return Err(StartError::new(step(), "the path in the container is not that of a file"));
        };
        let parent = inroot::ensure(root, parent, Kind::Directory).step(step)?;
        let kind = if node.block { FileType::BlockDevice } else { FileType::CharacterDevice };
        make(parent.as_fd(), Path::new(name), kind, node.major, node.minor, node.mode).step(step)?;
        chownat(
            &parent,
            name,
            Some(Uid::from_raw(node.uid)),
            Some(Gid::from_raw(node.gid)),
            rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
        )
        .step(step)?;
    }
    Ok(())
}

/// One line of the device controller; everything not allowed is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub kind: RuleKind,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub read: bool,
    pub write: bool,
    pub mknod: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RuleKind {
    All,
    Block,
    Character,
}

impl Rule {
    fn new(kind: RuleKind, major: Option<u32>, minor: Option<u32>, permissions: &str) -> Self {
        let has = |letter| permissions.contains(letter);
        Self { kind, major, minor, read: has('r'), write: has('w'), mknod: has('m') }
    }

    /// `c 1:3 rwm`, `b *:* m`, `a *:* rwm`.
    pub(super) fn parse(text: &str) -> Result<Self, StartError> {
        Self::try_parse(text).ok_or_else(|| {
            StartError::new(
                format!("device_cgroup_rules `{text}`"),
                "a rule is `a`, `b` or `c`, `major:minor` with numbers or `*`, and letters of rwm: `c 1:3 rwm`",
            )
        })
    }

    fn try_parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (kind, numbers, permissions) = (words.next()?, words.next()?, words.next()?);
        let kind = match kind {
            "a" => RuleKind::All,
            "b" => RuleKind::Block,
            "c" => RuleKind::Character,
            _ => return None,
        };
        let (major, minor) = numbers.split_once(':')?;
        let number = |text: &str| match text {
            "*" => Some(None),
            _ if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok().map(Some),
            _ => None,
        };
        let valid = (1..=3).contains(&permissions.len()) && permissions.chars().all(|c| "rwm".contains(c));
        if words.next().is_some() || !valid {
            return None;
        }
        Some(Self::new(kind, number(major)?, number(minor)?, permissions))
    }

    /// As the v1 controller reads it.
    pub(super) fn text(&self) -> String {
        let kind = match self.kind {
            RuleKind::All => 'a',
            RuleKind::Block => 'b',
            RuleKind::Character => 'c',
        };
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        let mut text = format!("{kind} {}:{} ", number(self.major), number(self.minor));
        for (has, letter) in [(self.read, 'r'), (self.write, 'w'), (self.mknod, 'm')] {
            if has {
                text.push(letter);
            }
        }
        text
    }
}

/// The rules of a container; `None` when everything is allowed.
pub(super) fn rules(spec: &ContainerSpec, nodes: &[Node]) -> Result<Option<Vec<Rule>>, StartError> {
    if spec.security.privileged {
        return Ok(None);
    }
    let character = |major, minor, permissions| Rule::new(RuleKind::Character, major, minor, permissions);
    let mut rules = vec![character(None, None, "m"), Rule::new(RuleKind::Block, None, None, "m")];
    rules.extend(DEFAULT.iter().map(|(_, major, minor)| character(Some(*major), Some(*minor), "rwm")));
    // Terminals of the container's own devpts, its multiplexer and console.
    rules.push(character(Some(136), None, "rwm"));
    rules.push(character(Some(5), Some(2), "rwm"));
    rules.push(character(Some(5), Some(1), "rwm"));
    for node in nodes {
        let kind = if node.block { RuleKind::Block } else { RuleKind::Character };
        rules.push(Rule::new(kind, Some(node.major), Some(node.minor), &node.permissions));
    }
    for text in &spec.device_cgroup_rules {
        rules.push(Rule::parse(text)?);
    }
    if rules.iter().any(|rule| {
        rule.kind == RuleKind::All
            && rule.major.is_none()
            && rule.minor.is_none()
            && rule.read
            && rule.write
            && rule.mknod
    }) {
        return Ok(None);
    }
    Ok(Some(rules))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_written() {
        for text in ["c 1:3 rwm", "b *:* m", "a *:5 rw", "c 136:* r"] {
            assert_eq!(Rule::parse(text).unwrap().text(), text);
        }
        for text in ["", "c", "d 1:3 rwm", "c 1 rwm", "c 1:3", "c 1:3 x", "c 1:3 rwm m", "c +1:3 r", "c 1:3 rwmr"] {
            assert!(Rule::parse(text).is_err(), "{text}");
        }
    }
}
