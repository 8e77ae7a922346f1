//! What a right rests on, and which evidence that allows.

use std::collections::BTreeMap;

use super::io::FOREVER;
use crate::core::time::Time;
use crate::core::view::{Member, Mode};
use crate::wire::heartbeat::id;

/// What a right rests on: a registration that is, or may be, in the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Footing {
    pub(super) mode: Mode,
    /// The member's `modeSeq` with it.
    pub(super) seq: u64,
    pub(super) names: BTreeMap<String, u64>,
    pub(super) watchers: Vec<u64>,
    /// Until when the API, or the grace, extends the right under this registration.
    pub(super) until: Time,
}

impl Footing {
    pub(super) fn new(mode: Mode, seq: u64, names: &BTreeMap<String, u64>, until: Time) -> Self {
        let watchers = names.keys().map(|name| id(name)).collect();
        Self { mode, seq, names: names.clone(), watchers, until }
    }

    pub(super) fn of(member: &Member) -> Self {
        Self::new(member.mode, member.mode_seq, &member.watchers, Time::ZERO)
    }

    /// The same registration, whatever is known of its evidence.
    pub(super) fn is(&self, other: &Self) -> bool {
        (self.mode, self.seq) == (other.mode, other.seq) && self.names == other.names
    }

    /// Until when the right lasts, if the watchers' evidence lasts until `peers`.
    pub(super) fn allows(&self, peers: Time) -> Time {
        match self.mode {
            Mode::Peers => peers,
            Mode::Api | Mode::Grace => peers.max(self.until),
            Mode::Solo => FOREVER,
        }
    }
}
