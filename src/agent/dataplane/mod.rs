//! The data plane: heartbeats, the gate and the failover machines of all segments, on one OS thread of their own.
//!
//! Nothing in it waits but poll(2): the store and the kernel's addresses are the agent's, which is told by a queue that
//! is never full. The thread is the gate's only writer.

mod effects;
mod links;
mod segment;
mod thread;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::mpsc::UnboundedSender;
use tracing::info;

use crate::core::failover::{Event, Outcome, Placement, Pulse, Purpose, VipState};
use crate::core::view::{Patch, Registration, View};
use crate::gate::Gate;
use crate::metrics::AgentMetrics;
use crate::wire::heartbeat::Keys;

use self::thread::Thread;
use super::{Config, realtime};

/// How often the data plane says how it stands.
const PULSE: Duration = Duration::from_secs(1);

/// What the data plane is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Take part in a segment, or at another place of it.
    Join { segment: String, me: Registration },
    /// A version of a segment's view; `fresh` if it answers [`News::Read`].
    View { segment: String, version: u64, view: Arc<View>, fresh: bool },
    /// The answer to [`News::Patch`].
    Patched { segment: String, ticket: u64, outcome: Outcome },
    /// The addresses of all VIPs by uid, and whether their IP traffic is gated too.
    Vips(BTreeMap<String, Address>),
    /// The address of one VIP.
    Vip(String, Address),
    /// A VIP is there no more.
    VipGone(String),
    /// What successors are chosen by.
    Placement(Arc<Placement>),
    /// The gateway of a segment answered [`News::ProbeGateway`].
    Gateway(String),
    /// The gate may forget an address.
    Forget(IpAddr),
    /// A link that neighbours are resolved on is there.
    Link(u32),
    /// A link is gone.
    LinkGone(u32),
    /// The process is about to be replaced.
    Restart,
    /// The node gives everything up.
    Leave,
    /// Take the gate away and end; nothing that was gated stands any more.
    Dismantle,
}

/// A VIP's address as the gate needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) ip: IpAddr,
    pub(super) hard: bool,
}

/// What the data plane tells.
#[derive(Debug)]
pub(super) enum News {
    /// The machine of a segment runs; `vips` is what a former process left passing.
    Started { segment: String, vips: BTreeMap<String, VipState> },
    /// The gate lets a VIP pass like this.
    Set { uid: String, state: VipState },
    /// Patch the view, and answer.
    Patch { segment: String, ticket: u64, purpose: Purpose, patch: Patch },
    /// Read the view past any cache, and answer.
    Read { segment: String },
    /// Ask the gateway of a link, from this address of the node, for its own; answer with [`Order::Gateway`].
    ProbeGateway { segment: String, link: u32, from: IpAddr },
    /// Everything in the segment is given up, or left for the next process.
    Exit { segment: String },
    /// How it stands with a segment, once a [`PULSE`]; `margin` is the least time in between that was left to the gate.
    Pulse { segment: String, pulse: Pulse, margin: Option<Duration> },
    /// Other members are heard again on a link: announce once more what is held there.
    Again { link: u32 },
    /// For people.
    Event { segment: String, event: Event },
    /// Something that should work did not.
    Failed(String),
}

/// The thread's handle.
#[derive(Debug, Clone)]
pub(super) struct DataPlane {
    orders: Sender<Order>,
    wake: Arc<OwnedFd>,
}

impl DataPlane {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread or no event descriptor left.
    pub(super) fn start(
        gate: Gate,
        keys: Keys,
        config: &Config,
        metrics: AgentMetrics,
        news: UnboundedSender<News>,
    ) -> std::io::Result<Self> {
        let (orders, waiting) = mpsc::channel();
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let links = links::Links::open()?;
        let thread = Thread::new(gate, keys, config.timing, metrics, links, (waiting, Arc::clone(&wake), news));
        let realtime = config.realtime;
        std::thread::Builder::new().name("dataplane".to_owned()).spawn(move || {
            if realtime {
                be_on_time();
            }
            thread.run();
        })?;
        Ok(Self { orders, wake })
    }

    /// Gives an order.
    pub(super) fn order(&self, order: Order) {
        // Neither fails while the thread runs: it ends only with this handle.
        let _ended = self.orders.send(order);
        let _full = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
    }
}

/// Asks for real-time priority and locked memory, and says what was got.
fn be_on_time() {
    let got = realtime::take();
    let said = |result: std::io::Result<()>| result.map_or_else(|error| error.to_string(), |()| "granted".to_owned());
    info!(
        priority = said(got.priority),
        memory = said(got.memory),
        "the data plane asks for real-time priority and locked memory"
    );
}
