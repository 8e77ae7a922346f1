//! The Kubernetes API as a store.
//!
//! Objects are JSON from end to end, so that one that a type of ours cannot take is that object's error. Requests are
//! made in [`request`], whose words for what the API server answered are the seam's; a watch repairs itself ([`watch`]).
//! Leases and views go by a lane of their own, with connections of their own: statuses never delay them.

mod events;
mod request;
mod watch;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use json_patch::Patch;
use kube::api::ListParams;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use self::request::{Body, Lane, Target};
use super::{Change, Event, Key, Object, RecordedEvent, Store, StoreError};
use crate::api::kind::Kind;

/// How many requests of the common lane are under way at a time. The API server's own fairness does the rest.
const COMMON: usize = 16;
/// How many requests of the lane of leases and views are.
const URGENT: usize = 8;
/// How often a patch is made again that lost against others more often than the API server itself tries.
const PATCH_ATTEMPTS: usize = 5;
/// Who changes what is no status, in `managedFields`.
const MANAGER: &str = "vipkeeper";

/// The Kubernetes API.
#[derive(Debug)]
pub struct Kubernetes {
    common: Arc<Lane>,
    urgent: Arc<Lane>,
    silence: Duration,
    server: Option<String>,
}

impl Kubernetes {
    /// Finds the API server as kubectl does: `kubeconfig` or `$KUBECONFIG` or `~/.kube/config`, with `context` or the
    /// current one; where there is none, the service account of the pod. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`StoreError::Unusable`]: no configuration, or one that does not hold together.
    pub async fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Self, StoreError> {
        let unusable =
            |error: &dyn std::fmt::Display| StoreError::Unusable(format!("no way to a Kubernetes API server: {error}"));
        let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
        let config = match kubeconfig {
            Some(file) => {
                let kubeconfig = Kubeconfig::read_from(file).map_err(|error| unusable(&error))?;
                Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| unusable(&error))?
            }
            None if context.is_some() => Config::from_kubeconfig(&options).await.map_err(|error| unusable(&error))?,
            None => Config::infer().await.map_err(|error| unusable(&error))?,
        };
        let lane = |width| Lane::new(config.clone(), width).map(Arc::new).map_err(|error| unusable(&error));
        let server = config.cluster_url.host().map(|host| host.trim_matches(['[', ']']).to_owned());
        Ok(Self { common: lane(COMMON)?, urgent: lane(URGENT)?, silence: watch::SILENCE, server })
    }

    /// The same store, which takes a watch for broken when it is silent for this long (90 s otherwise; the API server
    /// lets something be heard each minute).
    #[must_use]
    pub const fn with_silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    fn lane(&self, kind: Kind) -> &Arc<Lane> {
        match kind {
            Kind::Lease | Kind::FailoverView => &self.urgent,
            _ => &self.common,
        }
    }

    async fn write(&self, kind: Kind, target: &Target, body: Body<'_>) -> Result<Object, StoreError> {
        object(kind, self.lane(kind).send(target, body).await?)
    }
}

/// An object as the API server has it, without `managedFields`, which is as long as the rest and for nobody here.
fn object(kind: Kind, mut body: Value) -> Result<Object, StoreError> {
    let Some(fields) = body.as_object_mut() else {
        return Err(StoreError::Unavailable(format!("the API server answered with no {}", kind.name())));
    };
    // The items of a list of Kubernetes' own kinds have neither.
    fields.entry("apiVersion").or_insert_with(|| kind.api_version().into());
    fields.entry("kind").or_insert_with(|| kind.name().into());
    let text = |field: &str| body["metadata"][field].as_str().map(str::to_owned);
    let key = Key { namespace: text("namespace"), name: text("name").unwrap_or_default() };
    if let Some(metadata) = body["metadata"].as_object_mut() {
        metadata.shift_remove("managedFields");
    }
    Ok(Object { kind, key, body: body.into() })
}

/// Where an object that is written stands.
fn target_of(kind: Kind, body: &Value) -> Result<Target, StoreError> {
    let text = |field: &str| body["metadata"][field].as_str().map(str::to_owned);
    let key = Key { namespace: text("namespace"), name: text("name").unwrap_or_default() };
    Target::object(kind, &key)
}

/// The body with the type that it must say it has.
fn typed(kind: Kind, mut body: Value) -> Value {
    if let Some(fields) = body.as_object_mut() {
        fields.entry("apiVersion").or_insert_with(|| kind.api_version().into());
        fields.entry("kind").or_insert_with(|| kind.name().into());
    }
    body
}

#[async_trait]
impl Store for Kubernetes {
    async fn watch(&self, kind: Kind) -> Result<BoxStream<'static, Change>, StoreError> {
        Ok(watch::stream(Arc::clone(self.lane(kind)), kind, self.silence))
    }

    async fn get(&self, kind: Kind, key: &Key) -> Result<Option<Object>, StoreError> {
        let Ok(target) = Target::object(kind, key) else { return Ok(None) };
        match self.lane(kind).send(&target, Body::Get).await {
            Ok(body) => object(kind, body).map(Some),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, kind: Kind) -> Result<Vec<Object>, StoreError> {
        let (items, _) = self.lane(kind).list(&Target::all(kind, None), ListParams::default()).await?;
        let mut objects = items.into_iter().map(|item| object(kind, item)).collect::<Result<Vec<_>, _>>()?;
        objects.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(objects)
    }

    async fn create(&self, kind: Kind, body: Value) -> Result<Object, StoreError> {
        let target = target_of(kind, &body)?;
        self.write(kind, &target, Body::Create(&typed(kind, body))).await
    }

    async fn replace(&self, kind: Kind, body: Value) -> Result<Object, StoreError> {
        let target = target_of(kind, &body)?;
        if body["metadata"]["resourceVersion"].as_str().unwrap_or_default().is_empty() {
            return Err(target.invalid("metadata.resourceVersion is missing: it says what is replaced".to_owned()));
        }
        self.write(kind, &target, Body::Replace(&typed(kind, body))).await
    }

    async fn patch(&self, kind: Kind, key: &Key, patch: &Patch) -> Result<Object, StoreError> {
        let target = Target::object(kind, key)?;
        let mut outcome = self.write(kind, &target, Body::Patch(patch)).await;
        for _ in 1..PATCH_ATTEMPTS {
            // Its own tests say whether it still applies; a lost race alone does not.
            if !matches!(outcome, Err(StoreError::Conflict { .. })) {
                break;
            }
            outcome = self.write(kind, &target, Body::Patch(patch)).await;
        }
        outcome
    }

    async fn apply_status(&self, kind: Kind, key: &Key, manager: &str, status: Value) -> Result<Object, StoreError> {
        let target = Target::object(kind, key)?;
        let mut metadata = json!({"name": key.name});
        if let Some(namespace) = &key.namespace {
            metadata["namespace"] = namespace.as_str().into();
        }
        let body =
            json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": metadata, "status": status});
        self.write(kind, &target, Body::ApplyStatus { manager, body: &body }).await
    }

    async fn delete(&self, kind: Kind, key: &Key) -> Result<(), StoreError> {
        let target = Target::object(kind, key)?;
        self.lane(kind).send(&target, Body::Delete).await.map(drop)
    }

    fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    async fn record(&self, event: Event) -> Result<(), StoreError> {
        events::record(&self.common, &event).await
    }

    async fn events(&self, object: &Object) -> Result<Vec<RecordedEvent>, StoreError> {
        events::list(&self.common, object).await
    }
}
