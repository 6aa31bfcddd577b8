//! SASL. PLAIN is what is spoken; another mechanism is another arm of [`handshake`] and a conversation
//! kept in the session.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};

use super::Session;
use crate::node::Node;
use crate::wire::text;

const PLAIN: &str = "PLAIN";

pub(super) fn handshake(_node: &Node, request: SaslHandshakeRequest, _version: i16) -> SaslHandshakeResponse {
    let code = match request.mechanism.as_str() {
        PLAIN => 0,
        _ => ResponseError::UnsupportedSaslMechanism.code(),
    };
    SaslHandshakeResponse::default().with_error_code(code).with_mechanisms(vec![text(PLAIN)])
}

pub(super) fn authenticate(
    node: &Node,
    session: &mut Session,
    request: SaslAuthenticateRequest,
) -> SaslAuthenticateResponse {
    let mut parts = request.auth_bytes.splitn(3, |byte| *byte == 0).skip(1);
    let (name, password) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    // Every user is compared, and every byte of the password, so that the time tells nothing.
    let known = node.options.users.iter().fold(false, |known, user| {
        let same = same_bytes(user.name.as_bytes(), name) & same_bytes(user.password.as_bytes(), password);
        known | same
    });
    session.authenticated = known || node.options.users.is_empty();
    match session.authenticated {
        true => SaslAuthenticateResponse::default(),
        false => SaslAuthenticateResponse::default()
            .with_error_code(ResponseError::SaslAuthenticationFailed.code())
            .with_error_message(Some(text("name or password is wrong"))),
    }
}

fn same_bytes(expected: &[u8], given: &[u8]) -> bool {
    let differing = expected.iter().zip(given).fold(0, |differing, (a, b)| differing | (a ^ b));
    differing == 0 && expected.len() == given.len()
}
