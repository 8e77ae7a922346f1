//! Where addresses can go: the segments, their members, and which of them an address belongs to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::seen::{Node, Wish};
use super::world::World;
use crate::core::interface::matches;
use crate::core::placement::{self, Candidate, Rejection};
use crate::core::selector::Labels;
use crate::core::view::{Gate, Member, Mode, State, View};

/// Nodes with this label take no load from outside the cluster (core/v1, `LabelNodeExcludeBalancers`).
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Taints that Kubernetes itself sets on a node whose kubelet is silent: the agent may well go on.
const NOT_READY: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// A segment to put addresses on.
#[derive(Debug)]
pub(super) struct Ground<'a> {
    pub(super) name: &'a str,
    pub(super) view: &'a View,
    prefixes: Vec<IpNetwork>,
    pub(super) candidates: Vec<Candidate>,
}

impl<'a> Ground<'a> {
    /// All segments, in the order of their names.
    pub(super) fn all(world: &'a World) -> Vec<Self> {
        let ground = |(name, segment): (&'a String, &'a super::seen::Segment)| {
            let candidate = |(name, member): (&String, &Member)| {
                let node = world.nodes.get(name);
                Candidate {
                    name: name.clone(),
                    labels: node.map(|node| node.labels.clone()).unwrap_or_default(),
                    barrier: barrier(member, node),
                }
            };
            Self {
                name,
                view: &segment.view,
                prefixes: segment.view.prefixes.keys().filter_map(|prefix| prefix.parse().ok()).collect(),
                candidates: segment.view.members.iter().map(candidate).collect(),
            }
        };
        world.views.iter().map(ground).collect()
    }

    /// The longest prefix of the segment around an address.
    fn around(&self, address: IpAddr) -> Option<u8> {
        self.prefixes.iter().filter(|prefix| prefix.contains(address)).map(IpNetwork::prefix).max()
    }

    /// The members that may not have this one address, and why.
    pub(super) fn barred(&self, wish: &Wish) -> BTreeMap<String, Rejection> {
        let reason = |name: &String, member: &Member| match &wish.interface {
            Some(glob) if !matches(glob, &member.interface) => Some(Rejection::NoInterface),
            _ if wish.only.as_ref().is_some_and(|only| !only.contains(name)) => Some(Rejection::NoEndpoint),
            _ if wish.gated && member.gate == Gate::None && member.mode != Mode::Solo => Some(Rejection::NoGate),
            _ => None,
        };
        self.view.up_members().filter_map(|(name, member)| Some((name.clone(), reason(name, member)?))).collect()
    }

    /// What decides who gets an address that `holder` has, and whose health check fails on the nodes `sick`.
    pub(super) fn asker(
        &self,
        uid: &str,
        wish: &Wish,
        holder: Option<&str>,
        sick: Option<&BTreeSet<String>>,
    ) -> placement::Vip {
        let mut barred = self.barred(wish);
        for node in sick.into_iter().flatten() {
            barred.entry(node.clone()).or_insert(Rejection::Unhealthy);
        }
        placement::Vip {
            uid: uid.to_owned(),
            node_selector: wish.nodes.clone(),
            preferred: wish.preferred.clone(),
            failback: wish.failback,
            holder: holder.map(str::to_owned),
            barred,
        }
    }

    /// How many members have the interface and the labels that an address asks for; one that is drained counts.
    fn fitting(&self, wish: &Wish) -> usize {
        let labels = |candidate: &Candidate| wish.nodes.as_ref().is_none_or(|nodes| nodes.matches(&candidate.labels));
        let interface = |member: &Member| wish.interface.as_ref().is_none_or(|glob| matches(glob, &member.interface));
        let up = |member: &Member| member.state == State::Up && interface(member);
        self.candidates.iter().filter(|one| labels(one) && self.view.members.get(&one.name).is_some_and(up)).count()
    }
}

/// Why a member can have no address, or no further one.
fn barrier(member: &Member, node: Option<&Node>) -> Option<Rejection> {
    match member.state {
        State::Fenced => return Some(Rejection::Fenced),
        State::Left => return Some(Rejection::Left),
        State::Up => {}
    }
    let excluded = |labels: &Labels| labels.contains_key(EXCLUDED);
    let evicts = |key: &String| !NOT_READY.contains(&key.as_str());
    match node {
        _ if member.draining => Some(Rejection::Draining),
        None => None,
        Some(node) if excluded(&node.labels) => Some(Rejection::Draining),
        Some(node) if node.cordoned => Some(Rejection::Cordoned),
        Some(node) if node.no_execute.iter().any(evicts) => Some(Rejection::Tainted),
        Some(node) if node.ready == Some(false) || !node.no_execute.is_empty() => Some(Rejection::NotReady),
        Some(_) => None,
    }
}

/// Where an address belongs.
#[derive(Debug)]
pub(super) enum Home<'a> {
    /// On this segment.
    On(&'a Ground<'a>),
    /// In nobody's subnet, but this segment would do.
    Stray(&'a Ground<'a>),
    /// Nowhere.
    Nowhere,
}

/// The segment of an address that nobody holds yet: of those whose prefixes contain it and that have a fitting member, the
/// one with the longest such prefix; else, where an interface is asked for or no prefix contains it, the one with the
/// most fitting members, which reach it by a route; else one that contains it. Ties go to the first by name.
pub(super) fn home<'a>(grounds: &'a [Ground<'a>], address: IpAddr, wish: &Wish) -> Home<'a> {
    let mut inside: Option<((bool, u8), &Ground<'_>)> = None;
    let mut stray: Option<(usize, &Ground<'_>)> = None;
    for ground in grounds {
        let fitting = ground.fitting(wish);
        if let Some(length) = ground.around(address) {
            let rank = (fitting > 0, length);
            if inside.is_none_or(|(other, _)| rank > other) {
                inside = Some((rank, ground));
            }
        } else if fitting > 0 && stray.is_none_or(|(most, _)| fitting > most) {
            stray = Some((fitting, ground));
        }
    }
    match (inside, stray) {
        (Some(((false, _), _)), Some((_, ground))) if wish.interface.is_some() => Home::Stray(ground),
        (Some((_, ground)), _) => Home::On(ground),
        (None, Some((_, ground))) => Home::Stray(ground),
        (None, None) => Home::Nowhere,
    }
}
