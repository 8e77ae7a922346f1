//! Failover on real kernels: three agents in network namespaces that share one directory, and an observer that asks each
//! node for the address by its own MAC every few milliseconds and so sees every claim, also one that no client would.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod observer;
mod trio;

use std::time::Duration;

use rustix::process::Signal;

use trio::{Fault, Trio};

/// Two nodes may never answer at the same time; the address answers again well before this, machine busy or not.
const BACK: Duration = Duration::from_secs(4);

/// Breaks the holder and returns the longest time without a claimant and the longest with two.
fn broken(fault: Fault) -> (Duration, Duration) {
    let mut trio = Trio::new();
    let holder = trio.wait_holder();
    let observer = trio.observe();
    trio.breaks(holder, fault);
    trio.wait_other_holder(holder);
    trio.heal(holder, fault);
    trio.settle();
    let seen = observer.end();
    eprintln!("{fault:?}: nobody for {:?}, two for {:?}, answers by node {:?}", seen.gap, seen.overlap, seen.answers);
    assert!(seen.answers.iter().any(|count| *count > 0), "the observer saw nothing");
    (seen.gap, seen.overlap)
}

#[test]
fn a_node_that_loses_power_is_succeeded_and_two_never_answer() {
    let (gap, overlap) = broken(Fault::Power);
    assert_eq!(overlap, Duration::ZERO);
    assert!(gap < BACK, "{gap:?}");
}

#[test]
fn a_killed_agent_is_succeeded_and_two_never_answer() {
    let (gap, overlap) = broken(Fault::Kill);
    assert_eq!(overlap, Duration::ZERO);
    assert!(gap < BACK, "{gap:?}");
}

#[test]
fn a_stopped_agent_is_succeeded_and_does_not_answer_when_it_goes_on() {
    let (gap, overlap) = broken(Fault::Stop);
    assert_eq!(overlap, Duration::ZERO);
    assert!(gap < BACK, "{gap:?}");
}

#[test]
fn a_node_cut_off_from_the_data_network_is_succeeded_and_two_never_answer() {
    let (gap, overlap) = broken(Fault::Cut);
    assert_eq!(overlap, Duration::ZERO);
    // The holder may have registered to hold by the API before it heard nobody any more: that lasts for 3 s.
    assert!(gap < BACK * 2, "{gap:?}");
}

#[test]
fn a_planned_restart_moves_nothing() {
    let mut trio = Trio::new();
    let holder = trio.wait_holder();
    let observer = trio.observe();
    trio.signal(holder, Signal::TERM);
    trio.wait_end(holder);
    trio.start(holder);
    trio.settle();
    let seen = observer.end();
    assert_eq!((trio.holder(), seen.overlap), (Some(holder), Duration::ZERO));
    assert!(seen.gap < Duration::from_millis(500), "{:?}", seen.gap);
}
