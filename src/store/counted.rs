//! A store that counts what is asked of it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::Value;

use super::{Change, Event, Key, Object, RecordedEvent, SharedStore, Store, StoreError};
use crate::api::kind::Kind;

/// What can be asked of a store, as a metric's label has it.
pub const VERBS: [&str; 10] =
    ["watch", "get", "list", "create", "replace", "patch", "apply_status", "delete", "record", "events"];

/// Told of each request: the verb, one of [`VERBS`], and the result, `ok` or a [`StoreError::category`]. A watch counts
/// when it begins and each time that it is lost and found.
pub type Count = Arc<dyn Fn(&'static str, &'static str) + Send + Sync>;

/// See the module.
pub struct Counted {
    store: SharedStore,
    count: Count,
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

impl Counted {
    /// The store, whose requests `count` is told of.
    #[must_use]
    pub fn new(store: SharedStore, count: Count) -> Self {
        Self { store, count }
    }

    fn counted<T>(&self, verb: &'static str, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        (self.count)(verb, outcome.as_ref().err().map_or("ok", StoreError::category));
        outcome
    }
}

#[async_trait]
impl Store for Counted {
    async fn watch(&self, kind: Kind) -> Result<BoxStream<'static, Change>, StoreError> {
        let changes = match self.store.watch(kind).await {
            Ok(changes) => changes,
            Err(error) => return self.counted("watch", Err(error)),
        };
        let count = Arc::clone(&self.count);
        let told = move |change: &Change| match change {
            Change::Reset(_) => count("watch", "ok"),
            Change::Lost(_) => count("watch", "unavailable"),
            Change::Apply(_) | Change::Delete(_) | Change::Invalid { .. } => {}
        };
        Ok(changes.inspect(told).boxed())
    }

    async fn get(&self, kind: Kind, key: &Key) -> Result<Option<Object>, StoreError> {
        self.counted("get", self.store.get(kind, key).await)
    }

    async fn list(&self, kind: Kind) -> Result<Vec<Object>, StoreError> {
        self.counted("list", self.store.list(kind).await)
    }

    async fn create(&self, kind: Kind, body: Value) -> Result<Object, StoreError> {
        self.counted("create", self.store.create(kind, body).await)
    }

    async fn replace(&self, kind: Kind, body: Value) -> Result<Object, StoreError> {
        self.counted("replace", self.store.replace(kind, body).await)
    }

    async fn patch(&self, kind: Kind, key: &Key, patch: &json_patch::Patch) -> Result<Object, StoreError> {
        self.counted("patch", self.store.patch(kind, key, patch).await)
    }

    async fn apply_status(&self, kind: Kind, key: &Key, manager: &str, status: Value) -> Result<Object, StoreError> {
        self.counted("apply_status", self.store.apply_status(kind, key, manager, status).await)
    }

    async fn delete(&self, kind: Kind, key: &Key) -> Result<(), StoreError> {
        self.counted("delete", self.store.delete(kind, key).await)
    }

    fn server(&self) -> Option<&str> {
        self.store.server()
    }

    async fn record(&self, event: Event) -> Result<(), StoreError> {
        self.counted("record", self.store.record(event).await)
    }

    async fn events(&self, object: &Object) -> Result<Vec<RecordedEvent>, StoreError> {
        self.counted("events", self.store.events(object).await)
    }
}
