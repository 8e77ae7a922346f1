//! The counters of a path.

use std::ops::AddAssign;

use serde::Serialize;

/// What became of the probes of a path, and what came in on it.
///
/// Probes: `sent = received + lost + in_flight()`. Of the lost, `lost_forward` never reached the reflector and
/// `lost_backward` were answered in vain; of the rest that is not known, or they were answered late. What came in:
/// `received` (of which `reordered` after the answer to a later probe), `late`, `duplicated`, `corrupted`, `refused` and
/// `stray` are disjoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Probes sent.
    pub sent: u64,
    /// Probes answered in time.
    pub received: u64,
    /// Probes not answered in time.
    pub lost: u64,
    /// Lost probes that did not reach the reflector; known only of one that numbers its replies itself.
    pub lost_forward: u64,
    /// Lost probes whose answer did not come back; known only of a reflector that numbers its replies itself.
    pub lost_backward: u64,
    /// Answers in time that came after the answer to a later probe.
    pub reordered: u64,
    /// First answers that came after the timeout.
    pub late: u64,
    /// Further answers to a probe that was answered already.
    pub duplicated: u64,
    /// Answers that are not to what was sent, or no answers at all though they came from the target.
    pub corrupted: u64,
    /// ICMP errors that quote a probe.
    pub refused: u64,
    /// Answers to nothing that is remembered: of a former run, forged, or older than twice the timeout.
    pub stray: u64,
}

impl Counts {
    /// Probes that may still be answered in time.
    #[must_use]
    pub const fn in_flight(&self) -> u64 {
        self.sent - self.received - self.lost
    }

    /// The share of the settled probes that was lost, 0 to 1; `None` as long as none is settled.
    #[must_use]
    pub fn loss(&self) -> Option<f64> {
        let settled = self.received + self.lost;
        (settled > 0).then(|| self.lost as f64 / settled as f64)
    }

    /// What was counted since `earlier`.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            sent: self.sent - earlier.sent,
            received: self.received - earlier.received,
            lost: self.lost - earlier.lost,
            lost_forward: self.lost_forward - earlier.lost_forward,
            lost_backward: self.lost_backward - earlier.lost_backward,
            reordered: self.reordered - earlier.reordered,
            late: self.late - earlier.late,
            duplicated: self.duplicated - earlier.duplicated,
            corrupted: self.corrupted - earlier.corrupted,
            refused: self.refused - earlier.refused,
            stray: self.stray - earlier.stray,
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.lost += other.lost;
        self.lost_forward += other.lost_forward;
        self.lost_backward += other.lost_backward;
        self.reordered += other.reordered;
        self.late += other.late;
        self.duplicated += other.duplicated;
        self.corrupted += other.corrupted;
        self.refused += other.refused;
        self.stray += other.stray;
    }
}
