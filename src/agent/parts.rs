//! The agent's parts, as they are started.

use tokio::sync::mpsc::{Sender, UnboundedSender};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::dataplane::{DataPlane, News};
use super::{AgentError, Config, KEY_WAIT, Told, gates, guard, kernel, watches};
use crate::core::view::Gate as Kind;
use crate::metrics::AgentMetrics;
use crate::netlink::Netlink;
use crate::store::{SharedStore, StoreError};
use crate::wire::heartbeat::Keys;

/// Opens the gate and starts the data plane, and says of which kind the gate is; `None` where the node does without.
pub(super) async fn open_plane(
    config: &Config,
    store: &SharedStore,
    (netlink, metrics): (&Netlink, &AgentMetrics),
    news: UnboundedSender<News>,
    stop: &CancellationToken,
) -> Result<Option<(DataPlane, Kind)>, AgentError> {
    let Some(gate) = gates::open(config, netlink).await? else { return Ok(None) };
    let kind = gate.kind();
    let keys = wait_for_keys(config, store, stop).await?;
    let plane = DataPlane::start(gate, keys, config, metrics.clone(), news).map_err(AgentError::DataPlane)?;
    Ok(Some((plane, kind)))
}

/// The keys of heartbeats, as soon as the store answers and has them.
async fn wait_for_keys(config: &Config, store: &SharedStore, stop: &CancellationToken) -> Result<Keys, AgentError> {
    let mut said = String::new();
    loop {
        let waiting = match guard::keys(store, &config.namespace, config.makes_key).await {
            Ok(Some(keys)) => return Ok(keys),
            Ok(None) => "for the heartbeat key, which the controller makes".to_owned(),
            Err(error @ StoreError::Unavailable(_)) => format!("for the heartbeat key: {error}"),
            Err(error) => return Err(error.into()),
        };
        if waiting != said {
            warn!("waiting {waiting}");
            said = waiting;
        }
        tokio::select! {
            () = tokio::time::sleep(KEY_WAIT) => {}
            () = stop.cancelled() => return Err(AgentError::Ended("stopped before there was a heartbeat key".to_owned())),
        }
    }
}

/// Starts those that tell what the store and the kernel say.
pub(super) fn spawn_watchers(
    parts: &mut JoinSet<Result<(), AgentError>>,
    store: &SharedStore,
    netlink: &Netlink,
    told: &Sender<Told>,
    guarded: bool,
) {
    if guarded {
        let (store, told) = (SharedStore::clone(store), told.clone());
        parts.spawn(async move { Ok(guard::follow_nodes(store, told).await?) });
    }
    let (vips, views) = (SharedStore::clone(store), SharedStore::clone(store));
    let (to_vips, to_views, to_kernel, netlink) = (told.clone(), told.clone(), told.clone(), netlink.clone());
    parts.spawn(async move { Ok(watches::vips(vips, to_vips).await?) });
    parts.spawn(async move { Ok(watches::views(views, to_views).await?) });
    parts.spawn(async move { Ok(kernel::follow(netlink, to_kernel).await?) });
}
