//! One append-only file of batches, with a sparse index in memory.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::batch::{HEADER_BYTES, Header};

/// How far apart index entries are. A look-up walks at most this many bytes of headers.
const INDEX_INTERVAL_BYTES: u64 = 8 << 10;
/// How much is read at once while a file is scanned.
const SCAN_BYTES: usize = 1 << 20;

#[derive(Debug, Clone, Copy)]
struct IndexEntry {
    base: i64,
    position: u64,
    /// Of the batches from here to the next entry.
    max_timestamp: i64,
}

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

/// How much of a file is trusted while it is scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scan {
    /// The file was being written when the process ended: every checksum is verified.
    Tail,
    /// The file was complete before the next one was begun: headers are enough.
    Sealed,
}

/// One file of a partition's log. Every batch in it is whole.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// The offset that the file is named after; no batch in it is below.
    pub(super) base: i64,
    path: PathBuf,
    file: Arc<File>,
    pub(super) size_bytes: u64,
    index: Vec<IndexEntry>,
    pub(super) max_timestamp: i64,
    /// When its first batch was appended, by the broker's clock.
    pub(super) begun_ms: i64,
    /// Whether it may hold records that a later record of the same key supersedes.
    pub(super) dirty: bool,
}

impl Segment {
    pub(super) fn create(directory: &Path, base: i64, now_ms: i64) -> io::Result<Self> {
        let path = directory.join(format!("{base:020}.log"));
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path)?;
        Ok(Self::empty(base, path, file, now_ms))
    }

    fn empty(base: i64, path: PathBuf, file: File, now_ms: i64) -> Self {
        Self {
            base,
            path,
            file: Arc::new(file),
            size_bytes: 0,
            index: Vec::new(),
            max_timestamp: -1,
            begun_ms: now_ms,
            dirty: false,
        }
    }

    /// Opens a file, calls `found` for each batch in it, and cuts off what is no batch.
    pub(super) fn open(
        path: PathBuf,
        scan: Scan,
        now_ms: i64,
        mut found: impl FnMut(&Header, &[u8]),
    ) -> io::Result<Self> {
        let name = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        let base = name.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let length = file.metadata()?.len();
        let mut segment = Self::empty(base, path, file, now_ms);
        segment.dirty = true;
        let mut window = Window::default();
        let mut next = base;
        while let Some(header) = segment.next_batch(&mut window, length, scan, next)? {
            found(&header, window.at(segment.size_bytes, header.size_bytes.min(SCAN_BYTES)));
            next = header.last() + 1;
            segment.note(&header);
        }
        if segment.size_bytes < length {
            tracing::warn!(
                file = %segment.path.display(),
                bytes = length - segment.size_bytes,
                "cut off the end of a log file that holds no whole batch"
            );
            segment.file.set_len(segment.size_bytes)?;
        }
        Ok(segment)
    }

    /// The batch after what has been scanned, if it is sound and at or after `next`.
    fn next_batch(
        &self,
        window: &mut Window,
        length: u64,
        scan: Scan,
        next: i64,
    ) -> io::Result<Option<Header>> {
        let rest = length - self.size_bytes;
        if rest < HEADER_BYTES as u64 {
            return Ok(None);
        }
        window.load(&self.file, self.size_bytes, HEADER_BYTES, length)?;
        let Some(header) = Header::parse(window.at(self.size_bytes, HEADER_BYTES)) else { return Ok(None) };
        if header.size_bytes as u64 > rest || header.magic != 2 || header.base < next {
            return Ok(None);
        }
        let needed = match scan {
            Scan::Tail => header.size_bytes,
            // A marker's record is looked at as well; it is right behind the header.
            Scan::Sealed => header.size_bytes.min(2 * HEADER_BYTES),
        };
        window.load(&self.file, self.size_bytes, needed, length)?;
        match scan {
            Scan::Tail if !header.intact(window.at(self.size_bytes, header.size_bytes)) => Ok(None),
            Scan::Tail | Scan::Sealed => Ok(Some(header)),
        }
    }

    /// Writes one whole batch at the end. After an error nothing has been appended.
    pub(super) fn append(&mut self, batch: &[u8], header: &Header, now_ms: i64) -> io::Result<()> {
        self.file.write_all_at(batch, self.size_bytes)?;
        if self.size_bytes == 0 {
            self.begun_ms = now_ms;
        }
        self.dirty = true;
        self.note(header);
        Ok(())
    }

    fn note(&mut self, header: &Header) {
        self.max_timestamp = self.max_timestamp.max(header.max_timestamp);
        match self.index.last_mut() {
            Some(last) if self.size_bytes < last.position + INDEX_INTERVAL_BYTES => {
                last.max_timestamp = last.max_timestamp.max(header.max_timestamp);
            }
            _ => self.index.push(IndexEntry {
                base: header.base,
                position: self.size_bytes,
                max_timestamp: header.max_timestamp,
            }),
        }
        self.size_bytes += header.size_bytes as u64;
    }

    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// The batches from a position, which must be a batch's beginning, to the end.
    pub(super) fn batches_from(&self, position: u64) -> Batches<'_> {
        Batches { segment: self, position }
    }

    pub(super) fn batches(&self) -> Batches<'_> {
        self.batches_from(0)
    }

    /// The first batch that ends at or after `offset`.
    pub(super) fn batch_of(&self, offset: i64) -> io::Result<Option<Located>> {
        let entry = self.index.partition_point(|entry| entry.base <= offset).saturating_sub(1);
        let Some(entry) = self.index.get(entry) else { return Ok(None) };
        for located in self.batches_from(entry.position) {
            let located = located?;
            if located.header.last() >= offset {
                return Ok(Some(located));
            }
        }
        Ok(None)
    }

    /// The last batch that begins at or after `from`, where one does, and ends at or before `position`.
    pub(super) fn batch_before(&self, from: u64, position: u64) -> io::Result<Option<Located>> {
        let upto = self.index.partition_point(|entry| entry.position < position);
        // If the last entry's own batch crosses the position, the one wanted is under the entry before.
        for entry in self.index[..upto].iter().rev() {
            let begin = entry.position.max(from);
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

    /// Where to look for records at or after `timestamp`: the batches from each position to the next entry.
    pub(super) fn positions_since(&self, timestamp: i64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let ends = self.index.iter().skip(1).map(|entry| entry.position).chain([self.size_bytes]);
        self.index
            .iter()
            .zip(ends)
            .filter(move |(entry, _)| entry.max_timestamp >= timestamp)
            .map(|(entry, end)| (entry.position, end))
    }

    pub(super) fn read(&self, position: u64, size_bytes: usize) -> io::Result<Bytes> {
        let mut bytes = BytesMut::zeroed(size_bytes);
        self.file.read_exact_at(&mut bytes, position)?;
        Ok(bytes.freeze())
    }

    pub(super) fn read_batch(&self, located: &Located) -> io::Result<Bytes> {
        self.read(located.position, located.header.size_bytes)
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    /// An empty file that is to take this one's place; see [`Self::take_over`].
    pub(super) fn replacement(&self, now_ms: i64) -> io::Result<Self> {
        let path = self.path.with_extension("cleaned");
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path)?;
        Ok(Self { begun_ms: self.begun_ms, ..Self::empty(self.base, path, file, now_ms) })
    }

    /// Puts the replacement, which must be flushed, in this segment's place. Readers of the old file
    /// keep it until they are done.
    pub(super) fn take_over(&mut self, mut replacement: Self) -> io::Result<()> {
        fs::rename(&replacement.path, &self.path)?;
        replacement.path = std::mem::take(&mut self.path);
        replacement.dirty = false;
        *self = replacement;
        Ok(())
    }
}

/// The part of a file that is being scanned.
#[derive(Default)]
struct Window {
    begin: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn load(&mut self, file: &File, position: u64, needed: usize, length: u64) -> io::Result<()> {
        let end = self.begin + self.bytes.len() as u64;
        if position >= self.begin && position + needed as u64 <= end {
            return Ok(());
        }
        let size_bytes = needed.max(SCAN_BYTES).min((length - position) as usize);
        self.bytes.resize(size_bytes, 0);
        self.begin = position;
        file.read_exact_at(&mut self.bytes, position)
    }

    /// At most `size_bytes` from `position`.
    fn at(&self, position: u64, size_bytes: usize) -> &[u8] {
        let begin = (position - self.begin) as usize;
        &self.bytes[begin..(begin + size_bytes).min(self.bytes.len())]
    }
}

/// Walks from header to header.
pub(super) struct Batches<'a> {
    segment: &'a Segment,
    position: u64,
}

impl Iterator for Batches<'_> {
    type Item = io::Result<Located>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.segment.size_bytes {
            return None;
        }
        let mut bytes = [0; HEADER_BYTES];
        if let Err(error) = self.segment.file.read_exact_at(&mut bytes, self.position) {
            self.position = self.segment.size_bytes;
            return Some(Err(error));
        }
        let Some(header) = Header::parse(&bytes) else {
            self.position = self.segment.size_bytes;
            return Some(Err(io::ErrorKind::InvalidData.into()));
        };
        let located = Located { header, position: self.position };
        self.position = located.end();
        Some(Ok(located))
    }
}
