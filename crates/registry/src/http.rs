//! The registry's HTTP API.
//!
//! Paths are taken apart here and not by the router: a subject may have an encoded slash in it, and
//! every path exists once more under each context.

mod answer;
mod read;
mod request;
mod write;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::http::answer::Answer;
use crate::http::request::Call;
use crate::problem::Problem;
use crate::service::Registry;

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
    pub async fn start(listen: SocketAddr, registry: Arc<Registry>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let routes = Router::new().fallback(serve).with_state(registry);
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

async fn serve(State(registry): State<Arc<Registry>>, request: Request) -> Response {
    let content_type = answer::content_type(request.headers());
    let answer = match Call::read(request).await {
        Ok(call) => route(&registry, &call).await,
        Err(problem) => Err(problem),
    };
    answer::respond(answer, content_type)
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
            | ["subjects" | "config" | "mode", _]
            | ["subjects", _, "versions" | "metadata"]
            | ["subjects", _, "versions", _]
            | ["compatibility", "subjects", _, "versions"]
            | ["compatibility", "subjects", _, "versions", _]
    )
}
