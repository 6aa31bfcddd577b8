//! Writes that belong to another registry.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;

/// Says that a request was forwarded already; Confluent's.
const FORWARDED: HeaderName = HeaderName::from_static("x-forward");

/// How long the leader may take for an answer; Confluent's number.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Whether somebody has forwarded a request.
pub(super) fn forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key(FORWARDED)
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Original {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
}

/// Asks the leader in the client's place. Its answer is relayed as it is.
pub(super) async fn forward(
    client: &reqwest::Client,
    leader: &str,
    original: &Original,
    body: Vec<u8>,
) -> Result<Response, Problem> {
    let Original { method, target, headers } = original;
    let failed = |error: reqwest::Error| {
        let error = error.without_url();
        Problem::new(50003, format!("Error while forwarding the request to the leader at {leader}: {error}"))
    };
    let mut request = client
        .request(method.clone(), format!("{leader}{target}"))
        .timeout(ANSWER_MAX)
        .header(FORWARDED, HeaderValue::from_static("true"))
        .body(body);
    for name in [header::ACCEPT, header::CONTENT_TYPE, header::AUTHORIZATION] {
        if let Some(value) = headers.get(&name) {
            request = request.header(name, value.clone());
        }
    }
    let answer = request.send().await.map_err(failed)?;
    let status = StatusCode::from_u16(answer.status().as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    let content_type = answer.headers().get(header::CONTENT_TYPE).cloned();
    let body = answer.bytes().await.map_err(failed)?;
    let mut response = (status, body).into_response();
    if let Some(content_type) = content_type {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    Ok(response)
}
