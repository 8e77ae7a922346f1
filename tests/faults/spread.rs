//! Percentiles.

use std::time::Duration;

use serde_json::{Value, json};

use crate::figures::millis;

/// The median, the 99th percentile (nearest rank) and the greatest of a set of figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// Of times, in milliseconds.
pub(crate) fn spread(times: impl Iterator<Item = Duration>) -> Spread {
    counts(times.map(millis))
}

/// Of plain numbers.
pub(crate) fn counts(values: impl Iterator<Item = f64>) -> Spread {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let rank = |share: f64| {
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
    };
    Spread { p50: rank(0.5), p99: rank(0.99), max: rank(1.0) }
}

impl Spread {
    pub(crate) fn json(self) -> Value {
        json!({"p50": self.p50, "p99": self.p99, "max": self.max})
    }
}

#[test]
fn percentiles_are_by_nearest_rank() {
    let values = || (1..=200).map(f64::from);
    assert_eq!(counts(values()), Spread { p50: 100.0, p99: 198.0, max: 200.0 });
    assert_eq!(counts([7.0].into_iter()), Spread { p50: 7.0, p99: 7.0, max: 7.0 });
}
