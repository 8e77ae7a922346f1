//! Runs scenarios, and makes failing ones short and readable.

use vipkeeper::core::failover::Rules;

use crate::sim::oracle::{Property, Violation};
use crate::sim::scenario::{Kind, Scenario};
use crate::sim::world::{MS, World};

/// How long a segment is up before the faults begin, in nanoseconds.
const WARM_UP: u64 = 400 * MS;

/// A segment at rest, to be copied: all nodes up, every VIP held.
pub fn warm(scenario: &Scenario, rules: Rules) -> World {
    let mut world = World::new(scenario.clone(), rules);
    let ready = world.run(if scenario.cold { 0 } else { WARM_UP });
    assert!(ready.is_ok(), "before any fault: {ready:?}");
    world
}

/// A world in which a scenario is about to begin.
pub fn prepare(scenario: &Scenario, rules: Rules) -> World {
    let mut world = warm(scenario, rules);
    world.arm();
    world
}

/// Runs a scenario to its end, or until everything has healed after its last fault.
pub fn finish(world: &mut World) -> Result<(), Violation> {
    let begun = world.now;
    let faults = &world.scenario.faults;
    let over = begun + MS * faults.iter().map(|fault| fault.at + fault.last).max().unwrap_or(0);
    let end = begun + MS * world.scenario.end;
    world.run(over)?;
    while world.now < end {
        world.run(world.now + 100 * MS)?;
        if world.now >= over + 200 * MS && world.is_healed() {
            return Ok(());
        }
    }
    let claimants: Vec<Vec<usize>> = (0..world.scenario.vips).map(|address| world.claimants(address)).collect();
    let what = format!("not healed: claimants by address {claimants:?}; {:?}", world.store.view.assign);
    world.note(|| what.clone());
    Err(Violation { property: Property::L5, at: world.now, what })
}

pub fn run(scenario: &Scenario, rules: Rules) -> Result<(), Violation> {
    finish(&mut prepare(scenario, rules))
}

/// Leaves out faults as long as the run fails, then lets the rest be shorter.
pub fn shrink(scenario: &Scenario, rules: Rules) -> Scenario {
    let mut best = scenario.clone();
    let fails = |candidate: &Scenario| run(candidate, rules).is_err();
    let mut again = true;
    while again {
        again = false;
        for index in (0..best.faults.len()).rev() {
            let mut candidate = best.clone();
            candidate.faults.remove(index);
            if fails(&candidate) {
                best = candidate;
                again = true;
            }
        }
    }
    for vips in 1..best.vips {
        let mut candidate = Scenario { vips, ..best.clone() };
        candidate.faults.retain(|fault| match fault.kind {
            Kind::Move { vip, .. } | Kind::Delete { vip } => vip < vips,
            _ => true,
        });
        if fails(&candidate) {
            best = candidate;
            break;
        }
    }
    best
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
