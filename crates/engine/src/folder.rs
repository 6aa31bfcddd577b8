//! The data folder: what lies where, and who may use it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use crate::credentials::write_private;
use crate::release::Release;

/// `SYSTEM_DATABASE`'s folder is named by its UUID; any fixed one will do.
const SYSTEM_DATABASE: &str = "7d1f0c5a-0000-4000-8000-000000000001";

/// How much of a log's end is read to be quoted.
const LOG_TAIL_BYTES: u64 = 16 << 10;

/// How long the file of the engine's error output may become, in bytes; the server's own log is bounded
/// by the server.
const ERROR_OUTPUT_MAX_BYTES: u64 = 4 << 20;

/// What lies where in a data folder.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    root: PathBuf,
}

impl Parts {
    pub(crate) fn of(root: &Path) -> Self {
        Self { root: root.to_owned() }
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

    /// The server's own log.
    pub(crate) fn server_log(&self) -> PathBuf {
        self.log().join("engine.log")
    }

    /// Where `BACKUP ... TO File('name')` puts things.
    pub(crate) fn backups(&self) -> PathBuf {
        self.root.join("backups")
    }

    /// What the engine's process may change.
    pub(crate) fn own(&self) -> [PathBuf; 3] {
        [self.clickhouse(), self.log(), self.backups()]
    }

    /// The passwords; the engine's process cannot read them.
    pub(crate) fn credentials(&self) -> PathBuf {
        self.root.join("credentials.json")
    }

    /// Which release of ClickHouse ran last.
    pub(crate) fn release(&self) -> PathBuf {
        self.root.join("release")
    }

    /// The release that ran last; `None` in a new folder.
    pub(crate) fn last_release(&self) -> io::Result<Option<Release>> {
        let text = match fs::read_to_string(self.release()) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Release::find(&text))
    }
}

/// The data folder of one engine.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    root: PathBuf,
    parts: Parts,
}

impl Folder {
    /// Makes the folder and its parts, private to the owner where they are new.
    pub(crate) fn create(root: &Path) -> io::Result<Self> {
        let root = std::path::absolute(root)?;
        let parts = Parts::of(&root);
        let folder = Self { root, parts };
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        for part in [folder.root.clone(), folder.parts.config()].into_iter().chain(folder.parts.own()) {
            builder.create(part)?;
        }
        // The engine's process may read this file, and a rule for a file needs the file.
        OpenOptions::new().create(true).append(true).open(folder.parts.release())?;
        folder.seed_system_database()?;
        Ok(folder)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) const fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Keeps which release runs on the folder.
    pub(crate) fn keep_release(&self, release: Release) -> io::Result<()> {
        if self.parts.last_release()? == Some(release) {
            return Ok(());
        }
        write_private(&self.parts.release(), format!("{release}\n").as_bytes())
    }

    /// A local server keeps `system` in memory, and its log tables then cannot be made again after a
    /// restart: their folders are there already. Stated as an Atomic database before the first start, it
    /// is kept like any other. An existing `metadata` also starts the catalogue's background tasks.
    fn seed_system_database(&self) -> io::Result<()> {
        let metadata = self.parts.clickhouse().join("metadata");
        fs::create_dir_all(&metadata)?;
        let statement = metadata.join("system.sql");
        if statement.exists() || self.parts.clickhouse().join("data/system").exists() {
            return Ok(());
        }
        let store = format!("store/{}/{SYSTEM_DATABASE}", &SYSTEM_DATABASE[..3]);
        fs::create_dir_all(self.parts.clickhouse().join(&store))?;
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
        let file = match File::open(self.parts.clickhouse().join("status")) {
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
        match fs::rename(&path, self.parts.log().join("stderr.log.1")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Appending, so that what bounds it may shorten it while it is written.
        OpenOptions::new().create(true).append(true).open(path)
    }

    /// Empties the error output if it has become too long. A healthy engine writes a line or two there.
    pub(crate) fn bound_error_output(&self) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.error_output())?;
        if file.metadata()?.len() > ERROR_OUTPUT_MAX_BYTES { file.set_len(0) } else { Ok(()) }
    }

    fn error_output(&self) -> PathBuf {
        self.parts.log().join("stderr.log")
    }

    /// How long the server's log is; what it says of one start stands behind that.
    pub(crate) fn log_bytes(&self) -> u64 {
        fs::metadata(self.parts.server_log()).map_or(0, |meta| meta.len())
    }

    /// The last lines of this start: of the error output, else the errors of the server's log.
    pub(crate) fn last_words(&self, log_from: u64) -> String {
        let output = tail(&self.error_output(), 0).unwrap_or_default();
        let told = last_lines(&output, |line| !stack_frame(line));
        if !told.is_empty() {
            return told;
        }
        let log = tail(&self.parts.server_log(), log_from).unwrap_or_default();
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

/// `12. ? @ 0x000000000f10040b`: of no use to whoever has no symbols.
fn stack_frame(line: &str) -> bool {
    line.split_once(". ").is_some_and(|(number, frame)| {
        frame.contains(" @ 0x") && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// At most ten lines, each cut at 400 characters.
fn last_lines(text: &str, wanted: impl Fn(&str) -> bool) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty() && wanted(line)).collect();
    let last = &lines[lines.len().saturating_sub(10)..];
    last.iter().map(|line| line.chars().take(400).collect::<String>()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

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
        let statement = folder.parts.clickhouse().join("metadata/system.sql");
        fs::remove_file(&statement).unwrap();
        Folder::create(root.path()).unwrap();
        assert!(statement.exists());
        assert!(folder.parts.clickhouse().join("metadata/system").is_dir());
    }

    #[test]
    fn the_error_output_is_bounded_while_it_is_written() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::create(root.path()).unwrap();
        let mut output = folder.new_error_output().unwrap();
        output.write_all(b"kept\n").unwrap();
        folder.bound_error_output().unwrap();
        assert_eq!(folder.last_words(0), "kept");
        output.write_all(&vec![b'x'; 5 << 20]).unwrap();
        folder.bound_error_output().unwrap();
        output.write_all(b"after\n").unwrap();
        assert_eq!(fs::read_to_string(folder.error_output()).unwrap(), "after\n");
    }

    #[test]
    fn last_words_are_no_stack_trace() {
        let text =
            "engine: Access to file denied: x\n\n0. ? @ 0x000000001c900e72\n28. start_thread @ 0x0089\n";
        assert_eq!(last_lines(text, |line| !stack_frame(line)), "engine: Access to file denied: x");
    }

    #[test]
    fn last_words_are_few_and_short() {
        let text = (0..50).map(|n| format!("{n} {}\n", "x".repeat(1000))).collect::<String>();
        let words = last_lines(&text, |_| true);
        assert_eq!(words.lines().count(), 10);
        assert!(words.starts_with("40 ") && words.len() < 5000);
    }
}
