//! What happens to a VIP on this node, told to people: a log line, an event, the status, metrics.

use std::net::IpAddr;

use tracing::{info, warn};

use super::reports::{self, Claim, Report};
use super::{Agent, calendar};
use crate::core::keeper::{Holding, Waiting};
use crate::core::net::Mac;
use crate::store::{Event, EventType};

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
        self.send(uid, Some(holding), event);
    }

    pub(super) fn released(&mut self, uid: &str, name: &str, ip: IpAddr) {
        info!(vip = name, %ip, "released");
        self.conflicts.remove(uid);
        let (namespace, short) = name.split_once('/').unwrap_or(("", name));
        self.metrics.forget(namespace, short);
        let Some(vip) = self.vips.get(uid) else { return };
        let event = reports::event(uid, vip, EventType::Normal, "Released", format!("{} gave {ip} up", self.name));
        let ours = vip.status.holder.as_ref().is_some_and(|holder| holder.node == self.name);
        let status = (ours && !self.node.is_elsewhere(uid)).then(|| reports::status(vip, None, None, calendar::utc()));
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
        if self.conflicts.insert(uid.to_owned(), Claim(mac)) == Some(Claim(mac)) {
            return;
        }
        warn!(vip = %vip.key, ip = %vip.ip, %mac, "another host claims the address");
        let message = format!("{mac} claims {} while {} holds it", vip.ip, self.name);
        let event = reports::event(uid, vip, EventType::Warning, "AddressConflict", message);
        self.send_current(uid, Some(event));
    }

    pub(super) fn unclaimed(&mut self, uid: &str) {
        if self.conflicts.remove(uid).is_none() {
            return;
        }
        let Some(vip) = self.vips.get(uid) else { return };
        info!(vip = %vip.key, ip = %vip.ip, "the other host claims the address no more");
        let message = format!("nobody else claims {} any more", vip.ip);
        let event = reports::event(uid, vip, EventType::Normal, "ConflictOver", message);
        self.send_current(uid, Some(event));
    }

    fn send_current(&mut self, uid: &str, event: Option<Event>) {
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

    /// Queues the status (as it follows from `holding`) and an event.
    fn send(&mut self, uid: &str, holding: Option<&Holding>, event: Option<Event>) {
        let Some(vip) = self.vips.get(uid) else { return };
        let now = calendar::utc();
        let status = holding.filter(|_| !self.node.is_elsewhere(uid)).and_then(|holding| {
            let epoch = self.node.epoch(uid)?;
            let holder = reports::holder(vip, &self.name, epoch, holding, now);
            let conflict = self.conflicts.get(uid).copied();
            let status = reports::status(vip, holder, conflict, now);
            (!reports::says(vip, &status)).then_some(status)
        });
        self.queue(uid, status, event);
    }

    fn queue(&self, uid: &str, status: Option<serde_json::Value>, event: Option<Event>) {
        let Some(vip) = self.vips.get(uid).filter(|_| status.is_some() || event.is_some()) else { return };
        let report = Report { uid: uid.to_owned(), vip: vip.clone(), status, event };
        // The writer ends only with the agent.
        let _ended = self.reports.send(report);
    }
}
