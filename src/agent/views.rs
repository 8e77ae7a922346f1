//! Writes to the views: each is answered with the view as it is afterwards.

use serde_json::json;
use tokio::sync::mpsc::Sender;
use tracing::{debug, warn};

use super::{Told, watches};
use crate::api::kind::Kind;
use crate::core::membership::Purpose;
use crate::core::node::{Input, Versioned};
use crate::core::view::{Patch, ROOT, View};
use crate::store::{Key, Object, SharedStore, StoreError};

/// Makes the view of a segment, or takes the one that is there.
pub(super) async fn create(store: SharedStore, segment: String, told: Sender<Told>) {
    let body = json!({
        "apiVersion": Kind::FailoverView.api_version(),
        "kind": Kind::FailoverView.name(),
        "metadata": { "name": segment },
        "spec": View::default(),
    });
    let result = store.create(Kind::FailoverView, body).await;
    finish(&store, &segment, "create", result, &told).await;
}

/// Patches the view of a segment.
pub(super) async fn patch(store: SharedStore, segment: String, purpose: Purpose, patch: Patch, told: Sender<Told>) {
    let result = apply(&store, &segment, &patch).await;
    finish(&store, &segment, purpose.as_str(), result, &told).await;
}

/// Sends a patch of the view of a segment.
pub(super) async fn apply(store: &SharedStore, segment: &str, patch: &Patch) -> Result<Object, StoreError> {
    match serde_json::from_value(patch.to_value(ROOT)) {
        Ok(operations) => store.patch(Kind::FailoverView, &Key::cluster(segment), &operations).await,
        Err(error) => Err(StoreError::Invalid {
            kind: Kind::FailoverView.name(),
            key: segment.to_owned(),
            reason: error.to_string(),
        }),
    }
}

async fn finish(
    store: &SharedStore,
    segment: &str,
    purpose: &str,
    result: Result<Object, StoreError>,
    told: &Sender<Told>,
) {
    let (applied, object) = match result {
        Ok(object) => (true, Some(object)),
        Err(error) => {
            let lost_race = matches!(
                error,
                StoreError::TestFailed { .. } | StoreError::Conflict { .. } | StoreError::AlreadyExists { .. }
            );
            if lost_race {
                debug!(segment, purpose, %error, "another writer was first; the view is read again");
            } else {
                warn!(segment, purpose, %error, "the view was not written; it is tried again");
            }
            (false, store.get(Kind::FailoverView, &Key::cluster(segment)).await.ok().flatten())
        }
    };
    let view: Option<Versioned> = object
        .and_then(|object| watches::versioned(&object).map_err(|error| warn!(%error, "a view does not parse")).ok());
    let written = Input::Written { segment: segment.to_owned(), applied, view };
    // A closed channel means that the agent ends.
    let _closed = told.send(Told::Node(written)).await;
}
