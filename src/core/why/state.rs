//! How it stands with an agent: what it says of itself when it is asked.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::failover::Pulse;
use crate::core::net::Mac;
use crate::core::time::millis;

/// An agent as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentState {
    /// The node's name.
    pub node: String,
    /// Whether a gate shuts its addresses off when its right ends.
    pub guarded: bool,
    /// The segments that it watches over, with a gate, by name.
    pub segments: BTreeMap<String, SegmentState>,
    /// The VIPs that it may hold, by uid.
    pub vips: BTreeMap<String, VipState>,
}

/// Its part in a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentState {
    /// At most a second old.
    #[serde(flatten)]
    pub pulse: Pulse,
    /// The least time that was left to the gate in the second before, in milliseconds.
    #[serde(with = "millis::option")]
    pub margin: Option<Duration>,
}

/// A VIP that it may hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipState {
    /// `Held`, or why not: a word from a closed set ([`crate::core::keeper::Waiting::reason`]).
    pub reason: String,
    /// The same for people.
    pub message: String,
    /// Who else claims it.
    pub conflict: Option<Mac>,
    /// Whether its health check fails; `None` if it has none, or none has been run.
    pub failing: Option<bool>,
}
