//! Who may reach the single machine's stack: the rule of what may listen where, and the passwords.

use std::fmt;
use std::fs;
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tidegate_broker::Tls;

use super::folder::write_private;
use crate::cli::{Up, WrongUse};

/// From where the stack can be reached.
#[derive(Clone)]
pub enum Access {
    /// From this machine.
    Machine,
    /// From elsewhere too, with a password.
    Network(Network),
}

/// How the stack can be reached from elsewhere.
#[derive(Clone)]
pub struct Network {
    /// The address to listen on.
    pub address: IpAddr,
    /// The certificate; without one, passwords and data cross the network for all to read.
    pub tls: Option<Tls>,
}

impl Access {
    /// What the flags ask for, if the rule lets it: an address that others can reach needs a certificate,
    /// or the statement that none is wanted.
    ///
    /// # Errors
    /// When the rule does not let it, or the certificate cannot be used.
    pub fn of(flags: &Up) -> anyhow::Result<Self> {
        if flags.listen.is_loopback() {
            if flags.listen != IpAddr::V4(Ipv4Addr::LOCALHOST) || flags.tls_cert.is_some() || flags.insecure {
                bail!(WrongUse(
                    "--tls-cert, --tls-key and --insecure are for an address that other machines can reach\n\
                     hint: name one with --listen, such as --listen 0.0.0.0; without it all listen on 127.0.0.1"
                        .to_owned()
                ));
            }
            return Ok(Self::Machine);
        }
        let tls = match (&flags.tls_cert, &flags.tls_key) {
            (Some(certificate), Some(key)) => {
                Some(Tls::from_files(certificate, key).context("use --tls-cert and --tls-key")?)
            }
            _ if flags.insecure => None,
            _ => bail!(WrongUse(format!(
                "--listen {} can be reached by other machines, so it needs a certificate\n\
                 hint: give --tls-cert FILE and --tls-key FILE, or say --insecure if the network may read \
                 everything, passwords too",
                flags.listen
            ))),
        };
        Ok(Self::Network(Network { address: flags.listen, tls }))
    }

    /// Where a listener that users see is to be.
    #[must_use]
    pub fn at(&self, port: u16) -> SocketAddr {
        match self {
            Self::Machine => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            Self::Network(network) => SocketAddr::new(network.address, port),
        }
    }

    /// `http`, or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        match self {
            Self::Network(Network { tls: Some(_), .. }) => "https",
            Self::Network(Network { tls: None, .. }) | Self::Machine => "http",
        }
    }
}

/// The user of Kafka.
pub const KAFKA_USER: &str = "tidegate";

/// What clients from elsewhere need for Kafka and for Tidegate's own interface; ClickHouse keeps its own.
/// `Debug` shows none of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passwords {
    /// The password of [`KAFKA_USER`].
    pub kafka: String,
    /// The bearer token of Tidegate's own interface.
    pub api_token: String,
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}

impl Passwords {
    /// The file, in a data folder.
    pub const FILE: &str = "passwords.json";

    /// Reads the folder's file, or makes new ones; `true` says that they are new, so nobody knows them.
    ///
    /// # Errors
    /// When the file cannot be read or written, or is not what Tidegate writes.
    pub fn load_or_make(folder: &Path) -> anyhow::Result<(Self, bool)> {
        let file = folder.join(Self::FILE);
        match Self::read(folder)? {
            Some(known) => Ok((known, false)),
            None => {
                let made = Self { kafka: random()?, api_token: random()? };
                write_private(&file, &serde_json::to_vec_pretty(&made)?)
                    .with_context(|| format!("write `{}`", file.display()))?;
                Ok((made, true))
            }
        }
    }

    /// Reads the folder's file; `None` if there is none.
    ///
    /// # Errors
    /// When the file cannot be read, or is not what Tidegate writes.
    pub fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let file = folder.join(Self::FILE);
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("read `{}`", file.display())),
        };
        let known = serde_json::from_slice(&text).with_context(|| {
            format!(
                "`{}` is not what Tidegate writes; if it is removed, new passwords are made",
                file.display()
            )
        })?;
        Ok(Some(known))
    }
}

/// 48 hex digits, 192 bits.
fn random() -> anyhow::Result<String> {
    let mut bytes = [0; 24];
    let read = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.context("read random bytes from /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn access(line: &str) -> anyhow::Result<Access> {
        let line = format!("tidegate up --data-dir d {line}");
        match Cli::try_parse_from(line.split_whitespace())?.command {
            Command::Up(flags) => Access::of(&flags),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn refused(line: &str, with: &str) {
        let told = access(line).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(told.contains(with), "{line}: {told}");
    }

    #[test]
    fn what_others_can_reach_needs_tls_or_a_word() {
        assert!(matches!(access(""), Ok(Access::Machine)));
        assert!(matches!(access("--listen 127.0.0.1"), Ok(Access::Machine)));
        for address in ["0.0.0.0", "::", "192.0.2.1"] {
            refused(&format!("--listen {address}"), "needs a certificate");
        }
        assert!(matches!(
            access("--listen 0.0.0.0 --insecure"),
            Ok(Access::Network(Network { tls: None, .. }))
        ));
        refused("--insecure", "--listen");
        refused("--listen 0.0.0.0 --tls-cert c --tls-key k --insecure", "cannot be used with");
        refused("--listen 0.0.0.0 --tls-cert c", "--tls-key");
        refused("--listen 0.0.0.0 --tls-cert /nowhere --tls-key /nowhere", "--tls-cert and --tls-key");
    }

    #[test]
    fn passwords_are_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let (made, new) = Passwords::load_or_make(folder.path()).unwrap();
        assert!(new && made.kafka.len() == 48 && made.kafka != made.api_token);
        assert_eq!(Passwords::load_or_make(folder.path()).unwrap(), (made.clone(), false));
        assert_eq!(format!("{made:?}"), "Passwords { .. }");
        fs::write(folder.path().join(Passwords::FILE), "{}").unwrap();
        assert!(Passwords::load_or_make(folder.path()).is_err());
    }
}
