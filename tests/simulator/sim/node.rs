//! A node: a kernel, a clock, and a process that may stand still or be gone.

use std::collections::{BTreeMap, VecDeque};

use vipkeeper::core::failover::{Effect, Failover, Input, Rules, Start, Timing};
use vipkeeper::core::time::Time;
use vipkeeper::core::view::{Gate, Mode, Registration};
use vipkeeper::wire::heartbeat::id;

use crate::sim::clock::Clock;
use crate::sim::kernel::Kernel;

/// How a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    Runs,
    /// It stands still; what comes waits.
    Hangs,
    Gone,
}

/// A node.
#[derive(Debug, Clone)]
pub struct Node {
    pub name: String,
    pub id: u64,
    pub machine: Option<Failover>,
    pub process: Process,
    /// Its gate is that of nftables.
    pub nft: bool,
    /// The machine has power.
    pub powered: bool,
    /// Overlapping pauses of the machine.
    pub pauses: u32,
    pub kernel: Kernel,
    pub clock: Clock,
    pub boots: u32,
    /// Counts processes, so that what belongs to a former one is not given to the next.
    pub incarnation: u32,
    /// What waits for a process that hangs.
    pub inbox: VecDeque<Input>,
    /// Effects that it had not come to when it stopped.
    pub unfinished: VecDeque<Effect>,
    /// It stops between two effects next time.
    pub stop_between: bool,
    /// When a timer of it is due, by true time.
    pub timer: u64,
    /// Overlapping faults that each hold it.
    pub holds: u32,
    /// The VIP that it claims next, after too few watchers have answered.
    pub fallback: Option<String>,
    /// A planned restart is under way; the time until the next process, in nanoseconds.
    pub restart: Option<u64>,
    pub leaving: Option<u64>,
    /// Until when a clock that stood still excuses two claimants.
    pub excused_until: u64,
    /// When something last was wrong with it.
    pub faulty_until: u64,
    /// When it last acknowledged a right, by epoch and true time.
    pub acknowledged: Vec<(u64, u64)>,
    /// When it last sent a heartbeat of a right, by its clock.
    pub beat: Time,
}

impl Node {
    pub fn new(index: usize) -> Self {
        let name = format!("n{index}");
        Self {
            id: id(&name),
            name,
            machine: None,
            process: Process::Gone,
            nft: false,
            powered: true,
            pauses: 0,
            kernel: Kernel::default(),
            clock: Clock::new(0, 1_000_000_000 * (1 + index as u64)),
            boots: 1,
            incarnation: 0,
            inbox: VecDeque::new(),
            unfinished: VecDeque::new(),
            stop_between: false,
            timer: u64::MAX,
            holds: 0,
            fallback: None,
            restart: None,
            leaving: None,
            excused_until: 0,
            faulty_until: 0,
            acknowledged: Vec::new(),
            beat: Time::ZERO,
        }
    }

    pub fn boot_id(&self) -> String {
        format!("{}-boot{}", self.name, self.boots)
    }

    pub fn registration(&self, rho: u32) -> Registration {
        let gate = if self.nft { Gate::Nft } else { Gate::Bpf };
        Registration {
            node: self.name.clone(),
            mode: Mode::Peers,
            address: "192.0.2.1".parse().unwrap(),
            port: 9473,
            mac: None,
            interface: "eth0".into(),
            boot_id: self.boot_id(),
            gate,
            rho,
        }
    }

    /// A new process, which finds the kernel as it is.
    pub fn start(&mut self, now: u64, timing: Timing, rules: Rules) {
        self.incarnation += 1;
        self.process = Process::Runs;
        self.kernel.stopped = false;
        self.inbox.clear();
        self.unfinished.clear();
        self.stop_between = false;
        self.restart = None;
        self.timer = u64::MAX;
        // What is left of a gate of nftables that has run out is nothing.
        let over = self.nft && self.kernel.deadline <= self.clock.show(now);
        let gate = if over { Time::ZERO } else { self.kernel.deadline };
        let vips: BTreeMap<_, _> = self.kernel.entries.iter().map(|entry| (entry.uid.clone(), entry.state)).collect();
        let start = Start { segment: "seg".into(), me: self.registration(timing.rho), timing, rules, gate, vips };
        self.machine = Some(Failover::new(self.clock.show(now), start));
    }

    pub fn runs(&self) -> bool {
        self.powered && self.pauses == 0 && self.process == Process::Runs
    }
}
