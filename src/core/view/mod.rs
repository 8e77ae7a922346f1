//! The view of a segment: who is a member, who holds what, who was fenced. One object, one write per failover.
//!
//! Everything is a map, for a JSON Patch tests presence by path and cannot test absence. Three rules make its patches
//! safe to build from a view that is already old:
//! - who changes an assignment tests and raises the `rev` of the members it names before and after (JSON Patch cannot
//!   increment, so a raise without a test could be lost), hence a fence never moves a stale list;
//! - an assignment that names nobody is changed only under a test of its whole value;
//! - what adds a name that was not there (a member, a first grant) tests and raises `counter`, hence two writers
//!   cannot both add it.

mod batch;
mod cause;
mod members;
mod patch;
mod remake;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::net::Mac;

pub use batch::Step;
pub use cause::Cause;
pub use members::Registration;
pub use patch::{Op, Patch, PatchError, ROOT, pointer};
pub use write::Grant;

/// The number of nodes that watch a node, if there are so many others.
pub const WATCHERS: usize = 3;

/// A node's permission to hold addresses in a segment. A node that loses it gets another epoch, never the same again.
/// Its text is `node/epoch`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Right {
    /// The node's name.
    pub node: String,
    /// The epoch that it took from the view's counter.
    pub epoch: u64,
}

impl Right {
    /// The right of this node at this epoch.
    #[must_use]
    pub fn new(node: impl Into<String>, epoch: u64) -> Self {
        Self { node: node.into(), epoch }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.epoch)
    }
}

/// A text that names no right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no right: a node's name, '/' and its epoch, as node-a/3")]
pub struct RightError(String);

impl FromStr for Right {
    type Err = RightError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.rsplit_once('/')
            .filter(|(node, _)| !node.is_empty())
            .and_then(|(node, epoch)| Some(Self::new(node, epoch.parse().ok()?)))
            .ok_or_else(|| RightError(text.to_owned()))
    }
}

impl TryFrom<String> for Right {
    type Error = RightError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Right> for String {
    fn from(right: Right) -> Self {
        right.to_string()
    }
}

/// Whether a member may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
pub enum State {
    /// It may, while it has evidence.
    #[default]
    Up,
    /// Its epoch was taken from it; it may come back with another.
    Fenced,
    /// It shut its gate and went.
    Left,
}

/// What a member's right to hold rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Acknowledgements of a quorum of its watchers.
    #[default]
    Peers,
    /// Patches of the view that succeeded.
    Api,
    /// A planned restart: a bounded time without evidence.
    Grace,
    /// It is the only member.
    Solo,
}

/// What shuts a member's addresses off when its right ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Gate {
    /// An absolute deadline in the packet path.
    #[default]
    Bpf,
    /// A relative time in the packet path: it may be late by that time after a stop.
    Nft,
    /// Nothing.
    None,
}

/// A node of the segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The epoch of its right.
    pub epoch: u64,
    /// Whether it may hold.
    pub state: State,
    /// What its right rests on.
    pub mode: Mode,
    /// Counts the changes of `mode` and of `watchers`, over all epochs.
    pub mode_seq: u64,
    /// Counts the changes of assignments that name it, over all epochs.
    pub rev: u64,
    /// Counts the extensions in api mode.
    #[serde(default)]
    pub renewed: u64,
    /// The nodes whose acknowledgements it counts, each with the epoch that it had when it was chosen.
    #[serde(default)]
    pub watchers: BTreeMap<String, u64>,
    /// Where its heartbeats come from and go to, on the segment's interface.
    pub address: IpAddr,
    /// The UDP port there.
    pub port: u16,
    /// The Ethernet address of the interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub mac: Option<Mac>,
    /// The name of the segment's interface on this node.
    pub interface: String,
    /// The kernel's boot id: another one means that nothing of the node's former gate is left.
    pub boot_id: String,
    /// What shuts its addresses off.
    pub gate: Gate,
    /// Bound of its clock's rate error, in parts per million.
    pub rho: u32,
    /// Whether its addresses are to be moved away.
    #[serde(default)]
    pub draining: bool,
}

/// Why a former right stands before an assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum After {
    /// It was fenced: closed by evidence about its watchers, or by its own word.
    Fenced,
    /// The address was moved away from it by agreement: closed by its own word, or once it is fenced and closed.
    Moved,
}

/// Who has an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// The VirtualIP, `namespace/name`.
    pub name: String,
    /// The right that may claim it; none if no member is eligible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Right>,
    /// The former rights that must be closed before it may be claimed.
    #[serde(default)]
    pub after: BTreeMap<Right, After>,
    /// Whether the VirtualIP is being deleted: the holder gives it up, then removes this entry.
    #[serde(default)]
    pub releasing: bool,
    /// Why it came to its holder.
    #[serde(default)]
    pub cause: Cause,
}

/// A right that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fence {
    /// Who took it.
    pub by: Right,
    /// The mode that the victim was registered in.
    pub mode: Mode,
}

/// The state of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// The highest epoch given out; also raised by each first grant.
    #[serde(default)]
    pub counter: u64,
    /// Whether everything is to be given up: the software is being uninstalled.
    #[serde(default)]
    pub withdraw: bool,
    /// The on-link prefixes of the segment, in canonical text, each with the node that recorded it.
    #[serde(default)]
    pub prefixes: BTreeMap<String, String>,
    /// The members by node name.
    #[serde(default)]
    pub members: BTreeMap<String, Member>,
    /// The assignments by uid of the VirtualIP.
    #[serde(default)]
    pub assign: BTreeMap<String, Assignment>,
    /// The fences that some `after` names.
    #[serde(default)]
    pub fences: BTreeMap<Right, Fence>,
}

/// Why a patch was not built: the view already says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// No member of that name.
    #[error("{0} is no member of the segment")]
    NoMember(String),
    /// The member has another epoch, or is fenced or gone.
    #[error("{right} is not up: the member is {state:?} at epoch {epoch}")]
    NotUp {
        /// The right asked about.
        right: Right,
        /// The member's state.
        state: State,
        /// The member's epoch.
        epoch: u64,
    },
    /// The member has another epoch, or is not fenced.
    #[error("{right} is not fenced: the member is {state:?} at epoch {epoch}")]
    NotFenced {
        /// The right asked about.
        right: Right,
        /// The member's state.
        state: State,
        /// The member's epoch.
        epoch: u64,
    },
    /// No such assignment.
    #[error("no assignment {0}")]
    NoAssignment(String),
    /// The assignment names another right, or one where none was expected.
    #[error("assignment {uid} is held by {holder:?}")]
    HeldBy {
        /// The assignment.
        uid: String,
        /// Who holds it.
        holder: Option<Right>,
    },
    /// The assignment cannot go: these rights are not closed.
    #[error("assignment {uid} waits for {after:?}")]
    NotClosed {
        /// The assignment.
        uid: String,
        /// What it waits for.
        after: Vec<Right>,
    },
    /// A solo registration beside another member that may hold, or while another right is named.
    #[error("{node} is not alone: {other} is there")]
    NotAlone {
        /// Who asked.
        node: String,
        /// Another member or right.
        other: String,
    },
    /// The member is in another mode than the change starts from.
    #[error("{right} is in mode {mode:?}")]
    WrongMode {
        /// The right asked about.
        right: Right,
        /// Its mode.
        mode: Mode,
    },
    /// The victim would succeed itself.
    #[error("{0} cannot succeed itself")]
    OwnSuccessor(Right),
}

/// The quorum of `watchers`: half of them, rounded up. Any quorum and any [`closing_count`] of them share a watcher.
#[must_use]
pub const fn quorum(watchers: usize) -> usize {
    watchers.div_ceil(2)
}

/// How many of `watchers` must say that they acknowledge no more, so that no quorum of them can.
#[must_use]
pub const fn closing_count(watchers: usize) -> usize {
    watchers - quorum(watchers) + 1
}

impl View {
    /// The member, if it is up at this epoch.
    ///
    /// # Errors
    /// [`ViewError::NoMember`], [`ViewError::NotUp`].
    pub fn up(&self, right: &Right) -> Result<&Member, ViewError> {
        let member = self.members.get(&right.node).ok_or_else(|| ViewError::NoMember(right.node.clone()))?;
        if member.state == State::Up && member.epoch == right.epoch {
            Ok(member)
        } else {
            Err(ViewError::NotUp { right: right.clone(), state: member.state, epoch: member.epoch })
        }
    }

    /// The right of a member that is up.
    #[must_use]
    pub fn right_of(&self, node: &str) -> Option<Right> {
        self.members.get(node).filter(|m| m.state == State::Up).map(|m| Right::new(node, m.epoch))
    }

    /// The assignments that name this right.
    pub fn held_by<'a>(&'a self, right: &'a Right) -> impl Iterator<Item = (&'a String, &'a Assignment)> {
        self.assign.iter().filter(move |(_, entry)| entry.holder.as_ref() == Some(right))
    }

    /// The watchers that a node should have: the next up to [`WATCHERS`] members that are up, round the ring of names.
    #[must_use]
    pub fn watchers_for(&self, node: &str) -> BTreeMap<String, u64> {
        let after = self.members.range::<str, _>((std::ops::Bound::Excluded(node), std::ops::Bound::Unbounded));
        let before = self.members.range::<str, _>((std::ops::Bound::Unbounded, std::ops::Bound::Excluded(node)));
        after
            .chain(before)
            .filter(|(_, member)| member.state == State::Up)
            .take(WATCHERS)
            .map(|(name, member)| (name.clone(), member.epoch))
            .collect()
    }

    /// Whether the view itself shows that a right can never be used again: its node took a later epoch, which it does
    /// only after its gate has shut, or left at this one.
    #[must_use]
    pub fn is_over(&self, right: &Right) -> bool {
        self.members.get(&right.node).is_none_or(|member| {
            member.epoch > right.epoch || (member.epoch == right.epoch && member.state == State::Left)
        })
    }

    /// The members with their rights that are up.
    pub fn up_members(&self) -> impl Iterator<Item = (&String, &Member)> {
        self.members.iter().filter(|(_, member)| member.state == State::Up)
    }
}

#[cfg(test)]
mod tests;
