//! Reads logs: the last lines, a span of time, and what comes, across rotation. Needs no supervisor.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use serde::Deserialize;

use super::encode::Stream;
use super::file::rotated;

const BLOCK: usize = 64 * 1024;
/// A record is at most 16 KiB of text, each byte of which may be escaped.
const LONGEST_RECORD: usize = 1024 * 1024;

/// A record of a log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// Ends with a line feed, unless the line goes on in the next entry of the same stream.
    pub log: String,
    pub stream: Stream,
    pub time: Timestamp,
}

/// What is to be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// Only so many of the last lines.
    pub tail: Option<usize>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// Reads one container's log from its oldest record on.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    span: Span,
    /// Files still to be read, the oldest first; the last one may grow.
    files: VecDeque<File>,
    buffer: Vec<u8>,
    start: usize,
    ended: bool,
}

impl Reader {
    /// A log that does not exist yet is empty.
    ///
    /// # Errors
    /// When a file is there and cannot be read.
    pub fn open(path: &Path, span: Span) -> io::Result<Self> {
        let files = files(path)?.into_iter().rev().map(|(_, file)| file).collect();
        let mut reader = Self { path: path.to_owned(), span, files, buffer: Vec::new(), start: 0, ended: false };
        if let Some(count) = span.tail {
            reader.skip_to_tail(count)?;
        }
        Ok(reader)
    }

    /// The next entry; `None` at the end of what is there now. Ask again after more was written.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        while !self.ended {
            let Some(line) = self.next_line()? else { return Ok(None) };
            // What is no record was torn by a crash.
            let Ok(entry) = serde_json::from_slice::<Entry>(&line) else { continue };
            if self.span.since.is_some_and(|since| entry.time < since) {
                continue;
            }
            if self.span.until.is_some_and(|until| entry.time > until) {
                self.ended = true;
                break;
            }
            return Ok(Some(entry));
        }
        Ok(None)
    }

    /// Nothing can come any more: the span has an end, and it is reached.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let rest = &self.buffer[self.start..];
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line = rest[..end].to_vec();
                self.start += end + 1;
                return Ok(Some(line));
            }
            if rest.len() > LONGEST_RECORD {
                self.start = self.buffer.len();
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Reads on; `false` when there is no more for now.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.start);
        self.start = 0;
        loop {
            if self.files.is_empty() {
                match open(&self.path)? {
                    Some(file) => self.files.push_back(file),
                    None => return Ok(false),
                }
            }
            let Some(file) = self.files.front_mut() else { return Ok(false) };
            let old = self.buffer.len();
            self.buffer.resize(old + BLOCK, 0);
            let count = file.read(&mut self.buffer[old..])?;
            self.buffer.truncate(old + count);
            if count > 0 {
                return Ok(true);
            }
            let own = file.metadata()?.ino();
            if self.files.len() > 1 {
                self.leave_file();
                continue;
            }
            // The name leads to another file now: this one was rotated away and is complete, unless something was
            // written to it between the read and the rename.
            let Some(newer) = open(&self.path)? else { return Ok(false) };
            if newer.metadata()?.ino() == own {
                return Ok(false);
            }
            let old = self.buffer.len();
            self.buffer.resize(old + BLOCK, 0);
            let count = self.files[0].read(&mut self.buffer[old..])?;
            self.buffer.truncate(old + count);
            if count > 0 {
                return Ok(true);
            }
            self.files.extend(self.missed(own)?);
            self.leave_file();
        }
    }

    /// The files that came after the one that was just read, when it was rotated more than once since.
    fn missed(&self, own: u64) -> io::Result<Vec<File>> {
        let newer = files(&self.path)?.into_iter().take_while(|(inode, _)| *inode != own);
        let mut newer: Vec<File> = newer.map(|(_, file)| file).collect();
        newer.reverse();
        Ok(newer)
    }

    /// A line that the old file does not end was torn.
    fn leave_file(&mut self) {
        self.files.pop_front();
        self.buffer.clear();
        self.start = 0;
    }

    /// Moves to the last `count` records.
    fn skip_to_tail(&mut self, count: usize) -> io::Result<()> {
        let mut missing = count;
        for index in (0..self.files.len()).rev() {
            let (found, offset) = tail(&mut self.files[index], missing)?;
            if found >= missing {
                self.files[index].seek(SeekFrom::Start(offset))?;
                self.files.drain(..index);
                return Ok(());
            }
            missing -= found;
            self.files[index].seek(SeekFrom::Start(0))?;
        }
        Ok(())
    }
}

/// A log and the older files it was rotated to, with their inodes, the youngest first. Rotation may go on meanwhile: then
/// one turns up twice, or one name is free for a moment.
fn files(path: &Path) -> io::Result<Vec<(u64, File)>> {
    let mut files: Vec<(u64, File)> = Vec::new();
    let mut missing = 0;
    for number in 0.. {
        let name = if number == 0 { path.to_owned() } else { rotated(path, number) };
        match open(&name)? {
            Some(file) => {
                missing = 0;
                let inode = file.metadata()?.ino();
                if !files.iter().any(|(seen, _)| *seen == inode) {
                    files.push((inode, file));
                }
            }
            None if missing == 1 => break,
            None => missing += 1,
        }
    }
    Ok(files)
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// How many of the last `count` lines the file has, and where they begin. Lines that go on in the next record count
/// once.
fn tail(file: &mut File, count: usize) -> io::Result<(usize, u64)> {
    let end = file.seek(SeekFrom::End(0))?;
    if count == 0 {
        return Ok((0, end));
    }
    let mut position = end;
    let mut found = 0;
    let mut block = vec![0; BLOCK];
    // The last bytes before a record's line end say whether the line is complete: `\n","stream"...`.
    let mut text: Vec<u8> = Vec::new();
    while position > 0 {
        let size = BLOCK.min(usize::try_from(position).unwrap_or(BLOCK));
        position -= size as u64;
        file.seek(SeekFrom::Start(position))?;
        file.read_exact(&mut block[..size])?;
        let mut joined = block[..size].to_vec();
        joined.extend_from_slice(&text);
        text = joined;
        // All complete records of `text` but the first, which may begin further ahead.
        let mut upper = text.len();
        while let Some(end) = text[..upper].iter().rposition(|byte| *byte == b'\n') {
            let Some(before) = text[..end].iter().rposition(|byte| *byte == b'\n') else {
                if position > 0 {
                    break;
                }
                found += usize::from(ends_line(&text[..end]) || found == 0);
                return Ok(if found > count { (count, (end + 1) as u64) } else { (found, 0) });
            };
            if ends_line(&text[before + 1..end]) || found == 0 {
                found += 1;
                if found > count {
                    return Ok((count, position + end as u64 + 1));
                }
            }
            upper = before + 1;
        }
        text.truncate(upper);
        if text.len() > LONGEST_RECORD {
            return Ok((count, position + upper as u64));
        }
    }
    Ok((found, 0))
}

/// Whether a record holds the end of a line.
fn ends_line(record: &[u8]) -> bool {
    let mark: &[u8] = br#"\n","stream":"#;
    record.windows(mark.len()).rposition(|window| window == mark).is_some()
}

/// Tells when something changes in the folders of containers: their logs, their states.
#[derive(Debug)]
pub struct Watch {
    inotify: OwnedFd,
    folders: Vec<i32>,
}

impl Watch {
    /// # Errors
    /// When the user has too many of them.
    pub fn new() -> io::Result<Self> {
        Ok(Self { inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?, folders: Vec::new() })
    }

    /// Watches one more folder; answers with its number for [`Watch::changed`].
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn add(&mut self, folder: &Path) -> io::Result<usize> {
        let flags = WatchFlags::MODIFY
            | WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        self.folders.push(inotify::add_watch(&self.inotify, folder, flags)?);
        Ok(self.folders.len() - 1)
    }

    /// Readable when [`Watch::changed`] has something to say.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// The folders in which something has changed since the last time; all of them when some was missed.
    ///
    /// # Errors
    /// When the kernel's answer cannot be read.
    pub fn changed(&mut self) -> io::Result<Vec<usize>> {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut changed = Vec::new();
        loop {
            match events.next() {
                Ok(event) => {
                    if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) {
                        changed = (0..self.folders.len()).collect();
                    } else if let Some(index) = self.folders.iter().position(|wd| *wd == event.wd())
                        && !changed.contains(&index)
                    {
                        changed.push(index);
                    }
                }
                Err(rustix::io::Errno::AGAIN) => return Ok(changed),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LogFile, Rotation, Splitter};
    use super::*;

    const KEEP_ALL: Rotation = Rotation { max_size: None, max_files: 1 };

    fn write(log: &mut LogFile, text: &str, second: i64) {
        let mut splitter = Splitter::new(Stream::Stdout);
        let mut out = Vec::new();
        let time = Timestamp::from_second(second).unwrap();
        splitter.push(text.as_bytes(), time, &mut out);
        splitter.flush(time, &mut out);
        log.append(&out);
    }

    fn all(reader: &mut Reader) -> Vec<String> {
        std::iter::from_fn(|| reader.next_entry().unwrap()).map(|entry| entry.log).collect()
    }

    fn tail_of(path: &Path, count: usize) -> Vec<String> {
        all(&mut Reader::open(path, Span { tail: Some(count), ..Span::default() }).unwrap())
    }

    #[test]
    fn reading_goes_on_over_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.json");
        let mut reader = Reader::open(&path, Span::default()).unwrap();
        assert!(all(&mut reader).is_empty());
        let mut log = LogFile::open(&path, Rotation { max_size: Some(1), max_files: 4 }).unwrap();
        write(&mut log, "one\n", 1);
        assert_eq!(all(&mut reader), ["one\n"]);
        for text in ["two\n", "three\n", "four\n"] {
            write(&mut log, text, 2);
        }
        assert_eq!(all(&mut reader), ["two\n", "three\n", "four\n"]);
        assert_eq!(all(&mut Reader::open(&path, Span::default()).unwrap()), ["one\n", "two\n", "three\n", "four\n"]);
        assert_eq!(tail_of(&path, 2), ["three\n", "four\n"]);
        assert_eq!(tail_of(&path, 9).len(), 4);
    }

    #[test]
    fn the_tail_counts_lines_not_records() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.json");
        let mut log = LogFile::open(&path, KEEP_ALL).unwrap();
        for number in 0..5000 {
            write(&mut log, &format!("line {number}\n"), number);
        }
        let long = "y".repeat(40_000) + "\n";
        write(&mut log, &long, 5000);
        write(&mut log, "last\n", 5001);
        assert_eq!(tail_of(&path, 0), Vec::<String>::new());
        assert_eq!(tail_of(&path, 1), ["last\n"]);
        assert_eq!(tail_of(&path, 2).concat(), long.clone() + "last\n");
        assert_eq!(tail_of(&path, 3).concat(), format!("line 4999\n{long}last\n"));
        assert_eq!(tail_of(&path, 4000).concat().lines().count(), 4000);
        assert_eq!(tail_of(&path, 6000).concat().lines().count(), 5002);
    }

    #[test]
    fn a_span_of_time_and_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.json");
        let mut log = LogFile::open(&path, KEEP_ALL).unwrap();
        for second in 1..=5 {
            write(&mut log, &format!("{second}\n"), second);
            log.append(b"{\"log\":\"torn\n");
        }
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let mut reader = Reader::open(&path, Span { tail: None, since: at(2), until: at(4) }).unwrap();
        assert_eq!(all(&mut reader), ["2\n", "3\n", "4\n"]);
        assert!(reader.has_ended());
    }

    #[test]
    fn a_watch_tells_which_folder_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = Watch::new().unwrap();
        let mut logs = Vec::new();
        for name in ["a", "b"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            watch.add(&folder.path().join(name)).unwrap();
            logs.push(LogFile::open(&folder.path().join(name).join("log.json"), KEEP_ALL).unwrap());
        }
        watch.changed().unwrap();
        assert!(watch.changed().unwrap().is_empty());
        logs[1].append(b"{}\n");
        assert_eq!(watch.changed().unwrap(), [1]);
    }
}
