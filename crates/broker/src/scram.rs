//! SCRAM (RFC 5802, RFC 7677), the server's side, as pure functions of the messages.
//!
//! Own code on OpenSSL's primitives: docs/adr/ says why. Names and passwords are compared byte by byte,
//! without SASLprep, as Kafka does. Channel binding is not offered.

use openssl::error::ErrorStack;
use openssl::hash::{MessageDigest, hash};
use openssl::pkcs5::pbkdf2_hmac;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use openssl::{base64, memcmp};

/// Longer messages are no client's.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// The hash of a SCRAM mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha512,
}

/// Why a conversation ends without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthError {
    #[error("a malformed sasl message")]
    Malformed,
    #[error("sasl with channel binding, another identity or extensions is not offered")]
    NotOffered,
    #[error("name or password is wrong")]
    Wrong,
    #[error("openssl has failed")]
    Crypto,
}

impl From<ErrorStack> for AuthError {
    fn from(_: ErrorStack) -> Self {
        Self::Crypto
    }
}

/// What is kept of a password: enough to check it, and not to be it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) salt: Vec<u8>,
    pub(crate) iterations: usize,
    pub(crate) stored: Vec<u8>,
    pub(crate) server: Vec<u8>,
}

impl Hash {
    fn digest(self) -> MessageDigest {
        match self {
            Self::Sha256 => MessageDigest::sha256(),
            Self::Sha512 => MessageDigest::sha512(),
        }
    }

    pub(crate) fn hmac(self, key: &[u8], message: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        let key = PKey::hmac(key)?;
        let mut signer = Signer::new(self.digest(), &key)?;
        signer.sign_oneshot_to_vec(message)
    }
}

fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && memcmp::eq(a, b)
}

impl Key {
    /// Derives the key from a password: as many HMACs as iterations.
    pub(crate) fn derive(
        kind: Hash,
        password: &[u8],
        salt: Vec<u8>,
        iterations: usize,
    ) -> Result<Self, ErrorStack> {
        let mut salted = vec![0; kind.digest().size()];
        pbkdf2_hmac(password, &salt, iterations, kind.digest(), &mut salted)?;
        let client = kind.hmac(&salted, b"Client Key")?;
        let stored = hash(kind.digest(), &client)?.to_vec();
        let server = kind.hmac(&salted, b"Server Key")?;
        Ok(Self { salt, iterations, stored, server })
    }

    /// Whether the password is the one that the key was derived from. As slow as deriving.
    pub(crate) fn of_password(&self, kind: Hash, password: &[u8]) -> Result<bool, ErrorStack> {
        let given = Self::derive(kind, password, self.salt.clone(), self.iterations)?;
        Ok(same(&given.stored, &self.stored))
    }
}

/// The client's first message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClientFirst {
    pub(crate) name: String,
    nonce: String,
    /// The message without its first header.
    bare: String,
    header: String,
}

fn text(message: &[u8]) -> Result<&str, AuthError> {
    let message = Some(message).filter(|message| message.len() <= MESSAGE_BYTES_MAX);
    message.and_then(|message| str::from_utf8(message).ok()).ok_or(AuthError::Malformed)
}

fn attribute<'a>(part: Option<&'a str>, name: &str) -> Result<&'a str, AuthError> {
    part.and_then(|part| part.strip_prefix(name)).ok_or(AuthError::Malformed)
}

/// `=2C` is a comma, `=3D` an equals sign, any other `=` an error.
fn unescape(name: &str) -> Result<String, AuthError> {
    let mut parts = name.split('=');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (character, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (None, Some(rest)) => ('=', rest),
            (None, None) => return Err(AuthError::Malformed),
        };
        plain.push(character);
        plain.push_str(rest);
    }
    Ok(plain)
}

impl ClientFirst {
    pub(crate) fn parse(message: &[u8]) -> Result<Self, AuthError> {
        let message = text(message)?;
        let mut parts = message.splitn(3, ',');
        let (binding, identity, bare) = (parts.next(), parts.next(), parts.next());
        let bare = bare.ok_or(AuthError::Malformed)?;
        match (binding, identity) {
            // `y`: the client could bind, and believes that the server cannot.
            (Some("n" | "y"), Some("")) => {}
            (Some("n" | "y"), Some(identity)) if identity == format!("a={}", name_part(bare)?) => {}
            (Some("n" | "y"), Some(_)) => return Err(AuthError::NotOffered),
            (Some(binding), Some(_)) if binding.starts_with("p=") => return Err(AuthError::NotOffered),
            (_, _) => return Err(AuthError::Malformed),
        }
        let mut attributes = bare.split(',');
        let name = unescape(attribute(attributes.next(), "n=")?)?;
        let nonce = attribute(attributes.next(), "r=")?.to_owned();
        if attributes.next().is_some() {
            return Err(AuthError::NotOffered);
        }
        if name.is_empty() || nonce.is_empty() {
            return Err(AuthError::Malformed);
        }
        let header = message[..message.len() - bare.len()].to_owned();
        Ok(Self { name, nonce, bare: bare.to_owned(), header })
    }
}

fn name_part(bare: &str) -> Result<&str, AuthError> {
    attribute(bare.split(',').next(), "n=")
}

/// A conversation whose client has been challenged.
#[derive(Debug)]
pub(crate) struct Exchange {
    kind: Hash,
    key: Key,
    /// The client's nonce, and the server's behind it.
    nonce: String,
    client_nonce: String,
    header: String,
    /// The first two messages, as they are signed.
    messages: String,
}

impl Exchange {
    /// Challenges the client; gives the message for it too. `nonce` is random and printable.
    pub(crate) fn challenge(kind: Hash, first: ClientFirst, key: Key, nonce: &str) -> (Self, String) {
        let nonce = format!("{}{nonce}", first.nonce);
        let message = format!("r={nonce},s={},i={}", base64::encode_block(&key.salt), key.iterations);
        let messages = format!("{},{message}", first.bare);
        (Self { kind, key, nonce, client_nonce: first.nonce, header: first.header, messages }, message)
    }

    /// Checks the client's proof; gives the server's own.
    pub(crate) fn finish(self, message: &[u8]) -> Result<String, AuthError> {
        let message = text(message)?;
        let (unproven, proof) = message.rsplit_once(",p=").ok_or(AuthError::Malformed)?;
        let mut attributes = unproven.split(',');
        let header = decode(attribute(attributes.next(), "c=")?)?;
        let nonce = attribute(attributes.next(), "r=")?;
        // librdkafka before 2.6.1 says its own nonce twice. Kafka 3.9 takes that too: what matters against
        // repeated messages is the server's part.
        let fresh = nonce.strip_prefix(&self.client_nonce) == Some(&self.nonce) || nonce == self.nonce;
        if attributes.next().is_some() || header != self.header.as_bytes() || !fresh {
            return Err(AuthError::Malformed);
        }
        let proof = decode(proof)?;
        let signed = format!("{},{unproven}", self.messages);
        let signature = self.kind.hmac(&self.key.stored, signed.as_bytes())?;
        if proof.len() != signature.len() {
            return Err(AuthError::Malformed);
        }
        let client: Vec<u8> = proof.iter().zip(&signature).map(|(proof, mask)| proof ^ mask).collect();
        if !same(&hash(self.kind.digest(), &client)?, &self.key.stored) {
            return Err(AuthError::Wrong);
        }
        let own = self.kind.hmac(&self.key.server, signed.as_bytes())?;
        Ok(format!("v={}", base64::encode_block(&own)))
    }
}

fn decode(encoded: &str) -> Result<Vec<u8>, AuthError> {
    base64::decode_block(encoded).map_err(|_| AuthError::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of RFC 7677, section 3.
    fn example() -> (Exchange, String) {
        let first = ClientFirst::parse(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
        assert_eq!(first.name, "user");
        let salt = base64::decode_block("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let key = Key::derive(Hash::Sha256, b"pencil", salt, 4_096).unwrap();
        Exchange::challenge(Hash::Sha256, first, key, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
    }

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

    #[test]
    fn the_rfcs_example_is_spoken_to_the_letter() {
        let (exchange, challenge) = example();
        assert_eq!(challenge, format!("r={NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"));
        let last = format!("c=biws,r={NONCE},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let verdict = exchange.finish(last.as_bytes());
        assert_eq!(verdict.as_deref(), Ok("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
    }

    #[test]
    fn a_wrong_proof_a_foreign_nonce_and_a_changed_header_are_refused() {
        let refused = |message: String| example().0.finish(message.as_bytes()).unwrap_err();
        let other = base64::encode_block(&[0; 32]);
        assert_eq!(refused(format!("c=biws,r={NONCE},p={other}")), AuthError::Wrong);
        assert_eq!(refused(format!("c=biws,r={NONCE}x,p={other}")), AuthError::Malformed);
        assert_eq!(refused(format!("c=eSws,r={NONCE},p={other}")), AuthError::Malformed);
        assert_eq!(refused(format!("c=biws,r={NONCE},p=AAAA")), AuthError::Malformed);
    }

    #[test]
    fn a_clients_nonce_said_twice_is_taken() {
        let kind = Hash::Sha256;
        let salted = |message: &[u8]| {
            let salt = base64::decode_block("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
            let mut salted = [0; 32];
            pbkdf2_hmac(b"pencil", &salt, 4_096, kind.digest(), &mut salted).unwrap();
            let client = kind.hmac(&salted, b"Client Key").unwrap();
            let stored = hash(kind.digest(), &client).unwrap();
            let mask = kind.hmac(&stored, message).unwrap();
            base64::encode_block(&client.iter().zip(mask).map(|(a, b)| a ^ b).collect::<Vec<u8>>())
        };
        let (exchange, challenge) = example();
        let last = format!("c=biws,r=rOprNGfwEbeRWgbNEkqO{NONCE}");
        let proof = salted(format!("n=user,r=rOprNGfwEbeRWgbNEkqO,{challenge},{last}").as_bytes());
        assert!(exchange.finish(format!("{last},p={proof}").as_bytes()).is_ok());
    }

    #[test]
    fn names_are_unescaped_and_binding_and_foreign_identities_refused() {
        let name = |message: &str| ClientFirst::parse(message.as_bytes()).map(|first| first.name);
        assert_eq!(name("n,,n=a=2Cb=3D,r=x"), Ok("a,b=".to_owned()));
        assert_eq!(name("y,a=u,n=u,r=x"), Ok("u".to_owned()));
        assert_eq!(name("n,a=root,n=u,r=x"), Err(AuthError::NotOffered));
        assert_eq!(name("p=tls-unique,,n=u,r=x"), Err(AuthError::NotOffered));
        assert_eq!(name("n,,n=u,r=x,tokenauth=true"), Err(AuthError::NotOffered));
        assert_eq!(name("n,,n=u=2,r=x"), Err(AuthError::Malformed));
        assert_eq!(name("n,,n=u"), Err(AuthError::Malformed));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(message in proptest::collection::vec(any::<u8>(), 0..200), valid in ".{0,80}") {
            let _ = ClientFirst::parse(&message);
            let _ = ClientFirst::parse(valid.as_bytes());
            let (exchange, _) = example();
            let _ = exchange.finish(format!("c=biws,r={NONCE},p={valid}").as_bytes());
        }
    }
}
