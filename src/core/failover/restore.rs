//! A view that is older than one seen, or another: the store was restored from a backup.
//!
//! It is not believed. Until it is written again everything goes on as while the API is down. It is written again by
//! whoever has seen the newest view of all that are heard; that one first gives up its own right.

use std::sync::Arc;
use std::time::Duration;

use super::io::Purpose;
use super::rules::Rule;
use super::{Failover, Intent};
use crate::core::time::Time;
use crate::core::view::{Right, State, View};

/// What the API has not answered for so long it never will: the adapters give up before.
const ANSWERED_BY: Duration = Duration::from_secs(11);

impl Failover {
    /// Whether a read past all caches, whose answer has come, was sent after the known view had come. Which read it
    /// answers is not said: it may be the oldest of those that are under way.
    pub(super) fn is_certain(&mut self, now: Time) -> bool {
        self.reads.retain(|sent| now.since(*sent) < ANSWERED_BY);
        let certain = self.reads.front().is_some_and(|sent| *sent >= self.seen_at);
        self.reads.pop_back();
        certain
    }

    /// Whether this view has forgotten something that is known here. That is certain only of a read that was sent after
    /// the known one had come: what a watch brings may be late.
    pub(super) fn is_forgetful(&self, version: u64, view: &Arc<View>) -> bool {
        let earlier = view.counter == self.view.counter && version < self.version;
        let forked = version == self.version && !Arc::ptr_eq(view, &self.view) && *view != self.view;
        self.read && (earlier || forked || self.view.is_forgotten_by(view))
    }

    /// Takes in a view that has forgotten something, if that is certain; else asks again.
    pub(super) fn note_restored(&mut self, now: Time, version: u64, view: Arc<View>, certain: bool) {
        self.dirty = true;
        if certain {
            self.restored = Some((version, view));
            self.own.retry_at = now;
        } else if self.restored.is_none() {
            self.want_read = true;
        }
    }

    /// Writes the view again, unless somebody who is heard has seen a newer one and will.
    pub(super) fn remake(&mut self, now: Time) {
        self.own.retry_at = now + self.timing.beat;
        let lately = now - self.timing.silence();
        let better = self.peers.values().any(|peer| peer.heard >= lately && peer.version > self.version);
        let Some((_, restored)) = self.restored.clone().filter(|_| !better) else { return };
        self.lose(now);
        let (_, patch) = self.view.remake(&restored, &self.me);
        self.own.registering = true;
        self.send_patch(now, Purpose::Restore, patch);
    }

    /// The first of those that are up passes on what a node has not come back for.
    pub(super) fn bequeath(&mut self, now: Time, right: &Right) {
        let first = self.view.up_members().next().is_some_and(|(node, _)| *node == right.node);
        if !first || self.intent != Intent::Stay {
            return;
        }
        let away = self.peers.values().filter(|peer| !peer.up && now.since(peer.grace) >= self.timing.lonely);
        let away = away.map(|peer| Right::new(&peer.name, peer.epoch));
        let left = |right: &Right| {
            let fenced = self.view.members.get(&right.node).is_some_and(|member| member.state == State::Fenced);
            fenced && self.view.held_by(right).next().is_some()
        };
        let Some(from) = away.into_iter().find(left) else { return };
        let successors = self.successors(now, &from);
        if let Ok(patch) = self.view.bequeath(&from, right, &successors) {
            self.send_patch(now, Purpose::Bequeath, patch);
        }
    }

    /// Whether a view is to be taken in, coming after the known one.
    pub(super) fn is_news(&self, version: u64, view: &View, certain: bool) -> bool {
        if !self.rules.has(Rule::RefuseOldView) && certain && version != self.version {
            return true;
        }
        // A view that was written again has a higher counter and, for a while, a lower version.
        !self.read || (view.counter, version) > (self.view.counter, self.version)
    }
}
