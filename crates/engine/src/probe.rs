//! Asks a port whether our server answers on it: one small HTTP request, a bounded answer.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::credentials::Credentials;
use crate::release::Release;
use crate::server_config::MACRO;

/// Far above what the query below takes on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(5);

/// An answer is a nonce or an exception's text; a foreign server may send anything.
const ANSWER_MAX_BYTES: u64 = 16 << 10;

/// What a port says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The server with our nonce, and our user can log in; with its release.
    Ours(Release),
    /// Something else, by its first line.
    Another(String),
    /// Nothing.
    Silence,
}

/// Asks once.
pub(crate) async fn ask(address: SocketAddr, credentials: &Credentials, nonce: &str) -> Answer {
    match timeout(PATIENCE, exchange(address, credentials)).await {
        Ok(Ok(answer)) => judge(&answer, nonce),
        Ok(Err(_)) | Err(_) => Answer::Silence,
    }
}

async fn exchange(address: SocketAddr, credentials: &Credentials) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let query = format!("SELECT getMacro('{MACRO}'), version()");
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nX-ClickHouse-User: {}\r\n\
         X-ClickHouse-Key: {}\r\nContent-Length: {}\r\n\r\n{query}",
        credentials.user,
        credentials.password(),
        query.len(),
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX_BYTES).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn judge(answer: &str, nonce: &str) -> Answer {
    let first = answer.lines().next().unwrap_or_default();
    if first.is_empty() {
        return Answer::Silence;
    }
    let release = answer.split_once(nonce).and_then(|(_, version)| Release::find(version));
    if let (Some("200"), Some(release)) = (first.split(' ').nth(1), release) {
        return Answer::Ours(release);
    }
    Answer::Another(first.chars().take(100).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_knows_the_nonce_is_ours() {
        let release = Release::find("26.7").unwrap();
        let ours = "HTTP/1.1 200 OK\r\n\r\nabc\t26.7.2.1\n";
        assert_eq!(judge(ours, "abc"), Answer::Ours(release));
        assert_eq!(judge("HTTP/1.1 200 OK\r\n\r\nOk.\n", "abc"), Answer::Another("HTTP/1.1 200 OK".into()));
        assert_eq!(
            judge("HTTP/1.1 403 Forbidden\r\n\r\nabc", "abc"),
            Answer::Another("HTTP/1.1 403 Forbidden".into())
        );
        assert_eq!(judge("", "abc"), Answer::Silence);
        assert_eq!(judge("\u{16}\u{3}\u{1}", "abc"), Answer::Another("\u{16}\u{3}\u{1}".into()));
    }
}
