//! The times of the protocol, and the inequalities that they must keep.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rules::{Rule, Rules};
use crate::core::view::Gate;

/// A larger timeout of the nftables gate makes more of two claimants than it saves of false alarms.
const LONGEST_NFT: Duration = Duration::from_millis(300);
const MILLION: u64 = 1_000_000;
/// A larger bound of a clock's rate error makes waiting times absurd.
const MAX_RHO: u32 = 250_000;

/// The times of one segment; every member must use the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// D: how long the gate stays open after the newest evidence was asked for.
    pub gate: Duration,
    /// h: the interval of heartbeats.
    pub beat: Duration,
    /// ε: how late a gate may shut, and reading errors.
    pub margin: Duration,
    /// L: how long a patch of the view extends a right in api mode.
    pub lease: Duration,
    /// R: the interval of those patches.
    pub renew: Duration,
    /// τ: after how long a request to the API counts as unanswered.
    pub patience: Duration,
    /// How long a planned restart may take.
    pub grace: Duration,
    /// After which silence survivors fence without corroboration.
    pub mass: Duration,
    /// After which silence of all peers a node that hears its gateway takes itself for the last survivor.
    pub lonely: Duration,
    /// How long a moved VIP is still served by its former holder.
    pub drain: Duration,
    /// ρ: the bound of this node's clock-rate error, in parts per million.
    pub rho: u32,
}

/// Times that do not fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    /// Detection would not hide in the gate time.
    #[error("gate time {gate:?} is too short for heartbeats each {beat:?}: it must be at least 4.5 of them")]
    Gate {
        /// D.
        gate: Duration,
        /// h.
        beat: Duration,
    },
    /// Heartbeats would be a flood.
    #[error("heartbeats each {0:?}: at least 10 ms apart")]
    Beat(Duration),
    /// One lost patch would end a right in api mode.
    #[error(
        "a lease of {lease:?} is too short: it must last for two renewals each {renew:?} and a time-out of {patience:?}"
    )]
    Lease {
        /// L.
        lease: Duration,
        /// R.
        renew: Duration,
        /// τ.
        patience: Duration,
    },
    /// The fallback after L would come before the gate has shut.
    #[error("a gate time of {gate:?} is longer than a third of the lease of {lease:?}")]
    Long {
        /// D.
        gate: Duration,
        /// L.
        lease: Duration,
    },
    /// Clocks that wrong cannot be waited for.
    #[error("a clock-rate error of {0} parts per million: at most {MAX_RHO}")]
    Rho(u32),
}

impl Timing {
    /// The profile `lan`.
    #[must_use]
    pub const fn lan() -> Self {
        Self::profile(500, 100, 20)
    }

    /// The profile `virtual`: virtual machines, whose processors come and go.
    #[must_use]
    pub const fn virtual_machines() -> Self {
        Self::profile(800, 160, 20)
    }

    /// The profile `fast-lan`.
    #[must_use]
    pub const fn fast_lan() -> Self {
        Self::profile(250, 50, 10)
    }

    const fn profile(gate: u64, beat: u64, margin: u64) -> Self {
        Self {
            gate: Duration::from_millis(gate),
            beat: Duration::from_millis(beat),
            margin: Duration::from_millis(margin),
            lease: Duration::from_secs(3),
            renew: Duration::from_millis(800),
            patience: Duration::from_millis(1_200),
            grace: Duration::from_secs(15),
            mass: Duration::from_millis(gate + gate / 2),
            lonely: Duration::from_secs(2),
            drain: Duration::from_secs(2),
            rho: 10_000,
        }
    }

    /// These times with another gate time or another interval of heartbeats.
    ///
    /// # Errors
    /// See [`Self::check`].
    pub fn with(self, gate: Option<Duration>, beat: Option<Duration>) -> Result<Self, TimingError> {
        let (gate, beat) = (gate.unwrap_or(self.gate), beat.unwrap_or(self.beat));
        let times = Self { gate, beat, mass: gate * 3 / 2, ..self };
        times.check().map(|()| times)
    }

    /// T: for how long an nftables gate stays open after each packet that keeps it so, min(300 ms, D − 2h), in whole
    /// milliseconds. It may shut so much later than its deadline, after a stop between check and send.
    #[must_use]
    pub fn nft(&self) -> Duration {
        let timeout = self.gate.saturating_sub(self.beat * 2).min(LONGEST_NFT);
        Duration::from_millis(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX))
    }

    /// How much later than its deadline a gate of this kind may shut after its process was stopped.
    pub(super) fn lateness(&self, gate: Gate) -> Duration {
        match gate {
            Gate::Bpf | Gate::None => Duration::ZERO,
            Gate::Nft => self.nft(),
        }
    }

    /// Checks that detection and fencing hide inside the gate time, and that one lost patch ends nothing.
    ///
    /// # Errors
    /// The inequality that does not hold.
    pub fn check(&self) -> Result<(), TimingError> {
        let Self { gate, beat, lease, renew, patience, rho, .. } = *self;
        if beat < Duration::from_millis(10) {
            return Err(TimingError::Beat(beat));
        }
        // 3.5 h of silence, and h for corroboration, patch and push.
        if gate < beat * 9 / 2 {
            return Err(TimingError::Gate { gate, beat });
        }
        if renew * 2 + patience > lease {
            return Err(TimingError::Lease { lease, renew, patience });
        }
        if gate * 3 > lease {
            return Err(TimingError::Long { gate, lease });
        }
        if rho > MAX_RHO { Err(TimingError::Rho(rho)) } else { Ok(()) }
    }

    /// The silence after which a heartbeat counts as missed for good: 3.5 h.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.beat * 7 / 2
    }

    /// What this node's clock must show for `time` to have passed on a clock of bound `rho`.
    pub(super) fn wait(&self, time: Duration, rho: u32, rules: Rules) -> Duration {
        let (ours, theirs) = (u64::from(self.rho), u64::from(rho.min(MAX_RHO)));
        let (more, less) = if rules.has(Rule::ExactFactor) {
            (MILLION + ours, MILLION - theirs)
        } else {
            (MILLION + 2 * ours.max(theirs), MILLION)
        };
        scale(time, more, less) + self.margin
    }

    /// What a clock of bound [`Self::rho`] may show, at most, while `time` passes on one of bound `known`: no more than
    /// `time`.
    pub(super) fn shrunk(&self, time: Duration, known: u32) -> Duration {
        let (more, less) = (MILLION - u64::from(self.rho.min(MAX_RHO)), MILLION - u64::from(known.min(MAX_RHO)));
        let nanos = time.as_nanos() * u128::from(more.min(less)) / u128::from(less);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// At least so much has passed on this node's clock when `age` has on one of bound `rho`.
    pub(super) fn at_least(&self, age: Duration, rho: u32) -> Duration {
        scale(age, MILLION - u64::from(self.rho.min(MAX_RHO)), MILLION + u64::from(rho.min(MAX_RHO)))
    }
}

/// `time · more / less`, rounded up.
fn scale(time: Duration, more: u64, less: u64) -> Duration {
    let nanos = (time.as_nanos() * u128::from(more)).div_ceil(u128::from(less));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profiles_keep_the_inequalities() {
        for profile in [Timing::lan(), Timing::virtual_machines(), Timing::fast_lan()] {
            assert_eq!(profile.check(), Ok(()));
        }
    }

    #[test]
    fn times_that_do_not_fit_are_refused_with_the_reason() {
        let lan = Timing::lan();
        let ms = Duration::from_millis;
        let refused = |timing: Timing| timing.check().unwrap_err().to_string();
        assert!(refused(Timing { beat: ms(120), ..lan }).contains("at least 4.5 of them"));
        assert!(refused(Timing { beat: ms(5), ..lan }).contains("10 ms"));
        assert!(refused(Timing { renew: ms(1_000), ..lan }).contains("two renewals"));
        assert!(refused(Timing { gate: ms(1_100), ..lan }).contains("third of the lease"));
        assert!(refused(Timing { rho: 300_000, ..lan }).contains("parts per million"));
    }

    #[test]
    fn times_of_ones_own_are_checked_and_the_rest_follows() {
        let ms = Duration::from_millis;
        let own = Timing::lan().with(Some(ms(400)), Some(ms(80))).unwrap();
        assert_eq!((own.gate, own.beat, own.mass, own.nft()), (ms(400), ms(80), ms(600), ms(240)));
        assert_eq!(Timing::lan().with(None, None), Ok(Timing::lan()));
        assert_eq!(Timing::lan().with(None, Some(ms(112))), Err(TimingError::Gate { gate: ms(500), beat: ms(112) }));
        assert_eq!([Timing::lan(), Timing::fast_lan()].map(|times| times.nft()), [ms(300), ms(150)]);
    }

    #[test]
    fn a_clock_that_is_slewed_more_than_others_know_shows_less() {
        let half = Duration::from_millis(500);
        assert_eq!(Timing::lan().shrunk(half, 10_000), half);
        let slewed = Timing { rho: 83_333, ..Timing::lan() };
        let shrunk = slewed.shrunk(half, 10_000);
        // At its slowest it shows this in as long as others give a clock at its slowest to show the whole.
        let real = shrunk.as_secs_f64() / (1.0 - 0.083_333);
        assert!((real - half.as_secs_f64() / 0.99).abs() < 1e-6, "{shrunk:?}");
    }

    #[test]
    fn the_factor_is_exact_and_rounded_up() {
        let timing = Timing { rho: 200_000, margin: Duration::ZERO, ..Timing::lan() };
        let second = Duration::from_secs(1);
        assert_eq!(timing.wait(second, 200_000, Rules::all()), Duration::from_millis(1_500));
        assert_eq!(timing.wait(second, 200_000, Rules::without(Rule::ExactFactor)), Duration::from_millis(1_400));
        assert_eq!(timing.at_least(Duration::from_millis(1_500), 200_000), second);
    }
}
