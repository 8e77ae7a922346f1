//! Patches by which members come, change what their right rests on, and go.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{After, Cause, Gate, Member, Mode, Patch, Right, State, View, ViewError};
use crate::core::net::Mac;

/// What a node says of itself when it takes a new epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The node's name.
    pub node: String,
    /// The mode it starts in: [`Mode::Solo`] or [`Mode::Peers`].
    pub mode: Mode,
    /// See [`Member::address`].
    pub address: IpAddr,
    /// See [`Member::port`].
    pub port: u16,
    /// See [`Member::mac`].
    pub mac: Option<Mac>,
    /// See [`Member::interface`].
    pub interface: String,
    /// See [`Member::boot_id`].
    pub boot_id: String,
    /// See [`Member::gate`].
    pub gate: Gate,
    /// See [`Member::rho`].
    pub rho: u32,
}

impl Registration {
    /// The member that it makes, without an epoch yet; of its `mode_seq`, its `rev` and its wish to be drained.
    pub(super) fn member(
        &self,
        (mode_seq, rev, draining): (u64, u64, bool),
        mode: Mode,
        watchers: BTreeMap<String, u64>,
    ) -> Member {
        Member {
            epoch: 0,
            state: State::Up,
            mode,
            mode_seq,
            rev,
            renewed: 0,
            watchers,
            address: self.address,
            port: self.port,
            mac: self.mac,
            interface: self.interface.clone(),
            boot_id: self.boot_id.clone(),
            gate: self.gate,
            rho: self.rho,
            draining,
        }
    }
}

impl View {
    /// A node takes a new epoch. Its gate must have shut for whatever it held before: the entries that name its former
    /// right, if that was not fenced, name the new one.
    ///
    /// # Errors
    /// [`ViewError::NotAlone`] for a solo registration beside others.
    pub fn register(&self, new: &Registration) -> Result<(Right, Patch), ViewError> {
        let right = Right::new(&new.node, self.counter + 1);
        let mut patch = Patch::default();
        patch.test(&["counter"], self.counter);
        patch.replace(&["counter"], right.epoch);
        let old = self.members.get(&new.node);
        let counts = old.map_or((0, 0, false), |old| (old.mode_seq + 1, old.rev + 1, old.draining));
        let watchers = if new.mode == Mode::Solo { BTreeMap::new() } else { self.watchers_for(&new.node) };
        let member = Member { epoch: right.epoch, ..new.member(counts, new.mode, watchers) };
        if new.mode == Mode::Solo {
            self.test_alone(&new.node, &mut patch)?;
        }
        if let Some(old) = old {
            patch.test(&["members", &new.node, "epoch"], old.epoch);
            patch.test(&["members", &new.node, "modeSeq"], old.mode_seq);
            patch.test(&["members", &new.node, "rev"], old.rev);
            for (uid, entry) in self.held_by(&Right::new(&new.node, old.epoch)) {
                let mut entry = entry.clone();
                entry.holder = Some(right.clone());
                entry.after.retain(|former, _| former.node != new.node);
                patch.replace(&["assign", uid], json(&entry));
            }
        }
        patch.add(&["members", &new.node], json(&member));
        Ok((right, patch))
    }

    /// A member changes its mode and its watchers. It must have shrunk its own gate to what both the old and the new
    /// registration allow before it sends this.
    ///
    /// # Errors
    /// The member is not up at this epoch; for [`Mode::Solo`], it is not alone.
    pub fn change_mode(&self, right: &Right, mode: Mode, watchers: &BTreeMap<String, u64>) -> Result<Patch, ViewError> {
        let member = self.up(right)?;
        let mut patch = Patch::default();
        test_up(&mut patch, right);
        patch.test(&["members", &right.node, "modeSeq"], member.mode_seq);
        if mode == Mode::Solo {
            self.test_alone(&right.node, &mut patch)?;
        }
        patch.replace(&["members", &right.node, "modeSeq"], member.mode_seq + 1);
        patch.replace(&["members", &right.node, "mode"], json(&mode));
        patch.replace(&["members", &right.node, "watchers"], json(watchers));
        Ok(patch)
    }

    /// [`Self::change_mode`] by a process whose gate may be of another kind than that of the one before it, which others
    /// have to know before they can wait for it.
    ///
    /// # Errors
    /// Those of [`Self::change_mode`].
    pub fn change_mode_and_gate(
        &self,
        right: &Right,
        mode: Mode,
        watchers: &BTreeMap<String, u64>,
        gate: Gate,
    ) -> Result<Patch, ViewError> {
        let mut patch = self.change_mode(right, mode, watchers)?;
        patch.replace(&["members", &right.node, "gate"], json(&gate));
        Ok(patch)
    }

    /// A member in api mode extends its right: it holds for 3 s from the moment this was sent, once it is known to have
    /// succeeded.
    ///
    /// # Errors
    /// The member is not up at this epoch, or not in api mode.
    pub fn renew(&self, right: &Right) -> Result<Patch, ViewError> {
        let member = self.up(right)?;
        if member.mode != Mode::Api {
            return Err(ViewError::WrongMode { right: right.clone(), mode: member.mode });
        }
        let mut patch = Patch::default();
        test_up(&mut patch, right);
        patch.test(&["members", &right.node, "mode"], json(&Mode::Api));
        patch.test(&["members", &right.node, "modeSeq"], member.mode_seq);
        patch.replace(&["members", &right.node, "renewed"], member.renewed + 1);
        Ok(patch)
    }

    /// A member whose gate has shut goes. What it held is left to be granted to others.
    ///
    /// # Errors
    /// The member is not up at this epoch.
    pub fn leave(&self, right: &Right) -> Result<Patch, ViewError> {
        self.leave_to(right, &BTreeMap::new())
    }

    /// The same, with successors for what it held; what they do not mention is left to be granted.
    ///
    /// # Errors
    /// The member or a successor is not up at its epoch; a successor is the member itself.
    pub fn leave_to(&self, right: &Right, successors: &BTreeMap<String, Right>) -> Result<Patch, ViewError> {
        if let Some(own) = successors.values().find(|successor| successor.node == right.node) {
            return Err(ViewError::OwnSuccessor(own.clone()));
        }
        let mut patch = Patch::default();
        self.name(right, &mut patch)?;
        self.name_all(self.held_by(right).filter_map(|(uid, _)| successors.get(uid)), &mut patch)?;
        patch.replace(&["members", &right.node, "state"], json(&State::Left));
        for (uid, entry) in self.held_by(right) {
            let mut entry = entry.clone();
            entry.holder = successors.get(uid).cloned();
            if entry.holder.is_some() {
                // It is over, and says to the successor that this is a takeover.
                entry.after.insert(right.clone(), After::Fenced);
            }
            entry.cause = Cause::NodeLeft;
            patch.replace(&["assign", uid], json(&entry));
        }
        Ok(patch)
    }

    /// A node whose right was fenced says that its gate has shut: the right is over.
    ///
    /// # Errors
    /// The member is not fenced at this epoch.
    pub fn resign(&self, right: &Right) -> Result<Patch, ViewError> {
        self.fenced(right)?;
        let mut patch = Patch::default();
        test_fenced(&mut patch, right);
        patch.replace(&["members", &right.node, "state"], json(&State::Left));
        Ok(patch)
    }

    /// The member, if it is fenced at this epoch.
    pub(super) fn fenced(&self, right: &Right) -> Result<&Member, ViewError> {
        let member = self.members.get(&right.node).ok_or_else(|| ViewError::NoMember(right.node.clone()))?;
        if member.state == State::Fenced && member.epoch == right.epoch {
            Ok(member)
        } else {
            Err(ViewError::NotFenced { right: right.clone(), state: member.state, epoch: member.epoch })
        }
    }

    /// Sets or takes back a member's wish to be drained.
    ///
    /// # Errors
    /// The member is not up.
    pub fn drain(&self, right: &Right, draining: bool) -> Result<Patch, ViewError> {
        self.up(right)?;
        let mut patch = Patch::default();
        test_up(&mut patch, right);
        patch.add(&["members", &right.node, "draining"], draining);
        Ok(patch)
    }

    /// Removes the record of a node that left, or that was fenced and that nothing names any more.
    ///
    /// # Errors
    /// No such member; it is up; an assignment still waits for it.
    pub fn forget(&self, node: &str) -> Result<Patch, ViewError> {
        let member = self.members.get(node).ok_or_else(|| ViewError::NoMember(node.to_owned()))?;
        let right = Right::new(node, member.epoch);
        if member.state == State::Up {
            return Err(ViewError::NotUp { right, state: member.state, epoch: member.epoch });
        }
        let waiting = self.assign.iter().find(|(_, entry)| entry.after.keys().any(|former| former.node == node));
        if let Some((uid, entry)) = waiting {
            return Err(ViewError::NotClosed { uid: uid.clone(), after: entry.after.keys().cloned().collect() });
        }
        let mut patch = Patch::default();
        patch.test(&["members", node, "epoch"], member.epoch);
        patch.test(&["members", node, "state"], json(&member.state));
        patch.test(&["members", node, "rev"], member.rev);
        patch.remove(&["members", node]);
        Ok(patch)
    }

    /// Records an on-link prefix of the segment, in canonical text.
    #[must_use]
    pub fn record_prefix(&self, prefix: &str, node: &str) -> Patch {
        let mut patch = Patch::default();
        patch.add(&["prefixes", prefix], node);
        patch
    }

    /// Tells every agent to give up what it holds and to leave.
    #[must_use]
    pub fn withdraw_all() -> Patch {
        let mut patch = Patch::default();
        patch.add(&["withdraw"], true);
        patch
    }

    /// Tests that a right is up and that nothing about what it holds has changed, and raises its `rev`.
    pub(super) fn name(&self, right: &Right, patch: &mut Patch) -> Result<(), ViewError> {
        let member = self.up(right)?;
        test_up(patch, right);
        patch.test(&["members", &right.node, "rev"], member.rev);
        patch.replace(&["members", &right.node, "rev"], member.rev + 1);
        Ok(())
    }

    /// Tests all members and all assignments: nobody else may hold, or have to be waited for.
    fn test_alone(&self, node: &str, patch: &mut Patch) -> Result<(), ViewError> {
        let alone = |other: &str| ViewError::NotAlone { node: node.to_owned(), other: other.to_owned() };
        if let Some((other, _)) = self.up_members().find(|(name, _)| *name != node) {
            return Err(alone(other));
        }
        let named = self.assign.values().flat_map(|entry| entry.holder.iter().chain(entry.after.keys()));
        if let Some(other) = named.into_iter().find(|right| right.node != node && !self.is_over(right)) {
            return Err(alone(&other.to_string()));
        }
        patch.test(&["members"], json(&self.members));
        patch.test(&["assign"], json(&self.assign));
        Ok(())
    }
}

/// Tests that the right is up in the version that the patch applies to.
pub(super) fn test_up(patch: &mut Patch, right: &Right) {
    patch.test(&["members", &right.node, "epoch"], right.epoch);
    patch.test(&["members", &right.node, "state"], json(&State::Up));
}

/// Tests that the right is fenced in the version that the patch applies to.
pub(super) fn test_fenced(patch: &mut Patch, right: &Right) {
    patch.test(&["members", &right.node, "epoch"], right.epoch);
    patch.test(&["members", &right.node, "state"], json(&State::Fenced));
}

/// The JSON of a part of the view: strings, numbers and maps of them always serialise.
pub(super) fn json(part: &impl serde::Serialize) -> Value {
    serde_json::to_value(part).unwrap_or(Value::Null)
}
