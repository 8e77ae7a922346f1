//! `vipkeeper lookup serve`.

use std::net::SocketAddr;
use std::sync::Arc;

use super::sources::SourceArgs;
use crate::api::duration::Duration;
use crate::cli::store_args::StoreArgs;
use crate::cli::{Exit, role};
use crate::http::Handler;
use crate::lookup::{Clients, Resources, Site};
use crate::metrics::LookupMetrics;

/// Serve look-ups over HTTP: GET and POST /lookup, /check, a page, /openapi.json, health and metrics.
///
/// Example: vipkeeper lookup serve --geo GeoLite2-City.mmdb --networks networks.txt
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address and port to serve on
    #[arg(long, value_name = "ADDR:PORT", default_value = "[::]:8080", env = "VIPKEEPER_LISTEN")]
    listen: SocketAddr,
    #[command(flatten)]
    sources: SourceArgs,
    /// Questions a second that each client may ask; 0: no limit
    #[arg(long, value_name = "N", default_value_t = 20, env = "VIPKEEPER_CLIENT_RATE")]
    client_rate: u32,
    /// Questions that each client may ask at once
    #[arg(long, value_name = "N", default_value_t = 100, env = "VIPKEEPER_CLIENT_BURST")]
    client_burst: u32,
    /// The most questions of a batch
    #[arg(long, value_name = "N", default_value_t = 100, env = "VIPKEEPER_BATCH")]
    batch: usize,
    /// Questions a second to each registry; 0: no limit
    #[arg(long, value_name = "N", default_value_t = 5, env = "VIPKEEPER_UPSTREAM_RATE")]
    upstream_rate: u32,
    /// Questions to each registry at once
    #[arg(long, value_name = "N", default_value_t = 20, env = "VIPKEEPER_UPSTREAM_BURST")]
    upstream_burst: u32,
    /// How many answers of registries are kept
    #[arg(long, value_name = "N", default_value_t = 10_000, env = "VIPKEEPER_CACHE_SIZE")]
    cache_size: usize,
    /// How long a registry's record is kept
    #[arg(long, value_name = "TIME", default_value = "1h", env = "VIPKEEPER_CACHE_TTL")]
    cache_ttl: Duration,
    /// How long it is kept that a registry has no record
    #[arg(long, value_name = "TIME", default_value = "5m", env = "VIPKEEPER_CACHE_NEGATIVE_TTL")]
    cache_negative_ttl: Duration,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    logs: role::LogArgs,
}

impl Args {
    pub(super) fn run(self: Box<Self>) -> anyhow::Result<Exit> {
        let (listen, logs) = (self.listen, self.logs.clone());
        role::start_busy(listen, &logs, |role| self.serve(role))
    }

    async fn serve(self: Box<Self>, role: role::Role) -> anyhow::Result<Exit> {
        let metrics = LookupMetrics::new(&role.metrics);
        let (size, ttl, missing) = (self.cache_size, self.cache_ttl.0, self.cache_negative_ttl.0);
        let (rate, burst) = (self.upstream_rate, self.upstream_burst);
        let mut service = self.sources.open(&metrics, |config| {
            (config.capacity, config.keep, config.keep_missing) = (size, ttl, missing);
            (config.rate, config.burst) = (rate, burst);
        })?;
        let store = self.store.open_if_given().await?;
        let resources = Arc::new(Resources::default());
        service.resources = store.is_some().then(|| Arc::clone(&resources));
        let service = Arc::new(service);
        let clients = Clients::new(self.client_rate, self.client_burst);
        let site: Arc<dyn Handler> =
            Arc::new(Site { service: Arc::clone(&service), clients, batch: self.batch, metrics });
        role.health.set_ready(true);
        let stop = role.stop.clone();
        role.run(Some(site), async move {
            let follow = async {
                if let Some(store) = store {
                    resources.follow(store, stop.clone()).await;
                }
            };
            tokio::join!(service.watch(stop.clone()), follow);
            Ok(Exit::Done)
        })
        .await
    }
}
