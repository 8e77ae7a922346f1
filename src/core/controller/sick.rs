//! On which nodes the health check of an address failed, and how long they are left out.
//!
//! What counts is when this process saw it, never another clock's time. A holder that fails is left out for as long as it
//! does; a node that failed before the address left it is left out for [`pardon`], and then it is as one that was never
//! asked. So an address that fails everywhere stays where it is, and is tried elsewhere ever more rarely.

use std::collections::{BTreeMap, BTreeSet};

use super::world::World;
use crate::core::health::pardon;
use crate::core::time::Time;

/// A failure that was seen.
#[derive(Debug, Clone, Copy)]
struct Seen {
    failures: u32,
    until: Time,
    /// The address has left the node since: what the record says is old until it says something else.
    left: bool,
}

/// The failures that are remembered, by VIP and node.
#[derive(Debug, Default)]
pub(super) struct Sick {
    seen: BTreeMap<(String, String), Seen>,
}

impl Sick {
    /// Takes in what statuses say now; returns the nodes that are left out, by VIP, and when that may change.
    pub(super) fn look(&mut self, now: Time, world: &World) -> (BTreeMap<String, BTreeSet<String>>, Option<Time>) {
        let mut out: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut checked = BTreeSet::new();
        for vip in world.vips.values().filter(|vip| vip.wish.as_ref().is_ok_and(|wish| wish.checked)) {
            let uid = &vip.meta.uid;
            checked.insert(uid.as_str());
            let entry = || world.views.values().find_map(|segment| segment.view.assign.get(uid));
            for (node, record) in &vip.health {
                let place = (uid.clone(), node.clone());
                let holder = vip.holder.as_ref().map(|(right, _)| right).filter(|right| right.node == *node);
                let holds = holder.is_some() && entry().and_then(|entry| entry.holder.as_ref()) == holder;
                if !record.failing {
                    if holds {
                        self.seen.remove(&place);
                    }
                    continue;
                }
                let new = Seen { failures: record.failures, until: now + pardon(record.failures), left: false };
                let seen = self.seen.entry(place).or_insert(new);
                if seen.failures != record.failures {
                    *seen = new;
                }
                seen.left |= !holds;
                if holds && !seen.left {
                    out.entry(uid.clone()).or_default().insert(node.clone());
                }
            }
        }
        self.seen.retain(|(uid, _), _| checked.contains(uid.as_str()));
        let mut next: Option<Time> = None;
        for ((uid, node), seen) in self.seen.iter().filter(|(_, seen)| seen.until > now) {
            out.entry(uid.clone()).or_default().insert(node.clone());
            next = Some(next.map_or(seen.until, |next| next.min(seen.until)));
        }
        (out, next)
    }
}
