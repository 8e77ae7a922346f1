//! Delays in fixed memory: a summary for people, buckets for metrics.

use std::time::Duration;

/// Upper bounds of the buckets in nanoseconds: smokeping's twenty from 50 us, doubling, and three below for a target on
/// the same machine.
pub const BOUNDS: [u64; 23] = {
    let mut bounds = [5_000, 10_000, 20_000, 50_000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut at = 4;
    while at < bounds.len() {
        bounds[at] = bounds[at - 1] * 2;
        at += 1;
    }
    bounds
};

/// How many delays fell between the [`BOUNDS`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Buckets {
    counts: [u64; BOUNDS.len()],
    count: u64,
    sum: u64,
}

impl Buckets {
    /// Adds a delay.
    pub fn add(&mut self, delay: Duration) {
        let nanos = nanos(delay);
        let at = BOUNDS.partition_point(|bound| *bound < nanos);
        if let Some(count) = self.counts.get_mut(at) {
            *count += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(nanos);
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Their sum in seconds.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum as f64 / 1e9
    }

    /// Each bound in seconds, and how many are at most that.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        BOUNDS.iter().zip(&self.counts).scan(0, |sum, (bound, count)| {
            *sum += count;
            Some((*bound as f64 / 1e9, *sum))
        })
    }
}

/// Steps within a doubling: a quantile is off by at most one part in 64.
const STEPS: u64 = 32;
/// Doublings from 32 ns on: up to 68 s.
const DOUBLINGS: usize = 32;

/// Least, mean, greatest, deviation and quantiles of any number of delays.
#[derive(Debug, Clone)]
pub struct Latency {
    counts: Box<[u64]>,
    count: u64,
    least: u64,
    greatest: u64,
    mean: f64,
    /// The sum of the squared distances from the mean (Welford's method).
    spread: f64,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            counts: vec![0; DOUBLINGS * STEPS as usize].into_boxed_slice(),
            count: 0,
            least: u64::MAX,
            greatest: 0,
            mean: 0.0,
            spread: 0.0,
        }
    }
}

impl Latency {
    /// Adds a delay.
    pub fn add(&mut self, delay: Duration) {
        let nanos = nanos(delay);
        let last = self.counts.len() - 1;
        if let Some(count) = self.counts.get_mut(place(nanos).min(last)) {
            *count += 1;
        }
        self.count += 1;
        self.least = self.least.min(nanos);
        self.greatest = self.greatest.max(nanos);
        let distance = nanos as f64 - self.mean;
        self.mean += distance / self.count as f64;
        self.spread += distance * (nanos as f64 - self.mean);
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The least; `None` if there are none.
    #[must_use]
    pub fn min(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.least))
    }

    /// The greatest; `None` if there are none.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.greatest))
    }

    /// The mean; `None` if there are none.
    #[must_use]
    pub fn avg(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.mean as u64))
    }

    /// The standard deviation, as ping(8) prints it; `None` if there are none.
    #[must_use]
    pub fn mdev(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos((self.spread / self.count as f64).max(0.0).sqrt() as u64))
    }

    /// The delay that the given share (0 to 1) of all does not exceed, to one part in 64; `None` if there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = ((share * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut sum = 0;
        let at = self.counts.iter().position(|count| {
            sum += count;
            sum >= rank
        })?;
        Some(Duration::from_nanos(middle(at).clamp(self.least, self.greatest)))
    }
}

fn nanos(delay: Duration) -> u64 {
    u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX)
}

/// The place of a delay: linear below 32 ns, then 32 steps a doubling.
const fn place(nanos: u64) -> usize {
    if nanos < STEPS {
        return nanos as usize;
    }
    let doubling = nanos.ilog2() - STEPS.ilog2();
    (doubling as u64 * STEPS + (nanos >> doubling)) as usize
}

/// The middle of what has a place.
const fn middle(at: usize) -> u64 {
    let at = at as u64;
    if at < STEPS {
        return at;
    }
    let doubling = at / STEPS - 1;
    let low = (at - doubling * STEPS) << doubling;
    low + ((1 << doubling) >> 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bounds_are_smokepings_and_three_below() {
        assert_eq!(&BOUNDS[..5], &[5_000, 10_000, 20_000, 50_000, 100_000]);
        assert_eq!(BOUNDS[22], 50_000 << 19);
    }

    #[test]
    fn a_delay_on_a_bound_is_within_it() {
        let mut buckets = Buckets::default();
        for micros in [5, 50, 51, 30_000_000] {
            buckets.add(Duration::from_micros(micros));
        }
        let within: Vec<u64> = buckets.cumulative().map(|(_, count)| count).collect();
        assert_eq!(&within[..5], &[1, 1, 1, 2, 3]);
        assert_eq!((within[22], buckets.count(), buckets.sum()), (3, 4, 30.000_106));
    }

    #[test]
    fn none_has_no_figures() {
        let none = Latency::default();
        assert_eq!(
            (none.min(), none.avg(), none.quantile(0.5), none.mdev(), none.max()),
            (None, None, None, None, None)
        );
    }

    proptest! {
        #[test]
        fn figures_are_those_of_the_sorted_list(delays in prop::collection::vec(0u64..60_000_000_000, 1..300)) {
            let mut latency = Latency::default();
            delays.iter().for_each(|delay| latency.add(Duration::from_nanos(*delay)));
            let mut sorted = delays.clone();
            sorted.sort_unstable();
            prop_assert_eq!(latency.min(), Some(Duration::from_nanos(sorted[0])));
            prop_assert_eq!(latency.max(), Some(Duration::from_nanos(sorted[sorted.len() - 1])));
            let mean = sorted.iter().map(|d| *d as f64).sum::<f64>() / sorted.len() as f64;
            let variance = sorted.iter().map(|d| (*d as f64 - mean).powi(2)).sum::<f64>() / sorted.len() as f64;
            prop_assert!((latency.avg().unwrap().as_nanos() as f64 - mean).abs() <= 2.0 + mean * 1e-9);
            prop_assert!((latency.mdev().unwrap().as_nanos() as f64 - variance.sqrt()).abs() <= 2.0 + mean * 1e-6);
            for share in [0.5, 0.99] {
                let rank = ((share * sorted.len() as f64).ceil() as usize).max(1);
                let exact = sorted[rank - 1] as f64;
                let told = latency.quantile(share).unwrap().as_nanos() as f64;
                prop_assert!((told - exact).abs() <= exact / 64.0 + 1.0, "{} of {}: {}", share, exact, told);
            }
        }
    }
}
