//! Connections: as many as are allowed, each with time limits, ended in order at shutdown.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{DRAIN_TIME, HEADER_TIME, MAX_CONNECTIONS, MAX_CONNECTIONS_EACH, client_of};

/// The longest header of a request, in bytes: request line and all fields.
const MAX_HEADER: usize = 16 << 10;
/// How long to wait after `accept` failed, as it does when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many connections each client has.
type Clients = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// A connection's share of its client's number, given back when it ends.
struct Share {
    clients: Clients,
    client: IpAddr,
}

impl Share {
    /// `None` if the client has as many as it may have.
    fn take(clients: &Clients, client: IpAddr) -> Option<Self> {
        let mut counts = clients.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(client).or_default();
        if *count >= MAX_CONNECTIONS_EACH {
            return None;
        }
        *count += 1;
        Some(Self { clients: Arc::clone(clients), client })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

/// Hands the requests of each connection to what `service` makes for its client, until `shutdown`; then waits for those
/// under way.
pub(super) async fn serve<S, B>(
    listener: TcpListener,
    service: impl Fn(SocketAddr) -> S,
    shutdown: impl Future<Output = ()>,
) where
    TowerToHyperService<S>: Service<hyper::Request<Incoming>, Response = hyper::Response<B>, Error = Infallible>,
    <TowerToHyperService<S> as Service<hyper::Request<Incoming>>>::Future: Send,
    S: Clone + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let clients = Clients::default();
    let open = GracefulShutdown::new();
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(MAX_HEADER);
    let mut shutdown = pin!(shutdown);
    loop {
        let next = async {
            let permit = Arc::clone(&free).acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            () = &mut shutdown => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(share) = Share::take(&clients, client_of(peer.ip())) else {
            tracing::debug!(%peer, "a client has as many connections as it may have");
            continue;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "the connection ended at once");
            continue;
        }
        let service = TowerToHyperService::new(service(peer));
        let connection = open.watch(protocol.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke");
            }
            drop((permit, share));
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIME, open.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way {DRAIN_TIME:?} after the shutdown began");
    }
}
