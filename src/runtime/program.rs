//! Which program a container is to run, found in its image before the container is made.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags, fstat, readlinkat};
use rustix::io::Errno;

use crate::runtime::StartError;
use crate::runtime::inroot::{self, MAX_LINKS, push};
use crate::runtime::process::{candidates, environment, not_found, refused};
use crate::runtime::spec::ContainerSpec;
use crate::sys::overlay;

/// Mounted over every root.
const DEFAULT_MOUNTS: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Whether the program of a container is known not to be there, or to be none. What is mounted over the image, at
/// `covered` too, may bring anything; so does a container that has changed its root.
pub(super) fn check(spec: &ContainerSpec, covered: &[PathBuf]) -> Result<(), StartError> {
    let process = &spec.process;
    let Some(name) = process.args.first().filter(|name| !name.is_empty()) else { return Ok(()) };
    if std::fs::read_dir(&spec.rootfs.upper).is_ok_and(|mut entries| entries.next().is_some()) {
        return Ok(());
    }
    // An image that cannot be looked at is for the start to tell of.
    let Ok(Some(image)) = overlay::root(&spec.rootfs.lower) else { return Ok(()) };
    let targets = spec.mounts.iter().map(|mount| mount.target.as_path()).chain(covered.iter().map(PathBuf::as_path));
    let targets = targets.chain(DEFAULT_MOUNTS.map(Path::new));
    let covered: io::Result<Vec<PathBuf>> = targets.map(|target| Ok(walk(&image, target, &[])?.path)).collect();
    let Ok(covered) = covered else { return Ok(()) };
    let env = environment(&process.env, &spec.hostname, "/", process.tty);
    let step = || format!("exec \"{name}\"");
    if name.contains('\0') {
        return Err(StartError::new("args", format!("`{}` holds a NUL byte", name.escape_debug())));
    }
    let mut is_refused = false;
    for candidate in candidates(name, &env) {
        let path = process.cwd.join(&candidate);
        match look(&image, &path, &covered) {
            Seen::Program | Seen::Unknown => return Ok(()),
            Seen::Nothing => {}
            Seen::Folder if name.contains('/') => return Err(refused(step(), Some(&path))),
            Seen::Folder => {}
            Seen::NoProgram => is_refused = true,
        }
    }
    Err(match is_refused {
        true => refused(step(), None),
        false if name.contains('/') => not_found(step(), "no such file or directory"),
        false => not_found(step(), "executable file not found in $PATH"),
    })
}

enum Seen {
    Nothing,
    Folder,
    /// Nobody may execute it.
    NoProgram,
    Program,
    Unknown,
}

fn look(image: &OwnedFd, path: &Path, covered: &[PathBuf]) -> Seen {
    // A file in the place of a folder, or links in a circle: nothing that anybody could execute.
    let Ok(walked) = walk(image, path, covered) else { return Seen::Nothing };
    if walked.is_covered {
        return Seen::Unknown;
    }
    let Some(stat) = walked.found.and_then(|found| fstat(found).ok()) else { return Seen::Nothing };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Seen::Folder,
        FileType::RegularFile if stat.st_mode & 0o111 != 0 => Seen::Program,
        _ => Seen::NoProgram,
    }
}

/// Where a path leads in an image.
struct Walked {
    /// Without links, as far as there is something.
    path: PathBuf,
    is_covered: bool,
    found: Option<OwnedFd>,
}

/// Follows a path link by link, and stops at what is `covered` by a mount. The image's layers do not change.
fn walk(image: &OwnedFd, path: &Path, covered: &[PathBuf]) -> io::Result<Walked> {
    let mut names: VecDeque<OsString> = VecDeque::new();
    push(&mut names, path);
    let mut done = PathBuf::from("/");
    let open = |path: &Path| match inroot::open(image, path, OFlags::PATH | OFlags::NOFOLLOW) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    };
    let mut links = 0;
    while let Some(name) = names.pop_front() {
        if name == ".." {
            done.pop();
            continue;
        }
        let next = done.join(&name);
        if covered.contains(&next) {
            return Ok(Walked { path: next, is_covered: true, found: None });
        }
        let opened = open(&next)?;
        let kind = opened.as_ref().map(fstat).transpose()?.map(|stat| FileType::from_raw_mode(stat.st_mode));
        if let (Some(link), Some(FileType::Symlink)) = (&opened, kind) {
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::LOOP.into());
            }
            let text = PathBuf::from(OsString::from_vec(readlinkat(link, c"", Vec::new())?.into_bytes()));
            if text.is_absolute() {
                done = PathBuf::from("/");
            }
            let rest = std::mem::take(&mut names);
            push(&mut names, &text);
            names.extend(rest);
            continue;
        }
        done = next;
    }
    let found = open(&done)?;
    Ok(Walked { path: done, is_covered: false, found })
}
