//! What a prober writes into the statuses of probes: its own entry, and, as the first of the probers that live, the sum.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::wanted::{Plan, Problem};
use super::world::World;
use crate::api::kind::Kind;
use crate::api::{ProberStatus, UDPProbe};
use crate::store::{Key, SharedStore, StoreError};

/// Who writes the sum.
const SUM: &str = "vipkeeper-udpprobe-sum";
/// An entry that says the same is written again after this time, so that others see that its prober lives.
const REFRESH: i64 = 60;
/// After this time without a word a prober counts as gone, and after that its entry goes.
const ALIVE: i64 = 180;
const FORGET: i64 = 600;

/// Writes statuses, only where they change.
#[derive(Debug)]
pub(super) struct Writer {
    store: SharedStore,
    name: String,
    /// The field manager of this prober's entries.
    manager: String,
    written: BTreeMap<Key, Written>,
}

#[derive(Debug, Default, PartialEq)]
struct Written {
    entry: Value,
    at: i64,
    sum: Value,
}

impl Writer {
    pub(super) fn new(store: SharedStore, name: String) -> Self {
        Self { store, manager: manager(&name), name, written: BTreeMap::new() }
    }

    /// Writes what has changed.
    pub(super) async fn write(&mut self, world: &World, plan: &Plan, worst: &BTreeMap<Key, (f64, String)>) {
        self.written.retain(|key, _| world.probes.contains_key(key));
        for (key, probe) in &world.probes {
            if let Err(error) = self.write_one(key, probe, plan, worst.get(key)).await {
                let gone = matches!(error, StoreError::NotFound { .. });
                if !gone {
                    warn!(probe = %key, %error, "cannot write the status; it is tried again");
                }
                self.written.remove(key);
            }
        }
    }

    async fn write_one(
        &mut self,
        key: &Key,
        probe: &UDPProbe,
        plan: &Plan,
        worst: Option<&(f64, String)>,
    ) -> Result<(), StoreError> {
        let now = Timestamp::now();
        let targets = plan.counts.get(key).copied().unwrap_or_default();
        let own = ProberStatus {
            name: self.name.clone(),
            targets,
            worst_loss: worst.map(|(loss, _)| rounded(*loss)),
            worst_target: worst.filter(|(loss, _)| *loss > 0.0).map(|(_, target)| target.clone()),
            at: Time(now),
        };
        let entry = json!([own.targets, own.worst_loss, own.worst_target]);
        let written = self.written.entry(key.clone()).or_default();
        let mut others: Vec<ProberStatus> =
            probe.status.as_ref().map(|status| status.probers.clone()).unwrap_or_default();
        others.retain(|other| other.name != self.name);
        if written.entry != entry || now.as_second() - written.at >= REFRESH {
            let status = json!({ "probers": [own] });
            self.store.apply_status(Kind::UDPProbe, key, &self.manager, status).await?;
            (written.entry, written.at) = (entry, now.as_second());
        }
        let (living, silent): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|other| now.as_second() - other.at.0.as_second() < ALIVE);
        if living.iter().any(|other| other.name < self.name) {
            return Ok(());
        }
        for gone in silent.iter().filter(|other| now.as_second() - other.at.0.as_second() >= FORGET) {
            info!(probe = %key, prober = gone.name, "the entry of a prober that is gone is removed");
            self.store.apply_status(Kind::UDPProbe, key, &manager(&gone.name), json!({})).await?;
        }
        let problems = plan.problems.get(key).map(Vec::as_slice).unwrap_or_default();
        let sum = sum(&own, &living, problems, probe.metadata.generation);
        if written.sum != sum {
            let status = with_time(&sum, probe, now);
            self.store.apply_status(Kind::UDPProbe, key, SUM, status).await?;
            written.sum = sum;
        }
        Ok(())
    }
}

/// A field manager's name: at most 128 characters.
fn manager(prober: &str) -> String {
    let name = format!("vipkeeper-prober-{prober}");
    name.chars().take(128).collect()
}

/// A share, to three digits: more would make a write of every lost packet.
fn rounded(share: f64) -> f64 {
    (share * 1_000.0).round() / 1_000.0
}

/// The status over all probers, without the time of the condition's last change.
fn sum(own: &ProberStatus, living: &[ProberStatus], problems: &[Problem], generation: Option<i64>) -> Value {
    let all = || living.iter().chain([own]);
    let targets: i64 = all().map(|prober| prober.targets).sum();
    let worst = all().filter_map(|prober| prober.worst_loss).max_by(f64::total_cmp);
    let (status, reason, message) = match problems {
        [] if targets == 0 => ("False", "NoTargets", "there is nothing to measure yet".to_owned()),
        [] => ("True", "Measured", format!("{targets} paths are measured")),
        [first, ..] => {
            let all: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
            ("False", first.reason, all.join("; "))
        }
    };
    let mut condition = json!({"type": "Ready", "status": status, "reason": reason, "message": message});
    let mut sum = json!({ "targets": targets });
    if let Some(generation) = generation {
        condition["observedGeneration"] = json!(generation);
        sum["observedGeneration"] = json!(generation);
    }
    if let Some(worst) = worst {
        sum["worstLoss"] = json!(worst);
    }
    sum["conditions"] = json!([condition]);
    sum
}

/// The status with the time at which the condition last changed: that of the stored one as long as it says the same.
fn with_time(sum: &Value, probe: &UDPProbe, now: Timestamp) -> Value {
    let mut status = sum.clone();
    let stored = probe.status.iter().flat_map(|status| &status.conditions).find(|condition| condition.type_ == "Ready");
    let same = stored.filter(|stored| sum["conditions"][0]["status"] == stored.status.as_str());
    let since = same.map_or(now, |stored| stored.last_transition_time.0);
    status["conditions"][0]["lastTransitionTime"] = json!(Time(since));
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prober(name: &str, targets: i64, worst_loss: Option<f64>) -> ProberStatus {
        ProberStatus { name: name.into(), targets, worst_loss, worst_target: None, at: Time(Timestamp::UNIX_EPOCH) }
    }

    #[test]
    fn the_sum_counts_all_and_names_the_worst() {
        let status = sum(&prober("a", 3, Some(0.1)), &[prober("b", 2, Some(0.5)), prober("c", 0, None)], &[], Some(4));
        assert_eq!((&status["targets"], &status["worstLoss"]), (&json!(5), &json!(0.5)));
        assert_eq!(status["conditions"][0]["status"], "True");
        assert_eq!(status["observedGeneration"], 4);
    }

    #[test]
    fn a_problem_makes_it_not_ready_and_is_told_with_its_field() {
        let problem =
            Problem { reason: "NoCluster", message: "spec.targets[0].service: needs a Kubernetes API".into() };
        let status = sum(&prober("a", 3, None), &[], &[problem], None);
        let condition = &status["conditions"][0];
        assert_eq!((condition["status"].as_str(), condition["reason"].as_str()), (Some("False"), Some("NoCluster")));
        assert!(condition["message"].as_str().unwrap().starts_with("spec.targets[0].service"));
    }
}
