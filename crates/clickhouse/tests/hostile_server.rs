//! The client against servers that are not ClickHouse, or not well: every answer ends in a fault, and
//! none in a panic, an endless wait or an unbounded buffer.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use tidegate_clickhouse::{Client, ClientOptions, Secret, Url};
use tidegate_core::{Fault, FaultKind};

/// A server that answers every request with `answer`, then hangs up; `endless` repeats its end for as
/// long as the client listens.
fn serve(answer: impl Into<Vec<u8>>, endless: &'static [u8]) -> Url {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let answer = answer.into();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || reply(stream, &answer, endless));
        }
    });
    url
}

fn reply(mut stream: TcpStream, answer: &[u8], endless: &[u8]) {
    // The client may have gone in each of these.
    let _ = stream.read(&mut [0; 65536]);
    let _ = stream.write_all(answer);
    while !endless.is_empty() && stream.write_all(endless).is_ok() {}
    // Closed before the request is read to its end, the connection would be reset, and the answer with it.
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

fn client(urls: Vec<Url>) -> Client {
    let mut options = ClientOptions::new(urls[0].clone(), "u", Secret::new("hush-hush"));
    options.urls = urls;
    options.answer_max_bytes = 1 << 20;
    options.request_timeout = Duration::from_secs(2);
    Client::new(options).unwrap()
}

async fn fault_of(answer: impl Into<Vec<u8>>, endless: &'static [u8]) -> Fault {
    let began = Instant::now();
    let fault = client(vec![serve(answer, endless)]).query("SELECT 1").await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(fault.message.len() < 2000 && !fault.message.contains("hush"), "{fault}");
    fault
}

const OK: &str = "HTTP/1.1 200 OK\r\nX-ClickHouse-Server-Display-Name: x\r\n";

#[tokio::test]
async fn broken_answers_are_network_faults() {
    for answer in [
        Vec::new(),
        b"\x16\x03\x01 garbage".to_vec(),
        b"HTTP/1.1 2".to_vec(),
        format!("{OK}Content-Length: 100\r\n\r\ncut").into_bytes(),
        format!("{OK}Transfer-Encoding: chunked\r\n\r\nZZZ\r\n").into_bytes(),
        [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'a'; 3_000_000]].concat(),
    ] {
        let fault = fault_of(answer, b"").await;
        assert_eq!(fault.kind, FaultKind::Network, "{fault}");
    }
}

#[tokio::test]
async fn endless_answers_end() {
    let long = fault_of(format!("{OK}\r\n"), &[b'1'; 4096]).await;
    assert!(long.message.contains("longer than 1048576 bytes"), "{long}");
    let exception =
        "HTTP/1.1 500 X\r\nX-ClickHouse-Exception-Code: 252\r\n\r\nCode: 252. DB::Exception: Too many parts ";
    let fault = fault_of(exception, &[b'x'; 4096]).await;
    assert_eq!((fault.kind, fault.code), (FaultKind::Overload, Some(252)), "{fault}");
}

#[tokio::test]
async fn a_success_that_is_not_clickhouses_is_none() {
    let fault = fault_of("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n<p/>", b"").await;
    assert_eq!(fault.kind, FaultKind::Unknown, "{fault}");
}

#[tokio::test]
async fn a_proxys_refusal_is_judged_by_its_status() {
    for (status, kind) in [
        ("502 Bad Gateway", FaultKind::Unavailable),
        ("503 Service Unavailable", FaultKind::Unavailable),
        ("429 Too Many Requests", FaultKind::Overload),
        ("403 Forbidden", FaultKind::Denied),
        ("307 Moved\r\nLocation: http://127.0.0.1:1/", FaultKind::Unknown),
        ("418 Teapot", FaultKind::Unknown),
    ] {
        let fault = fault_of(format!("HTTP/1.1 {status}\r\nContent-Length: 6\r\n\r\n<html>"), b"").await;
        assert_eq!(fault.kind, kind, "{fault}");
    }
}

#[tokio::test]
async fn an_exception_of_2018_is_read_from_the_body() {
    let head = "HTTP/1.1 500 X\r\nX-ClickHouse-Server-Display-Name: x\r\n\r\n";
    let body =
        "Code: 60, e.displayText() = DB::Exception: Table ev.t doesn't exist., e.what() = DB::Exception";
    let fault = fault_of(format!("{head}{body}"), b"").await;
    assert_eq!((fault.kind, fault.code), (FaultKind::Missing, Some(60)), "{fault}");
}

#[tokio::test]
async fn the_next_replica_is_asked_after_one_that_is_down() {
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let down = Url::parse(&format!("http://{closed}")).unwrap();
    let client = client(vec![down, serve(format!("{OK}Content-Length: 2\r\n\r\n1\n"), b"")]);
    // The order is shuffled: whichever comes first, the second request at the latest finds the well one,
    // and no later one leaves it.
    let first = client.query("SELECT 1").await;
    assert_eq!(client.query("SELECT 1").await, Ok("1\n".into()), "after {first:?}");
    assert_eq!(client.query("SELECT 1").await, Ok("1\n".into()));
}

#[tokio::test]
async fn the_next_replica_is_asked_after_one_that_lacks_a_table() {
    let head =
        "HTTP/1.1 404 X\r\nX-ClickHouse-Server-Display-Name: x\r\nX-ClickHouse-Exception-Code: 60\r\n\r\n";
    let lags =
        serve(format!("{head}Code: 60. DB::Exception: Table ev.t does not exist. (UNKNOWN_TABLE)"), b"");
    let client = client(vec![lags, serve(format!("{OK}Content-Length: 2\r\n\r\n1\n"), b"")]);
    let first = client.query("SELECT 1").await;
    assert_eq!(client.query("SELECT 1").await, Ok("1\n".into()), "after {first:?}");
    assert_eq!(client.query("SELECT 1").await, Ok("1\n".into()));
}
