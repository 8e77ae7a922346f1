//! What the store says, as the node's inputs: VirtualIPs that have an address, and views.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::mpsc::Sender;
use tracing::{debug, info, warn};

use super::Told;
use crate::api::kind::Kind;
use crate::api::{FailoverPolicy, FailoverView, HealthCheck, OnApiOutage, PreferredNodes, VirtualIP, VirtualIPStatus};
use crate::core::announce::Timing;
use crate::core::health::{Ask, Check};
use crate::core::node::{Set, Versioned};
use crate::core::placement::Preference;
use crate::core::selector::Selector;
use crate::store::{Change, Key, Object, SharedStore, StoreError};

/// A VirtualIP that has an address, as far as an agent needs it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Watched {
    pub(super) key: Key,
    pub(super) ip: IpAddr,
    pub(super) interface: Option<String>,
    pub(super) interval: Duration,
    pub(super) burst: u8,
    /// Whether no other node may even accept packets for it.
    pub(super) exclusive: bool,
    /// Whether it is taken over at the fence.
    pub(super) fast: bool,
    pub(super) nodes: Option<Selector>,
    pub(super) preferred: Vec<Preference>,
    /// Whether it is given up while the API does not answer.
    pub(super) release: bool,
    pub(super) check: Option<Check>,
    pub(super) status: Box<VirtualIPStatus>,
}

impl Watched {
    /// `None` as long as it has no address.
    fn new(key: Key, vip: VirtualIP) -> Option<Self> {
        let status = Box::new(vip.status.unwrap_or_default());
        let ip = status.address.as_deref()?.split('/').next()?.parse().ok()?;
        Some(Self {
            key,
            ip,
            interface: vip.spec.interface,
            interval: vip.spec.announce.interval.0,
            burst: vip.spec.announce.burst,
            exclusive: vip.spec.exclusive,
            fast: vip.spec.failover_policy == FailoverPolicy::Fast,
            // The API server and the embedded store refuse a selector that is none.
            nodes: vip.spec.node_selector.and_then(|selector| selector.into_core().ok()),
            release: vip.spec.on_api_outage == OnApiOutage::Release,
            check: vip.spec.health_check.and_then(check),
            preferred: vip.spec.preferred_nodes.into_iter().filter_map(preference).collect(),
            status,
        })
    }

    /// How it is announced.
    pub(super) const fn timing(&self) -> Timing {
        Timing { interval: self.interval, burst: self.burst }
    }

    /// Whether it is placed and checked like another: whatever else the statuses say.
    pub(super) fn is_treated_like(&self, other: &Self) -> bool {
        let treated = |vip: &Self| (vip.ip, vip.exclusive, vip.fast, vip.release);
        treated(self) == treated(other)
            && self.interface == other.interface
            && self.nodes == other.nodes
            && self.preferred == other.preferred
            && self.check == other.check
            && (self.check.is_none() || self.status.health == other.status.health)
    }
}

/// `None` for one that asks nothing, which the API server and the embedded store refuse.
fn check(check: HealthCheck) -> Option<Check> {
    let http = check.http.map(|http| Ask::Http { port: http.port, path: http.path });
    let tcp = check.tcp.map(|tcp| Ask::Tcp { port: tcp.port });
    let udp = check.udp.map(|udp| Ask::Udp { port: udp.port });
    Some(Check {
        ask: http.or(tcp).or(udp)?,
        interval: check.interval.0,
        timeout: check.timeout.0,
        threshold: check.failure_threshold,
    })
}

fn preference(preferred: PreferredNodes) -> Option<Preference> {
    Some(Preference { weight: preferred.weight.into(), selector: preferred.node_selector.into_core().ok()? })
}

/// What becomes of an object of a watch: what it is to us by name, `None` if it is nothing.
pub(super) type Read<T> = fn(&Object) -> Result<Option<(String, T)>, StoreError>;

/// Tells of the VirtualIPs, by uid, until the channel closes.
pub(super) async fn vips(store: SharedStore, told: Sender<Told>) -> Result<(), StoreError> {
    let read: Read<Watched> = |object| {
        let vip = object.parse::<VirtualIP>()?;
        Ok(Watched::new(object.key.clone(), vip).map(|watched| (object.uid().to_owned(), watched)))
    };
    follow(store, Kind::VirtualIP, told, read, Told::Vips).await
}

/// Tells of the views, by segment, until the channel closes.
pub(super) async fn views(store: SharedStore, told: Sender<Told>) -> Result<(), StoreError> {
    let read: Read<Versioned> = |object| Ok(Some((object.key.name.clone(), versioned(object)?)));
    follow(store, Kind::FailoverView, told, read, Told::Views).await
}

/// The view in an object of the store.
pub(super) fn versioned(object: &Object) -> Result<Versioned, StoreError> {
    let view = object.parse::<FailoverView>()?.spec.0;
    Ok(Versioned { uid: object.uid().to_owned(), version: object.resource_version().to_owned(), view })
}

pub(super) async fn follow<T: Send + 'static>(
    store: SharedStore,
    kind: Kind,
    told: Sender<Told>,
    read: Read<T>,
    wrap: fn(Set<T>) -> Told,
) -> Result<(), StoreError> {
    let mut changes = store.watch(kind).await?;
    let mut names: BTreeMap<Key, String> = BTreeMap::new();
    let mut lost = false;
    while let Some(change) = changes.next().await {
        let mut sets = Vec::new();
        match change {
            Change::Reset(objects) => {
                if std::mem::take(&mut lost) {
                    info!(kind = kind.name(), "the store answers again");
                }
                names.clear();
                let mut all = BTreeMap::new();
                for object in objects {
                    if let Some((name, what)) = taken(&object, read) {
                        names.insert(object.key.clone(), name.clone());
                        all.insert(name, what);
                    }
                }
                sets.push(Set::All(all));
            }
            Change::Apply(object) => {
                let taken = taken(&object, read);
                // An object made anew under the same name is another one.
                let old = names.remove(&object.key);
                sets.extend(old.filter(|old| taken.as_ref().is_none_or(|(name, _)| name != old)).map(Set::Gone));
                if let Some((name, what)) = taken {
                    names.insert(object.key.clone(), name.clone());
                    sets.push(Set::One(name, what));
                }
            }
            Change::Delete(key) => sets.extend(names.remove(&key).map(Set::Gone)),
            Change::Invalid { key, reason } => {
                // The controller tells people; there is one of it and many agents.
                debug!(kind = kind.name(), ?key, reason, "an invalid object is ignored; what was accepted of it stays");
            }
            Change::Lost(reason) => {
                if !std::mem::replace(&mut lost, true) {
                    warn!(kind = kind.name(), reason, "the store does not answer; nothing changes meanwhile");
                }
            }
        }
        for set in sets {
            if told.send(wrap(set)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn taken<T>(object: &Object, read: Read<T>) -> Option<(String, T)> {
    read(object).unwrap_or_else(|error| {
        warn!(%error, "an object that does not parse is ignored");
        None
    })
}
