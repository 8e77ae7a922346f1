//! The thread's loop.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc::UnboundedSender;

use super::links::Links;
use super::segment::Segment;
use super::{Address, News, Order, PULSE};
use crate::agent::realtime;
use crate::clock;
use crate::core::failover::{FOREVER, Failover, Input, Rules, Start, Timing, VipState};
use crate::core::time::Time;
use crate::core::view::Registration;
use crate::gate::{Entry, Gate, SEGMENTS, State};
use crate::metrics::AgentMetrics;
use crate::wire::heartbeat::{Keys, id};

/// Packets that one look at a segment takes at most, so that a flood delays no timer.
const BATCH: usize = 256;

/// Descriptors that are waited for without asking for memory.
const WATCHED: usize = 16;

pub(super) struct Thread {
    pub(super) gate: Gate,
    pub(super) keys: Keys,
    pub(super) timing: Timing,
    pub(super) metrics: AgentMetrics,
    /// By how many parts per million the clock was slewed when it was looked at last.
    slew: u32,
    orders: Receiver<Order>,
    wake: Arc<OwnedFd>,
    pub(super) news: UnboundedSender<News>,
    links: Links,
    pub(super) segments: Vec<Segment>,
    pub(super) vips: BTreeMap<String, Address>,
    /// VIPs whose state has changed and is not at the gate yet.
    pub(super) changed: Vec<String>,
    /// When to say next how it stands.
    pulse_at: Time,
}

/// Orders, what wakes the thread for them, and news.
pub(super) type Queues = (Receiver<Order>, Arc<OwnedFd>, UnboundedSender<News>);

impl Thread {
    pub(super) fn new(
        gate: Gate,
        keys: Keys,
        timing: Timing,
        metrics: AgentMetrics,
        links: Links,
        (orders, wake, news): Queues,
    ) -> Self {
        let (segments, vips) = (Vec::new(), BTreeMap::new());
        let changed = Vec::new();
        let (slew, pulse_at) = (0, Time::ZERO);
        Self { gate, keys, timing, metrics, slew, orders, wake, news, links, segments, vips, changed, pulse_at }
    }

    /// Works until nobody gives orders any more.
    pub(super) fn run(mut self) {
        loop {
            let due = self.segments.iter().map(Segment::due).min();
            self.wait(due);
            self.look_at_gate();
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
            self.look_at_links();
            (0..self.segments.len()).for_each(|at| self.look(at));
            self.pulse();
        }
    }

    /// Says how it stands, if it is time to.
    fn pulse(&mut self) {
        let now = clock::now();
        if now < self.pulse_at {
            return;
        }
        self.pulse_at = now + PULSE;
        let said: Vec<News> = self
            .segments
            .iter_mut()
            .map(|segment| News::Pulse {
                segment: segment.name.clone(),
                pulse: segment.beats.pulse(now, &segment.machine),
                margin: segment.beats.take_margin(),
            })
            .collect();
        said.into_iter().for_each(|news| self.say(news));
    }

    fn wait(&self, due: Option<Time>) {
        let timeout = due.map(|due| due.since(clock::now())).map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        let wake = || PollFd::new(&*self.wake, PollFlags::IN);
        let sockets = self.segments.iter().filter_map(Segment::socket).map(|s| PollFd::new(s, PollFlags::IN));
        let gate = self.gate.watched().map(|gate| PollFd::from_borrowed_fd(gate, PollFlags::IN));
        let links = PollFd::new(self.links.socket(), PollFlags::IN);
        let mut sockets = [Some(links), gate].into_iter().flatten().chain(sockets);
        // An interrupted wait is a short one.
        let _interrupted = if self.segments.len() + 2 < WATCHED {
            let mut watched: [PollFd<'_>; WATCHED] = std::array::from_fn(|_| sockets.next().unwrap_or_else(wake));
            poll(&mut watched, timeout.as_ref())
        } else {
            poll(&mut sockets.chain([wake()]).collect::<Vec<_>>(), timeout.as_ref())
        };
        let _empty = rustix::io::read(&*self.wake, &mut [0; 8]);
    }

    /// Takes in what came for a segment and what is due there.
    fn look(&mut self, at: usize) {
        if let Some(segment) = self.segments.get_mut(at) {
            segment.beats.note_margin(clock::now(), &segment.machine);
        }
        for _ in 0..BATCH {
            let Some(packet) = self.segments.get_mut(at).and_then(|segment| segment.receive(&self.keys)) else { break };
            match packet {
                Ok(packet) => self.tell(at, Input::Packet(packet)),
                Err(reason) => self.metrics.heartbeat_rejected(reason.as_str()),
            }
        }
        if let Some(segment) = self.segments.get_mut(at)
            && segment.due() <= clock::now()
        {
            segment.machine.handle_timeout(clock::now());
            self.drain(at);
            self.look_at_clock();
        }
    }

    /// Looks how true the clock is, and says so if that has changed.
    fn look_at_clock(&mut self) {
        let slew = realtime::slew();
        if slew != self.slew {
            self.slew = slew;
            self.tell_all(&Input::Slew(slew));
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
                let gone: Vec<String> = self.vips.keys().filter(|uid| !vips.contains_key(*uid)).cloned().collect();
                gone.iter().for_each(|uid| self.know(uid, None));
                vips.into_iter().for_each(|(uid, address)| self.know(&uid, Some(address)));
            }
            Order::Vip(uid, address) => self.know(&uid, Some(address)),
            Order::VipGone(uid) => self.know(&uid, None),
            Order::Placement(placement) => self.tell_all(&Input::Placement(placement)),
            Order::Gateway(segment) => self.tell_of(&segment, Input::Gateway),
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
        if let Some(segment) = self.segments.get_mut(at) {
            segment.place(me);
        }
        self.settle_on_link(at);
        self.drain(at);
    }

    /// Brings gate and socket to the segment's link, of which only the name is known.
    fn settle_on_link(&mut self, at: usize) {
        let Some(segment) = self.segments.get_mut(at) else { return };
        let interface = &segment.interface;
        let link = super::segment::index(interface).map_err(|error| error.to_string());
        let gated = link.and_then(|link| self.gate.attach(link).map(|()| link).map_err(|error| error.to_string()));
        let mut failures = Vec::new();
        if let Err(error) = &gated {
            failures.push(format!("no address is held on {interface}, for the gate is not there: {error}"));
        }
        let before = segment.gated;
        (segment.link, segment.gated) = (gated.as_ref().ok().copied(), gated.is_ok());
        if let Err(error) = segment.listen() {
            failures.push(format!("no heartbeats on {}: {error}", segment.interface));
        }
        if before != segment.gated {
            let uids: Vec<String> = segment.states.keys().cloned().collect();
            self.apply(&uids);
        }
        failures.into_iter().for_each(|failure| self.failed(failure));
        // How the link is, is told like any change.
        if let Err(error) = self.links.ask() {
            self.failed(format!("the kernel does not tell of links: {error}"));
        }
    }

    /// Takes in what the kernel says of links, before anything that came over them.
    fn look_at_links(&mut self) {
        let (mut changes, mut returned) = (Vec::new(), Vec::new());
        let segments = &self.segments;
        self.links.read(|seen| {
            for (at, segment) in segments.iter().enumerate() {
                if segment.link == Some(seen.index) {
                    changes.push((at, seen.carrier));
                    if seen.gone {
                        returned.push((at, false));
                    }
                } else if segment.interface == seen.name && !seen.gone {
                    returned.push((at, true));
                }
            }
        });
        for (at, there) in returned {
            match self.segments.get_mut(at) {
                Some(segment) if there && segment.link.is_none() => self.settle_on_link(at),
                Some(segment) if !there => segment.link = None,
                Some(_) | None => {}
            }
        }
        for (at, carrier) in changes {
            self.tell(at, Input::Carrier(carrier));
        }
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
        self.slew = 0;
        self.segments.push(Segment::new(name, number, me, machine, passing.clone()));
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
