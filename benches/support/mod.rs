//! The bench harness: a subject beside a baseline, in the same run, in turns, medians.
//!
//! An area's bench is `benches/AREA.rs` with, in Cargo.toml, `[[bench]] name = "AREA"` and `harness = false`:
//!
//! ```ignore
//! mod support;
//! use support::{Bench, nanos_each, process};
//!
//! fn main() {
//!     let mut bench = Bench::new("AREA");
//!     bench.compare("look-up", "ns", 15, || nanos_each(100_000, |i| find(i)), "linear scan", || nanos_each(1_000, |i| scan(i)));
//!     bench.compare("sort, wall", "s", 5, || process(&mut ours()).wall, "GNU sort", || process(&mut theirs()).wall);
//!     bench.figure("addresses held", "addresses", 1, || 10_000.0);
//!     bench.finish();
//! }
//! ```
//!
//! `cargo bench --bench AREA -- WORD` measures only what has WORD in its name ([`Bench::wants`] asks before a costly
//! preparation). `finish` prints a table and appends one JSON object a line to `benches/results/AREA.jsonl`. No figure
//! ever fails a run. Everything prints on standard output through [`Bench`].
#![allow(dead_code, clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, unreachable_pub)]

use std::fs;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// One line of the table.
struct Row {
    name: String,
    unit: &'static str,
    value: f64,
    /// Name and value of the baseline.
    baseline: Option<(String, f64)>,
    runs: usize,
}

/// The figures of one area.
pub struct Bench {
    area: &'static str,
    filter: Vec<String>,
    rows: Vec<Row>,
}

impl Bench {
    /// An empty table; reads the words to filter by from the command line.
    pub fn new(area: &'static str) -> Self {
        let filter = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
        Self { area, filter, rows: Vec::new() }
    }

    /// Whether a measurement of this name is asked for.
    pub fn wants(&self, name: &str) -> bool {
        self.filter.is_empty() || self.filter.iter().any(|word| name.contains(word.as_str()))
    }

    /// Measures subject and baseline `runs` times in turns, after one run of each that does not count, and keeps the
    /// medians. Each closure returns one figure in `unit`.
    pub fn compare(
        &mut self,
        name: &str,
        unit: &'static str,
        runs: usize,
        mut subject: impl FnMut() -> f64,
        baseline_name: &str,
        mut baseline: impl FnMut() -> f64,
    ) {
        if !self.wants(name) {
            return;
        }
        subject();
        baseline();
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for run in 0..runs.max(1) {
            // Whoever goes second finds warmer caches and a hotter machine: take turns at that too.
            if run % 2 == 0 {
                ours.push(subject());
                theirs.push(baseline());
            } else {
                theirs.push(baseline());
                ours.push(subject());
            }
        }
        self.record(name, unit, runs, median(&mut ours), Some((baseline_name, median(&mut theirs))));
    }

    /// Measures a subject that has nothing to stand beside.
    pub fn figure(&mut self, name: &str, unit: &'static str, runs: usize, mut subject: impl FnMut() -> f64) {
        if self.wants(name) {
            let mut values: Vec<f64> = (0..runs.max(1)).map(|_| subject()).collect();
            self.record(name, unit, runs, median(&mut values), None);
        }
    }

    /// Adds a figure that was measured elsewhere, with its baseline's name and figure if it has one.
    pub fn record(&mut self, name: &str, unit: &'static str, runs: usize, value: f64, baseline: Option<(&str, f64)>) {
        let baseline = baseline.map(|(name, value)| (name.to_owned(), value));
        println!("{}: {name}: {} {unit}", self.area, short(value));
        self.rows.push(Row { name: name.to_owned(), unit, value, baseline, runs });
    }

    /// Adds the percentiles 50, 90, 99 and the greatest of a set of latencies beside those of a baseline.
    pub fn latencies(&mut self, name: &str, unit: &'static str, subject: &[f64], baseline: Option<(&str, &[f64])>) {
        for (label, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)] {
            let beside = baseline.map(|(name, values)| (name, percentile(values, share)));
            self.record(&format!("{name}, {label}"), unit, subject.len(), percentile(subject, share), beside);
        }
    }

    /// Prints the table and appends it to the area's results.
    pub fn finish(self) {
        let machine = machine();
        println!("\n{:<44} {:>12} {:<8} {:>12} {:>7}  baseline", self.area, "value", "unit", "baseline", "ratio");
        let mut lines = String::new();
        for row in &self.rows {
            let ratio = row.baseline.as_ref().map(|(_, baseline)| row.value / baseline);
            let (beside, name) =
                row.baseline.as_ref().map_or_else(Default::default, |(name, value)| (short(*value), name.clone()));
            let shown = ratio.map(|ratio| format!("{ratio:.3}")).unwrap_or_default();
            println!(
                "{:<44} {:>12} {:<8} {beside:>12} {shown:>7}  {name} (n={})",
                row.name,
                short(row.value),
                row.unit,
                row.runs
            );
            let line = json!({
                "name": row.name, "value": row.value, "unit": row.unit,
                "baseline": row.baseline.as_ref().map(|(name, value)| json!({"name": name, "value": value})),
                "ratio": ratio, "runs": row.runs, "machine": machine,
            });
            lines.push_str(&format!("{line}\n"));
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{}.jsonl", self.area));
        fs::OpenOptions::new().create(true).append(true).open(file).unwrap().write_all(lines.as_bytes()).unwrap();
    }
}

/// The middle value; of an even number of values the mean of the two in the middle.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// The smallest value that at least `share` of all values (0 to 1) do not exceed: the nearest-rank percentile.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
}

/// Nanoseconds that one call takes, as the mean of `calls` calls that get 0, 1, 2, …
pub fn nanos_each<T>(calls: usize, mut call: impl FnMut(usize) -> T) -> f64 {
    let start = Instant::now();
    for i in 0..calls {
        black_box(call(black_box(i)));
    }
    start.elapsed().as_nanos() as f64 / calls as f64
}

/// Seconds that one call takes.
pub fn seconds<T>(call: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    black_box(call());
    start.elapsed().as_secs_f64()
}

/// The binary under test: `BENCH_BINARY` (`make bench` gives the one that is shipped), else the one built for this run.
pub fn vipkeeper() -> Command {
    Command::new(std::env::var_os("BENCH_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_vipkeeper").into()))
}

/// What a whole process took.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Seconds from start to end.
    pub wall: f64,
    /// Seconds of CPU in user mode, its waited-for children included.
    pub user: f64,
    /// Seconds of CPU in the kernel, its waited-for children included.
    pub system: f64,
    /// Greatest resident set, in bytes.
    pub peak_rss: u64,
    /// How it ended.
    pub status: ExitStatus,
}

impl Usage {
    /// Seconds of CPU, user and kernel.
    pub fn cpu(&self) -> f64 {
        self.user + self.system
    }

    /// Greatest resident set, in MiB.
    pub fn peak_mib(&self) -> f64 {
        self.peak_rss as f64 / f64::from(1 << 20)
    }
}

/// Runs a command to its end. Panics if it cannot be started: a missing tool is a failed bench, with its name.
pub fn process(command: &mut Command) -> Usage {
    let start = Instant::now();
    let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
    wait(child, start)
}

/// Waits for a process that was started at `start`.
pub fn wait(mut child: Child, start: Instant) -> Usage {
    drop(child.stdin.take());
    let pid = child.id();
    // On exec a process inherits the high-water mark of the one that started it, so ru_maxrss of a small child of a big
    // bench is the bench's: then what the kernel said of the child while it lived is the better figure.
    let own = high_water("self");
    let done = std::sync::atomic::AtomicBool::new(false);
    let (status, usage, sampled) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peak = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                peak = peak.max(high_water(&pid.to_string()));
                std::thread::sleep(Duration::from_millis(2));
            }
            peak
        });
        let (status, usage) = wait4(pid);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        (status, usage, sampler.join().unwrap())
    });
    let wall = start.elapsed().as_secs_f64();
    let reported = u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024;
    let peak_rss = if reported > own || sampled == 0 { reported } else { sampled };
    let time = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    Usage { wall, user: time(usage.ru_utime), system: time(usage.ru_stime), peak_rss, status }
}

#[allow(unsafe_code, reason = "nothing safe offers the resource usage of one child")]
fn wait4(pid: u32) -> (ExitStatus, libc::rusage) {
    use std::os::unix::process::ExitStatusExt;
    let mut status = 0;
    // SAFETY: an all-zero rusage is a valid one, and both pointers live for the call.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let waited = unsafe { libc::wait4(pid.cast_signed(), &raw mut status, 0, &raw mut usage) };
    assert_eq!(waited, pid.cast_signed(), "wait4: {}", std::io::Error::last_os_error());
    (ExitStatus::from_raw(status), usage)
}

/// The greatest resident set so far of a living process (`self`, or a number), in bytes; 0 if it is gone.
pub fn high_water(pid: &str) -> u64 {
    status_kib(pid, "VmHWM:") * 1024
}

/// The resident set of a living process, in bytes; 0 if it is gone.
pub fn resident(pid: &str) -> u64 {
    status_kib(pid, "VmRSS:") * 1024
}

/// Seconds of CPU that a living process has used, user and kernel, all threads.
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = after_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
    ticks / 100.0
}

fn status_kib(pid: &str, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Cores and kernel: all that a figure needs to be read beside another, and nothing that names the machine.
fn machine() -> Value {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let version: Vec<&str> = release.trim().split(['.', '-']).take(2).collect();
    json!({"cores": cores, "kernel": version.join(".")})
}

fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.1 => format!("{value:.3}"),
        _ => format!("{value:.6}"),
    }
}
