//! Patches that say who has an address.

use std::collections::{BTreeMap, BTreeSet};

use super::members::{json, test_up};
use super::{After, Assignment, Cause, Fence, Patch, Right, State, Step, View, ViewError};

/// One address to be given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The VirtualIP's uid.
    pub uid: String,
    /// The VirtualIP, `namespace/name`.
    pub name: String,
    /// Who gets it.
    pub to: Right,
}

impl View {
    /// Gives addresses that nobody has to members, in one patch: a first grant, or one of an entry without holder,
    /// whose `after` is kept.
    ///
    /// # Errors
    /// A member is not up, or an address has a holder.
    pub fn grant(&self, grants: &[Grant]) -> Result<Patch, ViewError> {
        let steps: Vec<Step> = grants.iter().cloned().map(Step::Grant).collect();
        self.batch(&steps)
    }

    /// Moves an address from its holder, which is up, to another member: agreed, hence nothing is lost.
    ///
    /// # Errors
    /// Either is not up, or `from` is not the holder, or would succeed itself.
    pub fn move_to(&self, uid: &str, from: &Right, to: &Right) -> Result<Patch, ViewError> {
        let (uid, from, to) = (uid.to_owned(), from.clone(), to.clone());
        self.batch(&[Step::Move { uid, from, to, cause: Cause::Requested }])
    }

    /// Takes a member's epoch and moves all that it has, in one patch.
    ///
    /// `successors` says who gets what; an address that it does not mention is left without holder.
    ///
    /// # Errors
    /// The victim, the fencer or a successor is not up; a successor is the victim.
    pub fn fence(&self, victim: &Right, by: &Right, successors: &BTreeMap<String, Right>) -> Result<Patch, ViewError> {
        let member = self.up(victim)?;
        if let Some(own) = successors.values().find(|right| right.node == victim.node) {
            return Err(ViewError::OwnSuccessor(own.clone()));
        }
        let mut patch = Patch::default();
        self.name(victim, &mut patch)?;
        patch.test(&["members", &victim.node, "modeSeq"], member.mode_seq);
        self.up(by)?;
        test_up(&mut patch, by);
        self.name_all(self.held_by(victim).filter_map(|(uid, _)| successors.get(uid)), &mut patch)?;
        patch.replace(&["members", &victim.node, "state"], json(&State::Fenced));
        patch.add(&["fences", &victim.to_string()], json(&Fence { by: by.clone(), mode: member.mode }));
        self.pass_on(victim, successors, &mut patch);
        Ok(patch)
    }

    /// All that a right has goes to others, and waits for it.
    pub(super) fn pass_on(&self, victim: &Right, successors: &BTreeMap<String, Right>, patch: &mut Patch) {
        for (uid, entry) in self.held_by(victim) {
            let mut entry = entry.clone();
            entry.holder = successors.get(uid).cloned();
            entry.after.insert(victim.clone(), After::Fenced);
            entry.cause = Cause::NodeLost;
            patch.replace(&["assign", uid], json(&entry));
        }
    }

    /// The holder of addresses takes from their `after` the rights that are closed, of all of them in one patch, and
    /// drops the fences that nothing names any more. `closed` is what it knows to be closed, by assignment.
    ///
    /// # Errors
    /// The holder is not up, or does not hold one of them.
    pub fn trim(&self, holder: &Right, closed: &BTreeMap<String, BTreeSet<Right>>) -> Result<Patch, ViewError> {
        let mut patch = Patch::default();
        self.name(holder, &mut patch)?;
        for (uid, rights) in closed {
            let mut entry = self.entry_of(uid, holder)?.clone();
            entry.after.retain(|former, _| !rights.contains(former));
            patch.replace(&["assign", uid], json(&entry));
        }
        let none = BTreeSet::new();
        for right in self.fences.keys() {
            let named = self.assign.iter().any(|(uid, entry)| {
                entry.after.contains_key(right) && !closed.get(uid).unwrap_or(&none).contains(right)
            });
            if !named {
                patch.remove(&["fences", &right.to_string()]);
            }
        }
        Ok(patch)
    }

    /// Takes closed rights from the `after` of an address that nobody has.
    ///
    /// # Errors
    /// It has a holder.
    pub fn trim_unheld(&self, uid: &str, closed: &BTreeSet<Right>) -> Result<Patch, ViewError> {
        let old = self.unheld(uid)?;
        let mut entry = old.clone();
        entry.after.retain(|former, _| !closed.contains(former));
        let mut patch = Patch::default();
        patch.test(&["assign", uid], json(old));
        patch.replace(&["assign", uid], json(&entry));
        Ok(patch)
    }

    /// Drops the record of a fence that no assignment waits for.
    ///
    /// # Errors
    /// An assignment does.
    pub fn drop_fence(&self, right: &Right) -> Result<Patch, ViewError> {
        if let Some((uid, entry)) = self.assign.iter().find(|(_, entry)| entry.after.contains_key(right)) {
            return Err(ViewError::NotClosed { uid: uid.clone(), after: entry.after.keys().cloned().collect() });
        }
        let mut patch = Patch::default();
        patch.remove(&["fences", &right.to_string()]);
        Ok(patch)
    }

    /// Says that an address is being deleted: its holder gives it up and removes the entry.
    ///
    /// # Errors
    /// No such assignment, or its holder is not up.
    pub fn release(&self, uid: &str) -> Result<Patch, ViewError> {
        self.batch(&[Step::Release { uid: uid.to_owned() }])
    }

    /// Removes an assignment whose last right is closed, after which the address is free: `holder`, whose gate has
    /// shut for it, or none. `closed` is what is known to be closed of its `after`.
    ///
    /// # Errors
    /// Another holds it, or something of its `after` is not closed.
    pub fn remove(&self, uid: &str, holder: Option<&Right>, closed: &BTreeSet<Right>) -> Result<Patch, ViewError> {
        let Some(holder) = holder else {
            return self.batch(&[Step::Remove { uid: uid.to_owned(), closed: closed.clone() }]);
        };
        let mut patch = Patch::default();
        self.name(holder, &mut patch)?;
        let entry = self.entry_of(uid, holder)?;
        all_closed(uid, entry, closed)?;
        patch.remove(&["assign", uid]);
        Ok(patch)
    }

    /// Removes assignments whose last rights are closed, all in one patch: those of `holder`, which no longer has them
    /// and knows that whatever was in their `after` is closed.
    ///
    /// # Errors
    /// The holder is not up, or another holds one of them.
    pub fn remove_all(&self, uids: &[&str], holder: &Right) -> Result<Patch, ViewError> {
        let mut patch = Patch::default();
        self.name(holder, &mut patch)?;
        for uid in uids {
            self.entry_of(uid, holder)?;
            patch.remove(&["assign", uid]);
        }
        Ok(patch)
    }

    pub(super) fn entry(&self, uid: &str) -> Result<&Assignment, ViewError> {
        self.assign.get(uid).ok_or_else(|| ViewError::NoAssignment(uid.to_owned()))
    }

    pub(super) fn entry_of(&self, uid: &str, holder: &Right) -> Result<&Assignment, ViewError> {
        let entry = self.entry(uid)?;
        if entry.holder.as_ref() == Some(holder) {
            Ok(entry)
        } else {
            Err(ViewError::HeldBy { uid: uid.to_owned(), holder: entry.holder.clone() })
        }
    }

    pub(super) fn unheld(&self, uid: &str) -> Result<&Assignment, ViewError> {
        let entry = self.entry(uid)?;
        match &entry.holder {
            None => Ok(entry),
            holder @ Some(_) => Err(ViewError::HeldBy { uid: uid.to_owned(), holder: holder.clone() }),
        }
    }

    /// Names each right once.
    pub(super) fn name_all<'a>(
        &self,
        rights: impl Iterator<Item = &'a Right>,
        patch: &mut Patch,
    ) -> Result<(), ViewError> {
        rights.collect::<BTreeSet<_>>().into_iter().try_for_each(|right| self.name(right, patch))
    }
}

/// That an entry waits for nothing but what is `closed`.
pub(super) fn all_closed(uid: &str, entry: &Assignment, closed: &BTreeSet<Right>) -> Result<(), ViewError> {
    let after: Vec<Right> = entry.after.keys().filter(|right| !closed.contains(right)).cloned().collect();
    if after.is_empty() { Ok(()) } else { Err(ViewError::NotClosed { uid: uid.to_owned(), after }) }
}
