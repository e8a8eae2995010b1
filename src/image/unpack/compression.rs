//! Layers as they come: gzip, zstd or plain, seen from their first bytes. Media types may lie, bytes do not.

use std::io::{self, BufRead, BufReader, Read};

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

/// zstd's own default bound of the memory that a frame may ask for: 128 MiB.
const ZSTD_WINDOW_LOG: u32 = 27;

impl Compression {
    /// Recognises a stream by its first bytes (fewer than six only at the very end of a stream).
    ///
    /// # Errors
    /// For the compressions that are not supported, by name.
    pub fn sniff(start: &[u8]) -> io::Result<Self> {
        match start {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            // A frame, or one of the sixteen kinds of frames to be skipped (zstd:chunked starts with content, eStargz with gzip).
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err(unsupported("xz")),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..] => Err(unsupported("bzip2")),
            _ => Ok(Self::None),
        }
    }
}

/// The uncompressed content of `input`. Members of gzip and frames of zstd that follow each other are one stream.
///
/// # Errors
/// When the first bytes cannot be read or the compression is not supported.
pub fn decompress<'a, R: Read + Send + 'a>(input: R) -> io::Result<(Compression, Box<dyn Read + Send + 'a>)> {
    let mut input = BufReader::with_capacity(128 << 10, input);
    let mut start = [0; 6];
    let mut filled = 0;
    // `fill_buf` may give less than six bytes of a longer stream, so the start is read and put back in front.
    while filled < start.len() {
        match input.read(&mut start[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let compression = Compression::sniff(&start[..filled])?;
    let input = Rejoined { start, at: 0, filled, rest: input };
    Ok((
        compression,
        match compression {
            Compression::None => Box::new(input),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
        },
    ))
}

struct Rejoined<R> {
    start: [u8; 6],
    at: usize,
    filled: usize,
    rest: BufReader<R>,
}

impl<R: Read> Read for Rejoined<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.filled {
            return self.rest.read(buffer);
        }
        let read = (&self.start[self.at..self.filled]).read(buffer)?;
        self.at += read;
        Ok(read)
    }
}

impl<R: Read> BufRead for Rejoined<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at < self.filled { Ok(&self.start[self.at..self.filled]) } else { self.rest.fill_buf() }
    }

    fn consume(&mut self, amount: usize) {
        if self.at < self.filled { self.at += amount } else { self.rest.consume(amount) }
    }
}

fn unsupported(name: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!("it is compressed with {name}; layers may be plain, gzip or zstd"),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// Gives one byte at a time, as a slow network may.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let end = buffer.len().min(1);
            self.0.read(&mut buffer[..end])
        }
    }

    fn plain(compressed: &[u8]) -> (Compression, Vec<u8>) {
        let (compression, mut reader) = decompress(Drip(compressed)).unwrap();
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        (compression, content)
    }

    #[test]
    fn several_members_and_frames_are_one_stream() {
        let zstd = |content: &[u8]| zstd::encode_all(content, 1).unwrap();
        assert_eq!(plain(&[gzip(b"ab"), gzip(b""), gzip(b"cd")].concat()), (Compression::Gzip, b"abcd".to_vec()));
        let skippable = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"xyz"].concat();
        let stream = [skippable.clone(), zstd(b"ab"), skippable, zstd(b"cd")].concat();
        assert_eq!(plain(&stream), (Compression::Zstd, b"abcd".to_vec()));
        assert_eq!(plain(b"abc"), (Compression::None, b"abc".to_vec()));
        assert_eq!(plain(b""), (Compression::None, Vec::new()));
        assert_eq!(plain(b"abcdefgh"), (Compression::None, b"abcdefgh".to_vec()));
    }

    #[test]
    fn a_cut_stream_and_other_compressions_are_errors() {
        let whole = gzip(&[7; 5000]);
        let (_, mut reader) = decompress(&whole[..whole.len() - 3]).unwrap();
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
        assert!(decompress(&b"\xfd7zXZ\0rest"[..]).err().unwrap().to_string().contains("xz"));
        assert!(decompress(&b"BZh91AY"[..]).err().unwrap().to_string().contains("bzip2"));
    }
}
