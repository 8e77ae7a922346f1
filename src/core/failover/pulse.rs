//! How it stands with a machine: for people, metrics and explanations; nothing decides by it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::io::FOREVER;
use super::{Failover, VipState};
use crate::core::time::{Time, millis};
use crate::core::view::{Mode, Right};
use crate::wire::heartbeat::{Body, Packet, id};

/// The state of one node's part in a segment at an instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pulse {
    /// The right under which the node acts.
    pub right: Option<Right>,
    /// What the right rests on.
    pub mode: Mode,
    /// The version of the view that it knows.
    pub view_version: u64,
    /// The time left until the gate shuts; `None` for a gate that never does.
    #[serde(with = "millis::option")]
    pub gate_left: Option<Duration>,
    /// The age of the newest heartbeat that a quorum of its watchers acknowledged; `None` where none counts.
    #[serde(with = "millis::option")]
    pub evidence_age: Option<Duration>,
    /// How long it takes, at most, until what a lost peer in mode peers held is taken over: its gate time, stretched by
    /// the clocks' error, with the margin.
    #[serde(with = "millis")]
    pub takeover: Duration,
    /// After which silence a peer is suspected.
    #[serde(with = "millis")]
    pub suspicion: Duration,
    /// What the gate lets pass, by uid.
    pub vips: BTreeMap<String, VipState>,
    /// The other members that are up, by name.
    pub peers: BTreeMap<String, PeerPulse>,
}

/// What a node knows of another.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerPulse {
    /// How long it has been silent; `None` if it was never heard.
    #[serde(with = "millis::option")]
    pub silent: Option<Duration>,
    /// Whether it is suspected to be gone.
    pub suspected: bool,
    /// The last round trip of a heartbeat.
    #[serde(with = "millis::option")]
    pub rtt: Option<Duration>,
    /// Heartbeats sent to it.
    pub sent: u64,
    /// Those that it answered.
    pub answered: u64,
}

/// Heartbeats and their answers, counted where packets go out and come in.
#[derive(Debug, Clone, Default)]
pub struct Beats {
    peers: BTreeMap<u64, PeerPulse>,
    least: Option<Duration>,
}

impl Beats {
    /// A packet goes to the member with this id.
    pub fn sent(&mut self, to: u64, packet: &Packet) {
        if matches!(packet.body, Body::Heartbeat { .. }) {
            self.peers.entry(to).or_default().sent += 1;
        }
    }

    /// An authentic packet came.
    pub fn received(&mut self, now: Time, packet: &Packet) {
        if let Body::Answer { sent, .. } = packet.body {
            let peer = self.peers.entry(packet.node).or_default();
            peer.answered += 1;
            peer.rtt = Some(now.since(Time(Duration::from_nanos(sent))));
        }
    }

    /// Notes how much time is left until the gate of a machine with a right shuts.
    pub fn note_margin(&mut self, now: Time, machine: &Failover) {
        if machine.right().is_some() && machine.gate() != FOREVER {
            let left = machine.gate().since(now);
            self.least = Some(self.least.map_or(left, |least| least.min(left)));
        }
    }

    /// The least of what was noted since the last time that it was asked for.
    pub fn take_margin(&mut self) -> Option<Duration> {
        self.least.take()
    }

    /// The machine's pulse with what was counted.
    #[must_use]
    pub fn pulse(&self, now: Time, machine: &Failover) -> Pulse {
        let mut pulse = machine.pulse(now);
        for (name, peer) in &mut pulse.peers {
            if let Some(PeerPulse { rtt, sent, answered, .. }) = self.peers.get(&id(name)) {
                (peer.rtt, peer.sent, peer.answered) = (*rtt, *sent, *answered);
            }
        }
        pulse
    }
}

impl Failover {
    /// How it stands now.
    #[must_use]
    pub fn pulse(&self, now: Time) -> Pulse {
        let peer = |peer: &super::Peer| PeerPulse {
            silent: (peer.heard != Time::ZERO).then(|| now.since(peer.heard)),
            suspected: peer.suspected.is_some(),
            ..PeerPulse::default()
        };
        Pulse {
            right: self.own.right.clone(),
            mode: self.own.registered.mode,
            view_version: self.version,
            gate_left: (self.own.deadline != FOREVER).then(|| self.own.deadline.since(now)),
            evidence_age: self.newest_evidence(&self.own.registered.watchers).map(|sent| now.since(sent)),
            takeover: self.timing.wait(self.timing.gate, self.timing.rho, self.rules),
            suspicion: self.timing.silence(),
            vips: self.vips.iter().map(|(uid, held)| (uid.clone(), held.state)).collect(),
            peers: self.others().map(|(_, other)| (other.name.clone(), peer(other))).collect(),
        }
    }
}
