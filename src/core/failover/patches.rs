//! Patches of the view that are under way: one about this node's own right, one fence, one of housekeeping.

use std::collections::BTreeMap;

use super::io::{Effect, Lane, Outcome, Purpose};
use super::rules::Rule;
use super::{Failover, Intent};
use crate::core::time::Time;
use crate::core::view::{Mode, Op, Patch};

/// A patch that nobody has answered.
#[derive(Debug, Clone, Copy)]
struct Sent {
    ticket: u64,
    purpose: Purpose,
    at: Time,
    until: Time,
    /// The registration at the time.
    seq: u64,
}

/// What is under way, by [`Purpose::lane`].
#[derive(Debug, Clone, Default)]
pub(super) struct Patches {
    tickets: u64,
    sent: BTreeMap<Lane, Sent>,
    /// Before this, no further housekeeping.
    pub(super) rest_until: Time,
}

impl Patches {
    pub(super) fn registering(&self) -> bool {
        self.sent.contains_key(&Lane::Own)
    }

    pub(super) fn fencing(&self) -> bool {
        self.sent.contains_key(&Lane::Fence)
    }

    pub(super) fn keeping_house(&self) -> bool {
        self.sent.contains_key(&Lane::House)
    }

    /// When the first of them counts as unanswered.
    pub(super) fn earliest(&self) -> Option<Time> {
        self.sent.values().map(|sent| sent.until).min()
    }

    fn take(&mut self, which: impl Fn(&Sent) -> bool) -> Option<Sent> {
        let lane = self.sent.iter().find(|(_, sent)| which(sent)).map(|(lane, _)| *lane)?;
        self.sent.remove(&lane)
    }
}

impl Failover {
    pub(super) fn send_patch(&mut self, now: Time, purpose: Purpose, mut patch: Patch) {
        self.weaken(purpose, &mut patch);
        self.patches.tickets += 1;
        let ticket = self.patches.tickets;
        let until = now + self.timing.patience;
        let sent = Sent { ticket, purpose, at: now, until, seq: self.own.registered.seq };
        self.patches.sent.insert(purpose.lane(), sent);
        self.effects.push_back(Effect::Patch { ticket, purpose, patch });
    }

    pub(super) fn expire_patches(&mut self, now: Time) {
        while let Some(sent) = self.patches.take(|sent| now >= sent.until) {
            self.conclude(now, sent, &Outcome::Unknown);
        }
    }

    pub(super) fn patched(&mut self, now: Time, ticket: u64, outcome: Outcome) {
        if let Some(sent) = self.patches.take(|sent| sent.ticket == ticket) {
            self.conclude(now, sent, &outcome);
        }
        if let Outcome::Applied { version, view } = outcome {
            self.contact = now;
            self.view(now, version, view, false);
        }
    }

    fn conclude(&mut self, now: Time, sent: Sent, outcome: &Outcome) {
        self.dirty = true;
        match outcome {
            Outcome::Applied { .. } => self.applied(sent),
            Outcome::Refused => {
                // What was sent against that registration and not refused may still come about.
                if sent.purpose == Purpose::ChangeMode {
                    let latest = self.own.pending.len().saturating_sub(1);
                    self.own.pending.truncate(latest);
                }
                self.want_read = true;
                self.back_off(now);
            }
            Outcome::Unknown => {
                if !self.rules.has(Rule::SettleBySequence) {
                    self.own.pending.clear();
                }
                self.want_read = true;
                self.back_off(now);
            }
        }
    }

    fn back_off(&mut self, now: Time) {
        self.own.retry_at = now + self.timing.beat;
        self.patches.rest_until = now + self.timing.beat;
    }

    fn applied(&mut self, sent: Sent) {
        match sent.purpose {
            Purpose::Renew if self.own.registered.mode == Mode::Api && self.own.registered.seq == sent.seq => {
                let until = sent.at + self.own_time(self.timing.lease);
                self.own.registered.until = self.own.registered.until.max(until);
            }
            Purpose::Leave if self.intent == Intent::Leave => self.exit(),
            Purpose::Leave
            | Purpose::Register
            | Purpose::ChangeMode
            | Purpose::Renew
            | Purpose::Fence
            | Purpose::Trim
            | Purpose::Remove
            | Purpose::Move
            | Purpose::Bequeath
            | Purpose::Resign
            | Purpose::Restore => {}
        }
    }

    /// Takes out the tests that stand for rules that are not in force.
    fn weaken(&self, purpose: Purpose, patch: &mut Patch) {
        if self.rules == super::Rules::all() {
            return;
        }
        let mine = crate::core::view::pointer(&["members", &self.me.node]);
        let dropped = |path: &str| {
            let own = path.starts_with(&mine) && purpose == Purpose::Fence;
            (!self.rules.has(Rule::SettleBySequence) && path.ends_with("/modeSeq"))
                || (!self.rules.has(Rule::FenceTestsRev) && purpose == Purpose::Fence && path.ends_with("/rev"))
                || (!self.rules.has(Rule::FencerIsUp) && own)
                || (!self.rules.has(Rule::SoloAlone) && (path == "/members" || path == "/assign"))
        };
        patch.0.retain(|op| match op {
            Op::Test { path, .. } => !dropped(path),
            Op::Add { .. } | Op::Replace { .. } | Op::Remove { .. } => true,
        });
    }
}
