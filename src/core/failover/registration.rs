//! What this node registers: its epoch, its mode, its watchers.

use std::collections::BTreeMap;

use super::footing::Footing;
use super::io::{Effect, Purpose};
use super::rules::Rule;
use super::{Failover, Intent};
use crate::core::time::Time;
use crate::core::view::{Mode, Registration, Right, quorum};
use crate::wire::heartbeat::{Body, id};

impl Failover {
    pub(super) fn register_what_is_due(&mut self, now: Time) {
        if self.restored.is_some() && self.intent == Intent::Stay {
            return self.remake(now);
        }
        let Some(right) = self.own.right.clone() else { return self.take_epoch(now) };
        match self.intent {
            Intent::Stay => {}
            Intent::Restart => return self.restart(now, &right),
            Intent::Leave => return self.leave(now, &right),
            Intent::Gone => return,
        }
        if !self.carrier && self.give_away(now, &right) {
            return;
        }
        if let Some((mode, names)) = self.due(now) {
            return self.change(now, &right, mode, &names);
        }
        let may_renew = self.hears_someone(now) || self.hears_gateway(now);
        if self.own.registered.mode == Mode::Api && now >= self.own.renew_at && may_renew {
            self.own.renew_at = now + self.timing.renew;
            if let Ok(patch) = self.view.renew(&right) {
                self.send_patch(now, Purpose::Renew, patch);
            }
        }
        self.probe_gateway(now);
    }

    /// The registration that should come next, if it is not the one that stands.
    fn due(&self, now: Time) -> Option<(Mode, BTreeMap<String, u64>)> {
        let registered = &self.own.registered;
        let same = |mode| Some((mode, registered.names.clone()));
        let alone = self.others().next().is_none();
        if self.own.unsettled.is_some() && (alone || registered.mode != Mode::Solo) {
            return same(registered.mode);
        }
        if alone {
            let solo = registered.mode != Mode::Solo && self.nothing_is_waited_for();
            return solo.then(|| (Mode::Solo, BTreeMap::new()));
        }
        let desired = self.own.desired.as_ref()?;
        let lately = now - self.timing.beat * 2;
        let fresh = |watchers: &[u64]| self.newest_evidence(watchers).is_some_and(|sent| sent >= lately);
        let ready = fresh(&desired.watchers);
        match registered.mode {
            Mode::Solo | Mode::Grace | Mode::Api => {
                (ready && !self.own.shut).then(|| (Mode::Peers, desired.names.clone()))
            }
            Mode::Peers if ready && registered.names != desired.names => Some((Mode::Peers, desired.names.clone())),
            Mode::Peers => {
                let losing =
                    self.newest_evidence(&registered.watchers).is_none_or(|sent| now >= sent + self.timing.gate / 2);
                (losing && self.rules.has(Rule::ApiMode) && self.rules.has(Rule::RegisterApi) && self.may_ask_api(now))
                    .then(|| same(Mode::Api))?
            }
        }
    }

    /// Whether no assignment waits for a right that is not over, as solo requires.
    fn nothing_is_waited_for(&self) -> bool {
        let node = &self.me.node;
        !self.rules.has(Rule::SoloAlone)
            || self
                .view
                .assign
                .values()
                .flat_map(|entry| entry.holder.iter().chain(entry.after.keys()))
                .all(|right| right.node == *node || self.view.is_over(right))
    }

    /// Who hears nobody is cut off, unless its gateway answers: at once for one of two, else after a while.
    ///
    /// A node that was cut off just now still has somebody in its ear: only who was heard since its acknowledgements
    /// stopped counts. That one of two hears the other does not say that it is heard itself; its gateway's answer does.
    fn may_ask_api(&self, now: Time) -> bool {
        let lonely = self.own.alone_since.is_some_and(|since| now >= since + self.timing.lonely);
        let gateway = self.hears_gateway(now);
        if self.others().nth(1).is_none() {
            let asked = self.gateway.is_some() && self.rules.has(Rule::GatewayOfTwo);
            return gateway || (!asked && self.is_reached(now));
        }
        self.is_reached(now) || (lonely && gateway)
    }

    /// Whether anybody was heard since this node's acknowledgements stopped.
    fn is_reached(&self, now: Time) -> bool {
        let stopped = self.newest_evidence(&self.own.registered.watchers).map_or(Time::ZERO, |sent| {
            // Whoever was heard at the very end may have been cut off with the next heartbeat.
            sent + self.timing.beat * 3 / 2
        });
        let since = |peer: &super::peers::Peer| !self.rules.has(Rule::HeardSince) || peer.heard >= stopped;
        self.hears_someone(now) && self.others().any(|(_, peer)| peer.heard != Time::ZERO && since(peer))
    }

    pub(super) fn hears_gateway(&self, now: Time) -> bool {
        self.gateway.is_some_and(|heard| now.since(heard) < self.timing.gate)
    }

    /// Asks the gateway once a beat while the evidence is late; one of two also finds out whether it has one.
    fn probe_gateway(&mut self, now: Time) {
        let late = self.evidence_age(now) >= self.timing.beat * 3 / 2 || self.quorum_until() <= now;
        let solo = self.own.registered.mode == Mode::Solo;
        let unknown = self.gateway.is_none() && self.others().count() == 1;
        let interval = if late { self.timing.beat } else { self.timing.lonely };
        if (late || unknown) && !solo && now.since(self.probed) >= interval {
            self.probed = now;
            self.effects.push_back(Effect::ProbeGateway);
        }
    }

    fn change(&mut self, now: Time, right: &Right, mode: Mode, names: &BTreeMap<String, u64>) {
        let Ok(patch) = self.view.change_mode_and_gate(right, mode, names, self.me.gate) else {
            self.own.retry_at = now + self.timing.beat;
            return;
        };
        let until = match mode {
            Mode::Api => now + self.own_time(self.timing.lease),
            Mode::Grace => now + self.own_time(self.timing.grace),
            Mode::Peers | Mode::Solo => Time::ZERO,
        };
        let until = if mode == self.own.registered.mode { self.own.registered.until.max(until) } else { until };
        // If an earlier attempt comes about after all, only what it was sent for counts: the first one stays.
        let footing = Footing::new(mode, self.own.registered.seq + 1, names, until);
        if !self.own.pending.iter().any(|pending| pending.is(&footing)) {
            self.own.pending.push(footing);
        }
        self.own.renew_at = now + self.timing.renew;
        self.set_gate(now);
        self.send_patch(now, Purpose::ChangeMode, patch);
    }

    fn restart(&mut self, now: Time, right: &Right) {
        if !self.rules.has(Rule::Grace) {
            return self.exit();
        }
        if self.own.registered.mode == Mode::Grace && self.own.unsettled.is_none() {
            self.set_gate(now);
            return self.exit();
        }
        let names = self.own.registered.names.clone();
        self.change(now, right, Mode::Grace, &names);
    }

    fn leave(&mut self, now: Time, right: &Right) {
        self.shut_all(now);
        let others: Vec<u64> = self.others().map(|(id, _)| id).collect();
        for to in others {
            self.send(to, Body::Released { vip: 0 });
        }
        self.own.retry_at = now + self.timing.beat;
        if let Ok(patch) = self.view.leave(right) {
            self.send_patch(now, Purpose::Leave, patch);
        }
    }

    /// Gives all that it has to members that it heard just before its link lost the carrier, and leaves, so that they
    /// need not find that out and wait. Its gate has shut. Whether there is anybody to give it to.
    fn give_away(&mut self, now: Time, right: &Right) -> bool {
        if self.own.registered.mode == Mode::Solo || self.others().next().is_none() {
            return false;
        }
        let successors = self.successors(now, right);
        self.own.retry_at = now + self.timing.beat;
        if successors.is_empty() && self.view.held_by(right).next().is_some() {
            return false;
        }
        if let Ok(patch) = self.view.leave_to(right, &successors) {
            // The patch may come about late, when the carrier is back: this right is not used again.
            self.lose(now);
            self.send_patch(now, Purpose::Leave, patch);
        }
        true
    }

    pub(super) fn exit(&mut self) {
        self.intent = Intent::Gone;
        self.effects.push_back(Effect::Exit);
    }

    /// Takes a new epoch, once whatever was held before is shut, and somebody is there who could acknowledge it.
    fn take_epoch(&mut self, now: Time) {
        self.own.retry_at = now + self.timing.beat;
        let alone = self.others().next().is_none();
        self.own.apart_since = match self.own.apart_since {
            _ if self.hears_quorum(now) => None,
            known => known.or(Some(now)),
        };
        let heard = alone || self.hears_quorum(now) || self.has_waited(now);
        match self.intent {
            Intent::Stay => {}
            // There is nothing that the next process could adopt, or others would have to wait for.
            Intent::Restart | Intent::Leave => return self.exit(),
            Intent::Gone => return,
        }
        if !self.carrier {
            let given = Right::new(&self.me.node, self.own.released);
            self.give_away(now, &given);
            return;
        }
        if !heard {
            return self.resign(now);
        }
        if self.view.withdraw || self.want_read || self.reading.is_some() {
            return;
        }
        let solo = Registration { mode: Mode::Solo, ..self.me.clone() };
        let peers = Registration { mode: Mode::Peers, ..self.me.clone() };
        let registered = self.view.register(&solo).or_else(|_| self.view.register(&peers));
        if let Ok((_, patch)) = registered {
            self.own.registering = true;
            self.send_patch(now, Purpose::Register, patch);
        }
    }

    /// Whether enough of those that would watch it are heard. A part of a segment that was fenced by the rest stays away
    /// until they find each other again.
    fn hears_quorum(&self, now: Time) -> bool {
        if !self.rules.has(Rule::QuorumToReturn) {
            return self.hears_someone(now);
        }
        // What was heard before the right was lost says nothing.
        let lately = now - self.timing.beat * 3 / 2;
        let watchers = self.view.watchers_for(&self.me.node);
        let is_heard = |name: &&String| {
            self.peers.get(&id(name)).is_some_and(|peer| peer.heard != Time::ZERO && peer.heard >= lately)
        };
        watchers.keys().filter(is_heard).count() >= quorum(watchers.len())
    }

    /// After a while it comes back all the same, for the others may all be gone: each time that this was wrong, later.
    fn has_waited(&self, now: Time) -> bool {
        let long = self.timing.lonely * 2_u32.pow(self.own.losses.saturating_sub(1).min(5));
        self.own.apart_since.is_some_and(|since| now >= since + long)
    }

    /// Who was fenced and hears nobody says in the view that it is over, so that nobody waits for it.
    fn resign(&mut self, now: Time) {
        let right = Right::new(&self.me.node, self.own.released);
        if let Ok(patch) = self.view.resign(&right)
            && self.rules.has(Rule::Resignation)
        {
            self.send_patch(now, Purpose::Resign, patch);
        }
    }
}
