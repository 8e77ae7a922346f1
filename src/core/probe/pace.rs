//! When to send: a grid of slots, each with a shift of its own, so that senders do not fall into step.

use std::time::Duration;

use crate::core::time::Time;

/// The slots of a sender. Slot n lies at `start + n * interval`, shifted by up to a quarter of the interval (as BFD does,
/// RFC 5880 section 6.8.7); the mean distance is the interval exactly.
#[derive(Debug, Clone)]
pub struct Pace {
    start: Time,
    interval: Duration,
    seed: u64,
    slot: u64,
}

impl Pace {
    /// Slots from `start` on; the first is not shifted. `seed` makes the shifts of this sender.
    #[must_use]
    pub const fn new(start: Time, interval: Duration, seed: u64) -> Self {
        Self { start, interval, seed, slot: 0 }
    }

    /// Slots from somewhere within the interval that begins at `now`: many senders made at once are spread evenly.
    #[must_use]
    pub fn spread(now: Time, interval: Duration, seed: u64) -> Self {
        Self::new(now + part(interval, mix(seed)), interval, seed)
    }

    /// When to send next.
    #[must_use]
    pub fn next(&self) -> Time {
        let shift = if self.slot == 0 { Duration::ZERO } else { part(self.interval / 4, mix(self.seed ^ self.slot)) };
        let nanos = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX).saturating_mul(self.slot);
        self.start + Duration::from_nanos(nanos) + shift
    }

    /// The slot was used at `now`; slots that have passed meanwhile are left out, not made up for in a burst.
    pub fn advance(&mut self, now: Time) {
        self.slot += 1;
        let interval = self.interval.as_nanos().max(1);
        let passed = u64::try_from(now.since(self.start).as_nanos() / interval).unwrap_or(u64::MAX);
        self.slot = self.slot.max(passed);
        if self.next() <= now {
            self.slot += 1;
        }
    }
}

/// A part of `whole` as even as the bits of `random`.
fn part(whole: Duration, random: u64) -> Duration {
    let nanos = (whole.as_nanos() * u128::from(random)) >> 64;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Bits that look random, from a number (the finaliser of SplitMix64, Steele, Lea and Flood 2014).
pub(super) const fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn slots_are_on_their_grid_and_never_in_the_past(
            seed: u64,
            interval in 1u64..5_000,
            delays in prop::collection::vec(0u64..20_000, 1..50),
        ) {
            let interval = Duration::from_millis(interval);
            let mut pace = Pace::new(Time::from_millis(700), interval, seed);
            prop_assert_eq!(pace.next(), Time::from_millis(700));
            let mut now = pace.next();
            for delay in delays {
                now = now.max(pace.next()) + Duration::from_millis(delay);
                pace.advance(now);
                let next = pace.next();
                prop_assert!(next > now && next.since(now) <= interval * 5 / 4 + interval, "{} {}", next, now);
                let phase = (next.since(Time::from_millis(700)).as_nanos() % interval.as_nanos()) * 4;
                prop_assert!(phase <= interval.as_nanos());
            }
        }

        #[test]
        fn on_time_no_slot_is_left_out(seed: u64) {
            let mut pace = Pace::new(Time::ZERO, Duration::from_secs(1), seed);
            for _ in 0..100 {
                pace.advance(pace.next());
            }
            prop_assert!(pace.next() >= Time::from_millis(100_000) && pace.next() < Time::from_millis(100_250));
        }
    }

    #[test]
    fn a_thousand_senders_are_spread_over_the_interval() {
        let second = Duration::from_secs(1);
        let starts: Vec<u128> =
            (0..1000).map(|seed| Pace::spread(Time::ZERO, second, seed).next().0.as_millis()).collect();
        for tenth in 0..10 {
            let within = starts.iter().filter(|start| **start / 100 == tenth).count();
            assert!((60..140).contains(&within), "{within} in tenth {tenth}");
        }
    }
}
