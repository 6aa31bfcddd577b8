//! The data folder: what lies where, and who may use it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

/// `SYSTEM_DATABASE`'s folder is named by its UUID; any fixed one will do.
const SYSTEM_DATABASE: &str = "7d1f0c5a-0000-4000-8000-000000000001";

/// How much of a log's end is read to be quoted.
const LOG_TAIL_BYTES: u64 = 16 << 10;

/// The data folder of one engine.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Makes the folder and its parts, private to the owner where they are new.
    pub(crate) fn create(root: &Path) -> io::Result<Self> {
        let folder = Self { root: std::path::absolute(root)? };
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        for part in [folder.root.clone(), folder.clickhouse(), folder.config(), folder.log()] {
            builder.create(part)?;
        }
        folder.seed_system_database()?;
        Ok(folder)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What ClickHouse itself keeps.
    pub(crate) fn clickhouse(&self) -> PathBuf {
        self.root.join("clickhouse")
    }

    /// The generated configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.root.join("config")
    }

    fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(crate) fn credentials(&self) -> PathBuf {
        self.root.join("credentials.json")
    }

    /// A local server keeps `system` in memory, and its log tables then cannot be made again after a
    /// restart: their folders are there already. Stated as an Atomic database before the first start, it
    /// is kept like any other. An existing `metadata` also starts the catalogue's background tasks.
    fn seed_system_database(&self) -> io::Result<()> {
        let metadata = self.clickhouse().join("metadata");
        fs::create_dir_all(&metadata)?;
        let statement = metadata.join("system.sql");
        if statement.exists() || self.clickhouse().join("data/system").exists() {
            return Ok(());
        }
        let store = format!("store/{}/{SYSTEM_DATABASE}", &SYSTEM_DATABASE[..3]);
        fs::create_dir_all(self.clickhouse().join(&store))?;
        match symlink(Path::new("..").join(&store), metadata.join("system")) {
            // A start was interrupted between the link and the statement.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        fs::write(statement, format!("ATTACH DATABASE _ UUID '{SYSTEM_DATABASE}'\nENGINE = Atomic\n"))
    }

    /// Takes the folder for this supervisor until the file is closed. `None` if another has it.
    pub(crate) fn lock(&self) -> io::Result<Option<File>> {
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).open(self.root.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether a ClickHouse runs on the folder: it holds a lock on its `status` file.
    pub(crate) fn engine_runs(&self) -> io::Result<bool> {
        let file = match File::open(self.clickhouse().join("status")) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// A fresh file for the engine's error output; the one of the start before is kept beside it.
    pub(crate) fn new_error_output(&self) -> io::Result<File> {
        let path = self.error_output();
        match fs::rename(&path, self.log().join("stderr.log.1")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        File::create(path)
    }

    fn error_output(&self) -> PathBuf {
        self.log().join("stderr.log")
    }

    /// How long the server's log is; what it says of one start stands behind that.
    pub(crate) fn log_bytes(&self) -> u64 {
        fs::metadata(self.log().join("engine.log")).map_or(0, |meta| meta.len())
    }

    /// The last lines of this start: of the error output, else the errors of the server's log.
    pub(crate) fn last_words(&self, log_from: u64) -> String {
        let told = last_lines(&tail(&self.error_output(), 0).unwrap_or_default(), |_| true);
        if !told.is_empty() {
            return told;
        }
        let log = tail(&self.log().join("engine.log"), log_from).unwrap_or_default();
        last_lines(&log, |line| line.contains("<Error>") || line.contains("<Fatal>"))
    }
}

/// The end of a file, from `from` on and at most [`LOG_TAIL_BYTES`].
fn tail(path: &Path, from: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(from.min(end).max(end.saturating_sub(LOG_TAIL_BYTES))))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// At most ten lines, each cut at 400 characters.
fn last_lines(text: &str, wanted: impl Fn(&str) -> bool) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty() && wanted(line)).collect();
    let last = &lines[lines.len().saturating_sub(10)..];
    last.iter().map(|line| line.chars().take(400).collect::<String>()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_supervisor_at_a_time_has_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::create(root.path()).unwrap();
        let held = folder.lock().unwrap();
        assert!(held.is_some());
        assert!(folder.lock().unwrap().is_none());
        drop(held);
        assert!(folder.lock().unwrap().is_some());
    }

    #[test]
    fn a_folder_whose_creation_was_interrupted_is_completed() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::create(root.path()).unwrap();
        let statement = folder.clickhouse().join("metadata/system.sql");
        fs::remove_file(&statement).unwrap();
        Folder::create(root.path()).unwrap();
        assert!(statement.exists());
        assert!(folder.clickhouse().join("metadata/system").is_dir());
    }

    #[test]
    fn last_words_are_few_and_short() {
        let text = (0..50).map(|n| format!("{n} {}\n", "x".repeat(1000))).collect::<String>();
        let words = last_lines(&text, |_| true);
        assert_eq!(words.lines().count(), 10);
        assert!(words.starts_with("40 ") && words.len() < 5000);
    }
}
