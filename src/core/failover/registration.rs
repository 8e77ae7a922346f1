//! What this node registers: its epoch, its mode, its watchers.

use std::collections::BTreeMap;

use super::footing::Footing;
use super::io::{Effect, Purpose};
use super::rules::Rule;
use super::{Failover, Intent};
use crate::core::time::Time;
use crate::core::view::{Mode, Registration, Right};
use crate::wire::heartbeat::Body;

impl Failover {
    pub(super) fn register_what_is_due(&mut self, now: Time) {
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
    fn may_ask_api(&self, now: Time) -> bool {
        let lonely = self.own.alone_since.is_some_and(|since| now >= since + self.timing.lonely);
        let one_of_two = self.others().nth(1).is_none();
        self.hears_someone(now) || ((one_of_two || lonely) && self.hears_gateway(now))
    }

    pub(super) fn hears_gateway(&self, now: Time) -> bool {
        self.gateway.is_some_and(|heard| now.since(heard) < self.timing.gate)
    }

    /// Asks the gateway once a beat while the evidence is late.
    fn probe_gateway(&mut self, now: Time) {
        let late = self.evidence_age(now) >= self.timing.beat * 3 / 2 || self.quorum_until() <= now;
        let solo = self.own.registered.mode == Mode::Solo;
        if late && !solo && now.since(self.probed) >= self.timing.beat {
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
        let waited = self.own.alone_since.is_some_and(|since| now >= since + self.timing.lonely);
        let heard = self.hears_someone(now) || alone || waited || self.hears_gateway(now);
        match self.intent {
            Intent::Stay => {}
            // There is nothing that the next process could adopt, or others would have to wait for.
            Intent::Restart | Intent::Leave => return self.exit(),
            Intent::Gone => return,
        }
        if !heard || !self.carrier || self.view.withdraw || self.want_read || self.reading.is_some() {
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
}
