//! What every role has on the command line and at its end: an address for health and metrics, logs, and signals.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::controller;
use crate::http::{Handler, Health, Server};
use crate::logging::{self, LogFormat};
use crate::memory;
use crate::metrics::Metrics;

/// How long a thread for blocking work stays without any.
const IDLE_THREAD: Duration = Duration::from_secs(2);
/// The threads that a role's tasks share.
const WORKERS: u8 = 2;

/// How a role writes its logs; flatten it into the role's arguments.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LogArgs {
    /// How log lines look; what is logged: VIPKEEPER_LOG=debug
    #[arg(long, value_enum, default_value = "text", env = "VIPKEEPER_LOG_FORMAT")]
    log_format: LogFormat,
}

/// What a role runs with.
#[derive(Debug)]
pub(crate) struct Role {
    /// The process's metrics.
    pub(crate) metrics: Metrics,
    /// Alive, ready.
    pub(crate) health: Arc<Health>,
    /// Cancelled by SIGTERM, SIGINT and SIGHUP, and when the role has ended.
    pub(crate) stop: CancellationToken,
    listener: Option<TcpListener>,
}

impl Role {
    /// Serves health, metrics and `handler` while `work` runs; ends when it does.
    pub(crate) async fn run<T>(
        self,
        handler: Option<Arc<dyn Handler>>,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let Self { metrics, health, stop, listener } = self;
        let server = Server { health, metrics: Arc::new(move || metrics.parts()), handler };
        let closing = stop.clone();
        let serving =
            listener.map(|listener| tokio::spawn(server.run(listener, async move { closing.cancelled().await })));
        let result = work.await;
        stop.cancel();
        if let Some(serving) = serving {
            serving.await.context("the HTTP server")?;
        }
        result
    }
}

/// Starts a runtime, logs, signals and the listener at `listen` (if there is to be one), and runs a role on them.
///
/// # Errors
/// The address cannot be listened on, or whatever the role fails with.
pub(crate) fn start<T, F: Future<Output = anyhow::Result<T>>>(
    listen: impl Into<Option<SocketAddr>>,
    logs: &LogArgs,
    role: impl FnOnce(Role) -> F,
) -> anyhow::Result<T> {
    start_with_heaps(1, listen, logs, role)
}

/// The same for a role whose threads allocate all the time: each of them has a heap of its own.
///
/// # Errors
/// As [`start`].
pub(crate) fn start_busy<T, F: Future<Output = anyhow::Result<T>>>(
    listen: impl Into<Option<SocketAddr>>,
    logs: &LogArgs,
    role: impl FnOnce(Role) -> F,
) -> anyhow::Result<T> {
    // The main thread and one for what blocks have theirs too.
    start_with_heaps(WORKERS + 2, listen, logs, role)
}

fn start_with_heaps<T, F: Future<Output = anyhow::Result<T>>>(
    heaps: u8,
    listen: impl Into<Option<SocketAddr>>,
    logs: &LogArgs,
    role: impl FnOnce(Role) -> F,
) -> anyhow::Result<T> {
    logging::init(logs.log_format);
    let listen = listen.into();
    memory::limit_heaps(heaps);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(WORKERS.into()).thread_keep_alive(IDLE_THREAD).enable_all().build()?;
    runtime.block_on(async {
        tokio::spawn(memory::give_back());
        let listener = match listen {
            Some(listen) => {
                let bound = TcpListener::bind(listen).await;
                let bound = bound.with_context(|| format!("cannot listen on {listen} (--listen)"))?;
                let listen = bound.local_addr()?;
                info!(%listen, version = env!("CARGO_PKG_VERSION"), "health and metrics are served");
                Some(bound)
            }
            None => None,
        };
        let stop = CancellationToken::new();
        for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
            let (mut signals, stop) = (signal(kind)?, stop.clone());
            tokio::spawn(async move {
                if signals.recv().await.is_some() {
                    stop.cancel();
                }
            });
        }
        role(Role { metrics: Metrics::new(), health: Arc::new(Health::default()), stop, listener }).await
    })
}

/// The namespace of what controller and agents share: given, else `POD_NAMESPACE` (the downward API), else the usual one.
pub(crate) fn namespace(given: Option<String>) -> String {
    let from_env = || std::env::var("POD_NAMESPACE").ok().filter(|name| !name.is_empty());
    given.or_else(from_env).unwrap_or_else(|| controller::NAMESPACE.to_owned())
}

/// The name of this node: `--node`, else `NODE_NAME` (the downward API), else the host name.
///
/// # Errors
/// The host name is no text.
pub(crate) fn node_name(given: Option<String>) -> anyhow::Result<String> {
    if let Some(name) = given.or_else(|| std::env::var("NODE_NAME").ok()).filter(|name| !name.is_empty()) {
        return Ok(name);
    }
    let system = rustix::system::uname();
    let name = system.nodename().to_str().context("the host name is no text; name the node: --node")?;
    Ok(name.to_lowercase())
}
