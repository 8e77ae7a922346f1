//! What inotify says about the directory of manifests, as files to read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};

use crate::store::StoreError;
use crate::store::dir::walk;

/// How long a file that somebody writes to is waited for before it is read all the same.
const LONGEST_WRITE: Duration = Duration::from_secs(5);

/// What is watched.
#[derive(Debug, Clone)]
enum Watched {
    Folder(PathBuf),
    /// A symbolic link to a file, whose target is elsewhere.
    Link(PathBuf),
}

/// The events of the manifests.
#[derive(Debug)]
pub(super) struct Notices {
    inotify: Inotify,
    watched: HashMap<WatchDescriptor, Watched>,
    /// Files that somebody writes to, and when something was last heard of each.
    writing: BTreeMap<PathBuf, Instant>,
    /// Files to look at.
    changed: BTreeSet<PathBuf>,
    /// Whether all folders are to be looked at.
    everything: bool,
}

impl Notices {
    pub(super) fn new() -> Result<Self, StoreError> {
        let inotify = Inotify::init().map_err(|error| {
            StoreError::Unavailable(format!("cannot watch manifests: {error} (see fs.inotify.max_user_instances)"))
        })?;
        let (watched, writing, changed) = (HashMap::new(), BTreeMap::new(), BTreeSet::new());
        Ok(Self { inotify, watched, writing, changed, everything: true })
    }

    /// Something to poll.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Watches a folder. A folder that went meanwhile is seen by its parent's watch.
    pub(super) fn watch_folder(&mut self, folder: &Path) -> io::Result<()> {
        let mask = WatchMask::CREATE
            | WatchMask::MODIFY
            | WatchMask::CLOSE_WRITE
            | WatchMask::MOVE
            | WatchMask::DELETE
            | WatchMask::ATTRIB
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        let descriptor = self.inotify.watches().add(folder, mask)?;
        self.watched.insert(descriptor, Watched::Folder(folder.to_owned()));
        Ok(())
    }

    /// Watches the file that a symbolic link leads to.
    pub(super) fn watch_link(&mut self, link: &Path) {
        let mask = WatchMask::CLOSE_WRITE | WatchMask::ATTRIB | WatchMask::DELETE_SELF | WatchMask::MOVE_SELF;
        if let Ok(descriptor) = self.inotify.watches().add(link, mask) {
            self.watched.insert(descriptor, Watched::Link(link.to_owned()));
        }
    }

    /// Takes in what has happened.
    pub(super) fn catch_up(&mut self, now: Instant) -> Result<(), StoreError> {
        let mut buffer = [0; 8192];
        loop {
            let mut events = Vec::new();
            match self.inotify.read_events(&mut buffer) {
                Ok(read) => events.extend(read.map(|event| event.to_owned())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(StoreError::Unavailable(format!("cannot read inotify events: {error}"))),
            }
            for event in events {
                if event.mask.contains(EventMask::IGNORED) {
                    self.watched.remove(&event.wd);
                    continue;
                }
                match (self.watched.get(&event.wd).cloned(), &event.name) {
                    (Some(Watched::Folder(folder)), Some(name)) => self.in_folder(&folder.join(name), event.mask, now),
                    (Some(Watched::Link(link)), _) => _ = self.changed.insert(link),
                    // A folder itself, or the queue was full.
                    _ => self.everything = true,
                }
            }
        }
    }

    fn in_folder(&mut self, path: &Path, mask: EventMask, now: Instant) {
        // The links of a mounted ConfigMap lead through `..data`, which is replaced to change them all at once.
        let data = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".."));
        if mask.contains(EventMask::ISDIR) || data {
            self.everything |= data || !walk::is_hidden(path);
        } else if !walk::is_manifest(path) {
            // A link to a folder may have any name.
            self.everything |= mask.contains(EventMask::CREATE) && path.is_symlink() && !walk::is_hidden(path);
        } else if mask.contains(EventMask::MODIFY) {
            self.writing.insert(path.to_owned(), now);
        } else {
            // Who copies a file sets its times and rights before closing it.
            if !mask.contains(EventMask::ATTRIB) {
                self.writing.remove(path);
            }
            self.changed.insert(path.to_owned());
        }
    }

    /// Asks for a file to be read again.
    pub(super) fn again(&mut self, path: PathBuf) {
        self.changed.insert(path);
    }

    /// Asks for everything to be looked at again.
    pub(super) fn everything_again(&mut self) {
        self.everything = true;
    }

    /// Whether all folders are to be looked at, which is then no longer pending.
    pub(super) fn take_everything(&mut self) -> bool {
        std::mem::take(&mut self.everything)
    }

    /// The files to read now: those that changed and that nobody writes to.
    pub(super) fn take_changed(&mut self, now: Instant) -> BTreeSet<PathBuf> {
        let over: Vec<PathBuf> =
            self.writing.iter().filter(|(_, at)| now >= **at + LONGEST_WRITE).map(|(path, _)| path.clone()).collect();
        for path in over {
            self.writing.remove(&path);
            self.changed.insert(path);
        }
        let ready = self.changed.iter().filter(|path| !self.writing.contains_key(*path)).cloned().collect();
        self.changed.retain(|path| self.writing.contains_key(path));
        ready
    }

    /// Whether files are still to be read that nobody writes to.
    pub(super) fn is_pending(&self) -> bool {
        self.changed.iter().any(|path| !self.writing.contains_key(path))
    }

    /// Whether somebody writes to the file.
    pub(super) fn is_written(&self, path: &Path) -> bool {
        self.writing.contains_key(path)
    }

    /// When the longest write is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.writing.values().min().map(|at| *at + LONGEST_WRITE)
    }
}
