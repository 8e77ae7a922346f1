//! Decisions, carried out on the store.

use std::future::Future;
use std::time::Duration;

use json_patch::Patch;
use serde_json::{Value, json};
use tracing::debug;

use super::{objects, services};
use crate::core::controller::{Condition, FINALIZER, Id, Missing, Object as Seen, Outcome, PoolStatus, Status, Write};
use crate::core::view::ROOT;
use crate::store::{Object, SharedStore, StoreError};

/// The field manager of whatever the controller writes into a status.
pub const MANAGER: &str = "vipkeeper-controller";

/// How long a request may take; its outcome is unknown then.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest pause between two attempts to learn what became of a view.
const LONGEST: Duration = Duration::from_secs(10);

/// Carries out a write and says what became of it, and why it failed if it did.
pub(super) async fn write(store: &SharedStore, id: &Id, write: Write) -> (Outcome, Option<StoreError>) {
    let (kind, key) = objects::place(id);
    let removing = matches!(write, Write::RemoveFinalizer { .. });
    let result = match write {
        Write::View(patch) => send_patch(store, id, patch.to_value(ROOT)).await,
        Write::RemoveFinalizer { at } => {
            let path = format!("/metadata/finalizers/{at}");
            let test = json!({"op": "test", "path": path, "value": FINALIZER});
            send_patch(store, id, json!([test, {"op": "remove", "path": path}])).await
        }
        Write::VipStatus { missing, status } => {
            let ready = match missing {
                Some(missing) => send_patch(store, id, add_finalizer(&missing)).await.map(drop),
                None => Ok(()),
            };
            match ready {
                Ok(()) => limited(store.apply_status(kind, &key, MANAGER, vip_status(&status))).await,
                Err(error) => Err(error),
            }
        }
        Write::CreateVip(new) => limited(store.create(kind, services::new_vip(&key, &new))).await,
        Write::DeleteVip => match limited(store.delete(kind, &key)).await {
            Ok(()) => return (read(store, id).await.unwrap_or(Outcome::Failed), None),
            Err(error) => Err(error),
        },
        Write::ServiceStatus(status) => {
            let conditions = conditions(status.condition.as_slice());
            limited(store.apply_status(kind, &key, MANAGER, services::status(&status, conditions))).await
        }
        Write::PoolStatus(status) => limited(store.apply_status(kind, &key, MANAGER, pool_status(&status))).await,
    };
    match result {
        Ok(object) => (done(&object, removing), None),
        Err(StoreError::NotFound { .. }) => (Outcome::Gone, None),
        Err(
            error @ (StoreError::Conflict { .. } | StoreError::TestFailed { .. } | StoreError::AlreadyExists { .. }),
        ) => {
            debug!(%error, "read again");
            match read(store, id).await {
                Ok(outcome) => (outcome, None),
                Err(error) => (settle(store, id).await, Some(error)),
            }
        }
        Err(error) => (settle(store, id).await, Some(error)),
    }
}

/// The absence of finalizers cannot be tested, the version can.
fn add_finalizer(Missing { version, others }: &Missing) -> Value {
    let add = match others {
        0 => json!({"op": "add", "path": "/metadata/finalizers", "value": [FINALIZER]}),
        _ => json!({"op": "add", "path": "/metadata/finalizers/-", "value": FINALIZER}),
    };
    json!([{"op": "test", "path": "/metadata/resourceVersion", "value": version}, add])
}

async fn send_patch(store: &SharedStore, id: &Id, patch: Value) -> Result<Object, StoreError> {
    let (kind, key) = objects::place(id);
    let malformed = |error: serde_json::Error| StoreError::Malformed {
        kind: kind.name(),
        key: key.to_string(),
        reason: error.to_string(),
    };
    let patch: Patch = serde_json::from_value(patch).map_err(malformed)?;
    limited(store.patch(kind, &key, &patch)).await
}

async fn limited<T>(request: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = || StoreError::Unavailable(format!("no answer within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, request).await.unwrap_or_else(|_| Err(late()))
}

/// What a write that succeeded left behind. Where the last finalizer goes the object goes too, and what a store returns
/// may still bear it.
fn done(object: &Object, removing: bool) -> Outcome {
    match objects::seen(object) {
        Ok(Seen::Vip(vip)) if removing && vip.meta.deleting && vip.meta.finalizers.iter().all(|f| f == FINALIZER) => {
            Outcome::Gone
        }
        Ok(seen) => Outcome::Done(seen),
        Err(_) => Outcome::Failed,
    }
}

async fn read(store: &SharedStore, id: &Id) -> Result<Outcome, StoreError> {
    let (kind, key) = objects::place(id);
    match limited(store.get(kind, &key)).await? {
        Some(object) => Ok(Outcome::Overtaken(objects::seen(&object)?)),
        None => Ok(Outcome::Gone),
    }
}

/// What to report of a write whose outcome is not known. Who has what must be known before anything else about it is
/// decided: a view is read until the store answers.
async fn settle(store: &SharedStore, id: &Id) -> Outcome {
    if !matches!(id, Id::View(_)) {
        return Outcome::Failed;
    }
    let mut pause = Duration::from_millis(200);
    loop {
        tokio::time::sleep(pause).await;
        match read(store, id).await {
            Ok(outcome) => return outcome,
            Err(error) => debug!(%error, "the view cannot be read"),
        }
        pause = (pause * 2).min(LONGEST);
    }
}

fn vip_status(status: &Status) -> Value {
    let mut body = json!({ "conditions": conditions(&status.conditions) });
    set(&mut body, "address", status.address.map(|address| address.to_string()));
    set(&mut body, "observedGeneration", status.generation);
    body
}

fn pool_status(status: &PoolStatus) -> Value {
    let mut body = json!({ "conditions": conditions(&status.conditions) });
    set(&mut body, "total", status.total.clone());
    set(&mut body, "allocated", status.allocated.clone());
    set(&mut body, "free", status.free.clone());
    set(&mut body, "observedGeneration", status.generation);
    body
}

fn set(body: &mut Value, field: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        body[field] = value.into();
    }
}

fn conditions(conditions: &[Condition]) -> Vec<Value> {
    // Kubernetes' metav1.Time has whole seconds.
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let one = |condition: &Condition| {
        json!({
            "type": condition.kind,
            "status": if condition.holds { "True" } else { "False" },
            "reason": condition.reason,
            "message": condition.message,
            "observedGeneration": condition.generation,
            "lastTransitionTime": condition.since.as_ref().unwrap_or(&now),
        })
    };
    conditions.iter().map(one).collect()
}
