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
use crate::core::failover::{Effect, FOREVER, Failover, Input, Rules, Start, Timing, VipState};
use crate::core::time::Time;
use crate::core::view::Registration;
use crate::gate::{Bpf, Deadlines, Entry, SEGMENTS, State};
use crate::wire::heartbeat::{Keys, id};

pub(super) struct Thread {
    gate: Bpf,
    deadlines: Deadlines,
    keys: Keys,
    timing: Timing,
    orders: Receiver<Order>,
    wake: Arc<OwnedFd>,
    news: UnboundedSender<News>,
    segments: BTreeMap<String, Segment>,
    vips: BTreeMap<String, Address>,
}

impl Thread {
    pub(super) fn new(
        gate: Bpf,
        keys: Keys,
        timing: Timing,
        orders: Receiver<Order>,
        wake: Arc<OwnedFd>,
        news: UnboundedSender<News>,
    ) -> Self {
        let deadlines = gate.deadlines();
        Self { gate, deadlines, keys, timing, orders, wake, news, segments: BTreeMap::new(), vips: BTreeMap::new() }
    }

    /// Works until nobody gives orders any more.
    pub(super) fn run(mut self) {
        loop {
            let due = self.segments.values().map(Segment::due).min();
            self.wait(due);
            let now = clock::now();
            // Whoever slept past its timer first drops what is queued: it speaks of the time before.
            if due.is_some_and(|due| now.since(due) >= self.timing.beat) {
                self.segments.values().for_each(Segment::discard);
            }
            loop {
                match self.orders.try_recv() {
                    Ok(Order::Dismantle) => return self.dismantle(),
                    Ok(order) => self.take(order),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            for name in self.segments.keys().cloned().collect::<Vec<_>>() {
                self.look(&name);
            }
        }
    }

    fn wait(&self, due: Option<Time>) {
        let timeout = due.map(|due| due.since(clock::now())).map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        let sockets = self.segments.values().filter_map(Segment::socket);
        let mut watched: Vec<PollFd<'_>> = sockets.map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        watched.push(PollFd::new(&*self.wake, PollFlags::IN));
        // An interrupted wait is a short one.
        let _interrupted = poll(&mut watched, timeout.as_ref());
        let _empty = rustix::io::read(&*self.wake, &mut [0; 8]);
    }

    /// Takes in what came for a segment and what is due there.
    fn look(&mut self, name: &str) {
        let Some(segment) = self.segments.get_mut(name) else { return };
        for packet in segment.receive(&self.keys) {
            self.tell(name, Input::Packet(packet));
        }
        if let Some(segment) = self.segments.get_mut(name)
            && segment.due() <= clock::now()
        {
            segment.machine.handle_timeout(clock::now());
            self.drain(name);
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Join { segment, me } => self.join(&segment, me),
            Order::View { segment, version, view, fresh } => self.tell(&segment, Input::View { version, view, fresh }),
            Order::Patched { segment, ticket, outcome } => self.tell(&segment, Input::Patched { ticket, outcome }),
            Order::Vips(vips) => {
                self.vips = vips;
                self.vips.keys().cloned().collect::<Vec<_>>().iter().for_each(|uid| self.apply(uid));
            }
            Order::Vip(uid, address) => {
                if self.vips.insert(uid.clone(), address) != Some(address) {
                    self.apply(&uid);
                }
            }
            Order::Placement(placement) => {
                for name in self.segments.keys().cloned().collect::<Vec<_>>() {
                    self.tell(&name, Input::Placement(Arc::clone(&placement)));
                }
            }
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

    fn join(&mut self, name: &str, me: Registration) {
        if !self.segments.contains_key(name) && !self.begin(name, &me) {
            return;
        }
        if let Some(segment) = self.segments.get_mut(name)
            && let Err(error) = segment.listen(&me)
        {
            self.failed(format!("no heartbeats on {} ({}:{}): {error}", me.interface, me.address, me.port));
        }
        self.drain(name);
    }

    /// Starts the machine of a segment from what a former process left at the gate.
    fn begin(&mut self, name: &str, me: &Registration) -> bool {
        let number = number(name);
        if let Some((other, _)) = self.segments.iter().find(|(_, segment)| segment.number == number) {
            self.failed(format!("segments {name} and {other} share a number at the gate; name one with --segment"));
            return false;
        }
        let passing = self.adopted(number);
        let gate = self.deadlines.get(number).unwrap_or(FOREVER);
        let start = Start {
            segment: name.to_owned(),
            me: me.clone(),
            timing: self.timing,
            rules: Rules::all(),
            gate,
            vips: passing.clone(),
        };
        let machine = Failover::new(clock::now(), start);
        self.segments.insert(name.to_owned(), Segment::new(number, machine, passing.clone()));
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

    fn tell(&mut self, name: &str, input: Input) {
        if let Some(segment) = self.segments.get_mut(name) {
            segment.machine.handle(clock::now(), input);
            self.drain(name);
        }
    }

    fn tell_all(&mut self, input: &Input) {
        for name in self.segments.keys().cloned().collect::<Vec<_>>() {
            self.tell(&name, input.clone());
        }
    }

    /// Carries out what a machine asks for, in its order.
    fn drain(&mut self, name: &str) {
        while let Some(effect) = self.segments.get_mut(name).and_then(|segment| segment.machine.poll_effect()) {
            let segment = name.to_owned();
            match effect {
                Effect::Send { to, packet } => {
                    if let Some(segment) = self.segments.get_mut(name) {
                        segment.send(to, &packet, &self.keys);
                    }
                }
                Effect::Gate(at) => {
                    if let Some(segment) = self.segments.get(name) {
                        self.deadlines.set(segment.number, (at != FOREVER).then_some(at));
                    }
                }
                Effect::Set { uid, state } => {
                    if let Some(segment) = self.segments.get_mut(name) {
                        segment.states.insert(uid.clone(), state);
                    }
                    self.apply(&uid);
                }
                Effect::Patch { ticket, purpose, patch } => self.say(News::Patch { segment, ticket, purpose, patch }),
                Effect::Read => self.say(News::Read { segment }),
                Effect::ProbeGateway => {}
                Effect::Exit => self.say(News::Exit { segment }),
                Effect::Report(event) => self.say(News::Event { segment, event }),
            }
        }
    }

    /// Brings the gate's entry of a VIP in line with what its machine wants, as soon as its address is known, and says so.
    fn apply(&mut self, uid: &str) {
        let Some(address) = self.vips.get(uid).copied() else { return };
        let wanted = self.segments.values().find_map(|segment| Some((segment.number, *segment.states.get(uid)?)));
        let Some((segment, state)) = wanted else { return };
        let at_gate = match state {
            VipState::Shut => State::Shut,
            VipState::Accept => State::Accept,
            VipState::Claim => State::Claim,
        };
        let done = self.set(address.ip, Entry { segment, state: at_gate, hard: address.hard });
        if done || state == VipState::Shut {
            self.say(News::Set { uid: uid.to_owned(), state });
        }
    }

    /// Whether the gate does as it is told.
    fn set(&mut self, ip: IpAddr, entry: Entry) -> bool {
        let result = self.gate.set(ip, entry);
        if let Err(error) = &result {
            self.failed(format!("the gate does not take {ip}: {error}"));
        }
        result.is_ok()
    }

    /// The gate forgets an address that stands here no more, unless it is wanted again.
    fn forget(&mut self, ip: IpAddr) {
        let uids = self.vips.iter().filter(|(_, vip)| vip.ip == ip).map(|(uid, _)| uid);
        let shut = |uid: &String| {
            let states = self.segments.values().filter_map(|segment| segment.states.get(uid));
            states.into_iter().all(|state| *state == VipState::Shut)
        };
        if !uids.into_iter().all(shut) {
            return;
        }
        if let Err(error) = self.gate.remove(ip) {
            self.failed(format!("the gate does not forget {ip}: {error}"));
        }
    }

    fn failed(&self, what: String) {
        self.say(News::Failed(what));
    }

    fn say(&self, news: News) {
        // Whoever does not listen any more is about to end.
        let _ended = self.news.send(news);
    }
}

/// The number of a segment at the gate: the same for every process of this node.
fn number(name: &str) -> u16 {
    let count = u64::from(SEGMENTS.end() - SEGMENTS.start() + 1);
    SEGMENTS.start() + u16::try_from(id(name) % count).unwrap_or_default()
}
