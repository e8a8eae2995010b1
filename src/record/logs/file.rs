//! The file that holds a container's log, and the older ones it was rotated to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::record::Logging;
use crate::sys::fault;

/// When a new file is begun, and how many are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes; `None` is without a limit, Docker's default.
    pub max_size: Option<u64>,
    /// All files, the one in use included.
    pub max_files: u32,
}

impl Rotation {
    /// `max-size` and `max-file` of the driver's options, or what is wrong with them.
    ///
    /// # Errors
    /// When one of the two is not a number of the kind it should be.
    pub fn parse(logging: &Logging) -> Result<Self, String> {
        let options = &logging.options;
        // Docker's defaults: `local` is bounded, `json-file` is not.
        let (size, files) = if logging.driver == "local" { (Some(20 << 20), 5) } else { (None, 1) };
        let max_size = match options.get("max-size").map(|text| text.trim()) {
            None => size,
            Some("-1") => None,
            Some(text) => Some(
                parse_size(text)
                    .filter(|size| *size > 0)
                    .ok_or_else(|| format!("logging option `max-size` must be a size such as `10m`, not `{text}`"))?,
            ),
        };
        let max_files = match options.get("max-file") {
            None => files,
            Some(text) => text
                .trim()
                .parse()
                .ok()
                .filter(|count| *count > 0)
                .ok_or_else(|| format!("logging option `max-file` must be a number from 1, not `{text}`"))?,
        };
        Ok(Self { max_size, max_files })
    }
}

/// `10m`, `1g`, `512k`, `1000`, `10MB`: in units of 1024, as Docker reads them.
fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim().to_ascii_lowercase();
    let factor: u32 = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit) {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    let bytes = number * 1024f64.powi(i32::try_from(factor).ok()?);
    // In range, or it is no size at all.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (0.0..9e18).contains(&bytes).then_some(bytes as u64)
}

/// Appends records; every `write(2)` ends with a whole one.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    size: u64,
    /// The last write failed half way: what follows begins on a line of its own.
    torn: bool,
    failing: bool,
}

impl LogFile {
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let mut file = open(path)?;
        let size = file.seek(SeekFrom::End(0))?;
        let mut torn = false;
        if size > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            torn = last != *b"\n";
        }
        Ok(Self { path: path.to_owned(), rotation, file, size, torn, failing: false })
    }

    /// Writes whole records. Never fails: what a full disk refuses is lost, said once, and the container goes on.
    pub fn append(&mut self, records: &[u8]) {
        if records.is_empty() {
            return;
        }
        match self.try_append(records) {
            Ok(()) => self.failing = false,
            Err(error) => {
                self.torn = true;
                if !self.failing {
                    tracing::error!("output is lost, because {} cannot be written: {error}", self.path.display());
                }
                self.failing = true;
            }
        }
    }

    fn try_append(&mut self, mut records: &[u8]) -> io::Result<()> {
        while !records.is_empty() {
            if self.rotation.max_size.is_some_and(|most| self.size >= most) {
                self.rotate()?;
            }
            if self.torn {
                self.file.write_all(b"\n")?;
                self.size += 1;
                self.torn = false;
            }
            // As many records as the file has room for, and one at least.
            let room = self.rotation.max_size.map_or(u64::MAX, |most| most.saturating_sub(self.size));
            let room = usize::try_from(room).unwrap_or(usize::MAX).min(records.len());
            let end = match records[..room].iter().rposition(|byte| *byte == b'\n') {
                Some(last) => last + 1,
                None => records.iter().position(|byte| *byte == b'\n').map_or(records.len(), |first| first + 1),
            };
            let (now, later) = records.split_at(end);
            fault::around_file("append", &self.path, || self.file.write_all(now))?;
            self.size += now.len() as u64;
            records = later;
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.rotation.max_files).rev() {
            let older = rotated(&self.path, number);
            let newer = if number == 1 { self.path.clone() } else { rotated(&self.path, number - 1) };
            match fs::rename(newer, older) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.rotation.max_files == 1 {
            fs::remove_file(&self.path)?;
        }
        self.file = open(&self.path)?;
        self.size = 0;
        self.torn = false;
        Ok(())
    }
}

/// `log.json.1` is the youngest of the older files.
pub(super) fn rotated(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn open(path: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().create(true).append(true).read(true).mode(0o640).open(path);
    fault::around_file("open", path, open)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Logging {
        let options = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Logging { driver: "json-file".into(), options }
    }

    #[test]
    fn options_are_read_as_docker_does() {
        assert_eq!(Rotation::parse(&options(&[])), Ok(Rotation { max_size: None, max_files: 1 }));
        let parsed = Rotation::parse(&options(&[("max-size", "10m"), ("max-file", "3")])).unwrap();
        assert_eq!(parsed, Rotation { max_size: Some(10 << 20), max_files: 3 });
        for size in ["1.5k", "1536", "1536b"] {
            assert_eq!(Rotation::parse(&options(&[("max-size", size)])).unwrap().max_size, Some(1536));
        }
        let local = Logging { driver: "local".into(), ..options(&[]) };
        assert_eq!(Rotation::parse(&local), Ok(Rotation { max_size: Some(20 << 20), max_files: 5 }));
        for wrong in ["", "m", "10x", "1e9k", "0", "999999999999t"] {
            assert!(Rotation::parse(&options(&[("max-size", wrong)])).is_err(), "{wrong}");
        }
        assert!(Rotation::parse(&options(&[("max-file", "0")])).is_err());
    }

    #[test]
    fn old_files_move_up_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.json");
        let mut log = LogFile::open(&path, Rotation { max_size: Some(4), max_files: 3 }).unwrap();
        for text in ["one\n", "two\n", "three\n", "four\n"] {
            log.append(text.as_bytes());
        }
        let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
        assert_eq!(read(path.clone()), "four\n");
        assert_eq!(read(rotated(&path, 1)), "three\n");
        assert_eq!(read(rotated(&path, 2)), "two\n");
        assert!(!rotated(&path, 3).exists());
    }

    #[test]
    fn a_torn_line_is_ended_before_the_next_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.json");
        fs::write(&path, "{\"log\":\"to").unwrap();
        LogFile::open(&path, Rotation { max_size: None, max_files: 1 }).unwrap().append(b"{}\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"log\":\"to\n{}\n");
    }
}
