//! The only way by which loading reads.

use std::io;
use std::path::Path;

/// Largest file that is read.
const SIZE_LIMIT: u64 = 16 * 1024 * 1024;

/// Reads files; never writes.
pub trait FileSource {
    /// The text of a file.
    fn read(&self, path: &Path) -> io::Result<String>;
    /// Whether there is something that can be read as a file.
    fn is_file(&self, path: &Path) -> bool;
    /// The text of `-f -`.
    fn stdin(&self) -> io::Result<String>;
}

/// The files of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct FsSource;

impl FileSource for FsSource {
    fn read(&self, path: &Path) -> io::Result<String> {
        check_kind(path)?;
        limited(std::fs::File::open(path)?)
    }

    fn is_file(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_dir())
    }

    fn stdin(&self) -> io::Result<String> {
        limited(io::stdin().lock())
    }
}

/// Refuses what may never end or never begin: nobody may write to a named pipe. The pipes of `<(command)` are fine.
fn check_kind(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let kind = std::fs::metadata(path)?.file_type();
    let of_a_shell = || ["/dev/fd/", "/proc/self/fd/", "/dev/stdin"].iter().any(|own| path.starts_with(own));
    let what = match kind {
        kind if kind.is_dir() => return Err(io::Error::from(io::ErrorKind::IsADirectory)),
        kind if kind.is_file() || path == Path::new("/dev/null") || of_a_shell() => return Ok(()),
        kind if kind.is_fifo() => "a named pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what} and not a file")))
}

fn limited(reader: impl io::Read) -> io::Result<String> {
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(reader, SIZE_LIMIT + 1), &mut text)?;
    if text.len() as u64 > SIZE_LIMIT {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(text)
}
