//! Looks for seeds that fail, on all cores.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use vipkeeper::core::failover::Rules;

use crate::sim::oracle::Violation;
use crate::sim::scenario::Scenario;
use crate::sim::shrink::run;

/// The seeds of `SIM_SEEDS=FROM-TO`, or these.
pub(crate) fn seeds(default: Range<u64>) -> Range<u64> {
    given_seeds().unwrap_or(default)
}

pub(crate) fn given_seeds() -> Option<Range<u64>> {
    let text = std::env::var("SIM_SEEDS").ok()?;
    let range = text.split_once('-').and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    Some(range.unwrap_or_else(|| panic!("SIM_SEEDS={text} is no range of seeds: FROM-TO, as 0-10000")))
}

/// The first seed that fails, and how.
pub(crate) fn first_failure(rules: Rules, make: fn(u64) -> Scenario, seeds: Range<u64>) -> Option<(u64, Violation)> {
    let next = AtomicU64::new(seeds.start);
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return None;
            }
            if let Err(violation) = run(&make(seed), rules) {
                // Lower seeds are under way already; higher ones need not begin.
                next.store(seeds.end, Ordering::Relaxed);
                return Some((seed, violation));
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        let found = threads.into_iter().filter_map(|thread| thread.join().expect("a run panicked"));
        found.min_by_key(|(seed, _)| *seed)
    })
}
