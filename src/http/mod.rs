//! The HTTP server of every role, on warp: health, readiness, metrics, and whatever a role answers itself.
//!
//! A role sees only [`Request`], [`Response`] and [`Handler`], so that warp stays in this module.

mod body;
pub mod client;
mod connections;

use std::borrow::Cow;
use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::TcpListener;
use warp::http::StatusCode;
use warp::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use warp::{Filter, Reply};

use crate::core::ip::scope::unmapped;

/// The largest body that a request may have, in bytes.
pub const MAX_BODY: usize = 1 << 20;
/// The most connections that are open at a time; more wait in the kernel's queue.
pub const MAX_CONNECTIONS: usize = 1024;
/// The most connections that one client has of them; more are closed at once.
pub const MAX_CONNECTIONS_EACH: usize = MAX_CONNECTIONS / 4;
/// From this length on, in bytes, a text of metrics is sent as it is made, without its length.
const MAX_WHOLE: usize = 256 << 10;
/// How long a client may take to send a request's header, or nothing at all; its connection is closed then.
pub const HEADER_TIME: Duration = Duration::from_secs(30);
/// How long a client may take to send a request's body.
pub const BODY_TIME: Duration = Duration::from_secs(10);
/// How long requests under way may take to end after a shutdown began.
pub const DRAIN_TIME: Duration = Duration::from_secs(10);

/// A request as a role sees it.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `POST`, …, in upper case; a `HEAD` is told as `GET`.
    pub method: String,
    /// The path, still percent-encoded, from its `/`.
    pub path: String,
    /// The query string without its `?`, still percent-encoded.
    pub query: String,
    /// Header fields.
    pub headers: Headers,
    /// The body, at most [`MAX_BODY`] bytes.
    pub body: Vec<u8>,
    /// Who asks.
    pub peer: Option<SocketAddr>,
}

/// The header fields of a request.
#[derive(Debug, Clone, Default)]
pub struct Headers(warp::http::HeaderMap);

impl Headers {
    /// The first value of the field, if it is text; `name` in lower case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str().ok()
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The HTTP status code.
    pub status: u16,
    /// Header fields beside `content-type`, their names in lower case.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
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

    /// 405, with the methods that the path has, comma-separated.
    #[must_use]
    pub fn method_not_allowed(allowed: &'static str) -> Self {
        let mut response = Self::text(405, format!("method not allowed; this path has {allowed}\n"));
        response.headers.push(("allow", allowed.into()));
        response
    }
}

/// A text in parts, each made when it is sent.
pub type Parts = Box<dyn Iterator<Item = String> + Send + Sync>;

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
    pub metrics: Arc<dyn Fn() -> Parts + Send + Sync>,
    /// The role's own paths.
    pub handler: Option<Arc<dyn Handler>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("health", &self.health).finish_non_exhaustive()
    }
}

impl Server {
    /// Serves until `shutdown` is done and the requests under way are answered, at most [`DRAIN_TIME`] longer.
    ///
    /// `HEAD` reaches a handler as `GET`; the body of its answer is not sent. A body that is too long or too slow is
    /// answered here with 413 or 408.
    pub async fn run(self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send + 'static) {
        let server = Arc::new(self);
        connections::serve(listener, |peer| warp::service(routes(&server, peer)), shutdown).await;
    }

    async fn answer(&self, request: Request) -> Response {
        let own = match request.path.as_str() {
            "/healthz" if self.health.dead.load(Ordering::Relaxed) => Response::text(503, "dead\n"),
            "/healthz" => Response::text(200, "ok\n"),
            "/readyz" if self.health.is_ready() => Response::text(200, "ok\n"),
            "/readyz" => Response::text(503, "not ready\n"),
            // GET of it does not come here.
            "/metrics" => return Response::method_not_allowed("GET, HEAD"),
            _ => {
                return match &self.handler {
                    Some(handler) => handler.handle(request).await.unwrap_or_else(not_found),
                    None => not_found(),
                };
            }
        };
        if request.method == "GET" { own } else { Response::method_not_allowed("GET, HEAD") }
    }
}

/// What is served on the connection of `peer`.
fn routes(
    server: &Arc<Server>,
    peer: SocketAddr,
) -> impl Filter<Extract = (warp::reply::Response,), Error = warp::Rejection> + Clone + Send + Sync + use<> {
    // Each connection counts its own users of it: one count that all cores write to costs more than an answer.
    let server = Arc::new(Arc::clone(server));
    warp::any()
        .and(warp::method())
        .and(warp::path::full())
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(
            move |method: warp::http::Method,
                  path: warp::path::FullPath,
                  query: String,
                  headers: warp::http::HeaderMap,
                  body| {
                let server = Arc::clone(&server);
                async move {
                    let body = match body::read(&method, &headers, body).await {
                        Ok(body) => body,
                        Err(refusal) => return into_warp(refusal),
                    };
                    let method = if method == warp::http::Method::HEAD { warp::http::Method::GET } else { method };
                    let request = Request {
                        method: method.as_str().to_owned(),
                        path: path.as_str().to_owned(),
                        query,
                        headers: Headers(headers),
                        body,
                        peer: Some(peer),
                    };
                    if request.path == "/metrics" && request.method == "GET" {
                        return in_parts((server.metrics)());
                    }
                    into_warp(server.answer(request).await)
                }
            },
        )
}

/// The address that stands for a client: of IPv6 the /64, since a client has all of it (RFC 4291 2.5.1).
#[must_use]
pub fn client_of(address: IpAddr) -> IpAddr {
    match unmapped(address) {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn not_found() -> Response {
    Response::text(404, "no such path\n")
}

/// A text of metrics: sent as a whole with its length where it is short, else as it is made.
fn in_parts(mut parts: Parts) -> warp::reply::Response {
    let mut whole = String::new();
    let mut more = true;
    while more && whole.len() < MAX_WHOLE {
        let part = parts.next();
        more = part.is_some();
        whole.extend(part);
    }
    let mut response = if more {
        let all = std::iter::once(whole).chain(parts).map(Ok::<_, Infallible>);
        warp::reply::stream(futures::stream::iter(all)).into_response()
    } else {
        warp::reply::Response::new(whole.into())
    };
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn into_warp(response: Response) -> warp::reply::Response {
    let mut whole = warp::reply::Response::new(response.body.into());
    *whole.status_mut() = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = whole.headers_mut();
    headers.reserve(response.headers.len() + 1);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(response.content_type));
    for (name, value) in response.headers {
        let value = match value {
            Cow::Borrowed(value) => Ok(HeaderValue::from_static(value)),
            Cow::Owned(value) => HeaderValue::try_from(value),
        };
        match value {
            Ok(value) => drop(headers.insert(HeaderName::from_static(name), value)),
            Err(error) => tracing::error!(%error, name, "a header field was left out"),
        }
    }
    whole
}
