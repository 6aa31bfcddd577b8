//! Clients that break off, lie and shout, on both ports: the engine does not end.
//!
//! Without the terminal that the engine gets as its input, a good part of these cases ends it: an
//! exception that leaves a connection's thread is then taken for a reason to abort.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use tidegate_engine::Engine;

use crate::client::{GRACE, as_user, ask, options, run, until};

/// How a client leaves.
#[derive(Clone, Copy, PartialEq)]
enum Leave {
    /// When it has an answer, or when none comes.
    Answered,
    /// At once.
    Close,
    /// At once, by a reset.
    Reset,
    /// By a reset, when the first bytes of an answer are there.
    ResetMidway,
    /// By closing, when the first bytes of an answer are there.
    CloseMidway,
    /// It ends what it says, and still listens.
    HalfClose,
}

#[derive(Clone)]
struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    leave: Leave,
}

fn case(name: &'static str, leave: Leave, bytes: impl Into<Vec<u8>>) -> Case {
    Case { name, bytes: bytes.into(), leave }
}

/// Bytes that mean nothing, the same in every run.
fn noise(length: u32) -> Vec<u8> {
    (0..length).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// One user's requests.
struct Asking {
    key: String,
}

impl Asking {
    /// `POST /?query=..`, with a stated length that need not be the body's.
    fn request(&self, query: &str, headers: &str, length: usize, body: &[u8]) -> Vec<u8> {
        let key = &self.key;
        let head = format!(
            "POST /?query={query} HTTP/1.1\r\nHost: x\r\nX-ClickHouse-User: tidegate\r\n\
             X-ClickHouse-Key: {key}\r\n{headers}Content-Length: {length}\r\n\r\n"
        );
        [head.as_bytes(), body].concat()
    }

    fn with(&self, query: &str, headers: &str, body: &[u8]) -> Vec<u8> {
        self.request(query, headers, body.len(), body)
    }

    fn ask(&self, query: &str) -> Vec<u8> {
        self.with(query, "", b"")
    }
}

const BIG: &str = "SELECT+number,toString(number)+FROM+numbers(50000000)+FORMAT+TSV";
const SLOW: &str = "SELECT+sum(sleepEachRow(0.1))+FROM+numbers(20)+SETTINGS+max_block_size=1,\
                    function_sleep_max_microseconds_per_block=0";
const ROWS: &str = "INSERT+INTO+ab.t+FORMAT+TSV";

/// What is no request at all, or half of one.
fn broken_requests(asking: &Asking) -> Vec<Case> {
    use Leave::{Answered, Close, HalfClose, Reset};
    let tls_hello = [b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03".as_slice(), &noise(250)].concat();
    let long_header = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &b"a".repeat(3_000_000), b"\r\n\r\n"].concat();
    let headers: String = (0..20_000).map(|n| format!("X{n}: y\r\n")).collect();
    let key = &asking.key;
    let chunk = format!(
        "POST /?query={ROWS} HTTP/1.1\r\nHost: x\r\nX-ClickHouse-User: tidegate\r\nX-ClickHouse-Key: {key}\r\n\
         Transfer-Encoding: chunked\r\n\r\nZZZ\r\n"
    );
    vec![
        case("nothing, closed", Close, ""),
        case("nothing, reset", Reset, ""),
        case("nothing, half closed", HalfClose, ""),
        case("noise", Answered, noise(500)),
        case("a TLS hello", Answered, tls_hello),
        case("half a line, closed", Close, "POST /?query=SEL"),
        case("half a line, reset", Reset, "POST /?query=SEL"),
        case("half a line, half closed", HalfClose, "POST /?query=SEL"),
        case("one long header", Answered, long_header),
        case("many headers", Answered, format!("GET / HTTP/1.1\r\n{headers}\r\n")),
        case("a negative length", Answered, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nabc"),
        case("a chunk length that is none", Answered, chunk),
        case("a path out of the root", Answered, "GET /../../x HTTP/1.1\r\nHost: x\r\n\r\n"),
        case("a version that is none", Answered, "GET / HTTP/9.9\r\n\r\n"),
        case(
            "a web socket",
            Answered,
            "GET /webterminal HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n",
        ),
        case(
            "a wrong login",
            Answered,
            "GET /?user=zz&password=y&query=SELECT+1 HTTP/1.1\r\nHost: x\r\n\r\n",
        ),
        case("a login as default", Answered, "GET /?query=SELECT+1 HTTP/1.1\r\nHost: x\r\n\r\n"),
    ]
}

/// Good requests whose client goes away, or which ask for too much.
fn queries(asking: &Asking) -> Vec<Case> {
    use Leave::{Answered, Close, CloseMidway, Reset, ResetMidway};
    let gzipped = asking.with(&format!("{BIG}&enable_http_compression=1"), "Accept-Encoding: gzip\r\n", b"");
    let head = String::from_utf8(asking.ask(BIG)).unwrap().replacen("POST", "HEAD", 1);
    let deep = format!("SELECT+{}1{}", "(".repeat(3_000), ")".repeat(3_000));
    vec![
        case("an answer, reset midway", ResetMidway, asking.ask(BIG)),
        case("an answer, closed midway", CloseMidway, asking.ask(BIG)),
        case("a compressed answer, reset midway", ResetMidway, gzipped),
        case(
            "a buffered answer, reset",
            Reset,
            asking.ask(&format!("{BIG}&wait_end_of_query=1&buffer_size=1000")),
        ),
        case("the head of a big answer", CloseMidway, head),
        case(
            "an error midway",
            Answered,
            asking.ask("SELECT+throwIf(number=3000000)+FROM+numbers(10000000)+FORMAT+TSV"),
        ),
        case("a running query, reset", Reset, asking.ask(SLOW)),
        case("a running query, closed", Close, asking.ask(SLOW)),
        case(
            "a query that is to be cancelled",
            Reset,
            asking.ask(&format!("{SLOW},cancel_http_readonly_queries_on_client_close=1")),
        ),
        case("twenty requests in one", Answered, asking.ask("SELECT+1").repeat(20)),
        case("twenty requests, closed", Close, asking.ask("SELECT+1").repeat(20)),
        case("a setting that is none", Answered, asking.ask("SELECT+1&max_threads=abc")),
        case(
            "more memory than there is",
            Answered,
            asking.ask("SELECT+groupArray(number)+FROM+numbers(2000000000)+SETTINGS+max_memory_usage=0"),
        ),
        case("parentheses", Answered, asking.ask(&deep)),
    ]
}

fn inserts(asking: &Asking) -> Vec<Case> {
    use Leave::{Answered, Close, Reset};
    let rows = b"1\t2\n".repeat(1_000);
    let cut = |query: &str, body: &[u8]| asking.request(query, "", 10_000_000, body);
    vec![
        case("rows that stop, reset", Reset, cut(&format!("{ROWS}&async_insert=0"), &rows)),
        case(
            "rows that stop, closed",
            Close,
            cut("INSERT+INTO+ab.t+FORMAT+RowBinary&async_insert=0", &noise(1_000)),
        ),
        case("rows for later that stop", Reset, cut(&format!("{ROWS}&async_insert=1"), &rows)),
        case(
            "a block that is none",
            Answered,
            asking.with("INSERT+INTO+ab.t+FORMAT+Native", "", &noise(2_000)),
        ),
        case("gzip that is none", Answered, asking.with(ROWS, "Content-Encoding: gzip\r\n", &noise(2_000))),
        case("zstd that is none", Answered, asking.with(ROWS, "Content-Encoding: zstd\r\n", &noise(2_000))),
        case(
            "compressed blocks that are none",
            Answered,
            asking.with(&format!("{ROWS}&decompress=1"), "", &noise(2_000)),
        ),
        case(
            "a body that was asked to wait",
            Reset,
            asking.request(ROWS, "Expect: 100-continue\r\n", 100, b""),
        ),
    ]
}

/// The first packet of the native protocol.
fn hello(user: &str, password: &str) -> Vec<u8> {
    // Client hello, its name, version 24.8, revision 54450, no database.
    let mut packet = b"\0\x05probe\x18\x08\xb2\xa9\x03\0".to_vec();
    for text in [user, password] {
        packet.push(u8::try_from(text.len()).unwrap());
        packet.extend(text.as_bytes());
    }
    packet
}

fn native(password: &str) -> Vec<Case> {
    use Leave::{Answered, Close, HalfClose, Reset, ResetMidway};
    let huge_name = [b"\0".as_slice(), &[0xff; 8], b"\x01"].concat();
    vec![
        case("native: nothing, closed", Close, ""),
        case("native: nothing, reset", Reset, ""),
        case("native: nothing, half closed", HalfClose, ""),
        case("native: noise", Answered, noise(300)),
        case("native: an HTTP request", Answered, "GET / HTTP/1.1\r\n\r\n"),
        case("native: a wrong login", Answered, hello("nobody", "x")),
        case("native: a login as default", Answered, hello("default", "")),
        case("native: a login, reset", Reset, hello("tidegate", password)),
        case("native: a login, reset at the answer", ResetMidway, hello("tidegate", password)),
        case("native: noise after a login", Answered, [hello("tidegate", password), noise(300)].concat()),
        case("native: half a login", Close, &hello("tidegate", password)[..12]),
        case("native: a name without an end", Answered, huge_name),
    ]
}

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_millis(300);
const ROUNDS: usize = 4;

#[test]
fn hostile_clients_do_not_end_the_engine() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut options) = options(folder.path()) else { return };
    options.tcp = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    run(async {
        let engine = Engine::start(options).await.unwrap();
        let pid = engine.child_id();
        ask(&engine, "CREATE DATABASE ab");
        ask(&engine, "CREATE TABLE ab.t (a UInt8, b UInt8) ORDER BY a");
        let password = engine.credentials().password();
        let asking = Asking { key: password.to_owned() };
        let http = [broken_requests(&asking), queries(&asking), inserts(&asking)].concat();
        let native = native(password);
        let cases: Vec<(SocketAddr, &Case)> = http
            .iter()
            .map(|case| (engine.http(), case))
            .chain(native.iter().map(|case| (engine.tcp().unwrap(), case)))
            .collect();
        assert!(cases.len() >= 40, "{}", cases.len());
        for (at, case) in cases {
            std::thread::scope(|scope| {
                (0..ROUNDS).for_each(|_| drop(scope.spawn(|| abuse(at, case))));
            });
            assert_eq!((engine.child_id(), engine.restarts()), (pid, 0), "after: {}", case.name);
        }
        // A connection's thread may notice late; none is left when this is reached.
        let open =
            "SELECT sum(value) FROM system.metrics WHERE metric IN ('HTTPConnection', 'TCPConnection')";
        let alone = || as_user(engine.http(), engine.credentials(), open) == Ok("1".to_owned());
        until("no hostile client is left", alone);
        assert_eq!((engine.child_id(), engine.restarts()), (pid, 0));
        engine.stop(GRACE).await.unwrap();
        let log = std::fs::read_to_string(folder.path().join("log/engine.log")).unwrap();
        assert!(!log.contains("<Fatal>"), "{log}");
        let said = std::fs::metadata(folder.path().join("log/stderr.log")).unwrap().len();
        assert!(said < 4096, "the error output is not where clients' mistakes go: {said} bytes");
    });
}

/// One hostile client. What it is answered, and whether, is not its concern.
fn abuse(at: SocketAddr, case: &Case) {
    let Ok(mut stream) = TcpStream::connect(at) else { return };
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let _ = stream.set_write_timeout(Some(PATIENCE));
    let _ = stream.write_all(&case.bytes);
    match case.leave {
        Leave::Answered | Leave::ResetMidway | Leave::CloseMidway => drop(stream.read(&mut [0; 1000])),
        Leave::HalfClose => {
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read(&mut [0; 1000]);
        }
        Leave::Close | Leave::Reset => {}
    }
    if matches!(case.leave, Leave::Reset | Leave::ResetMidway) {
        // A socket that lingers for no time is reset when it is closed.
        let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
    }
}
