//! One target: its flows, one for each source port, and what is known over all of them.

use std::time::Duration;

use super::counts::Counts;
use super::flow::{Answer, Flow, Reply, Verdict};
use super::holder::{HolderNews, Holders};
use super::latency::Buckets;
use super::pace::Pace;
use crate::core::time::Time;

/// How long a part of the last minute is, for the loss in the last minute.
const PART: Duration = Duration::from_secs(10);
/// Parts of the last minute.
const PARTS: usize = 6;

/// How a target is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The time between two probes.
    pub interval: Duration,
    /// After this time a probe is lost.
    pub timeout: Duration,
    /// From how many source ports probes are sent in turn, at least 1.
    pub ports: u8,
    /// Whether the first probe leaves within the interval and not at once.
    pub spread: bool,
    /// Whether it matters which node answers.
    pub holders: bool,
}

/// One source port's figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Path {
    /// Its counters.
    pub counts: Counts,
    /// The newest round trip.
    pub rtt: Option<Duration>,
}

/// A target that is measured.
#[derive(Debug, Clone)]
pub struct Session {
    lanes: Vec<Lane>,
    pace: Pace,
    turn: usize,
    holders: Option<Holders>,
    buckets: Buckets,
    clock_steps: u64,
    minute: Minute,
    /// When the last answer in time came, or the measurement began.
    answered: Time,
    last_rtt: Option<Duration>,
}

#[derive(Debug, Clone)]
struct Lane {
    flow: Flow,
    rtt: Option<Duration>,
}

/// Counters as they were at the ends of the last ten-second parts.
#[derive(Debug, Clone)]
struct Minute {
    parts: [(u64, u64); PARTS],
    next: Time,
}

impl Session {
    /// A target that is measured from `now` on; `seed` makes its shifts.
    #[must_use]
    pub fn new(now: Time, settings: &Settings, seed: u64) -> Self {
        let pace = if settings.spread { Pace::spread } else { Pace::new };
        let lane = Lane { flow: Flow::new(settings.timeout, 0), rtt: None };
        Self {
            lanes: vec![lane; usize::from(settings.ports.max(1))],
            pace: pace(now, settings.interval, seed),
            turn: 0,
            holders: settings.holders.then(|| Holders::new(settings.interval)),
            buckets: Buckets::default(),
            clock_steps: 0,
            minute: Minute { parts: [(0, 0); PARTS], next: now + PART },
            answered: now,
            last_rtt: None,
        }
    }

    /// When to send next.
    #[must_use]
    pub fn next_send(&self) -> Time {
        self.pace.next()
    }

    /// When something passes a timeout or is forgotten next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        self.lanes.iter().filter_map(|lane| lane.flow.next_timeout()).min()
    }

    /// The source port, by its place, from which to send next, and the number of the probe.
    #[must_use]
    pub fn upcoming(&self) -> (usize, u32) {
        (self.turn, self.lanes.get(self.turn).map_or(0, |lane| lane.flow.next_seq()))
    }

    /// The upcoming probe was sent (see [`Flow::sent`]).
    pub fn sent(&mut self, now: Time, wall: u64, stamp: u64) {
        if let Some(lane) = self.lanes.get_mut(self.turn) {
            lane.flow.sent(now, wall, stamp);
        }
        self.skip(now);
    }

    /// The upcoming probe could not be sent, for a reason that is ours and no loss.
    pub fn skip(&mut self, now: Time) {
        self.turn = (self.turn + 1) % self.lanes.len();
        self.pace.advance(now);
    }

    /// The kernel says when a probe went out (see [`Flow::stamped`]).
    pub fn stamped(&mut self, port: usize, seq: u32, kernel: u64) {
        if let Some(lane) = self.lanes.get_mut(port) {
            lane.flow.stamped(seq, kernel);
        }
    }

    /// An answer came in at `now`, on a source port. `figure` makes a round trip of what is known of the probe, `None` if
    /// a clock was set meanwhile; `name` is who answered, if it told.
    pub fn reply(
        &mut self,
        now: Time,
        port: usize,
        reply: &Reply,
        name: Option<&str>,
        figure: impl FnOnce(&Answer) -> Option<Duration>,
    ) -> (Verdict, Option<Duration>, Option<HolderNews>) {
        let Some(lane) = self.lanes.get_mut(port) else { return (Verdict::Stray, None, None) };
        let verdict = lane.flow.reply(now, reply);
        let mut rtt = None;
        let mut news = None;
        let named = name.zip(self.holders.as_mut());
        match verdict {
            Verdict::Received { answer, .. } => {
                self.answered = self.answered.max(now);
                rtt = figure(&answer);
                match rtt {
                    Some(rtt) => {
                        self.buckets.add(rtt);
                        lane.rtt = Some(rtt);
                        self.last_rtt = Some(rtt);
                    }
                    None => self.clock_steps += 1,
                }
                news = named.and_then(|(name, holders)| holders.answered(answer.sent, name));
            }
            Verdict::Duplicated(_) => news = named.and_then(|(name, holders)| holders.doubled(now, name)),
            Verdict::Late(_) | Verdict::Corrupted | Verdict::Stray => {}
        }
        (verdict, rtt, news)
    }

    /// Something that is no answer came from the target.
    pub fn corrupted(&mut self, port: usize) {
        if let Some(lane) = self.lanes.get_mut(port) {
            lane.flow.corrupted();
        }
    }

    /// Something that answers nothing that is remembered came from the target.
    pub fn stray(&mut self, port: usize) {
        if let Some(lane) = self.lanes.get_mut(port) {
            lane.flow.stray();
        }
    }

    /// An ICMP error quotes a probe (see [`Flow::refused`]).
    pub fn refused(&mut self, port: usize, quoted: Option<(u32, u64)>) -> bool {
        self.lanes.get_mut(port).is_some_and(|lane| lane.flow.refused(quoted))
    }

    /// How long there has been no answer in time.
    #[must_use]
    pub const fn silent_for(&self, now: Time) -> Duration {
        now.since(self.answered)
    }

    /// The probe that an answer of the original format is to (see [`Flow::find`]).
    #[must_use]
    pub fn find(&self, port: usize, low: u8, stamp: u64) -> Option<u32> {
        self.lanes.get(port).and_then(|lane| lane.flow.find(low, stamp))
    }

    /// Settles what has passed its timeout.
    pub fn handle_timeout(&mut self, now: Time) {
        for lane in &mut self.lanes {
            lane.flow.handle_timeout(now);
        }
        if self.minute.next <= now {
            let counts = self.counts();
            self.minute.parts.rotate_right(1);
            if let Some(newest) = self.minute.parts.first_mut() {
                *newest = (counts.received + counts.lost, counts.lost);
            }
            self.minute.next = now + PART;
        }
    }

    /// Tells the direction of all that is settled (see [`Flow::conclude`]).
    pub fn conclude(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.flow.conclude());
    }

    /// The counters of all source ports together.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.lanes.iter().for_each(|lane| sum += *lane.flow.counts());
        sum
    }

    /// The figures of each source port.
    pub fn paths(&self) -> impl ExactSizeIterator<Item = Path> {
        self.lanes.iter().map(|lane| Path { counts: *lane.flow.counts(), rtt: lane.rtt })
    }

    /// The share of the probes settled in the last minute that was lost, 0 to 1; `None` if none was settled.
    #[must_use]
    pub fn recent_loss(&self) -> Option<f64> {
        let counts = self.counts();
        let (settled, lost) = self.minute.parts.last().copied().unwrap_or_default();
        let settled = counts.received + counts.lost - settled;
        (settled > 0).then(|| (counts.lost - lost) as f64 / settled as f64)
    }

    /// Round trips by length.
    #[must_use]
    pub const fn buckets(&self) -> &Buckets {
        &self.buckets
    }

    /// The newest round trip.
    #[must_use]
    pub const fn last_rtt(&self) -> Option<Duration> {
        self.last_rtt
    }

    /// Answers without a round trip, because a clock was set while they were under way.
    #[must_use]
    pub const fn clock_steps(&self) -> u64 {
        self.clock_steps
    }

    /// Who answers, if that matters.
    #[must_use]
    pub const fn holders(&self) -> Option<&Holders> {
        self.holders.as_ref()
    }
}
