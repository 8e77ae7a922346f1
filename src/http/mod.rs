//! The HTTP server of every role, on warp: health, readiness, metrics, and whatever a role answers itself.
//!
//! A role sees only [`Request`], [`Response`] and [`Handler`], so that warp stays in this module.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio::net::TcpListener;
use warp::Filter;
use warp::hyper::body::Bytes;

/// The largest body that a request may have, in bytes.
pub const MAX_BODY: u64 = 1 << 20;

/// A request as a role sees it.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `POST`, …, in upper case.
    pub method: String,
    /// The path, still percent-encoded, from its `/`.
    pub path: String,
    /// The query string without its `?`, still percent-encoded.
    pub query: String,
    /// Header fields by lower-case name; the first value of each that is text.
    pub headers: BTreeMap<String, String>,
    /// The body, at most [`MAX_BODY`] bytes.
    pub body: Vec<u8>,
    /// Who asks.
    pub peer: Option<SocketAddr>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The HTTP status code.
    pub status: u16,
    /// Header fields beside `content-type`.
    pub headers: Vec<(&'static str, String)>,
    /// The media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// Plain text.
    #[must_use]
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), content_type: "text/plain; charset=utf-8", body: body.into().into_bytes() }
    }

    /// JSON.
    #[must_use]
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self { content_type: "application/json", ..Self::text(status, body.to_string()) }
    }
}

/// What a role answers beside health and metrics.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// The answer to a request, `None` if the path is not the role's.
    async fn handle(&self, request: Request) -> Option<Response>;
}

/// Whether a role is alive and ready, told by the role and read by `/healthz` and `/readyz`.
#[derive(Debug, Default)]
pub struct Health {
    ready: AtomicBool,
    dead: AtomicBool,
}

impl Health {
    /// Says whether the role does its work.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Says that the role cannot go on and wants to be restarted.
    pub fn set_dead(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    /// Whether the role does its work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}

/// A role's server: what it serves besides its own answers.
pub struct Server {
    /// Alive, ready.
    pub health: Arc<Health>,
    /// The text of `/metrics` (Prometheus exposition format 0.0.4).
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// The role's own paths.
    pub handler: Option<Arc<dyn Handler>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("health", &self.health).finish_non_exhaustive()
    }
}

impl Server {
    /// Serves until `shutdown` is done and the requests under way are answered.
    pub async fn run(self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send + 'static) {
        let server = Arc::new(self);
        let routes = warp::any()
            .and(warp::method())
            .and(warp::path::full())
            .and(warp::query::raw().or(warp::any().map(String::new)).unify())
            .and(warp::header::headers_cloned())
            .and(
                warp::body::content_length_limit(MAX_BODY)
                    .and(warp::body::bytes())
                    .or(warp::any().map(Bytes::new))
                    .unify(),
            )
            .and(warp::filters::addr::remote())
            .then(
                move |method: warp::http::Method,
                      path: warp::path::FullPath,
                      query,
                      headers: warp::http::HeaderMap,
                      body: Bytes,
                      peer| {
                    let server = Arc::clone(&server);
                    let request = Request {
                        method: method.to_string(),
                        path: path.as_str().to_owned(),
                        query,
                        headers: text_headers(&headers),
                        body: body.to_vec(),
                        peer,
                    };
                    async move { into_warp(server.answer(request).await) }
                },
            );
        warp::serve(routes).incoming(listener).graceful(shutdown).run().await;
    }

    async fn answer(&self, request: Request) -> Response {
        match request.path.as_str() {
            "/healthz" if self.health.dead.load(Ordering::Relaxed) => Response::text(503, "dead\n"),
            "/healthz" => Response::text(200, "ok\n"),
            "/readyz" if self.health.is_ready() => Response::text(200, "ok\n"),
            "/readyz" => Response::text(503, "not ready\n"),
            "/metrics" => Response {
                content_type: "text/plain; version=0.0.4; charset=utf-8",
                ..Response::text(200, (self.metrics)())
            },
            _ => match &self.handler {
                Some(handler) => handler.handle(request).await.unwrap_or_else(not_found),
                None => not_found(),
            },
        }
    }
}

fn not_found() -> Response {
    Response::text(404, "no such path\n")
}

fn text_headers(headers: &warp::http::HeaderMap) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (name, value) in headers {
        if let Ok(value) = value.to_str() {
            found.entry(name.as_str().to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    found
}

fn into_warp(response: Response) -> warp::http::Response<Vec<u8>> {
    let mut builder =
        warp::http::Response::builder().status(response.status).header("content-type", response.content_type);
    for (name, value) in response.headers {
        builder = builder.header(name, value);
    }
    builder.body(response.body).unwrap_or_else(|_| warp::http::Response::new(Vec::new()))
}
