//! What the client asks a registry, and how often.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use tidegate_core::FaultKind;
use tidegate_registry_client::{
    NewSchema, Refused, RegistryClient, RegistryOptions, RequestError, SchemaName, Secret, Url,
};
use tokio::sync::Semaphore;

/// Longer than any of these may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A registry that answers from a table, as many requests as it is let to.
struct Registry {
    answers: Mutex<HashMap<String, (u16, Value)>>,
    /// Path and credentials of every request.
    asked: Mutex<Vec<(String, Option<String>)>>,
    heard: Semaphore,
    let_go: Semaphore,
}

impl Registry {
    fn set(&self, path: &str, status: u16, body: Value) {
        self.answers.lock().unwrap().insert(path.to_owned(), (status, body));
    }

    fn n_asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

async fn answer(State(registry): State<Arc<Registry>>, request: Request) -> impl IntoResponse {
    let path = request.uri().path_and_query().unwrap().to_string();
    let login = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    registry.asked.lock().unwrap().push((path.clone(), login));
    registry.heard.add_permits(1);
    registry.let_go.acquire().await.unwrap().forget();
    let found = registry.answers.lock().unwrap().get(&path).cloned();
    let (status, body) = found.unwrap_or((404, json!({"error_code": 404, "message": "HTTP 404 Not Found"})));
    (StatusCode::from_u16(status).unwrap(), body.to_string())
}

/// A registry that answers nothing before it is let to, and where it is.
async fn registry() -> (Arc<Registry>, Url) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let registry = Arc::new(Registry {
        answers: Mutex::default(),
        asked: Mutex::default(),
        heard: Semaphore::new(0),
        let_go: Semaphore::new(0),
    });
    let routes = Router::new().fallback(answer).with_state(Arc::clone(&registry));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (registry, url)
}

async fn open() -> (Arc<Registry>, RegistryClient) {
    let (registry, url) = registry().await;
    registry.let_go.add_permits(10_000);
    (registry, RegistryClient::new(RegistryOptions::new(url)).unwrap())
}

fn avro(text: &str) -> Value {
    json!({"schema": text})
}

/// Asks for schema 1 from five hundred tasks at once, and lets the registry answer when all of them wait.
async fn ask_at_once(registry: &Registry, client: &RegistryClient) -> Vec<Result<Option<String>, String>> {
    let ask = || {
        let client = client.clone();
        tokio::spawn(async move {
            let found = client.schema(&SchemaName::Id(1)).await;
            found.map(|schema| schema.map(|schema| schema.text.clone())).map_err(|fault| fault.to_string())
        })
    };
    let tasks: Vec<_> = (0..500).map(|_| ask()).collect();
    // There is one thread: what the registry hears of was sent after every task had its turn.
    tokio::time::timeout(PATIENCE, registry.heard.acquire()).await.unwrap().unwrap().forget();
    registry.let_go.add_permits(10_000);
    let mut found = Vec::new();
    for task in tasks {
        found.push(tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap());
    }
    found
}

#[tokio::test]
async fn a_schema_is_asked_for_once_however_many_want_it() {
    let (registry, url) = registry().await;
    registry.set("/schemas/ids/1", 200, avro("\"int\""));
    let client = RegistryClient::new(RegistryOptions::new(url)).unwrap();
    let found = ask_at_once(&registry, &client).await;
    assert!(found.iter().all(|one| *one == Ok(Some("\"int\"".to_owned()))), "{:?}", found[0]);
    client.schema(&SchemaName::Id(1)).await.unwrap();
    assert_eq!(registry.n_asked(), 1);
}

#[tokio::test]
async fn that_a_schema_is_missing_is_asked_once_by_all_who_wait_and_not_remembered() {
    let (registry, url) = registry().await;
    registry.set("/schemas/ids/1", 404, json!({"error_code": 40403, "message": "Schema 1 not found"}));
    let client = RegistryClient::new(RegistryOptions::new(url)).unwrap();
    let found = ask_at_once(&registry, &client).await;
    assert!(found.iter().all(|one| *one == Ok(None)), "{:?}", found[0]);
    assert_eq!(registry.n_asked(), 1);
    registry.set("/schemas/ids/1", 200, avro("\"int\""));
    assert!(client.schema(&SchemaName::Id(1)).await.unwrap().is_some());
    assert_eq!(registry.n_asked(), 2);
}

#[tokio::test]
async fn a_registry_that_fails_is_a_fault_to_all_who_wait_and_is_asked_again() {
    let (registry, url) = registry().await;
    registry.set("/schemas/ids/1", 500, json!({"error_code": 50001, "message": "store"}));
    let client = RegistryClient::new(RegistryOptions::new(url)).unwrap();
    let found = ask_at_once(&registry, &client).await;
    assert!(
        found.iter().all(|one| one.as_ref().is_err_and(|error| error.contains("store"))),
        "{:?}",
        found[0]
    );
    assert_eq!(registry.n_asked(), 1);
    registry.set("/schemas/ids/1", 200, avro("\"int\""));
    assert!(client.schema(&SchemaName::Id(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn what_a_schema_refers_to_comes_before_it_and_once() {
    let (registry, client) = open().await;
    let refers = |names: &[&str]| -> Value {
        names.iter().map(|name| json!({"name": name, "subject": name, "version": 1})).collect()
    };
    let with = |text: &str, names: &[&str]| json!({"schema": text, "references": refers(names)});
    registry.set("/schemas/ids/1", 200, with("root", &["a", "b"]));
    registry.set("/subjects/a/versions/1?deleted=true", 200, with("a text", &["b"]));
    registry.set("/subjects/b/versions/1?deleted=true", 200, with("b text", &["a"]));
    let found = client.schema(&SchemaName::Id(1)).await.unwrap().unwrap();
    let texts: Vec<&str> = found.references.iter().map(|one| one.text.as_str()).collect();
    assert_eq!((texts.as_slice(), registry.n_asked()), (["b text", "a text"].as_slice(), 3));

    registry.set("/schemas/ids/2", 200, with("other", &["gone"]));
    registry.set(
        "/subjects/gone/versions/1?deleted=true",
        404,
        json!({"error_code": 40401, "message": "Subject 'gone' not found."}),
    );
    let fault = client.schema(&SchemaName::Id(2)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Missing, "{fault}");
    assert!(fault.to_string().contains("reference to `gone` version 1"), "{fault}");
}

#[tokio::test]
async fn another_instance_is_asked_where_one_is_gone_and_from_then_on() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone_url: Url = format!("http://{}", gone.local_addr().unwrap()).parse().unwrap();
    drop(gone);
    let (registry, url) = registry().await;
    registry.let_go.add_permits(10);
    registry.set("/subjects", 200, json!(["s"]));
    let mut options = RegistryOptions::new(gone_url);
    options.urls.push(url);
    options.login = Some(("ann".to_owned(), Secret::new("secret")));
    assert!(!format!("{options:?}").contains("secret"), "{options:?}");
    let client = RegistryClient::new(options).unwrap();
    for _ in 0..2 {
        assert_eq!(client.subjects().await.unwrap(), ["s"]);
    }
    let asked = registry.asked.lock().unwrap().clone();
    assert_eq!(asked, vec![("/subjects".to_owned(), Some("Basic YW5uOnNlY3JldA==".to_owned())); 2]);
}

#[tokio::test]
async fn answers_are_told_apart_by_what_they_mean() {
    let (registry, client) = open().await;
    let schema = NewSchema { language: "AVRO".to_owned(), schema: "x".to_owned(), references: Vec::new() };
    registry.set("/subjects/s/versions", 409, json!({"error_code": 40901, "message": "incompatible"}));
    let refused = client.register("s", &schema).await.unwrap_err();
    let expected = Refused { code: 40901, message: "incompatible".to_owned() };
    assert_eq!(refused, RequestError::Refused(expected));
    for (status, kind) in
        [(401, FaultKind::Denied), (429, FaultKind::Overload), (503, FaultKind::Unavailable)]
    {
        registry.set("/subjects/s/versions", status, json!({"error_code": status, "message": "no"}));
        let RequestError::Fault(fault) = client.register("s", &schema).await.unwrap_err() else {
            panic!("{status} says nothing about the schema")
        };
        assert_eq!(fault.kind, kind, "{fault}");
    }
    // A proxy's page, or another service's: no schema is missing because of it.
    registry.set("/schemas/ids/9", 404, json!("nothing here"));
    assert_eq!(client.schema(&SchemaName::Id(9)).await.unwrap_err().kind, FaultKind::Unknown);
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let (registry, url) = registry().await;
    registry.let_go.add_permits(10);
    registry.set("/schemas/ids/1", 200, avro(&"x".repeat(100_000)));
    let client =
        RegistryClient::new(RegistryOptions { answer_max_bytes: 10_000, ..RegistryOptions::new(url) });
    let fault = client.unwrap().schema(&SchemaName::Id(1)).await.unwrap_err();
    assert!(fault.to_string().contains("longer than 10000 bytes"), "{fault}");
}
