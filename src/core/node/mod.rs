//! One node as a whole: the VIPs there are, the views of the segments it is on, its kernel; from these, what it may hold
//! and what it writes.
//!
//! It puts together what decides alone: [`segments`] (where the node is), [`membership`] (what it may claim and which
//! patch comes next) and [`keeper`] (which addresses stand). It is level-triggered like them; a patch that fails is no
//! special case, for the view is read again and looked at again.

mod io;
mod joined;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

pub use self::io::{Config, Effect, Input, Set, Versioned, Vip};
use self::joined::Joined;
use super::failover::VipState;
use super::keeper::{self, Keeper};
use super::membership;
use super::net::Mac;
use super::segments::{self, Sought};
use super::time::Time;
use super::view::State;

/// How long to wait after the first patch that did not apply; twice as long after each further one, up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(2);

/// A node. See the module's text.
#[derive(Debug)]
pub struct Node {
    config: Config,
    now: Time,
    vips: Option<BTreeMap<String, Vip>>,
    views: Option<BTreeMap<String, Versioned>>,
    keeper: Keeper,
    dumped: bool,
    joined: BTreeMap<String, Joined>,
    /// The last known addresses of VIPs that this node had the right to, until they are gone from the kernel.
    given: BTreeMap<String, IpAddr>,
    /// What the gate lets pass, by uid.
    passing: BTreeMap<String, VipState>,
    /// What a former process of this node claimed, by uid.
    adopted: BTreeSet<String>,
    leaving: bool,
    /// The keeper was told what may be held. Until then it would take what a former run left for stray.
    told: bool,
    look: Look,
    effects: VecDeque<Effect>,
}

/// What has to be looked at again.
#[derive(Debug, Default)]
struct Look {
    places: bool,
    rights: bool,
    views: bool,
}

impl Node {
    /// A node that knows nothing yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            now: Time::ZERO,
            vips: None,
            views: None,
            keeper: Keeper::default(),
            dumped: false,
            joined: BTreeMap::new(),
            given: BTreeMap::new(),
            passing: BTreeMap::new(),
            adopted: BTreeSet::new(),
            leaving: false,
            told: false,
            look: Look::default(),
            effects: VecDeque::new(),
        }
    }

    /// Takes an input; drain [`Node::poll_effect`] afterwards, at the latest after a batch.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Vips(change) => self.set_vips(change),
            Input::Views(change) => self.set_views(change),
            Input::Written { segment, applied, view } => self.written(&segment, applied, view),
            Input::Started { segment, vips } => self.started(&segment, vips),
            Input::Set { uid, state } => {
                self.passing.insert(uid, state);
                self.look.rights = true;
            }
            Input::Left(segment) => {
                if let Some(joined) = self.joined.get_mut(&segment) {
                    joined.left = true;
                }
            }
            Input::Kernel(input) => self.kernel(input),
            Input::Leave => {
                self.leaving = true;
                self.look = Look { places: false, rights: true, views: true };
            }
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.keeper.handle_timeout(self.now);
        for joined in self.joined.values_mut() {
            self.look.views |= joined.retry.take_if(|at| *at <= self.now).is_some();
        }
    }

    /// The next effect, `None` when there is nothing to do for now.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        if self.is_informed() && self.dumped {
            if std::mem::take(&mut self.look.places) {
                self.look_at_places();
            }
            if self.look.rights && self.joined.values().all(|joined| joined.started) {
                self.look.rights = false;
                self.told = true;
                self.look_at_rights();
            }
            while self.told
                && let Some(effect) = self.keeper.poll_effect()
            {
                self.effects.push_back(Effect::Kernel(effect));
            }
            if std::mem::take(&mut self.look.views) {
                self.look_at_views();
            }
        }
        self.effects.pop_front()
    }

    /// When to call [`Node::handle_timeout`], and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Time, &'static str)> {
        let retries = self.joined.values().filter_map(|joined| joined.retry).map(|at| (at, "patch again"));
        retries.chain(self.keeper.poll_timeout()).min()
    }

    /// Whether all that rights follow from is known. Until then nothing is removed: what a former run left may be ours.
    #[must_use]
    pub const fn is_informed(&self) -> bool {
        self.vips.is_some() && self.views.is_some()
    }

    /// Whether the node has left every segment and nothing of it stands any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let member = |(name, joined): (&String, &Joined)| {
            let view = self.views.as_ref()?.get(name)?;
            membership::own_right(&view.view, &joined.me).filter(|_| !joined.left)
        };
        self.leaving && self.joined.iter().all(|joined| member(joined).is_none()) && !self.anything_stands()
    }

    /// The VIP as this node knows it.
    #[must_use]
    pub fn vip(&self, uid: &str) -> Option<&Vip> {
        self.vips.as_ref()?.get(uid)
    }

    /// The epoch at which this node has the right to the VIP, `None` if it has none.
    #[must_use]
    pub fn epoch(&self, uid: &str) -> Option<u64> {
        self.entry(uid)?.holder.as_ref().filter(|right| right.node == self.config.node).map(|right| right.epoch)
    }

    /// Whether another node has, or is about to have, the right to the VIP.
    #[must_use]
    pub fn is_elsewhere(&self, uid: &str) -> bool {
        let holder = self.entry(uid).and_then(|entry| entry.holder.as_ref());
        holder.is_some_and(|right| right.node != self.config.node)
    }

    /// The keeper, for what it holds and what it knows of the kernel.
    #[must_use]
    pub const fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// The segments that the node takes part in, with its place on each.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.joined.keys().map(String::as_str)
    }

    fn started(&mut self, segment: &str, vips: BTreeMap<String, VipState>) {
        if let Some(joined) = self.joined.get_mut(segment) {
            joined.started = true;
            let claimed = vips.iter().filter(|(_, state)| **state == VipState::Claim);
            self.adopted.extend(claimed.map(|(uid, _)| uid.clone()));
            self.passing.extend(vips);
            self.look.rights = true;
            self.look.views = true;
        }
    }

    /// The Ethernet addresses of the other members that are up or fenced, on the segments that this node takes part in:
    /// what they claim is a matter of rights, and no stranger's conflict.
    #[must_use]
    pub fn peers(&self) -> BTreeSet<Mac> {
        let views = self.joined.keys().filter_map(|name| self.views.as_ref()?.get(name));
        let members = views.flat_map(|versioned| &versioned.view.members);
        members
            .filter(|(name, member)| **name != self.config.node && member.state != State::Left)
            .filter_map(|(_, member)| member.mac)
            .collect()
    }

    /// The members of the segment that a VIP is in, each with its interface there.
    pub fn interfaces(&self, uid: &str) -> impl Iterator<Item = (&str, &str)> {
        let views = self.joined.keys().filter_map(|name| Some(&self.views.as_ref()?.get(name)?.view));
        let view = views.into_iter().find(|view| view.assign.contains_key(uid));
        let members = view.into_iter().flat_map(|view| &view.members);
        members.map(|(name, member)| (name.as_str(), member.interface.as_str()))
    }

    /// What the view of a segment that this node takes part in says of a VIP.
    #[must_use]
    pub fn entry(&self, uid: &str) -> Option<&super::view::Assignment> {
        self.joined.keys().find_map(|name| self.views.as_ref()?.get(name)?.view.assign.get(uid))
    }

    fn set_vips(&mut self, change: Set<Vip>) {
        match (change, &mut self.vips) {
            (Set::All(vips), known) => {
                *known = Some(vips);
                self.look.places = true;
            }
            (Set::One(uid, vip), Some(known)) => {
                if known.get(&uid) == Some(&vip) {
                    return;
                }
                self.look.places |=
                    known.get(&uid).is_none_or(|old| old.interface != vip.interface || old.ip != vip.ip);
                known.insert(uid, vip);
            }
            (Set::Gone(uid), Some(known)) => {
                known.remove(&uid);
            }
            (Set::One(..) | Set::Gone(_), None) => {}
        }
        self.look.rights = true;
    }

    fn set_views(&mut self, change: Set<Versioned>) {
        match (change, &mut self.views) {
            (Set::All(mut views), known) => {
                for (name, old) in known.take().into_iter().flatten() {
                    if views.get(&name).is_some_and(|new| new.is_older_than(&old)) {
                        views.insert(name, old);
                    }
                }
                *known = Some(views);
            }
            (Set::One(name, view), Some(known)) => {
                if known.get(&name).is_some_and(|old| *old == view || view.is_older_than(old)) {
                    return;
                }
                known.insert(name, view);
            }
            (Set::Gone(name), Some(known)) => {
                known.remove(&name);
            }
            (Set::One(..) | Set::Gone(_), None) => return,
        }
        self.look.rights = true;
        self.look.views = true;
    }

    fn written(&mut self, segment: &str, applied: bool, view: Option<Versioned>) {
        if let Some(joined) = self.joined.get_mut(segment) {
            joined.writing = false;
            joined.failures = if applied { 0 } else { joined.failures.saturating_add(1) };
            let wait = SHORTEST.saturating_mul(1 << joined.failures.saturating_sub(1).min(16)).min(LONGEST);
            joined.retry = (!applied).then(|| self.now + wait);
        }
        if let Some(view) = view {
            self.set_views(Set::One(segment.to_owned(), view));
        }
        self.look.views = true;
    }

    fn kernel(&mut self, input: keeper::Input) {
        match &input {
            keeper::Input::Dumped { .. } => {
                self.dumped = true;
                self.look.places = true;
                self.look.views = true;
            }
            keeper::Input::Link(link) => self.look.places |= self.keeper.links().get(&link.index) != Some(link),
            keeper::Input::LinkGone(_) => {
                self.look.places = true;
                self.look.views = true;
            }
            keeper::Input::Address(address) => self.look.places |= !address.is_ours(),
            keeper::Input::AddressGone { ip, link, prefix } => {
                let ours = self.keeper.observed().get(&(*ip, *link, *prefix)).is_some_and(|there| there.is_ours());
                self.look.places |= !ours;
                self.look.views = true;
            }
            keeper::Input::Done { step, .. } => self.look.views |= matches!(step, super::plan::Step::Remove { .. }),
            keeper::Input::Rights(_) | keeper::Input::Probed { .. } => {}
        }
        self.keeper.handle(self.now, input);
    }

    /// Joins the segments that matter; one that was joined stays so, also while its link is away.
    fn look_at_places(&mut self) {
        let places = segments::places(self.keeper.links(), self.keeper.observed(), &self.config.named);
        let vips = self.vips.iter().flatten();
        let sought: Vec<Sought<'_>> =
            vips.map(|(_, vip)| Sought { ip: vip.ip, interface: vip.interface.as_deref() }).collect();
        let (links, observed) = (self.keeper.links(), self.keeper.observed());
        let wanted = segments::wanted(&places, &sought, links, observed, self.keeper.routes());
        let wanted: BTreeSet<String> = wanted.into_iter().map(|place| place.segment.clone()).collect();
        for (segment, place) in places {
            if wanted.contains(&segment) || self.joined.contains_key(&segment) {
                let me = joined::me(&self.config, &place, self.leaving);
                self.join(segment, me);
            }
        }
        self.look.rights = true;
        self.look.views = true;
    }
}
