//! Health checks of the addresses that this node answers for.

use std::collections::BTreeMap;

use tracing::{info, warn};

use super::reports::{self, Verdict};
use super::{Agent, Told};
use crate::check;
use crate::clock;
use crate::core::health::{Effect, Input, Outcome, Record, Target};
use crate::core::keeper::Holding;
use crate::store::EventType;

impl Agent {
    /// Has checked what is held and is to be checked, and takes in what turned.
    pub(super) fn look_at_checks(&mut self) {
        if std::mem::take(&mut self.checks_changed) {
            let targets: BTreeMap<String, Target> = self
                .node
                .keeper()
                .holdings()
                .filter(|(.., holding)| matches!(holding, Holding::Held { .. }))
                .filter_map(|(uid, ..)| {
                    let vip = self.vips.get(uid)?;
                    let failures = reports::failures(vip, &self.name);
                    Some((uid.to_owned(), Target { ip: vip.ip, check: vip.check.clone()?, failures }))
                })
                .collect();
            let over: Vec<String> =
                self.told_of.verdicts.keys().filter(|uid| !targets.contains_key(*uid)).cloned().collect();
            for uid in over {
                self.told_of.verdicts.remove(&uid);
                if let Some(vip) = self.vips.get(&uid) {
                    self.metrics.forget_health(vip.key.namespace.as_deref().unwrap_or_default(), &vip.key.name);
                }
            }
            self.checks.handle(clock::now(), Input::Targets(targets));
            self.checks.handle_timeout(clock::now());
        }
        while let Some(effect) = self.checks.poll_effect() {
            match effect {
                Effect::Run { uid, ticket, ip, ask, timeout } => {
                    let told = self.told.clone();
                    let metrics = self.metrics.clone();
                    tokio::spawn(async move {
                        let outcome = check::run(ip, ask, timeout).await;
                        metrics.checked(outcome == Outcome::Passed);
                        // A closed channel means that the agent ends.
                        let _closed = told.send(Told::Checked(Input::Ran { uid, ticket, outcome })).await;
                    });
                }
                Effect::Turned { uid, record, outcome } => self.turned(&uid, record, outcome),
            }
        }
    }

    fn turned(&mut self, uid: &str, record: Record, outcome: Outcome) {
        let before = self.told_of.verdicts.insert(uid.to_owned(), Verdict { record, outcome });
        let Some(vip) = self.vips.get(uid) else { return };
        self.metrics.set_healthy(vip.key.namespace.as_deref().unwrap_or_default(), &vip.key.name, !record.failing);
        let ask = vip.check.as_ref().map(|check| check.ask.to_string()).unwrap_or_default();
        let event = if record.failing {
            warn!(vip = %vip.key, %outcome, "the health check fails: {ask}");
            let message = format!("{ask} fails on {}: {outcome}", self.name);
            Some(reports::event(uid, vip, EventType::Warning, "HealthCheckFailed", message))
        } else if before.is_some_and(|before| before.record.failing) {
            info!(vip = %vip.key, "the health check passes again: {ask}");
            let message = format!("{ask} passes on {} again", self.name);
            Some(reports::event(uid, vip, EventType::Normal, "HealthCheckPassed", message))
        } else {
            None
        };
        self.send_current(uid, event);
    }
}
