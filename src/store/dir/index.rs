//! Which version of each object is the newest, told by inotify, and who wants to know.
//!
//! The kernel queues an event before link(2) returns. Hence whoever empties the queue first and looks at the index
//! then sees every commit that was done when it began: reads are linearised without a lock between processes. Events
//! come in the order of the links, so a link that finds its place taken by time (an older version than the newest) is
//! recognised as the late one, by everybody.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Display;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use tokio::sync::Notify;

use super::name;
use super::place::{Place, fault};
use super::recent::{Recent, Text};
use super::record::{Glance, Stored};
use crate::api::kind::Kind;
use crate::store::{Change, Key, StoreError};

/// What a glance at one object gave.
pub(super) type GlanceOf = Result<Option<Glance>, StoreError>;

/// The index of one process.
#[derive(Debug)]
pub(super) struct Index {
    place: Arc<Place>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    inotify: Inotify,
    folders: HashMap<WatchDescriptor, Kind>,
    newest: BTreeMap<Kind, BTreeMap<Key, u64>>,
    recent: Recent,
    subscribers: Vec<Weak<Subscriber>>,
}

/// What a watch has not told yet.
#[derive(Debug)]
pub(super) struct Subscriber {
    kind: Kind,
    pending: Mutex<Pending>,
    /// Woken when something is pending.
    pub(super) news: Notify,
    /// Rung as well (eventfd(2)), for a subscriber that polls.
    bell: Option<OwnedFd>,
}

/// See [`Subscriber`].
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Everything must be told anew.
    pub(super) reset: bool,
    /// Objects that have another version.
    pub(super) keys: BTreeSet<Key>,
    /// What is to be told as it is.
    pub(super) changes: Vec<Change>,
}

impl Subscriber {
    /// What is pending, which is nothing afterwards.
    pub(super) fn take(&self) -> Pending {
        std::mem::take(&mut *self.lock())
    }

    /// Adds to what is pending.
    pub(super) fn add(&self, change: impl FnOnce(&mut Pending)) {
        change(&mut self.lock());
        self.news.notify_one();
        if let Some(bell) = &self.bell {
            // It fails only when it is ringing already.
            let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    pub(super) fn new(place: Arc<Place>) -> Result<Self, StoreError> {
        let inotify = Inotify::init().map_err(|error| {
            StoreError::Unavailable(format!("cannot watch files: {error} (see fs.inotify.max_user_instances)"))
        })?;
        let (folders, newest, recent) = (HashMap::new(), BTreeMap::new(), Recent::default());
        let state = State { inotify, folders, newest, recent, subscribers: Vec::new() };
        Ok(Self { place, state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something to poll for events of other processes.
    pub(super) fn events(&self) -> io::Result<OwnedFd> {
        self.lock().inotify.as_fd().try_clone_to_owned()
    }

    /// Takes in what has happened.
    pub(super) fn catch_up(&self) -> Result<(), StoreError> {
        self.lock().catch_up(&self.place)
    }

    /// A subscriber to a kind that has everything pending.
    pub(super) fn subscribe(&self, kind: Kind, bell: Option<OwnedFd>) -> Result<Arc<Subscriber>, StoreError> {
        let pending = Mutex::new(Pending { reset: true, ..Pending::default() });
        let subscriber = Arc::new(Subscriber { kind, pending, news: Notify::new(), bell });
        let mut state = self.lock();
        state.know(&self.place, kind)?;
        state.subscribers.retain(|subscriber| subscriber.strong_count() > 0);
        state.subscribers.push(Arc::downgrade(&subscriber));
        Ok(subscriber)
    }

    /// Tells the subscribers to a kind.
    pub(super) fn tell(&self, kind: Kind, change: &Change) {
        self.lock().tell(|subscriber| subscriber.kind == kind, |pending| pending.changes.push(change.clone()));
    }

    /// The newest version of an object, deleted ones included, as of now.
    pub(super) fn newest(&self, kind: Kind, key: &Key) -> Result<Option<u64>, StoreError> {
        let mut state = self.lock();
        state.know(&self.place, kind)?;
        state.catch_up(&self.place)?;
        Ok(state.newest.get(&kind).and_then(|keys| keys.get(key).copied()))
    }

    /// The keys of a kind, those of deleted objects included, as of now.
    pub(super) fn keys(&self, kind: Kind) -> Result<Vec<Key>, StoreError> {
        let mut state = self.lock();
        state.know(&self.place, kind)?;
        state.catch_up(&self.place)?;
        Ok(state.newest.get(&kind).into_iter().flat_map(BTreeMap::keys).cloned().collect())
    }

    /// What is stored of an object, as of now; `None` if there never was one of that name.
    pub(super) fn read(&self, kind: Kind, key: &Key) -> Result<Option<Stored>, StoreError> {
        let Some((version, text)) = self.text(kind, key)? else { return Ok(None) };
        let record = serde_json::from_str(&text).map_err(|error| self.malformed(kind, key, version, &error))?;
        Ok(Some(Stored { version, record }))
    }

    /// What a watch tells of an object, as of now.
    pub(super) fn glance(&self, kind: Kind, key: &Key) -> GlanceOf {
        self.text(kind, key)?.map(|text| self.glance_at(kind, key, &text)).transpose()
    }

    /// The same of every object of a kind.
    pub(super) fn glance_at_all(&self, kind: Kind) -> Result<Vec<(Key, GlanceOf)>, StoreError> {
        // One look at the events for all: what is another version afterwards is read again by itself.
        let before: Vec<(Key, u64, Option<Text>)> = {
            let mut state = self.lock();
            state.know(&self.place, kind)?;
            state.catch_up(&self.place)?;
            let State { newest, recent, .. } = &mut *state;
            let all = newest.get(&kind).into_iter().flatten();
            all.map(|(key, version)| (key.clone(), *version, recent.get(kind, key, *version))).collect()
        };
        let load = |(key, version, kept): (Key, u64, Option<Text>)| {
            let fresh = kept.is_none();
            let text = kept.map_or_else(|| self.load(kind, &key, version), Ok);
            (key, version, fresh, text)
        };
        let loaded: Vec<_> = before.into_iter().map(load).collect();
        let mut state = self.lock();
        state.catch_up(&self.place)?;
        let stands = |(key, version, fresh, text): (Key, u64, bool, Result<Text, StoreError>)| {
            let stands = state.newest.get(&kind).and_then(|keys| keys.get(&key)) == Some(&version);
            if let (true, true, Ok(text)) = (stands, fresh, &text) {
                state.recent.keep(kind, &key, text);
            }
            (key, stands.then_some(text))
        };
        let checked: Vec<_> = loaded.into_iter().map(stands).collect();
        drop(state);
        let glance = |(key, text): (Key, Option<Result<Text, StoreError>>)| {
            let glance = match text {
                Some(text) => text.and_then(|text| self.glance_at(kind, &key, &text)).map(Some),
                None => self.glance(kind, &key),
            };
            (key, glance)
        };
        Ok(checked.into_iter().map(glance).collect())
    }

    /// Keeps what was read or written for those who want it within a moment, if it is still the newest.
    pub(super) fn keep(&self, kind: Kind, key: &Key, text: Text) {
        let mut state = self.lock();
        if state.newest.get(&kind).and_then(|keys| keys.get(key)) == Some(&text.0) {
            state.recent.keep(kind, key, &text);
        }
    }

    /// Forgets what nobody wanted of late; whether there is something to forget later. It is to be called now and then.
    pub(super) fn age(&self) -> bool {
        self.lock().recent.age()
    }

    /// The newest text of an object's record, as of now.
    fn text(&self, kind: Kind, key: &Key) -> Result<Option<Text>, StoreError> {
        let mut found = self.find(kind, key)?;
        while let Some((version, kept)) = found {
            if kept.is_some() {
                return Ok(kept);
            }
            let loaded = self.load(kind, key, version);
            // A file that was read is the version it says only if it was still the newest after the read.
            found = self.find(kind, key)?;
            if found.as_ref().is_some_and(|(newest, _)| *newest == version) {
                let text = loaded?;
                self.keep(kind, key, text.clone());
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// The newest version of an object as of now, and what is kept of it.
    fn find(&self, kind: Kind, key: &Key) -> Result<Option<(u64, Option<Text>)>, StoreError> {
        let mut state = self.lock();
        state.know(&self.place, kind)?;
        state.catch_up(&self.place)?;
        let State { newest, recent, .. } = &mut *state;
        let newest = newest.get(&kind).and_then(|keys| keys.get(key).copied());
        Ok(newest.map(|version| (version, recent.get(kind, key, version))))
    }

    fn load(&self, kind: Kind, key: &Key, version: u64) -> Result<Text, StoreError> {
        let path = self.path(kind, key, version);
        match fs::read_to_string(&path) {
            Ok(text) => Ok((version, text.into())),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(self.malformed(kind, key, version, &error)),
            Err(error) => Err(fault("read", &path, &error)),
        }
    }

    fn glance_at(&self, kind: Kind, key: &Key, (version, text): &Text) -> Result<Glance, StoreError> {
        Glance::at(text, *version).map_err(|error| self.malformed(kind, key, *version, &error))
    }

    fn path(&self, kind: Kind, key: &Key, version: u64) -> PathBuf {
        self.place.folder(kind).join(name::version_file(key, version))
    }

    fn malformed(&self, kind: Kind, key: &Key, version: u64, error: &dyn Display) -> StoreError {
        let reason = format!("{}: {error}", self.path(kind, key, version).display());
        StoreError::Malformed { kind: kind.name(), key: key.to_string(), reason }
    }
}

impl State {
    /// Learns the versions of a kind, once. Events are watched first, hence nothing falls between list and events.
    fn know(&mut self, place: &Place, kind: Kind) -> Result<(), StoreError> {
        if self.newest.contains_key(&kind) {
            return Ok(());
        }
        let folder = place.folder(kind);
        let mask = WatchMask::CREATE | WatchMask::ONLYDIR | WatchMask::DELETE_SELF | WatchMask::MOVE_SELF;
        let descriptor = match self.inotify.watches().add(&folder, mask) {
            Ok(descriptor) => descriptor,
            // Nobody has written yet; looked for again at the next question.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(fault("watch", &folder, &error)),
        };
        self.folders.insert(descriptor, kind);
        self.list(place, kind)
    }

    fn list(&mut self, place: &Place, kind: Kind) -> Result<(), StoreError> {
        let folder = place.folder(kind);
        let mut newest: BTreeMap<Key, u64> = BTreeMap::new();
        for entry in fs::read_dir(&folder).map_err(|error| fault("list", &folder, &error))? {
            let entry = entry.map_err(|error| fault("list", &folder, &error))?;
            let Some((key, version)) = entry.file_name().to_str().and_then(|file| name::parse(kind, file)) else {
                continue;
            };
            let known = newest.entry(key.clone()).or_insert(version);
            if *known == version {
                continue;
            }
            // The lower of two is what a killed writer left behind.
            let _ = fs::remove_file(folder.join(name::version_file(&key, version.min(*known))));
            *known = version.max(*known);
        }
        self.newest.insert(kind, newest);
        Ok(())
    }

    fn catch_up(&mut self, place: &Place) -> Result<(), StoreError> {
        let mut buffer = [0; 4096];
        loop {
            let (mut created, mut gone, mut overflow) = (Vec::new(), Vec::new(), false);
            match self.inotify.read_events(&mut buffer) {
                Ok(events) => {
                    for event in events {
                        if event.mask.contains(EventMask::Q_OVERFLOW) {
                            overflow = true;
                        } else if event.mask.intersects(EventMask::DELETE_SELF | EventMask::MOVE_SELF) {
                            gone.push(event.wd);
                        } else if let (Some(kind), Some(file)) =
                            (self.folders.get(&event.wd), event.name.and_then(|name| name.to_str()))
                        {
                            created.extend(name::parse(*kind, file).map(|(key, version)| (*kind, key, version)));
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(StoreError::Unavailable(format!("cannot read inotify events: {error}"))),
            }
            for (kind, key, version) in created {
                self.created(kind, key, version);
            }
            for descriptor in gone {
                self.folder_gone(place, &descriptor);
            }
            if overflow {
                for kind in self.newest.keys().copied().collect::<Vec<_>>() {
                    self.list(place, kind)?;
                    self.tell(|subscriber| subscriber.kind == kind, |pending| pending.reset = true);
                }
            }
        }
    }

    fn created(&mut self, kind: Kind, key: Key, version: u64) {
        let newest = self.newest.entry(kind).or_default().entry(key.clone()).or_insert(0);
        if version > *newest {
            *newest = version;
            self.tell(|subscriber| subscriber.kind == kind, |pending| _ = pending.keys.insert(key.clone()));
        }
    }

    /// Somebody removed the state folder under us: what it said is no more, and a new one is looked for.
    fn folder_gone(&mut self, place: &Place, descriptor: &WatchDescriptor) {
        if let Some(kind) = self.folders.remove(descriptor) {
            tracing::error!(folder = %place.folder(kind).display(), "the state folder was removed or moved away");
            let _ = self.inotify.watches().remove(descriptor.clone());
            self.newest.remove(&kind);
            self.recent.forget(kind);
            self.tell(|subscriber| subscriber.kind == kind, |pending| pending.reset = true);
        }
    }

    fn tell(&self, wants: impl Fn(&Subscriber) -> bool, change: impl Fn(&mut Pending)) {
        for subscriber in self.subscribers.iter().filter_map(Weak::upgrade).filter(|subscriber| wants(subscriber)) {
            subscriber.add(&change);
        }
    }
}
