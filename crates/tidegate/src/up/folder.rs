//! The data folder of `tidegate up`: who may use it, which format it has, whether it can be written.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use serde::{Deserialize, Serialize};

/// The format of the folder as this build writes it. A build refuses a folder of a higher one.
const FORMAT: u32 = 1;

/// Below this a start is refused: both engines would stop at their first files.
const FREE_BYTES_MIN: u64 = 64 << 20;

/// What the folder says of itself.
#[derive(Serialize, Deserialize)]
struct Stamp {
    format: u32,
    written_by: String,
}

/// Where a running `tidegate up` can be asked; kept in the folder while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Its process.
    pub pid: u32,
    /// `host:port` of its own interface, for this machine.
    pub api: String,
}

/// A data folder that this process has for itself.
pub struct DataFolder {
    path: PathBuf,
    fresh_clickhouse: bool,
    // Held, not read: the folder is ours for as long as this lives.
    _lock: File,
}

impl DataFolder {
    /// Makes the folder if it is missing, takes it, and checks that it can be used.
    ///
    /// # Errors
    /// When another process uses it, a newer build wrote it, it cannot be written, or its disk is full.
    pub fn take(path: &Path) -> anyhow::Result<Self> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let taken = Self::lock(&path).map_err(|error| match error.downcast::<io::Error>() {
            Ok(source) => unusable(&path, &source),
            Err(told) => told,
        })?;
        let free =
            free_bytes(&path).with_context(|| format!("ask for the free space of `{}`", path.display()))?;
        if free < FREE_BYTES_MIN {
            bail!(
                "the disk of data folder `{}` has {} MiB left, and {} are needed to start\n\
                 hint: free some space, or name a folder on another disk with --data-dir",
                path.display(),
                free >> 20,
                FREE_BYTES_MIN >> 20,
            );
        }
        Ok(taken)
    }

    fn lock(path: &Path) -> anyhow::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let mut options = OpenOptions::new();
        let mut lock = options
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(path, &mut lock)),
            Err(TryLockError::Error(source)) => return Err(source.into()),
        }
        lock.set_len(0)?;
        lock.rewind()?;
        write!(lock, "{}", std::process::id())?;
        check_stamp(path)?;
        let fresh_clickhouse = !path.join("clickhouse/credentials.json").exists();
        let folder = Self { path: path.to_owned(), fresh_clickhouse, _lock: lock };
        folder.forget();
        Ok(folder)
    }

    /// Where it is, from the root.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether ClickHouse has never been started on it.
    #[must_use]
    pub const fn fresh_clickhouse(&self) -> bool {
        self.fresh_clickhouse
    }

    /// Says in the folder where this process can be asked.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn remember(&self, contact: &Contact) -> anyhow::Result<()> {
        let text = serde_json::to_vec(contact)?;
        write_private(&self.path.join(CONTACT), &text).context("write down where tidegate can be asked")
    }

    fn forget(&self) {
        // Its absence is what is wanted; what remains says only where nobody answers any more.
        let _ = fs::remove_file(self.path.join(CONTACT));
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        self.forget();
    }
}

const CONTACT: &str = "running.json";

impl Contact {
    /// The process that runs on a folder.
    ///
    /// # Errors
    /// When none does.
    pub fn on(path: &Path) -> anyhow::Result<Self> {
        let nothing =
            || anyhow!("nothing runs on data folder `{0}`\nhint: tidegate up --data-dir {0}", path.display());
        let lock = File::open(path.join("lock")).map_err(|_| nothing())?;
        if lock.try_lock_shared().is_ok() {
            return Err(nothing());
        }
        let file = path.join(CONTACT);
        let text = fs::read(&file).map_err(|error| match error.kind() {
            ErrorKind::NotFound => anyhow!("`tidegate up` on `{}` is still starting", path.display()),
            _ => anyhow::Error::new(error).context(format!("read `{}`", file.display())),
        })?;
        serde_json::from_slice(&text).with_context(|| format!("read `{}`", file.display()))
    }
}

fn in_use(path: &Path, lock: &mut File) -> anyhow::Error {
    let mut pid = String::new();
    let known = lock.take(20).read_to_string(&mut pid).is_ok() && pid.parse::<u32>().is_ok();
    let by = if known { format!("another tidegate, process {pid}") } else { "another tidegate".to_owned() };
    anyhow!(
        "data folder `{}` is in use by {by}\nhint: stop that one first, or name another folder with --data-dir",
        path.display()
    )
}

/// What the system says against the folder, with what to do.
fn unusable(path: &Path, source: &io::Error) -> anyhow::Error {
    let hint = match source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "make it writable for this user, or name another folder with --data-dir"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free some space, or name a folder on another disk with --data-dir"
        }
        _ => "name another folder with --data-dir",
    };
    anyhow!("data folder `{}` cannot be used: {source}\nhint: {hint}", path.display())
}

fn check_stamp(path: &Path) -> anyhow::Result<()> {
    let file = path.join("tidegate.json");
    let ours = env!("CARGO_PKG_VERSION");
    match fs::read(&file) {
        Ok(text) => {
            let stamp: Stamp = serde_json::from_slice(&text).map_err(|error| {
                anyhow!(
                    "`{}` is not what Tidegate writes there: {error}\nhint: name another folder with --data-dir",
                    file.display()
                )
            })?;
            if stamp.format > FORMAT {
                bail!(
                    "data folder `{}` has format {} of Tidegate {}; this is Tidegate {ours}, which knows {FORMAT}\n\
                     hint: use Tidegate {} or newer, or name another folder with --data-dir",
                    path.display(),
                    stamp.format,
                    stamp.written_by,
                    stamp.written_by,
                );
            }
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let stamp = Stamp { format: FORMAT, written_by: ours.to_owned() };
            Ok(write_private(&file, &serde_json::to_vec(&stamp)?)?)
        }
        Err(error) => Err(error.into()),
    }
}

/// What the disk of a folder has left for this user, in bytes.
///
/// # Errors
/// When the system does not say.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Writes a file that only its owner can read; a crash leaves the old one or the new one.
///
/// # Errors
/// What the system says.
pub fn write_private(file: &Path, text: &[u8]) -> io::Result<()> {
    let draft = file.with_extension("draft");
    let mut open = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
    open.write_all(text)?;
    open.sync_all()?;
    fs::rename(&draft, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &Path) -> String {
        DataFolder::take(path).err().map(|error| format!("{error:#}")).unwrap_or_default()
    }

    #[test]
    fn a_folder_has_one_user_at_a_time_who_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let held = DataFolder::take(folder.path()).unwrap();
        let told = told(folder.path());
        assert!(told.contains(&format!("process {}", std::process::id())), "{told}");
        drop(held);
        assert!(DataFolder::take(folder.path()).is_ok());
    }

    #[test]
    fn a_folder_of_a_newer_build_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let stamp = r#"{"format":2,"written_by":"9.9.0","more":true}"#;
        fs::write(folder.path().join("tidegate.json"), stamp).unwrap();
        let told = told(folder.path());
        assert!(told.contains("hint: use Tidegate 9.9.0 or newer"), "{told}");
        assert_eq!(fs::read_to_string(folder.path().join("tidegate.json")).unwrap(), stamp);
    }

    #[test]
    fn a_file_in_the_folders_place_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let told = told(file.path());
        assert!(told.contains("cannot be used") && told.contains("hint: "), "{told}");
    }

    #[test]
    fn what_runs_is_found_by_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Contact::on(folder.path()).is_err());
        let held = DataFolder::take(folder.path()).unwrap();
        assert!(Contact::on(folder.path()).unwrap_err().to_string().contains("still starting"));
        let running = Contact { pid: 1, api: "127.0.0.1:1".to_owned() };
        held.remember(&running).unwrap();
        assert_eq!(Contact::on(folder.path()).unwrap(), running);
        drop(held);
        assert!(Contact::on(folder.path()).unwrap_err().to_string().contains("nothing runs"));
    }
}
