//! The probes of one source port to one target: numbered, remembered for a while, settled once.

use std::collections::VecDeque;
use std::time::Duration;

use super::counts::Counts;
use super::direction::Directions;
use crate::core::time::Time;

/// The most probes remembered; beyond it the oldest are settled early. More than 1,000 a second for a minute.
const MAX_RECORDS: usize = 1 << 17;

/// An answer as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// The number of the probe that it answers.
    pub seq: u32,
    /// The timestamp of the probe that it answers, as it stood in the packet.
    pub stamp: u64,
    /// The reflector's own number; `None` where the format has none.
    pub number: Option<u32>,
}

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The first answer, in time.
    Received {
        /// The probe that it answers.
        answer: Answer,
        /// Whether the answer to a later probe came before it.
        reordered: bool,
    },
    /// The first answer, after the timeout.
    Late(Answer),
    /// Not the first answer.
    Duplicated(Answer),
    /// An answer to a probe that was sent, but not as it was sent.
    Corrupted,
    /// An answer to nothing that is remembered.
    Stray,
}

/// What is known of a probe that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// When it was sent.
    pub sent: Time,
    /// When it was sent by the wall clock, in nanoseconds since 1970.
    pub wall: u64,
    /// When the kernel sent it by the wall clock, in nanoseconds since 1970, if the kernel has said so.
    pub kernel: Option<u64>,
    /// How many probes of the flow were sent before it.
    pub index: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// A number that was never sent.
    Skipped,
    InFlight,
    Received,
    Lost,
    Late,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    pub(super) sent: Time,
    pub(super) answered: Time,
    wall: u64,
    stamp: u64,
    kernel: u64,
    pub(super) number: Option<u32>,
    pub(super) state: State,
}

impl Record {
    pub(super) const fn is_answered(&self) -> bool {
        matches!(self.state, State::Received | State::Late)
    }
}

/// The probes of one source port to one target.
///
/// Numbers begin with 0 and wrap (RFC 8762 section 4.2). Number 1 is never sent: a reflector that numbers its replies
/// itself then differs from one that repeats ours from the second probe on, without a loss.
#[derive(Debug, Clone)]
pub struct Flow {
    timeout: Duration,
    records: VecDeque<Record>,
    /// The number of the first record.
    first: u32,
    /// How many records were forgotten.
    forgotten: u64,
    /// How many records from the first on are past their timeout.
    expired: usize,
    /// The highest number that was answered in time.
    newest: Option<u32>,
    counts: Counts,
    directions: Directions,
}

impl Flow {
    /// A flow whose first probe has number `first`; 0 but for tests of the wrap.
    #[must_use]
    pub fn new(timeout: Duration, first: u32) -> Self {
        Self {
            timeout,
            records: VecDeque::new(),
            first,
            forgotten: 0,
            expired: 0,
            newest: None,
            counts: Counts::default(),
            directions: Directions::new(),
        }
    }

    /// The counters.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The number of the next probe.
    #[must_use]
    pub fn next_seq(&self) -> u32 {
        let skip = u32::from(self.counts.sent == 1);
        self.end().wrapping_add(skip)
    }

    /// The next probe was sent, with timestamp `stamp` in the packet, at `wall` nanoseconds after 1970.
    pub fn sent(&mut self, now: Time, wall: u64, stamp: u64) {
        let record =
            Record { sent: now, answered: Time::ZERO, wall, stamp, kernel: 0, number: None, state: State::InFlight };
        if self.counts.sent == 1 {
            self.remember(Record { state: State::Skipped, ..record });
        }
        self.remember(record);
        self.counts.sent += 1;
        while self.records.len() > MAX_RECORDS {
            self.expired = self.expired.max(1);
            self.settle_first();
            self.forget_first();
        }
    }

    /// Grows by halves: most flows of a prober have one or two probes under way, and there are thousands.
    fn remember(&mut self, record: Record) {
        if self.records.len() == self.records.capacity() {
            self.records.reserve_exact((self.records.len() / 2).max(2));
        }
        self.records.push_back(record);
    }

    /// The kernel says when a probe went out, in nanoseconds since 1970. Told of a probe that was answered or forgotten
    /// meanwhile, it changes nothing.
    pub fn stamped(&mut self, seq: u32, kernel: u64) {
        // A time before it was handed over is of another datagram, or of another clock.
        let fits = |record: &&mut Record| record.state == State::InFlight && record.wall <= kernel;
        if let Some(record) = self.record_mut(seq).filter(fits) {
            record.kernel = kernel;
        }
    }

    /// When the next probe passes its timeout, or is forgotten.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        let open = self.records.get(self.expired).map(|record| record.sent + self.timeout);
        let oldest = self.records.front().map(|record| record.sent + self.memory());
        open.into_iter().chain(oldest).min()
    }

    /// Settles what has passed its timeout at `now` and forgets what has passed it long ago.
    pub fn handle_timeout(&mut self, now: Time) {
        while self.records.get(self.expired).is_some_and(|record| record.sent + self.timeout <= now) {
            self.settle_first_open();
        }
        let memory = self.memory();
        while self.expired > 0 && self.records.front().is_some_and(|record| record.sent + memory <= now) {
            self.forget_first();
        }
    }

    /// Tells the direction of all that is settled without waiting for what may still come.
    pub fn conclude(&mut self) {
        while self.records.front().is_some_and(|record| record.state != State::InFlight) {
            self.expired = self.expired.max(1);
            self.forget_first();
        }
    }

    /// An answer came in at `now`, which may lie before the last timeout that was handled.
    pub fn reply(&mut self, now: Time, reply: &Reply) -> Verdict {
        let verdict = self.judge(now, reply);
        match verdict {
            Verdict::Received { reordered, .. } => {
                self.counts.received += 1;
                self.counts.reordered += u64::from(reordered);
            }
            Verdict::Late(_) => self.counts.late += 1,
            Verdict::Duplicated(_) => self.counts.duplicated += 1,
            Verdict::Corrupted => self.counts.corrupted += 1,
            Verdict::Stray => self.counts.stray += 1,
        }
        verdict
    }

    /// Something came from the target that is no answer at all.
    pub const fn corrupted(&mut self) {
        self.counts.corrupted += 1;
    }

    /// Something came from the target that answers nothing that is remembered.
    pub const fn stray(&mut self) {
        self.counts.stray += 1;
    }

    /// An ICMP error quotes the probe with this number and timestamp, or so little that it is not known which one; whether
    /// it was one of ours. The probe stays in flight: anybody can forge such an error.
    pub fn refused(&mut self, quoted: Option<(u32, u64)>) -> bool {
        let known = quoted.is_none_or(|(seq, stamp)| {
            self.record_mut(seq).is_some_and(|record| record.state != State::Skipped && record.stamp == stamp)
        });
        if known {
            self.counts.refused += 1;
        } else {
            self.counts.stray += 1;
        }
        known
    }

    /// The number of the newest probe whose number ends in these eight bits and that has this timestamp.
    #[must_use]
    pub fn find(&self, low: u8, stamp: u64) -> Option<u32> {
        let last = self.end().wrapping_sub(1);
        let back = (last as u8).wrapping_sub(low);
        let newest = self.records.len().checked_sub(1 + usize::from(back))?;
        (0..=newest).rev().step_by(256).find_map(|index| {
            let found = self.records.get(index)?.stamp == stamp;
            found.then(|| self.first.wrapping_add(index as u32))
        })
    }

    fn judge(&mut self, now: Time, reply: &Reply) -> Verdict {
        self.handle_timeout(now);
        let index = reply.seq.wrapping_sub(self.first) as usize;
        let before = self.forgotten + index as u64;
        let newest = self.newest;
        let Some(record) = self.records.get_mut(index).filter(|record| record.state != State::Skipped) else {
            return Verdict::Stray;
        };
        if record.stamp != reply.stamp {
            return Verdict::Corrupted;
        }
        let answer = Answer {
            sent: record.sent,
            wall: record.wall,
            kernel: (record.kernel != 0).then_some(record.kernel),
            // Number 1 was never sent.
            index: before.saturating_sub(u64::from(before > 1)),
        };
        if record.is_answered() {
            if let Some(number) = reply.number {
                self.directions.doubled(record.number, number);
            }
            return Verdict::Duplicated(answer);
        }
        record.number = reply.number;
        record.answered = now;
        let in_time = record.state == State::InFlight;
        record.state = if in_time { State::Received } else { State::Late };
        if let Some(number) = reply.number {
            self.directions.saw(number, reply.seq);
        }
        if !in_time {
            return Verdict::Late(answer);
        }
        let reordered = newest.is_some_and(|newest| newest.wrapping_sub(reply.seq).cast_signed() > 0);
        if !reordered {
            self.newest = Some(reply.seq);
        }
        Verdict::Received { answer, reordered }
    }

    /// How long a probe is remembered: late and second answers are told apart for as long.
    fn memory(&self) -> Duration {
        self.timeout * 2
    }

    /// The number after the last record's.
    fn end(&self) -> u32 {
        self.first.wrapping_add(self.records.len() as u32)
    }

    fn record_mut(&mut self, seq: u32) -> Option<&mut Record> {
        self.records.get_mut(seq.wrapping_sub(self.first) as usize)
    }

    fn settle_first_open(&mut self) {
        if let Some(record) = self.records.get_mut(self.expired) {
            if record.state == State::InFlight {
                record.state = State::Lost;
                self.counts.lost += 1;
            }
            self.expired += 1;
        }
    }

    fn settle_first(&mut self) {
        if let Some(record) = self.records.front_mut().filter(|record| record.state == State::InFlight) {
            record.state = State::Lost;
            self.counts.lost += 1;
        }
    }

    fn forget_first(&mut self) {
        let Some(record) = self.records.pop_front() else { return };
        self.first = self.first.wrapping_add(1);
        self.forgotten += 1;
        self.expired -= 1;
        let decided = self.directions.leave(&record, &self.records);
        self.counts.lost_forward += decided.forward;
        self.counts.lost_backward += decided.backward;
        if self.records.is_empty() && self.records.capacity() > 64 {
            self.records.shrink_to_fit();
        }
    }
}

#[cfg(test)]
#[path = "flow_tests.rs"]
mod tests;
