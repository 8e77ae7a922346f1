//! Why a node has an address, why each other node has not, and who would have it if that node died now.
//!
//! From what the store says, and from what agents say of themselves where they answer.

mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::state::{AgentState, SegmentState, VipState};
use super::controller::{Node, READY, Standing};
use super::failover::PeerPulse;
use super::placement::{self, Candidate, Failback, Rejection, choose};
use super::time::millis;
use super::view::{After, Assignment, Cause, Gate, Mode, Right, State, View};

/// What agents said, by node: their state, or why there is none.
pub type Said = BTreeMap<String, Result<AgentState, String>>;

/// The explanation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Namespace and name.
    pub vip: String,
    /// The address, if it has one.
    pub address: Option<IpAddr>,
    /// The segment where it is, or would be put.
    pub segment: Option<String>,
    /// What the condition `Ready` says.
    pub ready: Option<Ready>,
    /// Who has it.
    pub holder: Option<HolderSays>,
    /// The former rights that must be closed before the holder may answer.
    pub waits_for: BTreeMap<Right, After>,
    /// Every other node, and why it has not.
    pub others: BTreeMap<String, Other>,
    /// What would happen if the holder died now.
    pub if_lost: Option<IfLost>,
}

/// What the condition `Ready` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Whether it holds.
    pub holds: bool,
    /// Its reason.
    pub reason: String,
    /// Its message.
    pub message: String,
}

/// The node that has an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HolderSays {
    /// Its name.
    pub node: String,
    /// The epoch of its right.
    pub epoch: u64,
    /// Why the address came to it.
    pub cause: Cause,
    /// What its right rests on.
    pub mode: Mode,
    /// The nodes whose acknowledgements count in mode peers.
    pub watchers: Vec<String>,
    /// What shuts its addresses off.
    pub gate: Gate,
    /// The interface.
    pub interface: String,
    /// What its agent says.
    pub agent: HolderAgent,
}

/// What the agent of the holder says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HolderAgent {
    /// It does not answer, and why.
    Silent(String),
    /// It answers.
    #[serde(rename_all = "camelCase")]
    Says {
        /// What it does with the address.
        vip: Option<VipState>,
        /// The age of its newest evidence, in milliseconds.
        #[serde(with = "millis::option")]
        evidence_age: Option<Duration>,
        /// The time left to its gate, in milliseconds; absent for one that never shuts.
        #[serde(with = "millis::option")]
        gate_left: Option<Duration>,
        /// The least of it in the second before, in milliseconds.
        #[serde(with = "millis::option")]
        margin: Option<Duration>,
    },
}

/// A node that has not the address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Other {
    /// Why.
    pub reason: Rejection,
    /// The same for people.
    pub message: String,
    /// Why its agent does not answer, if it does not and should.
    pub agent: Option<String>,
}

/// What would happen if the holder died now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IfLost {
    /// Who would answer; `None` if nobody may, or a person must act.
    pub successor: Option<String>,
    /// About how long nobody would, in milliseconds; `None` if no agent that answers says its times.
    #[serde(with = "millis::option")]
    pub within: Option<Duration>,
    /// Why that long, or why nobody.
    pub message: String,
}

/// The time from the fence until a right in mode api is over, before the clocks' error (DESIGN 5.3).
const LEASE: Duration = Duration::from_secs(3);
/// The same in mode grace.
const GRACE: Duration = Duration::from_secs(15);

/// Explains.
#[must_use]
pub fn explain(standing: &Standing, said: &Said) -> Explanation {
    let uid = &standing.vip.meta.uid;
    let view = standing.segment.as_ref().map(|(_, view)| view);
    let entry = view.and_then(|view| view.assign.get(uid));
    let holder = view.zip(entry).and_then(|(view, entry)| holder(standing, view, entry, said));
    let ready = standing.vip.status.condition(READY);
    Explanation {
        vip: standing.vip.meta.name.clone(),
        address: standing.vip.status.address,
        segment: standing.segment.as_ref().map(|(name, _)| name.clone()),
        ready: ready.map(|ready| Ready {
            holds: ready.holds,
            reason: ready.reason.clone(),
            message: ready.message.clone(),
        }),
        if_lost: holder.as_ref().zip(view).map(|(holder, view)| if_lost(standing, view, holder, said)),
        waits_for: entry.map(|entry| entry.after.clone()).unwrap_or_default(),
        others: others(standing, view, holder.as_ref().map(|holder| holder.node.as_str()), said),
        holder,
    }
}

fn holder(standing: &Standing, view: &View, entry: &Assignment, said: &Said) -> Option<HolderSays> {
    let right = entry.holder.as_ref()?;
    let member = view.members.get(&right.node)?;
    let segment = standing.segment.as_ref().map(|(name, _)| name.as_str()).unwrap_or_default();
    let agent = match said.get(&right.node) {
        Some(Ok(state)) => {
            let here = state.segments.get(segment);
            HolderAgent::Says {
                vip: state.vips.get(&standing.vip.meta.uid).cloned(),
                evidence_age: here.and_then(|here| here.pulse.evidence_age),
                gate_left: here.and_then(|here| here.pulse.gate_left),
                margin: here.and_then(|here| here.margin),
            }
        }
        Some(Err(why)) => HolderAgent::Silent(why.clone()),
        None => HolderAgent::Silent("it was not asked".to_owned()),
    };
    Some(HolderSays {
        node: right.node.clone(),
        epoch: right.epoch,
        cause: entry.cause,
        mode: member.mode,
        watchers: member.watchers.keys().cloned().collect(),
        gate: member.gate,
        interface: member.interface.clone(),
        agent,
    })
}

/// What the agents that answer know of a node.
fn heard<'a>(standing: &'a Standing, node: &'a str, said: &'a Said) -> impl Iterator<Item = (&'a PeerPulse, Duration)> {
    let segment = standing.segment.as_ref().map(|(name, _)| name.as_str()).unwrap_or_default();
    said.values().filter_map(move |state| {
        let pulse = &state.as_ref().ok()?.segments.get(segment)?.pulse;
        Some((pulse.peers.get(node)?, pulse.suspicion))
    })
}

/// Whether all agents that answer and should hear a node do not.
fn is_silent(standing: &Standing, node: &str, said: &Said) -> bool {
    let deaf = |(peer, patience): (&PeerPulse, Duration)| {
        peer.suspected || peer.silent.is_none_or(|silent| silent >= patience)
    };
    let mut all = heard(standing, node, said).map(deaf).peekable();
    all.peek().is_some() && all.all(|deaf| deaf)
}

fn others(standing: &Standing, view: Option<&View>, holder: Option<&str>, said: &Said) -> BTreeMap<String, Other> {
    let mut unheld = standing.asker.clone();
    unheld.holder = None;
    let free = choose(&unheld, &standing.candidates, &standing.load);
    let mut others = BTreeMap::new();
    for candidate in standing.candidates.iter().filter(|candidate| holder != Some(candidate.name.as_str())) {
        let name = candidate.name.as_str();
        let eligible = || match holder {
            Some(_) if free.node == Some(name) => Rejection::HeldElsewhere,
            _ => free.others.get(name).copied().unwrap_or(Rejection::HeldElsewhere),
        };
        let reason = match placement::rejection(&standing.asker, candidate) {
            Some(reason) => reason,
            None if is_silent(standing, name, said) => Rejection::Silent,
            None => eligible(),
        };
        let up = view.and_then(|view| view.members.get(name)).is_some_and(|member| member.state == State::Up);
        let agent = said.get(name).and_then(|said| said.as_ref().err()).filter(|_| up).cloned();
        let message = message(reason, standing.asker.failback);
        others.insert(name.to_owned(), Other { reason, message, agent });
    }
    for (name, node) in standing.nodes.iter().filter(|(name, _)| holder != Some(name.as_str())) {
        others.entry(name.clone()).or_insert_with(|| {
            let reason = absent(node, &standing.asker);
            Other { reason, message: message(reason, standing.asker.failback), agent: None }
        });
    }
    others
}

/// Why a node that is no member has not the address: what would keep it away also as a member comes first.
fn absent(node: &Node, asker: &placement::Vip) -> Rejection {
    let selected = asker.node_selector.as_ref().is_none_or(|selector| selector.matches(&node.labels));
    if selected { Rejection::NotOnSegment } else { Rejection::NodeSelector }
}

fn message(reason: Rejection, failback: Failback) -> String {
    match (reason, failback) {
        (Rejection::HeldElsewhere, Failback::Never) => {
            "it may have it, and would be chosen; the address does not move without need (failback: Never)".to_owned()
        }
        (Rejection::HeldElsewhere, Failback::WhenPreferred) => {
            "it may have it; the address moves only to a node of greater weight".to_owned()
        }
        (reason, _) => reason.explain().to_owned(),
    }
}

/// The same choice as that of the node that would fence the holder.
fn if_lost(standing: &Standing, view: &View, holder: &HolderSays, said: &Said) -> IfLost {
    let nobody = |message: &str| IfLost { successor: None, within: None, message: message.to_owned() };
    if holder.mode == Mode::Solo {
        return nobody("the holder is alone on the segment: nobody would take over before it, or a person, says so");
    }
    let able = |candidate: &&Candidate| {
        let member = view.members.get(&candidate.name);
        candidate.name != holder.node
            && member.is_some_and(|member| member.state == State::Up && !member.draining && member.gate != Gate::None)
            && !is_silent(standing, &candidate.name, said)
    };
    let candidates: Vec<Candidate> = standing.candidates.iter().filter(able).cloned().collect();
    let chosen = placement::successors(standing.askers.iter().cloned(), &candidates, &standing.load);
    let Some(successor) = chosen.get(&standing.vip.meta.uid) else {
        return nobody("no other node may have it: it would wait until one may");
    };
    let segment = standing.segment.as_ref().map(|(name, _)| name.as_str()).unwrap_or_default();
    let takeover =
        said.values().filter_map(|state| Some(state.as_ref().ok()?.segments.get(segment)?.pulse.takeover)).max();
    let (more, message) = match holder.mode {
        Mode::Peers => (Duration::ZERO, "once enough of its watchers have been silent for the gate time"),
        Mode::Api => (LEASE, "its right rests on the API at the moment, which lasts for 3 s from its fence"),
        Mode::Grace => (GRACE, "it is being restarted, and is waited for for 15 s"),
        Mode::Solo => (Duration::ZERO, ""),
    };
    IfLost {
        successor: Some((*successor).to_owned()),
        within: takeover.map(|takeover| takeover + more),
        message: message.to_owned(),
    }
}
