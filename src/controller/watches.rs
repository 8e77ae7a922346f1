//! What the store says, as inputs of decisions.

use futures::StreamExt;
use tokio::sync::mpsc::Sender;
use tracing::{debug, info, warn};

use super::objects;
use crate::api::kind::Kind;
use crate::core::controller::{Id, Input, Listing};
use crate::store::{Change, Object, SharedStore, StoreError};

/// Tells of the objects of a kind, until the channel closes.
pub(super) async fn follow(store: SharedStore, kind: Kind, told: Sender<Vec<Input>>) -> Result<(), StoreError> {
    let mut changes = store.watch(kind).await?;
    let mut lost = false;
    while let Some(change) = changes.next().await {
        if matches!(change, Change::Reset(_)) && std::mem::take(&mut lost) {
            info!(kind = kind.name(), "the store answers again");
        }
        if let Change::Lost(reason) = &change
            && !std::mem::replace(&mut lost, true)
        {
            warn!(kind = kind.name(), reason, "the store does not answer; nothing changes meanwhile");
        }
        let inputs = inputs(kind, change);
        if !inputs.is_empty() && told.send(inputs).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// What explanations rest on, read now: pools, and Services, only where they may be read.
pub(super) async fn listings(store: &SharedStore) -> Result<Vec<Listing>, StoreError> {
    let mut listings = Vec::new();
    for kind in objects::WATCHED {
        let needed = matches!(kind, Kind::VirtualIP | Kind::Node | Kind::FailoverView);
        match list(store, kind).await {
            Ok(inputs) => listings.extend(inputs.into_iter().filter_map(|input| match input {
                Input::Listed(listing) => Some(listing),
                _ => None,
            })),
            Err(error) if !needed => debug!(kind = kind.name(), %error, "not read"),
            Err(error) => return Err(error),
        }
    }
    Ok(listings)
}

/// All objects of a kind, read now.
pub(super) async fn list(store: &SharedStore, kind: Kind) -> Result<Vec<Input>, StoreError> {
    Ok(inputs(kind, Change::Reset(store.list(kind).await?)))
}

fn inputs(kind: Kind, change: Change) -> Vec<Input> {
    match change {
        Change::Reset(objects) => {
            let (seen, unreadable): (Vec<_>, Vec<_>) = objects.iter().map(read).partition(Result::is_ok);
            let listing = objects::listing(kind, seen.into_iter().filter_map(Result::ok));
            let unreadable = unreadable.into_iter().filter_map(Result::err).map(|id| Input::Unreadable(Some(id)));
            std::iter::once(Input::Listed(listing)).chain(unreadable).collect()
        }
        Change::Apply(object) => match read(&object) {
            Ok(seen) => vec![Input::Seen(seen)],
            Err(id) => vec![Input::Unreadable(Some(id))],
        },
        Change::Delete(key) => objects::id(kind, &key).map(Input::Gone).into_iter().collect(),
        Change::Invalid { key, reason } => {
            let name = key.as_ref().map(ToString::to_string).unwrap_or_default();
            warn!(kind = kind.name(), name, reason, "an invalid object is ignored; what was accepted of it stays");
            let id = key.and_then(|key| objects::id(kind, &key));
            (kind == Kind::VirtualIP).then_some(Input::Unreadable(id)).into_iter().collect()
        }
        Change::Lost(_) => Vec::new(),
    }
}

/// The object, or what to call one that does not parse.
fn read(object: &Object) -> Result<crate::core::controller::Object, Id> {
    objects::seen(object).map_err(|error| {
        warn!(%error, "an object that does not parse is ignored");
        // Only watched kinds come here.
        objects::id(object.kind, &object.key).unwrap_or_else(|| Id::Vip(object.key.to_string()))
    })
}
