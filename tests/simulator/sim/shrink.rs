//! Runs scenarios, and makes failing ones short and readable.

use std::cell::RefCell;
use std::collections::BTreeMap;

use vipkeeper::core::failover::Rules;

use crate::sim::oracle::{Property, Violation};
use crate::sim::scenario::{Fault, Kind, Network, Scenario};
use crate::sim::world::{MS, PHASES, World};

/// How long a segment is up before the faults begin, in nanoseconds.
const WARM_UP: u64 = 600 * MS;

thread_local! {
    /// Segments at rest, by all that they depend on.
    static WARM: RefCell<BTreeMap<String, World>> = const { RefCell::new(BTreeMap::new()) };
}

/// A segment at rest: all nodes up, every VIP held. A cold one has not begun.
fn warm(scenario: &Scenario, rules: Rules) -> World {
    let mut world = World::new(scenario.clone(), rules);
    if let Err(violation) = world.run(if scenario.cold { 0 } else { WARM_UP }) {
        assert!(rules != Rules::all(), "before any fault: {violation}");
        // Without a rule that may be so; it shows with the next event.
        world.oracle.violation = Some(violation);
    }
    world
}

/// A world in which a scenario is about to begin: a copy of a segment at rest.
pub fn prepare(scenario: &Scenario, rules: Rules) -> World {
    let Scenario { nodes, vips, profile, rho, nft, .. } = *scenario;
    let key = format!("{nodes} {vips} {profile:?} {rho} {nft} {rules:?} {}", scenario.seed % PHASES);
    let mut world = if scenario.cold {
        warm(scenario, rules)
    } else {
        WARM.with_borrow_mut(|known| known.entry(key).or_insert_with(|| warm(scenario, rules)).clone())
    };
    world.scenario = scenario.clone();
    world.arm();
    world
}

/// Runs a scenario to its end, or until everything has healed after its last fault.
pub fn finish(world: &mut World) -> Result<(), Violation> {
    let begun = world.now;
    let faults = &world.scenario.faults;
    let over = begun + MS * faults.iter().map(|fault| fault.at + fault.last).max().unwrap_or(0);
    let end = begun + MS * world.scenario.end;
    world.run_expecting(begun, over)?;
    while world.now < end {
        world.run(world.now + 100 * MS)?;
        if world.now >= over + 200 * MS && world.is_healed() {
            return Ok(());
        }
    }
    let claimants: Vec<Vec<usize>> = (0..world.scenario.vips).map(|address| world.claimants(address)).collect();
    let what = format!("not healed: claimants by address {claimants:?}; {:?}", world.store.view.assign);
    world.failed(Property::L5, what)
}

pub fn run(scenario: &Scenario, rules: Rules) -> Result<(), Violation> {
    finish(&mut prepare(scenario, rules))
}

/// Leaves out faults as long as the run fails in the same way, then makes the rest shorter and plainer.
pub fn shrink(scenario: &Scenario, rules: Rules) -> Scenario {
    let Err(Violation { property, .. }) = run(scenario, rules) else { return scenario.clone() };
    let mut best = scenario.clone();
    let fails = |candidate: &Scenario| run(candidate, rules).is_err_and(|found| found.property == property);
    let mut again = true;
    while again {
        again = false;
        for candidate in smaller(&best) {
            if fails(&candidate) {
                best = candidate;
                again = true;
                break;
            }
        }
    }
    best
}

/// Scenarios that are a little less than this one, the boldest first.
fn smaller(scenario: &Scenario) -> Vec<Scenario> {
    let mut all = Vec::new();
    for index in (0..scenario.faults.len()).rev() {
        let mut less = scenario.clone();
        less.faults.remove(index);
        all.push(less);
    }
    let plain = Scenario::quiet(scenario.seed, scenario.nodes, Network::Calm);
    let Scenario { rho, network, profile, .. } = plain;
    all.extend([
        Scenario { nft: 0, ..scenario.clone() },
        Scenario { fast: 0, exclusive: 0, ..scenario.clone() },
        Scenario { network, ..scenario.clone() },
        Scenario { rho, ..scenario.clone() },
        Scenario { profile, ..scenario.clone() },
        Scenario { vips: 1, faults: with_one_vip(&scenario.faults), ..scenario.clone() },
    ]);
    for (index, fault) in scenario.faults.iter().enumerate().filter(|(_, fault)| fault.last > 100) {
        let mut less = scenario.clone();
        less.faults[index] = Fault { last: fault.last / 2, ..fault.clone() };
        all.push(less);
    }
    all.retain(|less| less != scenario);
    all
}

fn with_one_vip(faults: &[Fault]) -> Vec<Fault> {
    let renamed = |fault: &Fault| {
        let kind = match fault.kind {
            Kind::Move { node, .. } => Kind::Move { vip: 0, node },
            Kind::Delete { .. } => Kind::Delete { vip: 0 },
            _ => fault.kind.clone(),
        };
        Fault { kind, ..fault.clone() }
    };
    faults.iter().map(renamed).collect()
}

/// The journal of a run: its scenario, what happened, and what went wrong.
pub fn journal(scenario: &Scenario, rules: Rules, lines: usize) -> String {
    let mut world = prepare(scenario, rules);
    world.journal = Some(Vec::new());
    let outcome = finish(&mut world);
    let journal = world.journal.take().unwrap_or_default();
    let from = journal.len().saturating_sub(lines);
    let scenario = serde_json::to_string(scenario).unwrap();
    format!("{scenario}\n{}\n{outcome:?}\n", journal[from..].join("\n"))
}
