//! The prober: measures what `UDPProbe` resources name, for Prometheus.
//!
//! The store's watches feed [`world::World`]; [`wanted`] says purely what is to be measured; the difference to what is
//! measured goes to the engine, so that series come and go with their targets. Nothing polls but the name server.

mod http;
mod names;
mod series;
mod status;
mod wanted;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::engine::{Event, Options, Runner, TargetId, TargetSettings};
use crate::api::kind::Kind;
use crate::core::probe::HolderNews;
use crate::http::{Handler, Health};
use crate::store::{Change, Key, SharedStore, StoreError};
use names::Names;
use wanted::{Place, Plan, Rules};
use world::World;

/// Changes that come within this time are acted on together.
const CALM: Duration = Duration::from_millis(20);
/// How often holders' news is read, and statuses are looked at.
const NEWS: Duration = Duration::from_secs(1);
const STATUS: Duration = Duration::from_secs(10);
/// How long before a watch that ended is started again.
const AGAIN: Duration = Duration::from_secs(1);

/// How a prober works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name: the node's or the pod's.
    pub name: String,
    /// The port of reflectors that name none.
    pub port: u16,
    /// How many others a member of a mesh measures at most.
    pub degree: usize,
    /// Whether there is a cluster, with Services and pods.
    pub cluster: bool,
    /// Whether smokeping's names are exported too.
    pub smokeping: bool,
    /// What the engine needs.
    pub engine: Options,
}

/// Why a prober ends.
#[derive(Debug, thiserror::Error)]
pub enum ProberError {
    /// The thread that sends could not be started, or has ended.
    #[error("the thread that sends probes: {0}")]
    Thread(String),
    /// The store cannot be watched.
    #[error("watch {kind}: {source}")]
    Store {
        /// What was to be watched.
        kind: &'static str,
        /// Why it cannot be.
        source: StoreError,
    },
}

/// A prober: the engine, and what is measured with it.
#[derive(Debug)]
pub struct Prober {
    settings: Settings,
    runner: Runner,
    measured: Mutex<BTreeMap<Place, TargetId>>,
    one_off: tokio::sync::Semaphore,
}

impl Prober {
    /// A prober that measures nothing yet.
    ///
    /// # Errors
    /// [`ProberError::Thread`].
    pub fn start(settings: Settings) -> Result<Arc<Self>, ProberError> {
        let runner = Runner::start(settings.engine.clone()).map_err(|error| ProberError::Thread(error.to_string()))?;
        let one_off = tokio::sync::Semaphore::new(http::MAX_ONE_OFF);
        Ok(Arc::new(Self { settings, runner, measured: Mutex::default(), one_off }))
    }

    /// What it answers over HTTP beside health and metrics.
    #[must_use]
    pub fn handler(self: &Arc<Self>) -> Arc<dyn Handler> {
        Arc::new(http::Paths(Arc::clone(self)))
    }

    /// Measures what the store says until `stop`.
    ///
    /// # Errors
    /// [`ProberError`]: it cannot go on.
    pub async fn run(
        self: Arc<Self>,
        store: SharedStore,
        health: Arc<Health>,
        stop: CancellationToken,
    ) -> Result<(), ProberError> {
        let (teller, mut told) = channel(256);
        let mut watches =
            Watches { store: Arc::clone(&store), teller, tasks: JoinSet::new(), running: BTreeMap::new() };
        let mut world = World::default();
        let mut names = Names::default();
        let mut statuses = status::Writer::new(Arc::clone(&store), self.settings.name.clone());
        let mut news = tokio::time::interval(NEWS);
        let mut status = tokio::time::interval(STATUS);
        let mut plan = Plan::default();
        watches.want(&BTreeSet::from([Kind::UDPProbe]));
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(()) = collect(&mut told, &mut world) => {}
                Some(()) = names.next() => {}
                Some(ended) = watches.tasks.join_next() => watches.ended(ended.ok())?,
                _ = news.tick() => {
                    self.tell_holders();
                    if !self.runner.is_running() {
                        return Err(ProberError::Thread("it has ended".to_owned()));
                    }
                    continue;
                }
                _ = status.tick() => {
                    statuses.write(&world, &plan, &self.worst()).await;
                    continue;
                }
            }
            let rules = Rules { me: &self.settings.name, port: self.settings.port, degree: self.settings.degree };
            plan = wanted::plan(&world, &names, &rules, self.settings.cluster, self.settings.engine.key.is_some());
            watches.want(&plan.kinds);
            names.want(&plan.hosts);
            self.measure(std::mem::take(&mut plan.targets));
            health.set_ready(world.is_read(Kind::UDPProbe));
        }
    }

    fn measured(&self) -> std::sync::MutexGuard<'_, BTreeMap<Place, TargetId>> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes what is measured what is wanted; whatever stays as it is goes on undisturbed.
    fn measure(&self, wanted: BTreeMap<Place, TargetSettings>) {
        let mut measured = self.measured();
        let mut engine = self.runner.engine();
        measured.retain(|place, id| {
            let stays = wanted.get(place) == engine.target(*id).map(|target| &target.settings);
            if !stays {
                engine.remove(*id);
            }
            stays
        });
        for (place, settings) in wanted {
            measured.entry(place).or_insert_with(|| engine.add(settings));
        }
    }

    /// Logs what is new about who answers: each a moment that somebody may look for.
    fn tell_holders(&self) {
        let events = self.runner.engine().take_events();
        let measured = self.measured();
        for event in events {
            let Event::Holder { target, news } = event else { continue };
            let Some(place) = measured.iter().find(|(_, id)| **id == target).map(|(place, _)| place) else {
                continue;
            };
            let (probe, name, address) = (place.probe.to_string(), &place.target, place.address.ip());
            match news {
                HolderNews::First(node) => info!(probe, target = name, %address, node, "the address is answered"),
                HolderNews::Changed { from, to, gap } => {
                    info!(probe, target = name, %address, from, node = to, ?gap, "another node answers");
                }
                HolderNews::Two { holder, other } => {
                    warn!(probe, target = name, %address, node = holder, other, "two nodes answer at once");
                }
            }
        }
    }

    /// For each probe: the share lost in the last minute on its worst path, and that path's target.
    fn worst(&self) -> BTreeMap<Key, (f64, String)> {
        let measured = self.measured();
        let engine = self.runner.engine();
        let mut worst: BTreeMap<_, (f64, String)> = BTreeMap::new();
        for (place, id) in measured.iter() {
            let Some(loss) = engine.target(*id).and_then(|target| target.session.recent_loss()) else { continue };
            let entry = worst.entry(Key::clone(&place.probe)).or_insert_with(|| (loss, place.target.clone()));
            if loss > entry.0 {
                *entry = (loss, place.target.clone());
            }
        }
        worst
    }
}

/// Waits for a change, and takes in all that come soon after it.
async fn collect(told: &mut Receiver<(Kind, Change)>, world: &mut World) -> Option<()> {
    let (kind, change) = told.recv().await?;
    world.apply(kind, change);
    tokio::time::sleep(CALM).await;
    while let Ok((kind, change)) = told.try_recv() {
        world.apply(kind, change);
    }
    Some(())
}

/// The watches that are needed, each a task.
#[derive(Debug)]
struct Watches {
    store: SharedStore,
    teller: Sender<(Kind, Change)>,
    tasks: JoinSet<(Kind, Result<(), StoreError>)>,
    running: BTreeMap<Kind, AbortHandle>,
}

impl Watches {
    /// Watches these kinds and no others: a cluster's pods are many, and nobody may want them.
    fn want(&mut self, kinds: &BTreeSet<Kind>) {
        self.running.retain(|kind, task| {
            let wanted = kinds.contains(kind) || *kind == Kind::UDPProbe;
            if !wanted {
                task.abort();
            }
            wanted
        });
        for kind in kinds {
            if !self.running.contains_key(kind) {
                self.start(*kind, Duration::ZERO);
            }
        }
    }

    fn start(&mut self, kind: Kind, after: Duration) {
        let (store, teller) = (Arc::clone(&self.store), self.teller.clone());
        let task = self.tasks.spawn(async move {
            tokio::time::sleep(after).await;
            (kind, follow(store, kind, teller).await)
        });
        self.running.insert(kind, task);
    }

    /// A watch has ended; `None` is one that was not wanted any more.
    fn ended(&mut self, ended: Option<(Kind, Result<(), StoreError>)>) -> Result<(), ProberError> {
        let Some((kind, result)) = ended else { return Ok(()) };
        match result {
            Err(source @ StoreError::Unusable(_)) => Err(ProberError::Store { kind: kind.name(), source }),
            Err(error) => {
                warn!(kind = kind.name(), %error, "cannot watch; what is known stays in force");
                self.start(kind, AGAIN);
                Ok(())
            }
            Ok(()) => {
                self.start(kind, AGAIN);
                Ok(())
            }
        }
    }
}

async fn follow(store: SharedStore, kind: Kind, teller: Sender<(Kind, Change)>) -> Result<(), StoreError> {
    let mut changes = store.watch(kind).await?;
    while let Some(change) = changes.next().await {
        if teller.send((kind, change)).await.is_err() {
            break;
        }
    }
    Ok(())
}
