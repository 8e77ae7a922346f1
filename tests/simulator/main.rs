//! The failover protocol in a simulated segment: every property, every rule, every case that was ever found.
//!
//! `SIM_SEEDS=FROM-TO` runs other seeds, and searches for others that show what each rule is for
//! (`SIM_RULE=NAME` for one of them). `UPDATE_CASES=1`
//! writes the journals of `cases/` anew, and finds another run for a rule whose known one fails no more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)]

mod cases;
mod search;
mod sim;

use search::{first_failure, seeds};
use sim::scenario::Scenario;
use sim::shrink::{journal, shrink};
use vipkeeper::core::failover::Rules;

fn all_hold(make: fn(u64) -> Scenario, default: std::ops::Range<u64>) {
    if let Some((seed, violation)) = first_failure(Rules::all(), make, seeds(default)) {
        let small = shrink(&make(seed), Rules::all());
        panic!("seed {seed} fails, {violation}; shrunk to:\n{}", journal(&small, Rules::all(), 200));
    }
}

#[test]
fn many_faults_at_once() {
    all_hold(Scenario::torture, 0..10_000);
}

#[test]
fn one_hazard_at_a_time() {
    all_hold(Scenario::directed, 0..2_000);
}
