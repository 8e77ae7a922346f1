//! The threads that wait for the file system on behalf of the watches of a process: one for what is stored, one for the
//! manifests.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tokio::sync::watch;

use super::Shared;
use super::index::Subscriber;
use super::intake::Intake;
use crate::api::kind::Kind;
use crate::store::StoreError;

/// How long to rest after the file system failed.
const PAUSE: Duration = Duration::from_secs(1);

/// How long what was read is kept for others of this process, at least.
const MOMENT: Duration = Duration::from_secs(1);

/// The running threads; they end when this is dropped.
#[derive(Debug)]
pub(super) struct Engine {
    _alive: io::PipeWriter,
    /// Whether every manifest was looked at once.
    pub(super) ready: watch::Receiver<bool>,
}

impl Engine {
    /// Starts the threads.
    pub(super) fn start(shared: &Arc<Shared>) -> Result<Self, StoreError> {
        let failed = |error: io::Error| StoreError::Unavailable(format!("cannot start watching: {error}"));
        let (ended, alive) = io::pipe().map_err(failed)?;
        let ended_too = ended.try_clone().map_err(failed)?;
        let events = shared.index.events().map_err(failed)?;
        let intake = Intake::new(Arc::clone(shared))?;
        let bell = Bell::new(shared)?;
        let (told, ready) = watch::channel(false);
        let stored = Arc::clone(shared);
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        thread("store-watch").spawn(move || watch_state(&stored, &events, &ended)).map_err(failed)?;
        thread("store-intake").spawn(move || watch_manifests(intake, &bell, &ended_too, &told)).map_err(failed)?;
        Ok(Self { _alive: alive, ready })
    }
}

fn watch_state(shared: &Shared, events: &OwnedFd, ended: &io::PipeReader) {
    let (mut kept, mut aged) = (shared.index.age(), Instant::now());
    loop {
        let ready = wait(&[events.as_fd(), ended.as_fd()], kept.then_some(MOMENT));
        if ready.is_some_and(|ready| ready[1]) {
            return;
        }
        if aged.elapsed() >= MOMENT {
            (kept, aged) = (shared.index.age(), Instant::now());
        }
        // What has happened is about to be read.
        kept |= ready.is_some();
        if let Err(error) = shared.index.catch_up() {
            tracing::error!(%error, "the directory store cannot see what is stored");
            std::thread::sleep(PAUSE);
        }
    }
}

fn watch_manifests(mut intake: Intake, bell: &Bell, ended: &io::PipeReader, told: &watch::Sender<bool>) {
    loop {
        let outcome = intake.turn(Instant::now());
        if let Err(error) = outcome {
            tracing::error!(%error, "the directory store cannot bring manifests into force");
        }
        told.send_replace(true);
        let limit = intake.deadline().map(|at| at.saturating_duration_since(Instant::now()));
        let Some(ready) = wait(&[intake.fd(), bell.fd.as_fd(), ended.as_fd()], limit) else { continue };
        if ready[2] {
            return;
        }
        if ready[1] {
            bell.answer(&mut intake);
        }
    }
}

/// Waits until one of the files has something to say, at most for `limit`; which ones have, `None` if none.
fn wait<const N: usize>(files: &[std::os::fd::BorrowedFd<'_>; N], limit: Option<Duration>) -> Option<[bool; N]> {
    let mut polled = files.map(|file| PollFd::from_borrowed_fd(file, PollFlags::IN));
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    let ready = poll(&mut polled, limit.as_ref()).unwrap_or(0);
    (ready > 0).then(|| polled.map(|polled| !polled.revents().is_empty()))
}

/// Rings when an object of the user's kinds was changed in the store.
struct Bell {
    fd: OwnedFd,
    subscribers: Vec<(Kind, Arc<Subscriber>)>,
}

impl Bell {
    fn new(shared: &Shared) -> Result<Self, StoreError> {
        let failed = |error: io::Error| StoreError::Unavailable(format!("cannot start watching: {error}"));
        let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
        let mut subscribers = Vec::new();
        for kind in Kind::ALL.into_iter().filter(|kind| kind.user_written()) {
            let rope = fd.try_clone().map_err(failed)?;
            let subscriber = shared.index.subscribe(kind, Some(rope))?;
            // What is there now is looked at without being told.
            subscriber.take();
            subscribers.push((kind, subscriber));
        }
        Ok(Self { fd, subscribers })
    }

    fn answer(&self, intake: &mut Intake) {
        let _ = rustix::io::read(&self.fd, &mut [0; 8]);
        for (kind, subscriber) in &self.subscribers {
            for key in subscriber.take().keys {
                intake.stored_changed(*kind, &key);
            }
        }
    }
}
