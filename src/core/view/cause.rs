//! Why addresses change hands.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why an address came to whom it is assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
pub enum Cause {
    /// Nobody had it before.
    #[default]
    Granted,
    /// The node that had it was taken for lost, and fenced.
    NodeLost,
    /// The node that had it went by itself.
    NodeLeft,
    /// The node that had it is cordoned, tainted or drained.
    Drained,
    /// Its health check failed there.
    Unhealthy,
    /// The node that had it may not have it any more: its labels, its interface, its endpoints or the address's wishes
    /// have changed.
    Ineligible,
    /// It goes back to a node that it prefers.
    Preferred,
    /// Somebody asked for it.
    Requested,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Granted,
        Self::NodeLost,
        Self::NodeLeft,
        Self::Drained,
        Self::Unhealthy,
        Self::Ineligible,
        Self::Preferred,
        Self::Requested,
    ];

    /// A word in UpperCamelCase that does not change between versions; it is also the word in the view.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "Granted",
            Self::NodeLost => "NodeLost",
            Self::NodeLeft => "NodeLeft",
            Self::Drained => "Drained",
            Self::Unhealthy => "Unhealthy",
            Self::Ineligible => "Ineligible",
            Self::Preferred => "Preferred",
            Self::Requested => "Requested",
        }
    }
}
