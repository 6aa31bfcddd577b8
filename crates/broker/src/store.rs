//! State files: a file that is replaced as a whole, and a journal of checksummed lines.
//!
//! Invariant: whatever moment the process dies at, a reader finds the old or the new state.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::options::Fsync;

/// What was done to which file when the system refused.
#[derive(Debug, thiserror::Error)]
#[error("{verb} `{path}`", path = .path.display())]
struct FileError {
    verb: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Says what was done to which file, and keeps the error's kind.
pub(crate) fn at(verb: &'static str, path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |source| io::Error::new(source.kind(), FileError { verb, path: path.to_owned(), source })
}

/// Replaces the file's content: after a crash it is the old or the new one, whole.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary).map_err(at("create", &temporary))?;
    let written = file.write_all(content).and_then(|()| file.sync_data());
    written.map_err(at("write", &temporary))?;
    fs::rename(&temporary, path).map_err(at("replace", path))?;
    sync_parent(path)
}

/// Puts on the disk what files the directory of `path` has.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) => sync_directory(directory),
        None => Ok(()),
    }
}

/// Puts on the disk what files the directory has.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory).and_then(|opened| opened.sync_all()).map_err(at("flush", directory))
}

/// Removes a file that may be gone already.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at("remove", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A whole file, or `None` if there is none.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at("read", path)(error)),
    }
}

/// Replaces the file by one line and its checksum.
pub(crate) fn replace_line(path: &Path, entry: &str) -> io::Result<()> {
    replace(path, line(entry).as_bytes())
}

/// What [`replace_line`] wrote. `None` if it is damaged.
pub(crate) fn intact_line(content: &[u8]) -> Option<&str> {
    entry(content.strip_suffix(b"\n")?)
}

/// A file of lines, each with its CRC32C in front. Appending is one `write`, so a crash leaves at most
/// a torn tail, which opening cuts off.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    size_bytes: u64,
    fsync: Fsync,
    /// Behind the last entry there is part of one that was not added.
    torn: bool,
    /// Since when there are entries that are not on the disk, if they are to be.
    unflushed: Option<Instant>,
}

impl Journal {
    /// Opens or creates the journal; gives the entries in the order they were written.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if an entry is damaged and intact ones follow it: that is no
    /// crash's doing, and going on would forget what was acknowledged.
    pub(crate) fn open(path: &Path, fsync: Fsync) -> io::Result<(Self, Vec<String>)> {
        let content = match fs::read(path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let (entries, intact) = intact_entries(&content);
        if content[intact..].split(|byte| *byte == b'\n').skip(1).any(|line| entry(line).is_some()) {
            let message = format!("`{}` is damaged at byte {intact}", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        if intact < content.len() {
            file.set_len(intact as u64)?;
        }
        let size_bytes = intact as u64;
        let journal = Self { path: path.to_owned(), file, size_bytes, fsync, torn: false, unflushed: None };
        Ok((journal, entries))
    }

    /// Adds one entry, which must not contain a line feed. After an error it is not there.
    pub(crate) fn append(&mut self, entry: &str) -> io::Result<()> {
        if self.torn {
            self.cut()?;
        }
        let line = line(entry);
        let mut added = self.file.write_all(line.as_bytes()).map_err(at("write", &self.path));
        if self.fsync == Fsync::EveryAppend {
            added = added.and_then(|()| self.file.sync_data().map_err(at("flush", &self.path)));
        }
        if let Err(error) = added {
            // Part of the line may be there; the next entry must not be glued to it.
            self.torn = true;
            self.cut()?;
            return Err(error);
        }
        self.size_bytes += line.len() as u64;
        match self.fsync {
            Fsync::Every(_) => drop(self.unflushed.get_or_insert_with(Instant::now)),
            Fsync::Never | Fsync::EveryAppend => {}
        }
        Ok(())
    }

    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.size_bytes).map_err(at("shorten", &self.path))?;
        self.torn = false;
        Ok(())
    }

    /// Replaces everything by these entries.
    pub(crate) fn rewrite(&mut self, entries: &[String]) -> io::Result<()> {
        let content: String = entries.iter().map(|entry| line(entry)).collect();
        replace(&self.path, content.as_bytes())?;
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        self.size_bytes = content.len() as u64;
        self.torn = false;
        self.unflushed = None;
        Ok(())
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The file, if its entries have waited for long enough to be flushed; to be flushed without a lock on
    /// the journal. If that fails, only rewriting tells what is on the disk.
    pub(crate) fn begin_flush(&mut self, now: Instant) -> io::Result<Option<File>> {
        let (Fsync::Every(interval), Some(since)) = (self.fsync, self.unflushed) else { return Ok(None) };
        if now.saturating_duration_since(since) < interval {
            return Ok(None);
        }
        let file = self.file.try_clone().map_err(at("flush", &self.path))?;
        self.unflushed = None;
        Ok(Some(file))
    }
}

fn line(entry: &str) -> String {
    format!("{:08x} {entry}\n", crc32c::crc32c(entry.as_bytes()))
}

fn entry(line: &[u8]) -> Option<&str> {
    let line = str::from_utf8(line).ok()?;
    let (checksum, entry) = line.split_once(' ')?;
    (u32::from_str_radix(checksum, 16).ok()? == crc32c::crc32c(entry.as_bytes())).then_some(entry)
}

/// The entries up to the first damaged or unfinished line, and where that line begins.
fn intact_entries(content: &[u8]) -> (Vec<String>, usize) {
    let mut entries = Vec::new();
    let mut intact = 0;
    while let Some(length) = content[intact..].iter().position(|byte| *byte == b'\n') {
        let Some(entry) = entry(&content[intact..intact + length]) else { break };
        entries.push(entry.to_owned());
        intact += length + 1;
    }
    (entries, intact)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn reopened(path: &Path) -> Vec<String> {
        Journal::open(path, Fsync::Never).unwrap().1
    }

    #[test]
    fn entries_come_back_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let (mut journal, _) = Journal::open(&path, Fsync::EveryAppend).unwrap();
        journal.append("one").unwrap();
        journal.append("two").unwrap();
        assert_eq!(reopened(&path), ["one", "two"]);
    }

    #[test]
    fn a_torn_last_line_is_cut_and_the_next_entry_stands() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let whole = format!("{}{}", line("one"), line("two"));
        for length in line("one").len()..whole.len() {
            fs::write(&path, &whole.as_bytes()[..length]).unwrap();
            let (mut journal, entries) = Journal::open(&path, Fsync::EveryAppend).unwrap();
            assert_eq!(entries, ["one"], "torn at {length}");
            journal.append("three").unwrap();
            assert_eq!(reopened(&path), ["one", "three"], "torn at {length}");
        }
    }

    #[test]
    fn damage_before_intact_entries_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let mut content = format!("{}{}", line("one"), line("two")).into_bytes();
        content[10] ^= 1;
        fs::write(&path, content).unwrap();
        assert_eq!(Journal::open(&path, Fsync::EveryAppend).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn what_has_waited_for_the_interval_is_flushed_once() {
        let directory = tempfile::tempdir().unwrap();
        let interval = Duration::from_secs(1);
        let flushed = |fsync, waited| {
            let (mut journal, _) = Journal::open(&directory.path().join("journal"), fsync).unwrap();
            let mut due = |at| journal.begin_flush(at).unwrap().is_some();
            assert!(!due(Instant::now() + waited), "nothing was added");
            journal.append("one").unwrap();
            let later = Instant::now() + waited;
            [later, later].map(|at| journal.begin_flush(at).unwrap().is_some())
        };
        assert_eq!(flushed(Fsync::Every(interval), interval), [true, false]);
        assert_eq!(flushed(Fsync::Every(interval), interval / 2), [false, false]);
        assert_eq!(flushed(Fsync::Never, interval), [false, false]);
        assert_eq!(flushed(Fsync::EveryAppend, interval), [false, false]);
    }

    #[test]
    fn a_rewritten_journal_has_only_the_new_entries() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let (mut journal, _) = Journal::open(&path, Fsync::EveryAppend).unwrap();
        journal.append("one").unwrap();
        journal.rewrite(&["two".to_owned()]).unwrap();
        journal.append("three").unwrap();
        assert_eq!(reopened(&path), ["two", "three"]);
    }
}
