//! The controller: gives addresses to VirtualIPs and VirtualIPs to nodes, and says in their statuses how they are.
//!
//! A thin loop round [`Controller`]: what the store says goes in, what it asks for is written, and what becomes of the
//! writes goes in again. Of several controllers on one store one leads; the others watch.

mod leader;
mod objects;
mod services;
mod watches;
pub mod withdraw;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::clock;
use crate::core::controller::{self as machine, Controller, Effect, Id, Input, Notice, Outcome, Severity, Standing};
use crate::http::Health;
use crate::metrics::ControllerMetrics;
use crate::store::{Event, EventType, SharedStore, StoreError};

pub use self::leader::{Candidacy, LEASE, NAMESPACE};
pub use self::services::{CLASS, POOL};
pub use self::writes::MANAGER;

/// How many messages of inputs wait at most; whoever has more waits.
const QUEUE: usize = 1024;
/// How many events wait to be recorded; more are dropped and counted, for statuses say the same.
const EVENTS: usize = 1024;
/// How many writes are under way at once to a store that asks no server, those of views apart.
const IN_FLIGHT_LOCAL: usize = 4096;
/// How long a controller that ends waits for writes under way and for its lease to be given back.
const END_TIME: Duration = Duration::from_secs(5);

/// Why a controller could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// The store cannot be watched.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A part of the controller ended that never should.
    #[error("a part of the controller ended: {0}")]
    Ended(String),
}

/// A VirtualIP (`namespace/name`) and what decides about it, as the store has it now; `None` if there is none of that
/// name.
///
/// # Errors
/// The store does not answer, or refuses.
pub async fn standing(store: &SharedStore, name: &str) -> Result<Option<Standing>, StoreError> {
    Ok(machine::standing(watches::listings(store).await?, name))
}

/// Runs a controller until `stop`.
///
/// # Errors
/// [`ControllerError`] when the store cannot be watched at all; whatever was written stays.
pub async fn run(
    candidacy: Candidacy,
    store: SharedStore,
    metrics: ControllerMetrics,
    health: Arc<Health>,
    stop: CancellationToken,
) -> Result<(), ControllerError> {
    let (told, inputs) = mpsc::channel(QUEUE);
    let (events, waiting) = mpsc::channel(EVENTS);
    let mut parts = JoinSet::new();
    for kind in objects::WATCHED {
        parts.spawn(watches::follow(store.clone(), kind, told.clone()));
    }
    // The lease is given back when nothing is being written any more.
    let resign = CancellationToken::new();
    let leader = tokio::spawn(leader::stand(candidacy, store.clone(), told, resign.clone()));
    let teller = tokio::spawn(tell(store.clone(), waiting, metrics.clone()));
    // A store of this machine alone makes what waits together durable at once: the more the better.
    let room = if store.server().is_some() { machine::IN_FLIGHT } else { IN_FLIGHT_LOCAL };
    let mut role = Role {
        machine: Controller::with_room(room),
        store,
        metrics,
        health,
        events,
        writes: JoinSet::new(),
        failing: false,
    };
    let ended = role.serve(inputs, &mut parts, &stop).await;
    role.health.set_ready(false);
    let Role { mut writes, events, .. } = role;
    drop(events);
    let rest = async {
        while writes.join_next().await.is_some() {}
        resign.cancel();
        let _ = tokio::join!(leader, teller);
    };
    if tokio::time::timeout(END_TIME, rest).await.is_err() {
        warn!("the store did not answer in time; what was being written may or may not be");
    }
    ended
}

struct Role {
    machine: Controller,
    store: SharedStore,
    metrics: ControllerMetrics,
    health: Arc<Health>,
    events: Sender<Notice>,
    writes: JoinSet<(Id, Outcome, Option<StoreError>)>,
    failing: bool,
}

impl Role {
    async fn serve(
        &mut self,
        mut inputs: Receiver<Vec<Input>>,
        parts: &mut JoinSet<Result<(), StoreError>>,
        stop: &CancellationToken,
    ) -> Result<(), ControllerError> {
        loop {
            let wait = self.machine.poll_timeout().map(|due| due.since(clock::now()));
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(batch) = inputs.recv() => {
                    self.take(batch);
                    while let Ok(batch) = inputs.try_recv() {
                        self.take(batch);
                    }
                }
                Some(written) = self.writes.join_next() => {
                    let (id, outcome, error) = written.map_err(|error| ControllerError::Ended(error.to_string()))?;
                    self.written(id, outcome, error);
                }
                Some(ended) = parts.join_next() => {
                    ended.map_err(|error| ControllerError::Ended(error.to_string()))??;
                    return Err(ControllerError::Ended("a watch".to_owned()));
                }
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
            self.act();
        }
    }

    fn take(&mut self, inputs: Vec<Input>) {
        let now = clock::now();
        for input in inputs {
            if let Input::Leading(leading) = &input {
                self.metrics.leading(*leading);
            }
            self.machine.handle(now, input);
        }
    }

    fn written(&mut self, id: Id, outcome: Outcome, error: Option<StoreError>) {
        match &error {
            Some(error) if !std::mem::replace(&mut self.failing, true) => {
                warn!(object = ?id, %error, "the store did not take a write; it is tried again");
            }
            Some(error) => debug!(object = ?id, %error, "the store did not take a write"),
            None if std::mem::take(&mut self.failing) => info!("the store takes writes again"),
            None => {}
        }
        self.machine.handle(clock::now(), Input::Wrote { id, outcome });
    }

    fn act(&mut self) {
        let now = clock::now();
        if self.machine.poll_timeout().is_some_and(|due| due <= now) {
            self.machine.handle_timeout(now);
            let took = clock::now().since(now);
            self.machine.took(took);
            self.metrics.look(self.machine.figures(), took);
        }
        while let Some(effect) = self.machine.poll_effect() {
            match effect {
                Effect::Write { id, write } => {
                    let store = self.store.clone();
                    self.writes.spawn(async move {
                        let (outcome, error) = writes::write(&store, &id, write).await;
                        (id, outcome, error)
                    });
                }
                Effect::Tell(notice) => {
                    if self.events.try_send(notice).is_err() {
                        self.metrics.event_dropped();
                    }
                }
            }
        }
        self.health.set_ready(self.machine.is_complete());
    }
}

/// Records what users are told, one after the other.
async fn tell(store: SharedStore, mut notices: Receiver<Notice>, metrics: ControllerMetrics) {
    while let Some(Notice { about, uid, severity, reason, message }) = notices.recv().await {
        let (kind, key) = objects::place(&about);
        info!(kind = kind.name(), object = %key, reason, "{message}");
        let event_type = match severity {
            Severity::Normal => EventType::Normal,
            Severity::Warning => EventType::Warning,
        };
        if let Err(error) = store.record(Event { kind, key, uid, event_type, reason, message }).await {
            metrics.event_dropped();
            debug!(%error, "an event is lost");
        }
    }
}
