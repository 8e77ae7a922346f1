//! How often somebody may ask: a token bucket for each key, in bounded memory.
//!
//! A bucket is one instant: when it would be full again if nothing more were taken (the generic cell rate algorithm, ITU-T
//! I.371 A.1). A full bucket is the same as none and is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::time::Time;

/// Buckets of one size, one for each key.
#[derive(Debug, Clone)]
pub struct Buckets<K> {
    /// How long one token takes to grow back; zero: no limit.
    each: Duration,
    /// How many tokens a full bucket has.
    burst: u32,
    capacity: usize,
    full_at: BTreeMap<K, Time>,
    order: BTreeSet<(Time, K)>,
}

impl<K: Ord + Clone> Buckets<K> {
    /// Buckets that hold `burst` tokens (at least 1) and regain `per_second` of them a second; 0 a second means that
    /// there is no limit. At most `capacity` keys are remembered: the fullest bucket is forgotten first.
    #[must_use]
    pub fn new(per_second: u32, burst: u32, capacity: usize) -> Self {
        let each = Duration::from_secs(1).checked_div(per_second).unwrap_or(Duration::ZERO);
        Self { each, burst: burst.max(1), capacity: capacity.max(1), full_at: BTreeMap::new(), order: BTreeSet::new() }
    }

    /// Takes `count` tokens of the key's bucket.
    ///
    /// # Errors
    /// How long to wait until there are so many (or until the bucket is full, if it never holds so many); nothing is
    /// taken then.
    pub fn take(&mut self, now: Time, key: &K, count: u32) -> Result<(), Duration> {
        if self.each.is_zero() || count == 0 {
            return Ok(());
        }
        let full_at = self.full_at.get(key).copied().unwrap_or(now).max(now);
        let after = full_at + self.each.saturating_mul(count);
        let allowed = self.each.saturating_mul(self.burst);
        let missing = after.since(now).saturating_sub(allowed);
        if count > self.burst {
            return Err(full_at.since(now).max(self.each));
        }
        if !missing.is_zero() {
            return Err(missing);
        }
        self.forget(now);
        if let Some(before) = self.full_at.insert(key.clone(), after) {
            self.order.remove(&(before, key.clone()));
        }
        self.order.insert((after, key.clone()));
        Ok(())
    }

    /// Empties the key's bucket for `time`: its owner asked us to wait.
    pub fn block(&mut self, now: Time, key: &K, time: Duration) {
        if self.each.is_zero() {
            return;
        }
        let until = now + time + self.each.saturating_mul(self.burst.saturating_sub(1));
        self.forget(now);
        if let Some(before) = self.full_at.insert(key.clone(), until) {
            self.order.remove(&(before, key.clone()));
        }
        self.order.insert((until, key.clone()));
    }

    /// How many keys are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.full_at.len()
    }

    /// Whether no key is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.full_at.is_empty()
    }

    fn forget(&mut self, now: Time) {
        while let Some((full_at, _)) = self.order.first() {
            if *full_at > now && self.full_at.len() < self.capacity {
                return;
            }
            if let Some((_, key)) = self.order.pop_first() {
                self.full_at.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let mut buckets = Buckets::new(10, 3, 100);
        for _ in 0..3 {
            assert_eq!(buckets.take(at(0), &"a", 1), Ok(()));
        }
        assert_eq!(buckets.take(at(0), &"a", 1), Err(Duration::from_millis(100)));
        assert_eq!(buckets.take(at(40), &"a", 1), Err(Duration::from_millis(60)));
        assert_eq!(buckets.take(at(0), &"b", 3), Ok(()), "another key has a bucket of its own");
        assert_eq!(buckets.take(at(100), &"a", 1), Ok(()));
        assert_eq!(buckets.take(at(100), &"a", 1), Err(Duration::from_millis(100)));
        assert!(buckets.take(at(9000), &"a", 4).is_err(), "more than ever fits");
        assert_eq!(buckets.take(at(9000), &"a", 3), Ok(()));
    }

    #[test]
    fn a_key_that_was_told_to_wait_waits() {
        let mut buckets = Buckets::new(10, 3, 100);
        buckets.block(at(0), &"a", Duration::from_secs(2));
        assert_eq!(buckets.take(at(1900), &"a", 1), Err(Duration::from_millis(100)));
        assert_eq!(buckets.take(at(2000), &"a", 1), Ok(()));
    }

    #[test]
    fn no_rate_is_no_limit() {
        let mut buckets = Buckets::new(0, 1, 1);
        assert!((0..1000).all(|_| buckets.take(at(0), &"a", 50) == Ok(())));
        assert!(buckets.is_empty());
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_burst_and_rate_and_memory_is_bounded(
            steps in prop::collection::vec((0_u64..300, 0_u8..6, 1_u32..3), 1..200),
        ) {
            let mut buckets = Buckets::new(10, 5, 4);
            let mut now = 0;
            let mut taken: BTreeMap<u8, u32> = BTreeMap::new();
            for (wait, key, count) in steps {
                now += wait;
                if buckets.take(at(now), &key, count).is_ok() {
                    *taken.entry(key).or_default() += count;
                }
                prop_assert!(buckets.len() <= 4);
                prop_assert_eq!(buckets.order.len(), buckets.full_at.len());
            }
            // With at most four keys nobody is forgotten early.
            if taken.len() <= 4 {
                for count in taken.values() {
                    prop_assert!(u64::from(*count) <= 5 + now / 100);
                }
            }
        }
    }
}
