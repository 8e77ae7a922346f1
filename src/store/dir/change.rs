//! What a write makes of an object: the API server's rules, as functions of what is stored.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::apply;
use super::check;
use super::commit::Verdict;
use super::name;
use super::record::{Record, Stored};
use crate::api::kind::Kind;
use crate::store::{Key, StoreError};

/// What the API server gives an object and no writer may change.
const SERVER_FIELDS: [&str; 5] = ["uid", "creationTimestamp", "generation", "deletionTimestamp", "selfLink"];

/// What an object is given when it is made.
#[derive(Debug, Clone)]
pub(super) struct Birth {
    /// Its identity.
    pub(super) uid: String,
    /// When it was first seen, to the microsecond: the order in which objects were first seen.
    pub(super) at: Timestamp,
}

/// The key that an object says it has.
pub(super) fn key_of(kind: Kind, body: &Value) -> Result<Key, StoreError> {
    key_in(kind, &body["metadata"])
}

fn key_in(kind: Kind, metadata: &Value) -> Result<Key, StoreError> {
    let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
    let key = if kind.namespaced() || metadata["namespace"].is_string() {
        Key { namespace: Some(text("namespace")), name: text("name") }
    } else {
        Key::cluster(text("name"))
    };
    match name::fault(kind, &key) {
        None => Ok(key),
        Some(reason) => Err(invalid(kind, &key, reason)),
    }
}

/// A new object.
pub(super) fn create(
    kind: Kind,
    key: &Key,
    birth: &Birth,
    body: Value,
    stored: Option<&Stored>,
) -> Result<Verdict, StoreError> {
    if stored.is_some_and(|stored| stored.record.object.is_some()) {
        return Err(StoreError::AlreadyExists { kind: kind.name(), key: key.to_string() });
    }
    let mut object = shaped(kind, key, body)?;
    if kind.has_status() {
        object.remove("status");
    }
    let metadata = metadata_of(&mut object);
    for field in SERVER_FIELDS {
        metadata.remove(field);
    }
    metadata.insert("uid".to_owned(), birth.uid.clone().into());
    metadata.insert("creationTimestamp".to_owned(), birth.at.to_string().into());
    metadata.insert("generation".to_owned(), 1.into());
    Ok(write(Record { object: Some(Value::Object(object)), ..Record::default() }))
}

/// A whole object in the place of another.
pub(super) fn replace(kind: Kind, key: &Key, body: Value, stored: Option<&Stored>) -> Result<Verdict, StoreError> {
    let stored = there(kind, key, stored)?;
    let version = body["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    if version.is_empty() {
        return Err(invalid(kind, key, "metadata.resourceVersion is missing: it says what is replaced".to_owned()));
    }
    if version != stored.version.to_string() {
        return Err(conflict(kind, key));
    }
    update(kind, key, check::object(kind, key, body, stored.record.object.as_ref())?, stored)
}

/// A patch of the object.
pub(super) fn patch(
    kind: Kind,
    key: &Key,
    patch: &json_patch::Patch,
    stored: Option<&Stored>,
) -> Result<Verdict, StoreError> {
    let stored = there(kind, key, stored)?;
    let mut body = stored.object(kind, key).map(|object| Value::from(object.body)).unwrap_or_default();
    json_patch::patch(&mut body, patch).map_err(|error| StoreError::TestFailed {
        kind: kind.name(),
        key: key.to_string(),
        reason: error.to_string(),
    })?;
    if body["metadata"]["resourceVersion"].as_str() != Some(&stored.version.to_string()) {
        return Err(conflict(kind, key));
    }
    update(kind, key, check::object(kind, key, body, stored.record.object.as_ref())?, stored)
}

/// What `body` makes of a stored object: status and what the server gives stay, and the object goes when it is being
/// deleted and has no finalizer left.
pub(super) fn update(kind: Kind, key: &Key, body: Value, stored: &Stored) -> Result<Verdict, StoreError> {
    let old = stored.record.object.as_ref().unwrap_or(&Value::Null);
    let mut object = shaped(kind, key, body)?;
    if let Some(uid) = metadata_of(&mut object).get("uid")
        && *uid != old["metadata"]["uid"]
    {
        return Err(conflict(kind, key));
    }
    if kind.has_status() {
        match old.get("status") {
            Some(status) => object.insert("status".to_owned(), status.clone()),
            None => object.remove("status"),
        };
    }
    let metadata = metadata_of(&mut object);
    for field in SERVER_FIELDS {
        match old["metadata"].get(field) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.remove(field),
        };
    }
    let deleting = !old["metadata"]["deletionTimestamp"].is_null();
    if deleting {
        let had = finalizers(&old["metadata"]);
        let metadata = Value::Object(metadata.clone());
        let has = finalizers(&metadata);
        if has.is_empty() {
            return Ok(write(Record::default()));
        }
        if let Some(new) = has.iter().find(|finalizer| !had.contains(finalizer)) {
            let reason = format!("metadata.finalizers has {new:?}, which is new: the object is being deleted");
            return Err(invalid(kind, key, reason));
        }
    }
    if content(&object) != old.as_object().map(content).unwrap_or_default() {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or_default() + 1;
        metadata_of(&mut object).insert("generation".to_owned(), generation.into());
    }
    Ok(written_if_changed(stored, stored.record.with(Value::Object(object))))
}

/// A manager's part of the status.
pub(super) fn apply_status(
    kind: Kind,
    key: &Key,
    manager: &str,
    status: &Value,
    stored: Option<&Stored>,
) -> Result<Verdict, StoreError> {
    let stored = there(kind, key, stored)?;
    let mut record = stored.record.clone();
    let before = record.object.as_ref().and_then(|object| object.get("status")).cloned().unwrap_or(json!({}));
    let after = apply::apply(kind, before, &mut record.managers, manager, status);
    if let Some(object) = record.object.as_mut().and_then(Value::as_object_mut) {
        object.insert("status".to_owned(), after);
    }
    Ok(written_if_changed(stored, record))
}

/// A deletion, which waits for the finalizers.
pub(super) fn delete(kind: Kind, key: &Key, now: Timestamp, stored: Option<&Stored>) -> Result<Verdict, StoreError> {
    let stored = there(kind, key, stored)?;
    let mut object = stored.record.object.clone().unwrap_or_default();
    let metadata = &mut object["metadata"];
    if finalizers(metadata).is_empty() {
        return Ok(write(Record::default()));
    }
    if !metadata["deletionTimestamp"].is_null() {
        return Ok(Verdict::Keep);
    }
    metadata["deletionTimestamp"] = now.to_string().into();
    metadata["generation"] = (metadata["generation"].as_i64().unwrap_or_default() + 1).into();
    Ok(write(stored.record.with(object)))
}

/// The finalizers of an object with this metadata.
pub(super) fn finalizers(metadata: &Value) -> Vec<&str> {
    metadata["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// An error that says what is wrong with an object.
pub(super) fn invalid(kind: Kind, key: &Key, reason: String) -> StoreError {
    StoreError::Invalid { kind: kind.name(), key: key.to_string(), reason }
}

fn conflict(kind: Kind, key: &Key) -> StoreError {
    StoreError::Conflict { kind: kind.name(), key: key.to_string() }
}

fn write(record: Record) -> Verdict {
    Verdict::Write(Box::new(record))
}

fn written_if_changed(stored: &Stored, record: Record) -> Verdict {
    if record.says_the_same(&stored.record) { Verdict::Keep } else { write(record) }
}

fn there<'a>(kind: Kind, key: &Key, stored: Option<&'a Stored>) -> Result<&'a Stored, StoreError> {
    stored
        .filter(|stored| stored.record.object.is_some())
        .ok_or_else(|| StoreError::NotFound { kind: kind.name(), key: key.to_string() })
}

/// A body with the fields that every object of the kind has, and without a version.
fn shaped(kind: Kind, key: &Key, body: Value) -> Result<Map<String, Value>, StoreError> {
    let Value::Object(mut object) = body else {
        return Err(invalid(kind, key, "it is no map of fields".to_owned()));
    };
    for (field, right) in [("apiVersion", kind.api_version()), ("kind", kind.name().to_owned())] {
        let found = object.entry(field).or_insert_with(|| Value::String(right.clone()));
        if *found != right {
            return Err(invalid(kind, key, format!("{field} is {found}: it must be {right:?}")));
        }
    }
    if !object.get("metadata").is_some_and(Value::is_object) {
        return Err(invalid(kind, key, "metadata is missing".to_owned()));
    }
    let said = key_in(kind, object.get("metadata").unwrap_or(&Value::Null))?;
    if said != *key {
        return Err(invalid(kind, key, format!("metadata.name and metadata.namespace say {said}: they are immutable")));
    }
    metadata_of(&mut object).remove("resourceVersion");
    Ok(object)
}

/// The metadata of an object that [`shaped`] has seen.
fn metadata_of(object: &mut Map<String, Value>) -> &mut Map<String, Value> {
    let metadata = object.entry("metadata").or_insert_with(|| json!({}));
    if !metadata.is_object() {
        *metadata = json!({});
    }
    metadata.as_object_mut().expect("it was made an object just now")
}

/// What a change of raises the generation: everything but metadata and status.
fn content(object: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut content: Vec<_> =
        object.iter().filter(|(field, _)| !matches!(field.as_str(), "metadata" | "status")).collect();
    content.sort_by_key(|(field, _)| field.as_str());
    content
}
