//! How fast the simulator is, and a million runs of it.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

#[path = "../tests/simulator/sim/mod.rs"]
mod sim;
mod support;

use std::time::Instant;

use sim::scenario::Scenario;
use sim::shrink::{journal, run, shrink};
use support::Bench;
use vipkeeper::core::failover::Rules;

/// Runs these seeds; how many fail.
fn failures(seeds: std::ops::Range<u64>) -> u64 {
    let fails = |seed: &u64| {
        let scenario = Scenario::torture(*seed);
        let failed = run(&scenario, Rules::all()).is_err();
        if failed {
            eprintln!("seed {seed}:\n{}", journal(&shrink(&scenario, Rules::all()), Rules::all(), 100));
        }
        failed
    };
    seeds.filter(fails).count() as u64
}

fn main() {
    let mut bench = Bench::new("simulator");
    bench.figure("runs of many faults, one core", "runs a minute", 5, || {
        let begun = Instant::now();
        let count = 2_000;
        failures(0..count);
        count as f64 / begun.elapsed().as_secs_f64() * 60.0
    });
    bench.figure("failures in a million runs", "runs", 1, || failures(1_000_000..2_000_000) as f64);
    bench.finish();
}
