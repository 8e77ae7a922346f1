//! The agent's parts, as they are started.

use tokio::sync::mpsc::{Sender, UnboundedSender};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::dataplane::{DataPlane, News};
use super::{AgentError, Config, GateChoice, KEY_WAIT, Told, guard, kernel, watches};
use crate::gate::Bpf;
use crate::netlink::Netlink;
use crate::store::SharedStore;

/// Opens the gate and starts the data plane; `None` where the node does without.
pub(super) async fn open_plane(
    config: &Config,
    store: &SharedStore,
    news: UnboundedSender<News>,
    stop: &CancellationToken,
) -> Result<Option<DataPlane>, AgentError> {
    let gate = match config.gate {
        GateChoice::None => None,
        GateChoice::Bpf => Some(Bpf::open(&config.bpffs)?),
        GateChoice::Auto => match Bpf::open(&config.bpffs) {
            Ok(gate) => Some(gate),
            Err(error) if error.is_unavailable() => {
                warn!(%error, "no gate: this node holds addresses only as long as no other takes part in the segment");
                None
            }
            Err(error) => return Err(error.into()),
        },
    };
    let Some(gate) = gate else { return Ok(None) };
    loop {
        if let Some(keys) = guard::keys(store, &config.namespace, config.makes_key).await? {
            let plane = DataPlane::start(gate, keys, config.timing, news).map_err(AgentError::DataPlane)?;
            return Ok(Some(plane));
        }
        info!("waiting for the heartbeat key, which the controller makes");
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
