//! What the agent tells people: status, events, metrics and one log line a transition.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::watches::Watched;
use crate::api::kind::Kind;
use crate::api::{Holder, LastFailover, NodeHealth};
use crate::core::health::{Outcome, Record};
use crate::core::keeper::Holding;
use crate::core::net::Mac;
use crate::store::{Event, EventType, SharedStore, StoreError};

/// The field manager of what an agent writes.
pub(super) const MANAGER: &str = "vipkeeper-agent";

/// How many statuses are written at a time, to a server that many share.
const AT_ONCE: usize = 8;
/// The same to a store of this machine alone, which makes what waits together durable at once.
const AT_ONCE_LOCAL: usize = 512;

/// How long to wait before a status that the store did not take is written again.
const AGAIN: Duration = Duration::from_secs(2);

/// Something to write about one VirtualIP; of several that wait, only the last status is written.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) uid: String,
    pub(super) vip: Watched,
    pub(super) status: Option<Value>,
    pub(super) event: Option<Event>,
}

/// A host that claims an address of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim(pub(super) Mac);

/// What a node knows of a VIP that it may hold.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Who holds it, if this node does.
    pub(super) holder: Option<Holder>,
    pub(super) conflict: Option<Claim>,
    pub(super) verdict: Option<Verdict>,
    /// How it came here, if it just did.
    pub(super) failover: Option<LastFailover>,
}

/// What the health check of a VIP found on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) record: Record,
    pub(super) outcome: Outcome,
}

/// The status of a VIP that this node may hold.
pub(super) fn status(vip: &Watched, node: &str, known: Known, now: Timestamp) -> Value {
    let (state, reason, message) = match known.conflict {
        Some(Claim(mac)) => ("True", "ClaimedByOther", format!("{mac} claims {} too", vip.ip)),
        None => ("False", "NoOtherClaim", "no other host claims the address".to_owned()),
    };
    let mut conditions = vec![condition(vip, "Conflict", state, reason, message, now)];
    if let Some(check) = &vip.check {
        let (state, reason, message) = match known.verdict {
            None => ("Unknown", "NotChecked", format!("{}: {node} has not asked yet", check.ask)),
            Some(Verdict { record, outcome }) if record.failing => {
                ("False", "CheckFails", format!("{} fails on {node}: {outcome}", check.ask))
            }
            Some(_) => ("True", "CheckPasses", format!("{} passes on {node}", check.ask)),
        };
        conditions.push(condition(vip, "Healthy", state, reason, message, now));
    }
    let mut status = json!({ "conditions": conditions });
    let health = health(vip, node, known.verdict);
    if !health.is_empty() {
        status["health"] = json!(health);
    }
    if let Some(holder) = known.holder {
        status["holder"] = json!(holder);
    }
    if let Some(failover) = known.failover.as_ref().or(vip.status.last_failover.as_ref()) {
        status["lastFailover"] = json!(failover);
    }
    status
}

fn condition(vip: &Watched, kind: &str, state: &str, reason: &str, message: String, now: Timestamp) -> Condition {
    let before = vip.status.conditions.iter().find(|condition| condition.type_ == kind);
    let since = before.filter(|condition| condition.status == state).map(|c| c.last_transition_time.clone());
    Condition {
        type_: kind.to_owned(),
        status: state.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: since.unwrap_or(Time(now)),
        observed_generation: None,
    }
}

/// The nodes on which the check has failed: the others as they are, and this one. A node that has only begun to hold the
/// address does not fail, whatever it did the last time.
fn health(vip: &Watched, node: &str, verdict: Option<Verdict>) -> Vec<NodeHealth> {
    if vip.check.is_none() {
        return Vec::new();
    }
    let record = verdict.map_or_else(|| Record { failing: false, failures: failures(vip, node) }, |v| v.record);
    let others = vip.status.health.iter().filter(|one| one.node != node).cloned();
    let own = NodeHealth { node: node.to_owned(), failing: record.failing, failures: record.failures };
    let mut all: Vec<NodeHealth> = others.chain((own.failing || own.failures > 0).then_some(own)).collect();
    all.sort_by(|a, b| a.node.cmp(&b.node));
    all
}

/// How often the check of a VIP has failed on a node.
pub(super) fn failures(vip: &Watched, node: &str) -> u32 {
    vip.status.health.iter().find(|one| one.node == node).map_or(0, |one| one.failures)
}

/// Who holds the VIP, as the status says it: unchanged, if it says so already.
pub(super) fn holder(vip: &Watched, node: &str, epoch: u64, holding: &Holding, now: Timestamp) -> Option<Holder> {
    let Holding::Held { interface, mac, .. } = holding else { return None };
    let new = Holder {
        node: node.to_owned(),
        interface: interface.clone(),
        mac: mac.map(|mac| mac.to_string()).unwrap_or_default(),
        epoch: i64::try_from(epoch).unwrap_or(i64::MAX),
        since: Time(now),
    };
    let same = vip.status.holder.as_ref().filter(|old| {
        (&old.node, &old.interface, &old.mac, old.epoch) == (&new.node, &new.interface, &new.mac, new.epoch)
    });
    Some(same.cloned().unwrap_or(new))
}

/// An event about a VIP.
pub(super) fn event(
    uid: &str,
    vip: &Watched,
    event_type: EventType,
    reason: &'static str,
    message: impl Into<String>,
) -> Event {
    Event {
        kind: Kind::VirtualIP,
        key: vip.key.clone(),
        uid: uid.to_owned(),
        event_type,
        reason,
        message: message.into(),
    }
}

/// Writes reports until the channel closes and all are written, and tries again what the store did not take.
pub(super) async fn write(store: SharedStore, mut reports: UnboundedReceiver<Report>) {
    let mut waiting: BTreeMap<String, Report> = BTreeMap::new();
    let mut events: VecDeque<Event> = VecDeque::new();
    let mut running: JoinSet<Option<Report>> = JoinSet::new();
    let mut busy: BTreeSet<String> = BTreeSet::new();
    let mut open = true;
    let at_once = if store.server().is_some() { AT_ONCE } else { AT_ONCE_LOCAL };
    while open || !waiting.is_empty() || !running.is_empty() || !events.is_empty() {
        while running.len() < at_once {
            if let Some(event) = events.pop_front() {
                let store = SharedStore::clone(&store);
                running.spawn(async move {
                    if let Err(error) = store.record(event).await {
                        debug!(%error, "an event was not recorded");
                    }
                    None
                });
                continue;
            }
            let Some(uid) = waiting.keys().find(|uid| !busy.contains(*uid)).cloned() else { break };
            if let Some(report) = waiting.remove(&uid) {
                busy.insert(uid);
                running.spawn(write_one(SharedStore::clone(&store), report, open));
            }
        }
        tokio::select! {
            report = reports.recv(), if open => match report {
                Some(mut report) => {
                    events.extend(report.event.take());
                    if report.status.is_some() {
                        waiting.insert(report.uid.clone(), report);
                    }
                }
                None => open = false,
            },
            Some(done) = running.join_next(), if !running.is_empty() => {
                if let Ok(Some(report)) = done {
                    busy.remove(&report.uid);
                    if report.status.is_some() && open {
                        waiting.entry(report.uid.clone()).or_insert(report);
                    }
                }
            },
        }
    }
}

/// Writes a status; what comes back with one is to be written again.
async fn write_one(store: SharedStore, mut report: Report, again: bool) -> Option<Report> {
    let Some(status) = report.status.take() else { return Some(report) };
    match store.apply_status(Kind::VirtualIP, &report.vip.key, MANAGER, status.clone()).await {
        Ok(_) | Err(StoreError::NotFound { .. }) => {}
        Err(error) => {
            warn!(vip = %report.vip.key, %error, "the status was not written; it is tried again");
            if again {
                tokio::time::sleep(AGAIN).await;
            }
            report.status = Some(status);
        }
    }
    Some(report)
}

/// Whether the stored status says this already.
pub(super) fn says(vip: &Watched, status: &Value) -> bool {
    let condition = |conditions: &Value, kind: &str| {
        conditions.as_array().and_then(|all| all.iter().find(|one| one["type"] == kind)).cloned()
    };
    let stored = json!(&*vip.status);
    ["holder", "health", "lastFailover"].iter().all(|field| stored[field] == status[field])
        && ["Conflict", "Healthy"]
            .iter()
            .all(|kind| condition(&stored["conditions"], kind) == condition(&status["conditions"], kind))
}
