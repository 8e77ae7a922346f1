//! A token bucket for each source, in a table of fixed size.

use std::net::IpAddr;
use std::time::Duration;

use super::hash::Seed;
use crate::core::time::Time;

/// Buckets in each of the two rows: 256 KiB together.
const BUCKETS: usize = 8192;
/// A token, in the units that buckets count.
const TOKEN: u64 = 1 << 20;

/// How much a source may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Packets a second; 0 for no limit.
    pub rate: u32,
    /// Packets at once after a pause.
    pub burst: u32,
}

/// Token buckets by source: an IPv4 address, or the /64 of an IPv6 address.
///
/// A source has a bucket in each of two rows and may send as long as one of them has a token. Sources that share one
/// bucket therefore seldom hinder each other, and a flood from forged sources hinders few others.
#[derive(Debug)]
pub struct Limiter {
    limit: Limit,
    seed: Seed,
    rows: [Box<[Bucket]>; 2],
}

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// What was taken out and has not flowed back yet, in parts of a token.
    taken: u64,
    /// When that was so.
    at: Time,
}

impl Limiter {
    /// Full buckets.
    #[must_use]
    pub fn new(limit: Limit, seed: Seed) -> Self {
        let row = || vec![Bucket::default(); if limit.rate == 0 { 0 } else { BUCKETS }].into_boxed_slice();
        Self { limit, seed, rows: [row(), row()] }
    }

    /// Takes a token for a packet from `source`; false if there is none left.
    pub fn take(&mut self, now: Time, source: IpAddr) -> bool {
        if self.limit.rate == 0 {
            return true;
        }
        let key = match source {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
        };
        let capacity = u64::from(self.limit.burst.max(1)) * TOKEN;
        let mut granted = false;
        for (salt, row) in self.rows.iter_mut().enumerate() {
            let place = self.seed.hash(salt as u64, &(source.is_ipv6(), key)) as usize % BUCKETS;
            let Some(bucket) = row.get_mut(place) else { continue };
            let back = flowed(self.limit.rate, now.since(bucket.at));
            bucket.taken = bucket.taken.saturating_sub(back);
            bucket.at = bucket.at.max(now);
            if bucket.taken + TOKEN <= capacity {
                bucket.taken += TOKEN;
                granted = true;
            }
        }
        granted
    }
}

/// What flows back in a time, in parts of a token.
fn flowed(rate: u32, time: Duration) -> u64 {
    let parts = u128::from(rate) * u128::from(TOKEN) * time.as_nanos() / 1_000_000_000;
    u64::try_from(parts).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn source(n: u32) -> IpAddr {
        Ipv4Addr::from(0xc633_6400 + n).into()
    }

    #[test]
    fn a_source_gets_its_burst_and_then_its_rate() {
        let mut limiter = Limiter::new(Limit { rate: 100, burst: 20 }, Seed(7));
        let mut taken = |now: Time| (0..1_000).filter(|_| limiter.take(now, source(1))).count();
        assert_eq!(taken(Time::from_millis(1_000)), 20);
        assert_eq!(taken(Time::from_millis(1_100)), 10);
        assert_eq!(taken(Time::from_millis(60_000)), 20);
    }

    #[test]
    fn a_flood_from_forged_sources_hinders_few() {
        let mut limiter = Limiter::new(Limit { rate: 10, burst: 10 }, Seed(7));
        for flood in 0..20_000 {
            limiter.take(Time::ZERO, source(1_000_000 + flood % 2_000));
        }
        let hindered = (0..500).filter(|honest| !limiter.take(Time::ZERO, source(*honest))).count();
        assert!(hindered < 500 / 5, "{hindered} of 500");
    }

    #[test]
    fn the_neighbours_of_an_ipv6_source_share_its_bucket() {
        let mut limiter = Limiter::new(Limit { rate: 1, burst: 3 }, Seed(7));
        let granted =
            (0..100u128).filter(|n| limiter.take(Time::ZERO, IpAddr::from((0x2001_0db8_u128 << 96 | n).to_be_bytes())));
        assert_eq!(granted.count(), 3);
    }

    #[test]
    fn no_limit_limits_nothing() {
        let mut limiter = Limiter::new(Limit { rate: 0, burst: 0 }, Seed(7));
        assert!((0..100_000).all(|_| limiter.take(Time::ZERO, source(1))));
    }

    proptest! {
        #[test]
        fn one_source_never_gets_more_than_burst_and_rate(
            rate in 1u32..2_000, burst in 1u32..100, steps in prop::collection::vec(0u64..300, 1..200),
        ) {
            let mut limiter = Limiter::new(Limit { rate, burst }, Seed(1));
            let (mut now, mut granted) = (Time::ZERO, 0u64);
            for step in steps {
                now = now + Duration::from_millis(step);
                granted += u64::from(limiter.take(now, source(1)));
                let allowed = u128::from(burst) + u128::from(rate) * now.0.as_millis() / 1_000 + 1;
                prop_assert!(u128::from(granted) <= allowed);
            }
        }
    }
}
