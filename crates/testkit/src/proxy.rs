//! An HTTP proxy before a server, which does to inserts what networks and overloaded servers do: answers are cut after
//! the server applied the request, errors come instead of the request or on top of it, bytes crawl or stop.
//!
//! It reads a whole request, decides, and forwards it on a connection of its own. One request a connection, so
//! that each starts afresh. Only requests with `INSERT` in their query are harmed.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// The longest head of a request.
const HEAD_BYTES_MAX: usize = 256 << 10;
/// The longest body of a request.
const BODY_BYTES_MAX: usize = 256 << 20;
/// How long a client may take to send a request, and the server to answer it.
const PATIENCE: Duration = Duration::from_secs(300);

/// What becomes of one insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// The server applies it; the client sees a closed connection.
    AnswerLost,
    /// The server applies it; the client sees half of the answer.
    AnswerHalved,
    /// Half of it reaches the server, then both connections are cut.
    RequestHalved,
    /// The client sees a closed connection at once; the server applies the insert this much later.
    AppliedLate(Duration),
    /// It goes to the server, and its answer to the client, this much later each.
    Slow(Duration),
    /// The server never sees it; the client waits this long and sees a closed connection.
    HalfOpen(Duration),
    /// The server applies it at once; the client waits this long and sees a closed connection.
    HalfOpenApplied(Duration),
    /// A status without ClickHouse's headers, as of a proxy; the server never sees the insert.
    Status(u16),
    /// The server applies it; a proxy answers with a status of its own all the same.
    StatusApplied(u16),
    /// ClickHouse's exception of this code; the server never sees the insert.
    Exception(i32),
    /// The server applies it; the answer is this exception all the same.
    ExceptionApplied(i32),
}

/// A running proxy. Stops when it is dropped; requests under way are cut.
#[derive(Debug)]
pub struct HarmfulProxy {
    address: SocketAddr,
    harms: Arc<Mutex<Harms>>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Harms {
    waiting: VecDeque<Harm>,
    met: Vec<Harm>,
}

impl HarmfulProxy {
    /// Listens on a free port of the loopback, before the server at `upstream`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let harms = Arc::<Mutex<Harms>>::default();
        let shared = Arc::clone(&harms);
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                // A client or server that goes away in the middle is what this is for.
                tokio::spawn(async move { serve(client, upstream, &shared).await.ok() });
            }
        });
        Ok(Self { address, harms, server })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next inserts come to harm, each to one of these, in order.
    pub fn harm(&self, harms: impl IntoIterator<Item = Harm>) {
        lock(&self.harms).waiting.extend(harms);
    }

    /// Leaves the inserts that follow alone. Says how many harms nobody met.
    #[must_use]
    pub fn relent(&self) -> usize {
        let mut harms = lock(&self.harms);
        let unmet = harms.waiting.len();
        harms.waiting.clear();
        unmet
    }

    /// How many harms wait for an insert.
    #[must_use]
    pub fn waiting(&self) -> usize {
        lock(&self.harms).waiting.len()
    }

    /// The harms that inserts have come to since the last call.
    #[must_use]
    pub fn met(&self) -> Vec<Harm> {
        std::mem::take(&mut lock(&self.harms).met)
    }
}

impl Drop for HarmfulProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock(harms: &Mutex<Harms>) -> std::sync::MutexGuard<'_, Harms> {
    // A panic while the lock was held cannot leave a queue half-written.
    harms.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(mut client: TcpStream, upstream: SocketAddr, harms: &Mutex<Harms>) -> io::Result<()> {
    let request = timeout(PATIENCE, read_request(&mut client)).await??;
    let harm = request.inserts.then(|| next(harms)).flatten();
    let Some(harm) = harm else {
        return client.write_all(&ask(upstream, &request.bytes).await?).await;
    };
    match harm {
        Harm::AnswerLost => drop(ask(upstream, &request.bytes).await?),
        Harm::AnswerHalved => {
            let answer = ask(upstream, &request.bytes).await?;
            client.write_all(&answer[..answer.len() / 2]).await?;
        }
        Harm::RequestHalved => {
            let mut server = TcpStream::connect(upstream).await?;
            server.write_all(&request.bytes[..request.head_bytes + request.body_bytes() / 2]).await?;
        }
        Harm::AppliedLate(after) => {
            drop(client);
            sleep(after).await;
            ask(upstream, &request.bytes).await?;
        }
        Harm::Slow(by) => {
            sleep(by).await;
            let answer = ask(upstream, &request.bytes).await?;
            sleep(by).await;
            client.write_all(&answer).await?;
        }
        Harm::HalfOpen(until) => sleep(until).await,
        Harm::HalfOpenApplied(until) => {
            ask(upstream, &request.bytes).await?;
            sleep(until).await;
        }
        Harm::Status(status) => client.write_all(&of_a_proxy(status)).await?,
        Harm::StatusApplied(status) => {
            ask(upstream, &request.bytes).await?;
            client.write_all(&of_a_proxy(status)).await?;
        }
        Harm::Exception(code) => client.write_all(&exception(code)).await?,
        Harm::ExceptionApplied(code) => {
            ask(upstream, &request.bytes).await?;
            client.write_all(&exception(code)).await?;
        }
    }
    Ok(())
}

fn next(harms: &Mutex<Harms>) -> Option<Harm> {
    let mut harms = lock(harms);
    let harm = harms.waiting.pop_front()?;
    harms.met.push(harm);
    Some(harm)
}

struct Request {
    /// Head and body, with `connection: close`.
    bytes: Vec<u8>,
    head_bytes: usize,
    inserts: bool,
}

impl Request {
    fn body_bytes(&self) -> usize {
        self.bytes.len() - self.head_bytes
    }
}

async fn read_request(client: &mut TcpStream) -> io::Result<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if bytes.len() > HEAD_BYTES_MAX || client.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = header(&head, "content-length").map_or(Ok(0), str::parse);
    let length: usize = length.map_err(|_| io::ErrorKind::InvalidData)?;
    if length > BODY_BYTES_MAX || header(&head, "transfer-encoding").is_some() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        if client.read_buf(&mut body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let lines = head.lines().filter(|line| !is_header(line, "connection"));
    let mut bytes: Vec<u8> = lines.flat_map(|line| [line, "\r\n"]).collect::<String>().into_bytes();
    bytes.extend_from_slice(b"connection: close\r\n\r\n");
    let head_bytes = bytes.len();
    bytes.extend_from_slice(&body);
    let target = head.lines().next().unwrap_or_default();
    Ok(Request { bytes, head_bytes, inserts: target.contains("query=INSERT") })
}

fn is_header(line: &str, name: &str) -> bool {
    line.split_once(':').is_some_and(|(found, _)| found.trim().eq_ignore_ascii_case(name))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find(|line| is_header(line, name))?.split_once(':').map(|(_, value)| value.trim())
}

/// The server's whole answer. It says itself that it closes.
async fn ask(upstream: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(upstream).await?;
    server.write_all(request).await?;
    let mut answer = Vec::new();
    match timeout(PATIENCE, server.read_to_end(&mut answer)).await? {
        // A server that refuses a request before it has read it all resets the connection behind its answer.
        Err(error) if answer.is_empty() => Err(error),
        Ok(_) | Err(_) => Ok(answer),
    }
}

fn of_a_proxy(status: u16) -> Vec<u8> {
    answer(status, "", "<html><body>no server is available to handle this request</body></html>")
}

fn exception(code: i32) -> Vec<u8> {
    let headers = format!("X-ClickHouse-Exception-Code: {code}\r\n");
    let body = format!("Code: {code}. DB::Exception: planted by the proxy. (PLANTED) (version 26.7.2.1)\n");
    answer(500, &headers, &body)
}

fn answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Planted\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const INSERT: &str = "POST /?query=INSERT+INTO+t HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nrows";

    /// A server that counts the whole requests that it gets.
    async fn server() -> (SocketAddr, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let applied = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&applied);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                if read_request(&mut client).await.is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                    client.write_all(&answer(200, "", "done")).await.unwrap();
                }
            }
        });
        (address, applied)
    }

    async fn say(proxy: &HarmfulProxy, request: &str) -> String {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn each_harm_shows_the_client_what_it_says_and_the_server_what_it_says() {
        let (upstream, applied) = server().await;
        let proxy = HarmfulProxy::start(upstream).await.unwrap();
        let short = Duration::from_millis(1);
        let cases = [
            (Harm::AnswerLost, 1, ""),
            (Harm::AnswerHalved, 1, "HTTP/1.1 200"),
            (Harm::RequestHalved, 0, ""),
            (Harm::Slow(short), 1, "done"),
            (Harm::HalfOpen(short), 0, ""),
            (Harm::HalfOpenApplied(short), 1, ""),
            (Harm::Status(503), 0, "HTTP/1.1 503"),
            (Harm::StatusApplied(500), 1, "HTTP/1.1 500"),
            (Harm::Exception(241), 0, "X-ClickHouse-Exception-Code: 241"),
            (Harm::ExceptionApplied(209), 1, "Code: 209."),
        ];
        let mut expected = 0;
        for (harm, reaches, shows) in cases {
            proxy.harm([harm]);
            let answer = say(&proxy, INSERT).await;
            expected += reaches;
            assert_eq!(applied.load(Ordering::Relaxed), expected, "{harm:?}");
            assert!(answer.contains(shows) && shows.is_empty() == answer.is_empty(), "{harm:?}: {answer}");
        }
        assert_eq!(proxy.met(), cases.map(|(harm, ..)| harm));
        assert_eq!((proxy.met(), proxy.waiting()), (Vec::new(), 0));
    }

    #[tokio::test]
    async fn what_is_no_insert_passes_and_harms_wait_for_one() {
        let (upstream, _) = server().await;
        let proxy = HarmfulProxy::start(upstream).await.unwrap();
        proxy.harm([Harm::AnswerLost, Harm::AnswerLost]);
        let asked = "POST /?query=SELECT+1 HTTP/1.1\r\ncontent-length: 0\r\n\r\n";
        assert!(say(&proxy, asked).await.ends_with("done"));
        assert_eq!(say(&proxy, INSERT).await, "");
        assert_eq!(proxy.relent(), 1);
        assert!(say(&proxy, INSERT).await.ends_with("done"));
    }

    #[tokio::test]
    async fn an_insert_that_is_late_is_applied_after_the_client_gave_up() {
        let (upstream, applied) = server().await;
        let proxy = HarmfulProxy::start(upstream).await.unwrap();
        proxy.harm([Harm::AppliedLate(Duration::from_millis(1))]);
        assert_eq!(say(&proxy, INSERT).await, "");
        let landed = async {
            while applied.load(Ordering::Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), landed).await.expect("applied in the end");
    }
}
