//! The objects as they were last seen.

use std::collections::{BTreeMap, BTreeSet};

use super::seen::{Id, Listing, Meta, Node, Object, Pool, Segment, Vip};

/// Everything seen, by name.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub(super) vips: BTreeMap<String, Vip>,
    pub(super) pools: BTreeMap<String, Pool>,
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) views: BTreeMap<String, Segment>,
    /// `VirtualIP`s that are there but do not parse.
    pub(super) unreadable: BTreeSet<String>,
    /// Something is there that does not parse and may be any `VirtualIP`.
    pub(super) obscure: bool,
    listed: [bool; 4],
}

impl World {
    /// Whether all kinds have been listed, so that what was not seen is not there.
    pub(super) fn is_complete(&self) -> bool {
        self.listed.iter().all(|listed| *listed)
    }

    /// Takes a list as all there is of a kind.
    pub(super) fn reset(&mut self, listing: Listing) {
        match listing {
            Listing::Vips(list) => {
                self.vips = list.into_iter().map(|vip| (vip.meta.name.clone(), vip)).collect();
                self.unreadable.clear();
                self.obscure = false;
                self.listed[0] = true;
            }
            Listing::Pools(list) => {
                self.pools = list.into_iter().map(|pool| (pool.meta.name.clone(), pool)).collect();
                self.listed[1] = true;
            }
            Listing::Nodes(list) => {
                self.nodes = list.into_iter().map(|node| (node.name.clone(), node)).collect();
                self.listed[2] = true;
            }
            Listing::Views(list) => {
                self.views = list.into_iter().map(|view| (view.meta.name.clone(), view)).collect();
                self.listed[3] = true;
            }
        }
    }

    /// Takes an object as it is now, and says whether that is news. One that is older than what was seen is left aside,
    /// since the answer to an own write overtakes the watch.
    pub(super) fn apply(&mut self, object: Object) -> bool {
        match object {
            Object::Vip(vip) => {
                let was_unreadable = self.unreadable.remove(&vip.meta.name);
                newer(&mut self.vips, vip.meta.name.clone(), vip, |vip| &vip.meta) || was_unreadable
            }
            Object::Pool(pool) => newer(&mut self.pools, pool.meta.name.clone(), pool, |pool| &pool.meta),
            Object::View(view) => newer(&mut self.views, view.meta.name.clone(), view, |view| &view.meta),
            Object::Node(node) => {
                let news = self.nodes.get(&node.name) != Some(&node);
                self.nodes.insert(node.name.clone(), node);
                news
            }
        }
    }

    /// An object is gone.
    pub(super) fn delete(&mut self, id: &Id) {
        match id {
            Id::Vip(name) => {
                self.vips.remove(name);
                self.unreadable.remove(name);
            }
            Id::Pool(name) => drop(self.pools.remove(name)),
            Id::Node(name) => drop(self.nodes.remove(name)),
            Id::View(name) => drop(self.views.remove(name)),
        }
    }

    /// What was accepted of an object stays in force, but something is there that could not be read.
    pub(super) fn unreadable(&mut self, id: Option<Id>) {
        match id {
            Some(Id::Vip(name)) => drop(self.unreadable.insert(name)),
            Some(Id::Pool(_) | Id::Node(_) | Id::View(_)) => {}
            None => self.obscure = true,
        }
    }
}

/// Puts an object in place if it is a newer version, or another object, than the one there; whether it was. The versions
/// of both stores are decimal numbers that grow; another text is always taken.
fn newer<T>(map: &mut BTreeMap<String, T>, name: String, object: T, meta: impl Fn(&T) -> &Meta) -> bool {
    let version = |meta: &Meta| meta.version.parse::<u64>().ok();
    let old = map.get(&name).map(&meta).filter(|old| old.uid == meta(&object).uid);
    let known = old.and_then(version).zip(version(meta(&object))).is_some_and(|(old, new)| new <= old);
    if !known {
        map.insert(name, object);
    }
    !known
}
