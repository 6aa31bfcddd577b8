//! A broker, a registry on it, and a client.

use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_broker::{Broker, BrokerOptions, Listener};
use tidegate_kafka::KafkaOptions;
use tidegate_registry::{Registry, RegistryOptions, Server, Users};

pub(crate) struct Stack {
    pub(crate) kafka: KafkaOptions,
    pub(crate) registry: Arc<Registry>,
    server: Server,
    client: reqwest::Client,
    broker: Option<Broker>,
    _dir: TempDir,
}

impl Stack {
    pub(crate) async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let options = BrokerOptions::new(dir.path(), Listener::loopback(0));
        let broker = Broker::start(options).await.unwrap();
        let kafka = KafkaOptions::new([broker.address().to_string()]);
        let (registry, server) = serve(&RegistryOptions::new(kafka.clone())).await;
        Self { kafka, registry, server, client: reqwest::Client::new(), broker: Some(broker), _dir: dir }
    }

    /// Kafka goes away.
    pub(crate) async fn stop_kafka(&mut self) {
        self.broker.take().unwrap().stop().await;
    }

    /// The header with which an answer says that it may be old.
    pub(crate) async fn warning(&self, path: &str) -> Option<String> {
        let url = format!("http://{}{path}", self.server.address());
        let answer = self.client.get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.headers().get("warning").map(|value| value.to_str().unwrap().to_owned())
    }

    /// Stops the registry and starts another one on the same log.
    pub(crate) async fn restart(&mut self) {
        (self.registry, self.server) = serve(&RegistryOptions::new(self.kafka.clone())).await;
    }

    pub(crate) async fn raw(&self, method: &str, path: &str, body: Vec<u8>) -> (u16, Value) {
        let url = format!("http://{}{path}", self.server.address());
        let request = self.client.request(method.parse().unwrap(), url).body(body);
        let answer =
            request.header("content-type", "application/vnd.schemaregistry.v1+json").send().await.unwrap();
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.raw(method, path, body).await
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> impl Future<Output = Value> {
        let path = path.to_owned();
        async move {
            let (status, body) = self.ask("GET", &path, Value::Null).await;
            assert_eq!(status, 200, "{path}: {body}");
            body
        }
    }

    /// The answer must be this problem.
    pub(crate) async fn refuses(&self, method: &str, path: &str, body: Value, code: u32) -> String {
        let (status, answer) = self.ask(method, path, body).await;
        assert_eq!(answer["error_code"], code, "{path}: {answer}");
        let expected = if code > 999 { code / 100 } else { code };
        assert_eq!(u32::from(status), expected, "{path}");
        answer["message"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn register(&self, subject: &str, schema: &str) -> Value {
        self.register_as(subject, json!({ "schema": schema })).await
    }

    pub(crate) async fn register_as(&self, subject: &str, request: Value) -> Value {
        let (status, body) = self.ask("POST", &format!("/subjects/{subject}/versions"), request).await;
        assert_eq!(status, 200, "{subject}: {body}");
        body
    }
}

async fn serve(options: &RegistryOptions) -> (Arc<Registry>, Server) {
    let registry = Registry::start(options).await.unwrap();
    let server =
        Server::start("127.0.0.1:0".parse().unwrap(), Arc::clone(&registry), Users::default()).await.unwrap();
    (registry, server)
}

/// A record of this name with `int` fields of these names.
pub(crate) fn record(name: &str, fields: &[&str]) -> String {
    let fields: Vec<Value> = fields.iter().map(|field| json!({"name": field, "type": "int"})).collect();
    json!({"type": "record", "name": name, "fields": fields}).to_string()
}
