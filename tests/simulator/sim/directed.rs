//! Runs that aim at one hazard each, where the torture comes by it too seldom or cannot say what must follow.

use vipkeeper::core::failover::Timing;

use crate::sim::oracle::Property;
use crate::sim::rng::Rng;
use crate::sim::scenario::{Expect, Fault, Kind, Network, Profile, Scenario};

const CHOICES: &[fn(&mut Rng, Scenario) -> Scenario] = &[
    lost_node, lost_node, cut_holder, cut_holder, stopped, api_down, restarted, doubted, restored, solo, many_lost,
    woken, split, chained, resigned, late, moved, deleted,
];

impl Scenario {
    /// A run with a fault or a few that belong together.
    pub fn directed(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0xd17e);
        let nodes = [2, 3, 3, 5][rng.index(4)];
        let mut base = Self::quiet(seed, nodes, Network::Calm);
        base.vips = rng.range(1, 4) as usize;
        base.profile = [Profile::Lan, Profile::Lan, Profile::Virtual, Profile::FastLan][rng.index(4)];
        base.rho = if rng.percent(20) { 200_000 } else { 10_000 };
        let choice = CHOICES[rng.index(CHOICES.len())];
        choice(&mut rng, base).long_enough()
    }

    fn with(mut self, at: u64, last: u64, kind: Kind) -> Self {
        self.faults.push(Fault { at, last, kind });
        self
    }

    /// After a fault at `at` each VIP is claimed again within the gate time, as the slowest clock waits for it, the time of a patch, and `more`, in milliseconds.
    fn claimed(mut self, at: u64, more: u64) -> Self {
        self.rho = 10_000;
        let Timing { gate, margin, beat, .. } = self.timing();
        let rho = f64::from(self.rho) / 1e6;
        let closed = (gate.as_secs_f64() * (1.0 + rho) / (1.0 - rho) + margin.as_secs_f64()) * 1e3 / (1.0 - rho);
        // A suspicion on a slow clock, what is shared of it, the patch, and the next look.
        let found = beat.as_secs_f64() * 1e3 * 6.5 / (1.0 - rho);
        self.expect = Some(Expect::Claimed { by: at + closed.max(found) as u64 + 50 + more });
        self
    }
}

/// When a fault comes, in milliseconds: any phase of a heartbeat.
fn soon(rng: &mut Rng) -> u64 {
    rng.range(50, 300)
}

fn lost_node(rng: &mut Rng, base: Scenario) -> Scenario {
    let node = rng.index(base.nodes);
    let more = if base.nodes == 2 { 100 } else { 0 };
    let at = soon(rng);
    base.with(at, 12_000, Kind::Power { node }).claimed(at, more)
}

/// The API stays within its reach.
fn cut_holder(rng: &mut Rng, base: Scenario) -> Scenario {
    let node = rng.index(base.nodes);
    let kind = match rng.range(0, 3) {
        0 => Kind::Isolate { node },
        1 => Kind::Deaf { node },
        _ => Kind::Mute { node },
    };
    // One of two must first ask its gateway and the API; a deaf one is known by the age of its evidence.
    let more = if base.nodes == 2 { 300 } else { 50 };
    let at = soon(rng);
    let hears = matches!(kind, Kind::Mute { .. });
    let run = base.with(at, 12_000, kind).claimed(at, more);
    // It may lose the API as well, just after it had the time to turn to it.
    if rng.percent(40) && !hears { run.with(at + 280, 12_000, Kind::ApiCut { node }) } else { run }
}

fn stopped(rng: &mut Rng, base: Scenario) -> Scenario {
    let node = rng.index(base.nodes);
    let at = soon(rng);
    let last = rng.skewed(300, 6_000);
    let kind = match rng.range(0, 4) {
        0 => Kind::Hang { node, between: true },
        1 => Kind::Hang { node, between: false },
        2 => Kind::Crash { node },
        _ => Kind::Pause { node, clock_stops: false },
    };
    let nft = if rng.percent(40) { (1 << base.nodes) - 1 } else { 0 };
    let fast = if rng.percent(20) { 1 } else { 0 };
    Scenario { nft, fast, ..base }.with(at, last, kind)
}

fn api_down(rng: &mut Rng, mut base: Scenario) -> Scenario {
    base.expect = Some(Expect::Still(Property::L2));
    let frozen = rng.percent(50);
    base.with(soon(rng), rng.range(4_000, 9_000), Kind::ApiDown { frozen })
}

fn restarted(rng: &mut Rng, mut base: Scenario) -> Scenario {
    base.expect = Some(Expect::Still(Property::L3));
    let node = rng.index(base.nodes);
    base.with(soon(rng), rng.range(500, 9_000), Kind::Restart { node })
}

/// One watcher does not hear the holder, then another: never so many that it would be fenced.
fn doubted(rng: &mut Rng, mut base: Scenario) -> Scenario {
    base.nodes = base.nodes.max(3);
    base.expect = Some(Expect::Still(Property::L4));
    let (at, last) = (soon(rng), rng.range(600, 2_000));
    let from = rng.index(base.nodes);
    let to = (from + 1) % base.nodes;
    let next = (from + 2) % base.nodes;
    base.with(at, last, Kind::Cut { from, to }).with(at + last + 300, last, Kind::Cut { from, to: next })
}

/// The store goes back to a backup while something else happens.
fn restored(rng: &mut Rng, base: Scenario) -> Scenario {
    let (node, other) = (rng.index(base.nodes), rng.index(base.nodes));
    let at = soon(rng);
    let before = match rng.range(0, 4) {
        0 => Kind::Power { node },
        1 => Kind::Isolate { node },
        2 => Kind::Hang { node, between: false },
        _ => Kind::Move { vip: rng.index(base.vips), node },
    };
    let last = rng.range(700, 3_000);
    let versions = rng.range(1, 8) as usize;
    let when = at + rng.range(0, 2_500);
    let run = base.with(at, last, before).with(when, 1, Kind::Restore { versions });
    if rng.percent(40) { run.with(when + rng.range(0, 1_000), 1_000, Kind::ApiCut { node: other }) } else { run }
}

/// Nodes come to an empty segment, and go again.
fn solo(rng: &mut Rng, mut base: Scenario) -> Scenario {
    base.cold = true;
    base.nodes = base.nodes.min(3);
    let node = rng.index(base.nodes);
    let at = rng.range(300, 1_500);
    let kind = match rng.range(0, 4) {
        0 => Kind::Leave { node },
        1 => Kind::ApiCut { node },
        2 => Kind::Isolate { node },
        _ => Kind::Restart { node },
    };
    let other = rng.index(base.nodes);
    base.with(at, rng.range(500, 3_000), kind).with(at + rng.range(200, 2_000), 1_500, Kind::Leave { node: other })
}

/// Most nodes of a segment at once.
fn many_lost(rng: &mut Rng, mut base: Scenario) -> Scenario {
    base.rho = 10_000;
    base.nodes = base.nodes.max(3);
    let at = soon(rng);
    let left = rng.index(base.nodes);
    let keep = if base.nodes == 5 { 2 } else { 1 };
    let lost: Vec<usize> = (0..base.nodes).map(|n| (left + n) % base.nodes).skip(keep).collect();
    let mut run = lost.into_iter().fold(base, |run, node| run.with(at, 12_000, Kind::Power { node }));
    run.expect = Some(Expect::Claimed { by: at + 9_000 });
    run
}

/// A holder that is about to change what its right rests on, while its requests are late.
fn late(rng: &mut Rng, base: Scenario) -> Scenario {
    let node = rng.index(base.nodes);
    let other = (node + 1 + rng.index(base.nodes - 1)) % base.nodes;
    let at = soon(rng);
    let run = base.with(at, rng.range(400, 2_500), Kind::Power { node: other });
    let frozen = run.with(at + rng.range(100, 900), rng.range(200, 3_000), Kind::ApiDown { frozen: true });
    frozen.with(at + rng.range(300, 3_000), rng.range(500, 3_000), Kind::Isolate { node })
}

/// Planned moves, to and fro, and whoever takes part in them is in trouble.
fn moved(rng: &mut Rng, base: Scenario) -> Scenario {
    let at = soon(rng);
    let (node, other) = (rng.index(base.nodes), rng.index(base.nodes));
    let vip = rng.index(base.vips);
    let exclusive = rng.range(0, 1 << base.vips) as u32;
    let kind = match rng.range(0, 5) {
        0 => Kind::Hang { node, between: true },
        1 => Kind::Isolate { node },
        2 => Kind::Drain { node },
        3 => Kind::ApiCut { node },
        _ => Kind::Move { vip, node: (other + 1) % base.nodes },
    };
    let trouble = at + rng.range(0, 300);
    let run = Scenario { exclusive, ..base }.with(at, 1, Kind::Move { vip, node: other });
    let run = run.with(trouble, rng.range(300, 2_000), kind);
    run.with(at + rng.range(20, 500), 1, Kind::Move { vip, node })
}

/// A VIP is deleted while its holder is in trouble.
fn deleted(rng: &mut Rng, base: Scenario) -> Scenario {
    let at = soon(rng);
    let node = rng.index(base.nodes);
    let kind = match rng.range(0, 4) {
        0 => Kind::Hang { node, between: false },
        1 => Kind::Isolate { node },
        2 => Kind::Crash { node },
        _ => Kind::Mute { node },
    };
    let vip = rng.index(base.vips);
    base.with(at, rng.range(400, 3_000), kind).with(at + rng.range(0, 800), 1, Kind::Delete { vip })
}

/// All but one machine stand still for less than the gate time, and wake together.
fn woken(rng: &mut Rng, mut base: Scenario) -> Scenario {
    base.nodes = 3;
    base.rho = 10_000;
    let awake = rng.index(3);
    let at = soon(rng);
    let gate = base.timing().gate.as_millis() as u64;
    let last = rng.range(gate * 3 / 4, gate - 15);
    let pause = |node| Kind::Pause { node, clock_stops: false };
    base.with(at, last, pause((awake + 1) % 3)).with(at, last, pause((awake + 2) % 3))
}

/// Two of five lose the others, and all have the API.
fn split(rng: &mut Rng, mut base: Scenario) -> Scenario {
    base.nodes = 5;
    base.rho = 10_000;
    let node = rng.index(5);
    let other = (node + 1 + rng.index(4)) % 5;
    // The two try again after two seconds, and then after four.
    let last = rng.range(1_000, 6_000);
    base.expect = Some(Expect::Fences { most: if last < 1_900 { 2 } else { 4 } });
    base.with(soon(rng), last, Kind::Split { side: 1 << node | 1 << other })
}

/// A holder in api mode stops; whoever is to take over from it is lost as well.
fn chained(rng: &mut Rng, mut base: Scenario) -> Scenario {
    base.nodes = 5;
    let node = rng.index(5);
    let at = soon(rng);
    let lost = |n: usize| Kind::Power { node: (node + n) % 5 };
    let run = base.with(at, 3_000, lost(1)).with(at, 3_000, lost(2));
    let run = run.with(at + rng.range(280, 600), 4_000, Kind::Hang { node, between: false });
    run.with(at + rng.range(900, 2_500), 3_000, lost(3 + rng.index(2)))
}

/// A holder in api mode, for two of its watchers are lost, is cut off from the rest and not from the API.
fn resigned(rng: &mut Rng, mut base: Scenario) -> Scenario {
    base.nodes = 5;
    base.profile = Profile::Lan;
    base.rho = 10_000;
    let node = rng.index(5);
    let at = soon(rng);
    let lost = |n: usize| Kind::Power { node: (node + n) % 5 };
    let cut = at + rng.range(300, 500);
    let run = base.with(at, 12_000, lost(1)).with(at, 12_000, lost(2)).with(cut, 12_000, Kind::Isolate { node });
    run.claimed(cut, 1_600)
}
