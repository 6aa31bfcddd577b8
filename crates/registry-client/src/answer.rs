//! What an answer means: a result, a refusal by the registry, or a fault of the world.

use std::error::Error as _;

use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tidegate_core::{Fault, FaultKind};

use crate::schema::{Refused, RequestError};

/// How much of an answer that is no registry's is shown.
const SHOWN_MAX: usize = 200;

/// The registry's way to say no.
#[derive(Deserialize)]
struct Problem {
    error_code: i64,
    #[serde(default)]
    message: String,
}

/// Reads the whole answer, at most `max_bytes` of it.
pub(crate) async fn read<T: DeserializeOwned>(
    mut response: Response,
    max_bytes: usize,
    server: &str,
) -> Result<T, RequestError> {
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport(&error, server))? {
        if chunk.len() > max_bytes - body.len() {
            let message = format!("the answer is longer than {max_bytes} bytes");
            return Err(fault(FaultKind::Unknown, server, &message).into());
        }
        body.extend_from_slice(&chunk);
    }
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|error| {
            fault(FaultKind::Unknown, server, &format!("the answer is not of the expected shape: {error}"))
                .into()
        });
    }
    Err(judge(status, &body, server))
}

/// Whether a failed request was refused for what it asked, or failed for what the world is.
fn judge(status: StatusCode, body: &[u8], server: &str) -> RequestError {
    let problem: Option<Problem> = serde_json::from_slice(body).ok();
    let (code, message) = match &problem {
        Some(problem) => (problem.error_code, problem.message.clone()),
        None => {
            let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN_MAX)]).into_owned();
            (i64::from(status.as_u16()), text)
        }
    };
    let kind = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => FaultKind::Denied,
        StatusCode::TOO_MANY_REQUESTS => FaultKind::Overload,
        StatusCode::REQUEST_TIMEOUT => FaultKind::Network,
        status if status.is_server_error() => FaultKind::Unavailable,
        // A registry's own codes have five digits. What has fewer is a path that it does not know, or
        // somebody else's answer: it says nothing about a schema.
        status if status.is_client_error() && code >= 10_000 || status == StatusCode::CONFLICT => {
            return Refused { code, message }.into();
        }
        StatusCode::UNPROCESSABLE_ENTITY if problem.is_some() => return Refused { code, message }.into(),
        _ => FaultKind::Unknown,
    };
    let mut fault = fault(kind, server, &format!("status {}: {message}", status.as_u16()));
    fault.code = i32::try_from(code).ok();
    fault.into()
}

/// A connection or a body that failed.
pub(crate) fn transport(error: &reqwest::Error, server: &str) -> Fault {
    let what = if error.is_timeout() { "timed out" } else { "connection" };
    // The innermost cause says what happened; the outer ones repeat the address.
    let cause = std::iter::successors(error.source(), |&cause| cause.source()).last();
    let message = cause.map_or_else(|| what.to_owned(), |cause| format!("{what}: {cause}"));
    fault(FaultKind::Network, server, &message)
}

pub(crate) fn fault(kind: FaultKind, server: &str, message: &str) -> Fault {
    Fault::new(kind, format!("schema registry {server}: {message}"))
}
