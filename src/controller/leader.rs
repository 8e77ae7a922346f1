//! Leadership, on the store's lease.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::watches;
use crate::api::kind::Kind;
use crate::clock;
use crate::core::controller::Input;
use crate::core::lease::{self, Effect, Election, Record};
use crate::store::{Key, Object, SharedStore, StoreError};

/// Where the lease stands and who asks for it.
#[derive(Debug, Clone)]
pub struct Candidacy {
    /// The name that no other process has, unless it has ended.
    pub identity: String,
    /// The namespace of the lease.
    pub namespace: String,
    /// Its times.
    pub timing: lease::Timing,
}

impl Candidacy {
    /// A candidacy with the usual times.
    #[must_use]
    pub fn new(identity: impl Into<String>, namespace: impl Into<String>) -> Self {
        Self { identity: identity.into(), namespace: namespace.into(), timing: lease::Timing::default() }
    }
}

/// The namespace of the lease where nothing says another.
pub const NAMESPACE: &str = "vipkeeper";
/// The name of the lease.
pub const LEASE: &str = "vipkeeper-controller";

/// Stands for election until `stop`, and says whenever leadership comes or goes; it comes with what the store has now.
pub(super) async fn stand(candidacy: Candidacy, store: SharedStore, told: Sender<Vec<Input>>, stop: CancellationToken) {
    let mut election = Election::new(&candidacy.identity, candidacy.timing);
    let mut led = false;
    let mut acquired = None;
    let mut stopping = false;
    loop {
        let now = clock::now();
        election.handle_timeout(now);
        let mut asked = false;
        if let Some(effect) = election.poll_effect(now) {
            asked = true;
            let input = ask(&candidacy, &store, effect, &mut acquired).await;
            election.handle(clock::now(), input);
        }
        let leads = election.leads(clock::now());
        if leads != led && (!leads || tell_all(&store, &told).await) {
            led = leads;
            info!(identity = candidacy.identity, "{}", if leads { "leads" } else { "leads no more" });
            if told.send(vec![Input::Leading(leads)]).await.is_err() {
                return;
            }
        }
        if stopping {
            return;
        }
        let due = election.poll_timeout(clock::now());
        let wait =
            if asked { Duration::ZERO } else { due.map_or(candidacy.timing.renew, |due| due.since(clock::now())) };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => {
                stopping = true;
                election.handle(clock::now(), lease::Input::Stop);
            }
        }
    }
}

/// Who begins to lead reads once more what has addresses and who has them: a watch may be behind what the former leader
/// has written.
async fn tell_all(store: &SharedStore, told: &Sender<Vec<Input>>) -> bool {
    for kind in [Kind::VirtualIP, Kind::FailoverView] {
        match watches::list(store, kind).await {
            Ok(inputs) => {
                if told.send(inputs).await.is_err() {
                    return false;
                }
            }
            Err(error) => {
                warn!(%error, "cannot lead before everything is read");
                return false;
            }
        }
    }
    true
}

/// When leadership under this number of transitions began, as the lease says it.
type Acquired = Option<(u32, String)>;

async fn ask(candidacy: &Candidacy, store: &SharedStore, effect: Effect, acquired: &mut Acquired) -> lease::Input {
    let key = Key::namespaced(&candidacy.namespace, LEASE);
    let request = async {
        match effect {
            Effect::Read => match store.get(Kind::Lease, &key).await? {
                Some(object) => record(&object).map(|record| lease::Input::Read(Some(record))),
                None => Ok(lease::Input::Read(None)),
            },
            Effect::Create(new) => {
                record(&store.create(Kind::Lease, body(&key, &new, acquired)).await?).map(lease::Input::Written)
            }
            Effect::Replace(new) => {
                record(&store.replace(Kind::Lease, body(&key, &new, acquired)).await?).map(lease::Input::Written)
            }
        }
    };
    let late = || Err(StoreError::Unavailable("no answer in time".to_owned()));
    match tokio::time::timeout(candidacy.timing.deadline, request).await.unwrap_or_else(|_| late()) {
        Ok(input) => input,
        Err(StoreError::Conflict { .. } | StoreError::AlreadyExists { .. } | StoreError::NotFound { .. }) => {
            lease::Input::Overtaken
        }
        Err(error) => {
            debug!(%error, "the lease cannot be read or written");
            lease::Input::Failed
        }
    }
}

fn record(object: &Object) -> Result<Record, StoreError> {
    let spec = object.parse::<Lease>()?.spec.unwrap_or_default();
    Ok(Record {
        holder: spec.holder_identity.unwrap_or_default(),
        duration: Duration::from_secs(spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(1)),
        transitions: spec.lease_transitions.and_then(|count| u32::try_from(count).ok()).unwrap_or_default(),
        version: object.resource_version().to_owned(),
    })
}

/// The lease as it is written. Its times are for people: nobody decides by them.
fn body(key: &Key, record: &Record, acquired: &mut Acquired) -> Value {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
    if acquired.as_ref().is_none_or(|(transitions, _)| *transitions != record.transitions) {
        *acquired = Some((record.transitions, now.clone()));
    }
    let since = acquired.as_ref().map(|(_, since)| since.clone());
    let mut body = json!({
        "apiVersion": Kind::Lease.api_version(),
        "kind": Kind::Lease.name(),
        "metadata": {"namespace": key.namespace, "name": key.name},
        "spec": {
            "holderIdentity": record.holder,
            "leaseDurationSeconds": record.duration.as_secs(),
            "leaseTransitions": record.transitions,
            "acquireTime": since,
            "renewTime": now,
        },
    });
    if !record.version.is_empty() {
        body["metadata"]["resourceVersion"] = record.version.clone().into();
    }
    body
}
