//! From silence to suspicion, from suspicion to a fence.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Failover;
use super::io::{Event, FOREVER, Purpose};
use super::rules::Rule;
use crate::core::placement::{self, Candidate, Load};
use crate::core::time::Time;
use crate::core::view::{Gate, Mode, Right, closing_count};
use crate::wire::heartbeat::{Body, Packet};

impl Failover {
    /// After which silence this node suspects another: longer while its own evidence is late, for then the fault may be
    /// its own.
    fn patience_with_others(&self, now: Time) -> Duration {
        let silence = self.timing.silence();
        // One of two whose own acknowledgements stop with the other's heartbeats asks its gateway whose fault it is.
        let sound = self.others().nth(1).is_none() && self.own.registered.mode == Mode::Api && self.hears_gateway(now);
        if sound || !self.rules.has(Rule::SelfDoubt) {
            return silence;
        }
        silence + self.evidence_age(now).saturating_sub(self.timing.beat * 2).min(silence)
    }

    /// Looks at the silence of everyone that this node watches.
    pub(super) fn look_at_peers(&mut self, now: Time) {
        let patience = self.patience_with_others(now);
        let mut next = FOREVER;
        let watched: Vec<u64> = self.others().filter(|(_, peer)| peer.watched).map(|(id, _)| id).collect();
        for id in watched {
            next = next.min(self.look_at_peer(now, id, patience));
        }
        self.check_at = next;
    }

    /// Looks at one, and says when to look again.
    fn look_at_peer(&mut self, now: Time, id: u64, patience: Duration) -> Time {
        let Some(peer) = self.peers.get(&id) else { return FOREVER };
        // This node has acknowledged it all the while, and it has not heard so.
        let long = patience + self.timing.beat;
        let deaf = peer.age >= long && now.since(peer.answering) >= long && self.rules.has(Rule::DeafHolder);
        let silent_at = match peer.mode {
            Mode::Solo => return FOREVER,
            Mode::Grace if self.rules.has(Rule::GraceInClosure) => {
                (peer.beat + patience).max(peer.grace + self.timing.wait(self.timing.grace, peer.rho, self.rules))
            }
            Mode::Grace | Mode::Peers | Mode::Api if deaf => now,
            Mode::Grace | Mode::Peers | Mode::Api => peer.beat + patience,
        };
        let stubborn = peer.suspected.is_some() && !self.rules.has(Rule::Refutation);
        if now < silent_at && !stubborn {
            self.refute(id);
            return silent_at;
        }
        self.suspect(now, id);
        let again = self.consider_fence(now, id);
        again.min(now + self.timing.beat)
    }

    fn refute(&mut self, id: u64) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.votes.clear();
        if peer.suspected.take().is_some() {
            let name = peer.name.clone();
            self.report(Event::Refuted(name));
        }
    }

    /// Tells the other watchers, again at each beat: an ask from a watcher is its vote.
    fn suspect(&mut self, now: Time, id: u64) {
        let beat = self.timing.beat;
        let own = self.id;
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let news = peer.suspected.is_none();
        peer.suspected.get_or_insert(now);
        if now.since(peer.asked) < beat && !news {
            return;
        }
        peer.asked = now;
        let ask = Body::Ask { node: id, epoch: peer.epoch, fenced: false };
        let others: Vec<u64> = peer.watchers.iter().copied().filter(|watcher| *watcher != own).collect();
        let name = peer.name.clone();
        if news {
            self.report(Event::Suspected(name));
        }
        for to in others {
            self.send(to, ask);
        }
    }

    pub(super) fn vote(&mut self, now: Time, node: u64, epoch: u64, from: u64) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if epoch != peer.epoch || !peer.watchers.contains(&from) {
            return;
        }
        peer.votes.retain(|(voter, _)| *voter != from);
        peer.votes.push((from, now));
        if peer.suspected.is_some() {
            self.check_at = now;
            self.dirty = true;
        }
    }

    /// Somebody asks about a right: ours, or one that we watch.
    pub(super) fn asked(&mut self, now: Time, packet: &Packet, node: u64, epoch: u64, fenced: bool) {
        if node == self.id {
            let ours = self.own.right.as_ref().is_some_and(|right| right.epoch == epoch);
            if ours && fenced {
                self.want_read = true;
                self.lose(now);
            } else if !ours && self.read {
                self.send_as(packet.node, epoch, Body::Released { vip: 0 });
            }
            return;
        }
        if !fenced {
            self.vote(now, node, epoch, packet.node);
        }
        let restarted = now.since(self.started);
        let bound = if self.rules.has(Rule::UptimeBound) { restarted } else { now.0 };
        let Some(peer) = self.peers.get_mut(&node).filter(|peer| peer.epoch <= epoch || peer.is_fenced(epoch)) else {
            return;
        };
        if fenced && !peer.is_fenced(epoch) {
            peer.note_fence(epoch, now);
            self.dirty = true;
        }
        // Once a later epoch is acknowledged, an earlier one is not any more; and a fence ends all earlier ones.
        let age = peer.acknowledged.map_or(bound, |(_, at)| now.since(at));
        let report = Body::Report {
            node,
            epoch,
            echo: packet.sequence,
            age: u64::try_from(age.as_nanos()).unwrap_or(u64::MAX),
            suspects: peer.suspected.is_some() && peer.epoch == epoch,
            fenced: peer.is_fenced(epoch),
            shut: peer.shut && peer.epoch == epoch,
        };
        self.send(packet.node, report);
    }

    /// Fences a suspected member if there are grounds to; says when to look again.
    fn consider_fence(&mut self, now: Time, id: u64) -> Time {
        let Some((victim, at)) = self.grounds(now, id) else { return FOREVER };
        if now < at {
            return at;
        }
        if self.patches.fencing() {
            return FOREVER;
        }
        let Some(by) = self.own.right.clone() else { return FOREVER };
        let mut successors = self.successors(now, &victim);
        successors.retain(|_, right| right.node != victim.node);
        if let Ok(patch) = self.view.fence(&victim, &by, &successors) {
            let patch = self.choose_victim(&victim, patch);
            self.send_patch(now, Purpose::Fence, patch);
        }
        now + self.timing.beat
    }

    /// Whose right may be taken, and from when on.
    fn grounds(&self, now: Time, id: u64) -> Option<(Right, Time)> {
        let peer = self.peers.get(&id)?;
        let since = peer.suspected?;
        let victim = Right::new(&peer.name, peer.epoch);
        let recent = now - self.timing.beat * 2;
        let voters = |after: Time| peer.votes.iter().filter(move |(_, at)| *at >= after);
        let others = peer.watchers.iter().filter(|watcher| **watcher != self.id);
        let holds = self.own.right.is_some() && self.own.deadline > now;
        let api = self.own.registered.mode == Mode::Api;
        let sole = peer.watchers.as_slice() == [self.id];
        if sole && self.others().nth(1).is_none() {
            // One of two: the only watcher waits until its own silence has closed the victim's right.
            let closed = self.timing.wait(self.timing.gate + self.timing.lateness(peer.gate), peer.rho, self.rules);
            let last = peer.acknowledged.filter(|(epoch, _)| *epoch == peer.epoch).map_or(self.started, |(_, at)| at);
            // It has said that its gate has shut, and was not acknowledged since.
            let at = if peer.shut { now } else { last + closed };
            return (holds && api && peer.mode == Mode::Peers && self.hears_gateway(now)).then_some((victim, at));
        }
        let need = if self.rules.has(Rule::Corroboration) { closing_count(peer.watchers.len()) } else { 1 };
        let quorum = self.quorum_until() > now || !self.rules.has(Rule::OwnQuorum);
        if voters(recent).count() + 1 >= need && quorum {
            // Whoever comes first in the ring of voters goes first, so that mostly one patch is sent.
            let rank = voters(recent).filter(|(voter, _)| *voter < self.id).count();
            return Some((victim, since + self.timing.beat * u32::try_from(rank).unwrap_or(u32::MAX) / 4));
        }
        let gone = |watcher: &&u64| {
            let voted = voters(recent).any(|(voter, _)| voter == *watcher);
            voted || self.peers.get(watcher).is_none_or(|other| now.since(other.heard) >= self.timing.mass)
        };
        let mass = holds && others.clone().all(|watcher| gone(&watcher)) && self.rules.has(Rule::MassFailure);
        mass.then(|| (victim, peer.beat.max(since) + self.timing.mass))
    }

    /// Who gets what the victim has: the same choice as the controller's, among those that were heard just now.
    pub(super) fn successors(&self, now: Time, victim: &Right) -> BTreeMap<String, Right> {
        let lately = now - self.timing.beat * 3;
        let view = &self.view;
        let alive = |name: &str| {
            name == self.me.node
                || self.others().any(|(_, peer)| {
                    let known = peer.name == name && peer.gate != Gate::None;
                    known && peer.heard >= lately && peer.suspected.is_none()
                })
        };
        let candidates: Vec<Candidate> = view
            .up_members()
            .filter(|(name, member)| **name != victim.node && !member.draining && alive(name))
            .map(|(name, _)| {
                let known = self.placement.nodes.get(name).cloned();
                known.unwrap_or_else(|| Candidate { name: name.clone(), ..Candidate::default() })
            })
            .collect();
        let mut load = Load::new();
        for right in view.assign.values().filter_map(|entry| entry.holder.as_ref()) {
            *load.entry(right.node.clone()).or_default() += 1;
        }
        let vips = view.held_by(victim).map(|(uid, _)| {
            let known = self.placement.vips.get(uid).cloned();
            known.unwrap_or_else(|| placement::Vip { uid: uid.clone(), ..placement::Vip::default() })
        });
        let chosen = placement::successors(vips, &candidates, &load);
        chosen.into_iter().filter_map(|(uid, node)| Some((uid, view.right_of(node)?))).collect()
    }

    /// Only without [`Rule::NoSelfSuccession`]: gives everything back to the victim.
    fn choose_victim(&self, victim: &Right, mut patch: crate::core::view::Patch) -> crate::core::view::Patch {
        if !self.rules.has(Rule::NoSelfSuccession) {
            for op in &mut patch.0 {
                if let crate::core::view::Op::Replace { path, value } = op
                    && path.starts_with("/assign/")
                    && let Some(entry) = value.as_object_mut()
                {
                    entry.insert("holder".to_owned(), victim.to_string().into());
                }
            }
        }
        patch
    }
}
