//! What statuses say: conditions with reasons from closed sets.

use super::assign::{Entry, Homeless, list_of};
use super::ground::Ground;
use super::seen::{Condition, Id, Meta, Notice, Pool, PoolStatus, Severity, Status, Vip};
use crate::core::ipam::{AllocateError, Allocation, PoolUse};
use crate::core::view::{After, Right};

/// The condition that says whether an address is found.
pub const ALLOCATED: &str = "Allocated";
/// The condition that says whether a node answers for the address, or a pool gives out addresses.
pub const READY: &str = "Ready";

/// Why a `VirtualIP` is ready or not: the reasons of its condition `Ready`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadyReason {
    /// The node that it was given to answers for it.
    Held,
    /// It is on its way to another node; the former holder answers until then.
    Moving,
    /// It was given to a node that has not reported it yet.
    Assigned,
    /// It was given to a node, and a former holder must be closed first.
    TakingOver,
    /// It has an address and is about to be given to a node.
    Pending,
    /// It has no address.
    NotAllocated,
    /// No segment fits.
    NoSegment,
    /// No node of the segment may have it.
    NoNode,
    /// The software is being uninstalled.
    Withdrawn,
    /// It is being deleted, or must get another address, and its holder has to give it up.
    Releasing,
}

impl ReadyReason {
    /// The reason as a word that does not change between versions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "Held",
            Self::Moving => "Moving",
            Self::Assigned => "Assigned",
            Self::TakingOver => "TakingOver",
            Self::Pending => "Pending",
            Self::NotAllocated => "NotAllocated",
            Self::NoSegment => "NoSegment",
            Self::NoNode => "NoNode",
            Self::Withdrawn => "Withdrawn",
            Self::Releasing => "Releasing",
        }
    }

    const fn holds(self) -> bool {
        matches!(self, Self::Held | Self::Moving)
    }

    /// Whether a person should know.
    const fn is_trouble(self) -> bool {
        matches!(self, Self::NoSegment | Self::NoNode)
    }
}

/// What the condition `Ready` says.
pub(super) type Readiness = (ReadyReason, String);

/// Why an address cannot be found: the reason that is no [`AllocateError`].
const INVALID_SPEC: &str = "InvalidSpec";

/// What became of a `VirtualIP`'s wish for an address.
pub(super) type Outcome<'a> = Result<&'a Allocation, Result<&'a AllocateError, &'a str>>;

/// A condition before it has a time, and whether its turn is told as an event.
pub(super) struct Said {
    pub(super) kind: &'static str,
    pub(super) holds: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) tell: Option<Severity>,
}

impl Said {
    /// The condition; it keeps its time if it has not turned.
    pub(super) fn condition(&self, meta: &Meta, old: Option<&Condition>) -> Condition {
        Condition {
            kind: self.kind.to_owned(),
            holds: self.holds,
            reason: self.reason.to_owned(),
            message: self.message.clone(),
            generation: meta.generation,
            since: old.filter(|old| old.holds == self.holds).and_then(|old| old.since.clone()),
        }
    }

    /// Whether a condition says this, of this generation.
    fn is_in(&self, condition: &Condition, generation: i64) -> bool {
        let Condition { holds, reason, message, generation: of, .. } = condition;
        (*holds, reason.as_str(), *of) == (self.holds, self.reason, generation) && *message == self.message
    }

    /// What users are told if it is new or has another reason.
    pub(super) fn notice(&self, about: Id, meta: &Meta, old: Option<&Condition>) -> Option<Notice> {
        let turned = old.is_none_or(|old| old.holds != self.holds || old.reason != self.reason);
        let severity = self.tell.filter(|_| turned)?;
        let message = self.message.clone();
        Some(Notice { about, uid: meta.uid.clone(), severity, reason: self.reason, message })
    }
}

fn allocated(outcome: Outcome<'_>) -> Said {
    let (holds, reason, message) = match outcome {
        Ok(Allocation { address, despite: Some(why), .. }) => {
            (true, why.as_str(), format!("{address} is in use and kept, although {why}"))
        }
        Ok(Allocation { address, pool: Some(pool), .. }) => {
            (true, ALLOCATED, format!("{address} is taken from AddressPool {pool}"))
        }
        Ok(Allocation { address, .. }) => (true, ALLOCATED, format!("{address} is asked for and in no AddressPool")),
        Err(Ok(error)) => (false, error.as_str(), error.to_string()),
        Err(Err(why)) => (false, INVALID_SPEC, why.to_owned()),
    };
    let severity = if reason == ALLOCATED { Severity::Normal } else { Severity::Warning };
    Said { kind: ALLOCATED, holds, reason, message, tell: Some(severity) }
}

fn ready((reason, message): Readiness) -> Said {
    let tell = reason.is_trouble().then_some(Severity::Warning);
    Said { kind: READY, holds: reason.holds(), reason: reason.as_str(), message, tell }
}

/// How it stands with a `VirtualIP` that has an entry.
pub(super) fn of_entry(vip: &Vip, entry: Entry<'_>, ground: &Ground<'_>) -> Readiness {
    let assignment = entry.assignment;
    let reported = vip.holder.as_ref();
    if ground.view.withdraw {
        return (ReadyReason::Withdrawn, format!("segment {} is being withdrawn", ground.name));
    }
    let Some(holder) = &assignment.holder else {
        return (ReadyReason::Releasing, "its former holders are to be closed".to_owned());
    };
    if assignment.releasing {
        return (ReadyReason::Releasing, format!("{} is to give it up", holder.node));
    }
    match reported {
        Some((right, interface)) if right == holder => {
            (ReadyReason::Held, format!("{} answers for it on {interface}", holder.node))
        }
        Some((right, _)) if assignment.after.get(right) == Some(&After::Moved) => {
            (ReadyReason::Moving, format!("it moves from {} to {}", right.node, holder.node))
        }
        _ if assignment.after.keys().any(|former| is_open(former, holder, ground)) => {
            (ReadyReason::TakingOver, format!("{} waits for a former holder to be closed", holder.node))
        }
        _ => (ReadyReason::Assigned, format!("{} is to answer for it and has not said yet that it does", holder.node)),
    }
}

fn is_open(former: &Right, holder: &Right, ground: &Ground<'_>) -> bool {
    former.node != holder.node && !ground.view.is_over(former)
}

/// How it stands with a `VirtualIP` that the next write gives to a node.
pub(super) fn pending() -> Readiness {
    (ReadyReason::Pending, "it is about to be given to a node".to_owned())
}

/// How it stands with a `VirtualIP` that no node can have.
pub(super) fn of_homeless(why: &Homeless) -> Readiness {
    match why {
        Homeless::NoSegment => (
            ReadyReason::NoSegment,
            "no agent is on a network that fits its address, interface and nodeSelector".to_owned(),
        ),
        Homeless::Stray => {
            (ReadyReason::Pending, "it is in no subnet of a node; a segment is being looked for".to_owned())
        }
        Homeless::NoNode { segment, others } => {
            let others = list_of(others.iter().map(|(node, why)| (node.as_str(), *why)));
            (ReadyReason::NoNode, format!("no node of segment {segment} may have it{others}"))
        }
    }
}

/// The whole status of a `VirtualIP`, and what its turns tell users; `None` if the stored one says the same already and it
/// is not to be written `anyway`.
pub(super) fn of_vip(
    vip: &Vip,
    outcome: Outcome<'_>,
    readiness: Readiness,
    anyway: bool,
) -> Option<(Status, Vec<Notice>)> {
    let address = outcome.ok().map(|allocation| allocation.address);
    let said = [allocated(outcome), ready(readiness)];
    let old = |said: &Said| vip.status.condition(said.kind);
    let generation = vip.meta.generation;
    let same = said.iter().all(|said| old(said).is_some_and(|old| said.is_in(old, generation)));
    if same && !anyway && (vip.status.address, vip.status.generation) == (address, Some(generation)) {
        return None;
    }
    let about = || Id::Vip(vip.meta.name.clone());
    let conditions = said.iter().map(|said| said.condition(&vip.meta, old(said))).collect();
    let notices = said.iter().filter_map(|said| said.notice(about(), &vip.meta, old(said))).collect();
    Some((Status { address, conditions, generation: Some(generation) }, notices))
}

/// The status of a pool: how much of it is in use, or why it gives out nothing.
pub(super) fn of_pool(pool: &Pool, used: Option<&PoolUse>) -> (PoolStatus, Vec<Notice>) {
    let (holds, reason, message) = match (&pool.offer, used) {
        (Err(why), _) => (false, INVALID_SPEC, why.clone()),
        (Ok(_), Some(PoolUse { fault: Some(fault), .. })) => {
            (false, fault.as_str(), format!("{fault}; addresses in use are kept"))
        }
        (Ok(_), Some(PoolUse { free, .. })) if free.to_u64() == Some(0) => {
            (false, "Exhausted", "every address is in use".to_owned())
        }
        (Ok(_), _) => (true, "Available", "it has free addresses".to_owned()),
    };
    let said = Said { kind: READY, holds, reason, message, tell: (!holds).then_some(Severity::Warning) };
    let old = pool.status.conditions.iter().find(|old| old.kind == READY);
    let status = PoolStatus {
        total: used.map(|used| used.total.to_string()),
        allocated: used.map(|used| used.used.to_string()),
        free: used.map(|used| used.free.to_string()),
        conditions: vec![said.condition(&pool.meta, old)],
        generation: Some(pool.meta.generation),
    };
    let notice = said.notice(Id::Pool(pool.meta.name.clone()), &pool.meta, old);
    (status, notice.into_iter().collect())
}
