//! That the store is not reached through an address of ours: a failover would need what failed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tracing::error;

use super::watches::Watched;
use super::{Agent, AgentError};
use crate::core::node::Set;
use crate::store::SharedStore;

/// The addresses of the server that the store asks; none where it asks none, or its name has no address now.
pub(super) async fn server(store: &SharedStore) -> BTreeSet<IpAddr> {
    let Some(host) = store.server() else { return BTreeSet::new() };
    if let Ok(address) = host.parse::<IpAddr>() {
        return [address].into();
    }
    let found = tokio::net::lookup_host((host, 0)).await;
    found.map(|addresses| addresses.map(|address| address.ip()).collect()).unwrap_or_default()
}

impl Agent {
    /// Leaves VirtualIPs aside through which the store is reached. Where one is there from the start, the agent refuses
    /// to begin, since somebody has to decide.
    ///
    /// # Errors
    /// [`AgentError::ThroughVip`].
    pub(super) fn without_server(&mut self, set: Set<Watched>) -> Result<Set<Watched>, AgentError> {
        let through = |vip: &Watched| self.server.contains(&vip.ip);
        Ok(match set {
            Set::All(all) => {
                let (found, rest): (BTreeMap<_, _>, BTreeMap<_, _>) =
                    all.into_iter().partition(|(_, vip)| through(vip));
                if let Some(vip) = found.into_values().next() {
                    if !self.node.is_informed() {
                        return Err(AgentError::ThroughVip { vip: vip.key.to_string(), ip: vip.ip });
                    }
                    left_aside(&vip);
                }
                Set::All(rest)
            }
            Set::One(uid, vip) if through(&vip) => {
                left_aside(&vip);
                Set::Gone(uid)
            }
            set @ (Set::One(..) | Set::Gone(_)) => set,
        })
    }
}

fn left_aside(vip: &Watched) {
    error!(vip = %vip.key, ip = %vip.ip, "the store is reached through this address: this node does not take it");
}
