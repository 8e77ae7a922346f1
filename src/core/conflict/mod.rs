//! Whether an address is somebody else's: asked before it is first installed, and watched for while it is held
//! (RFC 5227; for IPv6 the same in the terms of RFC 4862 section 5.4).
//!
//! Asking is quicker than the RFC's six seconds: on a segment of servers a live owner answers within a millisecond, and
//! whoever holds the address is watched for afterwards. While many addresses wait to be asked for, each is asked for once.
//! A claim of a held address by a foreign host is a conflict. We keep the address, for it was given to us by name, and
//! defend it at most once per [`DEFEND_INTERVAL`] (RFC 5227 section 2.4, case c).

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::announce::{Budget, LIMIT};
use super::frame::{Form, Frame, Heard, Word};
use super::net::Mac;
use super::time::Time;

/// How often an address is asked for (`PROBE_NUM`).
pub const PROBES: u8 = 3;

/// The time from one question to the next.
pub const PROBE_GAP: Duration = Duration::from_millis(50);

/// How long to listen after the last question.
pub const ANSWER_WAIT: Duration = Duration::from_millis(150);

/// While more addresses than this are asked for, each is asked for once only.
pub const MANY: usize = 100;

/// The least time between two defences of an address (RFC 5227 section 1.1).
pub const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// A conflict is over when no claim was heard for this long, though the other host was asked meanwhile.
pub const QUIET: Duration = Duration::from_secs(30);

/// What the machine is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// Ask the segment of the link whether somebody has the address; answered by [`Effect::Probed`].
    Probe {
        /// The VIP.
        uid: String,
        /// The address.
        ip: IpAddr,
        /// The link's index.
        link: u32,
    },
    /// The address stands on the link and is ours: watch for claims.
    Hold {
        /// The address.
        ip: IpAddr,
        /// The link's index.
        link: u32,
    },
    /// It is no longer ours.
    Release {
        /// The address.
        ip: IpAddr,
    },
    /// Whose Ethernet addresses are known; replaces what was known before.
    Known {
        /// Those of this node's links: what they say is never foreign.
        own: BTreeSet<Mac>,
        /// Those of the segment's other members: their claims are settled among the members, not as conflicts. One that
        /// answers a probe has the address all the same.
        peers: BTreeSet<Mac>,
    },
    /// Another host said something.
    Heard(Heard),
}

/// What the machine asks for, and finds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Send these frames, all on one link.
    Send {
        /// The link's index.
        link: u32,
        /// The frames.
        frames: Vec<Frame>,
    },
    /// The segment was asked.
    Probed {
        /// The VIP.
        uid: String,
        /// Who has the address or wants it too, if anybody.
        answered: Option<Mac>,
    },
    /// Announce the address once more, now.
    Defend {
        /// The address.
        ip: IpAddr,
    },
    /// A foreign host claims an address that we hold; told again when it is another host.
    Conflict {
        /// The address.
        ip: IpAddr,
        /// The link's index.
        link: u32,
        /// The host's Ethernet address.
        mac: Mac,
    },
    /// Nobody claims it any more, or we do not hold it any more.
    Cleared {
        /// The address.
        ip: IpAddr,
    },
}

#[derive(Debug)]
struct Asking {
    uid: String,
    link: u32,
    /// Questions asked so far.
    asked: u8,
    /// When to do the next thing.
    next: Time,
    /// What that is: ask, or give up listening.
    then: Then,
}

#[derive(Debug)]
struct Held {
    link: u32,
    conflict: Option<Conflict>,
}

#[derive(Debug)]
struct Conflict {
    mac: Mac,
    /// The host that was told of.
    told: Mac,
    claimed: Time,
    defended: Time,
    next: Time,
}

/// What is done when its time has come. Questions wait for the limit, nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Then {
    Ask,
    Conclude,
    Review,
}

impl Then {
    const fn why(self) -> &'static str {
        match self {
            Self::Ask => "probe",
            Self::Conclude => "conclude a probe",
            Self::Review => "look at a conflict again",
        }
    }
}

/// The questions and conflicts of a node's addresses. See the module's text.
#[derive(Debug)]
pub struct Conflicts {
    now: Time,
    own: BTreeSet<Mac>,
    peers: BTreeSet<Mac>,
    asking: BTreeMap<IpAddr, Asking>,
    held: BTreeMap<IpAddr, Held>,
    timers: BTreeSet<(Time, Then, IpAddr)>,
    questions: BTreeSet<(Time, Then, IpAddr)>,
    budget: Budget,
    frames: BTreeMap<u32, Vec<Frame>>,
    effects: VecDeque<Effect>,
}

impl Default for Conflicts {
    fn default() -> Self {
        Self {
            now: Time::ZERO,
            own: BTreeSet::new(),
            peers: BTreeSet::new(),
            asking: BTreeMap::new(),
            held: BTreeMap::new(),
            timers: BTreeSet::new(),
            questions: BTreeSet::new(),
            budget: Budget::new(LIMIT),
            frames: BTreeMap::new(),
            effects: VecDeque::new(),
        }
    }
}

impl Conflicts {
    /// Takes an input.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Probe { uid, ip, link } => {
                self.forget(ip);
                self.asking.insert(ip, Asking { uid, link, asked: 0, next: self.now, then: Then::Ask });
                self.questions.insert((self.now, Then::Ask, ip));
            }
            Input::Hold { ip, link } => {
                if self.held.get(&ip).is_none_or(|held| held.link != link) {
                    self.release(ip);
                    self.held.insert(ip, Held { link, conflict: None });
                }
            }
            Input::Release { ip } => self.release(ip),
            Input::Known { own, peers } => {
                self.own = own;
                self.peers = peers;
            }
            Input::Heard(heard) => self.hear(heard),
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    /// The next effect, `None` when there is nothing to do for now.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        if self.effects.is_empty() {
            self.work();
        }
        self.effects.pop_front()
    }

    /// When to call [`Conflicts::handle_timeout`], and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Time, &'static str)> {
        let due = |set: &BTreeSet<(Time, Then, IpAddr)>| set.first().map(|(at, then, _)| (*at, then.why()));
        // A question whose time has come waits for the limit.
        let question =
            due(&self.questions).map(|(at, why)| (if at > self.now { at } else { Budget::next(self.now) }, why));
        [due(&self.timers), question].into_iter().flatten().min()
    }

    /// The held addresses that a foreign host claims, and that host's Ethernet address.
    pub fn conflicts(&self) -> impl Iterator<Item = (IpAddr, Mac)> {
        self.held.iter().filter_map(|(ip, held)| Some((*ip, held.conflict.as_ref()?.mac)))
    }

    fn release(&mut self, ip: IpAddr) {
        if let Some(conflict) = self.held.remove(&ip).and_then(|held| held.conflict) {
            self.timers.remove(&(conflict.next, Then::Review, ip));
            self.effects.push_back(Effect::Cleared { ip });
        }
    }

    fn hear(&mut self, Heard { link, ip, mac, word }: Heard) {
        if self.own.contains(&mac) {
            return;
        }
        let peer = self.peers.contains(&mac);
        if self.asking.get(&ip).is_some_and(|asking| asking.link == link) && (word != Word::Probe || !peer) {
            self.answer(ip, Some(mac));
        }
        // Who probes for what we hold is answered by the kernel; only a claim is a conflict.
        if word != Word::Probe && !peer && self.held.get(&ip).is_some_and(|held| held.link == link) {
            self.claimed(ip, mac);
        }
    }

    fn answer(&mut self, ip: IpAddr, answered: Option<Mac>) {
        if let Some(asking) = self.forget(ip) {
            self.effects.push_back(Effect::Probed { uid: asking.uid, answered });
        }
    }

    /// Asks no more for an address.
    fn forget(&mut self, ip: IpAddr) -> Option<Asking> {
        let asking = self.asking.remove(&ip)?;
        let place = (asking.next, asking.then, ip);
        self.timers.remove(&place);
        self.questions.remove(&place);
        Some(asking)
    }

    fn claimed(&mut self, ip: IpAddr, mac: Mac) {
        let now = self.now;
        let Some(held) = self.held.get_mut(&ip) else { return };
        if let Some(conflict) = &mut held.conflict {
            conflict.mac = mac;
            conflict.claimed = now;
            if now.since(conflict.defended) >= DEFEND_INTERVAL {
                conflict.defended = now;
                self.effects.push_back(Effect::Defend { ip });
            }
            return;
        }
        let next = now + DEFEND_INTERVAL;
        held.conflict = Some(Conflict { mac, told: mac, claimed: now, defended: now, next });
        let link = held.link;
        self.timers.insert((next, Then::Review, ip));
        self.effects.extend([Effect::Conflict { ip, link, mac }, Effect::Defend { ip }]);
    }

    fn work(&mut self) {
        while let Some(&(_, then, ip)) = self.timers.first().filter(|(at, ..)| *at <= self.now) {
            self.timers.pop_first();
            match then {
                Then::Review => self.review(ip),
                Then::Conclude | Then::Ask => self.answer(ip, None),
            }
        }
        while let Some(&(_, _, ip)) = self.questions.first().filter(|(at, ..)| *at <= self.now) {
            let again = self.asking.get(&ip).is_some_and(|asking| asking.asked > 0);
            if again && self.asking.len() > MANY {
                // It began when there were few.
                self.questions.pop_first();
                self.listen(ip, ANSWER_WAIT.saturating_sub(PROBE_GAP));
                continue;
            }
            if self.budget.left(self.now) == 0 {
                break;
            }
            self.questions.pop_first();
            self.ask(ip);
        }
        let sends = std::mem::take(&mut self.frames).into_iter();
        self.effects.extend(sends.map(|(link, frames)| Effect::Send { link, frames }));
    }

    fn ask(&mut self, ip: IpAddr) {
        let wanted = if self.asking.len() > MANY { 1 } else { PROBES };
        let Some(asking) = self.asking.get_mut(&ip) else { return };
        asking.asked += 1;
        let link = asking.link;
        if asking.asked < wanted {
            asking.next = self.now + PROBE_GAP;
            self.questions.insert((asking.next, asking.then, ip));
        } else {
            self.listen(ip, ANSWER_WAIT);
        }
        self.say(Frame { link, ip, form: Form::Probe { mac: None } });
    }

    /// Asks no more, and gives up listening after this time.
    fn listen(&mut self, ip: IpAddr, time: Duration) {
        let Some(asking) = self.asking.get_mut(&ip) else { return };
        asking.then = Then::Conclude;
        asking.next = self.now + time;
        self.timers.insert((asking.next, asking.then, ip));
    }

    /// Looks at a conflict after a while: over, or still there, which the host itself is asked.
    fn review(&mut self, ip: IpAddr) {
        let now = self.now;
        let Some(held) = self.held.get_mut(&ip) else { return };
        let link = held.link;
        let Some(conflict) = &mut held.conflict else { return };
        if now.since(conflict.claimed) >= QUIET {
            held.conflict = None;
            self.effects.push_back(Effect::Cleared { ip });
            return;
        }
        conflict.next = now + DEFEND_INTERVAL;
        let (mac, next) = (conflict.mac, conflict.next);
        if conflict.told != mac {
            conflict.told = mac;
            self.effects.push_back(Effect::Conflict { ip, link, mac });
        }
        self.timers.insert((next, Then::Review, ip));
        self.say(Frame { link, ip, form: Form::Probe { mac: Some(mac) } });
    }

    fn say(&mut self, frame: Frame) {
        self.budget.spend(self.now, 1);
        self.frames.entry(frame.link).or_default().push(frame);
    }
}
