//! One layer on its way: fetched, uncompressed and unpacked by three threads that hand chunks to each other, with both
//! digests taken in passing. Nothing waits for a whole file.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use sha2::Digest as _;

use super::digest::Digest;
use super::error::LayerError;
use super::import::Wanted;
use super::progress::TransferStatus;
use super::unpack::compression::{Compression, decompress};
use super::unpack::{self, Limits, UnpackError, Unpacked};

const CHUNK: usize = 256 << 10;
/// Chunks between two stages.
const AHEAD: usize = 8;
/// Progress is told this often.
const TELL_EVERY: Duration = Duration::from_millis(50);

/// What is to be made.
pub(super) struct Job<'a> {
    pub wanted: &'a Wanted,
    pub diff_id: &'a Digest,
    /// An empty folder for the files.
    pub root: &'a Path,
    /// Where to keep the archive, if it is to be kept.
    pub archive: Option<&'a Path>,
    pub limits: &'a Limits,
    pub cancelled: &'a AtomicBool,
    pub report: &'a (dyn Fn(TransferStatus) + Sync),
}

/// A layer that was fetched, checked and unpacked.
pub(super) struct Done {
    pub digest: Digest,
    pub bytes: u64,
    /// How the archive came. An uncompressed one is stored compressed.
    pub compression: Compression,
    pub unpacked: Unpacked,
}

/// Why a stage ended early.
enum Stop {
    /// The stage before or after it failed, and knows why.
    Neighbour,
    Fault(LayerError),
}

impl From<LayerError> for Stop {
    fn from(error: LayerError) -> Self {
        Self::Fault(error)
    }
}

/// A chunk, or the news that the stage before has failed.
type Chunk = Result<Vec<u8>, ()>;

pub(super) fn make(job: &Job<'_>, source: Box<dyn Read + Send + '_>) -> Result<Done, LayerError> {
    let (to_decompress, fetched) = sync_channel::<Chunk>(AHEAD);
    let (to_unpack, plain) = sync_channel::<Chunk>(AHEAD);
    let bytes = AtomicU64::new(0);
    let (fetch, decompress, unpack) = thread::scope(|scope| {
        let fetch = scope.spawn(|| run(to_decompress, |out| fetch(job, source, &bytes, out)));
        let decompress = scope.spawn(|| run(to_unpack, |out| inflate(job, fetched, &bytes, out)));
        let unpacked = unpack_from(job, plain);
        (fetch.join(), decompress.join(), unpacked)
    });
    // The first stage that knows a reason gives it: what follows from it would only confuse.
    let fetched = fetch.unwrap_or(Err(Stop::Neighbour));
    let inflated = decompress.unwrap_or(Err(Stop::Neighbour));
    match (fetched, inflated, unpack) {
        (Err(Stop::Fault(error)), _, _) | (_, Err(Stop::Fault(error)), _) | (_, _, Err(Stop::Fault(error))) => {
            Err(error)
        }
        (Ok((digest, compression)), Ok(()), Ok(unpacked)) => {
            Ok(Done { digest, bytes: bytes.into_inner(), compression, unpacked })
        }
        _ => Err(LayerError::Cancelled),
    }
}

/// Runs a stage; when it fails, the next one must not take the end of its chunks for the end of the data.
fn run<T>(out: SyncSender<Chunk>, stage: impl FnOnce(&SyncSender<Chunk>) -> Result<T, Stop>) -> Result<T, Stop> {
    let result = stage(&out);
    if result.is_err() {
        let _ = out.send(Err(()));
    }
    result
}

fn fetch(
    job: &Job<'_>,
    mut source: Box<dyn Read + Send + '_>,
    bytes: &AtomicU64,
    out: &SyncSender<Chunk>,
) -> Result<(Digest, Compression), Stop> {
    let total = job.wanted.size.unwrap_or(0);
    let mut hasher = sha2::Sha256::new();
    let mut archive: Option<Box<dyn FinishWrite>> = None;
    let mut compression = Compression::None;
    let mut told: Option<Instant> = None;
    let mut count = 0;
    loop {
        if job.cancelled.load(Ordering::Relaxed) {
            return Err(LayerError::Cancelled.into());
        }
        let chunk = full_chunk(&mut source).map_err(LayerError::Fetch)?;
        if count == 0 {
            compression = Compression::sniff(&chunk).map_err(LayerError::Decompress)?;
            archive = match job.archive {
                Some(path) => Some(open_archive(path, compression == Compression::None).map_err(LayerError::Store)?),
                None => None,
            };
        }
        if chunk.is_empty() {
            break;
        }
        count += chunk.len() as u64;
        bytes.store(count, Ordering::Relaxed);
        if let Some(expected) = job.wanted.size
            && count > expected
        {
            return Err(LayerError::Size { expected, found: count }.into());
        }
        hasher.update(&chunk);
        if let Some(archive) = &mut archive {
            archive.write_all(&chunk).map_err(LayerError::Store)?;
        }
        if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            told = Some(Instant::now());
            (job.report)(TransferStatus::Downloading { current: count, total });
        }
        out.send(Ok(chunk)).map_err(|_| Stop::Neighbour)?;
    }
    if let Some(expected) = job.wanted.size
        && count != expected
    {
        return Err(LayerError::Size { expected, found: count }.into());
    }
    let found = Digest::from_hasher(hasher);
    if let Some(expected) = job.wanted.digest
        && found != expected
    {
        return Err(LayerError::Digest { expected, found }.into());
    }
    if let Some(archive) = archive {
        archive.finish().map_err(LayerError::Store)?;
    }
    (job.report)(TransferStatus::Extracting);
    Ok((found, compression))
}

fn inflate(job: &Job<'_>, input: Receiver<Chunk>, fetched: &AtomicU64, out: &SyncSender<Chunk>) -> Result<(), Stop> {
    let mut hasher = sha2::Sha256::new();
    let mut input = Chunks::new(input);
    let mut count: u64 = 0;
    {
        let (_, mut plain) = decompress(&mut input).map_err(|error| input_fault(&error))?;
        loop {
            let chunk = match full_chunk(&mut plain) {
                Ok(chunk) => chunk,
                Err(error) if is_neighbour(&error) => return Err(Stop::Neighbour),
                Err(error) => return Err(LayerError::Decompress(error).into()),
            };
            if chunk.is_empty() {
                break;
            }
            count += chunk.len() as u64;
            if count > job.limits.bytes {
                return Err(LayerError::TooLarge(job.limits.bytes).into());
            }
            if count > job.limits.ratio_from && count / fetched.load(Ordering::Relaxed).max(1) > job.limits.ratio {
                return Err(LayerError::Bomb(job.limits.ratio).into());
            }
            hasher.update(&chunk);
            out.send(Ok(chunk)).map_err(|_| Stop::Neighbour)?;
        }
    }
    // What a decoder leaves unread still belongs to the archive's digest.
    io::copy(&mut input, &mut io::sink()).map_err(|_| Stop::Neighbour)?;
    let found = Digest::from_hasher(hasher);
    if found != *job.diff_id {
        return Err(LayerError::DiffId { expected: *job.diff_id, found }.into());
    }
    Ok(())
}

fn unpack_from(job: &Job<'_>, input: Receiver<Chunk>) -> Result<Unpacked, Stop> {
    let root = rustix::fs::open(job.root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| LayerError::Unpack(UnpackError::Root(errno.into())))?;
    let (unpacked, mut rest) = unpack::unpack(Chunks::new(input), root, job.limits).map_err(LayerError::Unpack)?;
    // Archives are padded; the padding belongs to the digest.
    io::copy(&mut rest, &mut io::sink()).map_err(|_| Stop::Neighbour)?;
    Ok(unpacked)
}

/// As much as fits into a chunk, so that stages hand over rarely; empty at the end.
fn full_chunk(input: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut chunk = vec![0; CHUNK];
    let mut filled = 0;
    while filled < CHUNK {
        match input.read(&mut chunk[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    chunk.truncate(filled);
    Ok(chunk)
}

/// Chunks of the stage before as a reader.
#[derive(Debug)]
struct Chunks {
    input: Receiver<Chunk>,
    chunk: Vec<u8>,
    at: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("the data before this point could not be had")]
struct NeighbourFailed;

impl Chunks {
    fn new(input: Receiver<Chunk>) -> Self {
        Self { input, chunk: Vec::new(), at: 0 }
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() {
            match self.input.recv() {
                Ok(Ok(chunk)) => (self.chunk, self.at) = (chunk, 0),
                Ok(Err(())) => return Err(io::Error::other(NeighbourFailed)),
                Err(_) => return Ok(0),
            }
        }
        let read = (&self.chunk[self.at..]).read(buffer)?;
        self.at += read;
        Ok(read)
    }
}

fn is_neighbour(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<NeighbourFailed>())
}

fn input_fault(error: &io::Error) -> Stop {
    if is_neighbour(error) {
        return Stop::Neighbour;
    }
    Stop::Fault(LayerError::Decompress(io::Error::new(error.kind(), error.to_string())))
}

trait FinishWrite: Write + Send {
    fn finish(self: Box<Self>) -> io::Result<()>;
}

impl FinishWrite for std::fs::File {
    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

impl FinishWrite for zstd::stream::write::Encoder<'static, std::fs::File> {
    fn finish(self: Box<Self>) -> io::Result<()> {
        zstd::stream::write::Encoder::finish(*self).map(drop)
    }
}

fn open_archive(path: &Path, pack: bool) -> io::Result<Box<dyn FinishWrite>> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    if pack {
        return Ok(Box::new(zstd::stream::write::Encoder::new(file, 1)?));
    }
    Ok(Box::new(file))
}
