//! Files that are read whole and read again when they change.
//!
//! A change shows in the device, inode, size or modification time of a file, or in which files there are; that covers a
//! file that is written in place, one that is renamed over, and the symbolic links that a Kubernetes volume swaps. A
//! change counts when it has stood still for one look, so that a file half written is not read; one that cannot be read
//! leaves what was read before in use.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::metrics::LookupMetrics;

/// How often files are looked at.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// What the files say, and as of when.
#[derive(Debug)]
pub(super) struct Loaded<T> {
    /// What was read.
    pub(super) value: T,
    /// How many entries that is.
    pub(super) entries: u64,
    /// As of when the oldest part is, in seconds since 1970.
    pub(super) built: i64,
}

/// The state of one file, as stat(2) tells it.
type Stat = (PathBuf, u64, u64, u64, Option<SystemTime>);

/// One kind of database; see the module.
pub(super) struct Files<T> {
    /// For logs and metrics.
    name: &'static str,
    find: Box<dyn Fn() -> Vec<PathBuf> + Send + Sync>,
    load: fn(&[PathBuf]) -> Result<Loaded<T>, String>,
    current: RwLock<T>,
    seen: Mutex<Seen>,
    metrics: LookupMetrics,
}

#[derive(Default)]
struct Seen {
    loaded: Vec<Stat>,
    last: Vec<Stat>,
}

impl<T> std::fmt::Debug for Files<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> Files<T> {
    /// Reads the files for the first time. `find` says which files there are now, `load` reads them.
    ///
    /// # Errors
    /// Which file is not what it should be.
    pub(super) fn open(
        name: &'static str,
        find: impl Fn() -> Vec<PathBuf> + Send + Sync + 'static,
        load: fn(&[PathBuf]) -> Result<Loaded<T>, String>,
        metrics: LookupMetrics,
    ) -> Result<Self, String> {
        let paths = find();
        let loaded = stats(&paths);
        let first = load(&paths)?;
        metrics.loaded(name, first.entries, first.built);
        Ok(Self {
            name,
            find: Box::new(find),
            load,
            current: RwLock::new(first.value),
            seen: Mutex::new(Seen { last: loaded.clone(), loaded }),
            metrics,
        })
    }

    /// What the files said when they were last read well; nothing newer comes in while it is looked at.
    pub(super) fn current(&self) -> RwLockReadGuard<'_, T> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks once; reads the files if they have changed and stand still. Blocks while it reads.
    fn look(&self) {
        let paths = (self.find)();
        let now = stats(&paths);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let still = seen.last == now;
        seen.last.clone_from(&now);
        if !still || seen.loaded == now {
            return;
        }
        // A file that does not parse is not read again until it changes again.
        seen.loaded = now;
        match (self.load)(&paths) {
            Ok(loaded) => {
                self.metrics.loaded(self.name, loaded.entries, loaded.built);
                tracing::info!(database = self.name, entries = loaded.entries, "a database was read again");
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                let before = std::mem::replace(&mut *current, loaded.value);
                // Whoever asks need not wait until what was there is gone.
                drop(current);
                drop(before);
            }
            Err(error) => {
                self.metrics.load_failed(self.name);
                tracing::error!(database = self.name, %error, "a changed database cannot be read; the one before stays");
            }
        }
    }

    /// Looks at the files from now on, until `stop`.
    pub(super) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            let files = Arc::clone(&self);
            if tokio::task::spawn_blocking(move || files.look()).await.is_err() {
                tracing::error!(database = self.name, "reading a database failed in an unforeseen way");
            }
        }
    }
}

fn stats(paths: &[PathBuf]) -> Vec<Stat> {
    let stat = |path: &PathBuf| {
        let data = fs::metadata(path).ok();
        let number = |of: fn(&fs::Metadata) -> u64| data.as_ref().map_or(0, of);
        let modified = data.as_ref().and_then(|data| data.modified().ok());
        (path.clone(), number(MetadataExt::dev), number(MetadataExt::ino), number(fs::Metadata::len), modified)
    };
    paths.iter().map(stat).collect()
}

/// When a file was last changed, in seconds since 1970.
pub(super) fn modified(path: &Path) -> i64 {
    fs::metadata(path).map_or(0, |data| data.mtime())
}

/// Seconds since 1970 as a date and time (RFC 3339).
pub(super) fn date(seconds: i64) -> Option<String> {
    jiff::Timestamp::from_second(seconds).ok().map(|time| time.to_string())
}
