//! One append-only file of batches, with its index.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::batch::{HEADER_BYTES, Header};
use super::index::Index;
use crate::store;

/// How much is read at once while headers are walked.
const WALK_BYTES: usize = 4 << 10;
/// How much is read at once while a file is scanned for sound batches.
const SCAN_BYTES: usize = 1 << 20;

/// A batch's header and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Located {
    pub(super) header: Header,
    pub(super) position: u64,
}

impl Located {
    pub(super) fn end(&self) -> u64 {
        self.position + self.header.size_bytes as u64
    }
}

/// One file of a partition's log.
#[derive(Debug)]
pub(super) struct Segment {
    /// The offset that the file is named after; no batch in it is below.
    pub(super) base: i64,
    path: PathBuf,
    file: Arc<File>,
    pub(super) index: Index,
    /// How many bytes the index on the disk covers, if there is one.
    pub(super) indexed_bytes: Option<u64>,
    /// Part of what the index covers is not in the file, or not sound. It is kept as it is.
    pub(super) damaged: bool,
}

/// The file of the segment that begins at `base`.
pub(super) fn log_path(directory: &Path, base: i64) -> PathBuf {
    directory.join(format!("{base:020}.log"))
}

/// The index of the segment that begins at `base`.
pub(super) fn index_path(directory: &Path, base: i64) -> PathBuf {
    directory.join(format!("{base:020}.index"))
}

impl Segment {
    /// A new, empty one.
    pub(super) fn create(directory: &Path, base: i64, now_ms: i64) -> io::Result<Self> {
        let path = log_path(directory, base);
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path);
        let file = file.map_err(store::at("create", &path))?;
        Ok(Self::with(path, file, Index::new(base, now_ms), base))
    }

    fn with(path: PathBuf, file: File, index: Index, base: i64) -> Self {
        Self { base, path, file: Arc::new(file), index, indexed_bytes: None, damaged: false }
    }

    /// Opens the file, or an empty one in its place, as the index describes it; gives its length too.
    pub(super) fn open(directory: &Path, base: i64, index: Index) -> io::Result<(Self, u64)> {
        let path = log_path(directory, base);
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let file = file.map_err(store::at("open", &path))?;
        let length = file.metadata().map_err(store::at("read", &path))?.len();
        Ok((Self::with(path, file, index, base), length))
    }

    /// Goes on after what the index covers, up to `length`: notes each batch that is whole, has its
    /// checksum and the offset that can follow, calls `found` for it, and stops before anything else.
    /// Offsets may be left out before `gaps_before` only: what is flushed may have been compacted.
    pub(super) fn scan(
        &mut self,
        length: u64,
        gaps_before: i64,
        mut found: impl FnMut(&Header, &[u8]),
    ) -> io::Result<()> {
        let mut window = Window { chunk_bytes: SCAN_BYTES, ..Window::default() };
        let failed = store::at("read", &self.path);
        while self.index.size_bytes < length {
            let position = self.index.size_bytes;
            let sound = sound_batch(&mut window, &self.file, position, length).map_err(&failed)?;
            let Some((header, batch)) = sound else { break };
            // No checksum covers a batch's base offset.
            let next = self.index.end;
            if header.base != next && !(header.base > next && header.last() < gaps_before) {
                break;
            }
            found(&header, batch);
            self.index.note(&header);
        }
        Ok(())
    }

    /// Whether what is behind the index's part, up to `length`, is what an append leaves that was cut
    /// short: the beginning of one batch, or space that was never written.
    pub(super) fn ends_in_unfinished_append(&self, length: u64) -> io::Result<bool> {
        let mut window = Window { chunk_bytes: SCAN_BYTES, ..Window::default() };
        let failed = store::at("read", &self.path);
        let begin = self.index.size_bytes;
        if length - begin < HEADER_BYTES as u64 {
            return Ok(true);
        }
        let header = Header::parse(window.load(&self.file, begin, HEADER_BYTES, length).map_err(&failed)?);
        if header.is_some_and(|header| header.magic == 2 && header.size_bytes as u64 > length - begin) {
            return Ok(true);
        }
        let mut position = begin;
        while position < length {
            let size_bytes = (length - position).min(SCAN_BYTES as u64) as usize;
            let bytes = window.load(&self.file, position, size_bytes, length).map_err(&failed)?;
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            position += size_bytes as u64;
        }
        Ok(true)
    }

    /// Copies what the index does not cover to a file beside, and gives its path.
    pub(super) fn set_aside(&self) -> io::Result<PathBuf> {
        let path = self.path.with_extension(format!("{}.damaged", self.index.size_bytes));
        let mut copy = File::create(&path).map_err(store::at("create", &path))?;
        let mut position = self.index.size_bytes;
        let mut bytes = vec![0; SCAN_BYTES];
        loop {
            match self.file.read_at(&mut bytes, position).map_err(store::at("read", &self.path))? {
                0 => break,
                n => {
                    copy.write_all(&bytes[..n]).map_err(store::at("write", &path))?;
                    position += n as u64;
                }
            }
        }
        copy.sync_data().map_err(store::at("flush", &path))?;
        Ok(path)
    }

    /// Cuts off what the index does not cover.
    pub(super) fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.index.size_bytes).map_err(store::at("shorten", &self.path))
    }

    /// Writes one whole batch at the end. After an error nothing has been appended.
    pub(super) fn append(&mut self, batch: &[u8], header: &Header, now_ms: i64) -> io::Result<()> {
        let size_bytes = self.index.size_bytes;
        if let Err(error) = self.file.write_all_at(batch, size_bytes) {
            // What was written of it must not come to lie behind a shorter batch.
            if let Err(error) = self.cut() {
                tracing::warn!(%error, "a batch that was not written whole could not be cut off");
            }
            return Err(store::at("write", &self.path)(error));
        }
        if size_bytes == 0 {
            self.index.begun_ms = now_ms;
        }
        self.index.note(header);
        Ok(())
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.index.size_bytes
    }

    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it at the moment, to be read without the log's lock.
    pub(super) fn view(&self) -> View {
        View { path: self.path.clone(), file: self.file(), size_bytes: self.size_bytes() }
    }

    /// The batches from a position, which must be a batch's beginning, to the end.
    pub(super) fn batches_from(&self, position: u64) -> Batches<'_> {
        batches(&self.file, &self.path, position..self.size_bytes())
    }

    /// Whether the file is as long as what is to be read from it: an answer that has begun cannot become
    /// an error any more.
    pub(super) fn check_length(&self, end: u64) -> io::Result<()> {
        let length = self.file.metadata().map_err(store::at("read", &self.path))?.len();
        if length < end { Err(damage(&self.path, length)) } else { Ok(()) }
    }

    /// The first batch that ends at or after `offset`.
    pub(super) fn batch_of(&self, offset: i64) -> io::Result<Option<Located>> {
        let Some(position) = self.index.position_of(offset) else { return Ok(None) };
        for located in self.batches_from(position) {
            let located = located?;
            if located.header.last() >= offset {
                return Ok(Some(located));
            }
        }
        Ok(None)
    }

    /// The last batch that begins at or after `from`, where one does, and ends at or before `position`.
    pub(super) fn batch_before(&self, from: u64, position: u64) -> io::Result<Option<Located>> {
        // If the last entry's own batch crosses the position, the one wanted is under the entry before.
        for entry in self.index.positions_before(position) {
            let begin = entry.max(from);
            let mut found = None;
            for located in self.batches_from(begin) {
                let located = located?;
                if located.end() > position {
                    break;
                }
                found = Some(located);
            }
            if found.is_some() || begin == from {
                return Ok(found);
            }
        }
        Ok(None)
    }

    pub(super) fn read_batch(&self, located: &Located) -> io::Result<Bytes> {
        self.view().read_batch(located)
    }

    /// Removes the files. The index goes first: one without its log would tell of a loss.
    pub(super) fn remove(&self) -> io::Result<()> {
        store::remove(&self.path.with_extension("index"))?;
        store::remove(&self.path)
    }

    /// Removes a replacement that took no segment's place.
    pub(super) fn discard(&self) -> io::Result<()> {
        store::remove(&self.path)
    }

    /// An empty file that is to take this one's place; see [`Self::take_over`].
    pub(super) fn replacement(view: &View, base: i64, begun_ms: i64) -> io::Result<Self> {
        let path = view.path.with_extension("cleaned");
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path);
        let file = file.map_err(store::at("create", &path))?;
        Ok(Self::with(path, file, Index::new(base, begun_ms), base))
    }

    /// Puts the replacement, which must be flushed, in this segment's place. Readers of the old file
    /// keep it until they are done.
    ///
    /// The index goes before the file that it describes and comes back after the new one, so that a
    /// crash leaves a file without an index and never one with another's.
    pub(super) fn take_over(&mut self, mut replacement: Self) -> io::Result<()> {
        let index = self.path.with_extension("index");
        store::remove(&index)?;
        self.indexed_bytes = None;
        store::sync_parent(&self.path)?;
        fs::rename(&replacement.path, &self.path).map_err(store::at("replace", &self.path))?;
        // From here on it is the segment, whatever fails yet.
        replacement.path.clone_from(&self.path);
        *self = replacement;
        store::sync_parent(&self.path)?;
        store::replace(&index, &self.index.encode())?;
        self.indexed_bytes = Some(self.size_bytes());
        Ok(())
    }
}

/// What a segment held when it was looked at.
#[derive(Debug, Clone)]
pub(super) struct View {
    path: PathBuf,
    file: Arc<File>,
    pub(super) size_bytes: u64,
}

impl View {
    pub(super) fn batches(&self) -> Batches<'_> {
        batches(&self.file, &self.path, 0..self.size_bytes)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn read_batch(&self, located: &Located) -> io::Result<Bytes> {
        let mut bytes = BytesMut::zeroed(located.header.size_bytes);
        let read = self.file.read_exact_at(&mut bytes, located.position);
        read.map_err(store::at("read", &self.path))?;
        Ok(bytes.freeze())
    }
}

/// The part of a file that is being walked.
#[derive(Default)]
struct Window {
    begin: u64,
    bytes: Vec<u8>,
    chunk_bytes: usize,
}

impl Window {
    /// The `needed` bytes from `position`, all of which are before `end`.
    fn load(&mut self, file: &File, position: u64, needed: usize, end: u64) -> io::Result<&[u8]> {
        let loaded = self.begin + self.bytes.len() as u64;
        if position < self.begin || position + needed as u64 > loaded {
            let size_bytes = (needed.max(self.chunk_bytes) as u64).min(end - position) as usize;
            self.bytes.resize(size_bytes, 0);
            self.begin = position;
            if let Err(error) = file.read_exact_at(&mut self.bytes, position) {
                self.bytes.clear();
                return Err(error);
            }
        }
        let begin = (position - self.begin) as usize;
        Ok(&self.bytes[begin..begin + needed])
    }
}

/// The batch at a position, if one is there that is whole and has its checksum.
fn sound_batch<'a>(
    window: &'a mut Window,
    file: &File,
    position: u64,
    length: u64,
) -> io::Result<Option<(Header, &'a [u8])>> {
    let rest = length - position;
    if rest < HEADER_BYTES as u64 {
        return Ok(None);
    }
    let Some(header) = Header::parse(window.load(file, position, HEADER_BYTES, length)?) else {
        return Ok(None);
    };
    if header.size_bytes as u64 > rest || header.magic != 2 {
        return Ok(None);
    }
    let batch = window.load(file, position, header.size_bytes, length)?;
    Ok(header.intact(batch).then_some((header, batch)))
}

fn batches<'a>(file: &'a File, path: &'a Path, range: std::ops::Range<u64>) -> Batches<'a> {
    let window = Window { chunk_bytes: WALK_BYTES, ..Window::default() };
    Batches { file, path, position: range.start, end: range.end, window }
}

/// Walks from header to header.
pub(super) struct Batches<'a> {
    file: &'a File,
    path: &'a Path,
    position: u64,
    end: u64,
    window: Window,
}

impl Batches<'_> {
    fn header(&mut self) -> io::Result<Located> {
        let rest = self.end - self.position;
        let needed = HEADER_BYTES.min(usize::try_from(rest).unwrap_or(HEADER_BYTES));
        let bytes = self.window.load(self.file, self.position, needed, self.end);
        let bytes = bytes.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damage(self.path, self.position),
            _ => store::at("read", self.path)(error),
        })?;
        match Header::parse(bytes).filter(|header| header.size_bytes as u64 <= rest && header.magic == 2) {
            Some(header) => Ok(Located { header, position: self.position }),
            None => Err(damage(self.path, self.position)),
        }
    }
}

/// What is said of bytes that should be a batch.
pub(super) fn damage(path: &Path, position: u64) -> io::Error {
    let message = format!("log file `{}` is damaged: no batch at byte {position}", path.display());
    io::Error::new(io::ErrorKind::InvalidData, message)
}

impl Iterator for Batches<'_> {
    type Item = io::Result<Located>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.end {
            return None;
        }
        let located = self.header();
        self.position = located.as_ref().map_or(self.end, Located::end);
        Some(located)
    }
}
