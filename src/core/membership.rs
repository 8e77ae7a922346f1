//! A node's part in a segment's view: to register, to say in which mode it holds, to claim what it was given, and to go.
//!
//! Level-triggered: [`next`] looks at one version of the view and names the one patch to send for it, [`rights`] the
//! assignments that may be claimed under it. The only member holds solo, without a deadline, for nobody else can claim.
//! A node without a gate never leaves that mode, and so is never fenced: nothing would shut its addresses off. Hence it
//! takes part only where it was there first.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::view::{Assignment, Gate, Mode, Patch, Registration, Right, State, View, ViewError};

/// This node, as it registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Me {
    /// What the member's record says; its mode is chosen by [`next`].
    pub registration: Registration,
    /// The on-link prefixes of the interface, in canonical text.
    pub prefixes: BTreeSet<String>,
    /// Whether the node is about to go for good: hold nothing, then leave.
    pub leaving: bool,
}

/// Why a patch is sent; a closed set, for logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Purpose {
    /// The node takes a new epoch.
    Register,
    /// It goes.
    Leave,
    /// It says on what its right rests from now on.
    ChangeMode,
    /// It names a prefix of the segment.
    RecordPrefix,
    /// Former rights to what it has are over.
    Trim,
    /// It gives up an address that is being deleted.
    Release,
}

impl Purpose {
    /// The purpose as a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Leave => "leave",
            Self::ChangeMode => "change_mode",
            Self::RecordPrefix => "record_prefix",
            Self::Trim => "trim",
            Self::Release => "release",
        }
    }
}

/// The right under which this node may hold in this version of the view, if any.
#[must_use]
pub fn own_right(view: &View, me: &Me) -> Option<Right> {
    let node = &me.registration.node;
    let member = view.members.get(node)?;
    let ours = member.state == State::Up && member.boot_id == me.registration.boot_id;
    ours.then(|| Right::new(node, member.epoch))
}

/// The assignments that this node may claim, by uid: given to its right, waiting for nobody, not being given up.
#[must_use]
pub fn rights<'a>(view: &'a View, me: &Me) -> BTreeMap<&'a str, &'a Assignment> {
    let Some(right) = own_right(view, me).filter(|_| !me.leaving && !view.withdraw) else { return BTreeMap::new() };
    view.assign
        .iter()
        .filter(|(_, entry)| entry.holder.as_ref() == Some(&right) && !entry.releasing)
        .filter(|(_, entry)| entry.after.keys().all(|former| is_over(view, former, &right)))
        .map(|(uid, entry)| (uid.as_str(), entry))
        .collect()
}

/// The one patch to send for this version of the view, `None` if it is as it should be. `standing` are the VIPs, by uid,
/// whose addresses stand on this node.
///
/// # Errors
/// [`ViewError`] where the view forbids what should come next; a later version may allow it.
pub fn next(view: &View, me: &Me, standing: &BTreeSet<String>) -> Result<Option<(Purpose, Patch)>, ViewError> {
    let Some(right) = own_right(view, me) else {
        return register(view, me, standing);
    };
    if me.leaving || view.withdraw {
        let gone = standing.is_empty();
        return gone.then(|| view.leave(&right).map(|patch| (Purpose::Leave, patch))).transpose();
    }
    if let Some(next) = next_prefix(view, me) {
        return Ok(Some(next));
    }
    if let Some(patch) = mode_change(view, me, &right)? {
        return Ok(Some((Purpose::ChangeMode, patch)));
    }
    if let Some(patch) = release(view, &right, standing)? {
        return Ok(Some((Purpose::Release, patch)));
    }
    Ok(trim(view, &right)?.map(|patch| (Purpose::Trim, patch)))
}

/// The patch that names a prefix of the segment that the view does not know yet, once the node is a member: all that is
/// left to write where a failover machine does the rest.
#[must_use]
pub fn next_prefix(view: &View, me: &Me) -> Option<(Purpose, Patch)> {
    own_right(view, me)?;
    let missing = me.prefixes.iter().find(|prefix| !view.prefixes.contains_key(*prefix))?;
    Some((Purpose::RecordPrefix, view.record_prefix(missing, &me.registration.node)))
}

fn register(view: &View, me: &Me, standing: &BTreeSet<String>) -> Result<Option<(Purpose, Patch)>, ViewError> {
    let old = view.members.get(&me.registration.node);
    // A right that was taken away is given up before another is asked for.
    let taken = old.is_some_and(|old| old.state == State::Fenced && !standing.is_empty());
    if me.leaving || view.withdraw || taken {
        return Ok(None);
    }
    let solo = Registration { mode: Mode::Solo, ..me.registration.clone() };
    let result = match view.register(&solo) {
        Err(ViewError::NotAlone { .. }) if me.registration.gate == Gate::None => return Ok(None),
        Err(ViewError::NotAlone { .. }) => view.register(&Registration { mode: Mode::Peers, ..solo }),
        result => result,
    };
    result.map(|(_, patch)| Some((Purpose::Register, patch)))
}

/// Alone it is solo; as soon as another member is there, it is not.
fn mode_change(view: &View, me: &Me, right: &Right) -> Result<Option<Patch>, ViewError> {
    let mode = view.up(right)?.mode;
    let alone = view.up_members().all(|(name, _)| *name == me.registration.node);
    match (alone, mode) {
        (true, Mode::Peers | Mode::Api | Mode::Grace) => match view.change_mode(right, Mode::Solo, &BTreeMap::new()) {
            Err(ViewError::NotAlone { .. }) => Ok(None),
            result => result.map(Some),
        },
        (false, Mode::Solo) if me.registration.gate == Gate::None => Ok(None),
        (false, Mode::Solo) => view.change_mode(right, Mode::Peers, &view.watchers_for(&right.node)).map(Some),
        (true, Mode::Solo) | (false, Mode::Peers | Mode::Api | Mode::Grace) => Ok(None),
    }
}

/// Entries that are being deleted go once their addresses do not stand here any more.
fn release(view: &View, right: &Right, standing: &BTreeSet<String>) -> Result<Option<Patch>, ViewError> {
    let over = |entry: &Assignment| entry.after.keys().all(|former| is_over(view, former, right));
    let gone: Vec<&str> = view
        .held_by(right)
        .filter(|(uid, entry)| entry.releasing && !standing.contains(*uid) && over(entry))
        .map(|(uid, _)| uid.as_str())
        .collect();
    if gone.is_empty() { Ok(None) } else { view.remove_all(&gone, right).map(Some) }
}

fn trim(view: &View, right: &Right) -> Result<Option<Patch>, ViewError> {
    let closed: BTreeMap<String, BTreeSet<Right>> = view
        .held_by(right)
        .filter(|(_, entry)| !entry.after.is_empty())
        .map(|(uid, entry)| {
            (uid.clone(), entry.after.keys().filter(|former| is_over(view, former, right)).cloned().collect())
        })
        .filter(|(_, closed): &(String, BTreeSet<Right>)| !closed.is_empty())
        .collect();
    if closed.is_empty() { Ok(None) } else { view.trim(right, &closed).map(Some) }
}

/// A former right of this very node is over once the node has another; that of another once the view shows it.
fn is_over(view: &View, former: &Right, own: &Right) -> bool {
    former.node == own.node || view.is_over(former)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::view::Grant;

    fn me(node: &str, boot_id: &str) -> Me {
        Me {
            registration: Registration {
                node: node.into(),
                mode: Mode::Solo,
                address: "198.51.100.1".parse().unwrap(),
                port: 9473,
                mac: None,
                interface: "eth0".into(),
                boot_id: boot_id.into(),
                gate: Gate::Bpf,
                rho: 10_000,
            },
            prefixes: BTreeSet::from(["198.51.100.0/24".to_owned()]),
            leaving: false,
        }
    }

    fn apply(view: &View, patch: &Patch) -> View {
        patch.apply(view).unwrap()
    }

    /// Sends patches until the view is as it should be.
    fn settle(mut view: View, me: &Me, standing: &BTreeSet<String>) -> (View, Vec<Purpose>) {
        let mut sent = Vec::new();
        while let Some((purpose, patch)) = next(&view, me, standing).unwrap() {
            view = apply(&view, &patch);
            sent.push(purpose);
            assert!(sent.len() < 20, "never settles: {sent:?}");
        }
        (view, sent)
    }

    fn grant(view: &View, uid: &str, to: &str) -> View {
        let right = view.right_of(to).unwrap();
        apply(view, &view.grant(&[Grant { uid: uid.into(), name: format!("shop/{uid}"), to: right }]).unwrap())
    }

    fn uids(view: &View, me: &Me) -> Vec<String> {
        rights(view, me).into_keys().map(str::to_owned).collect()
    }

    #[test]
    fn the_first_node_registers_solo_and_holds_what_it_is_given() {
        let a = me("a", "boot1");
        let (view, sent) = settle(View::default(), &a, &BTreeSet::new());
        assert_eq!(sent, [Purpose::Register, Purpose::RecordPrefix]);
        assert_eq!(view.members["a"].mode, Mode::Solo);
        let view = grant(&view, "web", "a");
        assert_eq!(uids(&view, &a), ["web"]);
        assert_eq!(settle(view.clone(), &a, &BTreeSet::new()).1, [], "a restart changes nothing");
    }

    #[test]
    fn another_boot_takes_another_epoch_and_keeps_its_addresses() {
        let (view, _) = settle(View::default(), &me("a", "boot1"), &BTreeSet::new());
        let view = grant(&view, "web", "a");
        let again = me("a", "boot2");
        assert_eq!(uids(&view, &again), Vec::<String>::new(), "not under the epoch of another boot");
        let before = view.members["a"].epoch;
        let (view, sent) = settle(view, &again, &BTreeSet::new());
        assert_eq!(sent, [Purpose::Register]);
        assert!(view.members["a"].epoch > before);
        assert_eq!(uids(&view, &again), ["web"]);
    }

    #[test]
    fn a_second_node_ends_solo() {
        let (a, b) = (me("a", "boot1"), me("b", "boot2"));
        let (view, _) = settle(View::default(), &a, &BTreeSet::new());
        let (view, sent) = settle(view, &b, &BTreeSet::new());
        assert_eq!((sent, view.members["b"].mode), (vec![Purpose::Register], Mode::Peers));
        let (view, sent) = settle(view, &a, &BTreeSet::new());
        assert_eq!((sent, view.members["a"].mode), (vec![Purpose::ChangeMode], Mode::Peers));
        let (view, _) = settle(view, &Me { leaving: true, ..b }, &BTreeSet::new());
        let (view, _) = settle(view, &a, &BTreeSet::new());
        assert_eq!(view.members["a"].mode, Mode::Solo, "alone again");
    }

    #[test]
    fn a_node_without_a_gate_stays_solo_and_never_comes_second() {
        let without = |node: &str| {
            let mut me = me(node, "boot1");
            me.registration.gate = Gate::None;
            me
        };
        let (view, _) = settle(View::default(), &without("a"), &BTreeSet::new());
        let (view, sent) = settle(view, &without("b"), &BTreeSet::new());
        assert_eq!(sent, [], "it would be fenced and go on answering");
        let (view, _) = settle(view, &me("c", "boot1"), &BTreeSet::new());
        let (view, sent) = settle(view, &without("a"), &BTreeSet::new());
        assert_eq!((sent, view.members["a"].mode), (vec![], Mode::Solo));
    }

    #[test]
    fn a_deleted_vip_goes_only_when_its_address_is_gone() {
        let a = me("a", "boot1");
        let (view, _) = settle(View::default(), &a, &BTreeSet::new());
        let view = grant(&view, "web", "a");
        let view = apply(&view, &view.release("web").unwrap());
        assert_eq!(uids(&view, &a), Vec::<String>::new());
        let standing = BTreeSet::from(["web".to_owned()]);
        assert_eq!(settle(view.clone(), &a, &standing).1, [], "the address still stands");
        let (view, sent) = settle(view, &a, &BTreeSet::new());
        assert_eq!(sent, [Purpose::Release]);
        assert!(view.assign.is_empty());
    }

    #[test]
    fn who_leaves_gives_up_its_addresses_first() {
        let a = me("a", "boot1");
        let (view, _) = settle(View::default(), &a, &BTreeSet::new());
        let view = grant(&view, "web", "a");
        let leaving = Me { leaving: true, ..a.clone() };
        assert_eq!(uids(&view, &leaving), Vec::<String>::new());
        let standing = BTreeSet::from(["web".to_owned()]);
        assert_eq!(settle(view.clone(), &leaving, &standing).1, []);
        let (view, sent) = settle(view, &leaving, &BTreeSet::new());
        assert_eq!(sent, [Purpose::Leave]);
        assert_eq!((view.members["a"].state, view.assign["web"].holder.clone()), (State::Left, None));
        let withdrawn = apply(&view, &View::withdraw_all());
        assert_eq!(settle(withdrawn, &a, &BTreeSet::new()).1, [], "nobody registers during an uninstall");
    }

    #[test]
    fn an_address_of_a_node_that_left_is_claimed_at_once() {
        let (a, b) = (me("a", "boot1"), me("b", "boot2"));
        let (view, _) = settle(View::default(), &a, &BTreeSet::new());
        let (view, _) = settle(view, &b, &BTreeSet::new());
        let (view, _) = settle(view, &a, &BTreeSet::new());
        let view = grant(&view, "web", "a");
        let (from, to) = (view.right_of("a").unwrap(), view.right_of("b").unwrap());
        let view = apply(&view, &view.move_to("web", &from, &to).unwrap());
        assert_eq!(uids(&view, &b), Vec::<String>::new(), "not before the former holder is done");
        let (view, _) = settle(view, &Me { leaving: true, ..a }, &BTreeSet::new());
        assert_eq!(uids(&view, &b), ["web"]);
        let (view, _) = settle(view, &b, &BTreeSet::from(["web".to_owned()]));
        assert!(view.assign["web"].after.is_empty());
    }

    proptest! {
        /// Whatever nodes come, go and reboot, no version of the view lets two of them claim one address.
        #[test]
        fn no_two_claim(steps in prop::collection::vec((0usize..3, 0u8..5), 1..40)) {
            let mut view = View::default();
            let mut nodes = [me("a", "boot0"), me("b", "boot0"), me("c", "boot0")];
            for (number, (who, what)) in steps.into_iter().enumerate() {
                match what {
                    0 => nodes[who].leaving = !nodes[who].leaving,
                    1 => nodes[who].registration.boot_id = format!("boot{number}"),
                    2 => if let Some(right) = view.right_of(&nodes[who].registration.node) {
                        let new = Grant { uid: format!("vip{}", number % 4), name: "x/y".into(), to: right };
                        if let Ok(patch) = view.grant(&[new]) { view = apply(&view, &patch); }
                    },
                    _ => if let Ok(Some((_, patch))) = next(&view, &nodes[who], &BTreeSet::new()) {
                        view = apply(&view, &patch);
                    },
                }
                for uid in view.assign.keys() {
                    let claimants = nodes.iter().filter(|node| rights(&view, node).contains_key(uid.as_str())).count();
                    prop_assert!(claimants <= 1);
                }
            }
        }
    }
}
