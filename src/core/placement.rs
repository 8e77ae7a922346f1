//! Which node gets which address, and why the others do not.
//!
//! [`choose`] is the one rule, the same for the controller (first grants, planned moves) and for the node that fences
//! another (takeover): same candidates, same load, same answer, whatever the order of the candidates.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::selector::{Labels, Selector};

/// How many addresses each node has; a node that is absent has none.
pub type Load = BTreeMap<String, usize>;

/// Whether an address goes back to a better preferred node that has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Failback {
    /// It stays where it is.
    #[default]
    Never,
    /// It moves to a node of strictly greater weight.
    WhenPreferred,
}

/// A wish for nodes that match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preference {
    /// How strong, 1 to 100; the weights of all that match a node add up.
    pub weight: u32,
    /// Which nodes.
    pub selector: Selector,
}

/// An address that wants a node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Vip {
    /// The uid of its `VirtualIP`: what ties are broken by.
    pub uid: String,
    /// Nodes that may have it; `None` is all.
    pub node_selector: Option<Selector>,
    /// Nodes that should have it.
    pub preferred: Vec<Preference>,
    /// Whether it goes back.
    pub failback: Failback,
    /// The node that has it now.
    pub holder: Option<String>,
    /// Nodes that may not have this one address, and why (a failing health check, no ready endpoint, no interface that
    /// its pattern matches).
    pub barred: BTreeMap<String, Rejection>,
}

/// What is known of a node that might take an address.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Candidate {
    /// The node's name.
    pub name: String,
    /// The node's labels.
    pub labels: Labels,
    /// Why it can have no address at all, or no further one; `None` if it can.
    pub barrier: Option<Rejection>,
}

/// Why a node does not have an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Rejection {
    /// It is no member of the segment: no agent runs there, or it is on another network.
    NotOnSegment,
    /// Its right has been taken away and it has not come back with a new one.
    Fenced,
    /// It has given up its rights.
    Left,
    /// It was not heard lately, or is suspected to be gone.
    Silent,
    /// No interface of it on this segment fits the address's `interface`.
    NoInterface,
    /// Its interface has no carrier.
    NoCarrier,
    /// It has no gate, which the failover policy `Safe` needs.
    NoGate,
    /// Its labels do not match `nodeSelector`.
    NodeSelector,
    /// It is marked unschedulable.
    Cordoned,
    /// It has a taint with the effect NoExecute.
    Tainted,
    /// It is giving away what it has.
    Draining,
    /// Kubernetes says that it is not ready or not reachable: it keeps what it has and gets nothing more.
    NotReady,
    /// The health check of the address fails there.
    Unhealthy,
    /// No ready endpoint of the Service runs there (`externalTrafficPolicy: Local`).
    NoEndpoint,
    /// Eligible, but the weights of `preferredNodes` speak for another.
    LessPreferred,
    /// Eligible, but it has more addresses than the chosen one.
    MoreLoaded,
    /// Eligible and equal; the hash of node and address chose another.
    TieLost,
    /// Eligible, but the address is held elsewhere and does not move without need.
    HeldElsewhere,
}

impl Rejection {
    /// A word in UpperCamelCase that does not change between versions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotOnSegment => "NotOnSegment",
            Self::Fenced => "Fenced",
            Self::Left => "Left",
            Self::Silent => "Silent",
            Self::NoInterface => "NoInterface",
            Self::NoCarrier => "NoCarrier",
            Self::NoGate => "NoGate",
            Self::NodeSelector => "NodeSelector",
            Self::Cordoned => "Cordoned",
            Self::Tainted => "Tainted",
            Self::Draining => "Draining",
            Self::NotReady => "NotReady",
            Self::Unhealthy => "Unhealthy",
            Self::NoEndpoint => "NoEndpoint",
            Self::LessPreferred => "LessPreferred",
            Self::MoreLoaded => "MoreLoaded",
            Self::TieLost => "TieLost",
            Self::HeldElsewhere => "HeldElsewhere",
        }
    }

    /// Whether the node could have had the address.
    #[must_use]
    pub const fn is_eligible(self) -> bool {
        matches!(self, Self::LessPreferred | Self::MoreLoaded | Self::TieLost | Self::HeldElsewhere)
    }

    /// Whether a node that has the address may keep it all the same.
    #[must_use]
    pub const fn keeps(self) -> bool {
        self.is_eligible() || matches!(self, Self::NotReady)
    }
}

impl Rejection {
    /// The reason as a sentence about the node, without the dot.
    #[must_use]
    pub const fn explain(self) -> &'static str {
        match self {
            Self::NotOnSegment => "no agent of it takes part in the segment",
            Self::Fenced => "its right was taken from it and it has not come back with a new one",
            Self::Left => "it gave up its rights and left",
            Self::Silent => "it is not heard, or suspected to be gone",
            Self::NoInterface => "its interface on the segment is not one that the address asks for",
            Self::NoCarrier => "its interface has no carrier",
            Self::NoGate => "it has no gate, which the failover policy Safe needs",
            Self::NodeSelector => "its labels do not match nodeSelector",
            Self::Cordoned => "it is cordoned",
            Self::Tainted => "it has a taint with the effect NoExecute",
            Self::Draining => "it is giving away what it has",
            Self::NotReady => "Kubernetes says that it is not ready: it gets nothing more",
            Self::Unhealthy => "the health check failed there",
            Self::NoEndpoint => "no ready endpoint of the Service runs there",
            Self::LessPreferred => "it may have it; preferredNodes speaks for another",
            Self::MoreLoaded => "it may have it, and has more addresses than the other",
            Self::TieLost => "it may have it; the hash of node and address chose the other",
            Self::HeldElsewhere => "it may have it; the address does not move without need",
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which node, and why not the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice<'a> {
    /// The node; `None` if no candidate may have the address.
    pub node: Option<&'a str>,
    /// Every other candidate, by name.
    pub others: BTreeMap<&'a str, Rejection>,
}

/// What speaks for an eligible node, best last in order.
struct Rank<'a> {
    name: &'a str,
    weight: u64,
    load: usize,
    hash: [u8; 32],
}

impl Rank<'_> {
    /// `Greater` if `self` is the better one; never `Equal` for two names.
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |rank: &Self| (rank.weight, Reverse(rank.load));
        key(self).cmp(&key(other)).then_with(|| self.hash.cmp(&other.hash)).then_with(|| other.name.cmp(self.name))
    }

    /// Why `self` lost against `winner`.
    fn lost_against(&self, winner: &Self) -> Rejection {
        if self.weight < winner.weight {
            Rejection::LessPreferred
        } else if self.load > winner.load {
            Rejection::MoreLoaded
        } else {
            Rejection::TieLost
        }
    }
}

/// Chooses the node for an address: the holder while it may keep it (with [`Failback::WhenPreferred`]: while no node of
/// greater weight may have it), else the greatest weight, then the least load, then the highest hash of node and address.
///
/// `load` does not count this address for its holder differently from others: a holder keeps it whatever its load.
/// An address that nobody has goes rather to a node where its health check failed than to none.
#[must_use]
pub fn choose<'a>(vip: &Vip, candidates: &'a [Candidate], load: &Load) -> Choice<'a> {
    let choice = choose_strictly(vip, candidates, load);
    if choice.node.is_some() || vip.holder.is_some() || !choice.others.values().any(|why| *why == Rejection::Unhealthy)
    {
        return choice;
    }
    let mut patient = vip.clone();
    patient.barred.retain(|_, why| *why != Rejection::Unhealthy);
    choose_strictly(&patient, candidates, load)
}

fn choose_strictly<'a>(vip: &Vip, candidates: &'a [Candidate], load: &Load) -> Choice<'a> {
    let mut others = BTreeMap::new();
    let mut ranks = Vec::new();
    let mut holder = None;
    for candidate in candidates {
        let holds = vip.holder.as_deref() == Some(candidate.name.as_str());
        match rejection(vip, candidate) {
            Some(reason) if !(holds && reason.keeps()) => {
                others.insert(candidate.name.as_str(), reason);
            }
            _ => {
                if holds {
                    holder = Some(ranks.len());
                }
                ranks.push(rank(vip, candidate, load));
            }
        }
    }
    let best = ranks.iter().max_by(|a, b| a.cmp(b));
    let sticky = holder.and_then(|at| ranks.get(at)).filter(|holder| match vip.failback {
        Failback::Never => true,
        Failback::WhenPreferred => best.is_none_or(|best| best.weight <= holder.weight),
    });
    let winner = sticky.or(best);
    for rank in &ranks {
        if let Some(winner) = winner.filter(|winner| winner.name != rank.name) {
            let reason = if sticky.is_some() { Rejection::HeldElsewhere } else { rank.lost_against(winner) };
            others.insert(rank.name, reason);
        }
    }
    Choice { node: winner.map(|rank| rank.name), others }
}

/// Who gets each of these addresses, whose holder is lost: one after the other, each counts for the load of the next.
#[must_use]
pub fn successors<'a>(
    vips: impl Iterator<Item = Vip>,
    candidates: &'a [Candidate],
    load: &Load,
) -> BTreeMap<String, &'a str> {
    let mut load = load.clone();
    let mut chosen = BTreeMap::new();
    for mut vip in vips {
        vip.holder = None;
        if let Some(node) = choose(&vip, candidates, &load).node {
            *load.entry(node.to_owned()).or_default() += 1;
            chosen.insert(vip.uid, node);
        }
    }
    chosen
}

/// Why a candidate is not eligible; `None` if it is.
#[must_use]
pub fn rejection(vip: &Vip, candidate: &Candidate) -> Option<Rejection> {
    let selected = vip.node_selector.as_ref().is_none_or(|selector| selector.matches(&candidate.labels));
    candidate
        .barrier
        .filter(|reason| !reason.keeps())
        .or_else(|| vip.barred.get(&candidate.name).copied())
        .or_else(|| (!selected).then_some(Rejection::NodeSelector))
        .or(candidate.barrier)
}

fn rank<'a>(vip: &Vip, candidate: &'a Candidate, load: &Load) -> Rank<'a> {
    Rank {
        name: &candidate.name,
        weight: weight(vip, &candidate.labels),
        load: load.get(&candidate.name).copied().unwrap_or(0),
        hash: rendezvous(&vip.uid, &candidate.name),
    }
}

/// The sum of the weights of all preferences that match.
fn weight(vip: &Vip, labels: &Labels) -> u64 {
    vip.preferred.iter().filter(|p| p.selector.matches(labels)).map(|p| u64::from(p.weight)).sum()
}

/// Highest-random-weight hashing: when a node goes only its own addresses change places.
fn rendezvous(uid: &str, node: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(uid.as_bytes());
    hash.update([0]);
    hash.update(node.as_bytes());
    hash.finalize().into()
}

#[cfg(test)]
mod tests;
