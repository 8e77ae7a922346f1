//! Our own resources, as the store has them: whose VirtualIP, pool or node an address is.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::api::address_pool::AddressPool;
use crate::api::kind::Kind;
use crate::api::virtual_ip::VirtualIP;
use crate::core::lookup::owners::{Covers, Owner, Owners};
use crate::store::{Change, Key, Object, SharedStore, StoreError};

/// The kinds that addresses belong to.
const KINDS: [Kind; 3] = [Kind::VirtualIP, Kind::AddressPool, Kind::Node];
/// How long to wait before a watch that could not be begun is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// What is known of the store's resources; see the module.
#[derive(Debug, Default)]
pub struct Resources {
    owners: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    owners: Owners<(Kind, Key)>,
    changed: Option<jiff::Timestamp>,
}

impl Resources {
    /// Whose an address is, and when anything last changed (RFC 3339).
    #[must_use]
    pub fn of(&self, address: IpAddr) -> (Vec<Owner>, Option<String>) {
        let state = self.owners.read().unwrap_or_else(PoisonError::into_inner);
        let date = state.changed.and_then(|time| super::files::date(time.as_second()));
        (state.owners.of(address), date)
    }

    /// Reads the store once.
    ///
    /// # Errors
    /// Which kind cannot be read.
    pub async fn load(&self, store: &SharedStore) -> Result<(), StoreError> {
        for kind in KINDS {
            self.handle(kind, Change::Reset(store.list(kind).await?));
        }
        Ok(())
    }

    /// Follows the store until `stop`.
    pub async fn follow(self: Arc<Self>, store: SharedStore, stop: CancellationToken) {
        let watches = KINDS.map(|kind| self.follow_kind(&store, kind));
        stop.run_until_cancelled(futures::future::join_all(watches)).await;
    }

    async fn follow_kind(&self, store: &SharedStore, kind: Kind) {
        loop {
            match store.watch(kind).await {
                Ok(mut changes) => {
                    while let Some(change) = changes.next().await {
                        self.handle(kind, change);
                    }
                }
                Err(error) => tracing::warn!(kind = kind.name(), %error, "cannot watch the store; trying again"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    fn handle(&self, kind: Kind, change: Change) {
        let mut state = self.owners.write().unwrap_or_else(PoisonError::into_inner);
        match change {
            Change::Reset(objects) => {
                state.owners.retain(|(of, _)| *of != kind);
                objects.iter().for_each(|object| state.apply(object));
            }
            Change::Apply(object) => state.apply(&object),
            Change::Delete(key) => state.owners.delete(&(kind, key)),
            // What was accepted before stays true.
            Change::Invalid { key, reason } => {
                tracing::debug!(kind = kind.name(), key = ?key, reason, "an object is not valid");
                return;
            }
            Change::Lost(reason) => {
                tracing::warn!(
                    kind = kind.name(),
                    reason,
                    "the watch of the store is broken; what is known may be old"
                );
                return;
            }
        }
        state.changed = Some(jiff::Timestamp::now());
    }
}

impl State {
    fn apply(&mut self, object: &Object) {
        let key = (object.kind, object.key.clone());
        match read(object) {
            Some((owner, covers)) => self.owners.apply(key, owner, covers),
            None => self.owners.delete(&key),
        }
    }
}

/// What an object owns; `None` if it is not of a shape that owns anything.
fn read(object: &Object) -> Option<(Owner, Covers)> {
    let mut owner = Owner {
        kind: object.kind.name(),
        namespace: object.key.namespace.clone(),
        name: object.key.name.clone(),
        pool: None,
        holder: None,
        interface: None,
        mac: None,
    };
    let mut covers = Covers::default();
    match object.kind {
        Kind::VirtualIP => {
            let vip: VirtualIP = object.parse().ok()?;
            let status = vip.status.unwrap_or_default();
            let text = status.address.or(vip.spec.address)?;
            covers.addresses.push(text.split('/').next()?.parse().ok()?);
            owner.pool = vip.spec.pool;
            if let Some(holder) = status.holder {
                owner.holder = Some(holder.node);
                owner.interface = Some(holder.interface);
                owner.mac = Some(holder.mac);
            }
        }
        Kind::AddressPool => {
            let pool: AddressPool = object.parse().ok()?;
            covers.ranges = pool.spec.ranges.iter().filter_map(|range| range.parse().ok()).collect();
            covers.excluded = pool.spec.exclude.iter().filter_map(|range| range.parse().ok()).collect();
        }
        Kind::Node => {
            let addresses = object.body["status"]["addresses"].as_array()?;
            let texts = addresses.iter().filter_map(|address| address["address"].as_str());
            covers.addresses = texts.filter_map(|text| text.parse().ok()).collect();
        }
        _ => return None,
    }
    Some((owner, covers))
}
