//! Writes that belong to another registry.

use std::error::Error as _;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use reqwest::{Certificate, Identity, redirect};
use tracing::warn;

use crate::election::LeaderTls;
use crate::problem::Problem;

/// Says that a request was forwarded already; Confluent's.
const FORWARDED: HeaderName = HeaderName::from_static("x-forward");

/// How long the leader may take for an answer; Confluent's number.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// How long the leader may take to be reached; it is on the same network.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// A client that reaches the registry that writes.
///
/// # Errors
/// If the authorities are none. A key that is of no use is told in the log: most leaders ask for none.
pub(crate) fn client(tls: &LeaderTls) -> Result<reqwest::Client, reqwest::Error> {
    let mut builder = reqwest::Client::builder()
        // A redirect or a proxy from the environment would take the client's password to a place that
        // nobody stated.
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_MAX);
    if let Some(pem) = &tls.authorities {
        builder = builder.tls_certs_merge(Certificate::from_pem_bundle(pem)?);
    }
    if let Some((chain, key)) = &tls.identity {
        match Identity::from_pkcs8_pem(chain, key) {
            Ok(identity) => builder = builder.identity(identity),
            Err(error) => {
                warn!(%error, "the certificate is not shown to the registry that writes; the key must be PKCS #8");
            }
        }
    }
    builder.build()
}

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
        let mut causes = error.to_string();
        let mut cause = error.source();
        while let Some(deeper) = cause {
            causes.push_str(&format!(": {deeper}"));
            cause = deeper.source();
        }
        Problem::new(50003, format!("Error while forwarding the request to the leader at {leader}: {causes}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_leader_that_is_not_reached_is_50003_with_the_cause() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let original =
            Original { method: Method::DELETE, target: "/subjects/s".to_owned(), headers: HeaderMap::new() };
        let client = client(&LeaderTls::default()).unwrap();
        let forwarded = forward(&client, &format!("http://{nobody}"), &original, Vec::new()).await;
        let problem = forwarded.unwrap_err();
        assert_eq!(problem.code, 50003);
        assert!(problem.message.contains("refused"), "{problem}");
    }

    #[test]
    fn authorities_that_are_none_are_refused_and_a_key_is_not_printed() {
        let nonsense = b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n".to_vec();
        let tls = LeaderTls { authorities: Some(nonsense), identity: Some((Vec::new(), b"secret".to_vec())) };
        assert!(client(&tls).is_err());
        assert_eq!(format!("{tls:?}"), "LeaderTls { authorities: true, identity: true }");
    }
}
