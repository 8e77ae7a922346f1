//! What a node knows from the start, what it is told, and what it asks for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::core::failover::VipState;
use crate::core::keeper;
use crate::core::membership::Purpose;
use crate::core::view::{Gate, Patch, Registration, View};

/// What does not change while the agent runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The node's name.
    pub node: String,
    /// The kernel's boot id.
    pub boot_id: String,
    /// The UDP port of heartbeats.
    pub port: u16,
    /// What shuts the node's addresses off when its right ends.
    pub gate: Gate,
    /// Segments that a person named, by interface.
    pub named: BTreeMap<String, String>,
    /// Whether a failover machine decides in each segment what may be held and writes the view; otherwise the node
    /// holds what is assigned to it, as long as it is the only member ([`crate::core::membership`]).
    pub guarded: bool,
}

/// A VirtualIP that has an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vip {
    /// Namespace and name, for people.
    pub name: String,
    /// The address.
    pub ip: IpAddr,
    /// The interface asked for, a name or a glob.
    pub interface: Option<String>,
}

/// A view as the store has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Versioned {
    /// The object's identity: another one was made anew.
    pub uid: String,
    /// The object's resource version; a number, or nothing that can be compared.
    pub version: String,
    /// The view.
    pub view: View,
}

impl Versioned {
    /// Whether it is an older state of the same object than `other`; never, where the store's versions are no numbers.
    pub(super) fn is_older_than(&self, other: &Self) -> bool {
        let number = |text: &str| text.parse::<u64>().ok();
        self.uid == other.uid
            && number(&self.version).zip(number(&other.version)).is_some_and(|(mine, theirs)| mine < theirs)
    }
}

/// A change to a set of named things.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Set<T> {
    /// All there is.
    All(BTreeMap<String, T>),
    /// One is new or different.
    One(String, T),
    /// One is gone.
    Gone(String),
}

/// What the node is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// The VirtualIPs that have an address, by uid.
    Vips(Set<Vip>),
    /// The views, by segment.
    Views(Set<Versioned>),
    /// A [`Effect::Create`] or [`Effect::Write`] is over.
    Written {
        /// The segment.
        segment: String,
        /// Whether it was done.
        applied: bool,
        /// The view as it is now, if it could be read.
        view: Option<Versioned>,
    },
    /// The failover machine of a segment runs, with what the gate of a former process lets pass.
    Started {
        /// The segment.
        segment: String,
        /// The states by uid.
        vips: BTreeMap<String, VipState>,
    },
    /// The gate lets a VIP pass as this state says.
    Set {
        /// The VIP's uid.
        uid: String,
        /// The state.
        state: VipState,
    },
    /// The failover machine of a segment has given everything up.
    Left(String),
    /// The kernel, the segment or a step.
    Kernel(keeper::Input),
    /// The node shall give up all it has and leave every segment.
    Leave,
}

/// What the node asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// Make the view of a segment; answered by [`Input::Written`], with the view that is there then.
    Create(String),
    /// Patch the view of a segment; answered by [`Input::Written`].
    Write {
        /// The segment.
        segment: String,
        /// Why, for logs and metrics.
        purpose: Purpose,
        /// The patch, relative to the view.
        patch: Patch,
    },
    /// Run a failover machine for a segment, or give it the node's new place there; answered by [`Input::Started`].
    Join {
        /// The segment.
        segment: String,
        /// The node as it registers.
        me: Registration,
    },
    /// The address of a VIP that the gate shuts stands here no more: the gate may forget it.
    Forget(IpAddr),
    /// Something to do below, or to report.
    Kernel(keeper::Effect),
}
