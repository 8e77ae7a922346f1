//! On which way a probe was lost, told from the numbers that a reflector gives its replies.
//!
//! A stateful reflector (RFC 8762 section 4.3) counts the replies of a session itself. Between two answers that are
//! there, a number that is missing was given to a reply that got lost; a lost probe for which no number is missing never
//! got there. Decided once a probe is forgotten, so that late and reordered answers have had their time.

use std::collections::VecDeque;

use super::flow::{Record, State};
use crate::core::time::Time;

/// Numbers of second replies that are remembered at most; beyond that a direction may be told wrongly.
const MAX_DOUBLES: usize = 64;

/// Lost probes of which the direction became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Decided {
    pub(super) forward: u64,
    pub(super) backward: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Directions {
    /// The highest reply number so far, and when that reply came in.
    number: u32,
    arrived: Time,
    /// Lost probes since that reply.
    pending: u64,
    /// Numbers of replies to second copies of a probe, made on the way there.
    doubles: Vec<u32>,
    /// Whether the reflector is known to number its replies itself.
    stateful: bool,
}

impl Directions {
    /// A session begins: the first reply will have number 0.
    pub(super) const fn new() -> Self {
        Self { number: u32::MAX, arrived: Time::ZERO, pending: 0, doubles: Vec::new(), stateful: false }
    }

    /// A reply with this number came in for the probe with this one.
    pub(super) fn saw(&mut self, number: u32, seq: u32) {
        self.stateful |= number != seq;
    }

    /// A second reply came in for a probe that was answered with number `first`.
    pub(super) fn doubled(&mut self, first: Option<u32>, number: u32) {
        if first.is_some_and(|first| first != number) && self.doubles.len() < MAX_DOUBLES {
            self.doubles.push(number);
        }
    }

    /// A probe is forgotten; `rest` are those sent after it.
    pub(super) fn leave(&mut self, record: &Record, rest: &VecDeque<Record>) -> Decided {
        match (record.state, record.number) {
            (State::Skipped | State::InFlight, _) => Decided::default(),
            (State::Lost, _) => {
                self.pending += 1;
                Decided::default()
            }
            (State::Received | State::Late, Some(number)) if self.stateful => self.answered(record, number, rest),
            (State::Received | State::Late, _) => {
                self.pending = 0;
                if let Some(number) = record.number {
                    self.anchor(number, record.answered);
                }
                Decided::default()
            }
        }
    }

    fn answered(&mut self, record: &Record, number: u32, rest: &VecDeque<Record>) -> Decided {
        let ahead = number.wrapping_sub(self.number);
        if ahead == 0 || ahead.cast_signed() < 0 {
            // A probe that was sent when the higher number had come in already cannot have a lower one, unless the
            // reflector began anew, or another one answers.
            if record.sent > self.arrived {
                self.pending = 0;
                self.doubles.clear();
                self.anchor(number, record.answered);
            }
            return Decided::default();
        }
        let mut decided = Decided::default();
        if self.pending > 0 {
            let within = |other: u32| {
                let step = other.wrapping_sub(self.number);
                step > 0 && step < ahead
            };
            let answered =
                rest.iter().filter(|record| record.is_answered() && record.number.is_some_and(within)).count();
            let doubled = self.doubles.iter().filter(|double| within(**double)).count();
            let missing = u64::from(ahead - 1).saturating_sub((answered + doubled) as u64);
            if missing <= self.pending {
                decided = Decided { forward: self.pending - missing, backward: missing };
            }
        }
        self.pending = 0;
        self.doubles.retain(|double| double.wrapping_sub(number).cast_signed() > 0);
        self.anchor(number, record.answered);
        decided
    }

    fn anchor(&mut self, number: u32, arrived: Time) {
        self.number = number;
        self.arrived = arrived;
    }
}
