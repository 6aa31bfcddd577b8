use std::time::{Duration, Instant};

use serde_json::json;

use crate::stack::Stack;

#[tokio::test]
async fn hostile_schemas_are_refused_soon_and_clearly() {
    let stack = Stack::start().await;
    let deep = |language: &str, open: &str, close: &str| {
        let schema = format!("{}true{}", open.repeat(10_000), close.repeat(10_000));
        json!({"schema": schema, "schemaType": language})
    };
    let large = json!({"schema": format!("\"{}\"", "x".repeat(10 << 20))});
    let circular = json!({"schema": "\"int\"", "references": [{"name": "a", "subject": "me", "version": 1}]});
    let messages = format!("{}{}", "message M { ".repeat(10_000), "}".repeat(10_000));
    let messages = json!({"schema": format!("syntax = \"proto3\"; {messages}"), "schemaType": "PROTOBUF"});
    let cases = [
        ("nests deeper", messages, 42201),
        ("nests deeper", deep("AVRO", "{\"type\":\"array\",\"items\":", "}"), 42201),
        ("nests deeper", deep("JSON", "{\"not\":", "}"), 42201),
        ("too large", large, 42209),
        ("No schema reference found", circular, 42201),
        ("Invalid schema", json!({"schema": "{\"type\":\"record\",\"name\":\"a b\"}"}), 42201),
    ];
    for (expected, request, code) in cases {
        let started = Instant::now();
        let said = stack.refuses("POST", "/subjects/me/versions", request, code).await;
        assert!(said.contains(expected), "{said}");
        assert!(said.len() < 4_000, "{} bytes", said.len());
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }
    let (status, answer) =
        stack.raw("POST", "/subjects/me/versions", b"{\"schema\":\"\xff\"}".to_vec()).await;
    assert_eq!(status, 422, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("not UTF-8"), "{answer}");
    let (status, answer) = stack.raw("POST", "/subjects/me/versions", b"{\"schema\"".to_vec()).await;
    assert_eq!(status, 400, "{answer}");
    let (status, _) = stack.raw("POST", "/subjects/me/versions", Vec::new()).await;
    assert_eq!(status, 422);
}
