//! One node's part in a segment: its right to hold addresses, its watch over others, takeover.
//!
//! The right comes from evidence, never from silence: acknowledgements of a quorum of the node's watchers, or patches of
//! the view that were registered to count. The gate's deadline follows the evidence; whoever takes over waits until the
//! watchers that know the fence say that the evidence has run out. Everything is level-triggered: after each input the
//! machine looks at the whole and emits what is missing. ARCHITECTURE.md, "Failover", states the rules; [`Rule`] names
//! each; tests/simulator shows what goes wrong without it.
//!
//! Effects are carried out in order, and [`Effect::Gate`] and [`Effect::Set`] have taken effect in the kernel before the
//! next one is looked at.

mod claims;
mod closure;
mod fence;
mod footing;
mod io;
mod patches;
mod peers;
mod pulse;
mod registration;
mod restore;
mod right;
mod rules;
mod timing;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::time::Time;
use super::view::{Registration, Right, View};
use crate::wire::heartbeat::{Body, Packet, id, segment_id};
use claims::Held;
use closure::Closing;
use patches::Patches;
use peers::Peer;
use right::Own;

pub use io::{Effect, Event, FOREVER, Input, Lane, Outcome, Placement, Purpose, VipState};
pub use pulse::{Beats, PeerPulse, Pulse};
pub use rules::{Rule, Rules};
pub use timing::{Timing, TimingError};

/// What a process knows when it starts.
#[derive(Debug, Clone)]
pub struct Start {
    /// The segment's name.
    pub segment: String,
    /// This node; its mode is chosen by the machine.
    pub me: Registration,
    /// The times.
    pub timing: Timing,
    /// The rules: [`Rules::all`].
    pub rules: Rules,
    /// The deadline that the kernel's gate has now, from the process before this one.
    pub gate: Time,
    /// The VIPs, by uid, that the kernel's gate knows now.
    pub vips: BTreeMap<String, VipState>,
}

/// Whether the node stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Intent {
    Stay,
    /// Another process of it follows.
    Restart,
    Leave,
    /// It has said what it had to say.
    Gone,
}

/// A read of the view that is under way.
#[derive(Debug, Clone, Copy)]
struct Reading {
    sent: Time,
    until: Time,
}

/// The machine of one node in one segment.
#[derive(Debug, Clone)]
pub struct Failover {
    me: Registration,
    id: u64,
    boot: u64,
    segment: u32,
    timing: Timing,
    /// The bound of this node's clock-rate error that others know of.
    rho: u32,
    rules: Rules,
    started: Time,
    sequence: u64,
    /// Whether the view was read since the start.
    read: bool,
    version: u64,
    view: Arc<View>,
    /// When it was taken in.
    seen_at: Time,
    /// What the store has gone back to, until it is written again.
    restored: Option<(u64, Arc<View>)>,
    reading: Option<Reading>,
    /// When each read was sent that may yet be answered.
    reads: VecDeque<Time>,
    want_read: bool,
    /// When the API last answered.
    contact: Time,
    peers: BTreeMap<u64, Peer>,
    own: Own,
    patches: Patches,
    closings: BTreeMap<u64, Closing>,
    vips: BTreeMap<String, Held>,
    placement: Arc<Placement>,
    gateway: Option<Time>,
    /// The link to the segment has one.
    carrier: bool,
    probed: Time,
    intent: Intent,
    beat_at: Time,
    check_at: Time,
    close_at: Time,
    wake: Time,
    label: &'static str,
    /// Something changed that claims depend on.
    dirty: bool,
    /// No claim waits for a time or for another node: none is other than at the last look until something changes.
    resting: bool,
    effects: VecDeque<Effect>,
}

impl Failover {
    /// A process starts. It asks for the view first, and answers nobody before it has it.
    #[must_use]
    pub fn new(now: Time, start: Start) -> Self {
        let Start { segment, me, timing, rules, gate, vips } = start;
        let segment = segment_id(&segment);
        let mut machine = Self {
            id: id(&me.node),
            boot: id(&me.boot_id),
            segment,
            timing,
            rho: timing.rho,
            rules,
            started: now,
            sequence: nanos(now),
            read: false,
            version: 0,
            view: Arc::default(),
            seen_at: now,
            restored: None,
            reading: None,
            reads: VecDeque::new(),
            want_read: true,
            contact: now,
            peers: BTreeMap::new(),
            own: Own::new(gate),
            patches: Patches::default(),
            closings: BTreeMap::new(),
            vips: vips.into_iter().map(|(uid, state)| (uid, Held::adopted(state))).collect(),
            placement: Arc::default(),
            gateway: None,
            carrier: true,
            probed: Time::ZERO,
            intent: Intent::Stay,
            beat_at: now,
            check_at: now,
            close_at: FOREVER,
            wake: now,
            label: "start",
            dirty: true,
            resting: false,
            effects: VecDeque::new(),
            me,
        };
        machine.run(now);
        machine
    }

    /// Takes in what happened. Drain [`Self::poll_effect`] afterwards.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.notice_pause(now);
        match input {
            Input::Packet(packet) => self.packet(now, &packet),
            Input::View { version, view, fresh } => self.view(now, version, view, fresh),
            Input::Patched { ticket, outcome } => self.patched(now, ticket, outcome),
            Input::Gateway => {
                self.gateway = Some(now);
                self.dirty = true;
            }
            Input::Carrier(up) => self.set_carrier(now, up),
            Input::Slew(rate) => self.set_slew(now, rate),
            Input::Placement(placement) => (self.placement, self.resting) = (placement, false),
            Input::Move { uid, to } => self.hand_over(now, &uid, &to),
            Input::Restart => self.intend(Intent::Restart),
            Input::Leave => self.intend(Intent::Leave),
        }
        if self.dirty || now >= self.wake {
            self.run(now);
        }
    }

    /// Does what is due. Drain [`Self::poll_effect`] afterwards.
    pub fn handle_timeout(&mut self, now: Time) {
        self.notice_pause(now);
        self.run(now);
    }

    /// The next thing to be done.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Self::handle_timeout`] is to be called, and what for.
    #[must_use]
    pub const fn poll_timeout(&self) -> (Time, &'static str) {
        (self.wake, self.label)
    }

    /// The node's name.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.me.node
    }

    /// The right under which this node acts.
    #[must_use]
    pub const fn right(&self) -> Option<&Right> {
        self.own.right.as_ref()
    }

    /// The newest view that it has, and its version.
    #[must_use]
    pub const fn current_view(&self) -> (u64, &Arc<View>) {
        (self.version, &self.view)
    }

    /// Whether it knows that this right is fenced.
    #[must_use]
    pub fn knows_fence(&self, node: u64, epoch: u64) -> bool {
        self.peers.get(&node).is_some_and(|peer| peer.is_fenced(epoch))
    }

    /// The deadline of its gate.
    #[must_use]
    pub const fn gate(&self) -> Time {
        self.own.deadline
    }

    fn intend(&mut self, intent: Intent) {
        if self.intent == Intent::Stay {
            self.intent = intent;
            self.dirty = true;
        }
    }

    /// Looks at the whole.
    fn run(&mut self, now: Time) {
        self.resting &= !std::mem::take(&mut self.dirty);
        self.expire(now);
        self.look_at_own(now);
        if now >= self.check_at {
            self.look_at_peers(now);
        }
        self.look_at_closings(now);
        self.look_at_claims(now);
        if now >= self.beat_at {
            self.beat(now);
        }
        if self.want_read && self.reading.is_none() {
            self.want_read = false;
            self.reading = Some(Reading { sent: now, until: now + self.timing.patience });
            self.reads.push_back(now);
            self.effects.push_back(Effect::Read);
        }
        self.set_wake(now);
    }

    /// Gives up waiting for what was not answered.
    fn expire(&mut self, now: Time) {
        if self.reading.is_some_and(|reading| now >= reading.until) {
            self.reading = None;
            self.want_read = true;
        }
        self.expire_patches(now);
    }

    fn set_wake(&mut self, now: Time) {
        let mut wake = (self.beat_at, "heartbeat");
        let mut earliest = |at: Option<Time>, label| {
            if let Some(at) = at.filter(|at| *at > now && *at < wake.0) {
                wake = (at, label);
            }
        };
        earliest(Some(self.check_at), "silence");
        earliest(Some(self.close_at), "closure");
        earliest(self.reading.map(|reading| reading.until), "view unread");
        earliest(self.patches.earliest(), "patch unanswered");
        for at in self.own_times() {
            earliest(at, "evidence");
        }
        (self.wake, self.label) = wake;
    }

    /// A process that slept past its own timer knows nothing of how long others were silent: it starts to listen anew.
    fn notice_pause(&mut self, now: Time) {
        let slept = now.since(self.wake);
        if self.rules.has(Rule::SelfDoubt) && slept >= self.timing.beat {
            for peer in self.peers.values_mut() {
                peer.listen_anew(now);
            }
            self.want_read = true;
        }
    }

    fn send(&mut self, to: u64, body: Body) {
        let epoch = self.own.right.as_ref().map_or(0, |right| right.epoch);
        self.send_as(to, epoch, body);
    }

    fn send_as(&mut self, to: u64, epoch: u64, body: Body) {
        self.sequence += 1;
        let packet = Packet {
            segment: self.segment,
            node: self.id,
            boot: self.boot,
            epoch,
            sequence: self.sequence,
            version: self.version,
            body,
        };
        self.effects.push_back(Effect::Send { to, packet });
    }

    fn report(&mut self, event: Event) {
        self.effects.push_back(Effect::Report(event));
    }

    /// Takes in a version of the view, if it is newer.
    fn view(&mut self, now: Time, version: u64, view: Arc<View>, fresh: bool) {
        let sent = self.reading.filter(|_| fresh).map(|reading| reading.sent);
        if fresh {
            self.reading = None;
            self.contact = now;
        }
        let certain = fresh && self.is_certain(now);
        // What a cache gives may be older than a fence that the process before this one knew of.
        if !self.read && !fresh && self.rules.has(Rule::ReadBeforeAnswering) {
            return;
        }
        if self.rules.has(Rule::RefuseOldView) && self.is_forgetful(version, &view) {
            return self.note_restored(now, version, view, certain);
        }
        if let Some(sent) = sent.filter(|_| !self.rules.has(Rule::RegisterApi)) {
            self.own.unregistered = sent + self.timing.lease;
            self.dirty = true;
        }
        if fresh {
            self.restored = None;
        }
        if !self.is_news(version, &view, certain) {
            return;
        }
        (self.version, self.view, self.read, self.seen_at) = (version, view, true, now);
        self.restored = None;
        self.learn_peers(now);
        self.learn_own(now);
        self.learn_closings(now);
        self.check_at = now;
        self.dirty = true;
    }
}

/// The instant in nanoseconds of its clock: enough for 584 years.
fn nanos(time: Time) -> u64 {
    u64::try_from(time.0.as_nanos()).unwrap_or(u64::MAX)
}

const fn from_nanos(nanos: u64) -> Time {
    Time(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests;
