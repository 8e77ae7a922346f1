//! Events of Kubernetes (core/v1), for `kubectl describe`.
//!
//! The name of an event is made from what it says, so that the same one again, from whichever process, raises its count
//! instead of adding another.

use jiff::Timestamp;
use kube::api::ListParams;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::request::{Body, Lane, Target};
use crate::store::{Event, EventType, Object, RecordedEvent, StoreError};

/// The namespace of events of objects that are in none.
const NAMESPACE: &str = "default";
/// The longest message in bytes that the API server takes.
const LONGEST_MESSAGE: usize = 1024;

const fn severity(event_type: EventType) -> &'static str {
    match event_type {
        EventType::Normal => "Normal",
        EventType::Warning => "Warning",
    }
}

/// `NAME.HASH`, where the hash is of the object and of what is said.
fn name_of(event: &Event, message: &str) -> String {
    let mut hash = Sha256::new();
    for part in [event.uid.as_str(), severity(event.event_type), event.reason, message] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let hash: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    // An object's name may be as long as an event's.
    let object = event.key.name.get(..event.key.name.len().min(230)).unwrap_or_default();
    format!("{}.{hash}", object.trim_end_matches(['.', '-']))
}

/// Adds an event, or counts it again.
pub(super) async fn record(lane: &Lane, event: &Event) -> Result<(), StoreError> {
    let namespace = event.key.namespace.as_deref().unwrap_or(NAMESPACE);
    let message = &event.message[..event.message.floor_char_boundary(LONGEST_MESSAGE)];
    let name = name_of(event, message);
    // Event times have whole seconds.
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let body = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {
            "apiVersion": event.kind.api_version(),
            "kind": event.kind.name(),
            "name": event.key.name,
            "namespace": event.key.namespace,
            "uid": event.uid,
        },
        "type": severity(event.event_type),
        "reason": event.reason,
        "message": message,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
        "source": {"component": super::MANAGER},
        "reportingComponent": super::MANAGER,
    });
    let target = Target::events(namespace, name);
    match lane.send(&target, Body::Create(&body)).await {
        Err(StoreError::AlreadyExists { .. }) => {}
        other => return other.map(drop),
    }
    let stored = lane.send(&target, Body::Get).await?;
    let count = stored["count"].as_u64().unwrap_or(1) + 1;
    let again = json!({"count": count, "lastTimestamp": now});
    lane.send(&target, Body::Merge(&again)).await.map(drop)
}

/// The events of an object, the oldest first.
pub(super) async fn list(lane: &Lane, object: &Object) -> Result<Vec<RecordedEvent>, StoreError> {
    let namespace = object.key.namespace.as_deref().unwrap_or(NAMESPACE);
    let target = Target::events(namespace, String::new());
    let of_object = ListParams::default().fields(&format!("involvedObject.uid={}", object.uid()));
    let (items, _) = lane.list(&target, of_object).await?;
    let mut events: Vec<RecordedEvent> = items.iter().filter_map(recorded).collect();
    events.sort_by_key(|event| event.last);
    Ok(events)
}

/// An event of whichever writer; one without a time is left out.
fn recorded(item: &Value) -> Option<RecordedEvent> {
    let text = |field: &str| item[field].as_str().unwrap_or_default();
    let time = |field: &str| text(field).parse::<Timestamp>().ok();
    let last = time("lastTimestamp").or_else(|| time("eventTime"))?;
    Some(RecordedEvent {
        event_type: if text("type") == "Warning" { EventType::Warning } else { EventType::Normal },
        reason: text("reason").to_owned(),
        message: text("message").to_owned(),
        first: time("firstTimestamp").unwrap_or(last),
        last,
        count: item["count"].as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(1),
    })
}
