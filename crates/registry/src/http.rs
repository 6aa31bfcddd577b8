//! The registry's HTTP API.
//!
//! Paths are taken apart here and not by the router: a subject may have an encoded slash in it, and
//! every path exists once more under each context.

mod access;
mod answer;
pub(crate) mod forward;
mod parameters;
mod read;
mod request;
mod write;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::http::answer::Answer;
use crate::http::request::{BODY_BYTES_MAX, Call};
use crate::problem::Problem;
use crate::service::Registry;
pub use access::{NoUser, Role, User, Users};

/// How many bytes the bodies of requests in work have in all: what they hold in memory is bounded.
const BODIES_BYTES_MAX: usize = 16 * BODY_BYTES_MAX;

/// What the smallest body counts for, in bytes: parsing takes memory besides.
const BODY_BYTES_MIN: usize = 16 * 1024;

/// What every request needs.
struct Desk {
    registry: Arc<Registry>,
    /// Of [`BODY_BYTES_MIN`] each.
    bodies: Semaphore,
    users: Users,
}

/// A registry that listens.
pub struct Server {
    address: SocketAddr,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Listens and serves until it is dropped.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(listen: SocketAddr, registry: Arc<Registry>, users: Users) -> std::io::Result<Self> {
        Self::serve(TcpListener::bind(listen).await?, registry, users)
    }

    /// As [`Self::start`], on what listens already.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn serve(listener: TcpListener, registry: Arc<Registry>, users: Users) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let bodies = Semaphore::new(BODIES_BYTES_MAX / BODY_BYTES_MIN);
        let desk = Arc::new(Desk { registry, bodies, users });
        let routes = Router::new().fallback(serve).with_state(desk);
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { address, serving })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let content_type = answer::content_type(request.headers());
    let bodiless = matches!(*request.method(), Method::GET | Method::HEAD | Method::DELETE);
    let allowed = desk.users.check(request.method(), request.uri().path(), request.headers());
    if let Err(problem) = allowed {
        return answer::respond(Err(problem), content_type);
    }
    // Nobody closes the semaphore, so that a place comes free.
    let place = desk.bodies.acquire_many(if bodiless { 0 } else { weight(request.headers()) });
    let _place = place.await.ok();
    let response = match Call::read(request).await {
        Ok(call) => answered(&desk, &call, content_type).await,
        Err(problem) => Err(problem),
    };
    let mut response = response.unwrap_or_else(|problem| answer::respond(Err(problem), content_type));
    // Answers come from memory while Kafka is away, and say that they may be old (RFC 9111, 5.5).
    if desk.registry.trouble().is_some() {
        let stale =
            HeaderValue::from_static("110 tidegate \"the log is out of reach; answered from memory\"");
        response.headers_mut().insert(header::WARNING, stale);
    }
    response
}

/// For how many of the smallest bodies a request's counts; for the largest, if it does not say its length.
fn weight(headers: &HeaderMap) -> u32 {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let length = length.unwrap_or(BODY_BYTES_MAX).clamp(1, BODY_BYTES_MAX);
    u32::try_from(length.div_ceil(BODY_BYTES_MIN)).unwrap_or(u32::MAX)
}

/// The answer to a call: ours or, if it writes and another registry leads, the leader's.
async fn answered(desk: &Desk, call: &Call, content_type: &'static str) -> Result<Response, Problem> {
    call.check_parameters()?;
    if call.writes()
        && let Some(leader) = desk.registry.other_leader().await
    {
        // What is known already needs no leader.
        if let Some(known) = write::known(&desk.registry, call).await {
            return Ok(answer::respond(Ok(known), content_type));
        }
        if forward::forwarded(&call.original.headers) {
            return Err(Problem::unknown_leader());
        }
        return forward::forward(&desk.registry.forwarder, &leader, &call.original, call.bytes().to_vec())
            .await;
    }
    Ok(answer::respond(route(&desk.registry, call).await, content_type))
}

/// Hands a call to whoever answers it.
async fn route(registry: &Arc<Registry>, call: &Call) -> Result<Answer, Problem> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    let found = match call.method {
        Method::GET | Method::HEAD => read::get(registry, call, &path),
        Method::POST => write::post(registry, call, &path).await,
        Method::PUT => write::put(registry, call, &path).await,
        Method::DELETE => write::delete(registry, call, &path).await,
        _ => Ok(None),
    };
    found?.ok_or_else(|| {
        if known(&path) {
            Problem::new(405, "HTTP 405 Method Not Allowed")
        } else {
            Problem::new(404, "HTTP 404 Not Found")
        }
    })
}

/// Whether a path exists, if not with the method of the call.
fn known(path: &[&str]) -> bool {
    matches!(
        path,
        [] | ["schemas" | "subjects" | "config" | "mode" | "contexts"]
            | ["schemas", "types"]
            | ["schemas", "ids" | "guids", _]
            | ["schemas", "ids", _, "schema" | "subjects" | "versions"]
            | ["schemas", "guids", _, "ids"]
            | ["subjects" | "config" | "mode" | "contexts", _]
            | ["subjects", _, "versions" | "metadata"]
            | ["subjects", _, "versions", _]
            | ["subjects", _, "versions", _, "schema" | "referencedby" | "tags"]
            | ["v1", "metadata", "id" | "version" | "deployment"]
            | ["compatibility", "subjects", _, "versions"]
            | ["compatibility", "subjects", _, "versions", _]
    )
}
