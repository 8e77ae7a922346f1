//! Answers kept for a while, and one question asked once however many wait for its answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::time::Time;

/// Answers by key. `F` is whatever those who wait for an answer under way are handed.
#[derive(Debug, Clone)]
pub struct Cache<K, V, F> {
    capacity: usize,
    ready: BTreeMap<K, Ready<V>>,
    expiries: BTreeSet<(Time, K)>,
    flights: BTreeMap<K, F>,
}

#[derive(Debug, Clone)]
struct Ready<V> {
    value: V,
    stored: Time,
    expires: Time,
}

/// What a cache says of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<V, F> {
    /// The answer, and how long ago it was given.
    Ready(V, Duration),
    /// Somebody is asking: wait with this.
    InFlight(F),
    /// Nobody knows and nobody asks.
    Absent,
}

impl<K: Ord + Clone, V: Clone, F: Clone> Cache<K, V, F> {
    /// A cache of at most `capacity` answers; the one that expires first makes room.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity, ready: BTreeMap::new(), expiries: BTreeSet::new(), flights: BTreeMap::new() }
    }

    /// What is known of a key.
    pub fn get(&self, now: Time, key: &K) -> Found<V, F> {
        if let Some(flight) = self.flights.get(key) {
            return Found::InFlight(flight.clone());
        }
        match self.ready.get(key) {
            Some(ready) if ready.expires > now => Found::Ready(ready.value.clone(), now.since(ready.stored)),
            Some(_) | None => Found::Absent,
        }
    }

    /// Says that the key is being asked for; `flight` is handed to whoever else wants it until [`land`](Self::land).
    pub fn begin(&mut self, key: K, flight: F) {
        self.flights.insert(key, flight);
    }

    /// Ends the key's flight with an answer to keep for `ttl`; zero keeps nothing.
    pub fn land(&mut self, now: Time, key: K, value: V, ttl: Duration) {
        self.flights.remove(&key);
        self.remove(&key);
        if ttl.is_zero() || self.capacity == 0 {
            return;
        }
        while let Some((expires, oldest)) = self.expiries.first() {
            if *expires > now && self.ready.len() < self.capacity {
                break;
            }
            let oldest = oldest.clone();
            self.remove(&oldest);
        }
        let expires = now + ttl;
        self.expiries.insert((expires, key.clone()));
        self.ready.insert(key, Ready { value, stored: now, expires });
    }

    /// Ends the key's flight without an answer.
    pub fn abandon(&mut self, key: &K) {
        self.flights.remove(key);
    }

    fn remove(&mut self, key: &K) {
        if let Some(ready) = self.ready.remove(key) {
            self.expiries.remove(&(ready.expires, key.clone()));
        }
    }

    /// How many answers are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ready.len()
    }

    /// Whether no answer is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Time {
        Time(Duration::from_secs(seconds))
    }

    #[test]
    fn a_key_is_asked_for_once_and_its_answer_is_kept_for_its_time() {
        let mut cache: Cache<&str, u8, &str> = Cache::new(10);
        assert_eq!(cache.get(at(0), &"a"), Found::Absent);
        cache.begin("a", "flight");
        assert_eq!(cache.get(at(1), &"a"), Found::InFlight("flight"));
        cache.land(at(2), "a", 7, Duration::from_secs(10));
        assert_eq!(cache.get(at(5), &"a"), Found::Ready(7, Duration::from_secs(3)));
        assert_eq!(cache.get(at(12), &"a"), Found::Absent);
    }

    #[test]
    fn a_flight_without_an_answer_leaves_nothing() {
        let mut cache: Cache<&str, u8, &str> = Cache::new(10);
        cache.begin("a", "flight");
        cache.abandon(&"a");
        assert_eq!(cache.get(at(0), &"a"), Found::Absent);
        cache.begin("a", "flight");
        cache.land(at(0), "a", 1, Duration::ZERO);
        assert_eq!(cache.get(at(0), &"a"), Found::Absent);
    }

    #[test]
    fn the_answer_that_expires_first_makes_room() {
        let mut cache: Cache<u8, u8, ()> = Cache::new(2);
        cache.land(at(0), 1, 1, Duration::from_secs(100));
        cache.land(at(0), 2, 2, Duration::from_secs(50));
        cache.land(at(0), 3, 3, Duration::from_secs(70));
        assert_eq!(cache.get(at(1), &2), Found::Absent);
        assert!(matches!(cache.get(at(1), &1), Found::Ready(1, _)));
        assert!(matches!(cache.get(at(1), &3), Found::Ready(3, _)));
    }

    proptest! {
        #[test]
        fn it_never_outgrows_its_capacity_and_never_answers_late(
            steps in prop::collection::vec((0_u64..20, 0_u8..20, 0_u64..60), 1..200),
        ) {
            let mut cache: Cache<u8, u64, ()> = Cache::new(5);
            let mut now = 0;
            for (wait, key, ttl) in steps {
                now += wait;
                if let Found::Ready(expires, _) = cache.get(at(now), &key) {
                    prop_assert!(expires > now);
                }
                cache.land(at(now), key, now + ttl, Duration::from_secs(ttl));
                prop_assert!(cache.len() <= 5);
                prop_assert_eq!(cache.expiries.len(), cache.ready.len());
            }
        }
    }
}
