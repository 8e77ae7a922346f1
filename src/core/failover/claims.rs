//! What this node claims, serves, and lets go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::closure::How;
use super::io::{Effect, Event, Purpose, VipState};
use super::rules::Rule;
use super::{Failover, Intent};
use crate::core::time::Time;
use crate::core::view::{After, Assignment, Right};
use crate::wire::heartbeat::{Body, Packet, id};

/// A VIP that the kernel's gate knows.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) state: VipState,
    /// Since when it is only served, for another has it.
    draining: Option<Time>,
    /// When the holder was last told.
    told: Time,
    /// By former holder's epoch: the view in which its handing over was seen first, and that node's `rev` there.
    seen: BTreeMap<u64, (u64, u64)>,
    /// By former holder's epoch: the view as of which it said that it had let go.
    handed: BTreeMap<u64, u64>,
    /// Only without [`Rule::MoveInView`]: taken, or given, by word of mouth.
    agreed: Option<bool>,
}

impl Held {
    pub(super) const fn adopted(state: VipState) -> Self {
        Self { state, draining: None, told: Time::ZERO, seen: BTreeMap::new(), handed: BTreeMap::new(), agreed: None }
    }
}

impl Failover {
    pub(super) fn look_at_claims(&mut self, now: Time) {
        let Some(right) = self.own.right.clone().filter(|_| self.intent != Intent::Leave) else { return };
        if self.resting && !self.dirty {
            if self.may_keep_house(now) {
                self.bequeath(now, &right);
            }
            return;
        }
        let view = Arc::clone(&self.view);
        let mut wanted: Vec<(VipState, &str, bool)> = Vec::new();
        for (uid, entry) in &view.assign {
            if entry.holder.as_ref() == Some(&right) {
                let (state, fallback) = self.claimable(now, uid, entry);
                wanted.push((state, uid, fallback));
            } else if self.vips.contains_key(uid) || entry.after.contains_key(&right) {
                let state = self.let_go(now, &right, uid, entry);
                wanted.push((state, uid, false));
            }
        }
        let deleted: Vec<String> = self.vips.keys().filter(|uid| !view.assign.contains_key(*uid)).cloned().collect();
        wanted.extend(deleted.iter().map(|uid| (VipState::Shut, uid.as_str(), false)));
        wanted.sort_unstable();
        for (state, uid, fallback) in wanted {
            self.set(now, uid, state, fallback);
        }
        for uid in deleted {
            self.vips.remove(&uid);
        }
        self.resting =
            self.placement.release.is_empty() && view.assign.iter().all(|(uid, e)| self.rests(uid, e, &right));
        self.keep_house(now, &right);
    }

    /// Whether what becomes of a VIP here waits for nothing.
    fn rests(&self, uid: &str, entry: &Assignment, right: &Right) -> bool {
        let state = self.vips.get(uid).map_or(VipState::Shut, |held| held.state);
        let ours = entry.holder.as_ref() == Some(right);
        let settled = if ours { entry.after.is_empty() && !entry.releasing } else { !entry.after.contains_key(right) };
        settled && state == if ours { VipState::Claim } else { VipState::Shut }
    }

    fn set(&mut self, now: Time, uid: &str, state: VipState, fallback: bool) {
        if !self.vips.contains_key(uid) {
            self.vips.insert(uid.to_owned(), Held::adopted(VipState::Shut));
        }
        let Some(held) = self.vips.get_mut(uid) else { return };
        let state = match held.agreed {
            Some(true) => VipState::Claim,
            Some(false) => state.min(VipState::Accept),
            None => state,
        };
        if held.state == state {
            return;
        }
        held.state = state;
        if state != VipState::Accept {
            held.draining = None;
        }
        if state == VipState::Claim {
            let (from, silent) = self.former(now, uid);
            self.report(Event::Claimed { uid: uid.to_owned(), fallback, from, silent });
        }
        self.effects.push_back(Effect::Set { uid: uid.to_owned(), state });
    }

    /// Who had a VIP before, as the view says, and for how long that node has been silent if it was fenced.
    fn former(&self, now: Time, uid: &str) -> (Option<Right>, Duration) {
        let after = self.view.assign.get(uid).into_iter().flat_map(|entry| &entry.after);
        let Some((former, kind)) = after.filter(|(right, _)| right.node != self.me.node).max_by_key(|(r, _)| r.epoch)
        else {
            return (None, Duration::ZERO);
        };
        let heard = self.peers.get(&id(&former.node)).map_or(Time::ZERO, |peer| peer.heard);
        let silent = if *kind == After::Fenced && heard != Time::ZERO { now.since(heard) } else { Duration::ZERO };
        (Some(former.clone()), silent)
    }

    /// Whether the API is taken to be out, for VIPs that are given up then.
    fn is_api_out(&self, now: Time) -> bool {
        now.since(self.contact) >= self.timing.lease
    }

    /// Asks for the view now and then while this node holds a VIP that is given up when the API does not answer.
    pub(super) fn look_at_api(&mut self, now: Time) {
        let ours = |uid: &String| self.view.assign.get(uid).is_some_and(|entry| entry.holder == self.own.right);
        let asks = self.own.right.is_some() && self.placement.release.iter().any(ours);
        self.want_read |= asks && now.since(self.contact) >= self.timing.renew;
    }

    /// What may be done with a VIP that the view gives to this node, and whether that rests on the fallback.
    fn claimable(&mut self, now: Time, uid: &str, entry: &Assignment) -> (VipState, bool) {
        self.note_moves(uid, entry);
        if entry.releasing {
            return (VipState::Shut, false);
        }
        if self.placement.release.contains(uid) && self.is_api_out(now) {
            if self.vips.get(uid).is_some_and(|held| held.state == VipState::Claim) {
                self.report(Event::ApiOutage { uid: uid.to_owned() });
            }
            return (VipState::Shut, false);
        }
        let fast = self.placement.fast.contains(uid);
        let moved = if self.breaks_first(uid) { VipState::Shut } else { VipState::Accept };
        let (mut state, mut fallback) = (VipState::Claim, false);
        for (former, kind) in &entry.after {
            match (self.is_let_go(uid, entry, former), kind) {
                (Some(how), _) => fallback |= how == How::Fallback,
                (None, After::Fenced) if fast => {}
                (None, After::Moved) => state = state.min(moved),
                (None, After::Fenced) => state = VipState::Shut,
            }
        }
        (state, fallback)
    }

    fn breaks_first(&self, uid: &str) -> bool {
        self.placement.exclusive.contains(uid) && self.rules.has(Rule::BreakBeforeMake)
    }

    /// Whether a former holder is closed, or has let go of this VIP as of the view that moved it.
    fn is_let_go(&self, uid: &str, entry: &Assignment, former: &Right) -> Option<How> {
        if let Some(how) = self.is_closed(former, entry) {
            return Some(how);
        }
        let held = self.vips.get(uid)?;
        let (seen, _) = held.seen.get(&former.epoch)?;
        held.handed.get(&former.epoch).is_some_and(|version| version >= seen).then_some(How::Evidence)
    }

    /// Remembers in which view a VIP came from whom. What changed in between shows in the giver's `rev`.
    fn note_moves(&mut self, uid: &str, entry: &Assignment) {
        let moved = entry.after.values().any(|kind| *kind == After::Moved);
        if !moved && self.vips.get(uid).is_none_or(|held| held.seen.is_empty()) {
            return;
        }
        let version = self.version;
        let view = Arc::clone(&self.view);
        let held = self.vips.entry(uid.to_owned()).or_insert_with(|| Held::adopted(VipState::Shut));
        let before = std::mem::take(&mut held.seen);
        for (former, _) in entry.after.iter().filter(|(_, kind)| **kind == After::Moved) {
            let rev = view.members.get(&former.node).map_or(0, |member| member.rev);
            let known = before.get(&former.epoch).copied().filter(|(_, known)| *known == rev);
            held.seen.insert(former.epoch, known.unwrap_or((version, rev)));
        }
        let seen = &held.seen;
        held.handed.retain(|epoch, _| seen.contains_key(epoch));
    }

    /// What is still done with a VIP that another has: served until it is drained, and its new holder told.
    fn let_go(&mut self, now: Time, right: &Right, uid: &str, entry: &Assignment) -> VipState {
        let (drain, beat) = (self.timing.drain, self.timing.beat);
        let most = if self.breaks_first(uid) { VipState::Shut } else { VipState::Accept };
        // A process that came after the one that let go of it does not find it in the kernel, and says so as well.
        let held = self.vips.entry(uid.to_owned()).or_insert_with(|| Held::adopted(VipState::Shut));
        if entry.after.contains_key(right) {
            let holder = entry.holder.as_ref().map(|holder| id(&holder.node));
            let state = held.state.min(most);
            if let Some(to) = holder.filter(|_| held.state <= most && now.since(held.told) >= beat / 2) {
                held.told = now;
                self.send(to, Body::Released { vip: id(uid) });
            } else if held.state > most {
                // Told once the gate is set: the effects are carried out in order.
                self.set(now, uid, state, false);
                return self.let_go(now, right, uid, entry);
            }
            return state;
        }
        if held.state == VipState::Accept {
            let since = *held.draining.get_or_insert(now);
            return if now.since(since) >= drain { VipState::Shut } else { VipState::Accept };
        }
        VipState::Shut
    }

    /// A former holder says that it has let go of a VIP as of its view.
    pub(super) fn released(&mut self, packet: &Packet, vip: u64) {
        let Some(uid) = self.view.assign.keys().find(|uid| id(uid) == vip).cloned() else { return };
        let ours = self.view.assign.get(&uid).is_some_and(|entry| entry.holder == self.own.right);
        self.dirty = true;
        if let Some(held) = self.vips.get_mut(&uid).filter(|_| ours) {
            let newest = held.handed.entry(packet.epoch).or_default();
            *newest = packet.version.max(*newest);
        } else if !self.rules.has(Rule::MoveInView) && self.own.right.is_some() && !ours {
            self.vips.entry(uid.clone()).or_insert_with(|| Held::adopted(VipState::Shut)).agreed = Some(true);
        }
    }

    /// Hands a VIP over: the view says so first.
    pub(super) fn hand_over(&mut self, now: Time, uid: &str, to: &str) {
        let Some(right) = self.own.right.clone() else { return };
        let Some(target) = self.view.right_of(to) else { return };
        let Ok(patch) = self.view.move_to(uid, &right, &target) else { return };
        if !self.rules.has(Rule::MoveInView) {
            if let Some(held) = self.vips.get_mut(uid) {
                held.agreed = Some(false);
            }
            self.set(now, uid, VipState::Accept, false);
            self.send(id(to), Body::Released { vip: id(uid) });
        }
        if !self.patches.keeping_house() {
            self.send_patch(now, Purpose::Move, patch);
        }
    }

    fn may_keep_house(&self, now: Time) -> bool {
        !self.patches.keeping_house() && now >= self.patches.rest_until
    }

    /// Takes closed rights out of the view, and deleted VIPs whose last right is closed.
    fn keep_house(&mut self, now: Time, right: &Right) {
        if !self.may_keep_house(now) {
            return;
        }
        let (mut gone, mut closed) = (Vec::new(), BTreeMap::new());
        for (uid, entry) in self.view.held_by(right) {
            let over: BTreeSet<Right> =
                entry.after.keys().filter(|former| self.is_let_go(uid, entry, former).is_some()).cloned().collect();
            let all = over.len() == entry.after.len() || !self.rules.has(Rule::DeletionWaits);
            let shut = self.vips.get(uid).is_none_or(|held| held.state == VipState::Shut);
            if entry.releasing && all && shut {
                gone.push(uid.as_str());
            } else if !over.is_empty() {
                closed.insert(uid.clone(), over);
            }
        }
        let view = Arc::clone(&self.view);
        if let Ok(patch) = view.remove_all(&gone, right).map(Some)
            && let Some(patch) = patch.filter(|_| !gone.is_empty())
        {
            self.send_patch(now, Purpose::Remove, patch);
        } else if !closed.is_empty()
            && let Ok(patch) = view.trim(right, &closed)
        {
            self.send_patch(now, Purpose::Trim, patch);
        } else {
            self.bequeath(now, right);
        }
    }
}
