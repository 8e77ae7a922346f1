//! The thread's loop.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc::UnboundedSender;

use super::segment::Segment;
use super::{Address, News, Order};
use crate::clock;
use crate::core::failover::{FOREVER, Failover, Input, Rules, Start, Timing, VipState};
use crate::core::time::Time;
use crate::core::view::Registration;
use crate::gate::{Entry, Gate, SEGMENTS, State};
use crate::wire::heartbeat::{Keys, id};

/// Packets that one look at a segment takes at most, so that a flood delays no timer.
const BATCH: usize = 256;

/// Descriptors that are waited for without asking for memory.
const WATCHED: usize = 16;

pub(super) struct Thread {
    pub(super) gate: Gate,
    pub(super) keys: Keys,
    pub(super) timing: Timing,
    orders: Receiver<Order>,
    wake: Arc<OwnedFd>,
    pub(super) news: UnboundedSender<News>,
    pub(super) segments: Vec<Segment>,
    pub(super) vips: BTreeMap<String, Address>,
    /// VIPs whose state has changed and is not at the gate yet.
    pub(super) changed: Vec<String>,
}

impl Thread {
    pub(super) fn new(
        gate: Gate,
        keys: Keys,
        timing: Timing,
        orders: Receiver<Order>,
        wake: Arc<OwnedFd>,
        news: UnboundedSender<News>,
    ) -> Self {
        let (segments, vips) = (Vec::new(), BTreeMap::new());
        Self { gate, keys, timing, orders, wake, news, segments, vips, changed: Vec::new() }
    }

    /// Works until nobody gives orders any more.
    pub(super) fn run(mut self) {
        loop {
            let due = self.segments.iter().map(Segment::due).min();
            self.wait(due);
            let now = clock::now();
            // Whoever slept past its timer first drops what is queued: it speaks of the time before.
            if due.is_some_and(|due| now.since(due) >= self.timing.beat) {
                self.segments.iter().for_each(Segment::discard);
            }
            loop {
                match self.orders.try_recv() {
                    Ok(Order::Dismantle) => return self.dismantle(),
                    Ok(order) => self.take(order),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            (0..self.segments.len()).for_each(|at| self.look(at));
        }
    }

    fn wait(&self, due: Option<Time>) {
        let timeout = due.map(|due| due.since(clock::now())).map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        let wake = || PollFd::new(&*self.wake, PollFlags::IN);
        let mut sockets = self.segments.iter().filter_map(Segment::socket).map(|s| PollFd::new(s, PollFlags::IN));
        // An interrupted wait is a short one.
        let _interrupted = if self.segments.len() < WATCHED {
            let mut watched: [PollFd<'_>; WATCHED] = std::array::from_fn(|_| sockets.next().unwrap_or_else(wake));
            poll(&mut watched, timeout.as_ref())
        } else {
            poll(&mut sockets.chain([wake()]).collect::<Vec<_>>(), timeout.as_ref())
        };
        let _empty = rustix::io::read(&*self.wake, &mut [0; 8]);
    }

    /// Takes in what came for a segment and what is due there.
    fn look(&mut self, at: usize) {
        for _ in 0..BATCH {
            let Some(packet) = self.segments.get_mut(at).and_then(|segment| segment.receive(&self.keys)) else { break };
            if let Ok(packet) = packet {
                self.tell(at, Input::Packet(packet));
            }
        }
        if let Some(segment) = self.segments.get_mut(at)
            && segment.due() <= clock::now()
        {
            segment.machine.handle_timeout(clock::now());
            self.drain(at);
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Join { segment, me } => self.join(&segment, &me),
            Order::View { segment, version, view, fresh } => {
                self.tell_of(&segment, Input::View { version, view, fresh })
            }
            Order::Patched { segment, ticket, outcome } => self.tell_of(&segment, Input::Patched { ticket, outcome }),
            Order::Vips(vips) => {
                self.vips = vips;
                let all: Vec<String> = self.vips.keys().cloned().collect();
                self.apply(&all);
            }
            Order::Vip(uid, address) => {
                if self.vips.insert(uid.clone(), address) != Some(address) {
                    self.apply(&[uid]);
                }
            }
            Order::Placement(placement) => self.tell_all(&Input::Placement(placement)),
            Order::Forget(ip) => self.forget(ip),
            Order::Link(link) => {
                if let Err(error) = self.gate.attach(link) {
                    self.failed(format!("the gate is not on link {link}: {error}"));
                }
            }
            Order::LinkGone(link) => {
                // The kernel took the gate off with the link.
                let _gone = self.gate.detach(link);
            }
            Order::Restart => self.tell_all(&Input::Restart),
            Order::Leave => self.tell_all(&Input::Leave),
            // It ends the loop.
            Order::Dismantle => {}
        }
    }

    fn dismantle(self) {
        if let Err(error) = self.gate.dismantle() {
            let _ended = self.news.send(News::Failed(format!("the gate stays: {error}")));
        }
    }

    fn join(&mut self, name: &str, me: &Registration) {
        if self.place(name).is_none() && !self.begin(name, me) {
            return;
        }
        let Some(at) = self.place(name) else { return };
        let gated = self.is_gated(&me.interface);
        let Some(segment) = self.segments.get_mut(at) else { return };
        segment.gated = gated;
        if let Err(error) = segment.listen(me) {
            self.failed(format!("no heartbeats on {} ({}:{}): {error}", me.interface, me.address, me.port));
        }
        self.drain(at);
    }

    /// Whether the gate stands on a link, of which only the name is known.
    fn is_gated(&mut self, interface: &str) -> bool {
        let attached = super::segment::index(interface)
            .map_err(|error| error.to_string())
            .and_then(|link| self.gate.attach(link).map_err(|error| error.to_string()));
        if let Err(error) = &attached {
            self.failed(format!("no address is held on {interface}, for the gate is not there: {error}"));
        }
        attached.is_ok()
    }

    /// Starts the machine of a segment from what a former process left at the gate.
    fn begin(&mut self, name: &str, me: &Registration) -> bool {
        let number = number(name);
        if let Some(other) = self.segments.iter().find(|segment| segment.number == number) {
            let other = &other.name;
            self.failed(format!("segments {name} and {other} share a number at the gate; name one with --segment"));
            return false;
        }
        let passing = self.adopted(number);
        let start = Start {
            segment: name.to_owned(),
            me: me.clone(),
            timing: self.timing,
            rules: Rules::all(),
            gate: self.gate.deadline(number).unwrap_or(FOREVER),
            vips: passing.clone(),
        };
        let machine = Failover::new(clock::now(), start);
        self.segments.push(Segment::new(name, number, machine, passing.clone()));
        self.say(News::Started { segment: name.to_owned(), vips: passing });
        true
    }

    /// What the gate lets pass in a segment, by uid; what belongs to no VIP is shut.
    fn adopted(&mut self, number: u16) -> BTreeMap<String, VipState> {
        let entries = self.gate.entries().unwrap_or_default();
        // Of two with one address the first by uid counts.
        let uids: BTreeMap<IpAddr, &String> = self.vips.iter().rev().map(|(uid, vip)| (vip.ip, uid)).collect();
        let mut passing = BTreeMap::new();
        let mut strays = Vec::new();
        for (ip, entry) in entries.into_iter().filter(|(_, entry)| entry.segment == number) {
            match (uids.get(&ip).copied().cloned(), entry.state) {
                (_, State::Shut) => {}
                (Some(uid), State::Accept) => {
                    passing.insert(uid, VipState::Accept);
                }
                (Some(uid), State::Claim) => {
                    passing.insert(uid, VipState::Claim);
                }
                (None, State::Accept | State::Claim) => {
                    strays.push((ip, Entry { state: State::Shut, ..entry }));
                }
            }
        }
        for (ip, shut) in strays {
            self.set(ip, shut);
        }
        passing
    }

    /// The place of a segment in the list.
    fn place(&self, name: &str) -> Option<usize> {
        self.segments.iter().position(|segment| segment.name == name)
    }

    fn tell_of(&mut self, name: &str, input: Input) {
        if let Some(at) = self.place(name) {
            self.tell(at, input);
        }
    }

    fn tell(&mut self, at: usize, input: Input) {
        if let Some(segment) = self.segments.get_mut(at) {
            segment.machine.handle(clock::now(), input);
            self.drain(at);
        }
    }

    fn tell_all(&mut self, input: &Input) {
        (0..self.segments.len()).for_each(|at| self.tell(at, input.clone()));
    }

    pub(super) fn failed(&self, what: String) {
        self.say(News::Failed(what));
    }

    pub(super) fn say(&self, news: News) {
        // Whoever does not listen any more is about to end.
        let _ended = self.news.send(news);
    }
}

/// The number of a segment at the gate: the same for every process of this node.
fn number(name: &str) -> u16 {
    let count = u64::from(SEGMENTS.end() - SEGMENTS.start() + 1);
    SEGMENTS.start() + u16::try_from(id(name) % count).unwrap_or_default()
}
