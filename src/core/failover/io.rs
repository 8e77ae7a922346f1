//! What goes into the machine, and what comes out of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::placement;
use crate::core::time::Time;
use crate::core::view::{Patch, Right, View};
use crate::wire::heartbeat::Packet;

/// A gate that never shuts: the deadline of who is alone.
pub const FOREVER: Time = Time(std::time::Duration::MAX);

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// A version of the view, from the watch or the answer to [`Effect::Read`].
    View {
        /// The object's resourceVersion.
        version: u64,
        /// The view.
        view: Arc<View>,
        /// It was the newest when it was asked for: the answer to a read that is not served from a cache.
        fresh: bool,
    },
    /// The answer to [`Effect::Patch`].
    Patched {
        /// The patch's.
        ticket: u64,
        /// What became of it.
        outcome: Outcome,
    },
    /// An authentic packet of this segment that was not seen before.
    Packet(Packet),
    /// The gateway answered [`Effect::ProbeGateway`].
    Gateway,
    /// The link to the segment has a carrier, or has lost it. It is taken to have one until this is said.
    Carrier(bool),
    /// The kernel slews this node's clock, by so many parts per million at most.
    Slew(u32),
    /// What the choice of successors needs beside the view.
    Placement(Arc<Placement>),
    /// A VIP of this node's is to go to another member.
    Move {
        /// The VIP's uid.
        uid: String,
        /// The other node.
        to: String,
    },
    /// The process is about to be replaced: keep everything for the next one.
    Restart,
    /// The node gives everything up and leaves.
    Leave,
}

/// What became of a patch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was committed.
    Applied {
        /// The version that it made.
        version: u64,
        /// The view after it.
        view: Arc<View>,
    },
    /// A test failed: it was not, and will not be, committed.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// What the choice of successors needs beside the view.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Placement {
    /// The VIPs by uid; one that is missing may go anywhere.
    pub vips: BTreeMap<String, placement::Vip>,
    /// The nodes by name; one that is missing has no labels and no barrier.
    pub nodes: BTreeMap<String, placement::Candidate>,
    /// The VIPs, by uid, that are taken over at the fence (`failoverPolicy: Fast`).
    pub fast: BTreeSet<String>,
    /// The VIPs, by uid, that are given up while the API does not answer (`onApiOutage: Release`).
    pub release: BTreeSet<String>,
    /// The VIPs, by uid, that no two nodes may serve at once (`exclusive: true`): moves break before they make.
    pub exclusive: BTreeSet<String>,
}

/// What the kernel is to do about a VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum VipState {
    /// Nothing: no address, no answers.
    Shut,
    /// Take packets for it, and stay silent about it.
    Accept,
    /// Answer for it.
    Claim,
}

/// Something to be done, in this order; a gate and a VIP's state are set before the next effect is looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// Send a packet.
    Send {
        /// The [`id`](crate::wire::heartbeat::id) of the receiver's name.
        to: u64,
        /// The packet.
        packet: Packet,
    },
    /// The segment's gate shuts at this instant of the boot clock; at once if it has passed.
    Gate(Time),
    /// A VIP's state in the gate, and with it its address.
    Set {
        /// The VIP's uid.
        uid: String,
        /// Its state.
        state: VipState,
    },
    /// Send a patch of the view; answer with [`Input::Patched`].
    Patch {
        /// To be given back.
        ticket: u64,
        /// Why.
        purpose: Purpose,
        /// The patch.
        patch: Patch,
    },
    /// Read the view past any cache; answer with [`Input::View`].
    Read,
    /// Ask the gateway for its address by unicast ARP.
    ProbeGateway,
    /// The process may go.
    Exit,
    /// Something worth a log line, a metric or an event.
    Report(Event),
}

/// Why a patch is sent; a closed set, for logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Purpose {
    /// The node takes a new epoch.
    Register,
    /// It says on what its right rests from now on.
    ChangeMode,
    /// It extends its right in api mode.
    Renew,
    /// It goes.
    Leave,
    /// Its right was taken, and it says that its gate has shut.
    Resign,
    /// It takes another's right.
    Fence,
    /// Former rights to what it has are closed.
    Trim,
    /// It gives up an address that is being deleted.
    Remove,
    /// It hands an address over.
    Move,
    /// It passes on what a restored store left with a node that does not come back.
    Bequeath,
    /// It writes again what a restored store has forgotten.
    Restore,
}

/// Of the patches in one lane one is waited for: a newer one means that the former is not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// About this node's own right.
    Own,
    /// About another's.
    Fence,
    /// About addresses.
    House,
}

impl Purpose {
    /// The lane of a patch.
    #[must_use]
    pub const fn lane(self) -> Lane {
        match self {
            Self::Register | Self::ChangeMode | Self::Renew | Self::Leave | Self::Resign | Self::Restore => Lane::Own,
            Self::Fence => Lane::Fence,
            Self::Trim | Self::Remove | Self::Move | Self::Bequeath => Lane::House,
        }
    }
}

/// Something worth knowing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A member is silent.
    Suspected(String),
    /// It is not.
    Refuted(String),
    /// A VIP is claimed; with `fallback` a former right to it is taken for over because too few of its watchers answer.
    Claimed {
        /// The VIP's uid.
        uid: String,
        /// See there.
        fallback: bool,
        /// Who had it before, if the view still says so.
        from: Option<Right>,
        /// How long that node has not been heard; zero for one that let go by itself.
        silent: Duration,
    },
    /// This node's right was taken from it, or given up.
    Lost,
    /// This node's gate has shut for want of evidence.
    SelfFenced,
    /// A VIP is given up because the API does not answer, as it was asked for (`onApiOutage: Release`).
    ApiOutage {
        /// The VIP's uid.
        uid: String,
    },
    /// Another member is heard again after a silence in which this node could have been succeeded: whatever it still has
    /// the right to hold is announced again.
    Reunited,
}
