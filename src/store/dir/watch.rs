//! The stream of a kind's changes.
//!
//! Level-triggered: what is pending is a set of names, and what is told is how each stands when it is read. So a slow
//! watcher misses steps in between, never the last, and of each object it sees versions that only rise.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::Shared;
use super::index::{Pending, Subscriber};
use super::record::Glance;
use crate::api::kind::Kind;
use crate::store::{Change, Key, StoreError};

/// How long a watch rests after the file system failed.
const PAUSE: Duration = Duration::from_millis(500);

/// Version and birth of an object that was told; another birth is another object of the same name.
type Told = BTreeMap<Key, (u64, u64)>;

struct Watch {
    shared: Arc<Shared>,
    subscriber: Arc<Subscriber>,
    kind: Kind,
    told: Told,
    ready: VecDeque<Change>,
}

/// All objects of the kind, then every change. `guard` lives as long as the stream.
pub(super) fn stream<G: Send + 'static>(
    shared: Arc<Shared>,
    kind: Kind,
    guard: G,
) -> Result<BoxStream<'static, Change>, StoreError> {
    let subscriber = shared.index.subscribe(kind, None)?;
    let watch = Watch { shared, subscriber, kind, told: Told::new(), ready: VecDeque::new() };
    Ok(stream::unfold((watch, guard), |(mut watch, guard)| async move {
        let change = watch.next().await;
        Some((change, (watch, guard)))
    })
    .boxed())
}

impl Watch {
    async fn next(&mut self) -> Change {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return change;
            }
            let pending = self.subscriber.take();
            if !pending.reset && pending.keys.is_empty() && pending.changes.is_empty() {
                self.subscriber.news.notified().await;
                continue;
            }
            let (shared, kind) = (Arc::clone(&self.shared), self.kind);
            let mut told = std::mem::take(&mut self.told);
            let read = tokio::task::spawn_blocking(move || {
                let changes = read(&shared, kind, &mut told, pending);
                (told, changes)
            });
            // The blocking thread only ends early when the runtime does, and this task with it.
            let Ok((told, changes)) = read.await else { return Change::Lost("shutting down".to_owned()) };
            self.told = told;
            match changes {
                Ok(changes) => self.ready = changes,
                Err(error) => {
                    // Everything is read anew, for it is not known which part was missed.
                    tokio::time::sleep(PAUSE).await;
                    self.subscriber.add(|pending| pending.reset = true);
                    return Change::Lost(error.to_string());
                }
            }
        }
    }
}

fn read(shared: &Shared, kind: Kind, told: &mut Told, pending: Pending) -> Result<VecDeque<Change>, StoreError> {
    let mut changes = VecDeque::new();
    if pending.reset {
        told.clear();
        let mut objects = Vec::new();
        let mut invalid = Vec::new();
        for (key, glance) in shared.index.glance_at_all(kind)? {
            match tell(glance, kind, told, &key)? {
                Some(Change::Apply(object)) => objects.push(object),
                Some(other) => invalid.push(other),
                None => {}
            }
        }
        changes.push_back(Change::Reset(objects));
        changes.extend(invalid);
        changes.extend(shared.faults_of(kind));
    } else {
        for key in &pending.keys {
            let before = told.get(key).copied();
            let change = read_one(shared, kind, told, key)?;
            let replaced = before.is_some_and(|(_, born)| told.get(key).is_some_and(|(_, now)| *now != born));
            if replaced && matches!(change, Some(Change::Apply(_))) {
                changes.push_back(Change::Delete(key.clone()));
            }
            changes.extend(change);
        }
        changes.extend(pending.changes);
    }
    Ok(changes)
}

fn read_one(shared: &Shared, kind: Kind, told: &mut Told, key: &Key) -> Result<Option<Change>, StoreError> {
    tell(shared.index.glance(kind, key), kind, told, key)
}

/// What is to be told of an object.
fn tell(
    glance: Result<Option<Glance>, StoreError>,
    kind: Kind,
    told: &mut Told,
    key: &Key,
) -> Result<Option<Change>, StoreError> {
    let glance = match glance {
        Ok(glance) => glance,
        Err(StoreError::Malformed { reason, .. }) => {
            return Ok(Some(Change::Invalid { key: Some(key.clone()), reason }));
        }
        Err(error) => return Err(error),
    };
    let Some(glance) = glance.filter(|glance| glance.body.is_some()) else {
        return Ok(told.remove(key).map(|_| Change::Delete(key.clone())));
    };
    let now = (glance.version, glance.born);
    let new = told.insert(key.clone(), now) != Some(now);
    Ok(if new { glance.object(kind, key).map(Change::Apply) } else { None })
}
