//! Kept runs: `cases/NAME.json` says what is run and what must come of it, `cases/NAME.txt` is its journal.
//!
//! A case with `without` shows what that rule is for: the run fails if it is off. One without was found by a seed, and
//! holds since the protocol was repaired.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use vipkeeper::core::failover::{Rule, Rules};

use crate::search::{first_failure, given_seeds};
use crate::sim::oracle::Property;
use crate::sim::scenario::Scenario;
use crate::sim::shrink::{journal, run, shrink};

/// So many lines of a journal are kept, the last ones.
const LINES: usize = 120;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Case {
    /// What it shows.
    about: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    without: Option<Rule>,
    /// The property that does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fails: Option<Property>,
    scenario: Scenario,
}

impl Case {
    fn rules(&self) -> Rules {
        self.without.map_or(Rules::all(), Rules::without)
    }

    fn outcome(&self) -> Option<Property> {
        run(&self.scenario, self.rules()).err().map(|violation| violation.property)
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/simulator/cases")
}

fn all() -> BTreeMap<String, Case> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let case = serde_json::from_str(&fs::read_to_string(&path).unwrap());
        (name.clone(), case.unwrap_or_else(|error| panic!("cases/{name}.json: {error}")))
    };
    files.filter(|path| path.extension().is_some_and(|ext| ext == "json")).map(read).collect()
}

fn updates() -> bool {
    std::env::var("UPDATE_CASES").is_ok_and(|value| value == "1")
}

/// A run that fails without a rule, made small.
fn find(rule: Rule) -> Option<Case> {
    let rules = Rules::without(rule);
    let range = given_seeds().unwrap_or(0..20_000);
    let makers: [fn(u64) -> Scenario; 2] = [Scenario::directed, Scenario::torture];
    let chunks = range.clone().step_by(500).map(|from| from..range.end.min(from + 500));
    let mut tries = chunks.flat_map(|seeds| makers.map(|make| (seeds.clone(), make)));
    let (seed, make) = tries.find_map(|(seeds, make)| Some((first_failure(rules, make, seeds)?.0, make)))?;
    let scenario = shrink(&make(seed), rules);
    let case = Case { about: format!("Without {rule:?}"), without: Some(rule), fails: None, scenario };
    Some(Case { fails: case.outcome(), ..case })
}

fn write(name: &str, case: &Case) {
    let json = serde_json::to_string_pretty(case).unwrap();
    fs::write(folder().join(format!("{name}.json")), json + "\n").unwrap();
    fs::write(folder().join(format!("{name}.txt")), journal(&case.scenario, case.rules(), LINES)).unwrap();
}

#[test]
fn every_case_goes_as_it_is_written() {
    for (name, mut case) in all() {
        let outcome = case.outcome();
        if updates() {
            if case.without.is_some() && outcome.is_none() {
                let found = find(case.without.unwrap());
                case = found.unwrap_or_else(|| panic!("{name}: no seed fails any more"));
            } else {
                case.fails = outcome.filter(|_| case.without.is_some());
            }
            write(&name, &case);
            continue;
        }
        assert_eq!(outcome, case.fails, "{name}:\n{}", journal(&case.scenario, case.rules(), LINES));
        let kept = fs::read_to_string(folder().join(format!("{name}.txt"))).unwrap_or_default();
        let now = journal(&case.scenario, case.rules(), LINES);
        assert!(kept == now, "{name} goes another way than cases/{name}.txt (UPDATE_CASES=1 writes it anew):\n{now}");
    }
}

/// A rule whose absence nothing notices is no rule, or a property or a hazard is missing.
#[test]
fn every_rule_is_needed() {
    let known: BTreeMap<Rule, (String, Case)> =
        all().into_iter().filter_map(|(name, case)| Some((case.without?, (name, case)))).collect();
    let mut unseen = Vec::new();
    let only = std::env::var("SIM_RULE").ok();
    for rule in Rule::ALL.iter().filter(|rule| only.as_ref().is_none_or(|name| format!("{rule:?}") == *name)) {
        let case = match known.get(rule) {
            Some((_, case)) if given_seeds().is_none() => Some(case.clone()),
            Some(_) | None if given_seeds().is_some() || updates() => find(*rule),
            Some(_) | None => None,
        };
        let Some(case) = case.filter(|case| case.outcome().is_some()) else {
            println!("{rule:?}: nothing fails");
            unseen.push(rule);
            continue;
        };
        println!("{rule:?}: {:?} fails, seed {}", case.fails.unwrap(), case.scenario.seed);
        if updates() && !known.contains_key(rule) {
            write(&format!("without-{rule:?}"), &case);
        }
    }
    assert!(unseen.is_empty(), "no run fails without these rules: {unseen:?}");
}
