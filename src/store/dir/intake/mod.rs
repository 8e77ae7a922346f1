//! From the user's manifests to objects: what is there is in force, what is gone is deleted, what is wrong is said.
//!
//! Level-triggered: inotify tells which files to read, and what is in them is compared with what is stored. Every process
//! of a shared directory does the same; the store's compare-and-swap lets one of them do each step.
//!
//! * A file that somebody is writing to is read when it is closed.
//! * An object whose manifest vanishes for less than [`EDITOR`] stays: an editor saved it.
//! * An object stays as it was accepted while its manifest is invalid, or its file or folder cannot be read.
//! * Of two manifests of one object the one that was accepted first is in force.

mod accept;
mod catalog;
mod notice;
mod pools;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use self::accept::{Acceptance, Fate};
use self::catalog::{Catalog, Entry, Print};
use self::notice::Notices;
use self::pools::Pools;
use super::commit::{Outcome, Writer};
use super::record::Stored;
use super::{Shared, events, walk};
use crate::api::kind::Kind;
use crate::api::manifest::{ClashKind, Manifest, ObjectRef, Problem, Reading, clashes};
use crate::store::{Key, StoreError};

/// For how long a manifest may be gone while an editor saves it.
const EDITOR: Duration = Duration::from_millis(200);
/// How many manifests are in memory at a time, unless one file has more.
const CHUNK: usize = 512;
/// How long to wait before what failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often files that wait for each other are read in one turn.
const ROUNDS: usize = 8;

/// The way from manifests to objects, in one process.
#[derive(Debug)]
pub(super) struct Intake {
    shared: Arc<Shared>,
    writer: Arc<Writer>,
    root: PathBuf,
    notices: Notices,
    catalog: Catalog,
    pools: Pools,
    /// Objects without a manifest, the file each came from, and when it was missed first.
    missing: BTreeMap<ObjectRef, (String, Instant)>,
    /// Whether an object was left alone since nobody knows what is in its file.
    hidden: bool,
    /// Files that could not be brought into force.
    failed: BTreeSet<PathBuf>,
    /// When to try again what failed.
    retry: Option<Instant>,
}

/// A manifest and the file it stands in.
type Found = (PathBuf, Manifest);

impl Intake {
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, StoreError> {
        let root = shared.place.manifests().to_owned();
        let writer = shared.writer()?;
        Ok(Self {
            shared,
            writer,
            root,
            notices: Notices::new()?,
            catalog: Catalog::default(),
            pools: Pools::default(),
            missing: BTreeMap::new(),
            hidden: false,
            failed: BTreeSet::new(),
            retry: None,
        })
    }

    /// Something to poll.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.notices.fd()
    }

    /// When [`Intake::turn`] is to be called although nothing happened.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let missing = self.missing.values().map(|(_, since)| *since + EDITOR).min();
        [missing, self.notices.deadline(), self.retry].into_iter().flatten().min()
    }

    /// An object was changed in the store: one that was deleted although it has a manifest is made again.
    pub(super) fn stored_changed(&mut self, kind: Kind, key: &Key) {
        let object = ObjectRef { kind, namespace: key.namespace.clone(), name: key.name.clone() };
        let Some(owner) = self.catalog.owners(&object).next().cloned() else { return };
        if self.shared.index.glance(kind, key).is_ok_and(|now| now.is_none_or(|glance| glance.body.is_none())) {
            self.notices.again(owner);
        }
    }

    /// Takes in what has happened and does what is due.
    pub(super) fn turn(&mut self, now: Instant) -> Result<(), StoreError> {
        // After a pause the queue comes first: what vanished may be back.
        self.notices.catch_up(now)?;
        if self.retry.is_some_and(|at| now >= at) {
            self.retry = None;
            self.notices.everything_again();
            std::mem::take(&mut self.failed).into_iter().for_each(|path| self.notices.again(path));
        }
        let everything = self.notices.take_everything();
        if everything {
            self.look_around();
        }
        let mut looked = everything;
        let mut outcome = Ok(());
        // A file that waited for another is read in the next round.
        for _ in 0..ROUNDS {
            let changed = self.notices.take_changed(now);
            if changed.is_empty() {
                break;
            }
            looked = true;
            outcome = outcome.and(self.read(changed, now));
        }
        if everything || (looked && std::mem::take(&mut self.hidden)) {
            self.find_missing(now)?;
        }
        self.expire(now);
        self.shared.publish(self.catalog.problems().chain(&self.pools.overlaps));
        if !self.failed.is_empty() || self.notices.is_pending() {
            self.retry.get_or_insert(now + RETRY);
        }
        outcome
    }

    /// Walks the folders: watches what is new, and notes which files are new, different or gone.
    fn look_around(&mut self) {
        let mut walk = walk::walk(&self.root);
        // A folder that appeared between the walk and its watch is found by the walk after.
        loop {
            for folder in &walk.folders {
                if let Err(error) = self.notices.watch_folder(folder)
                    && folder.exists()
                {
                    let reason = format!("cannot be watched: {error} (see fs.inotify.max_user_watches)");
                    walk.problems.push(Problem::unreadable(folder.to_string_lossy(), reason));
                }
            }
            let after = walk::walk(&self.root);
            if after.folders == walk.folders {
                walk.files = after.files;
                break;
            }
            walk = after;
        }
        if !self.root.is_dir() {
            self.retry = Some(Instant::now() + RETRY);
        }
        let present: BTreeSet<PathBuf> = walk.files.into_iter().collect();
        for file in &present {
            if file.is_symlink() {
                self.notices.watch_link(file);
            }
            if self.catalog.file(file).is_none_or(|entry| entry.print != Print::of(file)) {
                self.notices.again(file.clone());
            }
        }
        let gone: Vec<PathBuf> = self.catalog.paths().filter(|path| !present.contains(*path)).cloned().collect();
        gone.into_iter().for_each(|path| self.notices.again(path));
        self.catalog.set_folders(walk.problems);
    }

    /// Reads files and brings what they say into force.
    fn read(&mut self, mut files: BTreeSet<PathBuf>, now: Instant) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        let mut elsewhere = Vec::new();
        while !files.is_empty() {
            let mut batch: Vec<Found> = Vec::new();
            while batch.len() < CHUNK
                && let Some(path) = files.pop_first()
            {
                let manifests = self.read_file(&path, now).into_iter();
                // Pools are judged together, when all are known.
                let others = manifests.filter(|manifest| manifest.object.kind != Kind::AddressPool);
                batch.extend(others.map(|manifest| (path.clone(), manifest)));
            }
            if files.is_empty() {
                batch.extend(self.pools.judge(&self.shared));
            }
            outcome = outcome.and(self.accept(batch, &Arc::new(files.clone()), &mut elsewhere));
        }
        for (path, problem, other) in elsewhere {
            let twice = problem.object.as_ref().is_some_and(|object| self.catalog.owners(object).any(|o| *o == other));
            if twice {
                self.catalog.refuse(&path, problem);
            } else {
                self.notices.again(path);
            }
        }
        outcome
    }

    /// Brings manifests into force, together. Those whose object another file has, as far as is known while the files
    /// `unread` are not read yet, are added to `elsewhere`.
    fn accept(
        &mut self,
        batch: Vec<Found>,
        unread: &Arc<BTreeSet<PathBuf>>,
        elsewhere: &mut Vec<(PathBuf, Problem, PathBuf)>,
    ) -> Result<(), StoreError> {
        let waiting: Vec<_> = batch.into_iter().map(|(path, manifest)| self.submit(path, manifest, unread)).collect();
        let mut outcome = Ok(());
        for (path, fate, answer) in waiting {
            let answer = answer.blocking_recv().unwrap_or_else(|_| Err(StoreError::Unavailable("it ended".to_owned())));
            let fate = std::mem::take(&mut *fate.lock().unwrap_or_else(PoisonError::into_inner));
            match (answer, fate) {
                (Ok(_), Fate::Accepted) => {}
                (Ok(_), Fate::Stale) => self.notices.again(path),
                (Ok(_), Fate::Refused(problems)) => {
                    problems.into_iter().for_each(|problem| self.catalog.refuse(&path, problem));
                }
                (Ok(_), Fate::Elsewhere(other, problem)) => elsewhere.push((path, *problem, other)),
                (Err(StoreError::Invalid { reason, .. }), _) => {
                    self.catalog.refuse(&path, Problem::of_file(path.to_string_lossy(), reason));
                }
                (Err(error), _) => {
                    self.failed.insert(path);
                    outcome = Err(error);
                }
            }
        }
        outcome
    }

    fn submit(
        &self,
        path: PathBuf,
        manifest: Manifest,
        unread: &Arc<BTreeSet<PathBuf>>,
    ) -> (PathBuf, Arc<Mutex<Fate>>, oneshot::Receiver<Outcome>) {
        let kind = manifest.object.kind;
        let key = key_of(&manifest.object);
        let owners: Vec<PathBuf> =
            self.catalog.owners(&manifest.object).filter(|owner| **owner != path).cloned().collect();
        let (root, unread) = (self.root.clone(), Arc::clone(unread));
        let acceptance = Acceptance {
            key: key.clone(),
            print: self.catalog.file(&path).and_then(|entry| entry.print.clone()),
            file: self.relative(&path),
            path: path.clone(),
            manifest,
            birth: self.shared.birth(),
            kept_by: Box::new(move |file| {
                let other = root.join(file);
                (owners.contains(&other) || unread.contains(&other)).then_some(other)
            }),
        };
        let fate = Arc::new(Mutex::new(Fate::default()));
        let told = Arc::clone(&fate);
        let decide = move |stored: Option<&Stored>| {
            let (verdict, fate) = acceptance.decide(stored)?;
            *told.lock().unwrap_or_else(PoisonError::into_inner) = fate;
            Ok(verdict)
        };
        (path, fate, self.writer.write(kind, key, Box::new(decide)))
    }

    /// Misses what is stored from a manifest and stands in none.
    fn find_missing(&mut self, now: Instant) -> Result<(), StoreError> {
        for kind in Kind::ALL.into_iter().filter(|kind| kind.user_written()) {
            for key in self.shared.index.keys(kind)? {
                let object = ObjectRef { kind, namespace: key.namespace.clone(), name: key.name.clone() };
                if self.catalog.owners(&object).next().is_some() || self.missing.contains_key(&object) {
                    continue;
                }
                let stored = match self.shared.index.read(kind, &key) {
                    Ok(stored) => stored.filter(|stored| stored.record.object.is_some()),
                    // Its watches say that it is damaged.
                    Err(StoreError::Malformed { .. }) => None,
                    Err(error) => return Err(error),
                };
                if let Some(source) = stored.and_then(|stored| stored.record.source) {
                    self.missing.insert(object, (source.file, now));
                }
            }
        }
        Ok(())
    }

    /// Deletes what has been missing for long enough.
    fn expire(&mut self, now: Instant) {
        let due: Vec<(ObjectRef, String)> = self
            .missing
            .iter()
            .filter(|(_, (_, since))| now >= *since + EDITOR)
            .map(|(object, (file, _))| (object.clone(), file.clone()))
            .collect();
        let mut waiting = Vec::new();
        for (object, file) in due {
            let path = self.root.join(&file);
            self.missing.remove(&object);
            if self.catalog.owners(&object).next().is_some() {
                continue;
            }
            if self.catalog.hides(&path) {
                self.hidden = true;
            } else if self.notices.is_written(&path) {
                self.missing.insert(object, (file, now));
            } else {
                let print = self.catalog.file(&path).and_then(|entry| entry.print.clone());
                let (kind, key, root) = (object.kind, key_of(&object), self.root.clone());
                let decide = {
                    let (key, file) = (key.clone(), file.clone());
                    move |stored: Option<&Stored>| accept::remove(kind, &key, &root, &file, print.as_ref(), stored)
                };
                waiting.push((object, file, self.writer.write(kind, key, Box::new(decide))));
            }
        }
        for (object, file, answer) in waiting {
            match answer.blocking_recv() {
                Ok(Ok(None)) => {}
                Ok(Ok(Some(stored))) if stored.record.object.is_none() => {
                    events::forget(&self.shared.place, object.kind, &key_of(&object));
                }
                Ok(Ok(Some(_)) | Err(StoreError::NotFound { .. })) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, "cannot delete {object}, whose manifest is gone");
                    self.missing.insert(object, (file, now + RETRY));
                }
                Err(_) => return,
            }
        }
    }

    /// Reads a file; what it has no longer is missing from now on, what it still has is not.
    fn read_file(&mut self, path: &Path, now: Instant) -> Vec<Manifest> {
        let print = Print::of(path);
        // A link that leads nowhere is there, and not readable.
        let there = path.symlink_metadata().is_ok();
        let mut reading = if there { walk::read_file(path) } else { Reading::default() };
        for clash in clashes(&reading.manifests).into_iter().rev().filter(|clash| clash.kind == ClashKind::Duplicate) {
            reading.manifests.remove(clash.at);
            reading.problems.push(clash.problem);
        }
        let invalid = reading.problems.iter().filter_map(|problem| problem.object.clone());
        let valid = reading.manifests.iter().map(|manifest| manifest.object.clone());
        let entry = Entry { print, objects: invalid.chain(valid).collect(), problems: reading.problems };
        let objects: Vec<ObjectRef> = entry.objects.iter().cloned().collect();
        let gone = self.catalog.set(path, there.then_some(entry));
        let file = self.relative(path);
        for object in gone {
            self.pools.remove(path, &object);
            let other = self.catalog.owners(&object).next().cloned();
            match other {
                // Another manifest of the object was waiting for this one to go.
                Some(other) => self.notices.again(other),
                None => _ = self.missing.entry(object).or_insert_with(|| (file.clone(), now)),
            }
        }
        for object in &objects {
            self.missing.remove(object);
        }
        for pool in reading.manifests.iter().filter(|manifest| manifest.object.kind == Kind::AddressPool) {
            self.pools.insert(path, pool);
        }
        reading.manifests
    }

    fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().into_owned()
    }
}

/// The key of an object.
fn key_of(object: &ObjectRef) -> Key {
    Key { namespace: object.namespace.clone(), name: object.name.clone() }
}
