//! Writes: whole or not at all, durable when they are told, and one winner of each race.
//!
//! A writer drafts the next version in a file of its own, makes it durable, and commits it with link(2) to the name of
//! that version, which fails if somebody has it. No lock is held, so a writer that is stopped or killed anywhere stops
//! nobody. It can come late: after the version that it wants was made and removed again by others. Its link succeeds
//! then, below the newest version, where nobody looks; it finds that out from the index and the commit ids.
//!
//! All writes of a process go through one thread, which commits what is waiting together: a thousand new objects cost
//! two flushes of the disk, not two thousand.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::sync::oneshot;

use super::index::Index;
use super::name;
use super::place::{Place, fault, write_new};
use super::record::{Record, Stored};
use crate::api::kind::Kind;
use crate::store::{Key, StoreError};

/// How many commits are made together at most; bounds the drafts that a killed process leaves.
const BATCH: usize = 4096;
/// From how many drafts on the whole file system is flushed once rather than each file.
const FLUSH_ALL: usize = 8;

/// What becomes of an object.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It stays as it is.
    Keep,
    /// This is stored; its object is `None` to delete it.
    Write(Box<Record>),
}

/// Decides on a write from what is stored; asked again when somebody else was faster.
pub(super) type Decide = Box<dyn FnMut(Option<&Stored>) -> Result<Verdict, StoreError> + Send>;
/// What is stored after a write that succeeded.
pub(super) type Outcome = Result<Option<Stored>, StoreError>;

struct Job {
    kind: Kind,
    key: Key,
    decide: Decide,
    reply: oneshot::Sender<Outcome>,
}

/// A job on its way through one batch.
struct Draft {
    job: Job,
    base: Option<Stored>,
    next: Stored,
    text: Arc<str>,
    draft: PathBuf,
    place: PathBuf,
}

/// Hands writes to the thread that makes them.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Sender<Job>,
}

impl Writer {
    /// Makes the state folder and starts the thread, which ends when the writer is dropped and nothing is waiting.
    pub(super) fn start(place: Arc<Place>, index: Arc<Index>) -> Result<Self, StoreError> {
        place.prepare()?;
        let (jobs, waiting) = channel();
        let thread = Thread { place, index, id: super::fresh_id(), count: 0 };
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || thread.run(&waiting))
            .map_err(|error| StoreError::Unavailable(format!("cannot start a thread: {error}")))?;
        Ok(Self { jobs })
    }

    /// Asks for a write; the answer comes when it is durable or refused.
    pub(super) fn write(&self, kind: Kind, key: Key, decide: Decide) -> oneshot::Receiver<Outcome> {
        let (reply, answer) = oneshot::channel();
        // A thread that is gone drops the job and its reply: the receiver sees that.
        let _ = self.jobs.send(Job { kind, key, decide, reply });
        answer
    }
}

struct Thread {
    place: Arc<Place>,
    index: Arc<Index>,
    /// Distinguishes this thread's drafts and commits from all others', ever.
    id: String,
    count: u64,
}

impl Thread {
    fn run(mut self, jobs: &Receiver<Job>) {
        let mut waiting = Vec::new();
        loop {
            if waiting.is_empty() {
                match jobs.recv() {
                    Ok(job) => waiting.push(job),
                    Err(_) => return,
                }
            }
            waiting.extend(jobs.try_iter().take(BATCH));
            // Two writes of one object go one after the other; the second waits for the next round.
            let mut busy = BTreeSet::new();
            let (batch, later): (Vec<_>, Vec<_>) = waiting
                .into_iter()
                .partition(|job: &Job| busy.len() < BATCH && busy.insert((job.kind, job.key.clone())));
            waiting = self.commit(batch);
            waiting.extend(later);
        }
    }

    /// Commits what can be; returns the jobs that somebody else was faster at.
    fn commit(&mut self, batch: Vec<Job>) -> Vec<Job> {
        let mut drafts: Vec<Draft> = batch.into_iter().filter_map(|job| self.draft(job)).collect();
        if let Err(error) = self.flush(&drafts) {
            drafts.drain(..).for_each(|draft| draft.fail(&error));
            return Vec::new();
        }
        let mut linked = Vec::new();
        let mut lost = Vec::new();
        for draft in drafts {
            let outcome = fs::hard_link(&draft.draft, &draft.place);
            let _ = fs::remove_file(&draft.draft);
            match outcome {
                Ok(()) => linked.push(draft),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => lost.push(draft.job),
                // Another process took the draft for a killed one's, after we slept for long.
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.place.draft("").exists() => {
                    lost.push(draft.job);
                }
                Err(error) => {
                    let error = fault("commit", &draft.place, &error);
                    draft.fail(&error);
                }
            }
        }
        let kinds: BTreeSet<Kind> = linked.iter().map(|draft| draft.job.kind).collect();
        let durable = kinds.into_iter().try_for_each(|kind| {
            let folder = self.place.folder(kind);
            fs::File::open(&folder).and_then(|file| file.sync_all()).map_err(|error| fault("flush", &folder, &error))
        });
        for draft in linked {
            match durable.as_ref().map_err(again).and_then(|()| self.has_won(&draft)) {
                Ok(true) => {
                    let before = draft.base.as_ref().map(|base| base.version);
                    if let Some(before) = before {
                        let former = name::version_file(&draft.job.key, before);
                        let _ = fs::remove_file(self.place.folder(draft.job.kind).join(former));
                    }
                    self.index.keep(draft.job.kind, &draft.job.key, (draft.next.version, draft.text));
                    let _ = draft.job.reply.send(Ok(Some(draft.next)));
                }
                Ok(false) => {
                    let _ = fs::remove_file(&draft.place);
                    lost.push(draft.job);
                }
                Err(error) => draft.fail(&error),
            }
        }
        lost
    }

    /// Asks a job what it wants and writes that down; answers those who want nothing or may not.
    fn draft(&mut self, mut job: Job) -> Option<Draft> {
        let decided = self.index.read(job.kind, &job.key).and_then(|base| {
            let verdict = (job.decide)(base.as_ref())?;
            Ok((base, verdict))
        });
        let (base, record) = match decided {
            Ok((base, Verdict::Write(record))) => (base, *record),
            Ok((base, Verdict::Keep)) => return answer(job, Ok(base)),
            Err(error) => return answer(job, Err(error)),
        };
        self.count += 1;
        let id = format!("{}-{}", self.id, self.count);
        let draft = self.place.draft(&id);
        let mut record = record.committed(id, base.as_ref().map(|base| &base.record));
        let version = base.as_ref().map_or(1, |base| base.version + 1);
        if base.as_ref().is_none_or(|base| base.record.object.is_none()) {
            record.born = version;
        }
        let place = self.place.folder(job.kind).join(name::version_file(&job.key, version));
        let mode = if job.kind == Kind::Secret { 0o600 } else { 0o644 };
        let written = serde_json::to_string(&record)
            .map_err(io::Error::from)
            .and_then(|text| write_new(&draft, text.as_bytes(), mode).map(|_| Arc::from(text)));
        match written {
            Ok(text) => Some(Draft { job, base, next: Stored { version, record }, text, draft, place }),
            Err(error) => {
                let _ = fs::remove_file(&draft);
                answer(job, Err(fault("write", &draft, &error)))
            }
        }
    }

    /// Makes the drafts durable.
    fn flush(&self, drafts: &[Draft]) -> Result<(), StoreError> {
        if drafts.len() >= FLUSH_ALL {
            let state = self.place.state();
            let flushed = fs::File::open(state).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
            return flushed.map_err(|error| fault("flush", state, &error));
        }
        drafts.iter().try_for_each(|draft| {
            let flushed = fs::File::open(&draft.draft).and_then(|file| file.sync_data());
            flushed.map_err(|error| fault("flush", &draft.draft, &error))
        })
    }

    /// Whether a commit whose link succeeded was the first of its version: the newest version is this one, or one that
    /// was built on it.
    fn has_won(&self, draft: &Draft) -> Result<bool, StoreError> {
        let (kind, key) = (draft.job.kind, &draft.job.key);
        if self.index.newest(kind, key)? == Some(draft.next.version) {
            return Ok(true);
        }
        let ours = draft.next.record.commits.first();
        let newest = self.index.read(kind, key)?;
        let known = newest.as_ref().map(|newest| newest.record.commits.as_slice()).unwrap_or_default();
        if ours.is_some_and(|ours| known.contains(ours)) {
            return Ok(true);
        }
        // The ids reach back past our version: it was another's. Else we slept for too long to know.
        let reaches = newest.as_ref().is_some_and(|newest| newest.version - draft.next.version < known.len() as u64);
        if reaches {
            return Ok(false);
        }
        Err(StoreError::Unavailable(format!("many others wrote {} {key} meanwhile", kind.name())))
    }
}

impl Draft {
    fn fail(self, error: &StoreError) {
        let _ = fs::remove_file(&self.draft);
        let _ = self.job.reply.send(Err(again(error)));
    }
}

/// Answers a job that is done.
fn answer(job: Job, outcome: Outcome) -> Option<Draft> {
    let _ = job.reply.send(outcome);
    None
}

/// One failure of the file system, told to each of those whom it hit.
fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Forbidden(text) => StoreError::Forbidden(text.clone()),
        other => StoreError::Unavailable(other.to_string()),
    }
}
