//! A watch that repairs itself.
//!
//! It lists, then follows from the list's version. A connection that ends, or is silent for longer than the API server's
//! bookmarks allow, is made again from the last version seen. When that fails it says so once, waits longer and longer,
//! and lists anew: what was missed shows in the next `Reset`.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use kube::api::ListParams;
use kube::core::WatchEvent;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::object;
use super::request::{Broken, Changes, Lane, Target};
use crate::api::kind::Kind;
use crate::store::{Change, StoreError};

/// For how long a watch may be silent. The API server sends a bookmark about each minute; a connection whose other end
/// is gone sends nothing at all.
pub(super) const SILENCE: Duration = Duration::from_secs(90);
/// How long to wait after a first failure; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A connection that ends sooner than this did not do its work.
const SHORT: Duration = Duration::from_secs(1);

struct Watch {
    lane: Arc<Lane>,
    kind: Kind,
    target: Target,
    stage: Stage,
    silence: Duration,
    /// How long to wait before the next attempt; none while all is well.
    pause: Option<Duration>,
}

enum Stage {
    /// Everything is to be listed.
    List,
    /// The changes from a version on are to be followed.
    Connect { version: String },
    /// They are being followed.
    Follow { version: String, changes: Changes, since: Instant },
}

/// All objects of the kind, then every change; a connection that is silent for longer than `silence` is made again.
pub(super) fn stream(lane: Arc<Lane>, kind: Kind, silence: Duration) -> BoxStream<'static, Change> {
    let watch = Watch { lane, kind, target: Target::all(kind, None), stage: Stage::List, silence, pause: None };
    stream::unfold(watch, |mut watch| async move {
        let change = watch.next().await;
        Some((change, watch))
    })
    .boxed()
}

impl Watch {
    async fn next(&mut self) -> Change {
        loop {
            if let Some(change) = self.step().await {
                return change;
            }
        }
    }

    async fn step(&mut self) -> Option<Change> {
        match std::mem::replace(&mut self.stage, Stage::List) {
            Stage::List => {
                if let Some(pause) = self.pause {
                    sleep(pause + jitter(pause)).await;
                }
                let listed = self.lane.list(&self.target, ListParams::default()).await;
                let outcome = listed.and_then(|(items, version)| {
                    let objects =
                        items.into_iter().map(|item| object(self.kind, item)).collect::<Result<Vec<_>, _>>()?;
                    Ok((objects, version))
                });
                match outcome {
                    Ok((objects, version)) => {
                        self.pause = None;
                        self.stage = Stage::Connect { version };
                        Some(Change::Reset(objects))
                    }
                    Err(error) => self.failed(&error),
                }
            }
            Stage::Connect { version } => match self.lane.follow(&self.target, &version).await {
                Ok(changes) => {
                    self.stage = Stage::Follow { version, changes, since: Instant::now() };
                    None
                }
                Err(broken) => self.broken(broken),
            },
            Stage::Follow { version, mut changes, since } => match timeout(self.silence, changes.next()).await {
                Ok(Some(Ok(event))) => self.event(event, changes, since),
                Ok(Some(Err(Broken::Gone))) => None,
                // The server ended it, as it does after some minutes, or the connection broke.
                Ok(Some(Err(Broken::Other(_))) | None) | Err(_) => {
                    if since.elapsed() < SHORT {
                        sleep(FIRST_PAUSE + jitter(FIRST_PAUSE)).await;
                    }
                    self.stage = Stage::Connect { version };
                    None
                }
            },
        }
    }

    fn event(&mut self, event: WatchEvent<Value>, changes: Changes, since: Instant) -> Option<Change> {
        let (body, deleted) = match event {
            WatchEvent::Added(body) | WatchEvent::Modified(body) => (body, false),
            WatchEvent::Deleted(body) => (body, true),
            WatchEvent::Bookmark(bookmark) => {
                self.stage = Stage::Follow { version: bookmark.metadata.resource_version, changes, since };
                return None;
            }
            WatchEvent::Error(status) => return self.broken((*status).into()),
        };
        match object(self.kind, body) {
            Ok(object) => {
                let version = object.resource_version().to_owned();
                self.stage = Stage::Follow { version, changes, since };
                Some(if deleted { Change::Delete(object.key) } else { Change::Apply(object) })
            }
            Err(error) => self.failed(&error),
        }
    }

    fn broken(&mut self, broken: Broken) -> Option<Change> {
        match broken {
            Broken::Gone => None,
            Broken::Other(error) => self.failed(&error),
        }
    }

    /// Says that the watch is lost, the first time; all is listed anew after a pause.
    fn failed(&mut self, error: &StoreError) -> Option<Change> {
        self.stage = Stage::List;
        let first = self.pause.is_none();
        self.pause = Some(self.pause.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE)));
        first.then(|| Change::Lost(error.to_string()))
    }
}

/// Up to half of a pause more, so that many clients do not come back at the same moment.
fn jitter(pause: Duration) -> Duration {
    let mut byte = [0; 1];
    let _ = rustix::rand::getrandom(&mut byte, rustix::rand::GetRandomFlags::empty());
    pause * u32::from(byte[0]) / 512
}
