//! Every version of the segment's view as a watch tells it, with the time at which it was told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::StreamExt;
use vipkeeper::api::FailoverView;
use vipkeeper::api::kind::Kind;
use vipkeeper::core::view::View;
use vipkeeper::store::{Change, Object, SharedStore};

use crate::support::capture::now;

/// A view and when it was seen.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) at: Duration,
    pub(crate) version: String,
    pub(crate) view: View,
}

pub(crate) struct Journal {
    seen: Arc<Mutex<Vec<Seen>>>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Journal {
    /// Watches the view named `segment`. `open` runs on the journal's own thread.
    pub(crate) fn start(segment: &'static str, open: impl FnOnce() -> Opened + Send + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let done = Arc::new(AtomicBool::new(false));
        let (sink, ended) = (Arc::clone(&seen), Arc::clone(&done));
        let thread = std::thread::spawn(move || {
            let Opened { runtime, store } = open();
            runtime.block_on(follow(store, segment, &sink, &ended));
        });
        Self { seen, done, thread: Some(thread) }
    }

    /// The newest view.
    pub(crate) fn view(&self) -> Option<View> {
        self.seen.lock().unwrap().last().map(|seen| seen.view.clone())
    }

    /// The version that stood at `from`, and all that came from then until `until`.
    pub(crate) fn between(&self, from: Duration, until: Duration) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        let first = seen.iter().rposition(|seen| seen.at <= from).unwrap_or(0);
        seen[first..].iter().take_while(|seen| seen.at < until).cloned().collect()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A store and the runtime that it was opened on.
pub(crate) struct Opened {
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) store: SharedStore,
}

async fn follow(store: SharedStore, segment: &str, sink: &Mutex<Vec<Seen>>, ended: &AtomicBool) {
    let mut watch = store.watch(Kind::FailoverView).await.unwrap();
    while !ended.load(Ordering::Relaxed) {
        let Ok(change) = tokio::time::timeout(Duration::from_millis(100), watch.next()).await else { continue };
        let objects: Vec<Object> = match change.expect("a watch never ends") {
            Change::Reset(objects) => objects,
            Change::Apply(object) => vec![object],
            _ => continue,
        };
        for object in objects.iter().filter(|object| object.key.name == segment) {
            let (version, view) =
                (object.resource_version().to_owned(), object.parse::<FailoverView>().unwrap().spec.0);
            let mut seen = sink.lock().unwrap();
            // A watch that was broken begins again with what is known.
            if seen.last().is_none_or(|last| last.version != version) {
                seen.push(Seen { at: now(), version, view });
            }
        }
    }
}
