//! The objects as they were last seen.

use std::collections::{BTreeMap, BTreeSet};

use super::seen::{Endpoints, Id, Listing, Meta, Node, Object, Pool, Segment, Service, Vip};

/// Everything seen, by name.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub(super) vips: BTreeMap<String, Vip>,
    pub(super) pools: BTreeMap<String, Pool>,
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) views: BTreeMap<String, Segment>,
    /// Services that are ours.
    pub(super) services: BTreeMap<String, Service>,
    pub(super) endpoints: BTreeMap<String, Endpoints>,
    /// `VirtualIP`s that are there but do not parse.
    pub(super) unreadable: BTreeSet<String>,
    /// Something is there that does not parse and may be any `VirtualIP`.
    pub(super) obscure: bool,
    listed: [bool; 6],
}

impl World {
    /// Whether all kinds but those of Services have been listed, so that what was not seen is not there. Who may not
    /// read Services does everything else.
    pub(super) fn is_complete(&self) -> bool {
        self.listed[..4].iter().all(|listed| *listed)
    }

    /// Whether Services and their endpoints have been listed.
    pub(super) fn has_services(&self) -> bool {
        self.listed[4..].iter().all(|listed| *listed)
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
            Listing::Services(list) => {
                let ours = list.into_iter().filter(|service| !service.families.is_empty());
                self.services = ours.map(|service| (service.meta.name.clone(), service)).collect();
                self.listed[4] = true;
            }
            Listing::Endpoints(list) => {
                self.endpoints = list.into_iter().map(|slice| (slice.name.clone(), slice)).collect();
                self.listed[5] = true;
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
            Object::Node(node) => other(&mut self.nodes, node.name.clone(), node),
            Object::Service(service) if service.families.is_empty() => {
                self.services.remove(&service.meta.name).is_some()
            }
            Object::Service(service) => {
                newer(&mut self.services, service.meta.name.clone(), service, |service| &service.meta)
            }
            Object::Endpoints(slice) => other(&mut self.endpoints, slice.name.clone(), slice),
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
            Id::Service(name) => drop(self.services.remove(name)),
            Id::Endpoints(name) => drop(self.endpoints.remove(name)),
        }
    }

    /// What was accepted of an object stays in force, but something is there that could not be read.
    pub(super) fn unreadable(&mut self, id: Option<Id>) {
        match id {
            Some(Id::Vip(name)) => drop(self.unreadable.insert(name)),
            Some(Id::Pool(_) | Id::Node(_) | Id::View(_) | Id::Service(_) | Id::Endpoints(_)) => {}
            None => self.obscure = true,
        }
    }
}

/// Puts an object in place; whether it is another than the one there.
fn other<T: PartialEq>(map: &mut BTreeMap<String, T>, name: String, object: T) -> bool {
    let news = map.get(&name) != Some(&object);
    map.insert(name, object);
    news
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
