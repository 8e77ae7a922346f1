//! Every metric that vipkeeper exports, in this one file: name, help, labels.
//!
//! Prefix `vipkeeper_`, base units, `_total` for counters, ratios from 0 to 1. Label values come from closed sets or
//! from the names of resources, never from error texts or client addresses; series appear with what they speak of and go
//! with it. One struct a role, registered in its `new`.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::core::controller::Figures;
use crate::core::failover::Pulse;
use crate::core::probe::{Buckets, Counts};
use crate::core::reflect::Outcome;
use crate::core::view::Cause;

/// The metrics of one process.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    sources: Arc<Mutex<Vec<Source>>>,
}

/// A text in parts, each made when it is taken; a line is never in two parts.
pub type Parts = Box<dyn Iterator<Item = String> + Send + Sync>;

/// Whoever writes metrics as text itself, because they are too many for objects.
type Text = Arc<dyn Fn() -> Parts + Send + Sync>;

struct Source(Text);

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Source")
    }
}

impl Metrics {
    /// An empty set, with the build's version and the process's start time.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self { registry: Registry::new(), sources: Arc::default() };
        let info = Opts::new("vipkeeper_build_info", "Always 1; the label says which version runs.")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        if let Ok(info) = IntGauge::with_opts(info) {
            metrics.register(&info).set(1);
        }
        metrics
    }

    /// Adds a metric. A name that is there already is a mistake in this file, which its tests find.
    fn register<C: Collector + Clone + 'static>(&self, collector: &C) -> C {
        let registered = self.registry.register(Box::new(collector.clone()));
        debug_assert!(registered.is_ok(), "{registered:?}");
        collector.clone()
    }

    /// All metrics in the text exposition format 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        self.parts().collect()
    }

    /// The same in parts, so that nobody needs to hold the whole.
    #[must_use]
    pub fn parts(&self) -> Parts {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default();
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let sources: Vec<Text> = sources.iter().map(|source| Arc::clone(&source.0)).collect();
        Box::new(std::iter::once(text).chain(sources.into_iter().flat_map(|source| source())))
    }

    /// Appends what `text` gives, in the text exposition format, with names of its own.
    pub fn add_source(&self, text: Text) {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).push(Source(text));
    }
}

impl Metrics {
    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(&valid(IntCounterVec::new(Opts::new(name, help), labels)))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(&valid(IntGaugeVec::new(Opts::new(name, help), labels)))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        self.register(&valid(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)))
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// What is asked of the store.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    requests: IntCounterVec,
}

impl StoreMetrics {
    /// At zero for each of these verbs and results.
    ///
    /// # Panics
    /// Never: name and labels are well-formed.
    #[must_use]
    pub fn new(metrics: &Metrics, verbs: &[&str], results: &[&str]) -> Self {
        let opts = Opts::new("vipkeeper_store_requests_total", "Requests to the store, by verb and result.");
        let requests = IntCounterVec::new(opts, &["verb", "result"]).expect("name and labels are well-formed");
        for verb in verbs {
            results.iter().for_each(|result| drop(requests.with_label_values(&[verb, result])));
        }
        Self { requests: metrics.register(&requests) }
    }

    /// Counts a request.
    pub fn count(&self, verb: &str, result: &str) {
        self.requests.with_label_values(&[verb, result]).inc();
    }
}

/// The reflector's metrics.
#[derive(Debug, Clone)]
pub struct ReflectorMetrics {
    /// By outcome, in the order of [`Outcome::ALL`].
    packets: Vec<IntCounter>,
}

impl ReflectorMetrics {
    /// All at zero.
    ///
    /// # Panics
    /// Never: name and label are well-formed.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let opts = Opts::new("vipkeeper_reflector_packets_total", "Packets that came in, by what became of them.");
        let packets = IntCounterVec::new(opts, &["result"]).expect("the name and the label are well-formed");
        let packets = metrics.register(&packets);
        Self { packets: Outcome::ALL.iter().map(|outcome| packets.with_label_values(&[outcome.as_str()])).collect() }
    }

    /// Counts a packet.
    pub fn count(&self, outcome: Outcome) {
        if let Some(counter) = self.packets.get(outcome as usize) {
            counter.inc();
        }
    }
}

/// One measured target, as it is exported.
#[derive(Debug, Clone)]
pub struct ProbeSeries {
    /// Its labels, as [`label`] makes them, comma-separated.
    pub labels: String,
    /// Its labels by smokeping's names, if those are exported too.
    pub smokeping: Option<String>,
    /// Its counters.
    pub counts: Counts,
    /// Its round trips.
    pub buckets: Buckets,
    /// Probes that could not be sent, by reason.
    pub send_errors: Vec<(&'static str, u64)>,
    /// Answers without a round trip because a clock was set.
    pub clock_steps: u64,
    /// Time to live of the newest answer.
    pub ttl: Option<u8>,
    /// Who answers, of a VirtualIP.
    pub holder: Option<HolderSeries>,
}

/// Who answers for a VirtualIP.
#[derive(Debug, Clone)]
pub struct HolderSeries {
    /// The node that answered last.
    pub node: Option<String>,
    /// How often it was another than before.
    pub changes: u64,
    /// How often two answered at once.
    pub conflicts: u64,
    /// Whether two answer at once now.
    pub is_double: bool,
    /// How long nobody answered the last time, in seconds.
    pub last_gap: f64,
    /// All such times together, in seconds.
    pub total_gap: f64,
}

/// `name="value"`, the value escaped as the text format wants it.
#[must_use]
pub fn label(name: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{name}=\"{value}\"")
}

/// A counter of every target: its name, its help and where it stands.
type ProbeCounter = (&'static str, &'static str, fn(&Counts) -> u64);

/// Each beside the others: what came in is in exactly one of received, late, duplicated, corrupted, refused and stray.
const PROBE_COUNTERS: [ProbeCounter; 9] = [
    ("packets_sent_total", "Probes sent: those received, lost and in flight together.", |c| c.sent),
    ("packets_received_total", "Probes answered in time.", |c| c.received),
    ("packets_lost_total", "Probes not answered in time; counted when the time is over.", |c| c.lost),
    ("packets_reordered_total", "Answers in time that came after that to a later probe.", |c| c.reordered),
    ("packets_late_total", "First answers that came after the timeout.", |c| c.late),
    ("packets_duplicated_total", "Further answers to a probe that was answered.", |c| c.duplicated),
    ("packets_corrupted_total", "Answers that are not to what was sent.", |c| c.corrupted),
    ("packets_refused_total", "ICMP errors that quote a probe.", |c| c.refused),
    ("packets_stray_total", "Answers to nothing that is remembered.", |c| c.stray),
];

/// A target's family of series: name without prefix, type, help.
fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// How many targets' lines a part of the text has.
const TARGETS_A_PART: usize = 32;

/// The lines of one target in a family of that name.
type Lines = Box<dyn Fn(&mut String, &str, &ProbeSeries) + Send + Sync>;

/// A family of series over all targets.
struct Family {
    name: String,
    kind: &'static str,
    help: &'static str,
    lines: Lines,
}

impl Family {
    fn new(
        name: &str,
        kind: &'static str,
        help: &'static str,
        lines: impl Fn(&mut String, &str, &ProbeSeries) + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.to_owned(), kind, help, lines: Box::new(lines) }
    }

    fn parts(self, series: Arc<Vec<ProbeSeries>>) -> impl Iterator<Item = String> + Send + Sync {
        (0..series.len()).step_by(TARGETS_A_PART).map(move |start| {
            let mut text = String::new();
            if start == 0 {
                family(&mut text, &self.name, self.kind, self.help);
            }
            series.iter().skip(start).take(TARGETS_A_PART).for_each(|one| (self.lines)(&mut text, &self.name, one));
            text
        })
    }
}

/// The metrics of all targets, in the text exposition format: written here, since a thousand targets as objects of the
/// metrics library are many times as large.
#[must_use]
pub fn render_probes(series: Vec<ProbeSeries>, strangers: u64, smokeping: bool) -> Parts {
    let mut head = String::new();
    family(&mut head, "vipkeeper_prober_targets", "gauge", "Targets that are measured.");
    let _ = writeln!(head, "vipkeeper_prober_targets {}", series.len());
    family(&mut head, "vipkeeper_prober_strangers_total", "counter", "Packets from nobody that was asked.");
    let _ = writeln!(head, "vipkeeper_prober_strangers_total {strangers}");
    let holders = series.iter().any(|one| one.holder.is_some());
    let families = probe_families()
        .chain(holders.then(holder_families).into_iter().flatten())
        .chain(smokeping.then(smokeping_families).into_iter().flatten());
    let series = Arc::new(series);
    Box::new(std::iter::once(head).chain(families.flat_map(move |family| family.parts(Arc::clone(&series)))))
}

fn probe_families() -> impl Iterator<Item = Family> + Send + Sync {
    let counters = PROBE_COUNTERS.into_iter().map(|(name, help, value)| {
        Family::new(&format!("vipkeeper_probe_{name}"), "counter", help, move |text, name, one| {
            let _ = writeln!(text, "{name}{{{}}} {}", one.labels, value(&one.counts));
        })
    });
    counters.chain(probe_gauges()).chain([Family::new(
        "vipkeeper_probe_rtt_seconds",
        "histogram",
        "Round trips, the reflector's own time taken out.",
        |text, name, one| write_buckets(text, name, &one.labels, &one.buckets),
    )])
}

fn probe_gauges() -> [Family; 5] {
    let in_flight = "Probes that may still be answered in time.";
    let oneway = "Lost probes of which the direction is known, the reflector being a stateful one.";
    let errors = "Probes that could not be sent; lost ones, but for those that found no buffer.";
    let steps = "Answers without a round trip, a clock having been set meanwhile.";
    let ttl = "Time to live, or hop limit, of the newest answer.";
    [
        Family::new("vipkeeper_probe_packets_in_flight", "gauge", in_flight, |text, name, one| {
            let _ = writeln!(text, "{name}{{{}}} {}", one.labels, one.counts.in_flight());
        }),
        Family::new("vipkeeper_probe_packets_lost_oneway_total", "counter", oneway, |text, name, one| {
            let _ = writeln!(text, "{name}{{{},direction=\"forward\"}} {}", one.labels, one.counts.lost_forward);
            let _ = writeln!(text, "{name}{{{},direction=\"backward\"}} {}", one.labels, one.counts.lost_backward);
        }),
        Family::new("vipkeeper_probe_send_errors_total", "counter", errors, |text, name, one| {
            for (reason, count) in &one.send_errors {
                let _ = writeln!(text, "{name}{{{},reason=\"{reason}\"}} {count}", one.labels);
            }
        }),
        Family::new("vipkeeper_probe_clock_steps_total", "counter", steps, |text, name, one| {
            let _ = writeln!(text, "{name}{{{}}} {}", one.labels, one.clock_steps);
        }),
        Family::new("vipkeeper_probe_reply_ttl", "gauge", ttl, |text, name, one| {
            if let Some(ttl) = one.ttl {
                let _ = writeln!(text, "{name}{{{}}} {ttl}", one.labels);
            }
        }),
    ]
}

fn write_buckets(text: &mut String, name: &str, labels: &str, buckets: &Buckets) {
    for (bound, count) in buckets.cumulative() {
        let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
    }
    let (count, sum) = (buckets.count(), buckets.sum());
    let _ = writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
    let _ = writeln!(text, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {count}");
}

fn smokeping_families() -> [Family; 2] {
    [
        Family::new("smokeping_requests_total", "counter", "Probes sent, by smokeping's name.", |text, name, one| {
            if let Some(labels) = &one.smokeping {
                let _ = writeln!(text, "{name}{{{labels}}} {}", one.counts.sent);
            }
        }),
        Family::new(
            "smokeping_response_duration_seconds",
            "histogram",
            "Round trips, by smokeping's name.",
            |text, name, one| {
                if let Some(labels) = &one.smokeping {
                    write_buckets(text, name, labels, &one.buckets);
                }
            },
        ),
    ]
}

/// A figure about who answers: its name, type, help and where it stands.
type HolderFigure = (&'static str, &'static str, &'static str, fn(&HolderSeries) -> f64);

fn holder_families() -> impl Iterator<Item = Family> + Send + Sync {
    const FIGURES: [HolderFigure; 5] = [
        ("changes_total", "counter", "How often another node answered than before.", |h| h.changes as f64),
        ("conflicts_total", "counter", "How often two nodes began to answer at once.", |h| h.conflicts as f64),
        ("conflict", "gauge", "Whether two nodes answer at once.", |h| f64::from(u8::from(h.is_double))),
        ("last_gap_seconds", "gauge", "How long nobody answered, the last time that probes were lost.", |h| h.last_gap),
        ("gap_seconds_total", "counter", "How long nobody answered, all such times together.", |h| h.total_gap),
    ];
    let help = "Always 1; the label says which node answered last.";
    let info = Family::new("vipkeeper_probe_holder_info", "gauge", help, |text, name, one| {
        if let Some(node) = one.holder.as_ref().and_then(|holder| holder.node.as_ref()) {
            let _ = writeln!(text, "{name}{{{},{}}} 1", one.labels, label("node", node));
        }
    });
    let figures = FIGURES.into_iter().map(|(name, kind, help, value)| {
        Family::new(&format!("vipkeeper_probe_holder_{name}"), kind, help, move |text, name, one| {
            if let Some(holder) = &one.holder {
                let _ = writeln!(text, "{name}{{{}}} {}", one.labels, value(holder));
            }
        })
    });
    std::iter::once(info).chain(figures)
}

/// A metric whose name, help and labels stand in this file: they are valid, as the tests below see.
#[expect(clippy::expect_used, reason = "names and labels are constants of this file")]
fn valid<C>(metric: prometheus::Result<C>) -> C {
    metric.expect("a valid name, help and labels")
}

/// What the look-up service counts.
#[derive(Debug, Clone)]
pub struct LookupMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
    /// What nearly all questions count, found already: by kind, how many were answered well, and how long it took.
    usual: [(&'static str, IntCounter, Histogram); 4],
    cache: IntCounterVec,
    hits: IntCounter,
    cached: IntGauge,
    upstream: IntCounterVec,
    upstream_duration: HistogramVec,
    entries: IntGaugeVec,
    built: IntGaugeVec,
    reloads: IntCounterVec,
}

/// Answers from memory take microseconds, those of registries seconds.
const LOOKUP_BUCKETS: &[f64] = &[0.000_05, 0.000_2, 0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

impl LookupMetrics {
    /// Registers them.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let requests = metrics.counters(
            "vipkeeper_lookup_requests_total",
            "Questions answered, by what they were about (none: not understood) and by how: ok, partial, or the code \
             of the error.",
            &["kind", "code"],
        );
        let duration = metrics.histograms(
            "vipkeeper_lookup_request_duration_seconds",
            "How long an answer took.",
            &["kind"],
            LOOKUP_BUCKETS,
        );
        let cache = metrics.counters(
            "vipkeeper_lookup_cache_requests_total",
            "Questions to registries that the cache answered (hit), that waited for one under way (shared), or that \
             had to be asked (miss).",
            &["result"],
        );
        let made = Self {
            usual: ["mac", "ip", "domain", "asn"]
                .map(|kind| (kind, requests.with_label_values(&[kind, "ok"]), duration.with_label_values(&[kind]))),
            hits: cache.with_label_values(&["hit"]),
            requests,
            duration,
            cache,
            cached: metrics
                .gauges("vipkeeper_lookup_cache_entries", "Answers of registries that are kept.", &[])
                .with_label_values(&[] as &[&str]),
            upstream: metrics.counters(
                "vipkeeper_lookup_upstream_requests_total",
                "Servers asked or refused as a referral, by protocol and by what came of it: answer, referral, not_found, or \
                 the code of the error.",
                &["protocol", "result"],
            ),
            upstream_duration: metrics.histograms(
                "vipkeeper_lookup_upstream_duration_seconds",
                "How long a server took to answer or to fail.",
                &["protocol"],
                LOOKUP_BUCKETS,
            ),
            entries: metrics.gauges(
                "vipkeeper_lookup_database_entries",
                "Entries of each kind of database that is loaded: assignments, networks; of geo the databases.",
                &["database"],
            ),
            built: metrics.gauges(
                "vipkeeper_lookup_database_timestamp_seconds",
                "As of when the oldest file of each kind of database is, in seconds since 1970.",
                &["database"],
            ),
            reloads: metrics.counters(
                "vipkeeper_lookup_database_loads_total",
                "How often each kind of database was loaded, by result; a failed one leaves the one before in use.",
                &["database", "result"],
            ),
        };
        for result in ["shared", "miss"] {
            made.cache.with_label_values(&[result]);
        }
        for protocol in ["rdap", "whois"] {
            made.upstream.with_label_values(&[protocol, "answer"]);
            made.upstream_duration.with_label_values(&[protocol]);
        }
        made
    }

    /// A question about `kind` was answered with `code` after `seconds`.
    pub fn answered(&self, kind: &str, code: &str, seconds: f64) {
        if let Some((_, answered, duration)) = self.usual.iter().find(|(usual, ..)| *usual == kind && code == "ok") {
            answered.inc();
            return duration.observe(seconds);
        }
        self.requests.with_label_values(&[kind, code]).inc();
        self.duration.with_label_values(&[kind]).observe(seconds);
    }

    /// The cache was asked: `hit`, `shared` or `miss`.
    pub fn cache(&self, result: &str) {
        match result {
            "hit" => self.hits.inc(),
            _ => self.cache.with_label_values(&[result]).inc(),
        }
    }

    /// So many answers are kept.
    pub fn cached(&self, entries: usize) {
        self.cached.set(i64::try_from(entries).unwrap_or(i64::MAX));
    }

    /// A server was asked.
    pub fn upstream(&self, protocol: &str, result: &str) {
        self.upstream.with_label_values(&[protocol, result]).inc();
    }

    /// How long a server took, to be observed at the end.
    #[must_use]
    pub fn upstream_duration(&self, protocol: &str) -> Histogram {
        self.upstream_duration.with_label_values(&[protocol])
    }

    /// A kind of database was loaded: entries, and seconds since 1970 of its oldest file.
    pub fn loaded(&self, database: &str, entries: u64, built: i64) {
        self.reloads.with_label_values(&[database, "ok"]).inc();
        self.reloads.with_label_values(&[database, "failed"]);
        self.entries.with_label_values(&[database]).set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.built.with_label_values(&[database]).set(built);
    }

    /// A kind of database could not be loaded.
    pub fn load_failed(&self, database: &str) {
        self.reloads.with_label_values(&[database, "failed"]).inc();
    }
}

/// What a controller counts. A controller that does not lead shows no pools and no VirtualIPs.
#[derive(Debug, Clone)]
pub struct ControllerMetrics {
    leads: IntGauge,
    pool_size: GaugeVec,
    pool_used: GaugeVec,
    vips: IntGaugeVec,
    look: Histogram,
    events_dropped: IntCounter,
}

impl ControllerMetrics {
    /// Registers them.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let gauges = |name: &str, help: &str, labels: &[&str]| GaugeVec::new(Opts::new(name, help), labels);
        Self {
            leads: metrics
                .register(&valid(IntGauge::new("vipkeeper_controller_leader", "1 if this controller leads, else 0."))),
            pool_size: metrics.register(&valid(gauges(
                "vipkeeper_pool_addresses",
                "Addresses of the AddressPool that can be given out in all.",
                &["pool"],
            ))),
            pool_used: metrics.register(&valid(gauges(
                "vipkeeper_pool_addresses_allocated",
                "Addresses of the AddressPool that are in use.",
                &["pool"],
            ))),
            vips: metrics.register(&valid(IntGaugeVec::new(
                Opts::new("vipkeeper_virtualips", "VirtualIPs by a condition and whether it holds."),
                &["condition", "status"],
            ))),
            look: metrics.register(&valid(Histogram::with_opts(
                HistogramOpts::new(
                    "vipkeeper_controller_look_duration_seconds",
                    "Time that one look at all objects takes the controller.",
                )
                .buckets(vec![0.0001, 0.001, 0.01, 0.1, 1.0]),
            ))),
            events_dropped: metrics.register(&valid(IntCounter::new(
                "vipkeeper_controller_events_dropped_total",
                "Events that were not recorded: too many at once, or the store refused.",
            ))),
        }
    }

    /// Whether this controller leads.
    pub fn leading(&self, leads: bool) {
        self.leads.set(leads.into());
        if !leads {
            self.pool_size.reset();
            self.pool_used.reset();
            self.vips.reset();
        }
    }

    /// The outcome of a look at everything, and how long it took.
    pub fn look(&self, figures: &Figures, took: Duration) {
        self.look.observe(took.as_secs_f64());
        self.pool_size.reset();
        self.pool_used.reset();
        for (pool, (size, used)) in &figures.pools {
            self.pool_size.with_label_values(&[pool]).set(size.to_f64());
            self.pool_used.with_label_values(&[pool]).set(crate::core::ipam::Count::from(*used).to_f64());
        }
        for (condition, count) in [("Allocated", figures.allocated), ("Ready", figures.ready)] {
            let set = |status: &str, count: usize| {
                self.vips.with_label_values(&[condition, status]).set(i64::try_from(count).unwrap_or(i64::MAX));
            };
            set("True", count);
            set("False", figures.vips.saturating_sub(count));
        }
    }

    /// An event that was not recorded.
    pub fn event_dropped(&self) {
        self.events_dropped.inc();
    }
}

/// What an agent counts.
#[derive(Debug, Clone)]
pub struct AgentMetrics {
    held: IntGaugeVec,
    announced: IntCounterVec,
    failed: IntCounterVec,
    conflicts: IntCounter,
    defended: IntCounter,
    rejected: IntCounterVec,
    repaired: IntCounter,
    failovers: IntCounterVec,
    failover_time: Histogram,
    margin: GaugeVec,
    watch: IntCounterVec,
    rtt: GaugeVec,
    beats: IntCounterVec,
    checks: IntCounterVec,
    healthy: IntGaugeVec,
    gate_restored: IntCounter,
}

/// What a node's watch over others, and theirs over it, comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watch {
    Suspected,
    Refuted,
    Fenced,
    RightLost,
    SelfFenced,
}

impl Watch {
    const ALL: [Self; 5] = [Self::Suspected, Self::Refuted, Self::Fenced, Self::RightLost, Self::SelfFenced];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Suspected => "suspected",
            Self::Refuted => "refuted",
            Self::Fenced => "fenced",
            Self::RightLost => "right_lost",
            Self::SelfFenced => "self_fenced",
        }
    }
}

/// A failover takes 10 ms (a planned move, an agent that was killed) to some seconds (most of a segment lost).
const FAILOVER_BUCKETS: &[f64] =
    &[0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0];

const WATCH_HELP: &str = "suspected: another node was silent; refuted: it was heard again; fenced: this node took its right; \
     right_lost: this node's right was taken or given up; self_fenced: this node's gate shut for want of evidence.";

const REPAIRED_HELP: &str = "Addresses that something else removed and that were put back.";
const RESTORED_HELP: &str = "Times that the nftables gate was put back, for something else had changed or removed it.";

/// The histogram of failovers.
fn failover_time() -> Histogram {
    let options = HistogramOpts::new(
        "vipkeeper_failover_duration_seconds",
        "How long nobody answered for a VirtualIP that came to this node, as far as it can tell: from the last sign of \
         life of the node that had it; 0 for a planned move.",
    );
    valid(Histogram::with_opts(options.buckets(FAILOVER_BUCKETS.to_vec())))
}

impl AgentMetrics {
    /// Registers them.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let count = |name: &str, help: &str| metrics.register(&valid(IntCounter::new(name, help)));
        let seconds = |name: &str, help: &str, labels: &[&str]| {
            metrics.register(&valid(GaugeVec::new(Opts::new(name, help), labels)))
        };
        let new = Self {
            held: metrics.gauges(
                "vipkeeper_vip_held",
                "1 if this node answers for the VirtualIP, 0 if it may and does not.",
                &["namespace", "name"],
            ),
            announced: metrics.counters(
                "vipkeeper_announcements_sent_total",
                "Frames sent to announce addresses.",
                &["family"],
            ),
            failed: metrics.counters(
                "vipkeeper_announcements_failed_total",
                "Frames that the kernel did not take.",
                &["family"],
            ),
            conflicts: count(
                "vipkeeper_address_conflicts_total",
                "Times that another host began to claim an address that this node holds.",
            ),
            defended: count(
                "vipkeeper_address_defences_total",
                "Claims that were answered with an announcement (RFC 5227 section 2.4).",
            ),
            rejected: metrics.counters(
                "vipkeeper_heartbeats_rejected_total",
                "Datagrams at the heartbeat port that were not taken.",
                &["reason"],
            ),
            repaired: count("vipkeeper_addresses_repaired_total", REPAIRED_HELP),
            failovers: metrics.counters(
                "vipkeeper_failovers_total",
                "VirtualIPs that came to this node from another, by why.",
                &["reason"],
            ),
            failover_time: metrics.register(&failover_time()),
            margin: seconds(
                "vipkeeper_tenure_margin_seconds",
                "The least time in the last second that was left until this node's gate would have shut.",
                &["segment"],
            ),
            watch: metrics.counters("vipkeeper_watch_events_total", WATCH_HELP, &["event"]),
            rtt: seconds(
                "vipkeeper_heartbeat_rtt_seconds",
                "The last round trip of a heartbeat to a peer.",
                &["segment", "peer"],
            ),
            beats: metrics.counters(
                "vipkeeper_heartbeats_total",
                "Heartbeats to a peer: sent, and answered by it.",
                &["segment", "peer", "result"],
            ),
            checks: metrics.counters("vipkeeper_health_checks_total", "Health checks by result.", &["result"]),
            healthy: metrics.gauges(
                "vipkeeper_vip_healthy",
                "1 if the health check of a VirtualIP that this node answers for passes, else 0.",
                &["namespace", "name"],
            ),
            gate_restored: count("vipkeeper_gate_restored_total", RESTORED_HELP),
        };
        new.begin_at_zero();
        new
    }

    /// Series of closed sets are there from the start.
    fn begin_at_zero(&self) {
        Cause::ALL.iter().for_each(|cause| drop(self.failovers.with_label_values(&[cause.as_str()])));
        Watch::ALL.iter().for_each(|event| drop(self.watch.with_label_values(&[event.as_str()])));
        ["passed", "failed"].iter().for_each(|result| drop(self.checks.with_label_values(&[result])));
        for family in ["ipv4", "ipv6"] {
            self.announced.with_label_values(&[family]);
            self.failed.with_label_values(&[family]);
        }
        for reason in ["length", "version", "key", "forged", "kind", "replayed", "segment"] {
            self.rejected.with_label_values(&[reason]);
        }
    }

    /// A datagram at the heartbeat port was not taken; the reason is one of a closed set.
    pub fn heartbeat_rejected(&self, reason: &str) {
        self.rejected.with_label_values(&[reason]).inc();
    }

    /// Whether this node answers for a VIP that it may hold.
    pub fn set_held(&self, namespace: &str, name: &str, held: bool) {
        self.held.with_label_values(&[namespace, name]).set(held.into());
    }

    /// The node may not hold the VIP any more.
    pub fn forget(&self, namespace: &str, name: &str) {
        // It is an error only if there was no such series.
        let _absent = self.held.remove_label_values(&[namespace, name]);
        self.forget_health(namespace, name);
    }

    /// Frames of a family that were sent, and that were not.
    pub fn announced(&self, ipv6: bool, sent: u64, failed: u64) {
        let family = if ipv6 { "ipv6" } else { "ipv4" };
        self.announced.with_label_values(&[family]).inc_by(sent);
        self.failed.with_label_values(&[family]).inc_by(failed);
    }

    /// Another host began to claim an address.
    pub fn conflict(&self) {
        self.conflicts.inc();
    }

    /// A claim was answered.
    pub fn defended(&self) {
        self.defended.inc();
    }

    /// An address was put back.
    pub fn repaired(&self) {
        self.repaired.inc();
    }

    /// The gate was put back so many times.
    pub fn gate_restored(&self, times: u64) {
        self.gate_restored.inc_by(times);
    }

    /// A VIP came to this node from another; `dark` is how long nobody answered.
    pub fn failed_over(&self, cause: Cause, dark: Duration) {
        self.failovers.with_label_values(&[cause.as_str()]).inc();
        self.failover_time.observe(dark.as_secs_f64());
    }

    /// How it stands with a segment, and the least time that was left to the gate lately.
    pub fn pulse(&self, segment: &str, pulse: &Pulse, margin: Option<Duration>) {
        match margin {
            Some(margin) => self.margin.with_label_values(&[segment]).set(margin.as_secs_f64()),
            // It is an error only if there was no such series.
            None => drop(self.margin.remove_label_values(&[segment])),
        }
        for (peer, known) in &pulse.peers {
            if let Some(rtt) = known.rtt {
                self.rtt.with_label_values(&[segment, peer]).set(rtt.as_secs_f64());
            }
            for (result, count) in [("sent", known.sent), ("answered", known.answered)] {
                let counter = self.beats.with_label_values(&[segment, peer, result]);
                counter.inc_by(count.saturating_sub(counter.get()));
            }
        }
    }

    /// A peer is none any more.
    pub fn forget_peer(&self, segment: &str, peer: &str) {
        // It is an error only if there was no such series.
        let _absent = self.rtt.remove_label_values(&[segment, peer]);
        for result in ["sent", "answered"] {
            let _absent = self.beats.remove_label_values(&[segment, peer, result]);
        }
    }

    /// Another node is silent.
    pub fn suspected(&self) {
        self.watched(Watch::Suspected);
    }

    /// It was heard again.
    pub fn refuted(&self) {
        self.watched(Watch::Refuted);
    }

    /// This node took another's right.
    pub fn fenced(&self) {
        self.watched(Watch::Fenced);
    }

    /// This node's right is over.
    pub fn right_lost(&self) {
        self.watched(Watch::RightLost);
    }

    /// This node's gate has shut for want of evidence.
    pub fn self_fenced(&self) {
        self.watched(Watch::SelfFenced);
    }

    fn watched(&self, event: Watch) {
        self.watch.with_label_values(&[event.as_str()]).inc();
    }

    /// A health check is over.
    pub fn checked(&self, passed: bool) {
        self.checks.with_label_values(&[if passed { "passed" } else { "failed" }]).inc();
    }

    /// Whether the check of a VIP that this node answers for passes.
    pub fn set_healthy(&self, namespace: &str, name: &str, healthy: bool) {
        self.healthy.with_label_values(&[namespace, name]).set(healthy.into());
    }

    /// The VIP is not checked here any more.
    pub fn forget_health(&self, namespace: &str, name: &str) {
        // It is an error only if there was no such series.
        let _absent = self.healthy.remove_label_values(&[namespace, name]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_set_says_which_version_runs() {
        assert!(Metrics::new().render().contains("vipkeeper_build_info{version=\""));
    }

    #[test]
    fn every_name_is_valid_and_there_once() {
        let metrics = Metrics::new();
        let agent = AgentMetrics::new(&metrics);
        agent.set_held("shop", "web", true);
        assert!(metrics.render().contains("vipkeeper_vip_held{name=\"web\",namespace=\"shop\"} 1"));
        agent.forget("shop", "web");
        assert!(!metrics.render().contains("vipkeeper_vip_held"));
    }
}
