//! The event loop.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use vipkeeper::core::failover::{Effect, Event as Told, Input, Outcome, Placement, Purpose, Rules, Timing, VipState};
use vipkeeper::core::time::Time;
use vipkeeper::core::view::{Patch, View};
use vipkeeper::wire::heartbeat::{Body, Packet, Verdict};

use crate::sim::node::{Node, Process};
use crate::sim::oracle::{Oracle, Violation};
use crate::sim::rng::Rng;
use crate::sim::scenario::{Network, Scenario};
use crate::sim::store::Store;

pub const MS: u64 = 1_000_000;
/// In so many ways the nodes' heartbeats may stand to each other when the faults begin.
pub const PHASES: u64 = 4;

/// Something that is due.
#[derive(Debug, Clone)]
pub enum Event {
    Deliver {
        to: usize,
        packet: Packet,
    },
    Timer {
        node: usize,
        incarnation: u32,
    },
    /// An input for a process that may be another one by then.
    Give {
        node: usize,
        incarnation: u32,
        input: Input,
    },
    /// A request arrives at the store.
    Ask {
        node: usize,
        incarnation: u32,
        request: Request,
    },
    Watch {
        node: usize,
        version: u64,
        view: Arc<View>,
    },
    Begin(usize),
    End(usize),
    Start {
        node: usize,
        incarnation: u32,
    },
    Controller,
    Commit {
        patch: Patch,
    },
    Look,
}

#[derive(Debug, Clone)]
pub enum Request {
    Read,
    Patch { ticket: u64, purpose: Purpose, patch: Patch },
}

/// Everything.
#[derive(Debug, Clone)]
pub struct World {
    pub scenario: Scenario,
    pub timing: Timing,
    /// Calm until the faults begin.
    pub network: Network,
    pub rules: Rules,
    pub now: u64,
    pub rng: Rng,
    pub nodes: Vec<Node>,
    pub store: Store,
    pub net: Net,
    pub oracle: Oracle,
    queue: BinaryHeap<Reverse<(u64, u32, u32)>>,
    slots: Vec<Option<Event>>,
    free: Vec<u32>,
    order: u32,
    /// Requests that wait for a frozen API.
    pub frozen: Vec<Event>,
    /// How often each VIP was made.
    pub generations: Vec<u32>,
    /// Until when a VIP that is being made may still appear.
    pub making: Vec<u64>,
    pub journal: Option<Vec<String>>,
    pub events: u64,
}

/// Who hears whom; the last index is the gateway.
#[derive(Debug, Clone)]
pub struct Net {
    pub cut: Vec<Vec<u8>>,
    /// When a pair was last cut in either direction.
    pub parted: Vec<Vec<u64>>,
    pub loss: u64,
    pub api_cut: Vec<u8>,
    pub api_down: u8,
    pub api_frozen: u8,
}

impl Net {
    fn new(nodes: usize) -> Self {
        Self {
            cut: vec![vec![0; nodes + 1]; nodes + 1],
            parted: vec![vec![0; nodes + 1]; nodes + 1],
            loss: 0,
            api_cut: vec![0; nodes],
            api_down: 0,
            api_frozen: 0,
        }
    }

    pub fn joined(&self, a: usize, b: usize) -> bool {
        self.cut[a][b] == 0 && self.cut[b][a] == 0
    }
}

impl World {
    /// All nodes up for a while and every VIP held, or nothing yet at all.
    pub fn new(scenario: Scenario, rules: Rules) -> Self {
        let timing = scenario.timing();
        let count = scenario.nodes;
        let mut world = Self {
            timing,
            network: Network::Calm,
            rules,
            now: 0,
            rng: Rng::new(scenario.seed % PHASES),
            nodes: (0..count).map(Node::new).collect(),
            store: Store::new(View::default()),
            net: Net::new(count),
            oracle: Oracle::new(scenario.vips, count),
            queue: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            order: 0,
            frozen: Vec::new(),
            generations: vec![0; scenario.vips],
            making: vec![0; scenario.vips],
            journal: None,
            events: 0,
            scenario,
        };
        for node in 0..count {
            world.nodes[node].nft = world.scenario.nft & (1 << node) != 0;
        }
        if !world.scenario.cold {
            world.prepare_view();
        }
        for node in 0..count {
            let at = world.rng.range(0, if world.scenario.cold { 400 * MS } else { 100 * MS });
            world.push(at, Event::Start { node, incarnation: 0 });
        }
        world.push(10 * MS, Event::Controller);
        world
    }

    fn prepare_view(&mut self) {
        use vipkeeper::core::view::Grant;
        let mut view = View::default();
        for _ in 0..2 {
            for node in &self.nodes {
                let (_, patch) = view.register(&node.registration(self.scenario.rho)).unwrap();
                view = patch.apply(&view).unwrap();
            }
        }
        let grants: Vec<Grant> = (0..self.scenario.vips)
            .map(|vip| {
                let node = &self.nodes[vip % self.nodes.len()].name;
                Grant { uid: format!("{vip}-0"), name: format!("x/{vip}"), to: view.right_of(node).unwrap() }
            })
            .collect();
        view = view.grant(&grants).unwrap().apply(&view).unwrap();
        self.store = Store::new(view);
        // Each node had a process, whose gate has run out.
        self.nodes.iter_mut().for_each(|node| node.kernel.deadline = Time::ZERO + Duration::from_nanos(1));
    }

    /// The clocks start to differ, the faults are scheduled.
    pub fn arm(&mut self) {
        self.rng = Rng::new(self.scenario.seed ^ 0xa4);
        self.network = self.scenario.network;
        let rho = u64::from(self.scenario.rho);
        let margin = u64::try_from(self.timing.margin.as_nanos()).unwrap();
        for node in 0..self.nodes.len() {
            let slack = if self.nodes[node].nft { self.rng.range(0, self.timing.nft().as_nanos() as u64) } else { 0 };
            let kernel = &mut self.nodes[node].kernel;
            (kernel.slack, kernel.hard) = (slack, self.scenario.exclusive);
            kernel.lateness = self.rng.range(0, margin / 2);
            let extreme = self.rng.percent(50);
            let ppm = if extreme { rho * 2 * self.rng.range(0, 2) } else { self.rng.range(0, 2 * rho + 1) };
            let now = self.now;
            self.nodes[node].clock.set_rate(now, ppm as i64 - rho as i64);
            self.tell_policies(node);
            self.schedule_timer(node);
        }
        for index in 0..self.scenario.faults.len() {
            let fault = &self.scenario.faults[index];
            let (from, to) = (self.now + fault.at * MS, self.now + (fault.at + fault.last) * MS);
            self.push(from, Event::Begin(index));
            self.push(to, Event::End(index));
        }
    }

    pub fn push(&mut self, at: u64, event: Event) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize] = Some(event);
        self.order += 1;
        self.queue.push(Reverse((at.max(self.now), self.order, slot)));
    }

    /// Runs until `until`, or a violation.
    pub fn run(&mut self, until: u64) -> Result<(), Violation> {
        while let Some(Reverse((at, ..))) = self.queue.peek() {
            if *at > until {
                break;
            }
            let Some(Reverse((at, _, slot))) = self.queue.pop() else { break };
            self.now = at;
            self.events += 1;
            let event = self.slots[slot as usize].take().unwrap();
            self.free.push(slot);
            self.happen(event);
            if let Some(violation) = self.oracle.violation.take() {
                self.note(|| format!("VIOLATION {violation}"));
                return Err(violation);
            }
        }
        self.now = until.max(self.now);
        Ok(())
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { to, packet } => self.give(to, Input::Packet(packet)),
            Event::Timer { node, incarnation } => {
                if self.nodes[node].incarnation == incarnation {
                    self.timer(node);
                }
            }
            Event::Give { node, incarnation, input } => {
                if self.nodes[node].incarnation == incarnation {
                    self.give(node, input);
                }
            }
            Event::Ask { node, incarnation, request } => self.requested(node, incarnation, request),
            Event::Watch { node, version, view } => {
                if self.api_answers(node) {
                    self.give(node, Input::View { version, view, fresh: false });
                }
            }
            Event::Begin(index) => self.begin(index),
            Event::End(index) => self.end(index),
            Event::Start { node, incarnation } => {
                let gone = self.nodes[node].process == Process::Gone && self.nodes[node].powered;
                if self.nodes[node].incarnation == incarnation && gone {
                    self.start(node);
                }
            }
            Event::Controller => self.controller(),
            Event::Commit { patch } => {
                if self.net.api_down + self.net.api_frozen == 0 {
                    self.commit(None, &patch);
                }
            }
            Event::Look => self.look_everywhere(),
        }
    }

    pub fn note(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(journal) = &mut self.journal {
            journal.push(format!("{:>9.3} ms  {}", now as f64 / 1e6, line()));
        }
    }

    pub fn start(&mut self, node: usize) {
        let (now, timing, rules) = (self.now, self.timing, self.rules);
        self.note(|| format!("n{node} starts a process"));
        self.nodes[node].start(now, timing, rules);
        self.tell_policies(node);
        self.drain(node);
        self.list_from_cache(node);
    }

    /// The first thing that a watch brings may come from a cache that is behind.
    fn list_from_cache(&mut self, node: usize) {
        let behind = self.rng.range(0, 4) as usize;
        if let Some((version, view)) = self.store.stale(behind)
            && self.network == Network::Rough
        {
            let at = self.now + self.rng.range(0, 20 * MS);
            self.push(at, Event::Watch { node, version, view });
        }
    }

    /// What the machine must know of the VIPs, whatever generation they are.
    fn tell_policies(&mut self, node: usize) {
        let Scenario { fast, exclusive, .. } = self.scenario;
        let uids = |bits: u32| {
            let vips = (0..u32::BITS).filter(move |vip| bits & (1 << vip) != 0);
            vips.flat_map(|vip| (0..16).map(move |generation| format!("{vip}-{generation}"))).collect()
        };
        let placement = Placement { fast: uids(fast), exclusive: uids(exclusive), ..Placement::default() };
        self.give(node, Input::Placement(Arc::new(placement)));
    }

    /// Gives a process an input, or keeps it until it can take it.
    pub fn give(&mut self, node: usize, input: Input) {
        let it = &mut self.nodes[node];
        if !it.powered || it.process == Process::Gone {
            return;
        }
        // A machine that stands still takes no packets.
        if it.pauses > 0 && matches!(input, Input::Packet(_)) {
            return;
        }
        if it.pauses > 0 || it.process == Process::Hangs {
            // What the kernel says of links is read anew when messages were lost.
            if it.inbox.len() < 256 || matches!(input, Input::Carrier(_)) {
                it.inbox.push_back(input);
            }
            return;
        }
        let clock = it.clock.show(self.now);
        if let Some(machine) = &mut it.machine {
            machine.handle(clock, input);
        }
        self.drain(node);
    }

    fn timer(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        it.timer = u64::MAX;
        if !it.runs() {
            return;
        }
        let clock = it.clock.show(self.now);
        if let Some(machine) = &mut it.machine
            && machine.poll_timeout().0 <= clock
        {
            machine.handle_timeout(clock);
        }
        self.drain(node);
    }

    /// A process can go on.
    pub fn wake(&mut self, node: usize) {
        if !self.nodes[node].runs() {
            return;
        }
        while let Some(effect) = self.nodes[node].unfinished.pop_front() {
            self.carry_out(node, effect);
        }
        let timer_first = self.rng.percent(50);
        if timer_first {
            self.timer(node);
        }
        while self.nodes[node].runs() {
            let Some(input) = self.nodes[node].inbox.pop_front() else { break };
            self.give(node, input);
        }
        self.schedule_timer(node);
    }

    /// Carries out what the machine wants.
    pub fn drain(&mut self, node: usize) {
        let mut first = true;
        while let Some(effect) = self.nodes[node].machine.as_mut().and_then(|machine| machine.poll_effect()) {
            if self.nodes[node].stop_between && !first && self.rng.percent(50) {
                self.note(|| format!("n{node} stops between two effects"));
                let it = &mut self.nodes[node];
                it.stop_between = false;
                it.process = Process::Hangs;
                it.kernel.stopped = true;
                it.unfinished.push_back(effect);
                while let Some(effect) = it.machine.as_mut().and_then(|machine| machine.poll_effect()) {
                    it.unfinished.push_back(effect);
                }
                return;
            }
            first = false;
            self.carry_out(node, effect);
        }
        self.schedule_timer(node);
    }

    pub fn schedule_timer(&mut self, node: usize) {
        let jitter = self.jitter();
        let it = &mut self.nodes[node];
        let Some(machine) = &it.machine else { return };
        let at = it.clock.when(machine.poll_timeout().0, self.now);
        if it.runs() && at < it.timer {
            it.timer = at;
            let incarnation = it.incarnation;
            self.push(at + jitter, Event::Timer { node, incarnation });
        }
    }

    /// How late a process is scheduled.
    fn jitter(&mut self) -> u64 {
        match self.network {
            Network::Calm => self.rng.range(0, MS / 5),
            Network::Rough if self.rng.percent(1) => self.rng.range(0, 20 * MS),
            Network::Rough => self.rng.range(0, MS),
        }
    }

    fn carry_out(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Send { to, packet } => self.transmit(node, to, packet),
            Effect::Gate(deadline) => {
                self.nodes[node].kernel.deadline = deadline;
                self.check_gate(node);
            }
            Effect::Set { uid, state } => {
                self.note(|| format!("n{node} sets {uid} to {state:?}"));
                let now = self.now;
                let fallback = self.nodes[node].fallback.take().is_some_and(|known| known == uid);
                self.nodes[node].kernel.set(now, &uid, state, fallback);
                if state != VipState::Shut {
                    self.check_claim(node, &uid, state);
                }
            }
            Effect::Patch { ticket, purpose, patch } => {
                self.note(|| format!("n{node} sends a patch: {purpose:?}"));
                self.request(node, Request::Patch { ticket, purpose, patch });
            }
            Effect::Read => self.request(node, Request::Read),
            Effect::ProbeGateway => {
                let gateway = self.nodes.len();
                if self.net.joined(node, gateway) && !self.rng.percent(self.net.loss) {
                    let incarnation = self.nodes[node].incarnation;
                    let delay = self.delay() + self.delay();
                    self.push(self.now + delay, Event::Give { node, incarnation, input: Input::Gateway });
                }
            }
            Effect::Exit => self.exit(node),
            Effect::Report(told) => {
                self.note(|| format!("n{node} says {told:?}"));
                if let Told::Claimed { uid, fallback: true, .. } = told {
                    self.nodes[node].fallback = Some(uid);
                }
            }
        }
    }

    fn delay(&mut self) -> u64 {
        match self.network {
            Network::Calm => self.rng.range(MS / 10, MS / 2),
            Network::Rough if self.rng.percent(3) => self.rng.range(MS, 250 * MS),
            Network::Rough => self.rng.range(MS / 10, 5 * MS),
        }
    }

    fn transmit(&mut self, node: usize, to: u64, packet: Packet) {
        self.check_packet(node, to, &packet);
        let now = self.now;
        match packet.body {
            Body::Answer { epoch, verdict: Verdict::Acknowledged, .. } => {
                let acknowledged = &mut self.nodes[node].acknowledged;
                acknowledged.retain(|(known, _)| *known != epoch);
                acknowledged.push((epoch, now));
            }
            Body::Heartbeat { shut: false, .. } => self.nodes[node].beat = self.nodes[node].clock.show(now),
            _ => {}
        }
        let Some(to) = self.nodes.iter().position(|other| other.id == to) else { return };
        let base = if self.network == Network::Rough { 1 } else { 0 };
        if self.net.cut[node][to] > 0 || self.rng.percent(self.net.loss + base) {
            return;
        }
        let delay = self.delay();
        self.push(now + delay, Event::Deliver { to, packet });
    }

    /// How long a request, or its answer, is under way.
    fn api_delay(&mut self) -> u64 {
        match self.network {
            Network::Calm => self.rng.range(MS, 5 * MS),
            Network::Rough if self.rng.percent(5) => self.rng.range(15 * MS, 3_000 * MS),
            Network::Rough => self.rng.range(MS, 15 * MS),
        }
    }

    pub fn api_answers(&self, node: usize) -> bool {
        self.net.api_cut[node] == 0 && self.net.api_down == 0 && self.net.api_frozen == 0
    }

    fn request(&mut self, node: usize, request: Request) {
        let incarnation = self.nodes[node].incarnation;
        let delay = self.api_delay();
        let ask = Event::Ask { node, incarnation, request };
        if self.net.api_cut[node] > 0 || self.net.api_down > 0 {
            return;
        }
        self.push(self.now + delay, ask);
    }

    fn requested(&mut self, node: usize, incarnation: u32, request: Request) {
        if self.net.api_down > 0 {
            return;
        }
        if self.net.api_frozen > 0 {
            return self.frozen.push(Event::Ask { node, incarnation, request });
        }
        let input = match request {
            Request::Read => {
                Input::View { version: self.store.version, view: Arc::clone(&self.store.view), fresh: true }
            }
            Request::Patch { ticket, purpose, patch } => {
                let applied = self.commit(Some((node, purpose)), &patch);
                let outcome = if applied {
                    Outcome::Applied { version: self.store.version, view: Arc::clone(&self.store.view) }
                } else {
                    Outcome::Refused
                };
                Input::Patched { ticket, outcome }
            }
        };
        if self.net.api_cut[node] == 0 {
            let delay = self.api_delay();
            self.push(self.now + delay, Event::Give { node, incarnation, input });
        }
    }

    /// Applies a patch, checks what it did, and tells the watches.
    pub fn commit(&mut self, by: Option<(usize, Purpose)>, patch: &Patch) -> bool {
        let Some(before) = self.store.patch(patch) else {
            self.note(|| format!("store: refused {by:?}"));
            return false;
        };
        let version = self.store.version;
        self.note(|| format!("store: version {version} by {by:?}"));
        self.check_commit(&before, by);
        self.tell_watches();
        true
    }

    pub fn tell_watches(&mut self) {
        let (version, view) = (self.store.version, Arc::clone(&self.store.view));
        for node in 0..self.nodes.len() {
            let lag = match self.network {
                Network::Calm => self.rng.range(MS, 5 * MS),
                Network::Rough if self.rng.percent(5) => self.rng.range(50 * MS, 4_000 * MS),
                Network::Rough => self.rng.range(MS, 50 * MS),
            };
            let view = Arc::clone(&view);
            self.push(self.now + lag, Event::Watch { node, version, view });
        }
    }
}
