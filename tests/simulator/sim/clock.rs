//! A node's clock: it runs a little wrong, and may stop.

use std::time::Duration;

use vipkeeper::core::time::Time;

/// A boot clock, as a line through (true, shown), in nanoseconds.
#[derive(Debug, Clone)]
pub struct Clock {
    base: u64,
    shown: u64,
    /// Parts per million too fast.
    ppm: i64,
}

impl Clock {
    pub fn new(now: u64, shown: u64) -> Self {
        Self { base: now, shown, ppm: 0 }
    }

    pub fn set_rate(&mut self, now: u64, ppm: i64) {
        (self.shown, self.base) = (self.nanos(now), now);
        self.ppm = ppm;
    }

    /// The clock goes on from what it showed at `since`.
    pub fn stood_still(&mut self, since: u64, now: u64) {
        (self.shown, self.base) = (self.nanos(since), now);
    }

    fn nanos(&self, now: u64) -> u64 {
        let passed = now.saturating_sub(self.base) as i64;
        self.shown + (passed + passed / 1_000 * self.ppm / 1_000) as u64
    }

    pub fn show(&self, now: u64) -> Time {
        Time(Duration::from_nanos(self.nanos(now)))
    }

    /// When it will show this, not before `now`.
    pub fn when(&self, time: Time, now: u64) -> u64 {
        let nanos = u64::try_from(time.0.as_nanos()).unwrap_or(u64::MAX);
        let ahead = nanos.saturating_sub(self.shown) as i128;
        let passed = ahead * 1_000_000 / (1_000_000 + i128::from(self.ppm)) + 2_000;
        (self.base + u64::try_from(passed).unwrap_or(u64::MAX / 4)).max(now)
    }
}
