//! A strict, streaming reader of tar archives: ustar, PAX and GNU long names.
//!
//! Two readers that disagree about where an entry starts see two different archives (size overrides, long names, nested
//! extension headers), so the framing is decided here, in one loop, and as Go's `archive/tar` decides it, because that is
//! what wrote nearly every image.

use std::collections::BTreeMap;
use std::io::{self, Read};

/// A block of an archive.
const BLOCK: usize = 512;
/// Extended headers and long names are held in memory.
const LARGEST_EXTENSION: u64 = 1 << 20;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("the archive cannot be read")]
    Io(#[from] io::Error),
    #[error("the archive is damaged at byte {at}: {why}")]
    Damaged { at: u64, why: &'static str },
    #[error("`{path}` is a {kind}, which is not supported in images")]
    Unsupported { path: String, kind: &'static str },
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    Character,
    Block,
    Fifo,
}

/// The header of one entry, with every extension applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub path: Vec<u8>,
    pub link: Vec<u8>,
    pub kind: Kind,
    /// Bytes of content that follow; zero for everything but files.
    pub size: u64,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    /// Seconds and nanoseconds since 1970.
    pub mtime: (i64, u32),
    pub major: u32,
    pub minor: u32,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// An archive that is read from front to back.
#[derive(Debug)]
pub struct Archive<R> {
    input: R,
    /// Bytes read so far.
    at: u64,
    /// Content of the current entry that nobody has read yet.
    left: u64,
    padding: u64,
}

#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, u32)>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    gnu_path: Option<Vec<u8>>,
    gnu_link: Option<Vec<u8>>,
}

impl<R: Read> Archive<R> {
    pub fn new(input: R) -> Self {
        Self { input, at: 0, left: 0, padding: 0 }
    }

    /// The next entry, after skipping what is left of the current one. `None` at the end of the archive.
    ///
    /// # Errors
    /// When the archive is cut off, damaged or of a kind that is not supported.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ArchiveError> {
        self.skip(self.left + self.padding)?;
        (self.left, self.padding) = (0, 0);
        let mut extensions = Extensions::default();
        // Bytes of extensions; several of them add up.
        let mut extended: u64 = 0;
        loop {
            let at = self.at;
            let Some(block) = self.block()? else {
                if extended > 0 {
                    return Err(damaged(at, "it ends after an extended header"));
                }
                return Ok(None);
            };
            check_sum(&block, at)?;
            let header = Header(&block);
            let size = header.unsigned(124..136).ok_or_else(|| damaged(at, "the size of an entry is not a number"))?;
            if matches!(block[156], b'x' | b'L' | b'K') {
                extended = extended.saturating_add(size.max(1));
                if extended > LARGEST_EXTENSION {
                    return Err(damaged(at, "the extended headers of an entry are larger than 1 MiB"));
                }
            }
            match block[156] {
                b'x' => extensions.read_pax(&self.extension(size, at)?, at)?,
                b'L' => extensions.gnu_path = Some(until_nul(self.extension(size, at)?)),
                b'K' => extensions.gnu_link = Some(until_nul(self.extension(size, at)?)),
                b'g' => {
                    self.extension(size, at)?;
                    continue;
                }
                kind => return self.entry(header, kind, size, extensions, at).map(Some),
            }
        }
    }

    fn entry(
        &mut self,
        header: Header<'_>,
        flag: u8,
        size: u64,
        extensions: Extensions,
        at: u64,
    ) -> Result<Entry, ArchiveError> {
        let wrong = || damaged(at, "a field of an entry is not a number");
        let path = extensions.path.or(extensions.gnu_path).unwrap_or_else(|| header.path());
        let link = extensions.link.or(extensions.gnu_link).unwrap_or_else(|| header.text(157..257).to_vec());
        let unsupported =
            |kind| Err(ArchiveError::Unsupported { path: String::from_utf8_lossy(&path).into_owned(), kind });
        let kind = match flag {
            // Before 1988 a directory was a file whose name ends with a slash.
            b'0' | 0 if path.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Character,
            b'4' => Kind::Block,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            b'S' => return unsupported("sparse file in GNU's old format"),
            b'M' => return unsupported("part of a multi-volume archive"),
            b'V' => return unsupported("volume label"),
            _ => return unsupported("kind of entry that tar does not define"),
        };
        if path.contains(&0) || link.contains(&0) {
            return Err(damaged(at, "a name holds a zero byte"));
        }
        // Only files have content. Old writers put a size into the headers of hard links without content behind it,
        // and Go skips none: reading it otherwise would let the two disagree about the rest of the archive.
        self.left = if kind == Kind::File { extensions.size.unwrap_or(size) } else { 0 };
        self.padding = padding(self.left);
        if self.left > i64::MAX as u64 - BLOCK as u64 {
            return Err(damaged(at, "an entry is larger than any file can be"));
        }
        let device = |field| {
            if !matches!(kind, Kind::Character | Kind::Block) {
                return Ok(0);
            }
            header.unsigned(field).and_then(|number| number.try_into().ok()).ok_or_else(wrong)
        };
        Ok(Entry {
            size: self.left,
            // Old writers put the type of the file into the mode too.
            mode: (header.unsigned(100..108).ok_or_else(wrong)? & 0o7777) as u32,
            uid: extensions.uid.or_else(|| header.unsigned(108..116)).ok_or_else(wrong)?,
            gid: extensions.gid.or_else(|| header.unsigned(116..124)).ok_or_else(wrong)?,
            mtime: extensions.mtime.or_else(|| Some((header.signed(136..148)?, 0))).ok_or_else(wrong)?,
            major: device(329..337)?,
            minor: device(337..345)?,
            xattrs: extensions.xattrs.into_iter().collect(),
            path,
            link,
            kind,
        })
    }

    /// Reads content of the current entry; 0 at its end.
    ///
    /// # Errors
    /// When the archive is cut off or cannot be read.
    pub fn read_content(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        let want = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let read = self.input.read(&mut buffer[..want])?;
        if read == 0 {
            return Err(damaged(self.at, "it ends within a file"));
        }
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }

    /// Position in the archive: after the header, where the content of the current entry starts.
    pub fn position(&self) -> u64 {
        self.at
    }

    pub fn into_inner(self) -> R {
        self.input
    }

    /// A block; `None` at the end mark or at the end of input.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, ArchiveError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(damaged(self.at, "it ends within a header")),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.at += BLOCK as u64;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        Ok(Some(block))
    }

    fn extension(&mut self, size: u64, at: u64) -> Result<Vec<u8>, ArchiveError> {
        if size > LARGEST_EXTENSION {
            return Err(damaged(at, "an extended header is larger than 1 MiB"));
        }
        let mut content = Vec::new();
        (&mut self.input).take(size).read_to_end(&mut content)?;
        self.at += content.len() as u64;
        if content.len() as u64 != size {
            return Err(damaged(at, "it ends within an extended header"));
        }
        self.skip(padding(size))?;
        Ok(content)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), ArchiveError> {
        let skipped = io::copy(&mut (&mut self.input).take(bytes), &mut io::sink())?;
        self.at += skipped;
        if skipped != bytes {
            return Err(damaged(self.at, "it ends within a file"));
        }
        Ok(())
    }
}

/// The fixed fields of a header block.
#[derive(Clone, Copy)]
struct Header<'a>(&'a [u8; BLOCK]);

impl Header<'_> {
    fn text(&self, field: std::ops::Range<usize>) -> &[u8] {
        let field = &self.0[field];
        &field[..field.iter().position(|byte| *byte == 0).unwrap_or(field.len())]
    }

    fn path(&self) -> Vec<u8> {
        let (name, prefix) = (self.text(0..100), self.text(345..500));
        // GNU's own format (`ustar  `) keeps other things where POSIX keeps the front part of a long name.
        if &self.0[257..263] != b"ustar\0" || prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    fn unsigned(&self, field: std::ops::Range<usize>) -> Option<u64> {
        self.signed(field)?.try_into().ok()
    }

    /// Octal digits between blanks and zero bytes, or, with the highest bit set, a binary number.
    fn signed(&self, field: std::ops::Range<usize>) -> Option<i64> {
        let field = &self.0[field];
        if field[0] & 0x80 != 0 {
            let negative = field[0] & 0x40 != 0;
            let mut number: i128 = if negative { -1 } else { 0 };
            for (at, byte) in field.iter().enumerate() {
                let byte = if at == 0 && !negative { byte & 0x7f } else { *byte };
                number = number.checked_mul(256)? | i128::from(byte);
            }
            return number.try_into().ok();
        }
        let blank = |byte: &u8| matches!(*byte, b' ' | 0);
        let start = field.iter().position(|byte| !blank(byte)).unwrap_or(field.len());
        let digits = &field[start..];
        let digits = &digits[..digits.iter().position(blank).unwrap_or(digits.len())];
        digits.iter().try_fold(0_i64, |number, digit| match digit {
            b'0'..=b'7' => number.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
            _ => None,
        })
    }
}

impl Extensions {
    /// `LENGTH KEY=VALUE\n`, repeated. An empty value takes back what an earlier record said.
    fn read_pax(&mut self, mut records: &[u8], at: u64) -> Result<(), ArchiveError> {
        let wrong = || damaged(at, "an extended header is malformed");
        while !records.is_empty() {
            let space = records.iter().position(|byte| *byte == b' ').ok_or_else(wrong)?;
            let length: usize =
                decimal(&records[..space]).and_then(|length| length.try_into().ok()).ok_or_else(wrong)?;
            if length <= space + 1 || length > records.len() || records[length - 1] != b'\n' {
                return Err(wrong());
            }
            let record = &records[space + 1..length - 1];
            records = &records[length..];
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            self.pax_record(key, value).ok_or_else(wrong)?;
        }
        Ok(())
    }

    fn pax_record(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let text = || (!value.is_empty()).then(|| value.to_vec());
        let number = || if value.is_empty() { Some(None) } else { decimal(value).map(Some) };
        match key {
            b"path" | b"linkpath" if value.contains(&0) => return None,
            b"path" => self.path = text(),
            b"linkpath" => self.link = text(),
            b"size" => self.size = number()?,
            b"uid" => self.uid = number()?,
            b"gid" => self.gid = number()?,
            b"mtime" if value.is_empty() => self.mtime = None,
            b"mtime" => self.mtime = Some(time(value)?),
            // Sparse files in PAX format hold a map in front of their data: unpacking them as plain files would be wrong.
            b"GNU.sparse.major" | b"GNU.sparse.map" | b"GNU.sparse.numblocks" => return None,
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    if name.is_empty() || name.contains(&0) {
                        return None;
                    }
                    self.xattrs.insert(name.to_vec(), value.to_vec());
                }
            }
        }
        Some(())
    }
}

fn check_sum(block: &[u8; BLOCK], at: u64) -> Result<(), ArchiveError> {
    let field = block[148..156].iter().position(|byte| byte.is_ascii_digit()).map(|start| &block[148 + start..156]);
    let stored = field
        .map(|digits| {
            digits
                .iter()
                .take_while(|byte| (b'0'..=b'7').contains(byte))
                .fold(0_i64, |sum, byte| sum * 8 + i64::from(byte - b'0'))
        })
        .ok_or_else(|| damaged(at, "an entry has no checksum"))?;
    let bytes = || block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte });
    let unsigned: i64 = bytes().map(i64::from).sum();
    // Some old writers summed signed characters.
    if stored == unsigned || stored == bytes().map(|byte| i64::from(byte.cast_signed())).sum::<i64>() {
        Ok(())
    } else {
        Err(damaged(at, "the checksum of an entry is wrong"))
    }
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn until_nul(mut text: Vec<u8>) -> Vec<u8> {
    if let Some(end) = text.iter().position(|byte| *byte == 0) {
        text.truncate(end);
    }
    text
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// `-12.345` seconds.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let (negative, digits) = match value.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    let mut parts = digits.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let mut nanoseconds = 0;
    if let Some(fraction) = parts.next().filter(|fraction| !fraction.is_empty()) {
        if !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        for place in 0..9 {
            nanoseconds = nanoseconds * 10 + u32::from(fraction.get(place).map_or(0, |digit| digit - b'0'));
        }
    }
    Some(match (negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

fn damaged(at: u64, why: &'static str) -> ArchiveError {
    ArchiveError::Damaged { at, why }
}

#[cfg(test)]
mod tests;
