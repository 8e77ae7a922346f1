//! The fault matrix as a table: what breaks, in which lab, and what is expected of it. A new row is a new cell.

use std::time::Duration;

/// What happens to the holder, or to everything round it. Each is healed again within the same run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGTERM; nobody starts the agent again before its grace has passed.
    Terminated,
    /// SIGTERM, and the agent is started again at once.
    Restarted,
    /// SIGKILL; the agent is started again once the fault is over.
    Killed,
    /// SIGKILL, and the agent is started again at once.
    KilledAndRestarted,
    /// SIGSTOP, then SIGCONT.
    Stopped,
    /// No agent, no carrier; what comes back is a machine that has just booted.
    PowerLost,
    /// Power lost by three nodes at the same time, the holder among them.
    MostLost,
    /// The cable is pulled, and put back.
    CarrierLost,
    /// The bridge drops all that the holder sends and is sent; its carrier stays.
    DataCut,
    /// The holder does not reach the API any more.
    ApiCut,
    /// Both networks of the holder are cut.
    BothCut,
    /// The holder receives nothing and sends all.
    Deaf,
    /// The holder sends nothing and receives all.
    Mute,
    /// Of the frames between nodes 30 % are lost.
    Lossy,
    /// The nodes fall into two halves that hear nothing of each other; the holder is in the smaller one.
    Split,
    /// The API server is killed, and started again.
    ApiKilled,
    /// The API server is stopped, and goes on.
    ApiFrozen,
    /// The wall clock of the holder's agent is set an hour ahead, and back.
    ClockStep,
    /// Four busy loops a processor.
    Hogs,
    /// The holder's kernel creates and deletes interfaces and loads 20,000 nftables rules, again and again.
    KernelLoad,
    /// A person deletes the address from the holder's interface.
    AddressDeleted,
    /// A host that is no node claims the address.
    Foreign,
    /// The holder is cordoned, and so gives its addresses away; then it is uncordoned.
    Drained,
    /// All nodes' agents are restarted as planned, one after the other.
    Rolling,
    /// The holder loses power and the VIPs are deleted before anybody took over.
    DeletedDuring,
}

/// What is expected of the VIPs that the victim holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Another node takes over, and the client waits for at most so long.
    Moves(Duration),
    /// They stay, and the client waits for at most so long.
    Stays(Duration),
    /// They may stay or move.
    Either(Duration),
    /// They go for good.
    Goes,
}

/// What shuts a node's addresses off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    Bpf,
    Nft,
    /// BPF at every other node, the first among them.
    Mixed,
}

/// `failoverPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    Safe,
    Fast,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// Where the nodes find each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Dir,
    Kubernetes,
}

/// `--profile`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Lan,
    FastLan,
    Virtual,
}

/// Who keeps the addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    Vipkeeper,
    /// keepalived with this `advert_int`, in milliseconds.
    Keepalived(u32),
}

/// What a lab is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) contender: Contender,
    pub(crate) nodes: usize,
    pub(crate) gate: Gate,
    pub(crate) policy: Policy,
    pub(crate) family: Family,
    pub(crate) vips: usize,
    pub(crate) store: Store,
    pub(crate) profile: Profile,
}

/// Three nodes with one IPv4 address on the embedded store, the defaults everywhere else.
pub(crate) const USUAL: Shape = Shape {
    contender: Contender::Vipkeeper,
    nodes: 3,
    gate: Gate::Bpf,
    policy: Policy::Safe,
    family: Family::V4,
    vips: 1,
    store: Store::Dir,
    profile: Profile::Lan,
};

/// A fault in a lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) fault: Fault,
    pub(crate) shape: Shape,
    /// How long the fault lasts; one that ends with a take-over lasts at least so long.
    pub(crate) lasts: Duration,
}

impl Fault {
    /// The word for it in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Terminated => "agent ended",
            Self::Restarted => "agent restarted",
            Self::Killed => "agent killed",
            Self::KilledAndRestarted => "agent killed and restarted",
            Self::Stopped => "agent stopped",
            Self::PowerLost => "power lost",
            Self::MostLost => "power lost by three",
            Self::CarrierLost => "carrier lost",
            Self::DataCut => "data network cut",
            Self::ApiCut => "API cut",
            Self::BothCut => "both networks cut",
            Self::Deaf => "deaf holder",
            Self::Mute => "mute holder",
            Self::Lossy => "30 % loss",
            Self::Split => "split",
            Self::ApiKilled => "API server killed",
            Self::ApiFrozen => "API server frozen",
            Self::ClockStep => "clock step",
            Self::Hogs => "CPU hogs",
            Self::KernelLoad => "netlink and nft load",
            Self::AddressDeleted => "address deleted",
            Self::Foreign => "foreign host claims",
            Self::Drained => "drained",
            Self::Rolling => "rolling restart",
            Self::DeletedDuring => "deleted during failover",
        }
    }

    /// What the protocol promises, with room for a busy machine: the figures of a quiet one are the goals of the report.
    pub(crate) fn expected(self, shape: Shape, lasts: Duration) -> Expected {
        let quick = Duration::from_secs(4);
        // Whoever is alone for a moment may have registered to hold by the API, which lasts for 3 s.
        let by_api = Duration::from_secs(8);
        match self {
            Self::PowerLost | Self::CarrierLost | Self::DataCut | Self::BothCut | Self::Deaf | Self::Mute => {
                Expected::Moves(if shape.nodes == 2 { by_api } else { quick })
            }
            Self::Split => Expected::Moves(by_api),
            Self::Terminated => Expected::Moves(quick),
            Self::Drained => Expected::Moves(Duration::from_secs(1)),
            Self::MostLost => Expected::Moves(Duration::from_secs(12)),
            Self::Killed => Expected::Moves(quick),
            Self::Stopped if lasts >= Duration::from_secs(1) => Expected::Moves(quick),
            Self::Stopped | Self::KilledAndRestarted => Expected::Either(quick),
            Self::Lossy | Self::Hogs | Self::KernelLoad => Expected::Either(by_api),
            Self::Restarted | Self::Rolling => Expected::Stays(Duration::from_secs(1)),
            Self::ApiCut | Self::ApiKilled | Self::ApiFrozen | Self::ClockStep => {
                Expected::Stays(Duration::from_secs(1))
            }
            Self::AddressDeleted => Expected::Stays(Duration::from_secs(2)),
            // Its victim is the client's neighbour table; the address stays where it is.
            Self::Foreign => Expected::Stays(Duration::from_secs(60)),
            Self::DeletedDuring => Expected::Goes,
        }
    }

    /// Whether it takes the whole machine, and so disturbs what runs beside it.
    pub(crate) fn is_loud(self) -> bool {
        matches!(self, Self::Hogs | Self::KernelLoad)
    }
}

impl Shape {
    /// The times as the names of labs and tables have them: everything that is not usual.
    pub(crate) fn name(self) -> String {
        let mut words = vec![format!("{} nodes", self.nodes)];
        match self.contender {
            Contender::Vipkeeper => words.push(match self.profile {
                Profile::Lan => "lan".into(),
                Profile::FastLan => "fast-lan".into(),
                Profile::Virtual => "virtual".into(),
            }),
            Contender::Keepalived(advert) => words.push(format!("keepalived {} s", f64::from(advert) / 1000.0)),
        }
        match self.gate {
            Gate::Bpf => {}
            Gate::Nft => words.push("nft".into()),
            Gate::Mixed => words.push("bpf and nft".into()),
        }
        if self.policy == Policy::Fast {
            words.push("Fast".into());
        }
        if self.family == Family::V6 {
            words.push("IPv6".into());
        }
        if self.vips > 1 {
            words.push(format!("{} VIPs", self.vips));
        }
        if self.store == Store::Kubernetes {
            words.push("Kubernetes".into());
        }
        words.join(", ")
    }
}

impl Cell {
    pub(crate) fn new(fault: Fault, shape: Shape, seconds: f64) -> Self {
        Self { fault, shape, lasts: Duration::from_secs_f64(seconds) }
    }

    pub(crate) fn expected(self) -> Expected {
        self.fault.expected(self.shape, self.lasts)
    }

    /// Its name: the fault, how long it lasts, and the lab.
    pub(crate) fn name(self) -> String {
        format!("{}, {} s; {}", self.fault.name(), self.lasts.as_secs_f64(), self.shape.name())
    }
}

impl Cell {
    /// How long two nodes may claim a VIP: never, but for what an nft gate and `Fast` are known to do.
    pub(crate) fn overlap(self) -> Duration {
        let gate = match self.shape.profile {
            Profile::FastLan => Duration::from_millis(250),
            Profile::Lan => Duration::from_millis(500),
            Profile::Virtual => Duration::from_millis(800),
        };
        match (self.shape.policy, self.shape.gate) {
            (Policy::Fast, _) => gate,
            (Policy::Safe, Gate::Nft | Gate::Mixed) if self.fault == Fault::Stopped => Duration::from_millis(300),
            (Policy::Safe, _) => Duration::ZERO,
        }
    }
}
