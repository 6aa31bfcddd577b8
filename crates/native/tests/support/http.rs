//! The engine for a test, and plain HTTP to it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use tidegate_engine::{Engine, EngineLibrary, EngineOptions, Program};

/// Runs `test` against an engine of its own; says so and does nothing where the library is absent.
pub(crate) fn with_engine(test: impl FnOnce(&Engine)) {
    let library = match EngineLibrary::find(None) {
        Ok(library) => library,
        Err(error) => {
            eprintln!("SKIPPED: {error}");
            return;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let mut options = EngineOptions::new(folder.path(), library);
    options.program = Program::of_test("engine_child");
    options.memory_max_bytes = 1 << 30;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let engine = Engine::start(options).await.unwrap();
        tokio::task::block_in_place(|| test(&engine));
        engine.stop(Duration::from_secs(15)).await.unwrap();
    });
}

/// Sends `sql` with `body` and gives the answer's body; `Err` is what the server says instead.
pub(crate) fn send(engine: &Engine, sql: &str, body: &[u8]) -> Result<Vec<u8>, String> {
    let query: String = sql.bytes().map(|byte| format!("%{byte:02X}")).collect();
    // Settings stand in the address, so that a statement needs none of its own. HTTP/1.0: the answer
    // ends with the connection and is not chunked.
    let head = format!(
        "POST /?{SETTINGS}&query={query} HTTP/1.0\r\nHost: x\r\nX-ClickHouse-User: {}\r\nX-ClickHouse-Key: {}\r\n\
         Content-Length: {}\r\n\r\n",
        engine.credentials().user,
        engine.credentials().password(),
        body.len()
    );
    let mut stream = TcpStream::connect(engine.http()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has a head");
    let body = answer.split_off(end + 4);
    let ok = answer.starts_with(b"HTTP/1.0 200") || answer.starts_with(b"HTTP/1.1 200");
    if ok { Ok(body) } else { Err(String::from_utf8_lossy(&body).into_owned()) }
}

const SETTINGS: &str = "async_insert=0&wait_end_of_query=1&flatten_nested=0&allow_suspicious_low_cardinality_types=1\
    &allow_suspicious_variant_types=1&allow_suspicious_fixed_string_types=1&max_query_size=10000000\
    &http_max_uri_size=10000000&http_max_field_value_size=10000000&output_format_native_write_json_as_string=1\
    &output_format_native_use_flattened_dynamic_and_json_serialization=1";
