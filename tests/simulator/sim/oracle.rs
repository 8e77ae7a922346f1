//! The properties, checked on what really is so.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipkeeper::core::failover::{FOREVER, Purpose, Timing, VipState};
use vipkeeper::core::view::{Mode, State, View};
use vipkeeper::wire::heartbeat::{Body, Packet, Verdict};

use crate::sim::kernel::address_of;
use crate::sim::world::{Event, MS, World};

/// For so long after two parts of a segment have found each other again, both may still claim (a heartbeat and its
/// answer, on a rough network).
const HEALING: u64 = 600 * MS;

/// The properties of DESIGN.md 5.7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Property {
    S1,
    S2,
    S3,
    S4,
    S5,
    S6,
    S7,
    S8,
    S9,
    L1,
    L2,
    L3,
    L4,
    L5,
    L6,
}

/// A property that does not hold, and how.
#[derive(Debug, Clone)]
pub struct Violation {
    pub property: Property,
    pub at: u64,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {:.3} ms: {}", self.property, self.at as f64 / 1e6, self.what)
    }
}

/// What is remembered for checking.
#[derive(Debug, Clone)]
pub struct Oracle {
    pub violation: Option<Violation>,
    pub fences: usize,
    /// Set of any VIP's state, and assignments that changed hands.
    pub sets: usize,
    pub moves: usize,
    /// Faults that may have caused what is seen, by the time they ended.
    pub addresses: usize,
}

impl Oracle {
    pub fn new(addresses: usize, _nodes: usize) -> Self {
        Self { violation: None, fences: 0, sets: 0, moves: 0, addresses }
    }
}

impl World {
    pub fn fail(&mut self, property: Property, what: impl FnOnce() -> String) {
        if self.oracle.violation.is_none() {
            self.oracle.violation = Some(Violation { property, at: self.now, what: what() });
        }
    }

    /// Who answers for an address now.
    pub fn claimants(&self, address: usize) -> Vec<usize> {
        let claims = |node: &usize| self.claims(*node, address);
        (0..self.nodes.len()).filter(claims).collect()
    }

    fn claims(&self, node: usize, address: usize) -> bool {
        let it = &self.nodes[node];
        it.powered && it.pauses == 0 && it.kernel.claims(address, it.clock.show(self.now)).is_some()
    }

    /// S1: whoever begins to claim is the only one.
    pub fn check_address(&mut self, node: usize, address: usize) {
        for other in 0..self.nodes.len() {
            if other != node && self.claims(other, address) && !self.is_excused(node, other, address) {
                self.fail(Property::S1, || format!("n{node} and n{other} both claim address {address}"));
            }
        }
    }

    /// S1': a VIP that is taken over at the fence has two claimants for no longer than its former right lasts.
    fn overlaps_briefly(&mut self, a: usize, b: usize, address: usize) -> bool {
        let since = |node: usize| {
            self.nodes[node]
                .kernel
                .entries
                .iter()
                .filter(|entry| entry.address == address)
                .map(|entry| entry.since)
                .max()
        };
        let begun = since(a).max(since(b)).unwrap_or(0);
        let modes = self.store.view.fences.values().map(|fence| fence.mode);
        let Timing { gate, lease, grace, margin, .. } = self.timing;
        let longest = modes.map(|mode| match mode {
            Mode::Peers | Mode::Solo => gate,
            Mode::Api => lease,
            Mode::Grace => grace,
        });
        let bound = longest.max().unwrap_or(gate) * 3 / 2 + margin + Duration::from_millis(300);
        let until = begun + bound.as_nanos() as u64;
        if self.now < until {
            self.push(until + 1, Event::Look);
        }
        self.now <= until
    }

    /// Two claimants are excused if a machine's clock stood still, or if one took over because too few watchers
    /// answered and the two cannot, or could not until just now, hear each other.
    fn is_excused(&mut self, a: usize, b: usize, address: usize) -> bool {
        let stood = [a, b].iter().any(|node| self.nodes[*node].excused_until >= self.now);
        if self.scenario.fast & (1 << address) != 0 && self.overlaps_briefly(a, b, address) {
            return true;
        }
        let fallback = |node: usize| {
            let it = &self.nodes[node];
            it.kernel.claims(address, it.clock.show(self.now)).is_some_and(|entry| entry.fallback)
        };
        let parted = !self.net.joined(a, b)
            || (self.net.parted[a][b] > 0 && self.now < self.net.parted[a][b] + HEALING)
            || self.net.loss > 0;
        stood || ((fallback(a) || fallback(b)) && parted)
    }

    pub fn check_claim(&mut self, node: usize, uid: &str, state: VipState) {
        self.oracle.sets += 1;
        let it = &self.nodes[node];
        let given = it.machine.as_ref().is_some_and(|machine| {
            let (_, view) = machine.current_view();
            machine
                .right()
                .is_some_and(|right| view.assign.get(uid).is_some_and(|entry| entry.holder.as_ref() == Some(right)))
        });
        if !given && state == VipState::Claim {
            self.fail(Property::S5, || format!("n{node} claims {uid}, which its view does not give it"));
        }
        if self.claims(node, address_of(uid)) {
            self.check_address(node, address_of(uid));
        }
    }

    /// A gate that is open may make claims true; S6: it stays open only as long as the evidence allows.
    pub fn check_gate(&mut self, node: usize) {
        let it = &self.nodes[node];
        let clock = it.clock.show(self.now);
        let deadline = it.kernel.deadline;
        let claimed: Vec<usize> = it
            .kernel
            .entries
            .iter()
            .filter(|entry| it.kernel.answers(entry) && it.kernel.is_open(clock))
            .map(|entry| entry.address)
            .collect();
        let registered = self.store.view.members.get(&it.name);
        let mode = registered.filter(|member| member.state == State::Up).map(|member| member.mode);
        let limit = match mode {
            Some(Mode::Peers) => it.beat + self.timing.gate,
            Some(Mode::Api) => clock + self.timing.lease,
            Some(Mode::Grace) => clock + self.timing.grace,
            Some(Mode::Solo) | None => FOREVER,
        };
        let settled = it.machine.as_ref().is_some_and(|machine| {
            let (_, view) = machine.current_view();
            view.members.get(&it.name) == registered
        });
        if deadline > limit && settled {
            self.fail(Property::S6, || format!("n{node} opens its gate until {deadline}, evidence allows {limit}"));
        }
        for address in claimed {
            self.check_address(node, address);
        }
    }

    pub fn check_packet(&mut self, node: usize, to: u64, packet: &Packet) {
        let Some(machine) = self.nodes[node].machine.as_ref() else { return };
        match packet.body {
            Body::Answer { epoch, verdict: Verdict::Acknowledged, .. } if machine.knows_fence(to, epoch) => {
                self.fail(Property::S2, || format!("n{node} acknowledges epoch {epoch}, which it knows to be fenced"));
            }
            Body::Report { epoch, age, .. } => {
                let known = self.nodes[node].acknowledged.iter().find(|(known, _)| *known == epoch);
                let Some((_, at)) = known.copied() else { return };
                let passed = self.now - at;
                // The watcher's clock may be fast by the bound.
                if age > passed + passed / 1_000 * u64::from(self.timing.rho) / 1_000 + MS {
                    self.fail(Property::S8, || {
                        format!("n{node} vouches for {age} ns of silence, but acknowledged {passed} ns ago")
                    });
                }
            }
            Body::Released { vip: 0 } => self.check_released(node, packet.epoch),
            _ => {}
        }
    }

    /// RELEASED is true when it is said.
    fn check_released(&mut self, node: usize, epoch: u64) {
        let it = &self.nodes[node];
        let over = it.machine.as_ref().is_some_and(|machine| machine.right().is_none_or(|right| right.epoch > epoch));
        if over && it.machine.as_ref().is_some_and(|machine| machine.right().is_none()) {
            let clock = it.clock.show(self.now);
            let claimed = it.kernel.entries.iter().find(|entry| it.kernel.claims(entry.address, clock).is_some());
            if let Some(address) = claimed.map(|entry| entry.address) {
                self.fail(Property::S1, || format!("n{node} says RELEASED and still claims address {address}"));
            }
        }
    }

    /// S3, S4, S7, L6 and the invariants of the view, on each commit.
    pub fn check_commit(&mut self, before: &View, by: Option<(usize, Purpose)>) {
        let after = std::sync::Arc::clone(&self.store.view);
        if by.is_none_or(|(_, purpose)| purpose != Purpose::Restore) {
            self.check_holders(before, &after);
        }
        for (victim, fence) in after.fences.iter().filter(|(victim, _)| !before.fences.contains_key(*victim)) {
            self.oracle.fences += 1;
            if by.is_some_and(|(_, purpose)| purpose == Purpose::Restore) {
                continue;
            }
            if before.up(&fence.by).is_err() {
                self.fail(Property::S4, || format!("{victim} is fenced by {}, which is not up", fence.by));
            }
            self.check_reason(&victim.node);
        }
        let changed = by.filter(|(_, purpose)| matches!(purpose, Purpose::ChangeMode | Purpose::Register));
        if let Some((node, _)) = changed {
            self.check_registration(node, before, &after);
        }
    }

    fn check_holders(&mut self, before: &View, after: &View) {
        for (uid, entry) in &after.assign {
            let former = before.assign.get(uid);
            if former == Some(entry) {
                continue;
            }
            if let Some(holder) = entry.holder.as_ref().filter(|holder| after.up(holder).is_err()) {
                self.fail(Property::S3, || format!("{uid} is given to {holder}, which is not up"));
            }
            let Some(old) = former.and_then(|former| former.holder.as_ref()) else { continue };
            if entry.holder.as_ref() == Some(old) {
                let gone = former.into_iter().flat_map(|former| former.after.keys());
                for right in gone.filter(|right| *right != old && !entry.after.contains_key(*right)) {
                    self.check_not_claimed(address_of(uid), &right.node, right.epoch);
                }
                continue;
            }
            self.oracle.moves += 1;
            let renewed = entry.holder.as_ref().is_some_and(|new| new.node == old.node && new.epoch > old.epoch);
            if !renewed && !entry.after.contains_key(old) && !after.is_over(old) {
                self.fail(Property::S3, || format!("{uid} leaves {old}, and nobody waits for it"));
            }
        }
        for (uid, entry) in before.assign.iter().filter(|(uid, _)| !after.assign.contains_key(*uid)) {
            let rights = entry.holder.iter().chain(entry.after.keys());
            for right in rights {
                self.check_not_claimed(address_of(uid), &right.node, right.epoch);
            }
        }
    }

    /// What was taken from `after`, or freed, is not claimed under that right any more.
    fn check_not_claimed(&mut self, address: usize, node: &str, epoch: u64) {
        let Some(node) = self.nodes.iter().position(|other| other.name == node) else { return };
        let acts = self.nodes[node].machine.as_ref().and_then(|machine| machine.right()).map(|right| right.epoch);
        let excused = self.nodes[node].excused_until >= self.now
            || self.net.parted[node].iter().any(|at| *at > 0)
            || self.net.loss > 0;
        if acts == Some(epoch) && self.claims(node, address) && !excused {
            self.fail(Property::S5, || format!("epoch {epoch} counts as closed, but n{node} claims address {address}"));
        }
    }

    /// S7: what is registered allows what the gate does. Solo is for who is alone.
    fn check_registration(&mut self, node: usize, before: &View, after: &View) {
        let it = &self.nodes[node];
        let (Some(old), Some(new)) = (before.members.get(&it.name), after.members.get(&it.name)) else { return };
        let clock = it.clock.show(self.now);
        let deadline = it.kernel.deadline;
        let claims = it.kernel.is_open(clock) && it.kernel.entries.iter().any(|entry| entry.state == VipState::Claim);
        let unbound = it.machine.as_ref().is_some_and(|machine| machine.right().is_none());
        if new.mode == Mode::Peers && old.epoch == new.epoch && deadline > clock + self.timing.gate {
            self.fail(Property::S7, || {
                format!("n{node} is registered with its peers, its gate opens until {deadline}")
            });
        }
        if old.epoch != new.epoch && old.boot_id == new.boot_id && claims && unbound {
            self.fail(Property::S7, || format!("n{node} takes a new epoch with an open gate"));
        }
        if new.mode == Mode::Solo && after.up_members().count() > 1 {
            self.fail(Property::S1, || format!("n{node} is solo beside others"));
        }
    }

    /// L6: nobody is fenced without a fault.
    fn check_reason(&mut self, victim: &str) {
        let node = self.nodes.iter().position(|other| other.name == victim).unwrap();
        let ago = |at: u64| at > 0 && self.now < at + 5_000 * MS;
        let network = self.net.loss > 0 || self.net.parted[node].iter().any(|at| ago(*at));
        let cut = (0..=self.nodes.len()).any(|other| !self.net.joined(node, other));
        // Who does not know of its own right, for the API does not tell it, cannot be heard under it.
        let acts = self.nodes[node].machine.as_ref().is_some_and(|machine| machine.right().is_some());
        let stands = self.nodes[node].runs() && self.nodes[node].restart.is_none() && acts;
        // Whose clock stood still does not know that it was away.
        let stood = self.nodes.iter().any(|other| other.excused_until >= self.now);
        if stands && !stood && !ago(self.nodes[node].faulty_until) && !network && !cut {
            self.fail(Property::L6, || format!("n{node} is fenced, and nothing was wrong with it"));
        }
    }

    /// Whoever claims now is alone, also where two parts have found each other.
    pub fn look_everywhere(&mut self) {
        for address in 0..self.oracle.addresses {
            for node in self.claimants(address) {
                self.check_address(node, address);
            }
        }
    }

    /// Asks for a look when the excuse of a cut has run out.
    pub fn look_after_healing(&mut self) {
        self.push(self.now + HEALING + MS, Event::Look);
    }

    /// L5: each address has one claimant, and nothing is left to be done.
    pub fn is_healed(&self) -> bool {
        let settled = self.store.view.assign.values().all(|entry| entry.after.is_empty() && !entry.releasing);
        let anybody = self.nodes.iter().any(|node| node.runs());
        !anybody || (settled && (0..self.oracle.addresses).all(|address| self.claimants(address).len() == 1))
    }
}
