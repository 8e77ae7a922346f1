//! The one seam to persistence: two stores, one contract.
//!
//! `dir:PATH` is a directory of YAML on one machine, `k8s` the Kubernetes API. Roles see only [`Store`]; the same
//! contract tests (tests/store) run on both. Objects cross the seam as JSON, so that one that does not parse is one
//! object's error and never a watch's.

mod body;
pub mod counted;
pub mod dir;
pub mod k8s;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::kind::Kind;

pub use self::body::Body;

/// A store, shared by the tasks of a role.
pub type SharedStore = Arc<dyn Store>;

/// The name of an object within its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The namespace; `None` for a cluster-scoped kind.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl Key {
    /// The key of a namespaced object.
    #[must_use]
    pub fn namespaced(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: Some(namespace.into()), name: name.into() }
    }

    /// The key of a cluster-scoped object.
    #[must_use]
    pub fn cluster(name: impl Into<String>) -> Self {
        Self { namespace: None, name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// An object as the store has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub key: Key,
    /// The whole object, `apiVersion` to `status`, with the metadata that the store gave it
    /// (`uid`, `resourceVersion`, `generation`, `creationTimestamp`, `deletionTimestamp`, `finalizers`).
    pub body: Body,
}

impl Object {
    /// The object as its type; the error names the field.
    ///
    /// # Errors
    /// [`StoreError::Malformed`] if the body does not have the type's shape.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, StoreError> {
        self.body.parse().map_err(|error| StoreError::Malformed {
            kind: self.kind.name(),
            key: self.key.to_string(),
            reason: error.to_string(),
        })
    }

    /// A string of the metadata, empty if absent.
    #[must_use]
    pub fn meta(&self, field: &str) -> &str {
        self.body["metadata"][field].as_str().unwrap_or_default()
    }

    /// The version that [`Store::replace`] compares.
    #[must_use]
    pub fn resource_version(&self) -> &str {
        self.body.version()
    }

    /// The identity that a re-created object of the same name does not share.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.body.uid()
    }
}

/// What a watch says.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// All there is, now: whatever was known and is not in it is gone. The first item of every watch, unless the store
    /// cannot be reached yet.
    Reset(Vec<Object>),
    /// An object is new or different.
    Apply(Object),
    /// An object is gone.
    Delete(Key),
    /// Something is there that is no valid object; what was accepted of it before stays in force.
    Invalid {
        /// The object, if that much could be read.
        key: Option<Key>,
        /// Where it stands and what is wrong, for a person.
        reason: String,
    },
    /// The watch is broken, and being repaired; what is known may be old until the next `Reset`.
    Lost(String),
}

/// Severity of an event, in Kubernetes' words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// For information.
    Normal,
    /// Something a person may want to mend.
    Warning,
}

/// Something that happened to an object, said once for each transition.
#[derive(Debug, Clone)]
pub struct Event {
    /// What it happened to.
    pub kind: Kind,
    /// Its name.
    pub key: Key,
    /// Its uid.
    pub uid: String,
    /// Severity.
    pub event_type: EventType,
    /// A word in UpperCamelCase from a closed set.
    pub reason: &'static str,
    /// One sentence for a person.
    pub message: String,
}

/// An event as the store keeps it; the same one again raises its count.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedEvent {
    /// Severity.
    pub event_type: EventType,
    /// A word in UpperCamelCase.
    pub reason: String,
    /// One sentence for a person.
    pub message: String,
    /// When it was said first.
    pub first: Timestamp,
    /// When it was said last.
    pub last: Timestamp,
    /// How often it was said.
    pub count: u32,
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such object. Nothing changed.
    #[error("{kind} {key} does not exist")]
    NotFound {
        /// Kind asked for.
        kind: &'static str,
        /// Name asked for.
        key: String,
    },
    /// An object of that name is there already. Nothing changed.
    #[error("{kind} {key} exists already")]
    AlreadyExists {
        /// Kind asked for.
        kind: &'static str,
        /// Name asked for.
        key: String,
    },
    /// Somebody else wrote first (HTTP 409): read again and decide again. Nothing changed.
    #[error("{kind} {key} was changed by another writer")]
    Conflict {
        /// Kind asked for.
        kind: &'static str,
        /// Name asked for.
        key: String,
    },
    /// A `test` of a patch failed (HTTP 422): what it relied on is no longer so. Nothing changed.
    #[error("a test of the patch of {kind} {key} failed: {reason}")]
    TestFailed {
        /// Kind asked for.
        kind: &'static str,
        /// Name asked for.
        key: String,
        /// What the store said.
        reason: String,
    },
    /// The object breaks a rule of its schema. Nothing changed.
    #[error("{kind} {key} is invalid: {reason}")]
    Invalid {
        /// Kind asked for.
        kind: &'static str,
        /// Name asked for.
        key: String,
        /// Field, value and what would be right.
        reason: String,
    },
    /// What is stored does not have the shape of its kind.
    #[error("{kind} {key} does not parse: {reason}")]
    Malformed {
        /// Kind asked for.
        kind: &'static str,
        /// Name asked for.
        key: String,
        /// Field and reason.
        reason: String,
    },
    /// We may not do that. Nothing changed.
    #[error("not allowed: {0}")]
    Forbidden(String),
    /// The store did not answer: whether something changed is unknown.
    #[error("the store does not answer: {0}")]
    Unavailable(String),
    /// This store cannot serve here at all (a network filesystem, another machine's state).
    #[error("{0}")]
    Unusable(String),
}

impl StoreError {
    /// Every [`StoreError::category`].
    pub const CATEGORIES: [&'static str; 7] =
        ["not_found", "already_exists", "conflict", "test_failed", "invalid", "forbidden", "unavailable"];

    /// A word for a metric's label, one of [`StoreError::CATEGORIES`].
    #[must_use]
    pub const fn category(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::AlreadyExists { .. } => "already_exists",
            Self::Conflict { .. } => "conflict",
            Self::TestFailed { .. } => "test_failed",
            Self::Invalid { .. } | Self::Malformed { .. } => "invalid",
            Self::Forbidden(_) => "forbidden",
            Self::Unavailable(_) | Self::Unusable(_) => "unavailable",
        }
    }
}

/// Where objects are kept.
///
/// A write that returns `Ok` is durable and is seen by every later read of every client; of two writes that race, one
/// wins and the other gets an error that says so.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// All objects of a kind and every change from then on; repairs itself, never ends.
    async fn watch(&self, kind: Kind) -> Result<BoxStream<'static, Change>, StoreError>;

    /// One object, as of now (linearised), `None` if there is none.
    async fn get(&self, kind: Kind, key: &Key) -> Result<Option<Object>, StoreError>;

    /// All objects of a kind, in the order of their keys.
    async fn list(&self, kind: Kind) -> Result<Vec<Object>, StoreError>;

    /// Makes an object; `AlreadyExists` if the name is taken.
    async fn create(&self, kind: Kind, body: Value) -> Result<Object, StoreError>;

    /// Writes an object back if its `metadata.resourceVersion` is still the stored one, else `Conflict`.
    /// The status of a kind that has one is not touched.
    async fn replace(&self, kind: Kind, body: Value) -> Result<Object, StoreError>;

    /// Applies an RFC 6902 patch as a whole or not at all; `TestFailed` if a `test` does not hold.
    /// It is the whole object that is patched, metadata included, but not the status.
    async fn patch(&self, kind: Kind, key: &Key, patch: &json_patch::Patch) -> Result<Object, StoreError>;

    /// Server-side apply of the status: `status` becomes the full set of fields that `manager` owns; other managers'
    /// fields stay; `conditions` is a map by `type`.
    async fn apply_status(&self, kind: Kind, key: &Key, manager: &str, status: Value) -> Result<Object, StoreError>;

    /// Deletes an object; one with finalizers gets a `deletionTimestamp` and goes when the last finalizer does.
    async fn delete(&self, kind: Kind, key: &Key) -> Result<(), StoreError>;

    /// The host (a name or an address) of the server that it asks; `None` for a store that asks none.
    fn server(&self) -> Option<&str> {
        None
    }

    /// Says that something happened to an object.
    async fn record(&self, event: Event) -> Result<(), StoreError>;

    /// What was recorded of an object (this one, not another of its name) and is still kept, the oldest first.
    async fn events(&self, object: &Object) -> Result<Vec<RecordedEvent>, StoreError>;
}
