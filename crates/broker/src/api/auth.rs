//! SASL: PLAIN and SCRAM. A mechanism is chosen by SaslHandshake, and spoken in SaslAuthenticate requests, or
//! in bare messages after a handshake of version 0. No client that is alive does the latter, but librdkafka
//! 2.0 takes a broker without version 0 for one without SASL.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use openssl::base64;

use super::Session;
use crate::node::Node;
use crate::scram::{AuthError, ClientFirst, Exchange, Hash};
use crate::users::Users;
use crate::wire::{CallError, text};

/// What SCRAM adds to the client's nonce, before it is made printable.
const NONCE_BYTES: usize = 24;

/// By falling preference.
const MECHANISMS: [(&str, Mechanism); 3] = [
    ("SCRAM-SHA-512", Mechanism::Scram(Hash::Sha512)),
    ("SCRAM-SHA-256", Mechanism::Scram(Hash::Sha256)),
    ("PLAIN", Mechanism::Plain),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mechanism {
    Plain,
    Scram(Hash),
}

/// How far a connection's client has proven who it is.
#[derive(Debug)]
pub(crate) enum Authentication {
    /// The listener asks for no proof.
    Unasked,
    Wanted,
    Chosen(Mechanism),
    Challenged {
        exchange: Box<Exchange>,
        user: String,
    },
    Done {
        user: String,
    },
    /// Nothing more is answered.
    Refused,
}

impl Authentication {
    pub(crate) fn complete(&self) -> bool {
        match self {
            Self::Unasked | Self::Done { .. } => true,
            Self::Wanted | Self::Chosen(_) | Self::Challenged { .. } | Self::Refused => false,
        }
    }

    /// Who the client is; Kafka's name for those who need not say.
    pub(crate) fn user(&self) -> &str {
        match self {
            Self::Done { user } => user,
            Self::Unasked | Self::Wanted | Self::Chosen(_) | Self::Challenged { .. } | Self::Refused => {
                "ANONYMOUS"
            }
        }
    }
}

pub(super) fn handshake(
    session: &mut Session,
    request: SaslHandshakeRequest,
    version: i16,
) -> SaslHandshakeResponse {
    let mechanisms = MECHANISMS.map(|(name, _)| text(name)).to_vec();
    let response = SaslHandshakeResponse::default().with_mechanisms(mechanisms);
    let refuse = |error: ResponseError| error.code();
    let code = match &session.authentication {
        Authentication::Wanted | Authentication::Chosen(_) => {
            match MECHANISMS.iter().find(|(name, _)| *name == request.mechanism.as_str()) {
                Some((_, mechanism)) => {
                    session.authentication = Authentication::Chosen(*mechanism);
                    session.bare = version == 0;
                    0
                }
                None => refuse(ResponseError::UnsupportedSaslMechanism),
            }
        }
        Authentication::Unasked
        | Authentication::Challenged { .. }
        | Authentication::Done { .. }
        | Authentication::Refused => refuse(ResponseError::IllegalSaslState),
    };
    response.with_error_code(code)
}

/// Why a client is not let in.
enum Refusal {
    /// The client does not know the password, or speaks otherwise.
    Client(AuthError),
    /// It was not the client's turn.
    State,
}

impl From<AuthError> for Refusal {
    fn from(error: AuthError) -> Self {
        Self::Client(error)
    }
}

pub(super) async fn authenticate(
    node: &Arc<Node>,
    session: &mut Session,
    request: SaslAuthenticateRequest,
) -> Result<SaslAuthenticateResponse, CallError> {
    let proven = prove(node, session, request.auth_bytes).await?;
    let response = SaslAuthenticateResponse::default();
    Ok(match proven {
        Ok(answer) => response.with_auth_bytes(answer),
        Err(Refusal::State) => response
            .with_error_code(ResponseError::IllegalSaslState.code())
            .with_error_message(Some(text("this is not the time for a sasl message"))),
        Err(Refusal::Client(error)) => response
            .with_error_code(ResponseError::SaslAuthenticationFailed.code())
            .with_error_message(Some(text(error.to_string()))),
    })
}

/// As [`authenticate`], without headers. There is no answer to one that is refused.
pub(super) async fn prove_bare(
    node: &Arc<Node>,
    session: &mut Session,
    message: Bytes,
) -> Result<Option<Bytes>, CallError> {
    let proven = prove(node, session, message).await?;
    session.bare = !session.authentication.complete();
    Ok(proven.ok())
}

/// Takes one message of the client; after a refusal the session is refused.
async fn prove(
    node: &Arc<Node>,
    session: &mut Session,
    message: Bytes,
) -> Result<Result<Bytes, Refusal>, CallError> {
    let before = std::mem::replace(&mut session.authentication, Authentication::Refused);
    let users = node.options.users.clone();
    let work = tokio::task::spawn_blocking(move || step(&users, before, &message));
    // The task does not come back if the runtime is shut down.
    let stepped = work.await.map_err(|_| CallError::Stopping)?;
    Ok(stepped.map(|(after, answer)| {
        session.authentication = after;
        answer
    }))
}

/// What one message of the client leads to, and what it is answered. Takes as long as deriving a key.
fn step(users: &Users, before: Authentication, message: &[u8]) -> Result<(Authentication, Bytes), Refusal> {
    match before {
        Authentication::Chosen(Mechanism::Plain) => {
            let user = admit_plain(users, message)?;
            Ok((Authentication::Done { user }, Bytes::new()))
        }
        Authentication::Chosen(Mechanism::Scram(kind)) => {
            let first = ClientFirst::parse(message)?;
            let user = first.name.clone();
            let key = users.key(&first.name, kind).map_err(AuthError::from)?;
            let mut nonce = [0; NONCE_BYTES];
            openssl::rand::rand_bytes(&mut nonce).map_err(AuthError::from)?;
            let (exchange, answer) = Exchange::challenge(kind, first, key, &base64::encode_block(&nonce));
            Ok((Authentication::Challenged { exchange: Box::new(exchange), user }, answer.into()))
        }
        Authentication::Challenged { exchange, user } => {
            let answer = exchange.finish(message)?;
            Ok((Authentication::Done { user }, answer.into()))
        }
        Authentication::Unasked
        | Authentication::Wanted
        | Authentication::Done { .. }
        | Authentication::Refused => Err(Refusal::State),
    }
}

/// RFC 4616: an identity to act as, a name and a password, with a zero byte between.
fn admit_plain(users: &Users, message: &[u8]) -> Result<String, AuthError> {
    let parts: Vec<&[u8]> = message.splitn(4, |byte| *byte == 0).collect();
    let [identity, name, password] = parts[..] else { return Err(AuthError::Malformed) };
    if !identity.is_empty() && identity != name {
        return Err(AuthError::NotOffered);
    }
    match users.admit(name, password)? {
        true => Ok(String::from_utf8_lossy(name).into_owned()),
        false => Err(AuthError::Wrong),
    }
}
