//! What the controller decides: which address each `VirtualIP` has, which segment and node it goes to, and what statuses
//! say of it.
//!
//! Level-triggered: each look is at everything that was seen, names the writes that are missing, and a second look at
//! their outcome names none. `handle` takes in what was seen and what became of writes; `handle_timeout` looks, when
//! [`Controller::poll_timeout`] says so; `poll_effect` hands out the writes, one at a time for each object and a limited
//! number at once. After a look there is a pause of some times what it took ([`Controller::took`]), which a few looks may put
//! off, so that many changes are one look and looks never fill a processor.

mod assign;
mod decide;
mod ground;
mod seen;
mod service;
mod sick;
mod standing;
mod status;
mod world;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::decide::{Circumstances, Planned, Urgency, decide};
pub use self::seen::{
    Condition, Endpoints, FINALIZER, Figures, Id, Listing, Meta, Missing, NewVip, Node, Notice, Object, Offer, Pool,
    PoolStatus, Segment, Service, ServiceStatus, Severity, Status, Vip, Wish, Write,
};
pub use self::service::ADDRESSES;
use self::sick::Sick;
pub use self::standing::{Standing, standing};
pub use self::status::{ALLOCATED, READY, ReadyReason};
use self::world::World;
use super::time::Time;

/// How many writes are under way at once, those of views apart, to a store that many share.
pub const IN_FLIGHT: usize = 32;
/// How long words and counts wait for more of them.
pub const WORDS: Duration = Duration::from_secs(1);
/// How long an address in nobody's subnet waits for an agent to join a segment that has it, before it is given to a node
/// that reaches it by a route.
pub const STRAY: Duration = Duration::from_secs(2);
/// The pause after a look, in times of what it took.
const PAUSE: u32 = 3;
/// So much of pauses may be put off: what a few looks in a row find after a quiet time waits for none of them.
const CREDIT: Duration = Duration::from_millis(300);
/// A write that failed is tried again after this, and after twice as long each time, up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(30);

/// What the controller is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// Whether this process is the one that writes.
    Leading(bool),
    /// All there is of a kind.
    Listed(Listing),
    /// An object as it is now.
    Seen(Object),
    /// An object is gone.
    Gone(Id),
    /// Something is there that cannot be read: this object, or one that is not known.
    Unreadable(Option<Id>),
    /// What became of a write.
    Wrote {
        /// The object.
        id: Id,
        /// What became of it.
        outcome: Outcome,
    },
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// It is done; the object as it is now.
    Done(Object),
    /// It is done, and the object is gone with it; or it had gone before.
    Gone,
    /// Nothing changed, for the object is no longer what the write relied on; as it is now.
    Overtaken(Object),
    /// Nothing changed, or that is not known.
    Failed,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Effect {
    /// Write to an object, and report as [`Input::Wrote`].
    Write {
        /// The object.
        id: Id,
        /// What to write.
        write: Write,
    },
    /// Tell users.
    Tell(Notice),
}

/// A write under way.
#[derive(Debug)]
struct Flight {
    notices: Vec<Notice>,
    uids: BTreeSet<String>,
    /// The address that a status gives, with the uid.
    gives: Option<(String, IpAddr)>,
}

/// A write that failed.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    failures: u32,
    until: Time,
}

/// The controller's decisions.
#[derive(Debug, Default)]
pub struct Controller {
    world: World,
    leading: bool,
    /// What the last look found, the most urgent first, not handed out yet.
    planned: VecDeque<Planned>,
    told: VecDeque<Notice>,
    flights: BTreeMap<Id, Flight>,
    troubles: BTreeMap<Id, Trouble>,
    /// Addresses that statuses of unknown outcome may have given, by uid.
    assumed: BTreeMap<String, IpAddr>,
    /// Since when words are waiting to be written.
    words: BTreeMap<Id, Time>,
    /// Since when addresses wait for a segment, by uid.
    strays: BTreeMap<String, Time>,
    sick: Sick,
    changed: bool,
    looked: Option<Time>,
    /// How long the next look waits after it.
    pause: Duration,
    /// The pauses that were owed when it began.
    owed: Duration,
    now: Time,
    /// When to look again if nothing changes.
    wake: Option<Time>,
    figures: Figures,
    /// How many writes may be under way.
    room: Room,
}

/// How many writes may be under way, unless somebody says otherwise: those that a shared store is asked for.
#[derive(Debug)]
struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(IN_FLIGHT)
    }
}

impl Controller {
    /// A controller that has seen nothing and does not lead.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, of which this many writes are under way at once, those of views apart.
    #[must_use]
    pub fn with_room(room: usize) -> Self {
        Self { room: Room(room), ..Self::default() }
    }

    /// Whether everything has been listed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.world.is_complete()
    }

    /// The figures of the last look.
    #[must_use]
    pub const fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Takes in what was seen.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.now = now;
        let news = match input {
            Input::Seen(object) => self.world.apply(object),
            Input::Leading(leading) => {
                self.leading = leading;
                if !leading {
                    self.planned.clear();
                    self.told.clear();
                }
                true
            }
            Input::Listed(listing) => {
                self.world.reset(listing);
                true
            }
            Input::Gone(id) => {
                self.gone(&id);
                true
            }
            Input::Unreadable(id) => {
                self.world.unreadable(id);
                true
            }
            Input::Wrote { id, outcome } => {
                self.wrote(id, outcome);
                true
            }
        };
        self.changed |= news;
    }

    fn gone(&mut self, id: &Id) {
        if let Id::Vip(name) = id
            && let Some(vip) = self.world.vips.get(name)
        {
            self.assumed.remove(&vip.meta.uid);
        }
        self.world.delete(id);
        self.troubles.remove(id);
    }

    fn wrote(&mut self, id: Id, outcome: Outcome) {
        let flight = self.flights.remove(&id);
        match outcome {
            Outcome::Done(object) => {
                if let Some(flight) = flight {
                    self.told.extend(flight.notices);
                    self.forget_assumed(flight.gives);
                }
                self.troubles.remove(&id);
                let _news = self.world.apply(object);
            }
            Outcome::Gone => self.gone(&id),
            Outcome::Overtaken(object) => {
                self.forget_assumed(flight.and_then(|flight| flight.gives));
                let _news = self.world.apply(object);
                self.trouble(id);
            }
            Outcome::Failed => {
                if let Some((uid, address)) = flight.and_then(|flight| flight.gives) {
                    self.assumed.insert(uid, address);
                }
                self.trouble(id);
            }
        }
    }

    /// The pause before the next try, twice as long each time.
    fn trouble(&mut self, id: Id) {
        let failures = self.troubles.get(&id).map_or(0, |trouble| trouble.failures);
        let pause = SHORTEST.saturating_mul(1 << failures.min(16)).min(LONGEST);
        self.troubles.insert(id, Trouble { failures: failures + 1, until: self.now + pause });
    }

    fn forget_assumed(&mut self, gives: Option<(String, IpAddr)>) {
        if let Some((uid, _)) = gives {
            self.assumed.remove(&uid);
        }
    }

    /// Looks at everything, if it is time to.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = now;
        if self.poll_timeout().is_none_or(|due| due > now) {
            return;
        }
        self.changed = false;
        let since = self.looked.map_or(Duration::MAX, |looked| now.since(looked));
        self.owed = self.owed.saturating_sub(since);
        self.looked = Some(now);
        let (sick, recovery) = self.sick.look(now, &self.world);
        let decision = decide(&self.world, &self.circumstances(now, sick));
        self.figures = decision.figures;
        self.strays.retain(|uid, _| decision.strays.contains(uid));
        for uid in decision.strays {
            self.strays.entry(uid).or_insert(now);
        }
        let strays = self.strays.values().map(|since| *since + STRAY).filter(|due| *due > now);
        self.wake = strays.chain(recovery).min();
        self.plan(decision.writes, now);
    }

    /// How long the last look took, which is for the caller to measure.
    pub fn took(&mut self, time: Duration) {
        self.owed = self.owed.saturating_add(time.saturating_mul(PAUSE + 1));
        self.pause = time.max(self.owed.saturating_sub(CREDIT));
    }

    fn circumstances(&self, now: Time, sick: BTreeMap<String, BTreeSet<String>>) -> Circumstances {
        let under_way = self.flights.values().filter_map(|flight| flight.gives.clone());
        Circumstances {
            sick,
            assumed: self.assumed.clone().into_iter().chain(under_way).collect(),
            unsettled: self.flights.values().flat_map(|flight| flight.uids.iter().cloned()).collect(),
            patient: self
                .strays
                .iter()
                .filter(|(_, since)| now >= **since + STRAY)
                .map(|(uid, _)| uid.clone())
                .collect(),
        }
    }

    /// Keeps what can be written now, and notes when the rest can.
    fn plan(&mut self, writes: Vec<Planned>, now: Time) {
        let mut words = BTreeMap::new();
        let mut due_now: Vec<Planned> = Vec::new();
        for planned in writes {
            let mut due = self.troubles.get(&planned.id).map_or(now, |trouble| trouble.until);
            if planned.urgency == Urgency::Words {
                let since = self.words.get(&planned.id).copied().unwrap_or(now);
                words.insert(planned.id.clone(), since);
                due = due.max(since + WORDS);
            }
            if due > now {
                self.wake = Some(self.wake.map_or(due, |wake| wake.min(due)));
            } else if !self.flights.contains_key(&planned.id) {
                due_now.push(planned);
            }
        }
        self.words = words;
        due_now.sort_by(|a, b| (a.urgency, &a.id).cmp(&(b.urgency, &b.id)));
        self.planned = due_now.into();
    }

    /// When to call [`Self::handle_timeout`]; `None` if there is nothing to wait for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        if !self.leading || !self.world.is_complete() {
            return None;
        }
        let changed = self.changed.then(|| self.looked.map_or(self.now, |looked| looked + self.pause));
        [changed, self.wake].into_iter().flatten().min()
    }

    /// The next thing to do, `None` if there is nothing until something is handled.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        if let Some(notice) = self.told.pop_front() {
            return Some(Effect::Tell(notice));
        }
        // Views come first in the order of names.
        let views = self.flights.keys().take_while(|id| matches!(id, Id::View(_))).count();
        let full = self.flights.len() - views >= self.room.0;
        if full && self.planned.front().is_none_or(|next| next.urgency != Urgency::View) {
            return None;
        }
        let Planned { id, write, uids, notices, .. } = self.planned.pop_front()?;
        self.words.remove(&id);
        let gives = match (&write, &id) {
            (Write::VipStatus { status: Status { address: Some(address), .. }, .. }, Id::Vip(name)) => {
                self.world.vips.get(name).map(|vip| (vip.meta.uid.clone(), *address))
            }
            _ => None,
        };
        self.flights.insert(id.clone(), Flight { notices, uids, gives });
        Some(Effect::Write { id, write })
    }
}

#[cfg(test)]
mod tests;
