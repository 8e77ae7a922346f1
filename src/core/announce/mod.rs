//! When which address is announced: at once, a few times fast, then each interval for as long as it is held.
//!
//! One limit stands over all frames, so that a takeover of many addresses does not flood the segment. Under it the first
//! word of a new address goes before all else; then its reply form, the questions to its gateways, the rest of its
//! burst; then what is repeated for safety, the most overdue first, and last the questions to other neighbours. A round that comes late is not made up
//! for: the next follows it by its usual distance.
//!
//! An announcement that fails is not repeated out of turn: the next round is.

mod budget;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::budget::{Budget, SLOT};
use super::frame::{Form, Frame};
use super::net::Mac;
use super::time::Time;

/// Frames in any second, over all addresses and links.
pub const LIMIT: u32 = 1000;

/// Neighbours of a link that are asked one by one, at most.
pub const NEIGHBOURS: usize = 64;

/// The time from each announcement of a burst to the next: they go out after 0, 50, 200 ms, 1, 2 and 4 s.
const GAPS: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(800),
    Duration::from_millis(1000),
    Duration::from_millis(2000),
];

/// The round, a second after the first, with which neighbours are asked once more.
const ASK_AGAIN: u32 = 3;

/// How an address is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// Time between announcements after the burst; at least [`SLOT`].
    pub interval: Duration,
    /// How many announcements the burst has, the first included.
    pub burst: u8,
}

impl Default for Timing {
    fn default() -> Self {
        Self { interval: Duration::from_secs(3), burst: 6 }
    }
}

/// A neighbour that is asked in the name of each new address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its address; it is asked in the name of addresses of its own family.
    pub ip: IpAddr,
    /// Its Ethernet address, if it is known.
    pub mac: Option<Mac>,
    /// Whether it routes: then it is asked early and twice, others once and last of all.
    pub gateway: bool,
}

/// What the announcer is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// The address stands on the link: announce it from now on. Said again, the burst begins again.
    Announce {
        /// The address.
        ip: IpAddr,
        /// The link's index.
        link: u32,
        /// How often.
        timing: Timing,
    },
    /// From now on announce the address this often; nothing is said at once.
    Pace {
        /// The address.
        ip: IpAddr,
        /// How often.
        timing: Timing,
    },
    /// Say no more of the address.
    Silence {
        /// The address.
        ip: IpAddr,
    },
    /// Who is to be asked on a link; at most [`NEIGHBOURS`] are, the first of them.
    Neighbours {
        /// The link's index.
        link: u32,
        /// All of them.
        targets: Vec<Target>,
    },
    /// The segment of a link is whole again: every address that is announced there begins its burst again.
    Again {
        /// The link's index.
        link: u32,
    },
    /// Somebody else claims the address: announce it once more now (RFC 5227 section 2.4; how often this is right is
    /// the caller's to know).
    Defend {
        /// The address.
        ip: IpAddr,
    },
}

/// What the announcer asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Send these frames, all on one link, in this order.
    Send {
        /// The link's index.
        link: u32,
        /// The frames.
        frames: Vec<Frame>,
    },
}

#[derive(Debug)]
struct Vip {
    link: u32,
    timing: Timing,
    /// Tells the jobs of this burst from those of one before it.
    serial: u64,
}

/// How urgent a job is; the first goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    First,
    Reply,
    Gateways,
    Burst,
    Periodic,
    Neighbours,
}

impl Class {
    const fn is_urgent(self) -> bool {
        matches!(self, Self::First | Self::Reply)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    /// One frame that is not part of a series.
    Once(Form),
    /// Questions to the gateways (`true`) or to the other neighbours, from this place on.
    Ask(bool, usize),
    /// This announcement after the first, in all forms.
    Round(u32),
}

/// Ordered as jobs are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Job {
    class: Class,
    due: Time,
    serial: u64,
    ip: IpAddr,
    task: Task,
}

/// The schedule of all announcements of a node. See the module's text.
#[derive(Debug)]
pub struct Announcer {
    now: Time,
    vips: BTreeMap<IpAddr, Vip>,
    neighbours: BTreeMap<u32, Vec<Target>>,
    /// Questions of links whose neighbours are not known yet.
    unasked: BTreeMap<u32, Vec<Job>>,
    serial: u64,
    waiting: BinaryHeap<Reverse<(Time, Job)>>,
    ready: BTreeSet<Job>,
    budget: Budget,
    effects: VecDeque<Effect>,
}

impl Default for Announcer {
    fn default() -> Self {
        Self {
            now: Time::ZERO,
            vips: BTreeMap::new(),
            neighbours: BTreeMap::new(),
            unasked: BTreeMap::new(),
            serial: 0,
            waiting: BinaryHeap::new(),
            ready: BTreeSet::new(),
            budget: Budget::new(LIMIT),
            effects: VecDeque::new(),
        }
    }
}

impl Announcer {
    /// Takes an input; what is to be said at once is an effect at once.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Announce { ip, link, timing } => self.begin(ip, link, timing),
            Input::Pace { ip, timing } => self.pace(ip, timing),
            Input::Silence { ip } => {
                self.vips.remove(&ip);
            }
            Input::Neighbours { link, mut targets } => {
                targets.truncate(NEIGHBOURS);
                self.neighbours.insert(link, targets);
                self.ready.extend(self.unasked.remove(&link).unwrap_or_default());
            }
            Input::Again { link } => {
                let there = self.vips.iter().filter(|(_, vip)| vip.link == link);
                let all: Vec<_> = there.map(|(ip, vip)| (*ip, vip.timing)).collect();
                for (ip, timing) in all {
                    self.begin(ip, link, timing);
                }
            }
            Input::Defend { ip } => {
                if let Some(vip) = self.vips.get(&ip) {
                    let task = Task::Once(Form::Announcement);
                    self.ready.insert(Job { class: Class::First, due: self.now, serial: vip.serial, ip, task });
                }
            }
        }
        if self.vips.is_empty() {
            self.waiting.clear();
            self.ready.clear();
            self.unasked.clear();
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

    /// When to call [`Announcer::handle_timeout`], and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Time, &'static str)> {
        if !self.ready.is_empty() {
            return Some((Budget::next(self.now), "announce what the limit held back"));
        }
        self.waiting.peek().map(|Reverse((at, _))| (*at, "announce"))
    }

    /// How many addresses are announced.
    #[must_use]
    pub fn len(&self) -> usize {
        self.vips.len()
    }

    /// Whether none is announced.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vips.is_empty()
    }

    fn begin(&mut self, ip: IpAddr, link: u32, timing: Timing) {
        self.serial += 1;
        let (serial, due) = (self.serial, self.now);
        self.vips.insert(ip, Vip { link, timing, serial });
        let mut push = |class, task| self.ready.insert(Job { class, due, serial, ip, task });
        push(Class::First, Task::Once(Form::Announcement));
        if ip.is_ipv4() {
            push(Class::Reply, Task::Once(Form::Reply));
        }
        push(Class::Gateways, Task::Ask(true, 0));
        push(Class::Neighbours, Task::Ask(false, 0));
        self.follow(ip, due, 0);
    }

    /// Ends the burst, if it goes on, and counts the interval from now.
    fn pace(&mut self, ip: IpAddr, timing: Timing) {
        let Some(vip) = self.vips.get_mut(&ip).filter(|vip| vip.timing != timing) else { return };
        self.serial += 1;
        vip.timing = timing;
        vip.serial = self.serial;
        self.follow(ip, self.now, timing.burst.into());
    }

    /// Whether the job's address is still announced, in the burst that the job belongs to.
    fn is_current(&self, job: &Job) -> bool {
        self.vips.get(&job.ip).is_some_and(|vip| vip.serial == job.serial)
    }

    fn work(&mut self) {
        while let Some(Reverse((at, job))) = self.waiting.peek().copied() {
            if !self.is_current(&job) {
                self.waiting.pop();
            } else if at <= self.now {
                self.waiting.pop();
                self.ready.insert(job);
            } else {
                break;
            }
        }
        let mut frames: BTreeMap<u32, Vec<Frame>> = BTreeMap::new();
        while let Some(job) = self.ready.first().copied() {
            let Some(link) = self.vips.get(&job.ip).filter(|vip| vip.serial == job.serial).map(|vip| vip.link) else {
                self.ready.pop_first();
                continue;
            };
            let urgent = job.class.is_urgent();
            let left = if urgent { self.budget.left(self.now) } else { self.budget.left_for_patient(self.now) };
            if left < self.cost(&job) {
                break;
            }
            self.ready.pop_first();
            let sink = frames.entry(link).or_default();
            let before = sink.len();
            self.perform(&job, link, left, sink);
            let count = u32::try_from(sink.len() - before).unwrap_or(u32::MAX);
            self.budget.spend(self.now, count);
        }
        let sends = frames.into_iter().filter(|(_, frames)| !frames.is_empty());
        self.effects.extend(sends.map(|(link, frames)| Effect::Send { link, frames }));
    }

    /// How many frames must be left for a job to be begun.
    const fn cost(&self, job: &Job) -> u32 {
        match (job.task, job.ip) {
            (Task::Round(_), IpAddr::V4(_)) => 2,
            (Task::Once(_) | Task::Ask(..) | Task::Round(_), _) => 1,
        }
    }

    fn perform(&mut self, job: &Job, link: u32, left: u32, frames: &mut Vec<Frame>) {
        let frame = |form| Frame { link, ip: job.ip, form };
        match job.task {
            Task::Once(form) => frames.push(frame(form)),
            Task::Ask(..) if !self.neighbours.contains_key(&link) => {
                self.unasked.entry(link).or_default().push(*job);
            }
            Task::Ask(gateways, from) => {
                let room = usize::try_from(left).unwrap_or(usize::MAX);
                let targets = self.neighbours.get(&link).map_or(&[][..], Vec::as_slice);
                let mut wanted = targets.iter().filter(|t| is_asked(t, job.ip, gateways)).skip(from);
                let asks = wanted.by_ref().take(room);
                frames.extend(asks.map(|target| frame(Form::Ask { target: target.ip, mac: target.mac })));
                if wanted.next().is_some() {
                    self.ready.insert(Job { task: Task::Ask(gateways, from + room), ..*job });
                }
            }
            Task::Round(round) => {
                frames.push(frame(Form::Announcement));
                if job.ip.is_ipv4() {
                    frames.push(frame(Form::Reply));
                }
                if round == ASK_AGAIN {
                    self.ready.insert(Job { class: Class::Gateways, task: Task::Ask(true, 0), ..*job });
                }
                // A round that is a little late keeps its place, so that those of one slot stay together.
                let base = if self.now.since(job.due) < SLOT { job.due } else { self.now };
                self.follow(job.ip, base, round);
            }
        }
    }

    /// Plans the announcement after number `round`, which was made at `base`.
    fn follow(&mut self, ip: IpAddr, base: Time, round: u32) {
        let Some(vip) = self.vips.get(&ip) else { return };
        let next = round + 1;
        let interval = vip.timing.interval.max(SLOT);
        let (class, due) = if next < u32::from(vip.timing.burst) {
            let gap = GAPS.get(round as usize).or(GAPS.last()).copied().unwrap_or(interval);
            (Class::Burst, base + gap.min(interval))
        } else {
            (Class::Periodic, budget::round_up(base + interval))
        };
        let job = Job { class, due, serial: vip.serial, ip, task: Task::Round(next) };
        self.waiting.push(Reverse((due, job)));
    }
}

/// Whether a neighbour is asked in the name of `ip`, with the gateways or with the rest.
fn is_asked(target: &Target, ip: IpAddr, gateways: bool) -> bool {
    target.gateway == gateways && target.ip.is_ipv4() == ip.is_ipv4() && target.ip != ip
}
