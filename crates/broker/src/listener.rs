//! Where the broker listens, and what it asks of those who come.

use std::net::{Ipv4Addr, SocketAddr};

use crate::tls::Tls;

/// One address, with its protection.
///
/// The rule: what other machines can reach has TLS and SASL. There are three ways to make a listener, and
/// the only one that breaks the rule is named for it. Several listeners may be combined, for instance
/// [`Listener::loopback`] for the programs of this machine and [`Listener::guarded`] for all others.
#[derive(Debug, Clone)]
pub struct Listener {
    pub(crate) address: SocketAddr,
    pub(crate) advertised: Option<(String, u16)>,
    pub(crate) tls: Option<Tls>,
    pub(crate) sasl: bool,
}

impl Listener {
    /// 127.0.0.1: plaintext, and every program of this machine may do everything. Port 0 takes a free one.
    pub fn loopback(port: u16) -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            advertised: None,
            tls: None,
            sasl: false,
        }
    }

    /// Any address: encrypted by TLS, and only the broker's users may do anything.
    pub fn guarded(address: SocketAddr, tls: Tls) -> Self {
        Self { address, advertised: None, tls: Some(tls), sasl: true }
    }

    /// Any address: plaintext, and **everyone who can reach it may read, write and delete everything**.
    /// For networks that are trusted as a whole, and only where the person who runs it has said so.
    pub fn insecure(address: SocketAddr) -> Self {
        Self { address, advertised: None, tls: None, sasl: false }
    }

    /// Encrypts too.
    #[must_use]
    pub fn with_tls(self, tls: Tls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Asks for a user's name and password too. Without TLS, SASL PLAIN shows the password to the network;
    /// SCRAM does not, but nothing hides or protects the records.
    #[must_use]
    pub fn with_sasl(self) -> Self {
        Self { sasl: true, ..self }
    }

    /// The host and port that clients are told to connect to. Unless this is called they are told the
    /// address that they have reached, which is right where no proxy or address translation is between.
    /// A client that checks the certificate compares it with this host.
    #[must_use]
    pub fn advertised(self, host: impl Into<String>, port: u16) -> Self {
        Self { advertised: Some((host.into(), port)), ..self }
    }
}
