//! The whole matrix: each cell many times, as figures.
//!
//! `FAULTS_RUNS` says how often (30), `FAULTS` which cells: parts of their names with `|` between them, a part with `$` at
//! its end must be the name's end; `FAULTS_LABS` how many labs work side by side (2), `FAULTS_BINARY` which program is tested, and `FAULTS_STORY=1` prints
//! what agents said in each run.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::lab::Lab;
use crate::run::{Run, run};
use crate::spread::{counts, spread};
use crate::table::{Cell, Contender, Family, Fault, Gate, Policy, Profile, Shape, Store, USUAL};

/// Faults and their lengths in seconds.
type Row = (Fault, f64);

/// Every fault that needs no API server to be had.
const ALL: &[Row] = &[
    (Fault::PowerLost, 2.0),
    (Fault::Killed, 2.0),
    (Fault::KilledAndRestarted, 2.0),
    (Fault::Stopped, 0.2),
    (Fault::Stopped, 2.0),
    (Fault::Stopped, 15.0),
    (Fault::Terminated, 15.0),
    (Fault::Restarted, 2.0),
    (Fault::Rolling, 1.0),
    (Fault::Drained, 3.0),
    (Fault::CarrierLost, 5.0),
    (Fault::DataCut, 5.0),
    (Fault::Deaf, 5.0),
    (Fault::Mute, 5.0),
    (Fault::Lossy, 10.0),
    (Fault::Split, 5.0),
    (Fault::AddressDeleted, 1.0),
    (Fault::Foreign, 5.0),
    (Fault::DeletedDuring, 1.0),
    (Fault::ClockStep, 5.0),
    (Fault::Hogs, 5.0),
    (Fault::KernelLoad, 5.0),
];

/// What decides how good a failover is.
const CORE: &[Row] = &[
    (Fault::PowerLost, 2.0),
    (Fault::Killed, 2.0),
    (Fault::Stopped, 2.0),
    (Fault::Restarted, 2.0),
    (Fault::CarrierLost, 5.0),
    (Fault::DataCut, 5.0),
    (Fault::Deaf, 5.0),
];

/// What happens to the API, and what happens beside it.
const API: &[Row] = &[
    (Fault::PowerLost, 2.0),
    (Fault::Killed, 2.0),
    (Fault::Restarted, 2.0),
    (Fault::Drained, 3.0),
    (Fault::DataCut, 5.0),
    (Fault::ApiCut, 15.0),
    (Fault::BothCut, 5.0),
    (Fault::ApiKilled, 15.0),
    (Fault::ApiFrozen, 60.0),
];

const MANY: &[Row] = &[(Fault::PowerLost, 5.0), (Fault::Killed, 5.0)];
const LARGE: &[Row] = &[
    (Fault::PowerLost, 2.0),
    (Fault::Killed, 2.0),
    (Fault::DataCut, 5.0),
    (Fault::Split, 5.0),
    (Fault::MostLost, 5.0),
];
const RIVAL: &[Row] = &[
    (Fault::PowerLost, 5.0),
    (Fault::Killed, 15.0),
    (Fault::Stopped, 15.0),
    (Fault::Terminated, 5.0),
    (Fault::Restarted, 5.0),
    (Fault::CarrierLost, 10.0),
    (Fault::DataCut, 10.0),
    (Fault::Deaf, 15.0),
];

/// The labs, each with the faults that it is put through.
pub(crate) fn table() -> Vec<(Shape, &'static [Row])> {
    vec![
        (USUAL, ALL),
        (Shape { profile: Profile::FastLan, ..USUAL }, CORE),
        (Shape { profile: Profile::Virtual, ..USUAL }, CORE),
        (Shape { nodes: 2, ..USUAL }, CORE),
        (Shape { nodes: 5, ..USUAL }, LARGE),
        (Shape { gate: Gate::Nft, ..USUAL }, CORE),
        (Shape { policy: Policy::Fast, ..USUAL }, CORE),
        (Shape { family: Family::V6, ..USUAL }, CORE),
        (Shape { vips: 100, ..USUAL }, MANY),
        (Shape { vips: 1000, ..USUAL }, MANY),
        (Shape { store: Store::Kubernetes, ..USUAL }, API),
        (Shape { store: Store::Kubernetes, vips: 1000, ..USUAL }, MANY),
        (Shape { contender: Contender::Keepalived(1000), ..USUAL }, RIVAL),
        (Shape { contender: Contender::Keepalived(100), ..USUAL }, RIVAL),
    ]
}

fn setting(name: &str, default: usize) -> usize {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is no number")),
        _ => default,
    }
}

/// Runs all cells that are asked for.
pub(crate) fn run_all() {
    let wanted = std::env::var("FAULTS").unwrap_or_default();
    let is_wanted = |cell: &Cell| wanted.split('|').any(|part| fits(part, &cell.name()));
    let (mut calm, mut loud) = (Vec::new(), Vec::new());
    for (shape, rows) in table() {
        let cells = rows.iter().map(|(fault, seconds)| Cell::new(*fault, shape, *seconds)).filter(is_wanted);
        // What takes the machine's processors is no neighbour for a measurement.
        let (noisy, quiet): (Vec<Cell>, Vec<Cell>) = cells.partition(|cell| cell.fault.is_loud());
        calm.push(quiet);
        loud.push(noisy);
    }
    let runs = setting("FAULTS_RUNS", 30);
    work_off(calm, setting("FAULTS_LABS", 2), runs);
    work_off(loud, 1, runs);
}

fn fits(part: &str, name: &str) -> bool {
    part.strip_suffix('$').map_or_else(|| name.contains(part), |end| name.ends_with(end))
}

/// Takes groups of cells of one shape from a list until there are none, in so many labs side by side.
fn work_off(groups: Vec<Vec<Cell>>, labs: usize, runs: usize) {
    let groups: Mutex<Vec<Vec<Cell>>> =
        Mutex::new(groups.into_iter().filter(|cells| !cells.is_empty()).rev().collect());
    std::thread::scope(|scope| {
        for _ in 0..labs.max(1) {
            scope.spawn(|| {
                loop {
                    let Some(cells) = groups.lock().unwrap().pop() else { return };
                    measure(&cells, runs);
                }
            });
        }
    });
}

/// Runs cells of one shape in a lab of their own, and writes a line for each.
fn measure(cells: &[Cell], runs: usize) {
    let mut lab: Option<Lab> = None;
    for cell in cells {
        let (mut good, mut failures) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            let result = catch_unwind(AssertUnwindSafe(|| {
                let lab = lab.get_or_insert_with(|| Lab::new(cell.shape));
                run(lab, *cell)
            }));
            let result = match result {
                Ok(run) => {
                    good.push(run);
                    if std::env::var_os("FAULTS_STORY").is_some() {
                        eprintln!("{}: {}\n{}", cell.name(), run.json(), lab.as_ref().unwrap().story());
                    }
                    run.judge(*cell)
                }
                Err(_) => Err("it came to no end".to_owned()),
            };
            if let Err(reason) = &result {
                eprintln!("FAILED {}: {reason}\n{}", cell.name(), lab.as_ref().map(Lab::story).unwrap_or_default());
                failures.push(reason.clone());
            }
            // After a failure nobody knows what is left; and of many VIPs all must be on the victim.
            if result.is_err() || cell.shape.vips > 1 {
                lab = None;
            }
        }
        write(*cell, &good, &failures);
    }
}

fn write(cell: Cell, runs: &[Run], failures: &[String]) {
    let line = line(cell, runs, failures);
    println!("{line}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results");
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("faults.jsonl")).unwrap();
    writeln!(file, "{line}").unwrap();
}

fn line(cell: Cell, runs: &[Run], failures: &[String]) -> Value {
    let shape = cell.shape;
    let of = |part: fn(&Run) -> std::time::Duration| spread(runs.iter().map(part)).json();
    let number = |part: fn(&Run) -> usize| counts(runs.iter().map(|run| part(run) as f64)).json();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    json!({
        "name": cell.name(), "fault": cell.fault.name(), "seconds": cell.lasts.as_secs_f64(), "lab": shape.name(),
        "runs": runs.len(), "failures": failures, "moved": runs.iter().filter(|run| run.moved).count(),
        "two": of(|run| run.fault.two), "none": of(|run| run.fault.none), "gap": of(|run| run.fault.gap),
        "lost": number(|run| run.fault.lost), "writes": number(|run| run.writes), "reassigned": number(|run| run.reassigned),
        "spread": of(|run| run.spread),
        "healing": {
            "two": of(|run| run.healing.two), "none": of(|run| run.healing.none), "gap": of(|run| run.healing.gap),
            "lost": number(|run| run.healing.lost),
        },
        "goal": cell.goal().map(|goal| goal.to_string()),
        "met": cell.goal().map(|goal| failures.is_empty() && goal.is_met(runs)),
        "load": load.split_whitespace().next().and_then(|text| text.parse::<f64>().ok()),
        "release": std::env::var("FAULTS_BINARY").is_ok_and(|path| path.contains("/release/")),
        "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
    })
}

#[test]
fn cells_are_chosen_by_parts_of_their_names() {
    let name = Cell::new(Fault::PowerLost, USUAL, 2.0).name();
    assert!(fits("", &name) && fits("power lost", &name) && fits("2 s; 3 nodes, lan$", &name));
    assert!(!fits("3 nodes$", &name) && !fits("killed", &name));
}
