//! What a server answered, parsed once: success, an exception, or something that is not ClickHouse.

use std::error::Error as _;

use reqwest::header::HeaderMap;
use reqwest::{Response, StatusCode};
use tidegate_core::{Fault, FaultKind};
use tidegate_pipeline::port::InsertError;

use crate::blame::blamed_column;
use crate::codes::{Class, class_of};

/// How much of an exception is kept, in characters. Some repeat the whole query, or rows.
const MESSAGE_MAX: usize = 500;

/// An exception's text stands within the first of these bytes of a body.
const EXCEPTION_MAX_BYTES: usize = 64 << 10;

/// Every answer of ClickHouse to a query carries headers of this kind, in every version; an answer
/// without is a proxy's.
const CLICKHOUSE_HEADERS: &str = "x-clickhouse-";

/// The answer to /ping, which older servers send without those headers.
pub(crate) const PONG: &[u8] = b"Ok.\n";

const EXCEPTION_HEADER: &str = "x-clickhouse-exception-code";

/// A random word by which 25.x and newer mark an exception after the answer has begun.
const TAG_HEADER: &str = "x-clickhouse-exception-tag";

/// Why a request gave no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// ClickHouse threw.
    Exception { code: i32, message: String },
    /// It did not get that far, or somebody else answered.
    World { kind: FaultKind, message: String },
}

impl Failure {
    pub(crate) fn world(kind: FaultKind, message: impl Into<String>) -> Self {
        Self::World { kind, message: message.into() }
    }

    /// A connection or a body that failed.
    pub(crate) fn of_transport(error: &reqwest::Error) -> Self {
        let what = if error.is_timeout() { "timed out" } else { "connection" };
        // The innermost cause says what happened; the outer ones repeat the address.
        let cause = std::iter::successors(error.source(), |&cause| cause.source()).last();
        Self::world(
            FaultKind::Network,
            cause.map_or_else(|| what.to_owned(), |cause| format!("{what}: {cause}")),
        )
    }

    /// Whether another replica may fare better.
    pub(crate) fn of_this_replica(&self) -> bool {
        let kind = match self {
            Self::World { kind, .. } => *kind,
            Self::Exception { code, .. } => match class_of(*code) {
                Class::Fault(kind) => kind,
                Class::Refused => return false,
            },
        };
        match kind {
            // A table or column that is missing here may be there already: DDL reaches replicas in turn.
            FaultKind::Network | FaultKind::Overload | FaultKind::Unavailable | FaultKind::Missing => true,
            FaultKind::Denied | FaultKind::Fenced | FaultKind::Unknown => false,
        }
    }

    /// As a fault, whatever was asked: for queries, where no data can be refused.
    pub(crate) fn into_fault(self, server: &str) -> Fault {
        match self {
            Self::World { kind, message } => Fault { kind, code: None, message: at(server, &message) },
            Self::Exception { code, message } => {
                let kind = match class_of(code) {
                    Class::Fault(kind) => kind,
                    Class::Refused => FaultKind::Unknown,
                };
                Fault { kind, code: Some(code), message: at(server, &message) }
            }
        }
    }

    /// As the answer to an insert.
    pub(crate) fn into_insert_error(self, server: &str) -> InsertError {
        match self {
            Self::Exception { code, message } if class_of(code) == Class::Refused => {
                let column = blamed_column(code, &message);
                InsertError::Refused { code, message, column }
            }
            other => InsertError::Fault(other.into_fault(server)),
        }
    }
}

fn at(server: &str, message: &str) -> String {
    format!("clickhouse {server}: {message}")
}

/// Reads the whole answer, at most `max_bytes` of it.
pub(crate) async fn read(mut response: Response, max_bytes: usize) -> Result<Vec<u8>, Failure> {
    let status = response.status();
    let head = Head::of(response.headers());
    let failed = !status.is_success() || head.code.is_some();
    let limit = if failed { max_bytes.min(EXCEPTION_MAX_BYTES) } else { max_bytes };
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Failure::of_transport(&error))? {
        let room = limit - body.len();
        if chunk.len() > room {
            if !failed {
                let message = format!("the answer is longer than {max_bytes} bytes");
                return Err(Failure::world(FaultKind::Unknown, message));
            }
            body.extend_from_slice(&chunk[..room]);
            break;
        }
        body.extend_from_slice(&chunk);
    }
    if failed { Err(judge(status, &head, &body)) } else { head.accept(body) }
}

/// What the headers say.
struct Head {
    clickhouse: bool,
    code: Option<i32>,
    tag: Option<String>,
}

impl Head {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        Self {
            clickhouse: headers.keys().any(|name| name.as_str().starts_with(CLICKHOUSE_HEADERS)),
            code: text(EXCEPTION_HEADER).and_then(|code| code.parse().ok()),
            tag: text(TAG_HEADER).filter(|tag| !tag.is_empty()).map(str::to_owned),
        }
    }

    /// A success is one only if ClickHouse says so: a proxy's page with 200 has stored nothing. With
    /// `wait_end_of_query` no exception can follow a 200; one that carries the server's tag is believed
    /// all the same. One without is not: rows may quote exceptions.
    fn accept(&self, body: Vec<u8>) -> Result<Vec<u8>, Failure> {
        if !self.clickhouse && body != PONG {
            return Err(Failure::world(FaultKind::Unknown, "the answer is not ClickHouse's"));
        }
        match self.tag.as_deref().and_then(|tag| late_exception(&body, tag)) {
            Some(failure) => Err(failure),
            None => Ok(body),
        }
    }
}

/// An exception after the answer has begun, at its end.
fn late_exception(body: &[u8], tag: &str) -> Option<Failure> {
    let tail = &body[body.len().saturating_sub(16 << 10)..];
    let text = String::from_utf8_lossy(tail);
    let (_, told) = text.split_once(&format!("__exception__\r\n{tag}\r\n"))?;
    let (code, message) = exception(told)?;
    Some(Failure::Exception { code, message })
}

/// The answer to an insert has no body; whatever stands there says that it was not one.
pub(crate) fn expect_empty(body: &[u8]) -> Result<(), Failure> {
    if body.is_empty() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&body[..body.len().min(EXCEPTION_MAX_BYTES)]);
    Err(match exception(&text) {
        Some((code, message)) => Failure::Exception { code, message },
        None => {
            Failure::world(FaultKind::Unknown, format!("the answer to an insert is `{}`", shorten(&text)))
        }
    })
}

/// How an exception ends that a view of the table threw. There is no code for it: the code is that of what
/// the view's query threw.
const IN_A_VIEW: &str = "while pushing to view";

/// Why an answer that is no success is none.
fn judge(status: StatusCode, head: &Head, body: &[u8]) -> Failure {
    let text = String::from_utf8_lossy(body);
    let failure = exception_or_status(status, head, &text);
    match &failure {
        // The table has stored the block by then (26.7 does so, measured), and only the view has not.
        // Cutting the block would store its rows again; repeated under its token it goes to the view alone.
        Failure::Exception { code, message }
            if text.contains(IN_A_VIEW)
                && matches!(class_of(*code), Class::Refused | Class::Fault(FaultKind::Unknown)) =>
        {
            let message = format!(
                "a materialized view refuses rows that its table has stored; \
                 alter or drop the view, and the insert is finished: code {code}: {message}"
            );
            Failure::world(FaultKind::Missing, message)
        }
        Failure::Exception { .. } | Failure::World { .. } => failure,
    }
}

fn exception_or_status(status: StatusCode, head: &Head, text: &str) -> Failure {
    match (head.code, exception(text)) {
        (Some(code), told) => {
            let message = told.map_or_else(|| shorten(text), |(_, message)| message);
            Failure::Exception { code, message }
        }
        // Servers without the header are known by theirs.
        (None, Some((code, message))) if head.clickhouse => Failure::Exception { code, message },
        (None, _) => Failure::world(status_kind(status), format!("status {status}: {}", shorten(text))),
    }
}

/// The class of a status that somebody between us and ClickHouse gave.
fn status_kind(status: StatusCode) -> FaultKind {
    match status.as_u16() {
        401 | 403 | 407 => FaultKind::Denied,
        408 | 504 => FaultKind::Network,
        429 => FaultKind::Overload,
        502 | 503 => FaultKind::Unavailable,
        _ => FaultKind::Unknown,
    }
}

/// The code and the text of `Code: 60. DB::Exception: Table x does not exist. (UNKNOWN_TABLE) (version ..)`
/// and of 2018's `Code: 60, e.displayText() = DB::Exception: .., e.what() = DB::Exception`.
fn exception(text: &str) -> Option<(i32, String)> {
    let (_, rest) = text.split_once("Code: ")?;
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let code = rest[..digits].parse().ok()?;
    let rest = rest[digits..].strip_prefix(['.', ','])?;
    let said = rest.split_once("DB::Exception: ").map_or(rest, |(_, said)| said);
    let said = said.split(" (version ").next().unwrap_or(said);
    let said = said.split(", e.what() = ").next().unwrap_or(said);
    Some((code, shorten(said)))
}

/// The first line that says something, cut.
fn shorten(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no text");
    let mut short: String = line.chars().filter(|c| !c.is_control()).take(MESSAGE_MAX).collect();
    if line.chars().nth(MESSAGE_MAX).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_of_all_ages_are_read() {
        let new = "Code: 60. DB::Exception: Table ev.t does not exist. (UNKNOWN_TABLE) (version 26.7.2.1)\n";
        assert_eq!(exception(new), Some((60, "Table ev.t does not exist. (UNKNOWN_TABLE)".into())));
        let old =
            "Code: 60, e.displayText() = DB::Exception: Table ev.t doesn't exist., e.what() = DB::Exception";
        assert_eq!(exception(old), Some((60, "Table ev.t doesn't exist.".into())));
        for text in ["", "Code: ", "Code: x.", "Code: 99999999999999.", "<html>502 Bad Gateway</html>"] {
            assert_eq!(exception(text), None, "{text}");
        }
    }

    #[test]
    fn an_exception_at_the_end_of_a_success_is_seen() {
        let body = b"1\n2\n\r\n__exception__\r\nabcdefgh\r\nCode: 395. DB::Exception: x. (A)\n19 abcdefgh\r\n__exception__\r\n";
        let seen = late_exception(body, "abcdefgh");
        assert_eq!(seen, Some(Failure::Exception { code: 395, message: "x. (A)".into() }));
        // A row that quotes an exception does not know the tag of this answer.
        assert_eq!(late_exception(body, "other"), None);
    }

    #[test]
    fn an_insert_that_is_answered_with_text_has_not_succeeded() {
        assert_eq!(expect_empty(b""), Ok(()));
        let old = b"Code: 252, e.displayText() = DB::Exception: Too many parts, e.what() = DB::Exception";
        assert!(matches!(expect_empty(old), Err(Failure::Exception { code: 252, .. })));
        assert!(matches!(expect_empty(b"<html>"), Err(Failure::World { kind: FaultKind::Unknown, .. })));
    }

    #[test]
    fn a_long_exception_is_cut() {
        assert_eq!(shorten(&"x".repeat(100_000)).chars().count(), MESSAGE_MAX + 1);
    }
}
