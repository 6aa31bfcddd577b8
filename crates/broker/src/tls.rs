//! The server's side of TLS.
//!
//! OpenSSL, as everywhere in Tidegate: TLS 1.2 and 1.3 with Mozilla's intermediate ciphers.

mod certificate;

use std::fmt;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{Ssl, SslAcceptor, SslMethod, SslVerifyMode};
use openssl::x509::X509;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

/// Why a certificate or its key is of no use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file was not read or written.
    #[error("use `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The certificate chain holds nothing.
    #[error("no certificate is in the chain; expected PEM, the server's own certificate first")]
    NoCertificate,
    /// The certificate chain is malformed.
    #[error("the certificate chain is not PEM")]
    Certificate(#[source] ErrorStack),
    /// The key is malformed, or needs a password.
    #[error("the private key is not PEM without a password")]
    Key(#[source] ErrorStack),
    /// The key belongs to another certificate, or OpenSSL refuses their strength.
    #[error("certificate and private key cannot be used together")]
    Mismatch(#[source] ErrorStack),
    /// A certificate was not made.
    #[error("make a certificate")]
    Make(#[source] ErrorStack),
}

/// A certificate chain with its private key, checked and ready.
#[derive(Clone)]
pub struct Tls {
    acceptor: SslAcceptor,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

fn parse_key(pem: &[u8]) -> Result<PKey<Private>, TlsError> {
    // Without a callback OpenSSL would ask for the password on the terminal.
    PKey::private_key_from_pem_callback(pem, |_| Err(ErrorStack::get())).map_err(TlsError::Key)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::File { path: path.to_owned(), source })
}

fn write_secret(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

impl Tls {
    /// A chain, the server's own certificate first, and its private key, both PEM.
    ///
    /// # Errors
    /// When they are malformed or do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Self::built(chain, key, &[])
    }

    /// As [`Tls::from_files`], for clients that show a certificate of one of these authorities, which a
    /// file of PEM names: others are turned away.
    ///
    /// # Errors
    /// When a file cannot be read, is malformed or names nobody.
    pub fn for_known_clients(chain: &Path, key: &Path, authorities: &Path) -> Result<Self, TlsError> {
        let authorities = X509::stack_from_pem(&read(authorities)?).map_err(TlsError::Certificate)?;
        if authorities.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        Self::built(&read(chain)?, &read(key)?, &authorities)
    }

    fn built(chain: &[u8], key: &[u8], clients: &[X509]) -> Result<Self, TlsError> {
        let mut chain = X509::stack_from_pem(chain).map_err(TlsError::Certificate)?.into_iter();
        let own = chain.next().ok_or(TlsError::NoCertificate)?;
        let key = parse_key(key)?;
        let mut accept = || {
            let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
            builder.set_certificate(&own)?;
            builder.set_private_key(&key)?;
            chain.try_for_each(|issuer| builder.add_extra_chain_cert(issuer))?;
            builder.check_private_key()?;
            if !clients.is_empty() {
                builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
                for authority in clients {
                    builder.cert_store_mut().add_cert(authority.clone())?;
                }
            }
            Ok(builder.build())
        };
        Ok(Self { acceptor: accept().map_err(TlsError::Mismatch)? })
    }

    /// As [`Tls::from_pem`], from two files.
    ///
    /// # Errors
    /// When they cannot be read, are malformed or do not belong together.
    pub fn from_files(chain: &Path, key: &Path) -> Result<Self, TlsError> {
        Self::from_pem(&read(chain)?, &read(key)?)
    }

    /// A certificate of one's own making for these host names and IP addresses, valid for ten years: kept
    /// in `folder` as `certificate.pem` and `key.pem`, made if they are not there. Clients trust it by
    /// taking `certificate.pem` for their certificate authority. What is there is used whatever its names:
    /// for others, delete both files.
    ///
    /// # Errors
    /// When the files cannot be read, written or used.
    pub fn self_signed(folder: &Path, names: &[&str]) -> Result<Self, TlsError> {
        let (chain, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        if chain.exists() && key.exists() {
            return Self::from_files(&chain, &key);
        }
        let made = certificate::make(names).map_err(TlsError::Make)?;
        std::fs::create_dir_all(folder)
            .map_err(|source| TlsError::File { path: folder.to_owned(), source })?;
        // The key first: a crash between leaves no certificate, and both are made again.
        for (path, content) in [(key, &made.key), (chain, &made.certificate)] {
            write_secret(&path, content).map_err(|source| TlsError::File { path, source })?;
        }
        Self::from_pem(&made.certificate, &made.key)
    }

    /// Shakes hands with a client, for another server that presents the same certificate. Takes as long as
    /// the client does: the caller bounds it.
    ///
    /// # Errors
    /// When the client speaks no TLS, or none that is agreed on.
    pub async fn encrypt(
        &self,
        socket: TcpStream,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
        self.accept(socket).await.map_err(io::Error::other)
    }

    /// Shakes hands.
    pub(crate) async fn accept(
        &self,
        socket: TcpStream,
    ) -> Result<SslStream<TcpStream>, openssl::ssl::Error> {
        let mut stream = SslStream::new(Ssl::new(self.acceptor.context())?, socket)?;
        Pin::new(&mut stream).accept().await?;
        Ok(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_made_once_and_its_key_is_the_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        Tls::self_signed(folder.path(), &["localhost", "127.0.0.1"]).unwrap();
        let first = std::fs::read(folder.path().join("certificate.pem")).unwrap();
        Tls::self_signed(folder.path(), &["localhost"]).unwrap();
        assert_eq!(std::fs::read(folder.path().join("certificate.pem")).unwrap(), first);
        let key = std::fs::metadata(folder.path().join("key.pem")).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let (one, other) = (certificate::make(&["a"]).unwrap(), certificate::make(&["a"]).unwrap());
        assert!(matches!(Tls::from_pem(&one.certificate, &other.key), Err(TlsError::Mismatch(_))));
        assert!(matches!(Tls::from_pem(&one.certificate, b"junk"), Err(TlsError::Key(_))));
        assert!(matches!(Tls::from_pem(b"", &one.key), Err(TlsError::NoCertificate)));
    }

    #[test]
    fn a_key_with_a_password_is_refused_and_nobody_is_asked_for_it() {
        let made = certificate::make(&["a"]).unwrap();
        let key = PKey::private_key_from_pem(&made.key).unwrap();
        let cipher = openssl::symm::Cipher::aes_128_cbc();
        let locked = key.private_key_to_pem_pkcs8_passphrase(cipher, b"secret").unwrap();
        assert!(matches!(Tls::from_pem(&made.certificate, &locked), Err(TlsError::Key(_))));
    }
}
