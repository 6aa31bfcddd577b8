//! Who may connect: names, and of each password only what SCRAM needs to check it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use openssl::base64;
use openssl::error::ErrorStack;
use openssl::rand::rand_bytes;
use serde::{Deserialize, Serialize};

use crate::scram::{Hash, Key};
use crate::sync::lock;

/// Kafka's default, and what every client accepts. It slows down who guesses at a stolen file; generated
/// passwords need no slowing down.
const ITERATIONS: usize = 4_096;
const SALT_BYTES: usize = 16;
const NAME_BYTES_MAX: usize = 256;
const PASSWORD_BYTES_MAX: usize = 1_024;

/// Why users were not read, or one not set.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The name cannot be a user's.
    #[error(
        "user name `{name}` cannot be used; expected 1 to {NAME_BYTES_MAX} bytes without control characters"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The password cannot be one. It is not shown.
    #[error(
        "the password of user `{name}` cannot be used; expected 1 to {PASSWORD_BYTES_MAX} bytes without a zero byte"
    )]
    Password {
        /// The user's name.
        name: String,
    },
    /// The file was not read or written.
    #[error("use `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// OpenSSL gave no random bytes, or no hash.
    #[error("derive keys from a password")]
    Crypto(#[from] ErrorStack),
}

/// A key as the file has it: bytes in base64.
#[derive(Serialize, Deserialize)]
struct StoredKey {
    salt: String,
    iterations: usize,
    stored_key: String,
    server_key: String,
}

#[derive(Serialize, Deserialize)]
struct StoredUser {
    #[serde(rename = "scram-sha-256")]
    sha256: StoredKey,
    #[serde(rename = "scram-sha-512")]
    sha512: StoredKey,
}

impl From<&Key> for StoredKey {
    fn from(key: &Key) -> Self {
        Self {
            salt: base64::encode_block(&key.salt),
            iterations: key.iterations,
            stored_key: base64::encode_block(&key.stored),
            server_key: base64::encode_block(&key.server),
        }
    }
}

impl TryFrom<StoredKey> for Key {
    type Error = ErrorStack;

    fn try_from(key: StoredKey) -> Result<Self, ErrorStack> {
        Ok(Self {
            salt: base64::decode_block(&key.salt)?,
            iterations: key.iterations.max(1),
            stored: base64::decode_block(&key.stored_key)?,
            server: base64::decode_block(&key.server_key)?,
        })
    }
}

#[derive(Debug, Clone)]
struct Keys {
    sha256: Key,
    sha512: Key,
}

struct Shared {
    /// `None`: in memory alone.
    path: Option<PathBuf>,
    by_name: Mutex<BTreeMap<String, Keys>>,
    /// Salts the names that are not known, so that they look like known ones.
    secret: [u8; 32],
}

/// The users of a broker: a handle, whose clones are the same users. May be changed while the broker runs;
/// connections that are authenticated stay so.
#[derive(Clone)]
pub struct Users {
    shared: Arc<Shared>,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("names", &self.names()).finish_non_exhaustive()
    }
}

impl Default for Users {
    /// No users, and those that are set are forgotten when the process ends.
    fn default() -> Self {
        Self::new(None, BTreeMap::new())
    }
}

fn random<const N: usize>() -> Result<[u8; N], ErrorStack> {
    let mut bytes = [0; N];
    rand_bytes(&mut bytes)?;
    Ok(bytes)
}

impl Users {
    fn new(path: Option<PathBuf>, by_name: BTreeMap<String, Keys>) -> Self {
        // Without random bytes nobody is let in anyway: a challenge needs them.
        let secret = random().unwrap_or_default();
        Self { shared: Arc::new(Shared { path, by_name: Mutex::new(by_name), secret }) }
    }

    /// The users that a file holds; none if there is no file yet. No password can be read back from it, but
    /// who has it can pose as the broker and try passwords: it is readable by its owner alone.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn open(path: &Path) -> Result<Self, UsersError> {
        let file = |source| UsersError::File { path: path.to_owned(), source };
        let stored: BTreeMap<String, StoredUser> = match fs::read(path) {
            Ok(content) => serde_json::from_slice(&content).map_err(|error| file(error.into()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(file(error)),
        };
        let mut by_name = BTreeMap::new();
        for (name, user) in stored {
            by_name.insert(name, Keys { sha256: user.sha256.try_into()?, sha512: user.sha512.try_into()? });
        }
        Ok(Self::new(Some(path.to_owned()), by_name))
    }

    /// The names, sorted.
    pub fn names(&self) -> Vec<String> {
        lock(&self.shared.by_name).keys().cloned().collect()
    }

    /// Adds a user, or changes the password of one; durable when this returns.
    ///
    /// # Errors
    /// See [`UsersError`]; nothing has changed then.
    pub fn set(&self, name: &str, password: &str) -> Result<(), UsersError> {
        let length = 1..=NAME_BYTES_MAX;
        if !length.contains(&name.len()) || name.chars().any(char::is_control) {
            return Err(UsersError::Name { name: name.chars().take(NAME_BYTES_MAX).collect() });
        }
        if !(1..=PASSWORD_BYTES_MAX).contains(&password.len()) || password.contains('\0') {
            return Err(UsersError::Password { name: name.to_owned() });
        }
        let derive = |kind| {
            let salt = random::<SALT_BYTES>()?.to_vec();
            Key::derive(kind, password.as_bytes(), salt, ITERATIONS)
        };
        let keys = Keys { sha256: derive(Hash::Sha256)?, sha512: derive(Hash::Sha512)? };
        self.change(|by_name| by_name.insert(name.to_owned(), keys)).map(|_| ())
    }

    /// Removes a user; says whether there was one.
    ///
    /// # Errors
    /// When the file cannot be written; nothing has changed then.
    pub fn remove(&self, name: &str) -> Result<bool, UsersError> {
        self.change(|by_name| by_name.remove(name)).map(|removed| removed.is_some())
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<String, Keys>) -> T) -> Result<T, UsersError> {
        let mut by_name = lock(&self.shared.by_name);
        let mut changed = by_name.clone();
        let result = change(&mut changed);
        if let Some(path) = &self.shared.path {
            save(path, &changed).map_err(|source| UsersError::File { path: path.clone(), source })?;
        }
        *by_name = changed;
        Ok(result)
    }

    /// A user's key; for a name that is not known one that no password fits, the same each time.
    pub(crate) fn key(&self, name: &str, kind: Hash) -> Result<Key, ErrorStack> {
        let known = lock(&self.shared.by_name).get(name).map(|keys| match kind {
            Hash::Sha256 => keys.sha256.clone(),
            Hash::Sha512 => keys.sha512.clone(),
        });
        if let Some(key) = known {
            return Ok(key);
        }
        let salt = kind.hmac(&self.shared.secret, name.as_bytes())?;
        let unknowable = kind.hmac(&self.shared.secret, &salt)?;
        let salt = salt[..SALT_BYTES].to_vec();
        Ok(Key { salt, iterations: ITERATIONS, stored: unknowable.clone(), server: unknowable })
    }

    /// Whether the password is the user's. Takes as long for an unknown name.
    pub(crate) fn admit(&self, name: &[u8], password: &[u8]) -> Result<bool, ErrorStack> {
        let name = str::from_utf8(name).unwrap_or_default();
        self.key(name, Hash::Sha256)?.of_password(Hash::Sha256, password)
    }
}

/// Replaces the file: whatever moment the process dies at, it is the old or the new one, whole.
fn save(path: &Path, by_name: &BTreeMap<String, Keys>) -> io::Result<()> {
    let stored = |keys: &Keys| StoredUser { sha256: (&keys.sha256).into(), sha512: (&keys.sha512).into() };
    let users: BTreeMap<&String, StoredUser> =
        by_name.iter().map(|(name, keys)| (name, stored(keys))).collect();
    let content = serde_json::to_vec_pretty(&users)?;
    let temporary = path.with_extension("tmp");
    // One that a crash left may have other permissions.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(&content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_come_back_and_their_passwords_are_nowhere() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.json");
        let users = Users::open(&path).unwrap();
        users.set("alice", "wonderland").unwrap();
        users.set("bob", "builder").unwrap();
        assert!(users.remove("bob").unwrap() && !users.remove("bob").unwrap());
        let again = Users::open(&path).unwrap();
        assert_eq!(again.names(), ["alice"]);
        assert!(again.admit(b"alice", b"wonderland").unwrap());
        assert!(!again.admit(b"alice", b"wonderlan").unwrap());
        assert!(!again.admit(b"bob", b"builder").unwrap());
        let content = fs::read_to_string(&path).unwrap();
        assert!(!content.contains("wonderland"), "{content}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_unknown_name_looks_like_a_known_one() {
        let users = Users::default();
        users.set("alice", "wonderland").unwrap();
        let known = users.key("alice", Hash::Sha512).unwrap();
        let unknown = users.key("mallory", Hash::Sha512).unwrap();
        assert_eq!(unknown, users.key("mallory", Hash::Sha512).unwrap());
        assert_eq!((known.salt.len(), known.iterations), (unknown.salt.len(), unknown.iterations));
        assert_eq!(known.stored.len(), unknown.stored.len());
    }

    #[test]
    fn names_and_passwords_that_no_client_can_send_are_refused() {
        let users = Users::default();
        assert!(matches!(users.set("", "x"), Err(UsersError::Name { .. })));
        assert!(matches!(users.set("a\0b", "x"), Err(UsersError::Name { .. })));
        let refused = users.set("a", "hunter2\0").unwrap_err();
        assert!(!refused.to_string().contains("hunter2"));
        assert!(users.names().is_empty());
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.json");
        fs::write(&path, "{\"alice\":").unwrap();
        assert!(matches!(Users::open(&path), Err(UsersError::File { .. })));
    }
}
