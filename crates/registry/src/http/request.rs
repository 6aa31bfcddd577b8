//! A request, taken apart.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{Method, header};
use serde::de::DeserializeOwned;

use crate::http::forward::Original;
use crate::problem::Problem;
use crate::subject::{DEFAULT_CONTEXT, Subject};

/// The largest body that is taken, in bytes: the longest schema, with many characters escaped.
pub(super) const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long a client may take to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The content types of bodies.
const CONTENT_TYPES: [&str; 4] = [
    "application/vnd.schemaregistry.v1+json",
    "application/vnd.schemaregistry+json",
    "application/json",
    "application/octet-stream",
];

/// A request.
#[derive(Debug)]
pub(super) struct Call {
    /// The method.
    pub(super) method: Method,
    /// The path's parts, decoded, without the context.
    pub(super) path: Vec<String>,
    /// The context that the path names.
    pub(super) context: Option<String>,
    query: BTreeMap<String, Vec<String>>,
    body: Vec<u8>,
    /// As it came, for whoever must hear of it.
    pub(super) original: Original,
}

impl Call {
    pub(super) async fn read(request: Request) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        check_content_type(&parts.headers)?;
        let mut path: Vec<String> = parts
            .uri
            .path()
            .split('/')
            .filter(|part| !part.is_empty())
            .map(decode)
            .collect::<Result<_, _>>()?;
        let mut context = None;
        if path.len() > 2 && path[0] == "contexts" {
            context = Some(context_name(&path[1]));
            path.drain(..2);
        }
        let mut query: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pair in parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            query
                .entry(decode(&name.replace('+', " "))?)
                .or_default()
                .push(decode(&value.replace('+', " "))?);
        }
        let body = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES_MAX)).await;
        let body = body.map_err(|_| Problem::new(408, "request body did not come in time"))?;
        let body = body.map_err(|_| {
            Problem::new(413, format!("request body is not whole, or has more than {BODY_BYTES_MAX} bytes"))
        })?;
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let original = Original { method: parts.method.clone(), target, headers: parts.headers };
        Ok(Self { method: parts.method, path, context, query, body: body.to_vec(), original })
    }

    /// Whether it changes something: looking up and comparing do not.
    pub(super) fn writes(&self) -> bool {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        match self.method {
            Method::POST => matches!(path.as_slice(), ["subjects", _, "versions"]),
            Method::PUT | Method::DELETE => true,
            _ => false,
        }
    }

    /// The body as it came.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The first value of a parameter.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name)?.first().map(String::as_str)
    }

    /// All values of a parameter.
    pub(super) fn queries(&self, name: &str) -> &[String] {
        self.query.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether a parameter says yes.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.query(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A number, or what it is by default.
    pub(super) fn number(&self, name: &str, default: i64) -> i64 {
        self.query(name).and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    /// A part of a list, by `offset` and `limit`.
    pub(super) fn page<T>(&self, all: impl Iterator<Item = T>, limit_max: usize) -> Vec<T> {
        let offset = usize::try_from(self.number("offset", 0)).unwrap_or(0);
        let limit = usize::try_from(self.number("limit", -1)).unwrap_or(0);
        let limit = if limit == 0 || limit > limit_max { limit_max } else { limit };
        all.skip(offset).take(limit).collect()
    }

    /// The subject that a part of the path names.
    pub(super) fn subject(&self, name: &str) -> Subject {
        Subject::parse(name, self.context.as_deref().unwrap_or(DEFAULT_CONTEXT))
    }

    /// The context as a scope of settings.
    pub(super) fn scope(&self) -> Subject {
        Subject::whole(self.context.as_deref().unwrap_or(DEFAULT_CONTEXT))
    }

    /// The body, read.
    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let text = str::from_utf8(&self.body).map_err(|error| {
            Problem::new(422, format!("request body is not UTF-8 from byte {} on", error.valid_up_to()))
        })?;
        if text.trim().is_empty() {
            return Err(Problem::new(422, "request body is empty; expected a JSON object"));
        }
        serde_json::from_str(text).map_err(|error| {
            let code = if error.is_data() { 422 } else { 400 };
            Problem::new(code, format!("request body: {error}"))
        })
    }
}

/// A context in a URL may lack its dot, or have the colons of a qualified subject.
pub(super) fn context_name(text: &str) -> String {
    let name = text.trim_matches(':');
    if name.starts_with('.') { name.to_owned() } else { format!(".{name}") }
}

fn check_content_type(headers: &axum::http::HeaderMap) -> Result<(), Problem> {
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let content_type = content_type.to_str().unwrap_or_default();
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    if kind.is_empty() || CONTENT_TYPES.iter().any(|known| known.eq_ignore_ascii_case(kind)) {
        return Ok(());
    }
    Err(Problem::new(415, "HTTP 415 Unsupported Media Type"))
}

/// Takes back percent-encoding.
fn decode(text: &str) -> Result<String, Problem> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = tail.get(..2).and_then(|digits| str::from_utf8(digits).ok());
        let escaped = escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| Problem::new(400, "URL is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_slashes_and_percent_signs_are_taken_back() {
        assert_eq!(decode("a%2Fb%25%zz").unwrap(), "a/b%%zz");
        assert_eq!(decode("%ff").unwrap_err().code, 400);
    }
}
