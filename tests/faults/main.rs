//! The fault matrix on real kernels: agents in network namespaces, each fault and its healing, and a host that asks each
//! node by MAC. `make test` runs every fault; `make faults` runs each cell many times and writes figures.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, clippy::print_stdout, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod breaking;
mod client;
mod figures;
mod goal;
mod journal;
mod lab;
mod matrix;
mod node;
mod observer;
mod questions;
mod run;
mod spread;
mod station;
mod store;
mod table;
mod wall;

use std::time::Duration;

use vipkeeper::core::view::Gate as Kind;

use lab::{Lab, SOON};
use run::run;
use support::wait_until;
use table::{Cell, Contender, Family, Fault, Gate, Policy, Profile, Shape, Store, USUAL};

/// Faults, how long they last in seconds, and how often each is done.
type Group = (Shape, &'static [(Fault, f64, usize)]);

const AGENTS: Group = (
    USUAL,
    &[
        (Fault::Killed, 1.0, 5),
        (Fault::Stopped, 2.0, 5),
        (Fault::Stopped, 0.2, 1),
        (Fault::Restarted, 1.0, 5),
        (Fault::KilledAndRestarted, 1.0, 1),
        (Fault::Rolling, 0.5, 1),
        (Fault::Drained, 1.0, 1),
    ],
);
const MACHINES: Group = (USUAL, &[(Fault::PowerLost, 1.0, 5), (Fault::DeletedDuring, 1.0, 1)]);
const NETWORKS: Group = (
    Shape { family: Family::V6, ..USUAL },
    &[
        (Fault::CarrierLost, 2.0, 1),
        (Fault::DataCut, 2.0, 1),
        (Fault::Deaf, 2.0, 1),
        (Fault::Mute, 2.0, 1),
        (Fault::AddressDeleted, 1.0, 1),
    ],
);
const DISTURBANCES: Group = (
    USUAL,
    &[
        (Fault::ClockStep, 2.0, 1),
        (Fault::Foreign, 2.0, 1),
        (Fault::KernelLoad, 2.0, 1),
        (Fault::Hogs, 2.0, 1),
        (Fault::Terminated, 15.0, 1),
    ],
);
const FIVE: Group = (
    Shape { nodes: 5, vips: 100, ..USUAL },
    &[(Fault::Lossy, 4.0, 1), (Fault::Split, 2.0, 1), (Fault::MostLost, 1.0, 1)],
);
/// The client is the gateway that tells the survivor that it is not cut off itself.
const TWO: Group = (
    Shape { nodes: 2, ..USUAL },
    &[
        (Fault::Restarted, 1.0, 1),
        (Fault::CarrierLost, 2.0, 1),
        (Fault::DataCut, 2.0, 1),
        (Fault::Deaf, 2.0, 1),
        (Fault::PowerLost, 1.0, 1),
    ],
);
const FAST: Group = (
    Shape { policy: Policy::Fast, profile: Profile::FastLan, ..USUAL },
    &[(Fault::PowerLost, 1.0, 1), (Fault::Killed, 1.0, 1)],
);
const NFT: Group = (
    Shape { gate: Gate::Nft, ..USUAL },
    &[(Fault::Killed, 1.0, 2), (Fault::Stopped, 2.0, 2), (Fault::PowerLost, 1.0, 1), (Fault::Restarted, 1.0, 2)],
);
const NFT_IPV6: Group = (
    Shape { gate: Gate::Nft, family: Family::V6, ..USUAL },
    &[(Fault::Killed, 1.0, 1), (Fault::Stopped, 2.0, 1), (Fault::CarrierLost, 2.0, 1)],
);
const BOTH_GATES: Group = (
    Shape { gate: Gate::Mixed, ..USUAL },
    &[(Fault::Killed, 1.0, 1), (Fault::PowerLost, 1.0, 2), (Fault::Stopped, 2.0, 1), (Fault::Rolling, 0.5, 1)],
);
const CLUSTER: Group = (
    Shape { store: Store::Kubernetes, ..USUAL },
    &[
        (Fault::PowerLost, 1.0, 1),
        (Fault::ApiFrozen, 15.0, 1),
        (Fault::ApiCut, 5.0, 1),
        (Fault::BothCut, 2.0, 1),
        (Fault::ApiKilled, 5.0, 1),
    ],
);

/// Runs a group's faults one after the other in a lab of its own.
fn check((shape, faults): Group) {
    let mut lab = Lab::new(shape);
    for (fault, seconds, times) in faults {
        let cell = Cell::new(*fault, shape, *seconds);
        for _ in 0..*times {
            let run = run(&mut lab, cell);
            eprintln!("{}: {}", cell.name(), run.json());
            if let Err(reason) = run.judge(cell) {
                panic!("{}: {reason}\n{}", cell.name(), lab.story());
            }
        }
    }
}

#[test]
fn agents_that_are_killed_stopped_or_restarted() {
    check(AGENTS);
}

#[test]
fn machines_that_lose_power() {
    check(MACHINES);
}

#[test]
fn networks_that_are_cut() {
    check(NETWORKS);
}

#[test]
fn what_disturbs_a_holder() {
    check(DISTURBANCES);
}

#[test]
fn five_nodes() {
    check(FIVE);
}

#[test]
fn two_nodes() {
    check(TWO);
}

#[test]
fn a_policy_that_does_not_wait() {
    check(FAST);
}

#[test]
fn gates_of_nftables() {
    check(NFT);
    check(NFT_IPV6);
}

#[test]
fn gates_of_both_kinds_on_one_segment() {
    check(BOTH_GATES);
}

/// What a former run left with another gate is taken over: nothing moves, and its successors know for how long to wait.
#[test]
fn a_restart_with_another_gate() {
    let mut lab = Lab::new(USUAL);
    for gate in [Gate::Nft, Gate::Bpf, Gate::Nft] {
        lab.shape.gate = gate;
        let cell = Cell::new(Fault::Restarted, lab.shape, 1.0);
        let run = run(&mut lab, cell);
        run.judge(cell).unwrap_or_else(|reason| panic!("{reason}\n{}", lab.story()));
        let holder = lab.holder().unwrap();
        let node = &lab.nodes[holder];
        let table = node.station.netns.command("nft").args(["list", "table", "netdev", "vipkeeper"]).output().unwrap();
        assert_eq!(table.status.success(), gate == Gate::Nft);
        let kind = if gate == Gate::Nft { Kind::Nft } else { Kind::Bpf };
        wait_until(SOON, "the view to say so", || {
            lab.journal().and_then(journal::Journal::view).is_some_and(|view| view.members[&node.name()].gate == kind)
        });
    }
}

#[test]
fn a_cluster() {
    check(CLUSTER);
}

/// The harness sees what it is there to see: keepalived has two holders as long as its agent is stopped.
#[test]
fn a_rival_without_a_fence_has_two_claimants() {
    let shape = Shape { contender: Contender::Keepalived(100), ..USUAL };
    let run = run(&mut Lab::new(shape), Cell::new(Fault::Stopped, shape, 2.0));
    assert!(run.fault.two > Duration::from_millis(500), "{}", run.json());
}

#[test]
fn every_fault_is_done_at_least_once() {
    let groups = [AGENTS, MACHINES, NETWORKS, DISTURBANCES, FIVE, TWO, FAST, CLUSTER];
    for (_, rows) in matrix::table() {
        for (fault, _) in rows {
            assert!(groups.iter().any(|(_, faults)| faults.iter().any(|(done, ..)| done == fault)), "{fault:?}");
        }
    }
}

#[test]
#[ignore = "hours: `make faults`"]
fn matrix_of_faults() {
    matrix::run_all();
}
