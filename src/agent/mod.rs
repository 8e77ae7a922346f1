//! The agent: makes a node's kernel hold the addresses that the node has the right to, and announces them.
//!
//! A thin loop round [`Node`]: what the store, the kernel and the wire say goes in, what it asks for is carried out, and
//! it sleeps until the next of either. Addresses stay when the process ends, for the next one to adopt, unless
//! [`Config::release_on_exit`] says otherwise.

mod announcer;
mod calendar;
mod checks;
mod dataplane;
mod error;
mod gates;
mod gateway;
mod guard;
mod inputs;
mod kernel;
mod lock;
mod parts;
mod reach;
mod realtime;
mod registry;
mod reports;
mod requests;
mod state;
mod transitions;
mod views;
mod watches;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, Sender, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::announcer::{Announcer, Order, Wire};
use self::dataplane::{DataPlane, News, Order as PlaneOrder};
use self::gateway::Gateway;
use self::reports::Report;
use self::requests::Requests;
use self::state::{Pulse, Reply};
use self::transitions::ToldOf;
use self::watches::Watched;
use crate::clock;
use crate::core::announce::Timing;
use crate::core::failover::Timing as Times;
use crate::core::health::{self, Health as Checks};
use crate::core::keeper;
use crate::core::net::Mac;
use crate::core::node::{self, Effect, Input, Node, Set, Versioned};
use crate::core::placement::Candidate;
use crate::core::plan::Step;
use crate::core::view::Gate;
use crate::gate;
use crate::http::Health;
use crate::metrics::AgentMetrics;
use crate::netlink::Netlink;
use crate::store::SharedStore;

pub use self::error::AgentError;
pub use self::guard::make_key;
pub use self::lock::Lock;
pub use self::registry::register;
pub use self::state::{Asked, asker};

/// The UDP port of heartbeats.
pub const HEARTBEAT_PORT: u16 = 9473;

/// How many inputs wait at most; whoever has more waits.
const QUEUE: usize = 4096;

/// How long an agent that releases on exit waits for the store before it takes its addresses down without it.
const RELEASE_TIME: Duration = Duration::from_secs(5);

/// How long to wait for the heartbeat key before looking again.
const KEY_WAIT: Duration = Duration::from_secs(1);

/// How an agent runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node's name.
    pub node: String,
    /// The segments that a person named, by interface.
    pub segments: BTreeMap<String, String>,
    /// Whether to give up all addresses when asked to end.
    pub release_on_exit: bool,
    /// What shuts the node's addresses off when its right ends.
    pub gate: GateChoice,
    /// Where the gate is kept between processes.
    pub bpffs: PathBuf,
    /// Whether the data-plane thread asks for real-time priority and locked memory.
    pub realtime: bool,
    /// The times of the failover protocol; the same for all nodes.
    pub timing: Times,
    /// Namespace of the heartbeat key.
    pub namespace: String,
    /// Whether to make the heartbeat key where there is none: in a store that no controller keeps.
    pub makes_key: bool,
}

/// Which gate to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateChoice {
    /// The best that there is.
    Auto,
    /// BPF, or not at all.
    Bpf,
    /// nftables, or not at all.
    Nft,
    /// None: the node holds addresses only where it was alone first.
    None,
}

/// What the parts of the agent tell the loop.
#[derive(Debug)]
enum Told {
    Vips(Set<Watched>),
    Views(Set<Versioned>),
    Node(Input),
    Nodes(Set<Candidate>),
    Kernel(keeper::Input),
    Wire(Wire),
    Checked(health::Input),
    /// Somebody asks how it stands.
    Asked(Reply),
}

/// Runs an agent until `stop`.
///
/// # Errors
/// [`AgentError`] when the agent cannot start, or a part of it fails for good; addresses stay as they are.
pub async fn run(
    config: Config,
    store: SharedStore,
    metrics: AgentMetrics,
    health: Arc<Health>,
    asked: Asked,
    stop: CancellationToken,
) -> Result<(), AgentError> {
    let _lock = Lock::take()?;
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(AgentError::BootId)?;
    let netlink = Netlink::new()?;
    let (told, mut inputs) = mpsc::channel(QUEUE);
    let (tell_news, mut news) = mpsc::unbounded_channel();
    let (steps, lists) = mpsc::unbounded_channel();
    let (reports, waiting) = mpsc::unbounded_channel();
    let plane = parts::open_plane(&config, &store, (&netlink, &metrics), tell_news, &stop).await?;
    let (plane, kind) = plane.map_or((None, Gate::None), |(plane, kind)| (Some(plane), kind));
    let mut parts: JoinSet<Result<(), AgentError>> = JoinSet::new();
    parts::spawn_watchers(&mut parts, &store, &netlink, &told, plane.is_some());
    parts.spawn(state::forward(asked, told.clone()));
    parts.spawn(kernel::execute(netlink.clone(), lists, told.clone()));
    let writer = tokio::spawn(reports::write(SharedStore::clone(&store), waiting));
    let announcer = Announcer::start(netlink.clone(), told.clone(), metrics.clone());
    let named = node::Config {
        node: config.node.clone(),
        boot_id: boot_id.trim().to_owned(),
        port: HEARTBEAT_PORT,
        gate: kind,
        named: config.segments.clone(),
        guarded: plane.is_some(),
    };
    let mut agent = Agent {
        name: config.node.clone(),
        node: Node::new(named),
        vips: BTreeMap::new(),
        candidates: BTreeMap::new(),
        placement_changed: false,
        told_of: ToldOf::default(),
        checks: Checks::default(),
        peers: BTreeSet::new(),
        server: reach::server(&store).await,
        checks_changed: false,
        pulses: BTreeMap::new(),
        withdrawn: false,
        told,
        steps,
        reports,
        announcer,
        gateway: plane.clone().map(|plane| Gateway::start(netlink.clone(), plane)),
        requests: plane.clone().map(|plane| guard::requests(&store, plane, &metrics)),
        plane,
        metrics,
        store,
    };
    let ended = agent.serve(&mut inputs, &mut news, &mut parts, &health, &config, &stop).await;
    health.set_ready(false);
    if ended.is_ok() {
        agent.take_down(&config, &netlink, &mut news).await?;
    }
    let Agent { reports, .. } = agent;
    drop(reports);
    if tokio::time::timeout(RELEASE_TIME, writer).await.is_err() {
        warn!("some statuses were not written");
    }
    ended
}

/// Removes every address of this network namespace that carries the agent's mark, whoever left it, then the gate; returns
/// how many addresses there were.
///
/// # Errors
/// An agent runs here, or the kernel refused.
pub async fn cleanup(bpffs: &Path) -> Result<usize, AgentError> {
    let _lock = Lock::take()?;
    let removed = kernel::remove_all(&Netlink::new()?).await?;
    gate::take_down(bpffs)?;
    Ok(removed)
}

/// The loop's state.
struct Agent {
    name: String,
    node: Node,
    vips: BTreeMap<String, Watched>,
    candidates: BTreeMap<String, Candidate>,
    /// What successors are chosen by is not as the data plane knows it.
    placement_changed: bool,
    told_of: ToldOf,
    checks: Checks,
    /// The Ethernet addresses of the other members.
    peers: BTreeSet<Mac>,
    /// The addresses of the server that the store asks.
    server: BTreeSet<IpAddr>,
    /// What is to be checked may be another.
    checks_changed: bool,
    /// How it stood a moment ago, by segment.
    pulses: BTreeMap<String, Pulse>,
    /// The installation is being removed.
    withdrawn: bool,
    store: SharedStore,
    told: Sender<Told>,
    steps: UnboundedSender<Vec<Step>>,
    reports: UnboundedSender<Report>,
    announcer: Announcer,
    /// The data plane, where there is a gate.
    plane: Option<DataPlane>,
    /// Who asks gateways for it.
    gateway: Option<Gateway>,
    /// What it asks of the store.
    requests: Option<Requests>,
    metrics: AgentMetrics,
}

impl Agent {
    /// Takes away what is not for a next process: the addresses if it is to, and the gate once nothing needs it.
    async fn take_down(
        &mut self,
        config: &Config,
        netlink: &Netlink,
        news: &mut UnboundedReceiver<News>,
    ) -> Result<(), AgentError> {
        if config.release_on_exit {
            let removed = kernel::remove_all(netlink).await?;
            info!(removed, "released all addresses");
        }
        if (config.release_on_exit || self.withdrawn) && !kernel::has_ours(netlink).await? {
            // What is no longer gated passes, so nothing may be about to be said of an address.
            let _ended = self.announcer.settled().await;
            self.dismantle(news).await;
        }
        Ok(())
    }

    async fn serve(
        &mut self,
        inputs: &mut mpsc::Receiver<Told>,
        news: &mut UnboundedReceiver<News>,
        parts: &mut JoinSet<Result<(), AgentError>>,
        health: &Health,
        config: &Config,
        stop: &CancellationToken,
    ) -> Result<(), AgentError> {
        let mut batch = Vec::new();
        let mut give_up = None;
        loop {
            let timeouts = [self.node.poll_timeout(), self.checks.poll_timeout()];
            let due = timeouts.into_iter().flatten().min().map(|(at, _)| at.since(clock::now()));
            tokio::select! {
                biased;
                () = stop.cancelled(), if give_up.is_none() => {
                    if !config.release_on_exit {
                        info!("ending; the addresses stay for the next run");
                    }
                    if !self.stop(config.release_on_exit) {
                        return Ok(());
                    }
                    give_up = Some(tokio::time::Instant::now() + RELEASE_TIME);
                }
                Some(first) = news.recv() => {
                    let left = self.take_news(first, news);
                    if left && give_up.is_some() && !config.release_on_exit {
                        return Ok(());
                    }
                }
                count = inputs.recv_many(&mut batch, QUEUE) => {
                    if count == 0 {
                        return Err(AgentError::Ended("the queue".to_owned()));
                    }
                }
                Some(ended) = parts.join_next() => return Err(reason(ended)),
                () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => {
                    self.node.handle_timeout(clock::now());
                    self.checks.handle_timeout(clock::now());
                }
                () = tokio::time::sleep_until(give_up.unwrap_or_else(tokio::time::Instant::now)), if give_up.is_some() => {
                    if config.release_on_exit {
                        warn!("the store does not answer; the addresses go without its knowledge");
                    }
                    return Ok(());
                }
            }
            for told in batch.drain(..) {
                self.take(told)?;
            }
            while let Some(effect) = self.node.poll_effect() {
                self.execute(effect);
            }
            self.look_at_checks();
            // Once for all that came together: it is a copy of everything.
            self.tell_placement();
            health.set_ready(self.node.is_informed());
            if self.node.is_gone() {
                return Ok(());
            }
        }
    }

    /// Takes in all news that there are before anything follows from them: a takeover of a thousand addresses is one plan.
    /// Whether the data plane has left a segment.
    fn take_news(&mut self, first: News, more: &mut UnboundedReceiver<News>) -> bool {
        let mut left = false;
        let mut next = Some(first);
        while let Some(news) = next {
            left |= matches!(news, News::Exit { .. });
            self.news(news);
            next = more.try_recv().ok();
        }
        left
    }

    fn execute(&mut self, effect: Effect) {
        match effect {
            Effect::Create(segment) => {
                tokio::spawn(views::create(SharedStore::clone(&self.store), segment, self.told.clone()));
            }
            Effect::Write { segment, purpose, patch } => {
                info!(segment, purpose = purpose.as_str(), "writing the view");
                tokio::spawn(views::patch(SharedStore::clone(&self.store), segment, purpose, patch, self.told.clone()));
            }
            Effect::Join { segment, me } => {
                self.tell_plane(|| PlaneOrder::Join { segment: segment.clone(), me });
                self.placement_changed = true;
            }
            Effect::Forget(ip) => self.ungate(ip),
            Effect::Kernel(keeper::Effect::Apply(steps)) => {
                if self.steps.send(steps).is_err() {
                    error!("nobody carries out steps any more");
                }
            }
            Effect::Kernel(keeper::Effect::Probe { uid, ip, link }) => {
                self.announcer.order(Order::Probe { uid, ip, link });
            }
            Effect::Kernel(keeper::Effect::Announce { uid, ip, link }) => self.announce(uid, ip, link),
            Effect::Kernel(keeper::Effect::Silence { ip }) => self.announcer.order(Order::Silence { ip }),
            Effect::Kernel(keeper::Effect::Repaired { uid, ip }) => self.repaired(&uid, ip),
            Effect::Kernel(keeper::Effect::Released { uid, name, ip }) => self.released(&uid, &name, ip),
            Effect::Kernel(keeper::Effect::Report { uid, holding }) => self.report(&uid, &holding),
        }
    }

    fn announce(&mut self, uid: String, ip: IpAddr, link: u32) {
        let timing = self.vips.get(&uid).map_or_else(Timing::default, Watched::timing);
        self.announcer.order(Order::Announce { uid, ip, link, timing });
    }
}

fn reason(ended: Result<Result<(), AgentError>, tokio::task::JoinError>) -> AgentError {
    match ended {
        Ok(Ok(())) => AgentError::Ended("a task".to_owned()),
        Ok(Err(error)) => error,
        Err(error) => AgentError::Ended(error.to_string()),
    }
}
