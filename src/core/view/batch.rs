//! Many changes of who has which address, as one patch.

use std::collections::BTreeSet;

use super::members::json;
use super::write::all_closed;
use super::{After, Assignment, Cause, Grant, Patch, Right, View, ViewError};

/// One change of who has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Gives an address that nobody has: a first grant, or one of an entry without holder, whose `after` is kept.
    Grant(Grant),
    /// Moves an address between two members that are up: agreed, hence nothing is lost.
    Move {
        /// The VirtualIP's uid.
        uid: String,
        /// Who has it.
        from: Right,
        /// Who gets it.
        to: Right,
        /// Why.
        cause: Cause,
    },
    /// Says that an address is being deleted: its holder gives it up and removes the entry.
    Release {
        /// The VirtualIP's uid.
        uid: String,
    },
    /// Removes the entry of an address that nobody has, after which the address is free.
    Remove {
        /// The VirtualIP's uid.
        uid: String,
        /// What is known to be closed of its `after`.
        closed: BTreeSet<Right>,
    },
}

impl Step {
    /// The VirtualIP that it is about.
    #[must_use]
    pub fn uid(&self) -> &str {
        match self {
            Self::Grant(grant) => &grant.uid,
            Self::Move { uid, .. } | Self::Release { uid } | Self::Remove { uid, .. } => uid,
        }
    }
}

impl View {
    /// All steps in one patch, which names each right once; no two steps may be about one VirtualIP.
    ///
    /// # Errors
    /// A member is not up; an address that is granted has a holder, or one that is moved another; what is removed is
    /// held or waits for a right that is not closed.
    pub fn batch(&self, steps: &[Step]) -> Result<Patch, ViewError> {
        let mut patch = Patch::default();
        let mut named = BTreeSet::new();
        for step in steps {
            match step {
                Step::Grant(grant) => named.extend([&grant.to]),
                Step::Move { from, to, .. } => named.extend([from, to]),
                Step::Release { uid } => named.extend(self.entry(uid)?.holder.as_ref()),
                Step::Remove { .. } => {}
            }
        }
        for right in named {
            self.name(right, &mut patch)?;
        }
        // The absence of an entry cannot be tested: every first grant raises the counter, hence two of them exclude
        // each other.
        let first = |step: &Step| matches!(step, Step::Grant(grant) if !self.assign.contains_key(&grant.uid));
        if steps.iter().any(first) {
            patch.test(&["counter"], self.counter);
            patch.replace(&["counter"], self.counter + 1);
        }
        for step in steps {
            match step {
                Step::Grant(grant) => self.add_grant(grant, &mut patch)?,
                Step::Move { uid, from, to, cause } => self.add_move(uid, from, to, *cause, &mut patch)?,
                Step::Release { uid } => self.add_release(uid, &mut patch)?,
                Step::Remove { uid, closed } => self.add_removal(uid, closed, &mut patch)?,
            }
        }
        Ok(patch)
    }

    fn add_grant(&self, grant: &Grant, patch: &mut Patch) -> Result<(), ViewError> {
        let Grant { uid, name, to } = grant;
        let old = self.assign.get(uid);
        if let Some(entry) = old {
            if entry.holder.is_some() {
                return Err(ViewError::HeldBy { uid: uid.clone(), holder: entry.holder.clone() });
            }
            patch.test(&["assign", uid], json(entry));
        }
        let entry = Assignment {
            name: name.clone(),
            holder: Some(to.clone()),
            after: old.map(|entry| entry.after.clone()).unwrap_or_default(),
            releasing: old.is_some_and(|entry| entry.releasing),
            cause: old.map(|entry| entry.cause).unwrap_or_default(),
        };
        patch.add(&["assign", uid], json(&entry));
        Ok(())
    }

    fn add_move(&self, uid: &str, from: &Right, to: &Right, cause: Cause, patch: &mut Patch) -> Result<(), ViewError> {
        if from.node == to.node {
            return Err(ViewError::OwnSuccessor(from.clone()));
        }
        let mut entry = self.entry_of(uid, from)?.clone();
        // Who gets it back need not wait for itself: it shuts and opens its own gate.
        entry.after.remove(to);
        entry.after.insert(from.clone(), After::Moved);
        entry.holder = Some(to.clone());
        entry.cause = cause;
        patch.replace(&["assign", uid], json(&entry));
        Ok(())
    }

    fn add_release(&self, uid: &str, patch: &mut Patch) -> Result<(), ViewError> {
        let old = self.entry(uid)?;
        if old.holder.is_none() {
            patch.test(&["assign", uid], json(old));
        }
        let mut entry = old.clone();
        entry.releasing = true;
        patch.replace(&["assign", uid], json(&entry));
        Ok(())
    }

    fn add_removal(&self, uid: &str, closed: &BTreeSet<Right>, patch: &mut Patch) -> Result<(), ViewError> {
        let entry = self.unheld(uid)?;
        all_closed(uid, entry, closed)?;
        patch.test(&["assign", uid], json(entry));
        patch.remove(&["assign", uid]);
        Ok(())
    }
}
