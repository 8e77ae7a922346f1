//! A thread that drives an engine of many targets.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Engine, Options, wait};

/// The least time between two turns: what comes due within it goes together. A twentieth of the shortest interval, within
/// these bounds: the turns of a prober that asks once a second are few, and one that asks often is on time.
const TURN: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(50)];
const TURNS: u32 = 20;
/// An interval with which turns are as short as can be.
pub const SHORT_TURNS: Duration = Duration::from_millis(100);
/// The longest wait, after which the thread looks whether there are new targets or it should end.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// An engine in a thread of its own; it ends when this is dropped.
#[derive(Debug)]
pub struct Runner {
    engine: Arc<Mutex<Engine>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Runner {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no room for a thread.
    pub fn start(options: Options) -> io::Result<Self> {
        let engine = Arc::new(Mutex::new(Engine::new(options)));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, ended) = (Arc::clone(&engine), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("prober".into()).spawn(move || drive(&shared, &ended))?;
        Ok(Self { engine, stop, thread: Some(thread) })
    }

    /// The engine, between two turns.
    pub fn engine(&self) -> MutexGuard<'_, Engine> {
        lock(&self.engine)
    }

    /// Whether the thread is at work.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the prober's thread panicked");
        }
    }
}

/// The engine is whole after each call, whoever panicked while holding it.
fn lock(engine: &Mutex<Engine>) -> MutexGuard<'_, Engine> {
    engine.lock().unwrap_or_else(PoisonError::into_inner)
}

fn drive(engine: &Mutex<Engine>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let (due, sockets, interval) = {
            let engine = lock(engine);
            (engine.next_due(), engine.sockets(), engine.shortest_interval())
        };
        if let Err(error) = wait(&sockets, due, LONGEST_WAIT) {
            tracing::warn!(%error, "cannot wait for answers");
        }
        // Answers wait: the kernel has stamped them.
        let [least, most] = TURN;
        std::thread::sleep(interval.map_or(least, |interval| (interval / TURNS).clamp(least, most)));
        lock(engine).work();
    }
}
