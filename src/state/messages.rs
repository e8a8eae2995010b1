//! What the processes behind a project say when nobody asks them: lines of a file that does not grow without end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The folder of the file may be in memory: one older file is kept beside it, no larger than it.
const MOST: u64 = 512 << 10;
/// Errors tell names that others have chosen.
const LONGEST: usize = 4 << 10;

/// Opens the file that a process's own standard error goes to. A file that is full is put aside first.
///
/// # Errors
/// When it cannot be opened.
pub fn open(path: &Path) -> io::Result<File> {
    let file = append(path, true)?;
    if file.metadata()?.len() < MOST {
        return Ok(file);
    }
    fs::rename(path, older(path))?;
    append(path, true)
}

/// From now on this process's warnings, and what it tells besides, are lines at the end of the file.
pub fn collect(role: &'static str, path: &Path) {
    let file = Messages { role, path: path.to_owned() };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(file)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .log_internal_errors(false);
    let _ = tracing_subscriber::registry().with(lines).with(LevelFilter::INFO).try_init();
}

#[derive(Debug, Clone)]
struct Messages {
    role: &'static str,
    path: PathBuf,
}

impl<'a> MakeWriter<'a> for Messages {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Each call is one message. None fails: nobody could be told, and nothing may depend on it.
impl Write for Messages {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        // Both processes write to it, and either may have put it aside: it is opened each time.
        let _ = self.say(&one_line(message));
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Messages {
    fn say(&self, message: &str) -> io::Result<()> {
        // In a folder that goes no file appears.
        let mut file = append(&self.path, false)?;
        if file.metadata()?.len() >= MOST {
            file = open(&self.path)?;
        }
        let (now, role, pid) = (Timestamp::now(), self.role, std::process::id());
        // One write a line, so that those of two processes do not mix.
        file.write_all(format!("{now:.3} {role}[{pid}] {message}\n").as_bytes())
    }
}

fn append(path: &Path, create: bool) -> io::Result<File> {
    OpenOptions::new().create(create).append(true).mode(0o600).open(path)
}

fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// What stands in it must not look like another message.
fn one_line(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(&message[..message.len().min(LONGEST)]);
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &Path) -> Messages {
        Messages { role: "tester", path: path.to_owned() }
    }

    #[test]
    fn each_message_is_a_line_with_its_time_and_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("windlass.log");
        open(&path).unwrap();
        messages(&path).write_all(b" WARN one\nmore \x1b[1m\n").unwrap();
        messages(&path).write_all(b"ERROR two\n").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let [first, second] = lines[..] else { panic!("{text}") };
        let (time, rest) = first.split_once(' ').unwrap();
        time.parse::<Timestamp>().unwrap();
        assert_eq!(rest, format!("tester[{}] WARN one more  [1m", std::process::id()));
        assert!(second.ends_with("] ERROR two"), "{second}");
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("windlass.log");
        open(&path).unwrap();
        let long = [b'x'; 2 * LONGEST];
        for _ in 0..3 * MOST / LONGEST as u64 {
            messages(&path).write_all(&long).unwrap();
        }
        messages(&path).write_all(b"last").unwrap();
        let room = MOST + 2 * LONGEST as u64;
        let sizes = [&path, &older(&path)].map(|path| fs::metadata(path).unwrap().len());
        assert!(sizes.iter().all(|size| (1..=room).contains(size)), "{sizes:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert!(fs::read_to_string(&path).unwrap().ends_with("] last\n"));
        // What the process writes there itself is counted, too.
        fs::write(&path, vec![b'x'; usize::try_from(MOST).unwrap()]).unwrap();
        assert_eq!(open(&path).unwrap().metadata().unwrap().len(), 0);
    }

    #[test]
    fn a_message_that_cannot_be_written_stops_nobody() {
        messages(Path::new("/dev/full")).write_all(b"no room").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone").join("windlass.log");
        messages(&path).write_all(b"nowhere").unwrap();
        messages(&folder.path().join("windlass.log")).write_all(b"removed").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "a folder that goes is left alone");
    }
}
