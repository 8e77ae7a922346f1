//! The wire's side of the agent: announcements out, other hosts' claims in.
//!
//! A task of its own, so that neither a busy store nor a long list of addresses delays a frame.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::mpsc::{self, Sender, UnboundedReceiver, UnboundedSender, WeakUnboundedSender};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use super::Told;
use crate::clock;
use crate::core::announce::{self, Target, Timing};
use crate::core::conflict::{self, Conflicts};
use crate::core::frame::Frame;
use crate::core::keeper;
use crate::core::net::{Link, Mac, Neighbour, Route};
use crate::core::time::Time;
use crate::metrics::AgentMetrics;
use crate::netlink::Netlink;
use crate::packet::{Observations, Packets};

/// How long what the kernel said of a link's neighbours is good for.
const NEIGHBOURS_KNOWN: Duration = Duration::from_secs(10);

/// What the announcer is told to do.
#[derive(Debug)]
pub(super) enum Order {
    /// The address stands on the link: announce it until it is silenced.
    Announce { uid: String, ip: IpAddr, link: u32, timing: Timing },
    /// Announce it at another pace from now on.
    Pace { ip: IpAddr, timing: Timing },
    /// Begin the burst of all addresses of a link again.
    Again { link: u32 },
    /// Ask the segment whether somebody has the address.
    Probe { uid: String, ip: IpAddr, link: u32 },
    /// Say no more of the address.
    Silence { ip: IpAddr },
    /// Say when everything that was ordered before is done.
    Settle(oneshot::Sender<()>),
    /// A link is new or different.
    Link(Link),
    /// The Ethernet addresses of the other members: what they say is settled among the members.
    Peers(BTreeSet<Mac>),
    /// A link is gone.
    LinkGone(u32),
    /// The default routes: their gateways are asked first.
    Routes(Vec<Route>),
    /// The neighbours of a link as the kernel knows them.
    Neighbours(u32, Vec<Neighbour>),
}

/// What the wire says.
#[derive(Debug)]
pub(super) enum Wire {
    /// A probe is over.
    Probed { uid: String, answered: Option<Mac> },
    /// Another host claims an address that this node holds.
    Claimed { uid: String, mac: Mac },
    /// Nobody claims it any more.
    Unclaimed { uid: String },
}

/// The task's handle; it ends with it.
#[derive(Debug)]
pub(super) struct Announcer {
    orders: UnboundedSender<Order>,
    _task: AbortOnDropHandle<()>,
}

impl Announcer {
    /// Starts the task.
    pub(super) fn start(netlink: Netlink, told: Sender<Told>, metrics: AgentMetrics) -> Self {
        let (orders, waiting) = mpsc::unbounded_channel();
        let to_itself = orders.downgrade();
        let (packets, observations) = Packets::new();
        let task = Task {
            announcer: announce::Announcer::default(),
            conflicts: Conflicts::default(),
            packets,
            links: BTreeMap::new(),
            peers: BTreeSet::new(),
            routes: Vec::new(),
            owners: BTreeMap::new(),
            broken: BTreeSet::new(),
            asked: BTreeMap::new(),
            orders: to_itself,
            netlink,
            told,
            metrics,
        };
        Self { orders, _task: AbortOnDropHandle::new(tokio::spawn(task.run(waiting, observations))) }
    }

    /// Gives an order.
    pub(super) fn order(&self, order: Order) {
        // The task ends only with this handle.
        let _ended = self.orders.send(order);
    }

    /// Comes when everything that was ordered before is done: no frame about an address that was silenced is under way.
    pub(super) fn settled(&self) -> oneshot::Receiver<()> {
        let (done, settled) = oneshot::channel();
        self.order(Order::Settle(done));
        settled
    }

    /// Passes on what the kernel says of links and routes.
    pub(super) fn tell_kernel(&self, input: &keeper::Input) {
        match input {
            keeper::Input::Dumped { links, routes, .. } => {
                self.order(Order::Routes(routes.clone()));
                links.iter().for_each(|link| self.order(Order::Link(link.clone())));
            }
            keeper::Input::Link(link) => self.order(Order::Link(link.clone())),
            keeper::Input::LinkGone(index) => self.order(Order::LinkGone(*index)),
            _ => {}
        }
    }
}

struct Task {
    announcer: announce::Announcer,
    conflicts: Conflicts,
    packets: Packets,
    links: BTreeMap<u32, Link>,
    peers: BTreeSet<Mac>,
    routes: Vec<Route>,
    /// Whose the announced and probed addresses are.
    owners: BTreeMap<IpAddr, String>,
    /// Links on which sending failed, so that it is said once.
    broken: BTreeSet<u32>,
    /// When the kernel was last asked for the neighbours of a link.
    asked: BTreeMap<u32, Time>,
    orders: WeakUnboundedSender<Order>,
    netlink: Netlink,
    told: Sender<Told>,
    metrics: AgentMetrics,
}

impl Task {
    async fn run(mut self, mut orders: UnboundedReceiver<Order>, mut heard: Observations) {
        loop {
            let timeouts = [self.announcer.poll_timeout(), self.conflicts.poll_timeout()];
            let due = timeouts.into_iter().flatten().min().map(|(at, _)| at.since(clock::now()));
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(order) => {
                        self.take(order).await;
                        while let Ok(order) = orders.try_recv() {
                            self.take(order).await;
                        }
                    }
                    None => return,
                },
                Some(batch) = heard.recv() => {
                    for one in batch {
                        self.conflicts.handle(clock::now(), conflict::Input::Heard(one));
                    }
                }
                () = tokio::time::sleep(due.unwrap_or(Duration::MAX)), if due.is_some() => {}
            }
            self.announcer.handle_timeout(clock::now());
            self.conflicts.handle_timeout(clock::now());
            self.drain().await;
        }
    }

    async fn take(&mut self, order: Order) {
        let now = clock::now();
        match order {
            Order::Announce { uid, ip, link, timing } => {
                self.open(link);
                self.ask_neighbours(link);
                self.conflicts.handle(now, conflict::Input::Hold { ip, link });
                self.announcer.handle(now, announce::Input::Announce { ip, link, timing });
                self.owners.insert(ip, uid);
                // The first word goes out before the next order is looked at.
                self.drain().await;
            }
            Order::Pace { ip, timing } => self.announcer.handle(now, announce::Input::Pace { ip, timing }),
            Order::Again { link } => self.announcer.handle(now, announce::Input::Again { link }),
            Order::Probe { uid, ip, link } => {
                self.open(link);
                self.ask_neighbours(link);
                self.conflicts.handle(now, conflict::Input::Probe { uid, ip, link });
            }
            Order::Silence { ip } => {
                self.announcer.handle(now, announce::Input::Silence { ip });
                self.conflicts.handle(now, conflict::Input::Release { ip });
            }
            Order::Settle(done) => {
                // Whoever asked may not wait any more.
                let _gone = done.send(());
            }
            Order::Link(link) => {
                if self.packets.is_open(link.index) && self.links.get(&link.index) != Some(&link) {
                    self.links.insert(link.index, link.clone());
                    self.open(link.index);
                }
                self.links.insert(link.index, link);
                self.tell_own();
            }
            Order::Peers(peers) => {
                self.peers = peers;
                self.tell_own();
            }
            Order::LinkGone(index) => {
                self.packets.close(index);
                self.links.remove(&index);
                self.asked.remove(&index);
                self.broken.remove(&index);
                self.tell_own();
            }
            Order::Routes(routes) => self.routes = routes,
            Order::Neighbours(link, neighbours) => {
                let targets = self.targets(link, &neighbours);
                self.announcer.handle(now, announce::Input::Neighbours { link, targets });
            }
        }
    }

    /// Opens a link's socket, if it is not open, and takes its present name and Ethernet address.
    fn open(&mut self, index: u32) {
        let Some(link) = self.links.get(&index) else { return };
        if let Err(error) = self.packets.open(link)
            && self.broken.insert(index)
        {
            warn!(%error, "nothing can be announced on the link");
        }
    }

    fn tell_own(&mut self) {
        let own = self.links.values().filter_map(|link| link.mac).collect();
        self.conflicts.handle(clock::now(), conflict::Input::Known { own, peers: self.peers.clone() });
    }

    /// Has the kernel asked who lives on the link, at most every [`NEIGHBOURS_KNOWN`].
    fn ask_neighbours(&mut self, link: u32) {
        let now = clock::now();
        if self.asked.get(&link).is_some_and(|at| now.since(*at) < NEIGHBOURS_KNOWN) {
            return;
        }
        self.asked.insert(link, now);
        let (netlink, orders) = (self.netlink.clone(), self.orders.clone());
        tokio::spawn(async move {
            match netlink.neighbours(link).await {
                Ok(neighbours) => {
                    if let Some(orders) = orders.upgrade() {
                        // The task ends only with its handle.
                        let _ended = orders.send(Order::Neighbours(link, neighbours));
                    }
                }
                Err(error) => debug!(%error, "the neighbours are not known; everybody is told by broadcast anyway"),
            }
        });
    }

    fn targets(&self, link: u32, neighbours: &[Neighbour]) -> Vec<Target> {
        let gateways: BTreeSet<IpAddr> =
            self.routes.iter().filter(|route| route.link == link).filter_map(|route| route.gateway).collect();
        let mac = |ip: &IpAddr| neighbours.iter().find(|known| known.ip == *ip).map(|known| known.mac);
        let first = gateways.iter().map(|ip| Target { ip: *ip, mac: mac(ip), gateway: true });
        let others = neighbours.iter().filter(|known| !gateways.contains(&known.ip));
        first.chain(others.map(|known| Target { ip: known.ip, mac: Some(known.mac), gateway: false })).collect()
    }

    /// Carries out what both machines ask for.
    async fn drain(&mut self) {
        loop {
            if let Some(announce::Effect::Send { link, frames }) = self.announcer.poll_effect() {
                self.send(link, &frames);
                continue;
            }
            match self.conflicts.poll_effect() {
                Some(conflict::Effect::Send { link, frames }) => self.send(link, &frames),
                Some(conflict::Effect::Defend { ip }) => {
                    self.metrics.defended();
                    self.announcer.handle(clock::now(), announce::Input::Defend { ip });
                }
                Some(conflict::Effect::Probed { uid, answered }) => self.tell(Wire::Probed { uid, answered }).await,
                Some(conflict::Effect::Conflict { ip, mac, .. }) => {
                    if let Some(uid) = self.owners.get(&ip).cloned() {
                        self.tell(Wire::Claimed { uid, mac }).await;
                    }
                }
                Some(conflict::Effect::Cleared { ip }) => {
                    if let Some(uid) = self.owners.get(&ip).cloned() {
                        self.tell(Wire::Unclaimed { uid }).await;
                    }
                }
                None => return,
            }
        }
    }

    fn send(&mut self, link: u32, frames: &[Frame]) {
        let ipv6 = frames.iter().filter(|frame| frame.ip.is_ipv6()).count() as u64;
        let all = frames.len() as u64;
        match self.packets.send(link, frames) {
            Ok(_) => {
                self.metrics.announced(false, all - ipv6, 0);
                self.metrics.announced(true, ipv6, 0);
                if self.broken.remove(&link) {
                    info!(link = self.name(link), "announcements go out again");
                }
            }
            Err(error) => {
                self.metrics.announced(false, 0, all - ipv6);
                self.metrics.announced(true, 0, ipv6);
                if self.broken.insert(link) {
                    warn!(link = self.name(link), error = %std::error::Error::source(&error).unwrap_or(&error), "announcements do not go out; they are tried again by their schedule");
                }
            }
        }
    }

    fn name(&self, link: u32) -> &str {
        self.links.get(&link).map_or("?", |link| link.name.as_str())
    }

    /// Takes `&mut self` because pnet's senders are no `Sync`, and a future that holds `&self` would not be `Send`.
    async fn tell(&mut self, wire: Wire) {
        // A closed channel means that the agent ends.
        let _closed = self.told.send(Told::Wire(wire)).await;
    }
}
