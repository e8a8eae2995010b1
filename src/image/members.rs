//! Files of an image archive or layout by name: from a folder, a tar file, or a stream that is put on disk first.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{OFlags, ResolveFlags};

use super::error::ImageError;
use super::store::Session;
use super::unpack::Limits;
use super::unpack::archive::{Archive, Kind};
use super::unpack::compression::{Compression, decompress};
use super::unpack::tree::LONGEST_PATH;
use crate::sys::resolve;

/// More entries than any image archive has.
const MOST_MEMBERS: usize = 1 << 20;

/// The files of one archive or layout.
#[derive(Debug)]
pub(super) enum Members {
    Folder(OwnedFd),
    Archive { file: File, index: HashMap<String, Member> },
}

/// A file to be read, and its size.
type Opened<'a> = (Box<dyn Read + Send + 'a>, u64);

#[derive(Debug, Clone)]
pub(super) enum Member {
    At {
        start: u64,
        size: u64,
    },
    /// Archives of old Dockers link to a layer that two images share.
    Link(String),
}

impl Members {
    /// A folder with an OCI layout, or a file (which may be compressed).
    pub fn open(path: &Path, session: &Session, limits: &Limits) -> Result<Self, ImageError> {
        let failed = |error| ImageError::io("open", path)(error);
        let mut file = File::open(path).map_err(failed)?;
        let meta = file.metadata().map_err(ImageError::io("open", path))?;
        if meta.is_dir() {
            return Ok(Self::Folder(file.into()));
        }
        if !meta.is_file() {
            return Self::from_stream(Box::new(file), session, limits);
        }
        let mut start = [0; 6];
        let length = file.read(&mut start).map_err(ImageError::io("read", path))?;
        let compression = Compression::sniff(&start[..length]).map_err(ImageError::io("read", path))?;
        if compression != Compression::None {
            let file = File::open(path).map_err(ImageError::io("open", path))?;
            return Self::from_stream(Box::new(file), session, limits);
        }
        Self::indexed(file)
    }

    /// A stream, which may be compressed. What must be read first often comes last, so all of it is stored.
    pub fn from_stream(
        stream: Box<dyn Read + Send + '_>,
        session: &Session,
        limits: &Limits,
    ) -> Result<Self, ImageError> {
        let path = session.path("archive");
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(ImageError::io("create", &path))?;
        let came = AtomicU64::new(0);
        let (_, mut plain) = decompress(Counted { input: stream, came: &came })
            .map_err(ImageError::io("read", Path::new("the archive")))?;
        let stored = (|| -> io::Result<Result<(), String>> {
            let mut buffer = vec![0; 256 << 10];
            let mut total = 0;
            loop {
                let read = plain.read(&mut buffer)?;
                if read == 0 {
                    return Ok(Ok(()));
                }
                total += read as u64;
                if total > limits.bytes {
                    return Ok(Err(format!("it unpacks to more than {} bytes", limits.bytes)));
                }
                if total > limits.ratio_from && total / came.load(Ordering::Relaxed).max(1) > limits.ratio {
                    return Ok(Err(format!(
                        "it unpacks to more than {} times its size, as only an attack would",
                        limits.ratio
                    )));
                }
                file.write_all(&buffer[..read])?;
            }
        })();
        stored.map_err(ImageError::io("store", Path::new("the archive")))?.map_err(ImageError::NotAnImage)?;
        Self::indexed(file)
    }

    fn indexed(file: File) -> Result<Self, ImageError> {
        let mut index = HashMap::new();
        let mut at = 0;
        let damaged = |error| ImageError::NotAnImage(format!("{error}"));
        loop {
            let mut archive = Archive::new(Section { file: &file, at, end: u64::MAX });
            let Some(entry) = archive.next_entry().map_err(damaged)? else { break };
            let start = at + archive.position();
            at = start.saturating_add(entry.size).saturating_add(entry.size.wrapping_neg() % 512);
            // Nobody asks for a longer one, and each of them is kept.
            if entry.path.len().max(entry.link.len()) > LONGEST_PATH {
                continue;
            }
            let name = clean(&String::from_utf8_lossy(&entry.path));
            match entry.kind {
                Kind::File => index.insert(name, Member::At { start, size: entry.size }),
                Kind::Symlink => {
                    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
                    index.insert(
                        name,
                        Member::Link(clean(&format!("{folder}/{}", String::from_utf8_lossy(&entry.link)))),
                    )
                }
                Kind::HardLink => index.insert(name, Member::Link(clean(&String::from_utf8_lossy(&entry.link)))),
                _ => None,
            };
            if index.len() > MOST_MEMBERS {
                return Err(ImageError::NotAnImage(format!("it has more than {MOST_MEMBERS} entries")));
            }
        }
        Ok(Self::Archive { file, index })
    }

    /// Opens a file; `None` when there is none of this name.
    pub fn get(&self, name: &str) -> Result<Option<Opened<'_>>, ImageError> {
        match self {
            Self::Folder(root) => {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
                let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
                let path = Path::new(name);
                let file = match resolve::open(root, path, flags, how) {
                    Ok(fd) => File::from(fd),
                    Err(rustix::io::Errno::NOENT) => return Ok(None),
                    Err(errno) => return Err(ImageError::io("open", path)(errno.into())),
                };
                let meta = file.metadata().map_err(ImageError::io("open", path))?;
                Ok(meta.is_file().then(|| (Box::new(file) as _, meta.len())))
            }
            Self::Archive { file, index } => {
                let mut name = clean(name);
                for _ in 0..10 {
                    match index.get(&name) {
                        None => return Ok(None),
                        Some(Member::Link(target)) => name.clone_from(target),
                        Some(Member::At { start, size }) => {
                            let section = Section { file, at: *start, end: start.saturating_add(*size) };
                            return Ok(Some((Box::new(section), *size)));
                        }
                    }
                }
                Err(ImageError::NotAnImage(format!("`{name}` is a link that leads nowhere")))
            }
        }
    }

    /// Reads a small file whole.
    pub fn read(&self, name: &str, largest: u64) -> Result<Option<Vec<u8>>, ImageError> {
        let Some((reader, size)) = self.get(name)? else { return Ok(None) };
        if size > largest {
            return Err(ImageError::NotAnImage(format!("`{name}` has {size} bytes, more than it could need")));
        }
        let mut content = Vec::new();
        reader.take(largest).read_to_end(&mut content).map_err(ImageError::io("read", Path::new(name)))?;
        Ok(Some(content))
    }

    /// # Errors
    /// When there is no such file, too.
    pub fn need(&self, name: &str, largest: u64) -> Result<Vec<u8>, ImageError> {
        self.read(name, largest)?.ok_or_else(|| missing(name))
    }
}

pub(super) fn missing(name: &str) -> ImageError {
    ImageError::NotAnImage(format!("`{name}` is missing in it"))
}

/// `./a//b/../c` is `a/c`: names are only looked up in an index, never on disk.
fn clean(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Counts what comes before it is uncompressed.
struct Counted<'a, R> {
    input: R,
    came: &'a AtomicU64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.came.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// A part of a file, with a position of its own.
#[derive(Debug)]
struct Section<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let want = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..want], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
