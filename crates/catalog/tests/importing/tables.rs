//! What is made of Iglu Central's schemas, in a real ClickHouse. Skipped where schemas or engine are not at hand.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use tidegate_catalog::{Ddl, statements};
use tidegate_engine::{Engine, EngineLibrary, EngineOptions, Program};
use tidegate_languages::{Language, ParsedSchema, Strictness};

use crate::central;

/// Runs `test` against an engine of its own; says so and does nothing where the library is absent.
fn with_engine(test: impl FnOnce(&Engine)) {
    let library = match EngineLibrary::find(None) {
        Ok(library) => library,
        Err(error) => {
            eprintln!("skipped: {error}");
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

fn send(engine: &Engine, sql: &str) -> Result<String, String> {
    let head = format!(
        "POST /?wait_end_of_query=1 HTTP/1.0\r\nHost: x\r\nX-ClickHouse-User: {}\r\nX-ClickHouse-Key: {}\r\n\
         Content-Length: {}\r\n\r\n",
        engine.credentials().user,
        engine.credentials().password(),
        sql.len()
    );
    let mut stream = TcpStream::connect(engine.http()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(sql.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    if head.contains(" 200 ") { Ok(body.to_owned()) } else { Err(body.to_owned()) }
}

#[test]
fn clickhouse_accepts_every_table() {
    let Some(folder) = central::folder() else { return };
    let (catalog, generated) = central::all_versions(&folder);
    assert_eq!(catalog.events.len(), 660);
    let statements = statements(catalog, &generated.lock, central::given(), Ddl::Single);
    with_engine(|engine| {
        let refused: Vec<String> = statements
            .iter()
            .filter_map(|statement| {
                send(engine, &statement.sql).err().map(|why| format!("{why}\n{}", statement.sql))
            })
            .collect();
        assert!(refused.is_empty(), "{} are refused:\n{}", refused.len(), refused.join("\n"));
        let count = "SELECT count() FROM system.tables WHERE database = 'cdp' AND name != 'dead_letters'";
        assert_eq!(send(engine, count).unwrap().trim(), "660");
    });
}

#[test]
fn every_schema_that_is_made_again_is_read_by_the_registrys_parsers() {
    let Some(folder) = central::folder() else { return };
    let (_, generated) = central::all_versions(&folder);
    let (mut n_read, mut refused) = (0, Vec::new());
    for file in &generated.files {
        let language = match file.path.split('/').next() {
            Some("json-schema") => Language::Json,
            Some("avro") => Language::Avro,
            Some("protobuf") => Language::Protobuf,
            _ => continue,
        };
        n_read += 1;
        if let Err(error) = ParsedSchema::parse(language, &file.text, &[], Strictness::Fresh) {
            refused.push(format!("{}: {error}", file.path));
        }
    }
    assert!(n_read >= 3 * 660, "{n_read} were read");
    assert!(refused.is_empty(), "{} are refused:\n{}", refused.len(), refused.join("\n"));
}
