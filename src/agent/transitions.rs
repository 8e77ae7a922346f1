//! What happens to a VIP on this node, told to people: a log line, an event, the status, metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tracing::{info, warn};

use super::reports::{self, Claim, Known, Report, Verdict};
use super::{Agent, calendar};
use crate::api::{self, Holder, LastFailover};
use crate::clock;
use crate::core::keeper::{Holding, Waiting};
use crate::core::net::Mac;
use crate::core::time::Time;
use crate::core::view::Cause;
use crate::store::{Event, EventType};

/// What people were told of VIPs, or are about to be told, by uid.
#[derive(Debug, Default)]
pub(super) struct ToldOf {
    /// Who else claims an address of ours.
    pub(super) conflicts: BTreeMap<String, Claim>,
    /// What health checks found.
    pub(super) verdicts: BTreeMap<String, Verdict>,
    /// What came here and is not reported yet.
    pub(super) arrivals: BTreeMap<String, Arrival>,
    /// How what is here came here: every status says so, also before the watch has told of the first that did.
    failovers: BTreeMap<String, LastFailover>,
    /// Whose status waits for a view that gives it to this node.
    unsaid: BTreeSet<String>,
    /// The epoch of the right by which this node was last said to hold it.
    epochs: BTreeMap<String, u64>,
}

impl ToldOf {
    /// What is to be said again: what could not be said yet, and what was said with another epoch than it has now. The
    /// data plane acts on views that the watch tells later.
    fn outdated(&mut self, epoch: impl Fn(&str) -> Option<u64>) -> BTreeSet<String> {
        let mut outdated = std::mem::take(&mut self.unsaid);
        let renewed = |uid: &str, said: u64| epoch(uid).is_some_and(|epoch| epoch != said);
        outdated.extend(self.epochs.iter().filter(|(uid, said)| renewed(uid, **said)).map(|(uid, _)| uid.clone()));
        outdated
    }
}

/// A VIP that this node may claim since a moment.
#[derive(Debug)]
pub(super) struct Arrival {
    /// The node that had it.
    pub(super) from: Option<String>,
    /// For how long that node had been silent.
    pub(super) silent: Duration,
    pub(super) at: Time,
}

impl Agent {
    pub(super) fn report(&mut self, uid: &str, holding: &Holding) {
        let Some(vip) = self.vips.get(uid) else { return };
        let (vip_name, ip) = (vip.key.to_string(), vip.ip);
        let event = match holding {
            Holding::Held { interface, .. } => {
                info!(vip = vip_name, %ip, interface, "holding");
                let message = format!("{} answers for {ip} on {interface}", self.name);
                Some(reports::event(uid, vip, EventType::Normal, "Holding", message))
            }
            Holding::Waiting(Waiting::Installing | Waiting::Probing) => None,
            Holding::Waiting(why) => {
                warn!(vip = vip_name, %ip, reason = why.reason(), "not holding: {why}");
                Some(reports::event(uid, vip, EventType::Warning, why.reason(), format!("{}: {why}", self.name)))
            }
        };
        let namespace = vip.key.namespace.as_deref().unwrap_or_default();
        self.metrics.set_held(namespace, &vip.key.name, matches!(holding, Holding::Held { .. }));
        self.checks_changed |= vip.check.is_some();
        // What is on its way is not worth a status, unless the last one says more than is so.
        let passing = matches!(holding, Holding::Waiting(Waiting::Installing | Waiting::Probing));
        if !passing || vip.status.holder.as_ref().is_some_and(|holder| holder.node == self.name) {
            self.send(uid, Some(holding), event);
        }
    }

    pub(super) fn released(&mut self, uid: &str, name: &str, ip: IpAddr) {
        info!(vip = name, %ip, "released");
        self.forget(uid);
        let (namespace, short) = name.split_once('/').unwrap_or(("", name));
        self.metrics.forget(namespace, short);
        let Some(vip) = self.vips.get(uid) else { return };
        let event = reports::event(uid, vip, EventType::Normal, "Released", format!("{} gave {ip} up", self.name));
        let ours = vip.status.holder.as_ref().is_some_and(|holder| holder.node == self.name);
        let status = (ours && !self.node.is_elsewhere(uid))
            .then(|| reports::status(vip, &self.name, Known::default(), calendar::utc()));
        self.queue(uid, status, Some(event));
    }

    pub(super) fn repaired(&mut self, uid: &str, ip: IpAddr) {
        self.metrics.repaired();
        let Some(vip) = self.vips.get(uid) else { return };
        warn!(vip = %vip.key, %ip, "somebody removed the address; putting it back");
        let message = format!("{ip} was removed on {} by something else and was put back", self.name);
        let event = reports::event(uid, vip, EventType::Warning, "AddressRepaired", message);
        self.send(uid, None, Some(event));
    }

    pub(super) fn claimed(&mut self, uid: &str, mac: Mac) {
        self.metrics.conflict();
        let Some(vip) = self.vips.get(uid) else { return };
        if self.told_of.conflicts.insert(uid.to_owned(), Claim(mac)) == Some(Claim(mac)) {
            return;
        }
        warn!(vip = %vip.key, ip = %vip.ip, %mac, "another host claims the address");
        let message = format!("{mac} claims {} while {} holds it", vip.ip, self.name);
        let event = reports::event(uid, vip, EventType::Warning, "AddressConflict", message);
        self.send_current(uid, Some(event));
    }

    pub(super) fn unclaimed(&mut self, uid: &str) {
        if self.told_of.conflicts.remove(uid).is_none() {
            return;
        }
        let Some(vip) = self.vips.get(uid) else { return };
        info!(vip = %vip.key, ip = %vip.ip, "the other host claims the address no more");
        let message = format!("nobody else claims {} any more", vip.ip);
        let event = reports::event(uid, vip, EventType::Normal, "ConflictOver", message);
        self.send_current(uid, Some(event));
    }

    pub(super) fn send_current(&mut self, uid: &str, event: Option<Event>) {
        let holding = self.node.keeper().holding(uid).cloned();
        self.send(uid, holding.as_ref(), event);
    }

    /// Reports again what this node holds and the store does not say: a status of ours that was written late may have
    /// taken it away.
    pub(super) fn amend(&mut self, uid: &str) {
        if matches!(self.node.keeper().holding(uid), Some(Holding::Held { .. })) {
            self.send_current(uid, None);
        }
    }

    /// What is known of a VIP that this node has no right to any more.
    fn forget(&mut self, uid: &str) {
        self.told_of.conflicts.remove(uid);
        self.told_of.verdicts.remove(uid);
        self.told_of.arrivals.remove(uid);
        self.told_of.failovers.remove(uid);
        self.told_of.unsaid.remove(uid);
        self.told_of.epochs.remove(uid);
        self.checks_changed = true;
    }

    /// Queues the status (as it follows from `holding`) and an event.
    fn send(&mut self, uid: &str, holding: Option<&Holding>, event: Option<Event>) {
        self.queue(uid, None, event);
        let Some(holding) = holding else { return };
        let Some(vip) = self.vips.get(uid) else { return };
        let epoch = self.node.epoch(uid).filter(|_| !self.node.is_elsewhere(uid));
        let Some(epoch) = epoch else {
            self.told_of.unsaid.insert(uid.to_owned());
            return;
        };
        let now = calendar::utc();
        let holder = reports::holder(vip, &self.name, epoch, holding, now);
        if holder.is_some() {
            self.told_of.epochs.insert(uid.to_owned(), epoch);
        }
        let came = holder.as_ref().and_then(|holder| self.arrived(uid, holder));
        let Some(vip) = self.vips.get(uid) else { return };
        let told_of = &self.told_of;
        let known = Known {
            holder,
            conflict: told_of.conflicts.get(uid).copied(),
            verdict: told_of.verdicts.get(uid).copied(),
            failover: told_of.failovers.get(uid).cloned(),
        };
        let status = reports::status(vip, &self.name, known, now);
        let event = came.as_ref().map(|came| {
            let message =
                format!("{} took it over from {}: {}, {} without", came.to, came.from, came.reason, came.duration);
            reports::event(uid, vip, EventType::Normal, "FailedOver", message)
        });
        let status = (!reports::says(vip, &status)).then_some(status);
        self.queue(uid, status, event);
    }

    /// Says what could not be said yet or has changed, now that a view is news.
    pub(super) fn say_again(&mut self) {
        for uid in self.told_of.outdated(|uid| self.node.epoch(uid)) {
            self.send_current(&uid, None);
        }
    }

    /// How a VIP came to this node, which now answers for it; counted once.
    fn arrived(&mut self, uid: &str, holder: &Holder) -> Option<LastFailover> {
        let vip = self.vips.get(uid)?;
        let Arrival { from, silent, at } = self.told_of.arrivals.remove(uid)?;
        let before = vip.status.holder.as_ref().filter(|old| old.node != self.name).map(|old| old.node.clone());
        let from = from.or(before)?;
        let cause = self.node.entry(uid).map(|entry| entry.cause).unwrap_or_default();
        // A node that let go served until this one answered.
        let lost = matches!(cause, Cause::NodeLost | Cause::NodeLeft);
        let dark = if lost { silent + clock::now().since(at) } else { Duration::ZERO };
        info!(vip = %vip.key, from, reason = cause.as_str(), ?dark, "taken over");
        self.metrics.failed_over(cause, dark);
        let failover = LastFailover {
            from,
            to: self.name.clone(),
            reason: cause.as_str().to_owned(),
            duration: api::Duration(Duration::from_millis(u64::try_from(dark.as_millis()).unwrap_or(u64::MAX))),
            at: holder.since.clone(),
        };
        self.told_of.failovers.insert(uid.to_owned(), failover.clone());
        Some(failover)
    }

    fn queue(&self, uid: &str, status: Option<serde_json::Value>, event: Option<Event>) {
        let Some(vip) = self.vips.get(uid).filter(|_| status.is_some() || event.is_some()) else { return };
        let report = Report { uid: uid.to_owned(), vip: vip.clone(), status, event };
        // The writer ends only with the agent.
        let _ended = self.reports.send(report);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_that_comes_late_has_said_again_what_it_changes() {
        let mut told_of = ToldOf::default();
        told_of.unsaid.insert("came-early".to_owned());
        for uid in ["renewed", "unchanged", "elsewhere"] {
            told_of.epochs.insert(uid.to_owned(), 1);
        }
        let epoch = |uid: &str| match uid {
            "renewed" => Some(1015),
            "unchanged" => Some(1),
            _ => None,
        };
        assert_eq!(told_of.outdated(epoch), BTreeSet::from(["came-early".to_owned(), "renewed".to_owned()]));
        assert_eq!(told_of.outdated(epoch), BTreeSet::from(["renewed".to_owned()]), "until it is said");
    }
}
