//! The failover protocol in a simulated segment: every property, every rule, every case that was ever found.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)]

mod sim;

use sim::scenario::Scenario;
use sim::shrink::{journal, run, shrink};
use vipkeeper::core::failover::Rules;

/// The seeds of `SIM_SEEDS=FROM-TO`, or these.
fn seeds(default: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let given = std::env::var("SIM_SEEDS").ok();
    let range = given.and_then(|text| {
        let (from, to) = text.split_once('-')?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    range.unwrap_or(default)
}

#[test]
fn torture() {
    for seed in seeds(0..3_000) {
        let scenario = Scenario::torture(seed);
        if run(&scenario, Rules::all()).is_err() {
            let small = shrink(&scenario, Rules::all());
            panic!("seed {seed} fails, shrunk to:\n{}", journal(&small, Rules::all(), 200));
        }
    }
}
