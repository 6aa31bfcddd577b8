//! Tidegate's own HTTP interface: health, readiness, metrics, status.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use anyhow::Context;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::registry::Registry;
use serde::Serialize;
use tidegate_pipeline::{Budget, ConnectorStatus, Metrics, Phase, Status};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::metrics::http::{self, Oracle, Parameters};
use crate::sink::metrics::SourceMetrics;
use crate::up::machine::{Machine, MachineStatus};
use crate::up::metrics::KafkaMetrics;

/// What the interface shows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shown {
    registry: Arc<Registry>,
    /// Where the pipeline counts.
    pub metrics: Metrics,
    /// What the connectors' sources met.
    pub sources: SourceMetrics,
    /// The process's buffer memory.
    pub budget: Budget,
    connectors: Arc<RwLock<Vec<Status>>>,
    machine: Arc<OnceLock<Arc<Machine>>>,
    oracle: Arc<OnceLock<Arc<Oracle>>>,
}

/// The answer of `/api/v1/status`.
#[derive(Debug, Serialize)]
struct StatusAnswer {
    version: &'static str,
    buffered_bytes: usize,
    buffered_bytes_max: usize,
    connectors: Vec<ConnectorStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<MachineStatus>,
}

impl Shown {
    /// Nothing is running yet; at most `memory_max` bytes may be buffered.
    #[must_use]
    pub fn new(memory_max: usize) -> Self {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let (machine, sources) = (Arc::default(), SourceMetrics::default());
        registry.register_collector(Box::new(KafkaMetrics(Arc::clone(&machine))));
        registry.register_collector(Box::new(sources.clone()));
        Self {
            registry: Arc::new(registry),
            metrics,
            sources,
            budget: Budget::new(memory_max),
            connectors: Arc::default(),
            machine,
            oracle: Arc::default(),
        }
    }

    /// A connector is there from now on.
    pub fn add(&self, status: Status) {
        self.connectors.write().unwrap_or_else(PoisonError::into_inner).push(status);
    }

    /// The engines of this machine are there from now on.
    pub fn show_machine(&self, machine: Arc<Machine>) {
        // There is one for the life of a process.
        let _ = self.machine.set(machine);
    }

    /// Metrics of a catalog are answered from now on.
    pub fn answer_metrics(&self, oracle: Oracle) {
        // There is one for the life of a process.
        let _ = self.oracle.set(Arc::new(oracle));
    }

    /// The connectors as they are now.
    #[must_use]
    pub fn connectors(&self) -> Vec<ConnectorStatus> {
        let connectors = self.connectors.read().unwrap_or_else(PoisonError::into_inner);
        connectors.iter().map(Status::snapshot).collect()
    }
}

/// A running interface.
#[derive(Debug)]
pub struct Api {
    address: SocketAddr,
    server: JoinHandle<std::io::Result<()>>,
}

impl Api {
    /// Listens and serves until it is dropped. With a token, all but `/health` asks for it.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(listen: SocketAddr, shown: Shown, token: Option<String>) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind(listen).await.with_context(|| format!("listen on {listen} for the api"))?;
        let address = listener.local_addr().context("ask for the api's address")?;
        let mut guarded = Router::new()
            .route("/ready", get(ready))
            .route("/metrics", get(metrics))
            .route("/api/v1/status", get(status))
            .route("/api/v1/metrics", get(list_metrics))
            .route("/api/v1/metrics/query", get(query_metrics))
            .with_state(shown);
        if let Some(token) = token {
            guarded = guarded.layer(from_fn_with_state(Arc::<str>::from(token), ask_for_token));
        }
        let routes = guarded.route("/health", get(health));
        let server = tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { address, server })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Lets those on who bear the token.
async fn ask_for_token(State(token): State<Arc<str>>, request: Request, next: Next) -> Response {
    let bearer = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = bearer.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    // The comparison must not tell by its time how much of a guess is right.
    let differs = given.bytes().zip(token.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b));
    if given.len() == token.len() && differs == 0 {
        return next.run(request).await;
    }
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
    (StatusCode::UNAUTHORIZED, challenge, "this needs `Authorization: Bearer TOKEN`\n").into_response()
}

/// The process is alive: it answers. A connector that waits or is halted does not make it ill; a
/// restart would not help.
async fn health() -> &'static str {
    "ok\n"
}

/// Every connector is at work.
async fn ready(State(shown): State<Shown>) -> Response {
    let waiting: Vec<String> = shown
        .connectors()
        .into_iter()
        .filter(|connector| match connector.phase {
            Phase::Running => false,
            Phase::Starting | Phase::Waiting | Phase::Halted | Phase::Stopped => true,
        })
        .map(|connector| {
            format!("{}: {:?} {}", connector.name, connector.phase, connector.reason.unwrap_or_default())
        })
        .collect();
    if waiting.is_empty() {
        (StatusCode::OK, "ready\n".to_owned()).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, waiting.join("\n") + "\n").into_response()
    }
}

async fn metrics(State(shown): State<Shown>) -> Response {
    shown.metrics.buffered(shown.budget.used(), shown.budget.bytes_max());
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &shown.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn list_metrics(State(shown): State<Shown>) -> Response {
    http::list(shown.oracle.get().map(AsRef::as_ref))
}

async fn query_metrics(State(shown): State<Shown>, parameters: Parameters) -> Response {
    http::query(shown.oracle.get().map(AsRef::as_ref), parameters).await
}

async fn status(State(shown): State<Shown>) -> Json<StatusAnswer> {
    let machine = match shown.machine.get() {
        Some(machine) => Some(machine.look().await),
        None => None,
    };
    Json(StatusAnswer {
        version: env!("CARGO_PKG_VERSION"),
        buffered_bytes: shown.budget.used(),
        buffered_bytes_max: shown.budget.bytes_max(),
        connectors: shown.connectors(),
        machine,
    })
}
