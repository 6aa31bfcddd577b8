//! The passwords of the engine's users: random, made once, kept in the data folder with mode 0600.

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A user and its password. `Debug` does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub user: String,
    password: String,
}

impl Credentials {
    /// The password. It belongs in a request header and nowhere else.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The passwords cannot be read or made.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// The file cannot be read or written.
    #[error("engine credentials `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file holds something else.
    #[error("engine credentials `{}` are not the JSON that Tidegate writes; if the file is removed, new passwords are made", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The system gives no random bytes.
    #[error("random bytes from /dev/urandom")]
    Random(#[source] io::Error),
}

/// What the file holds.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Passwords {
    pipeline: String,
    bi: String,
}

impl Passwords {
    /// Reads `file`, or makes new passwords and writes it.
    pub(crate) fn load_or_make(file: &Path) -> Result<Self, CredentialsError> {
        let failed = |source| CredentialsError::File { path: file.to_owned(), source };
        match fs::read(file) {
            Ok(text) => serde_json::from_slice::<Self>(&text)
                .ok()
                .filter(Self::usable)
                .ok_or_else(|| CredentialsError::Foreign { path: file.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = Self { pipeline: random_hex()?, bi: random_hex()? };
                let text = serde_json::to_vec_pretty(&made).expect("two strings are JSON");
                write_private(file, &text).map_err(failed)?;
                Ok(made)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// They go into an HTTP header and into XML; only what this crate makes is let in.
    fn usable(&self) -> bool {
        let hex = |text: &str| text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex(&self.pipeline) && hex(&self.bi)
    }

    pub(crate) fn pipeline(&self, user: &str) -> Credentials {
        Credentials { user: user.to_owned(), password: self.pipeline.clone() }
    }

    pub(crate) fn bi(&self, user: &str) -> Credentials {
        Credentials { user: user.to_owned(), password: self.bi.clone() }
    }
}

/// 48 hex digits, 192 bits.
pub(crate) fn random_hex() -> Result<String, CredentialsError> {
    let mut bytes = [0; 24];
    let read = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(CredentialsError::Random)?;
    Ok(hex(&bytes))
}

/// Two digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes `text` so that only the owner can ever read it, and so that a crash leaves the old file or
/// the new one.
pub(crate) fn write_private(file: &Path, text: &[u8]) -> io::Result<()> {
    let draft = file.with_extension("draft");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut open = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    open.write_all(text)?;
    open.sync_all()?;
    fs::rename(&draft, file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn passwords_are_made_once_and_kept_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials.json");
        let made = Passwords::load_or_make(&file).unwrap();
        let read = Passwords::load_or_make(&file).unwrap();
        assert_eq!(made.pipeline("p"), read.pipeline("p"));
        assert_ne!(made.pipeline("p").password(), made.bi("p").password());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_foreign_file_is_refused_rather_than_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials.json");
        for text in ["", "{}", r#"{"pipeline":"a","bi":"b"}"#, r#"{"pipeline":"</x>","bi":"b\r\n"}"#] {
            fs::write(&file, text).unwrap();
            assert!(
                matches!(Passwords::load_or_make(&file), Err(CredentialsError::Foreign { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn a_password_does_not_show_in_debug_output() {
        let shown = Credentials { user: "u".into(), password: "hush".into() };
        assert!(!format!("{shown:?}").contains("hush"));
    }
}
