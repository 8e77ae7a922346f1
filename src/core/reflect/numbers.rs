//! The numbers that a stateful reflector gives its replies, for a bounded number of sessions.

use std::net::IpAddr;
use std::time::Duration;

use super::hash::Seed;
use crate::core::time::Time;

/// Sets of the table, and sessions in a set: 16,384 sessions in 512 KiB.
const SETS: usize = 4096;
const WAYS: usize = 4;
/// A session that has been silent for this long gives up its place to another.
const IDLE: Duration = Duration::from_secs(120);

/// What makes a session (RFC 8972 section 3): both ends, and the sender's identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionKey {
    /// The sender's address.
    pub source: IpAddr,
    /// The sender's port.
    pub port: u16,
    /// The address that was asked; `None` where the socket does not tell.
    pub asked: Option<IpAddr>,
    /// The session identifier in the packet.
    pub ssid: u16,
}

/// How many replies each session was given.
#[derive(Debug)]
pub struct Numbers {
    seed: Seed,
    places: Box<[Place]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// The hash of the key; zero is a free place.
    print: u64,
    next: u32,
    used: Time,
}

impl Numbers {
    /// No sessions.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        Self { seed, places: vec![Place::default(); SETS * WAYS].into_boxed_slice() }
    }

    /// The number of the next reply of a session, from 0 on; `None` if all places are in use by others, who are not
    /// disturbed: then the reply repeats the sender's number, as of a reflector without state.
    pub fn next(&mut self, now: Time, key: &SessionKey) -> Option<u32> {
        let print = self.seed.hash(2, key) | 1;
        let set = (print >> 32) as usize % SETS * WAYS;
        let set = self.places.get_mut(set..set + WAYS)?;
        let place = match set.iter().position(|place| place.print == print) {
            Some(place) => place,
            None => set.iter().position(|place| place.print == 0 || now.since(place.used) >= IDLE)?,
        };
        let place = set.get_mut(place)?;
        if place.print != print {
            *place = Place { print, next: 0, used: now };
        }
        let number = place.next;
        place.next = number.wrapping_add(1);
        place.used = now;
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn key(n: u32) -> SessionKey {
        SessionKey { source: Ipv4Addr::from(n).into(), port: 40_000, asked: None, ssid: 1 }
    }

    #[test]
    fn each_session_counts_for_itself() {
        let mut numbers = Numbers::new(Seed(3));
        let other = SessionKey { ssid: 2, ..key(1) };
        let got: Vec<_> =
            [key(1), key(1), other, key(1), key(2)].iter().map(|key| numbers.next(Time::ZERO, key)).collect();
        assert_eq!(got, [Some(0), Some(1), Some(0), Some(2), Some(0)]);
    }

    #[test]
    fn a_flood_of_sessions_disturbs_none_that_is_in_use() {
        let mut numbers = Numbers::new(Seed(3));
        for n in 0..1_000 {
            numbers.next(Time::ZERO, &key(n));
        }
        let refused = (0..200_000).filter(|n| numbers.next(Time::ZERO, &key(1_000_000 + n)).is_none()).count();
        assert!(refused >= 200_000 - SETS * WAYS, "{refused}");
        assert!((0..1_000).all(|n| matches!(numbers.next(Time::ZERO, &key(n)), Some(1) | None)));
        let kept = (0..1_000).filter(|n| numbers.next(Time::ZERO, &key(*n)) == Some(2)).count();
        assert!(kept > 990, "{kept}");
    }

    #[test]
    fn a_silent_session_gives_up_its_place() {
        let mut numbers = Numbers::new(Seed(3));
        for n in 0..200_000 {
            numbers.next(Time::ZERO, &key(n));
        }
        let later = Time::ZERO + IDLE;
        assert!((0..100).all(|n| numbers.next(later, &key(1_000_000 + n)) == Some(0)));
    }
}
