//! Regular files of a person's, whatever is at their path by now: a pipe would be waited for without end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Opens a file that must be a regular one.
///
/// # Errors
/// When it cannot be opened, or is something else.
pub fn open(path: &Path) -> io::Result<File> {
    // Opening a pipe waits for its other end, unless this is said.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path);
    let (file, kind) = match opened {
        Ok(file) => {
            let kind = file.metadata()?.file_type();
            (Some(file), kind)
        }
        // A socket.
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => (None, std::fs::metadata(path)?.file_type()),
        Err(error) => return Err(error),
    };
    match file.filter(|_| kind.is_file()) {
        Some(file) => Ok(file),
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {}, not a regular file", word(kind)))),
    }
}

/// The content of a regular file.
///
/// # Errors
/// As [`open`], and for one that is longer than `limit`.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path)?.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {} MiB", limit >> 20)));
    }
    Ok(content)
}

/// What is at a path that is not what a person thinks.
#[must_use]
pub fn word(kind: std::fs::FileType) -> &'static str {
    match kind {
        kind if kind.is_fifo() => "a named pipe",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_char_device() || kind.is_block_device() => "a device",
        kind if kind.is_dir() => "a folder",
        _ => "a file",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_read_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "text").unwrap();
        assert_eq!(read(&at("file"), 4).unwrap(), b"text");
        assert_eq!(read(&at("file"), 3).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for (path, word) in [
            (at("pipe"), "it is a named pipe"),
            (at("socket"), "it is a socket"),
            (folder.path().to_owned(), "it is a folder"),
            ("/dev/zero".into(), "it is a device"),
        ] {
            let error = read(&path, 10).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert_eq!(read(&at("absent"), 10).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
