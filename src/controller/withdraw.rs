//! The end of an installation: every node gives up its addresses, and what agents and the controller made goes.

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::LEASE;
use crate::api::kind::Kind;
use crate::api::{FailoverView, HEARTBEAT_SECRET};
use crate::core::controller::FINALIZER;
use crate::core::view::{ROOT, State, View};
use crate::store::{Key, Object, SharedStore, StoreError};

/// How often it is looked what is left.
const LOOK: Duration = Duration::from_millis(300);

/// What is not given up yet; nothing, if all of it is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// `segment/node` of the members that have not left.
    pub members: Vec<String>,
    /// `namespace/name` of the VirtualIPs that somebody may still answer for.
    pub vips: Vec<String>,
}

impl Left {
    /// Whether everything is given up.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.members.is_empty() && self.vips.is_empty()
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        write!(f, "nodes that have not left their segment: {}; ", list(&self.members))?;
        write!(f, "VirtualIPs that may still be held: {}", list(&self.vips))
    }
}

/// Tells all nodes to give up what they hold, and waits until they have and the controller has taken note.
///
/// # Errors
/// The store's.
pub async fn withdraw(store: &SharedStore, limit: Duration) -> Result<Left, StoreError> {
    let deadline = Instant::now() + limit;
    loop {
        // Each time anew: a node may have met its segment only now.
        let left = look(store).await?;
        if left.is_nothing() || Instant::now() >= deadline {
            return Ok(left);
        }
        sleep(LOOK).await;
    }
}

/// Tells the segments that do not know it yet, and says what is left.
async fn look(store: &SharedStore) -> Result<Left, StoreError> {
    let mut left = Left::default();
    for object in store.list(Kind::FailoverView).await? {
        let view = object.parse::<FailoverView>()?.spec.0;
        if !view.withdraw {
            tell(store, &object.key).await?;
        }
        let up = view.members.iter().filter(|(_, member)| member.state == State::Up);
        left.members.extend(up.map(|(node, _)| format!("{}/{node}", object.key)));
    }
    let held = store.list(Kind::VirtualIP).await?.into_iter().filter(has_finalizer);
    left.vips.extend(held.map(|vip| vip.key.to_string()));
    Ok(left)
}

async fn tell(store: &SharedStore, key: &Key) -> Result<(), StoreError> {
    let malformed = |error: serde_json::Error| StoreError::Malformed {
        kind: Kind::FailoverView.name(),
        key: key.to_string(),
        reason: error.to_string(),
    };
    let patch = serde_json::from_value(View::withdraw_all().to_value(ROOT)).map_err(malformed)?;
    match store.patch(Kind::FailoverView, key, &patch).await {
        // Somebody else was faster, or it has gone: the next look tells.
        Ok(_) | Err(StoreError::Conflict { .. } | StoreError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn has_finalizer(vip: &Object) -> bool {
    vip.body["metadata"]["finalizers"].as_array().is_some_and(|all| all.iter().any(|one| one == FINALIZER))
}

/// Deletes what agents and the controller made for themselves, once they are gone: the views, and in their namespace the
/// lease and the heartbeat key. What users made stays. Gives the number of objects.
///
/// # Errors
/// The store's.
pub async fn purge(store: &SharedStore, namespace: &str) -> Result<usize, StoreError> {
    let mut deleted = 0;
    for view in store.list(Kind::FailoverView).await? {
        deleted += delete(store, Kind::FailoverView, &view.key).await?;
    }
    for (kind, name) in [(Kind::Lease, LEASE), (Kind::Secret, HEARTBEAT_SECRET)] {
        deleted += delete(store, kind, &Key::namespaced(namespace, name)).await?;
    }
    Ok(deleted)
}

async fn delete(store: &SharedStore, kind: Kind, key: &Key) -> Result<usize, StoreError> {
    match store.delete(kind, key).await {
        Ok(()) => Ok(1),
        Err(StoreError::NotFound { .. }) => Ok(0),
        Err(error) => Err(error),
    }
}
