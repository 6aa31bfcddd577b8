//! What strangers send: every answer comes soon, is bounded, and says what is wrong.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tidegate_kafka::LogWriter;

use crate::stack::Stack;

/// The longest that an answer may take, in a build without optimisation, on a loaded machine.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// The most memory that this test's process may ever have had, in kilobytes: other tests run beside it.
const MEMORY_KB_MAX: u64 = 1_500_000;

/// What a hostile schema gets.
enum Expected {
    /// This code, and these words.
    Refused(u32, &'static str),
    /// It is one like any other: it is registered, and compared with itself and another, or that is said to
    /// be too much.
    Bounded,
}
use Expected::{Bounded, Refused};

fn avro(schema: &str) -> Value {
    json!({ "schema": schema })
}

fn json_schema(schema: &str) -> Value {
    json!({"schema": schema, "schemaType": "JSON"})
}

fn protobuf(body: &str) -> Value {
    json!({"schema": format!("syntax = \"proto3\"; {body}"), "schemaType": "PROTOBUF"})
}

fn deep(open: &str, middle: &str, close: &str) -> String {
    format!("{}{middle}{}", open.repeat(10_000), close.repeat(10_000))
}

/// Forty definitions, of which each names the next one twice.
fn doubling(keyword: &str) -> String {
    let next = |n: u32| json!({"$ref": format!("#/definitions/d{}", n + 1)});
    let mut definitions: Map<String, Value> =
        (0..40).map(|n| (format!("d{n}"), json!({keyword: [next(n), next(n)]}))).collect();
    definitions.insert("d40".to_owned(), json!({"type": "string"}));
    json!({"definitions": definitions, "$ref": "#/definitions/d0"}).to_string()
}

fn doubling_avro() -> String {
    let open = |n: u32| {
        format!(
            r#"{{"type":"record","name":"R{n}","fields":[{{"name":"b","type":["null","R{}"]}},{{"name":"a","type":"#,
            n + 1
        )
    };
    let opened: String = (0..40).map(open).collect();
    format!(r#"{opened}{{"type":"record","name":"R40","fields":[]}}{}"#, "}]}".repeat(40))
}

fn doubling_protobuf() -> String {
    let messages = (0..40).map(|n| format!("message M{n} {{ M{0} a = 1; M{0} b = 2; }}", n + 1));
    messages.chain(["message M40 {}".to_owned()]).collect()
}

/// Texts that are large or deep.
fn large() -> Vec<(&'static str, Value, Expected)> {
    let ten_megabytes = "x".repeat(10 << 20);
    vec![
        (
            "10 MB of Avro",
            avro(&format!("{{\"type\":\"int\",\"doc\":\"{ten_megabytes}\"}}")),
            Refused(42209, "too large"),
        ),
        (
            "10 MB of JSON Schema",
            json_schema(&json!({"title": ten_megabytes}).to_string()),
            Refused(42209, "too large"),
        ),
        ("10 MB of Protobuf", protobuf(&format!("/* {ten_megabytes} */")), Refused(42209, "too large")),
        (
            "deep Avro",
            avro(&deep("{\"type\":\"array\",\"items\":", "\"int\"", "}")),
            Refused(42201, "nests deeper"),
        ),
        ("deep JSON Schema", json_schema(&deep("{\"not\":", "true", "}")), Refused(42201, "nests deeper")),
        ("deep arrays", json_schema(&deep("[", "", "]")), Refused(42201, "nests deeper")),
        ("deep Protobuf", protobuf(&deep("message M {", "", "}")), Refused(42201, "nests deeper")),
        (
            "a deep option",
            protobuf(&format!("option (x) = {};", deep("{a:", "1", "}"))),
            Refused(42201, "nests deeper"),
        ),
        ("unclosed", avro(&"[".repeat(100_000)), Refused(42201, "nests deeper")),
    ]
}

/// Texts that mean more than they say, or nothing.
fn tangled() -> Vec<(&'static str, Value, Expected)> {
    let patterns = |pattern: &str, n: usize| -> String {
        let all: Map<String, Value> = (0..n).map(|n| (format!("{pattern}{n}"), json!(true))).collect();
        let properties = json!({("a".repeat(2_000)): {"type": "string"}});
        json!({"patternProperties": all, "properties": properties}).to_string()
    };
    let text_of = |pattern: &str| json_schema(&json!({"type": "string", "pattern": pattern}).to_string());
    vec![
        (
            "circular Avro",
            avro(r#"{"type":"record","name":"R","fields":[{"name":"r","type":"R"}]}"#),
            Bounded,
        ),
        (
            "circular JSON Schema",
            json_schema(
                r##"{"$ref":"#/definitions/a","definitions":{"a":{"$ref":"#/definitions/b"},"b":{"$ref":"#/definitions/a"}}}"##,
            ),
            Bounded,
        ),
        ("a schema that is itself", json_schema(r##"{"$ref":"#"}"##), Bounded),
        ("circular Protobuf", protobuf("message A { B b = 1; } message B { A a = 1; }"), Bounded),
        ("doubling Avro", avro(&doubling_avro()), Bounded),
        ("doubling allOf", json_schema(&doubling("allOf")), Bounded),
        ("doubling oneOf", json_schema(&doubling("oneOf")), Bounded),
        ("doubling Protobuf", protobuf(&doubling_protobuf()), Bounded),
        ("a pattern that tracks back", text_of("^(([a-z])+.)+[A-Z]([a-z])+$"), Bounded),
        ("patterns that track back", json_schema(&patterns("^(a|aa)+b", 50)), Bounded),
        ("patterns that grow", json_schema(&patterns("((\\w{100}){100}){100}", 200)), Bounded),
        ("patterns that nearly grow", json_schema(&patterns("(\\w{30}){20}", 3_000)), Bounded),
        (
            "a lone surrogate in Avro",
            avro("{\"type\":\"int\",\"doc\":\"\\ud800\"}"),
            Refused(42201, "surrogate"),
        ),
        (
            "a lone surrogate in JSON Schema",
            json_schema("{\"title\":\"\\udc00\"}"),
            Refused(42201, "surrogate"),
        ),
        ("bytes in Protobuf that are no UTF-8", protobuf("option java_package = \"\\377\\376\";"), Bounded),
        (
            "a descriptor that is none",
            json!({"schema": "/////w==", "schemaType": "PROTOBUF"}),
            Refused(42201, "Base64"),
        ),
        (
            "a name that is none",
            avro("{\"type\":\"record\",\"name\":\"a b\",\"fields\":[]}"),
            Refused(42201, "Invalid schema"),
        ),
        (
            "a reference to nothing",
            json!({"schema": "\"int\"", "references": [{"name": "a", "subject": "me", "version": 1}]}),
            Refused(42201, "No schema reference found"),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_schemas_get_an_answer_soon() {
    let stack = Stack::start().await;
    for (n, (what, request, expected)) in large().into_iter().chain(tangled()).enumerate() {
        let subject = format!("/subjects/s{n}/versions");
        let began = Instant::now();
        match expected {
            Refused(code, words) => {
                let said = stack.refuses("POST", &subject, request.clone(), code).await;
                assert!(said.contains(words), "{what}: {said}");
                assert!(said.len() < 4_000, "{what}: {} bytes", said.len());
            }
            Bounded => bounded(&stack, what, n, &request).await,
        }
        assert!(began.elapsed() < ANSWER_MAX, "{what}: {:?}", began.elapsed());
        stack.get("/subjects").await;
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < MEMORY_KB_MAX, "the process had {peak} kB");
}

/// Registers a schema and compares it with itself in other words and with another one.
async fn bounded(stack: &Stack, what: &str, n: usize, request: &Value) {
    let (status, answer) = stack.ask("POST", &format!("/subjects/s{n}/versions"), request.clone()).await;
    assert!(status == 200 || answer["error_code"] == 42201, "{what}: {status} {answer}");
    stack.ask("PUT", &format!("/config/s{n}"), json!({"compatibility": "FULL_TRANSITIVE"})).await;
    let mut other = request.clone();
    let text = request["schema"].as_str().unwrap();
    other["schema"] = json!(text.replace("string", "boolean").replace("M40 {}", "M40 { int32 n = 1; }"));
    for request in [request, &other] {
        let path = format!("/compatibility/subjects/s{n}/versions/latest?verbose=true");
        let (status, answer) = stack.ask("POST", &path, request.clone()).await;
        assert_eq!(status, 200, "{what}: {answer}");
        assert!(answer["is_compatible"].is_boolean(), "{what}: {answer}");
    }
    let (status, answer) = stack.ask("POST", &format!("/subjects/s{n}?normalize=true"), other).await;
    assert!([200, 404, 422].contains(&status), "{what}: {status} {answer}");
}

#[tokio::test]
async fn a_body_that_is_none_is_refused() {
    let stack = Stack::start().await;
    let path = "/subjects/me/versions";
    let no_text = "{\"schema\":\"\\\"int\\\"\",\"schemaType\":\"\u{0}\"}".as_bytes().to_vec();
    let cases: [(&str, Vec<u8>, u16, &str); 6] = [
        ("malformed UTF-8", b"{\"schema\":\"\xff\"}".to_vec(), 422, "not UTF-8 from byte 11 on"),
        ("half a document", b"{\"schema\"".to_vec(), 400, "EOF"),
        ("nothing", Vec::new(), 422, "empty"),
        ("a lone surrogate", b"{\"schema\":\"\\ud800\"}".to_vec(), 400, "hex escape"),
        ("a control character", no_text, 400, "control character"),
        ("more than is taken", vec![b' '; (16 << 20) + 1], 413, "more than"),
    ];
    for (what, body, expected, words) in cases {
        let (status, answer) = stack.raw("POST", path, body).await;
        let said = answer["message"].as_str().unwrap_or_default();
        assert!(status == expected && said.contains(words), "{what}: {status} {answer}");
    }
    let nested = format!("{{\"schema\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let (status, answer) = stack.raw("POST", path, nested.into_bytes()).await;
    assert!([400, 422].contains(&status), "{answer}");
}

#[tokio::test]
async fn references_that_go_in_a_circle_are_refused() {
    let mut stack = Stack::start().await;
    // No registry writes such records; what is in the topic is taken as it is.
    let writer = LogWriter::connect(&stack.kafka, "_schemas", Duration::from_secs(20)).unwrap();
    let texts = [
        ("AVRO", r#"{"type":"record","name":"NAME","fields":[]}"#),
        ("JSON", "{\"title\":\"NAME\"}"),
        ("PROTOBUF", "syntax = \"proto3\"; message NAME {}"),
    ];
    let mut id = 0;
    for (language, text) in texts {
        for (name, other) in [("a", "b"), ("b", "a")] {
            id += 1;
            let references = json!([{"name": format!("{other}.{language}"), "subject": format!("{other}{language}"), "version": 1}]);
            let subject = format!("{name}{language}");
            let key = json!({"keytype": "SCHEMA", "subject": subject, "version": 1, "magic": 1});
            let value = json!({"subject": subject, "version": 1, "id": id, "schemaType": language, "references": references, "schema": text.replace("NAME", name), "deleted": false});
            writer.append(key.to_string().as_bytes(), Some(value.to_string().as_bytes())).await.unwrap();
        }
    }
    stack.restart().await;
    for (language, text) in texts {
        let references = json!([{"name": "first", "subject": format!("a{language}"), "version": 1}]);
        let request =
            json!({"schema": text.replace("NAME", "c"), "schemaType": language, "references": references});
        let said = stack.refuses("POST", &format!("/subjects/c{language}/versions"), request, 42201).await;
        assert!(
            said.contains(&format!("go in a circle: a{language} 1 -> b{language} 1 -> a{language} 1")),
            "{said}"
        );
        assert_eq!(stack.get(&format!("/subjects/a{language}/versions/1")).await["version"], 1);
    }
}
