//! The embedded store, `dir:PATH`: a directory of the user's YAML, and a state folder that holds what an API server
//! would. One machine; several processes may share it.
//!
//! The user's files are only read. In the state folder each object is one file, `KIND/NAMESPACE.NAME@VERSION.json`
//! ([`name`]); a write commits the next version with link(2) ([`commit`]); inotify tells every process which version is
//! the newest ([`index`]). What the API server would do to an object on a write is in [`change`], and the way from
//! manifests to objects in [`intake`].

mod apply;
mod change;
mod check;
mod commit;
mod engine;
mod events;
mod index;
mod intake;
mod name;
mod place;
mod recent;
mod record;
pub mod walk;
mod watch;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::stream::BoxStream;
use jiff::Timestamp;
use serde_json::Value;

use self::change::Birth;
use self::commit::{Decide, Verdict, Writer};
use self::engine::Engine;
use self::index::Index;
use self::place::Place;
use self::record::Stored;
use super::{Change, Event, EventType, Key, Object, RecordedEvent, Store, StoreError};
use crate::api::kind::Kind;
use crate::api::manifest::Problem;

/// The embedded store.
#[derive(Debug)]
pub struct Dir {
    shared: Arc<Shared>,
    engine: Mutex<Option<Arc<Engine>>>,
}

/// What operations, threads and watches share.
#[derive(Debug)]
struct Shared {
    place: Arc<Place>,
    index: Arc<Index>,
    writer: Mutex<Option<Arc<Writer>>>,
    last_birth: AtomicI64,
    faults: Mutex<BTreeMap<(Kind, String), Option<Key>>>,
}

impl Dir {
    /// Opens the store of the manifests below `path`. It writes nothing until it is asked to write or to watch, so that
    /// who may only read can read.
    ///
    /// `state_dir` is where the state is kept, by default `.vipkeeper` below `path`.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] if `path` is no directory, is on a network file system, or the state is another
    /// machine's.
    pub fn open(path: impl AsRef<Path>, state_dir: Option<&Path>) -> Result<Self, StoreError> {
        let place = Arc::new(Place::open(path.as_ref(), state_dir)?);
        let index = Arc::new(Index::new(Arc::clone(&place))?);
        let shared =
            Shared { place, index, writer: Mutex::new(None), last_birth: AtomicI64::new(0), faults: Mutex::default() };
        Ok(Self { shared: Arc::new(shared), engine: Mutex::new(None) })
    }

    fn engine(&self) -> Result<Arc<Engine>, StoreError> {
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = &*engine {
            return Ok(Arc::clone(engine));
        }
        let started = Arc::new(Engine::start(&self.shared)?);
        *engine = Some(Arc::clone(&started));
        Ok(started)
    }

    async fn write(&self, kind: Kind, key: Key, decide: Decide) -> Result<Option<Object>, StoreError> {
        let shared = Arc::clone(&self.shared);
        let writer = blocking(move || shared.writer()).await?;
        let answer = writer.write(kind, key.clone(), decide).await;
        let stored = answer.map_err(|_| StoreError::Unavailable("the writer has ended".to_owned()))??;
        let object = stored.and_then(|stored| stored.object(kind, &key));
        if object.is_none() {
            events::forget(&self.shared.place, kind, &key);
        }
        Ok(object)
    }

    /// A write after which the object is there.
    async fn write_object(&self, kind: Kind, key: &Key, decide: Decide) -> Result<Object, StoreError> {
        self.write(kind, key.clone(), decide).await?.ok_or_else(|| not_found(kind, key))
    }
}

impl Shared {
    fn writer(&self) -> Result<Arc<Writer>, StoreError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(writer) = &*writer {
            return Ok(Arc::clone(writer));
        }
        let started = Arc::new(Writer::start(Arc::clone(&self.place), Arc::clone(&self.index))?);
        *writer = Some(Arc::clone(&started));
        Ok(started)
    }

    /// Identity and time for a new object; no two objects of a process are born at the same time, nor one before an
    /// earlier one, whatever the clock does.
    fn birth(&self) -> Birth {
        let now = Timestamp::now().as_microsecond();
        let last = self.last_birth.fetch_max(now, Ordering::AcqRel);
        let at = if now > last { now } else { self.last_birth.fetch_add(1, Ordering::AcqRel) + 1 };
        Birth { uid: fresh_uuid(), at: Timestamp::from_microsecond(at).unwrap_or_else(|_| Timestamp::now()) }
    }

    /// What is wrong with the manifests, as far as it belongs to a kind.
    fn faults_of(&self, kind: Kind) -> Vec<Change> {
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let own = faults.iter().filter(|((of, _), _)| *of == kind);
        own.map(|((_, reason), key)| Change::Invalid { key: key.clone(), reason: reason.clone() }).collect()
    }

    /// Says what is wrong with the manifests now; what was said before is not said again.
    fn publish<'a>(&self, problems: impl Iterator<Item = &'a Problem>) {
        let now: BTreeMap<(Kind, String), Option<Key>> = problems
            .map(|problem| {
                let object = problem.object.as_ref();
                let key = object.map(|object| Key { namespace: object.namespace.clone(), name: object.name.clone() });
                ((object.map_or(Kind::VirtualIP, |object| object.kind), problem.to_string()), key)
            })
            .collect();
        let before = std::mem::replace(&mut *self.faults.lock().unwrap_or_else(PoisonError::into_inner), now.clone());
        for ((kind, reason), key) in now.into_iter().filter(|(fault, _)| !before.contains_key(fault)) {
            if let Some(key) = &key {
                self.record_refusal(kind, key, &reason);
            }
            self.index.tell(kind, &Change::Invalid { key, reason });
        }
    }

    /// Notes beside an object that is in force that its manifest now says something else. Several processes see that;
    /// one note is enough.
    fn record_refusal(&self, kind: Kind, key: &Key, reason: &str) {
        let Ok(Some(object)) = self.index.glance(kind, key).map(|glance| glance.and_then(|g| g.object(kind, key)))
        else {
            return;
        };
        let known = events::list(&self.place, kind, key, object.uid()).unwrap_or_default();
        let event = Event {
            kind,
            key: key.clone(),
            uid: object.uid().to_owned(),
            event_type: EventType::Warning,
            reason: "ManifestRefused",
            message: reason.to_owned(),
        };
        if known.last().is_none_or(|last| last.message != event.message)
            && let Err(error) = events::record(&self.place, &event, Timestamp::now())
        {
            tracing::warn!(%error, "cannot record an event");
        }
    }
}

#[async_trait]
impl Store for Dir {
    async fn watch(&self, kind: Kind) -> Result<BoxStream<'static, Change>, StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.writer().map(drop)).await?;
        let engine = self.engine()?;
        if kind.user_written() {
            // What is in force when a role starts includes what the user wrote while none was running.
            let _ = engine.ready.clone().wait_for(|ready| *ready).await;
        }
        watch::stream(Arc::clone(&self.shared), kind, engine)
    }

    async fn get(&self, kind: Kind, key: &Key) -> Result<Option<Object>, StoreError> {
        let (shared, key) = (Arc::clone(&self.shared), key.clone());
        blocking(move || Ok(shared.index.glance(kind, &key)?.and_then(|glance| glance.object(kind, &key)))).await
    }

    async fn list(&self, kind: Kind) -> Result<Vec<Object>, StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            let mut objects = Vec::new();
            for (key, glance) in shared.index.glance_at_all(kind)? {
                match glance {
                    Ok(glance) => objects.extend(glance.and_then(|glance| glance.object(kind, &key))),
                    // One object that does not parse must not hide the others.
                    Err(error @ StoreError::Malformed { .. }) => tracing::error!(%error, "left out of a list"),
                    Err(error) => return Err(error),
                }
            }
            Ok(objects)
        })
        .await
    }

    async fn create(&self, kind: Kind, body: Value) -> Result<Object, StoreError> {
        let key = change::key_of(kind, &body)?;
        let body = check::object(kind, &key, body, None)?;
        let birth = self.shared.birth();
        let decide = {
            let key = key.clone();
            move |stored: Option<&Stored>| change::create(kind, &key, &birth, body.clone(), stored)
        };
        self.write_object(kind, &key, Box::new(decide)).await
    }

    async fn replace(&self, kind: Kind, body: Value) -> Result<Object, StoreError> {
        let key = change::key_of(kind, &body)?;
        // Taking the last finalizer off an object that is being deleted leaves no object to return.
        let gone = body.clone();
        let decide = {
            let key = key.clone();
            move |stored: Option<&Stored>| change::replace(kind, &key, body.clone(), stored)
        };
        let object = self.write(kind, key.clone(), Box::new(decide)).await?;
        Ok(object.unwrap_or(Object { kind, key, body: gone.into() }))
    }

    async fn patch(&self, kind: Kind, key: &Key, patch: &json_patch::Patch) -> Result<Object, StoreError> {
        let before = Arc::new(Mutex::new(None));
        let decide = {
            let (key, patch, before) = (key.clone(), patch.clone(), Arc::clone(&before));
            move |stored: Option<&Stored>| {
                let verdict = change::patch(kind, &key, &patch, stored)?;
                if matches!(&verdict, Verdict::Write(record) if record.object.is_none()) {
                    *before.lock().unwrap_or_else(PoisonError::into_inner) =
                        stored.and_then(|stored| stored.object(kind, &key));
                }
                Ok(verdict)
            }
        };
        let object = self.write(kind, key.clone(), Box::new(decide)).await?;
        let before = before.lock().unwrap_or_else(PoisonError::into_inner).take();
        object.or(before).ok_or_else(|| not_found(kind, key))
    }

    async fn apply_status(&self, kind: Kind, key: &Key, manager: &str, status: Value) -> Result<Object, StoreError> {
        let status = apply::without_nulls(status);
        let decide = {
            let (key, manager) = (key.clone(), manager.to_owned());
            move |stored: Option<&Stored>| change::apply_status(kind, &key, &manager, &status, stored)
        };
        self.write_object(kind, key, Box::new(decide)).await
    }

    async fn delete(&self, kind: Kind, key: &Key) -> Result<(), StoreError> {
        let decide = {
            let key = key.clone();
            move |stored: Option<&Stored>| change::delete(kind, &key, Timestamp::now(), stored)
        };
        self.write(kind, key.clone(), Box::new(decide)).await.map(drop)
    }

    async fn record(&self, event: Event) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            shared.writer()?;
            events::record(&shared.place, &event, Timestamp::now())
        })
        .await
    }

    async fn events(&self, object: &Object) -> Result<Vec<RecordedEvent>, StoreError> {
        let (shared, kind, key) = (Arc::clone(&self.shared), object.kind, object.key.clone());
        let uid = object.uid().to_owned();
        blocking(move || events::list(&shared.place, kind, &key, &uid)).await
    }
}

fn not_found(kind: Kind, key: &Key) -> StoreError {
    StoreError::NotFound { kind: kind.name(), key: key.to_string() }
}

/// Runs work on files where it holds up no other task.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(StoreError::Unavailable("shutting down".to_owned())))
}

/// A random UUID (RFC 9562 section 5.4), from the kernel.
fn fresh_uuid() -> String {
    let mut bytes = [0_u8; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        // Only an interrupted call fails, and is made again.
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()).unwrap_or(0);
    }
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    let text = hex(&bytes);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

/// A text that no other process and no other call has.
fn fresh_id() -> String {
    fresh_uuid().replace('-', "")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = std::fmt::Write::write_fmt(&mut text, format_args!("{byte:02x}"));
        text
    })
}
