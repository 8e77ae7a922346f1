//! What a run is given: nodes, times, and a list of faults.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipkeeper::core::failover::Timing;

use crate::sim::oracle::Property;
use crate::sim::rng::Rng;

/// One run, fully determined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// Of delays, losses and clock rates.
    pub seed: u64,
    pub nodes: usize,
    pub vips: usize,
    pub profile: Profile,
    /// The bound of clock-rate errors, in parts per million; the clocks run at random rates within it.
    pub rho: u32,
    pub network: Network,
    /// The nodes start one after the other on an empty view.
    pub cold: bool,
    /// In milliseconds; checked for healing at the end at the latest.
    pub end: u64,
    pub faults: Vec<Fault>,
    /// Bits of the nodes whose gate is that of nftables.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nft: u32,
    /// Bits of the VIPs that are taken over at the fence.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fast: u32,
    /// Bits of the VIPs with a hard gate.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub exclusive: u32,
    /// What is asked beside safety, and that all heals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
}

fn is_zero(bits: &u32) -> bool {
    *bits == 0
}

/// What a run must show beside safety.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    /// Then, in milliseconds, each VIP is claimed where it can be reached (L1).
    Claimed { by: u64 },
    /// At most so many are fenced (L6).
    Fences { most: usize },
    /// Nothing moves, nobody is fenced, and no VIP is without its holder for a moment.
    Still(Property),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Profile {
    Lan,
    Virtual,
    FastLan,
}

/// How well messages and requests travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// No losses, short delays.
    Calm,
    /// A few losses, 3 % of the packets and 5 % of the requests very late, a watch that lags up to four seconds.
    Rough,
}

/// A fault begins at `at` and ends `last` later, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub at: u64,
    pub last: u64,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// The process stands still; with `between`, between two of its effects.
    Hang { node: usize, between: bool },
    /// The process dies, the kernel goes on; then a new process starts.
    Crash { node: usize },
    /// A planned restart: the process goes when it may, and another starts.
    Restart { node: usize },
    /// The node loses power, then boots.
    Power { node: usize },
    /// The machine stands still, as a virtual one does; its clock stops with it, or not.
    Pause { node: usize, clock_stops: bool },
    /// Nothing reaches the node.
    Deaf { node: usize },
    /// Nothing leaves it.
    Mute { node: usize },
    /// Both.
    Isolate { node: usize },
    /// One direction between two nodes.
    Cut { from: usize, to: usize },
    /// Nodes whose bit is set here do not hear the others, nor they them.
    Split { side: u32 },
    /// So many percent of all packets are lost.
    Loss { percent: u64 },
    /// The API does not answer this node.
    ApiCut { node: usize },
    /// The API is down for all: requests are lost, or come about when it is back.
    ApiDown { frozen: bool },
    /// A VIP is to move to a node.
    Move { vip: usize, node: usize },
    /// A node is to be drained; until the fault ends.
    Drain { node: usize },
    /// A VIP is deleted; another takes its address as soon as it is free.
    Delete { vip: usize },
    /// The node leaves for good and comes back as a new one.
    Leave { node: usize },
    /// The store goes back to what it was so many versions ago.
    Restore { versions: usize },
}

impl Scenario {
    pub fn timing(&self) -> Timing {
        let timing = match self.profile {
            Profile::Lan => Timing::lan(),
            Profile::Virtual => Timing::virtual_machines(),
            Profile::FastLan => Timing::fast_lan(),
        };
        // Served for a shorter time than in production, so that runs end sooner.
        Timing { rho: self.rho, drain: Duration::from_millis(300), ..timing }
    }

    /// A run without faults.
    pub fn quiet(seed: u64, nodes: usize, network: Network) -> Self {
        let (profile, rho) = (Profile::Lan, 10_000);
        Self {
            seed,
            nodes,
            vips: 3,
            profile,
            rho,
            network,
            cold: false,
            end: 8_000,
            faults: Vec::new(),
            nft: 0,
            fast: 0,
            exclusive: 0,
            expect: None,
        }
    }

    /// A run with many faults at once, in the manner of Murphy.
    pub fn torture(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x7031);
        let nodes = match rng.range(0, 10) {
            0 | 1 => 2,
            2..=6 => 3,
            7 => 4,
            _ => 5,
        };
        let profile = match rng.range(0, 10) {
            0 => Profile::Virtual,
            1 => Profile::FastLan,
            _ => Profile::Lan,
        };
        let rho = if rng.percent(15) { 200_000 } else { 10_000 };
        let vips = rng.range(1, 4) as usize;
        // What is very late there is later than the times of the fast profile allow for.
        let rough = rng.percent(70) && profile != Profile::FastLan;
        let network = if rough { Network::Rough } else { Network::Calm };
        let cold = rng.percent(5);
        let mut faults = Vec::new();
        let mut at = if cold { 500 } else { 50 };
        for _ in 0..rng.range(1, 7) {
            at += rng.skewed(10, 1_200);
            let last = rng.skewed(50, 3_000);
            faults.push(Fault { at, last, kind: Kind::random(&mut rng, nodes, vips) });
        }
        let all = (1 << nodes) - 1;
        let nft = if rng.percent(10) { [all, 1][rng.index(2)] } else { 0 };
        let fast = if rng.percent(15) { rng.range(0, 1 << vips) as u32 } else { 0 };
        let exclusive = if rng.percent(20) { rng.range(0, 1 << vips) as u32 } else { 0 };
        let quiet = Self::quiet(seed, nodes, network);
        Self { vips, profile, rho, cold, faults, nft, fast, exclusive, ..quiet }.long_enough()
    }

    /// Leaves time for all to heal.
    pub fn long_enough(mut self) -> Self {
        let over = self.faults.iter().map(|fault| fault.at + fault.last).max().unwrap_or(0);
        let slow = self.faults.iter().any(|fault| matches!(fault.kind, Kind::Restart { .. } | Kind::Restore { .. }));
        self.end = over + if slow { 24_000 } else { 9_000 };
        self
    }
}

impl Kind {
    fn random(rng: &mut Rng, nodes: usize, vips: usize) -> Self {
        let node = rng.index(nodes);
        match rng.range(0, 40) {
            0..=4 => Self::Hang { node, between: rng.percent(50) },
            5..=9 => Self::Crash { node },
            10 | 11 => Self::Restart { node },
            12..=15 => Self::Power { node },
            16 | 17 => Self::Pause { node, clock_stops: rng.percent(30) },
            18 | 19 => Self::Deaf { node },
            20 | 21 => Self::Mute { node },
            22..=24 => Self::Isolate { node },
            25 | 26 => Self::Cut { from: node, to: (node + 1 + rng.index(nodes - 1)) % nodes },
            27 | 28 => Self::Split { side: rng.range(1, 1 << (nodes + 1)) as u32 },
            29 => Self::Loss { percent: rng.range(10, 60) },
            30 | 31 => Self::ApiCut { node },
            32 | 33 => Self::ApiDown { frozen: rng.percent(50) },
            34 | 35 => Self::Move { vip: rng.index(vips), node },
            36 => Self::Drain { node },
            37 | 38 => Self::Delete { vip: rng.index(vips) },
            _ => Self::Leave { node },
        }
    }
}
