//! The other members: what is known of each, heartbeats and their answers.

use std::time::Duration;

use super::rules::Rule;
use super::{Failover, Intent, from_nanos, nanos};
use crate::core::time::Time;
use crate::core::view::{Gate, Mode, State};
use crate::wire::heartbeat::{Body, Packet, Verdict, id};

/// Another member.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) name: String,
    pub(super) epoch: u64,
    pub(super) up: bool,
    pub(super) mode: Mode,
    pub(super) seq: u64,
    pub(super) watchers: Vec<u64>,
    pub(super) rho: u32,
    pub(super) gate: Gate,
    boot: u64,
    /// The newest version of the view that its last packet knew of.
    pub(super) version: u64,
    /// Whether this node is among its watchers.
    pub(super) watched: bool,
    /// When anything of it came.
    pub(super) heard: Time,
    /// When anything came that it sent under its right, or this node began to watch it.
    pub(super) beat: Time,
    /// How old this node's newest acknowledgement was, as its last heartbeat said.
    pub(super) age: Duration,
    /// The newest epoch of it that this node acknowledged, and when it did last.
    pub(super) acknowledged: Option<(u64, Time)>,
    /// Since when it has been acknowledged without a gap.
    pub(super) answering: Time,
    /// It has said since then that its gate has shut.
    pub(super) shut: bool,
    /// The sequence of the newest heartbeat that said so: what was sent before it may come after it.
    shut_sequence: u64,
    /// When the newest heartbeat was sent that it acknowledged for our right; zero for none.
    pub(super) answered: Time,
    /// The newest epoch of it that is known to be fenced, and since when.
    pub(super) fenced: Option<(u64, Time)>,
    /// The newest epoch of it that it has given up.
    pub(super) released: u64,
    /// When its registration for a restart was seen.
    pub(super) grace: Time,
    pub(super) suspected: Option<Time>,
    pub(super) votes: Vec<(u64, Time)>,
    pub(super) asked: Time,
}

impl Peer {
    fn new(now: Time, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            epoch: 0,
            up: false,
            mode: Mode::Peers,
            seq: 0,
            watchers: Vec::new(),
            rho: 0,
            gate: Gate::None,
            boot: 0,
            version: 0,
            watched: false,
            heard: Time::ZERO,
            beat: now,
            age: Duration::ZERO,
            acknowledged: None,
            answering: now,
            shut: false,
            shut_sequence: 0,
            answered: Time::ZERO,
            fenced: None,
            released: 0,
            grace: now,
            suspected: None,
            votes: Vec::new(),
            asked: Time::ZERO,
        }
    }

    pub(super) fn is_fenced(&self, epoch: u64) -> bool {
        self.fenced.is_some_and(|(fenced, _)| fenced >= epoch)
    }

    pub(super) fn note_fence(&mut self, epoch: u64, now: Time) {
        if !self.is_fenced(epoch) {
            self.fenced = Some((epoch, now));
        }
    }

    pub(super) fn listen_anew(&mut self, now: Time) {
        self.beat = self.beat.max(now);
        self.age = Duration::ZERO;
        self.answering = now;
        self.suspected = None;
        self.votes.clear();
    }
}

impl Failover {
    /// Takes the members from the view.
    pub(super) fn learn_peers(&mut self, now: Time) {
        let view = std::sync::Arc::clone(&self.view);
        self.peers.retain(|_, peer| view.members.contains_key(&peer.name));
        for (name, member) in view.members.iter().filter(|(name, _)| **name != self.me.node) {
            let peer = self.peers.entry(id(name)).or_insert_with(|| Peer::new(now, name));
            let before = (peer.epoch, peer.seq, peer.watched);
            peer.epoch = member.epoch;
            peer.up = member.state == State::Up;
            peer.mode = member.mode;
            peer.seq = member.mode_seq;
            peer.watchers = member.watchers.keys().map(|name| id(name)).collect();
            peer.rho = member.rho;
            peer.gate = member.gate;
            peer.boot = id(&member.boot_id);
            peer.watched = peer.watchers.contains(&self.id);
            if before.0 != peer.epoch {
                peer.shut = false;
            }
            if before.0 != peer.epoch || !before.2 {
                peer.listen_anew(now);
            }
            if (before.0, before.1) != (peer.epoch, peer.seq) {
                peer.grace = now;
            }
            if member.state == State::Fenced {
                peer.note_fence(member.epoch, now);
            }
        }
    }

    /// Members that are up, beside this node.
    pub(super) fn others(&self) -> impl Iterator<Item = (u64, &Peer)> {
        self.peers.iter().filter(|(_, peer)| peer.up).map(|(id, peer)| (*id, peer))
    }

    /// Whether another member that is up was heard lately.
    pub(super) fn hears_someone(&self, now: Time) -> bool {
        let lately = now - self.timing.silence();
        self.others().any(|(_, peer)| peer.heard != Time::ZERO && peer.heard >= lately)
    }

    pub(super) fn packet(&mut self, now: Time, packet: &Packet) {
        let known = self.peers.get(&packet.node).map_or(u64::MAX, |peer| peer.epoch);
        if self.restored.is_none() && (packet.version > self.version || packet.epoch > known) {
            self.want_read = true;
            self.dirty |= self.reading.is_none();
        }
        let Some(peer) = self.peers.get_mut(&packet.node) else { return };
        peer.version = packet.version;
        let was_silent = now.since(peer.heard) >= self.timing.silence();
        peer.heard = now;
        if packet.epoch == peer.epoch {
            peer.beat = now;
        }
        self.dirty |= was_silent;
        match packet.body {
            Body::Heartbeat { sent, age, shut } => self.answer(now, packet, sent, Duration::from_nanos(age), shut),
            Body::Answer { boot, epoch, sent, verdict } => {
                let ours = self.own.right.as_ref().is_some_and(|right| right.epoch == epoch);
                if ours && boot == self.boot {
                    self.answered(now, packet.node, from_nanos(sent), verdict);
                }
            }
            Body::Ask { node, epoch, fenced } => self.asked(now, packet, node, epoch, fenced),
            Body::Report { node, epoch, echo, age, suspects, fenced, shut } => {
                if suspects {
                    self.vote(now, node, epoch, packet.node);
                }
                if fenced {
                    self.reported(now, packet.node, epoch, echo, Duration::from_nanos(age), shut);
                }
            }
            Body::Released { vip: 0 } => {
                peer.released = peer.released.max(packet.epoch);
                self.dirty = true;
            }
            Body::Released { vip } => self.released(packet, vip),
        }
    }

    /// Answers a heartbeat: it is evidence for its sender only if its right is known to be up, and not to be fenced.
    fn answer(&mut self, now: Time, packet: &Packet, sent: u64, age: Duration, shut: bool) {
        let permanent = self.rules.has(Rule::FenceIsPermanent);
        let Some(peer) = self.peers.get_mut(&packet.node) else { return };
        let fenced = peer.is_fenced(packet.epoch) && permanent;
        let verdict = if packet.epoch == 0 {
            Verdict::Heard
        } else if fenced || packet.epoch < peer.epoch {
            Verdict::Over
        } else if packet.epoch == peer.epoch && packet.boot == peer.boot && (peer.up || !permanent) {
            peer.age = age;
            if shut {
                peer.shut = true;
                peer.shut_sequence = packet.sequence;
                Verdict::Heard
            } else if packet.sequence < peer.shut_sequence {
                Verdict::Heard
            } else {
                peer.shut = false;
                let lately = now - self.timing.beat * 2;
                if peer.acknowledged.is_none_or(|(epoch, at)| epoch != packet.epoch || at < lately) {
                    peer.answering = now;
                }
                peer.acknowledged = Some((packet.epoch, now));
                Verdict::Acknowledged
            }
        } else {
            // A right that the view does not show yet.
            return;
        };
        let silent = self.rules.has(Rule::DeafHolder) && age >= self.timing.silence() + self.timing.beat;
        if peer.suspected.is_some() || silent {
            self.check_at = now;
            self.dirty = true;
        }
        self.send(packet.node, Body::Answer { boot: packet.boot, epoch: packet.epoch, sent, verdict });
    }

    fn answered(&mut self, now: Time, from: u64, sent: Time, verdict: Verdict) {
        match verdict {
            Verdict::Heard => {}
            Verdict::Over => {
                self.want_read = true;
                self.lose(now);
            }
            Verdict::Acknowledged => {
                let sent = if self.rules.has(Rule::EvidenceFromSending) { sent } else { now };
                let floor = self.own.floor;
                let Some(peer) = self.peers.get_mut(&from).filter(|peer| sent > peer.answered && sent > floor) else {
                    return;
                };
                peer.answered = sent;
                if self.quorum_until() > now {
                    self.own.losses = 0;
                }
                self.set_gate(now);
            }
        }
    }

    /// Sends heartbeats to whoever watches this node's right, or may soon.
    pub(super) fn beat(&mut self, now: Time) {
        while self.beat_at <= now {
            self.beat_at = (self.beat_at + self.timing.beat).max(now);
            if self.beat_at == now {
                self.beat_at = now + self.timing.beat;
            }
        }
        self.check_at = self.check_at.min(now);
        self.look_at_peers(now);
        if self.intent == Intent::Gone {
            return;
        }
        let shut = self.own.shut || self.own.right.is_none();
        let mut targets: Vec<u64> = if self.own.right.is_some() {
            let footings = std::iter::once(&self.own.registered).chain(&self.own.pending).chain(&self.own.desired);
            footings.flat_map(|footing| footing.watchers.iter().copied()).collect()
        } else {
            self.others().map(|(id, _)| id).collect()
        };
        targets.sort_unstable();
        targets.dedup();
        for to in targets {
            // A process that has just adopted a right is not deaf because nobody answered it yet.
            let answered = self.peers.get(&to).map_or(Time::ZERO, |peer| peer.answered).max(self.own.since);
            let age = nanos(Time(now.since(answered)));
            self.send(to, Body::Heartbeat { sent: nanos(now), age, shut });
        }
        self.repeat_release();
    }
}
