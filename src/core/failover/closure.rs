//! When a former right can be used no more.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Failover;
use super::io::FOREVER;
use super::peers::Peer;
use super::rules::Rule;
use crate::core::time::Time;
use crate::core::view::{Assignment, Mode, Right, closing_count};
use crate::wire::heartbeat::{Body, id};

/// A right that must be closed before this node may claim something.
#[derive(Debug, Clone)]
pub(super) struct Closing {
    pub(super) right: Right,
    node: u64,
    /// What its watchers that know the fence said: when they acknowledged it last at the latest, and whether it has
    /// said since then that its gate had shut.
    reports: Vec<(u64, Time, bool)>,
    asked: Time,
    /// Only without [`Rule::LevelTriggered`]: it was looked at.
    looked: bool,
    /// The sequence of the first ask: what answers an older one is no answer.
    first: u64,
    pub(super) closed: Option<How>,
}

/// How a right was found to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// By its own word, by the view, or by enough of its watchers.
    Evidence,
    /// Too few of them answered, and the longest time has passed.
    Fallback,
}

impl Failover {
    /// The rights that stand before what this node has.
    pub(super) fn learn_closings(&mut self, now: Time) {
        let mut needed: BTreeSet<&Right> = BTreeSet::new();
        if let Some(right) = &self.own.right {
            for (_, entry) in self.view.held_by(right) {
                needed.extend(entry.after.keys().filter(|former| former.node != right.node));
            }
        }
        let first = self.sequence + 1;
        self.closings.retain(|_, closing| needed.contains(&closing.right));
        for right in needed {
            self.closings.entry(right.epoch).or_insert_with(|| Closing {
                right: right.clone(),
                node: id(&right.node),
                reports: Vec::new(),
                asked: Time::ZERO,
                looked: false,
                first,
                closed: None,
            });
        }
        self.close_at = now;
    }

    pub(super) fn reported(&mut self, now: Time, from: u64, epoch: u64, echo: u64, age: Duration, shut: bool) {
        let rho = self.peers.get(&from).map_or(0, |peer| peer.rho);
        let last = now - self.timing.at_least(age, rho);
        let Some(closing) = self.closings.get_mut(&epoch).filter(|closing| echo >= closing.first) else { return };
        closing.reports.retain(|(watcher, ..)| *watcher != from);
        closing.reports.push((from, last, shut));
        self.close_at = now;
        self.dirty = true;
    }

    pub(super) fn look_at_closings(&mut self, now: Time) {
        if now < self.close_at {
            return;
        }
        let mut next = FOREVER;
        let open: Vec<u64> =
            self.closings.iter().filter(|(_, closing)| closing.closed.is_none()).map(|(epoch, _)| *epoch).collect();
        for epoch in open {
            let Some(closing) = self.closings.get_mut(&epoch) else { continue };
            if std::mem::replace(&mut closing.looked, true) && !self.rules.has(Rule::LevelTriggered) {
                continue;
            }
            let Some(closing) = self.closings.get(&epoch) else { continue };
            match self.closed_at(now, closing) {
                Some((at, how)) if at <= now => {
                    if let Some(closing) = self.closings.get_mut(&epoch) {
                        closing.closed = Some(how);
                    }
                }
                known => {
                    next = next.min(known.map_or(FOREVER, |(at, _)| at)).min(self.ask_watchers(now, epoch));
                }
            }
        }
        self.close_at = next;
    }

    /// Asks whoever has not said that the victim is closed, the victim itself among them; says when to ask again.
    fn ask_watchers(&mut self, now: Time, epoch: u64) -> Time {
        let interval = self.timing.beat / 2;
        let Some(closing) = self.closings.get_mut(&epoch) else { return FOREVER };
        let Some(peer) = self.peers.get(&closing.node).filter(|peer| peer.is_fenced(epoch)) else { return FOREVER };
        if now.since(closing.asked) < interval {
            return closing.asked + interval;
        }
        closing.asked = now;
        let ask = Body::Ask { node: closing.node, epoch, fenced: true };
        let reported: Vec<u64> = closing.reports.iter().map(|(watcher, ..)| *watcher).collect();
        let mut targets = vec![closing.node];
        targets.extend(peer.watchers.iter().filter(|watcher| **watcher != self.id && !reported.contains(watcher)));
        for to in targets {
            self.send(to, ask);
        }
        now + interval
    }

    /// When the right is closed by what is known now, and how that is known.
    fn closed_at(&self, now: Time, closing: &Closing) -> Option<(Time, How)> {
        let Closing { right, node, .. } = closing;
        let peer = self.peers.get(node);
        if self.view.is_over(right) || peer.is_some_and(|peer| peer.released >= right.epoch) {
            return Some((now, How::Evidence));
        }
        let peer = peer.filter(|peer| peer.epoch == right.epoch)?;
        let (_, seen) = peer.fenced.filter(|(epoch, _)| *epoch == right.epoch)?;
        let timing = &self.timing;
        let late = if self.rules.has(Rule::LatenessInClosure) { timing.lateness(peer.gate) } else { Duration::ZERO };
        let wait = |time| timing.wait(time + late, peer.rho, self.rules);
        let lease = seen + wait(timing.lease);
        let floor = match peer.mode {
            Mode::Api if self.rules.has(Rule::ApiInClosure) => lease,
            Mode::Grace if self.rules.has(Rule::GraceInClosure) => peer.grace + wait(timing.grace),
            // Nobody fences who is alone but a person, who answers for it.
            Mode::Solo => return None,
            Mode::Peers | Mode::Api | Mode::Grace => Time::ZERO,
        };
        let evidence = self.silenced_at(closing, peer, now, wait(timing.gate)).map(|at| (at.max(floor), How::Evidence));
        let fallback = self.rules.has(Rule::Fallback).then(|| (lease.max(floor), How::Fallback));
        match (evidence, fallback) {
            (Some(evidence), Some(fallback)) if fallback.0 < evidence.0 => Some(fallback),
            (None, fallback) => fallback,
            (evidence, _) => evidence,
        }
    }

    /// When so many watchers that know the fence have been silent for the gate time that the others are no quorum.
    fn silenced_at(&self, closing: &Closing, peer: &Peer, now: Time, wait: Duration) -> Option<Time> {
        if !self.rules.has(Rule::ClosureByWatchers) {
            return Some(peer.heard + wait);
        }
        let closed = |last: Time, shut: bool| if shut { now } else { last + wait };
        let reports = closing.reports.iter().filter(|(watcher, ..)| peer.watchers.contains(watcher));
        let mut times: Vec<Time> = reports.map(|(_, last, shut)| closed(*last, *shut)).collect();
        if peer.watched {
            // Whatever epoch it was: a fence also ends those that nobody here has seen.
            let last = peer.acknowledged.map_or(self.started, |(_, at)| at);
            times.push(closed(last, peer.shut));
        }
        times.sort_unstable();
        times.get(closing_count(peer.watchers.len()).checked_sub(1)?).copied()
    }

    /// Whether a former right is closed, and how. Without [`Rule::AllAncestors`] only the last one counts.
    pub(super) fn is_closed(&self, former: &Right, entry: &Assignment) -> Option<How> {
        if former.node == self.me.node {
            return Some(How::Evidence);
        }
        let seen = |right: &Right| self.peers.get(&id(&right.node)).and_then(|peer| peer.fenced).map(|(_, at)| at);
        if !self.rules.has(Rule::AllAncestors) && entry.after.keys().any(|other| seen(other) > seen(former)) {
            return Some(How::Evidence);
        }
        self.closings.get(&former.epoch).and_then(|closing| closing.closed)
    }
}
