//! How many frames may still be sent.

use std::time::Duration;

use crate::core::time::Time;

/// Frames are counted by slots of this length; periodic announcements share their wake-ups.
pub const SLOT: Duration = Duration::from_millis(50);

/// How many slots a second can touch.
const SLOTS: usize = 21;

/// Counts what was sent in the last second.
#[derive(Debug, Clone)]
pub struct Budget {
    /// At most this many frames in any second.
    limit: u32,
    sent: [u32; SLOTS],
    /// The number of the newest slot, counted from the clock's start.
    slot: u128,
}

impl Budget {
    /// At most `limit` frames in any second.
    #[must_use]
    pub const fn new(limit: u32) -> Self {
        Self { limit, sent: [0; SLOTS], slot: 0 }
    }

    /// How many frames may be sent now.
    pub fn left(&mut self, now: Time) -> u32 {
        self.roll(now);
        self.limit.saturating_sub(self.sent.iter().sum())
    }

    /// How many may be sent now of those that are not urgent. They are spread, so that no slot has more than its share,
    /// and leave a fifth of the limit to what is urgent.
    pub fn left_for_patient(&mut self, now: Time) -> u32 {
        let patient = self.limit / 5 * 4;
        let share = patient.div_ceil(SLOTS as u32);
        let of_second = self.left(now).saturating_sub(self.limit - patient);
        of_second.min(share.saturating_sub(self.sent[self.place()]))
    }

    /// Counts frames that were sent now.
    pub fn spend(&mut self, now: Time, frames: u32) {
        self.roll(now);
        let place = self.place();
        self.sent[place] = self.sent[place].saturating_add(frames);
    }

    /// The instant, after `now`, from which more may be left than now.
    #[must_use]
    pub fn next(now: Time) -> Time {
        slot_start(slot_of(now) + 1)
    }

    const fn place(&self) -> usize {
        (self.slot % SLOTS as u128) as usize
    }

    fn roll(&mut self, now: Time) {
        let slot = slot_of(now);
        for passed in self.slot + 1..=slot.min(self.slot + SLOTS as u128) {
            self.sent[(passed % SLOTS as u128) as usize] = 0;
        }
        self.slot = self.slot.max(slot);
    }
}

/// The first start of a slot that is not before `time`.
#[must_use]
pub(super) fn round_up(time: Time) -> Time {
    slot_start(time.0.as_nanos().div_ceil(SLOT.as_nanos()))
}

const fn slot_of(now: Time) -> u128 {
    now.0.as_nanos() / SLOT.as_nanos()
}

fn slot_start(slot: u128) -> Time {
    let nanos = slot.saturating_mul(SLOT.as_nanos());
    Time(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_second_empties_with_time() {
        let mut budget = Budget::new(1000);
        let start = Time::from_millis(12_345);
        budget.spend(start, 1000);
        assert_eq!(budget.left(start + Duration::from_secs(1)), 0);
        assert_eq!(budget.left(start + Duration::from_millis(1050)), 1000);
    }

    proptest! {
        #[test]
        fn no_second_has_more_than_the_limit(steps in proptest::collection::vec((0..400u64, 0..900u32, any::<bool>()), 1..200)) {
            let mut budget = Budget::new(1000);
            let mut now = Time::from_millis(77);
            let mut sent: Vec<(Time, u32)> = Vec::new();
            for (pause, wish, patient) in steps {
                now = now + Duration::from_millis(pause);
                let left = if patient { budget.left_for_patient(now) } else { budget.left(now) };
                budget.spend(now, left.min(wish));
                sent.push((now, left.min(wish)));
                let second: u32 =
                    sent.iter().filter(|(at, _)| now.since(*at) < Duration::from_secs(1)).map(|(_, n)| n).sum();
                prop_assert!(second <= 1000);
                prop_assert!(Budget::next(now) > now && Budget::next(now).since(now) <= SLOT);
            }
        }
    }
}
