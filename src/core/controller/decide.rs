//! One look at everything: what has to be written for the store to be as it should be.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::assign::{Entry, Homeless, MAX_STEPS, Steps, entries};
use super::ground::Ground;
use super::seen::{Condition, FINALIZER, Figures, Id, Missing, Notice, PoolStatus, Status, Vip, Write};
use super::service::{self, Owners};
use super::status::{self, ALLOCATED, READY, Readiness, ReadyReason};
use super::world::World;
use crate::core::ipam::{self, AllocateError, Claim, Ledger, Space, allocate};
use crate::core::view::Step;

/// How soon a write is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// Who has what.
    View,
    /// The end of an object, or a status on which something rests or that has turned.
    Status,
    /// Words and counts, which may wait for more of them.
    Words,
}

/// A write, and what users are told when it is done.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Planned {
    pub(super) id: Id,
    pub(super) urgency: Urgency,
    pub(super) write: Write,
    /// The `VirtualIP`s that a view's write is about, by uid.
    pub(super) uids: BTreeSet<String>,
    pub(super) notices: Vec<Notice>,
}

/// What a look depends on beside the objects.
#[derive(Debug, Clone, Default)]
pub(super) struct Circumstances {
    /// Addresses that statuses under way may already have given, by uid.
    pub(super) assumed: BTreeMap<String, IpAddr>,
    /// `VirtualIP`s that writes of views under way are about, by uid.
    pub(super) unsettled: BTreeSet<String>,
    /// `VirtualIP`s that have waited long enough for a segment of their own, by uid.
    pub(super) patient: BTreeSet<String>,
    /// By uid, the nodes that are left out because a health check fails there.
    pub(super) sick: BTreeMap<String, BTreeSet<String>>,
}

/// The outcome of a look.
#[derive(Debug, Default)]
pub(super) struct Decision {
    pub(super) writes: Vec<Planned>,
    /// `VirtualIP`s in nobody's subnet that wait for a segment of their own, by uid.
    pub(super) strays: BTreeSet<String>,
    pub(super) figures: Figures,
}

/// Looks at everything.
pub(super) fn decide(world: &World, around: &Circumstances) -> Decision {
    let grounds = Ground::all(world);
    let (entries, doubles) = entries(&grounds);
    let owners = Owners::new(world);
    let vips: Vec<Cow<'_, Vip>> = world.vips.values().map(|vip| owners.complete(vip)).collect();
    let mut vips: Vec<&Vip> = vips.iter().map(AsRef::as_ref).collect();
    vips.sort_by(|a, b| (a.meta.created, &a.meta.uid).cmp(&(b.meta.created, &b.meta.uid)));
    let ledger = ledger(world, &vips, &entries, around);
    let mut look = Look {
        world,
        around,
        grounds: &grounds,
        withdrawing: grounds.iter().any(|ground| ground.view.withdraw),
        steps: Steps::new(&grounds, &around.sick),
        ledger: &ledger,
        decision: Decision::default(),
    };
    // Before Services are known, what is said of the VirtualIPs that they own would be wrong.
    for vip in vips.iter().filter(|vip| vip.owner.is_none() || world.has_services()) {
        look.vip(vip, entries.get(vip.meta.uid.as_str()).copied());
    }
    let known: BTreeSet<&str> = vips.iter().map(|vip| vip.meta.uid.as_str()).collect();
    for (uid, entry) in &entries {
        if !known.contains(uid) && look.is_orphan(entry) {
            look.steps.close(entry.ground, uid);
        }
    }
    for (ground, uid) in doubles {
        look.steps.close(ground, uid);
    }
    look.pools();
    for (id, urgency, write, notices) in service::needs(world) {
        look.plan(id, urgency, write, notices);
    }
    look.finish()
}

/// Who gets which address.
fn ledger(world: &World, vips: &[&Vip], entries: &BTreeMap<&str, Entry<'_>>, around: &Circumstances) -> Ledger {
    let pools: Vec<ipam::Pool> = world.pools.values().filter_map(pool).collect();
    let claims: Vec<Claim> = vips
        .iter()
        .filter_map(|vip| {
            let held = vip.status.address.or_else(|| around.assumed.get(&vip.meta.uid).copied());
            claim(vip, held, entries.contains_key(vip.meta.uid.as_str()))
        })
        .collect();
    allocate(&pools, &claims)
}

fn pool(pool: &super::seen::Pool) -> Option<ipam::Pool> {
    let offer = pool.offer.as_ref().ok()?;
    Some(ipam::Pool {
        name: pool.meta.name.clone(),
        uid: pool.meta.uid.clone(),
        created: pool.meta.created,
        space: Space::new(&offer.ranges, &offer.exclude, offer.avoid_buggy),
        auto_assign: offer.auto_assign,
        priority: offer.priority,
        namespaces: offer.namespaces.clone(),
        services: offer.services.clone(),
        deleting: pool.meta.deleting,
    })
}

/// The claim of a `VirtualIP`; one whose wish cannot be understood only keeps what it has.
fn claim(vip: &Vip, held: Option<IpAddr>, bound: bool) -> Option<Claim> {
    let base = Claim {
        uid: vip.meta.uid.clone(),
        name: format!("VirtualIP {}", vip.meta.name),
        created: vip.meta.created,
        held,
        bound,
        deleting: vip.meta.deleting,
        ..Claim::default()
    };
    match &vip.wish {
        Ok(wish) => Some(Claim {
            namespace: wish.namespace.clone(),
            service: wish.service.clone(),
            address: wish.address,
            pool: wish.pool.clone(),
            family: wish.family,
            ..base
        }),
        Err(_) => held.map(|_| base),
    }
}

struct Look<'a> {
    world: &'a World,
    around: &'a Circumstances,
    grounds: &'a [Ground<'a>],
    withdrawing: bool,
    steps: Steps<'a>,
    ledger: &'a Ledger,
    decision: Decision,
}

impl<'a> Look<'a> {
    fn vip(&mut self, vip: &'a Vip, entry: Option<Entry<'a>>) {
        let uid = &vip.meta.uid;
        let outcome = match (self.ledger.claims.get(uid), &vip.wish) {
            (Some(Ok(allocation)), _) => Ok(allocation),
            (_, Err(why)) => Err(Err(why.as_str())),
            (Some(Err(error)), _) => Err(Ok(error)),
            (None, Ok(_)) => Err(Ok(&AllocateError::NoPool)),
        };
        let address = outcome.ok().map(|allocation| allocation.address);
        // An address that a node may claim is given up before the status names another.
        let lost = entry.is_some() && vip.status.address.is_some_and(|held| Some(held) != address);
        let readiness = match entry {
            Some(entry) => self.with_entry(vip, entry, lost),
            None => self.without_entry(vip, address),
        };
        self.decision.figures.vips += 1;
        self.decision.figures.allocated += usize::from(address.is_some());
        self.decision.figures.ready += usize::from(vip.status.condition(READY).is_some_and(|ready| ready.holds));
        let id = Id::Vip(vip.meta.name.clone());
        if let Some(at) = self.last_finalizer(vip, entry) {
            return self.plan(id, Urgency::Status, Write::RemoveFinalizer { at }, Vec::new());
        }
        if lost {
            return;
        }
        let missing = self.missing_finalizer(vip, address);
        let said = status::of_vip(vip, outcome, readiness, missing.is_some());
        let Some((status, notices)) = said else { return };
        let urgency = if missing.is_some() { Some(Urgency::Status) } else { urgency(vip, &status) };
        if let Some(urgency) = urgency {
            self.plan(id, urgency, Write::VipStatus { missing, status }, notices);
        }
    }

    fn with_entry(&mut self, vip: &Vip, entry: Entry<'a>, lost: bool) -> Readiness {
        let ground = &self.grounds[entry.ground];
        match &entry.assignment.holder {
            _ if vip.meta.deleting || lost || entry.assignment.releasing || ground.view.withdraw => {
                if !ground.view.withdraw || entry.assignment.holder.is_none() {
                    self.steps.close(entry.ground, &vip.meta.uid);
                }
            }
            Some(holder) => self.steps.move_if_better(vip, entry, holder),
            None => {
                return match self.steps.grant(vip, Some(entry), true) {
                    Ok(()) => status::pending(),
                    Err(why) => status::of_homeless(&why),
                };
            }
        }
        status::of_entry(vip, entry, ground)
    }

    fn without_entry(&mut self, vip: &Vip, address: Option<IpAddr>) -> Readiness {
        let uid = &vip.meta.uid;
        if vip.meta.deleting {
            return (ReadyReason::Releasing, "it is being deleted".to_owned());
        }
        if address.is_none() {
            return (ReadyReason::NotAllocated, "it has no address".to_owned());
        }
        if self.withdrawing {
            return (ReadyReason::Withdrawn, "vipkeeper is being uninstalled".to_owned());
        }
        // Nothing is given to a node before the store has the address and the finalizer.
        if vip.status.address != address || place_of(FINALIZER, vip).is_none() || self.around.unsettled.contains(uid) {
            return status::pending();
        }
        match self.steps.grant(vip, None, self.around.patient.contains(uid)) {
            Ok(()) => status::pending(),
            Err(why) => {
                if matches!(why, Homeless::Stray) {
                    self.decision.strays.insert(uid.clone());
                }
                status::of_homeless(&why)
            }
        }
    }

    /// The finalizer is there from before the address is given to a node …
    fn missing_finalizer(&self, vip: &Vip, address: Option<IpAddr>) -> Option<Missing> {
        let wanted = !vip.meta.deleting && !self.withdrawing && address.is_some();
        let missing = wanted && place_of(FINALIZER, vip).is_none();
        missing.then(|| Missing { version: vip.meta.version.clone(), others: vip.meta.finalizers.len() })
    }

    /// … until nobody has a right to it: its place, if it is to go now.
    fn last_finalizer(&self, vip: &Vip, entry: Option<Entry<'_>>) -> Option<usize> {
        let going = vip.meta.deleting || self.withdrawing;
        let closed = entry.is_none() && !self.around.unsettled.contains(&vip.meta.uid);
        place_of(FINALIZER, vip).filter(|_| going && closed)
    }

    /// Entries of `VirtualIP`s that are gone, unless something is there that could not be read and may be one of them.
    fn is_orphan(&self, entry: &Entry<'_>) -> bool {
        !self.world.obscure && !self.world.unreadable.contains(&entry.assignment.name)
    }

    fn pools(&mut self) {
        for (name, pool) in &self.world.pools {
            let used = self.ledger.pools.get(name);
            if let Some(used) = used {
                self.decision.figures.pools.insert(name.clone(), (used.total, used.used));
            }
            let (new, notices) = status::of_pool(pool, used);
            if let Some(urgency) = pool_urgency(&pool.status, &new) {
                self.plan(Id::Pool(name.clone()), urgency, Write::PoolStatus(new), notices);
            }
        }
    }

    fn plan(&mut self, id: Id, urgency: Urgency, write: Write, notices: Vec<Notice>) {
        self.decision.writes.push(Planned { id, urgency, write, uids: BTreeSet::new(), notices });
    }

    /// The steps of each view become one patch.
    fn finish(mut self) -> Decision {
        for (ground, mut steps) in self.grounds.iter().zip(std::mem::take(&mut self.steps.of)) {
            steps.truncate(MAX_STEPS);
            let only =
                |steps: &[(Step, Option<Notice>)]| steps.iter().map(|(step, _)| step.clone()).collect::<Vec<_>>();
            let patch = ground.view.batch(&only(&steps)).or_else(|_| {
                // One step that the view forbids must not keep the others.
                steps.retain(|(step, _)| ground.view.batch(std::slice::from_ref(step)).is_ok());
                ground.view.batch(&only(&steps))
            });
            let Ok(patch) = patch else { continue };
            if !steps.is_empty() {
                let uids = steps.iter().map(|(step, _)| step.uid().to_owned()).collect();
                let notices = steps.into_iter().filter_map(|(_, notice)| notice).collect();
                let id = Id::View(ground.name.to_owned());
                self.decision.writes.push(Planned {
                    id,
                    urgency: Urgency::View,
                    write: Write::View(patch),
                    uids,
                    notices,
                });
            }
        }
        self.decision
    }
}

/// Where a finalizer stands in the list of a `VirtualIP`.
fn place_of(finalizer: &str, vip: &Vip) -> Option<usize> {
    vip.meta.finalizers.iter().position(|one| one == finalizer)
}

/// Whether a status differs from what is stored, and how much that matters.
fn urgency(vip: &Vip, new: &Status) -> Option<Urgency> {
    let old = &vip.status;
    let same = |new: &Condition| old.condition(&new.kind).is_some_and(|old| old.says_the_same(new));
    if (old.address, old.generation) == (new.address, new.generation) && new.conditions.iter().all(same) {
        return None;
    }
    let turned = new.conditions.iter().any(|new| {
        old.condition(&new.kind)
            .is_none_or(|old| old.holds != new.holds || (new.kind == ALLOCATED && old.reason != new.reason))
    });
    let matters = turned || old.address != new.address || old.generation != new.generation;
    Some(if matters && !vip.meta.deleting { Urgency::Status } else { Urgency::Words })
}

fn pool_urgency(old: &PoolStatus, new: &PoolStatus) -> Option<Urgency> {
    let counts = |status: &PoolStatus| (status.total.clone(), status.allocated.clone(), status.free.clone());
    let same = |new: &Condition| old.conditions.iter().any(|old| old.says_the_same(new));
    if counts(old) == counts(new) && old.generation == new.generation && new.conditions.iter().all(same) {
        return None;
    }
    let turned =
        |new: &Condition| !old.conditions.iter().any(|old| (old.holds, &old.reason) == (new.holds, &new.reason));
    let matters = old.generation != new.generation || new.conditions.iter().any(turned);
    Some(if matters { Urgency::Status } else { Urgency::Words })
}
