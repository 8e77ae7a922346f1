//! What the figures of a cell should be on a quiet machine, with the release binary.

use std::fmt;

use crate::run::Run;
use crate::spread::{Spread, spread};
use crate::table::{Cell, Contender, Fault, Gate, Policy, Profile};

/// A goal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Goal {
    /// The client's longest wait, in milliseconds: the median and the 99th percentile.
    Waits(f64, f64),
    /// The same, and from the first VIP that another node answers for to the last: the 99th percentile.
    WaitsForMany(f64, f64, f64),
    /// The client loses nothing and nothing moves.
    Nothing,
    /// It moves, and the client loses nothing.
    Lossless,
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waits(median, high) => write!(f, "client waits {median}/{high} ms (p50/p99)"),
            Self::WaitsForMany(median, high, last) => {
                write!(f, "client waits {median}/{high} ms (p50/p99), last VIP {last} ms after the first")
            }
            Self::Nothing => f.write_str("nothing lost, nothing moved"),
            Self::Lossless => f.write_str("moved, nothing lost"),
        }
    }
}

impl Cell {
    /// Its goal, if it has one.
    pub(crate) fn goal(self) -> Option<Goal> {
        let shape = self.shape;
        if shape.contender != Contender::Vipkeeper || (shape.gate, shape.policy) != (Gate::Bpf, Policy::Safe) {
            return None;
        }
        match self.fault {
            Fault::PowerLost | Fault::CarrierLost | Fault::DataCut | Fault::Deaf => Some(match shape.profile {
                Profile::FastLan => Goal::Waits(270.0, 350.0),
                Profile::Virtual => Goal::Waits(800.0, 950.0),
                Profile::Lan if shape.vips >= 1000 => Goal::WaitsForMany(500.0, 650.0, 300.0),
                Profile::Lan if shape.nodes == 2 => Goal::Waits(500.0, 750.0),
                Profile::Lan => Goal::Waits(500.0, 650.0),
            }),
            Fault::Killed | Fault::Stopped => Some(Goal::Waits(300.0, 300.0)),
            Fault::Restarted | Fault::Rolling | Fault::ApiFrozen | Fault::ApiKilled | Fault::ApiCut => {
                Some(Goal::Nothing)
            }
            Fault::Drained => Some(Goal::Lossless),
            _ => None,
        }
    }
}

impl Goal {
    /// Whether these runs meet it.
    pub(crate) fn is_met(self, runs: &[Run]) -> bool {
        match self {
            Self::Waits(median, high) => {
                let Spread { p50, p99, .. } = spread(runs.iter().map(|run| run.fault.gap));
                p50 <= median && p99 <= high
            }
            Self::WaitsForMany(median, high, last) => {
                Self::Waits(median, high).is_met(runs) && spread(runs.iter().map(|run| run.spread)).p99 <= last
            }
            Self::Lossless => runs.iter().all(|run| run.moved && run.fault.lost == 0),
            Self::Nothing => runs.iter().all(|run| !run.moved && run.fault.lost == 0),
        }
    }
}
