//! What becomes of a view whose store has gone back to a backup.

use std::collections::BTreeMap;

use super::members::{json, test_fenced, test_up};
use super::{After, Fence, Member, Mode, Patch, Registration, Right, State, View, ViewError};

/// So many epochs at most were given out that neither the backup nor the writer knows of.
const FORGOTTEN: u64 = 1_000;

impl View {
    /// Whether the other view, which is said to be newer, has forgotten something that this one knows.
    #[must_use]
    pub fn is_forgotten_by(&self, other: &Self) -> bool {
        let counts = |member: &Member| (member.epoch, member.mode_seq, member.rev);
        let fewer = |known: &Member, told: &Member| {
            let (known, told) = (counts(known), counts(told));
            told.0 < known.0 || told.1 < known.1 || told.2 < known.2
        };
        other.counter < self.counter
            || other.members.iter().any(|(node, told)| self.members.get(node).is_some_and(|known| fewer(known, told)))
    }

    /// What this view knows, written over the one that the store has gone back to.
    ///
    /// Nobody can know what else was forgotten, hence no right of before is believed: `me`, whose gate has shut, takes
    /// a new epoch, and everyone else is fenced at one that is newer than any it may have. Each takes back what it had
    /// as it takes another epoch, which it does with a shut gate, and waits for all the others to have done the same.
    #[must_use]
    pub fn remake(&self, restored: &Self, me: &Registration) -> (Right, Patch) {
        let base = self.counter.max(restored.counter) + FORGOTTEN;
        let mut members = restored.members.clone();
        members.extend(self.members.clone());
        let mut epoch = base;
        for (node, member) in &mut members {
            let other = restored.members.get(node).filter(|_| *node != me.node);
            epoch += 1;
            // What its right rests on may have been forgotten as well: whatever is longer is waited for.
            let grace = member.mode == Mode::Grace || other.is_some_and(|other| other.mode == Mode::Grace);
            *member = Member {
                epoch,
                state: State::Fenced,
                mode: if grace { Mode::Grace } else { Mode::Api },
                mode_seq: member.mode_seq.max(other.map_or(0, |other| other.mode_seq)) + 1,
                rev: member.rev.max(other.map_or(0, |other| other.rev)) + 1,
                ..member.clone()
            };
        }
        epoch += 1;
        let right = Right::new(&me.node, epoch);
        let old = members.get(&me.node).map(|old| (old.mode_seq, old.rev, old.draining));
        members.insert(
            me.node.clone(),
            Member { epoch, ..me.member(old.unwrap_or_default(), Mode::Peers, BTreeMap::new()) },
        );
        (right.clone(), self.over(restored, &right, epoch, members))
    }

    fn over(&self, restored: &Self, me: &Right, counter: u64, members: BTreeMap<String, Member>) -> Patch {
        let others: Vec<Right> =
            members.iter().filter(|(node, _)| **node != me.node).map(|(node, m)| Right::new(node, m.epoch)).collect();
        let mut assign = self.assign.clone();
        for entry in assign.values_mut() {
            let holder = entry.holder.take().map(|holder| holder.node);
            entry.holder =
                holder.as_ref().and_then(|node| members.get(node).map(|member| Right::new(node, member.epoch)));
            let waits = others.iter().filter(|right| holder.as_ref() != Some(&right.node));
            entry.after = waits.map(|right| (right.clone(), After::Fenced)).collect();
        }
        let fence = |right: &Right| {
            let mode = members.get(&right.node).map_or(Mode::Api, |member| member.mode);
            (right.clone(), Fence { by: me.clone(), mode })
        };
        let fences: BTreeMap<Right, Fence> = others.iter().map(fence).collect();
        let mut patch = Patch::default();
        patch.test(&["counter"], restored.counter);
        patch.test(&["members"], json(&restored.members));
        patch.test(&["assign"], json(&restored.assign));
        patch.add(&["counter"], counter);
        patch.add(&["withdraw"], self.withdraw || restored.withdraw);
        patch.add(&["members"], json(&members));
        patch.add(&["assign"], json(&assign));
        patch.add(&["fences"], json(&fences));
        patch
    }

    /// What a fenced node still has, because it was written again after a restore and has not come back for it, goes
    /// to others.
    ///
    /// # Errors
    /// The node is not fenced at this epoch; `by` or a successor is not up; a successor is the node itself.
    pub fn bequeath(&self, from: &Right, by: &Right, successors: &BTreeMap<String, Right>) -> Result<Patch, ViewError> {
        let member = self.fenced(from)?;
        if let Some(own) = successors.values().find(|right| right.node == from.node) {
            return Err(ViewError::OwnSuccessor(own.clone()));
        }
        let mut patch = Patch::default();
        test_fenced(&mut patch, from);
        patch.test(&["members", &from.node, "rev"], member.rev);
        patch.replace(&["members", &from.node, "rev"], member.rev + 1);
        self.up(by)?;
        test_up(&mut patch, by);
        self.name_all(self.held_by(from).filter_map(|(uid, _)| successors.get(uid)), &mut patch)?;
        self.pass_on(from, successors, &mut patch);
        Ok(patch)
    }
}
