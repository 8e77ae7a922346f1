//! This node's own right: its evidence and its gate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::footing::Footing;
use super::io::{Effect, Event, FOREVER, VipState};
use super::rules::Rule;
use super::{Failover, Intent};
use crate::core::time::Time;
use crate::core::view::{Member, Mode, Right, State, quorum};
use crate::wire::heartbeat::Body;

/// What is known of this node's own right.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub(super) right: Option<Right>,
    /// The newest epoch that was given up.
    pub(super) released: u64,
    pub(super) registered: Footing,
    /// Registrations that were sent and may yet come about.
    pub(super) pending: Vec<Footing>,
    /// The registration that the view calls for.
    pub(super) desired: Option<Footing>,
    /// A former process may have sent registrations that come about until `modeSeq` is above this.
    pub(super) unsettled: Option<u64>,
    /// Since when this process has the right: nobody can have answered it before.
    pub(super) since: Time,
    /// Heartbeats sent up to here are no evidence.
    pub(super) floor: Time,
    /// The deadline that a former process left, under the first registration that this one saw.
    adopted: Time,
    /// What the gate was last set to.
    pub(super) deadline: Time,
    /// The gate has shut, nobody is heard, and the heartbeats say so.
    pub(super) shut: bool,
    /// Since when nobody is heard.
    pub(super) alone_since: Option<Time>,
    /// Since when it has no right and does not hear enough others to take one.
    pub(super) apart_since: Option<Time>,
    /// How often its right was lost since it was last acknowledged by a quorum.
    pub(super) losses: u32,
    /// This process has asked for an epoch.
    pub(super) registering: bool,
    pub(super) renew_at: Time,
    pub(super) retry_at: Time,
    /// Only without [`Rule::RegisterApi`].
    pub(super) unregistered: Time,
    /// Only without [`Rule::ReleasedAfterShut`].
    shut_later: bool,
}

impl Own {
    pub(super) fn new(gate: Time) -> Self {
        Self {
            right: None,
            released: 0,
            registered: Footing::new(Mode::Peers, 0, &BTreeMap::new(), Time::ZERO),
            pending: Vec::new(),
            desired: None,
            unsettled: None,
            since: Time::ZERO,
            floor: Time::ZERO,
            adopted: gate,
            deadline: gate,
            shut: false,
            alone_since: None,
            apart_since: None,
            losses: 0,
            registering: false,
            renew_at: Time::ZERO,
            retry_at: Time::ZERO,
            unregistered: Time::ZERO,
            shut_later: false,
        }
    }
}

impl Failover {
    /// What the view says of this node.
    pub(super) fn learn_own(&mut self, now: Time) {
        let view = Arc::clone(&self.view);
        let member = view.members.get(&self.me.node);
        let up = member.filter(|member| member.state == State::Up);
        match (&self.own.right, up) {
            (Some(right), Some(member)) if member.epoch == right.epoch => {
                if member.mode_seq != self.own.registered.seq {
                    let footing = Footing::of(member);
                    let known = self.own.pending.iter().find(|pending| pending.is(&footing)).cloned();
                    self.settle(known.unwrap_or(footing));
                }
            }
            (Some(_), _) => self.lose(now),
            (None, Some(member)) if self.may_be_released(member) => {
                self.own.released = member.epoch;
                self.shut_all(now);
            }
            (None, Some(member)) if self.is_ours(&member.boot_id) && member.epoch > self.own.released => {
                let sent = self.own.registering;
                self.own.right = Some(Right::new(&self.me.node, member.epoch));
                self.own.since = now;
                self.own.registered = Footing::of(member);
                self.own.unsettled = (!sent && member.mode != Mode::Grace).then_some(member.mode_seq);
                self.own.pending.clear();
                self.own.shut = false;
                for peer in self.peers.values_mut() {
                    peer.answered = Time::ZERO;
                }
            }
            (None, _) => self.shut_all(now),
        }
        self.own.desired =
            self.own.right.as_ref().map(|_| {
                Footing::new(Mode::Peers, self.own.registered.seq, &view.watchers_for(&self.me.node), Time::ZERO)
            });
        self.own.retry_at = now;
        self.set_gate(now);
    }

    /// Whether the process before may have said that this right is over, or asked the view to say so. It shuts the gate
    /// first: a deadline that is still there, even one that has run out, says that it did not.
    fn may_be_released(&self, member: &Member) -> bool {
        let adopts = !self.own.registering && member.boot_id == self.me.boot_id && member.epoch > self.own.released;
        adopts && self.own.adopted == Time::ZERO && self.rules.has(Rule::ShutTakesEpoch)
    }

    fn is_ours(&self, boot_id: &str) -> bool {
        boot_id == self.me.boot_id || !self.rules.has(Rule::BootTakesEpoch)
    }

    /// A registration is known to be in the view: what was sent against an older one can come about no more.
    pub(super) fn settle(&mut self, footing: Footing) {
        let own = &mut self.own;
        if own.unsettled.is_some_and(|seq| footing.seq > seq) {
            own.unsettled = None;
        }
        // The deadline of a former process rests on the registration that it had.
        if (footing.mode, &footing.names) != (own.registered.mode, &own.registered.names) {
            own.adopted = Time::ZERO;
        }
        own.pending.retain(|pending| pending.seq > footing.seq);
        own.registered = footing;
    }

    /// The send time of the newest heartbeat that a quorum of these watchers acknowledged.
    pub(super) fn newest_evidence(&self, watchers: &[u64]) -> Option<Time> {
        let count = watchers.len();
        let need = if self.rules.has(Rule::SmallQuorum) { quorum(count) } else { count / 2 + 1 };
        if count == 0 || need > count {
            return None;
        }
        let times = || watchers.iter().map(|id| self.peers.get(id).map_or(Time::ZERO, |peer| peer.answered));
        // The newest that so many are not older than: without a list, for this is asked at each packet.
        let backed = |time: &Time| times().filter(|other| other >= time).count() >= need;
        times().filter(|time| *time != Time::ZERO && backed(time)).max()
    }

    /// How old the evidence is.
    pub(super) fn evidence_age(&self, now: Time) -> Duration {
        self.newest_evidence(&self.own.registered.watchers).map_or(Duration::ZERO, |sent| now.since(sent))
    }

    /// Until when the acknowledgements of these watchers last.
    fn peers_until(&self, watchers: &[u64]) -> Time {
        self.newest_evidence(watchers).map_or(Time::ZERO, |sent| sent + self.own_time(self.timing.gate))
    }

    /// Until when the quorum of this node's watchers lets it hold.
    pub(super) fn quorum_until(&self) -> Time {
        self.peers_until(&self.own.registered.watchers)
    }

    /// Until when every registration that may be in the view lets this node hold.
    fn deadline(&self) -> Time {
        let own = &self.own;
        // Nobody else can claim what belongs to who is alone.
        let cut = !self.carrier && own.registered.mode != Mode::Solo;
        if own.right.is_none() || self.intent == Intent::Leave || cut {
            return Time::ZERO;
        }
        let allows = |footing: &Footing| {
            let same = (footing.mode, &footing.names) == (own.registered.mode, &own.registered.names);
            let adopted = if same { own.adopted } else { Time::ZERO };
            footing.allows(self.peers_until(&footing.watchers).max(own.unregistered)).max(adopted)
        };
        let registered = if own.unsettled.is_some() { own.adopted } else { allows(&own.registered) };
        let pending = own.pending.iter().filter(|_| self.rules.has(Rule::ShrinkFirst));
        let deadline = pending.map(allows).fold(registered, Time::min);
        if self.rules.has(Rule::HoldThroughOutage) { deadline } else { deadline.min(self.contact + self.timing.lease) }
    }

    /// Sets the gate to what the evidence allows.
    pub(super) fn set_gate(&mut self, now: Time) {
        let deadline = self.deadline();
        if deadline == self.own.deadline || !self.read {
            return;
        }
        if self.own.deadline <= now && deadline > now {
            self.own.shut = false;
            self.dirty = true;
        }
        self.own.deadline = deadline;
        self.effects.push_back(Effect::Gate(deadline));
    }

    /// What this node's clock may show while others wait for `time`.
    pub(super) fn own_time(&self, time: Duration) -> Duration {
        self.timing.shrunk(time, self.rho)
    }

    /// A clock that is slewed faster than others know: what it measures is worth less, and waiting takes longer.
    pub(super) fn set_slew(&mut self, now: Time, rate: u32) {
        let rho = self.rho.max(rate);
        if rho != self.timing.rho {
            self.timing.rho = rho;
            self.set_gate(now);
        }
    }

    /// Without a carrier nobody reaches what this node has: the gate shuts before anything else, and what evidence there
    /// was does not open it again.
    pub(super) fn set_carrier(&mut self, now: Time, up: bool) {
        if self.carrier == up {
            return;
        }
        self.carrier = up;
        self.dirty = true;
        self.own.retry_at = now;
        if !up && self.own.registered.mode != Mode::Solo {
            self.own.floor = now;
            self.own.adopted = Time::ZERO;
            for peer in self.peers.values_mut() {
                peer.answered = Time::ZERO;
            }
            self.set_gate(now);
        }
    }

    /// The right is over: shut, and say so.
    pub(super) fn lose(&mut self, now: Time) {
        let Some(right) = self.own.right.clone() else { return };
        if self.rules.has(Rule::ReleasedAfterShut) {
            self.shut_all(now);
        } else {
            self.own.shut_later = true;
        }
        self.own.right = None;
        self.own.released = right.epoch;
        self.own.losses += 1;
        self.own.apart_since = None;
        self.own.pending.clear();
        self.own.desired = None;
        self.repeat_release();
        self.report(Event::Lost);
        self.dirty = true;
    }

    pub(super) fn shut_all(&mut self, now: Time) {
        self.own.adopted = Time::ZERO;
        self.own.unregistered = Time::ZERO;
        self.own.floor = now;
        if self.own.deadline != Time::ZERO {
            self.own.deadline = Time::ZERO;
            self.effects.push_back(Effect::Gate(Time::ZERO));
        }
        self.resting = false;
        for (uid, held) in self.vips.iter_mut().filter(|(_, held)| held.state != VipState::Shut) {
            held.state = VipState::Shut;
            self.effects.push_back(Effect::Set { uid: uid.clone(), state: VipState::Shut });
        }
    }

    /// Says again that the former right is over, until the view shows it.
    pub(super) fn repeat_release(&mut self) {
        let epoch = self.own.released;
        let known = self.view.members.get(&self.me.node).is_none_or(|member| member.epoch > epoch);
        if epoch == 0 || self.own.right.is_some() || known {
            return;
        }
        let others: Vec<u64> = self.others().map(|(id, _)| id).collect();
        for to in others {
            self.send_as(to, epoch, Body::Released { vip: 0 });
        }
    }

    /// The instants at which this node's own right must be looked at.
    pub(super) fn own_times(&self) -> [Option<Time>; 4] {
        let evidence = self.newest_evidence(&self.own.registered.watchers);
        let api = self.own.registered.mode == Mode::Api && self.own.right.is_some();
        [
            evidence.map(|sent| sent + self.timing.gate / 2),
            Some(self.own.deadline).filter(|deadline| *deadline != FOREVER),
            Some(self.own.renew_at).filter(|_| api),
            Some(self.own.retry_at),
        ]
    }

    pub(super) fn look_at_own(&mut self, now: Time) {
        if self.own.shut_later {
            self.own.shut_later = false;
            self.shut_all(now);
        }
        if !self.rules.has(Rule::HoldThroughOutage) {
            self.want_read |= now.since(self.contact) >= self.timing.renew;
        }
        self.look_at_api(now);
        self.set_gate(now);
        self.look_at_silence(now);
        if self.read && !self.patches.registering() && now >= self.own.retry_at {
            self.register_what_is_due(now);
        }
    }

    /// A gate that has shut while nobody is heard stays shut until somebody is, and every heartbeat says so.
    fn look_at_silence(&mut self, now: Time) {
        let heard = self.hears_someone(now);
        if heard || self.others().next().is_none() {
            let long = self.timing.gate.saturating_sub(self.timing.silence());
            if self.own.alone_since.is_some_and(|since| now.since(since) >= long) && heard {
                self.report(Event::Reunited);
            }
            (self.own.alone_since, self.own.shut) = (None, false);
            return;
        }
        self.own.alone_since.get_or_insert(now);
        let closed = self.own.right.is_some() && self.own.deadline <= now && !self.own.shut;
        if closed && self.rules.has(Rule::ShutIsSaid) {
            self.own.shut = true;
            self.own.floor = now;
            self.own.adopted = Time::ZERO;
            for peer in self.peers.values_mut() {
                peer.answered = Time::ZERO;
            }
            self.set_gate(now);
            self.report(Event::SelfFenced);
            self.beat_at = now;
        }
    }
}
