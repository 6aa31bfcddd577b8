//! Opening a log: what a stop or a crash has left becomes segments and their producers' state.
//!
//! Only what was appended since the last checkpoint is read: a segment's index tells how much of its file
//! needs no look, the snapshot from which offset on producers are replayed. Both may be missing; then more
//! is read.
//!
//! Below the *recovery point*, the highest offset that an index or the snapshot covers, everything was
//! on the disk. Damage there is no crash's doing: it is reported, nothing is changed, and reading it is
//! an error. Above it a log is what stands whole from there on; the rest is cut off, and kept in a file
//! beside unless it is one unfinished append.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::batch::{self, Header};
use super::index::Index;
use super::producers::Producers;
use super::segment::{Segment, index_path, log_path};
use crate::store;

const SNAPSHOT: &str = "snapshot";
const START: &str = "start";
const MERGE: &str = "merge";

/// What is known of the whole log at one offset.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Snapshot {
    /// The offset: everything below is taken in.
    pub(super) end: i64,
    /// Below it, keys have been compacted.
    pub(super) first_dirty: i64,
    pub(super) producers: Producers,
}

impl Snapshot {
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let line = serde_json::to_string(self).map_err(io::Error::from)?;
        store::replace_line(&directory.join(SNAPSHOT), &line)
    }

    fn read(directory: &Path) -> io::Result<Option<Self>> {
        let path = directory.join(SNAPSHOT);
        let Some(content) = store::read(&path)? else { return Ok(None) };
        let parsed = store::intact_line(&content).and_then(|line| serde_json::from_str(line).ok());
        if parsed.is_none() {
            tracing::warn!(file = %path.display(), "a damaged snapshot is left aside, the log is read instead");
        }
        Ok(parsed)
    }
}

/// Says that the segment which begins at `base` takes the place of all others up to `end`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MergeNote {
    pub(super) base: i64,
    pub(super) end: i64,
}

impl MergeNote {
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let line = serde_json::to_string(self).map_err(io::Error::from)?;
        store::replace_line(&directory.join(MERGE), &line)
    }

    pub(super) fn remove(&self, directory: &Path) -> io::Result<()> {
        store::remove(&directory.join(MERGE))
    }

    /// Finishes what a crash has left of a merge, if it had begun to take the others' place.
    fn finish(directory: &Path) -> io::Result<()> {
        let path = directory.join(MERGE);
        let Some(content) = store::read(&path)? else { return Ok(()) };
        let note = store::intact_line(&content).and_then(|line| serde_json::from_str::<Self>(line).ok());
        let note = note.ok_or_else(|| {
            let message = format!("`{}` is damaged: restore it from a copy", path.display());
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?;
        // As long as this file is there it has not taken any place.
        if !log_path(directory, note.base).with_extension("cleaned").exists() {
            for base in bases(directory)?.into_iter().filter(|base| (note.base + 1..note.end).contains(base))
            {
                store::remove(&index_path(directory, base))?;
                store::remove(&log_path(directory, base))?;
            }
        }
        note.remove(directory)
    }
}

fn bases(directory: &Path) -> io::Result<BTreeSet<i64>> {
    let mut bases = BTreeSet::new();
    for entry in fs::read_dir(directory).map_err(store::at("list", directory))? {
        bases.extend(base_of(&entry?.path()));
    }
    Ok(bases)
}

/// Where the segment begins that the file is part of.
fn base_of(path: &Path) -> Option<i64> {
    path.file_stem()?.to_str()?.parse().ok()
}

/// A log as it was found.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) segments: Vec<Segment>,
    pub(super) producers: Producers,
    pub(super) first_dirty: i64,
    pub(super) start: i64,
    /// Where the snapshot ends.
    pub(super) snapshot_end: i64,
}

pub(super) fn write_start(directory: &Path, start: i64) -> io::Result<()> {
    store::replace(&directory.join(START), start.to_string().as_bytes())
}

fn read_start(directory: &Path) -> io::Result<i64> {
    let path = directory.join(START);
    let Some(content) = store::read(&path)? else { return Ok(0) };
    let parsed = str::from_utf8(&content).ok().and_then(|text| text.trim().parse().ok());
    parsed.ok_or_else(|| {
        let message = format!(
            "`{}` holds no offset; remove it to have the log begin with its first file",
            path.display()
        );
        io::Error::new(io::ErrorKind::InvalidData, message)
    })
}

/// What the directory has of one segment.
#[derive(Debug, Default)]
struct Found {
    log: bool,
    index: Option<Index>,
}

fn list(directory: &Path) -> io::Result<BTreeMap<i64, Found>> {
    let mut found: BTreeMap<i64, Found> = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(store::at("list", directory))? {
        let path = entry?.path();
        match (path.extension().and_then(|extension| extension.to_str()), base_of(&path)) {
            (Some("log"), Some(base)) => found.entry(base).or_default().log = true,
            (Some("index"), Some(base)) => found.entry(base).or_default().index = read_index(&path)?,
            (Some("cleaned" | "tmp"), _) => store::remove(&path)?,
            (Some(_) | None, _) => {}
        }
    }
    Ok(found)
}

fn read_index(path: &Path) -> io::Result<Option<Index>> {
    let index = store::read(path)?.as_deref().and_then(Index::decode);
    if index.is_none() {
        tracing::warn!(file = %path.display(), "a damaged index is left aside, its log file is read instead");
    }
    Ok(index)
}

/// Opens the log in a directory. Gives at least one segment, the last of which can be appended to.
pub(super) fn recover(directory: &Path, now_ms: i64) -> io::Result<Recovered> {
    let start = read_start(directory)?;
    MergeNote::finish(directory)?;
    let mut found = list(directory)?;
    remove_deleted(directory, &mut found, start)?;
    let snapshot = Snapshot::read(directory)?;
    if snapshot.is_none() && found.is_empty() {
        // From here on, a log without a snapshot is one that has lost it.
        Snapshot::default().write(directory)?;
    }
    if snapshot.is_none() && found.values().any(|found| found.index.is_some()) {
        tracing::warn!(directory = %directory.display(), "a log without its snapshot is read from its start");
    }
    let indexed = found.values().filter_map(|found| found.index.as_ref()).map(|index| index.end).max();
    let mut recovery_point = indexed.unwrap_or(0);
    match &snapshot {
        Some(snapshot) => recovery_point = recovery_point.max(snapshot.end),
        // How far the log was flushed is not known then, and a closed file is taken to have been.
        None => recovery_point = recovery_point.max(found.keys().last().copied().unwrap_or(0)),
    }
    // Without a snapshot producers are replayed from the start.
    let mut snapshot = snapshot.unwrap_or_default();
    let mut opening = Opening {
        directory,
        now_ms,
        start,
        recovery_point,
        replay_from: snapshot.end,
        segments: Vec::new(),
        producers: std::mem::take(&mut snapshot.producers),
    };
    opening.segments(found)?;
    opening.finish()?;
    let Opening { segments, producers, .. } = opening;
    let start = segments.first().map_or(start, |first| first.base.max(start));
    let Snapshot { end: snapshot_end, first_dirty, .. } = snapshot;
    Ok(Recovered { segments, producers, first_dirty, start, snapshot_end })
}

/// A crash while records were being deleted may leave files that hold nothing from `start` on.
fn remove_deleted(directory: &Path, found: &mut BTreeMap<i64, Found>, start: i64) -> io::Result<()> {
    let bases: Vec<i64> = found.keys().copied().collect();
    for (at, base) in bases.iter().enumerate() {
        let end = match (bases.get(at + 1), &found[base].index) {
            (Some(next), _) => *next,
            (None, Some(index)) if !found[base].log => index.end,
            (None, _) => i64::MAX,
        };
        if end > start {
            break;
        }
        store::remove(&index_path(directory, *base))?;
        store::remove(&log_path(directory, *base))?;
        found.remove(base);
    }
    Ok(())
}

struct Opening<'a> {
    directory: &'a Path,
    now_ms: i64,
    start: i64,
    recovery_point: i64,
    replay_from: i64,
    segments: Vec<Segment>,
    producers: Producers,
}

impl Opening<'_> {
    fn segments(&mut self, found: BTreeMap<i64, Found>) -> io::Result<()> {
        let mut rest = found.into_iter().peekable();
        while let Some((base, found)) = rest.next() {
            let next = rest.peek().map(|(next, _)| *next);
            self.bridge(base)?;
            if self.segment(base, found.index, next)? {
                continue;
            }
            // Behind a gap in what was not flushed nothing is part of the log.
            for (base, _) in rest.by_ref().filter(|(_, found)| found.log) {
                let path = log_path(self.directory, base);
                let aside = path.with_extension("damaged");
                fs::rename(&path, &aside).map_err(store::at("rename", &path))?;
                tracing::error!(
                    file = %aside.display(),
                    "a log file behind a damaged one, written after the last flush, is set aside"
                );
            }
        }
        Ok(())
    }

    /// Fills the gap before `base` that a file leaves which is not there.
    fn bridge(&mut self, base: i64) -> io::Result<()> {
        let Some(last) = self.segments.last_mut() else { return Ok(()) };
        let (end, indexed) = (last.index.end, last.indexed_bytes.is_some());
        // A file without an index may be a compacted one, which need not reach to the next.
        if end < base && indexed {
            return self.lost(end, base);
        }
        last.index.end = base;
        Ok(())
    }

    fn lost(&mut self, base: i64, end: i64) -> io::Result<()> {
        tracing::error!(
            directory = %self.directory.display(), first = base, end,
            "log files are missing: reading offsets `first..end` is an error until the files are back or \
             the records before `end` are deleted"
        );
        let (mut segment, _) = Segment::open(self.directory, base, Index::lost(base, end, self.now_ms))?;
        segment.damaged = true;
        store::replace(&index_path(self.directory, base), &segment.index.encode())?;
        segment.indexed_bytes = Some(segment.size_bytes());
        self.segments.push(segment);
        Ok(())
    }

    /// Opens one segment. `false`: the log ends in it, whatever comes later.
    fn segment(&mut self, base: i64, stored: Option<Index>, next: Option<i64>) -> io::Result<bool> {
        let expected_bytes = stored.as_ref().map_or(0, |stored| stored.size_bytes);
        let mut index = stored.clone().unwrap_or_else(|| Index::new(base, self.now_ms));
        index.cut(self.replay_from.max(base));
        let (mut segment, length) = Segment::open(self.directory, base, index)?;
        let (producers, replay_from, now_ms) = (&mut self.producers, self.replay_from, self.now_ms);
        segment.scan(length, self.recovery_point, |header, batch| {
            if header.base >= replay_from {
                replay(producers, header, batch, now_ms);
            }
        })?;
        let mut goes_on = true;
        let was_on_disk = self.recovery_point.min(next.unwrap_or(i64::MAX));
        match stored {
            Some(stored) if segment.size_bytes().min(length) < expected_bytes => {
                self.report(&segment, length, expected_bytes);
                segment.index = stored;
                segment.damaged = true;
            }
            _ if segment.size_bytes() < length && segment.index.end < was_on_disk => {
                self.report(&segment, length, length);
                segment.index.size_bytes = length;
                segment.damaged = true;
            }
            stored => {
                if segment.size_bytes() < length {
                    cut(&segment, length)?;
                }
                match stored {
                    Some(stored) if expected_bytes == segment.size_bytes() => {
                        segment.index = stored;
                        segment.indexed_bytes = Some(expected_bytes);
                    }
                    Some(_) | None => {}
                }
                let gap = next.is_some_and(|next| segment.index.end < next && next > self.recovery_point);
                goes_on = !gap;
            }
        }
        self.segments.push(segment);
        Ok(goes_on)
    }

    fn report(&self, segment: &Segment, length: u64, expected: u64) {
        tracing::error!(
            file = %segment.path().display(),
            sound_bytes = segment.size_bytes(),
            file_bytes = length,
            expected_bytes = expected,
            first_lost = segment.index.end,
            "a log file is damaged in what was on the disk: it is kept, and reading on from `first_lost` is an \
             error until the file is restored or the records of this file are deleted"
        );
    }

    /// Sees to it that the log ends where it is known to have ended, in a segment that takes more.
    fn finish(&mut self) -> io::Result<()> {
        let end = self.segments.last().map_or(self.start, |last| last.index.end);
        if end < self.start {
            // Their deletion reached the disk, the records did not.
            for segment in self.segments.drain(..) {
                segment.remove()?;
            }
            self.segments.push(Segment::create(self.directory, self.start, self.now_ms)?);
            return Ok(());
        }
        let intact = self.segments.last().is_none_or(|last| !last.damaged);
        if intact && end < self.recovery_point {
            self.lost(end, self.recovery_point)?;
        }
        let end = end.max(self.recovery_point);
        if self.segments.last().is_none_or(|last| last.damaged) {
            if let Some(last) = self.segments.last_mut() {
                last.index.end = end;
            }
            self.segments.push(Segment::create(self.directory, end, self.now_ms)?);
        }
        Ok(())
    }
}

fn cut(segment: &Segment, length: u64) -> io::Result<()> {
    let (file, position) = (segment.path().display(), segment.size_bytes());
    if segment.ends_in_unfinished_append(length)? {
        tracing::warn!(%file, position, bytes = length - position, "an unfinished append was cut off");
    } else {
        let aside = segment.set_aside()?;
        tracing::error!(
            %file, position, bytes = length - position, aside = %aside.display(),
            "the end of a log file, written after the last flush, is damaged: it was cut off and set aside"
        );
    }
    segment.cut()
}

fn replay(producers: &mut Producers, header: &Header, batch: &[u8], now_ms: i64) {
    match batch::marker_outcome(batch) {
        Some(outcome) if header.control() => producers.ended(header, outcome, header.base, now_ms),
        Some(_) | None => producers.appended(header, header.base, now_ms),
    }
}
