//! The thread that waits for the file system on behalf of the watches of a process.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Shared;
use crate::store::StoreError;

/// The running thread; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Engine {
    _alive: io::PipeWriter,
}

impl Engine {
    /// Starts the thread.
    pub(super) fn start(shared: Arc<Shared>) -> Result<Self, StoreError> {
        let failed = |error: io::Error| StoreError::Unavailable(format!("cannot start watching: {error}"));
        let (ended, alive) = io::pipe().map_err(failed)?;
        let events = shared.index.events().map_err(failed)?;
        std::thread::Builder::new()
            .name("store-watch".to_owned())
            .spawn(move || run(&shared, &events, &ended))
            .map_err(failed)?;
        Ok(Self { _alive: alive })
    }
}

fn run(shared: &Shared, events: &OwnedFd, ended: &io::PipeReader) {
    loop {
        let mut polled = [PollFd::new(events, PollFlags::IN), PollFd::new(ended, PollFlags::IN)];
        let _ = wait(&mut polled, None);
        if !polled[1].revents().is_empty() {
            return;
        }
        if let Err(error) = shared.index.catch_up() {
            tracing::error!(%error, "the directory store cannot see changes");
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

fn wait(polled: &mut [PollFd<'_>], limit: Option<Duration>) -> io::Result<usize> {
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    Ok(poll(polled, limit.as_ref())?)
}
