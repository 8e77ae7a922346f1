//! One request to the API server, and its answer in the words of the seam.

use std::fmt;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use http::Request as HttpRequest;
use kube::api::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams, WatchParams};
use kube::core::response::Status;
use kube::core::{Request, WatchEvent};
use kube::{Client, Config};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::MANAGER;
use crate::api::kind::Kind;
use crate::api::rules::name::{is_label, is_subdomain};
use crate::store::{Key, StoreError};

/// How long an answer may take, waiting for one's turn and for a server that is too busy included.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait when the API server is too busy and does not say how long it will be.
const BUSY: Duration = Duration::from_secs(1);
/// How many objects of a list come in one answer.
const PAGE: u32 = 500;

/// Connections of their own, and a limit to how many requests are under way.
pub(super) struct Lane {
    client: Client,
    turns: Semaphore,
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("turns", &self.turns).finish_non_exhaustive()
    }
}

/// What a request is about.
#[derive(Debug, Clone)]
pub(super) struct Target {
    kind: &'static str,
    plural: &'static str,
    path: String,
    name: String,
    shown: String,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body<'a> {
    Get,
    Create(&'a Value),
    Replace(&'a Value),
    Patch(&'a json_patch::Patch),
    Merge(&'a Value),
    ApplyStatus { manager: &'a str, body: &'a Value },
    Delete,
}

/// The changes that a watch tells.
pub(super) type Changes = BoxStream<'static, Result<WatchEvent<Value>, Broken>>;

/// Why a watch cannot go on.
#[derive(Debug)]
pub(super) enum Broken {
    /// The version is too old, or of another history: everything must be listed anew.
    Gone,
    /// Something else.
    Other(StoreError),
}

impl From<kube::Error> for Broken {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => (*status).into(),
            other => Self::Other(StoreError::Unavailable(reason(&other))),
        }
    }
}

impl From<Status> for Broken {
    fn from(status: Status) -> Self {
        match status.code {
            410 => Self::Gone,
            401 | 403 => Self::Other(StoreError::Forbidden(status.message)),
            code => Self::Other(StoreError::Unavailable(format!("{code} {}", status.message))),
        }
    }
}

/// The path of a kind's objects, within a namespace or in all.
pub(super) fn collection(kind: Kind, namespace: Option<&str>) -> String {
    let base = match kind.group() {
        "" => format!("/api/{}", kind.version()),
        group => format!("/apis/{group}/{}", kind.version()),
    };
    match namespace {
        Some(namespace) => format!("{base}/namespaces/{namespace}/{}", kind.plural()),
        None => format!("{base}/{}", kind.plural()),
    }
}

impl Target {
    /// An object; refused here if its name could lead a request elsewhere.
    pub(super) fn object(kind: Kind, key: &Key) -> Result<Self, StoreError> {
        let right = is_subdomain(&key.name)
            && key.namespace.as_deref().is_none_or(is_label)
            && key.namespace.is_some() == kind.namespaced();
        let target =
            Self { name: key.name.clone(), shown: key.to_string(), ..Self::all(kind, key.namespace.as_deref()) };
        if right {
            return Ok(target);
        }
        Err(target.invalid("metadata.name and metadata.namespace are no name of such an object".to_owned()))
    }

    /// The objects of a kind, in a namespace or everywhere.
    pub(super) fn all(kind: Kind, namespace: Option<&str>) -> Self {
        let path = collection(kind, namespace);
        Self { kind: kind.name(), plural: kind.plural(), path, name: String::new(), shown: String::new() }
    }

    /// Events, which are no kind of the seam's; all of the namespace if `name` is empty.
    pub(super) fn events(namespace: &str, name: String) -> Self {
        let path = format!("/api/v1/namespaces/{namespace}/events");
        Self { kind: "Event", plural: "events", path, shown: name.clone(), name }
    }

    /// The error that the object breaks a rule.
    pub(super) fn invalid(&self, reason: String) -> StoreError {
        StoreError::Invalid { kind: self.kind, key: self.shown.clone(), reason }
    }

    fn request(&self, body: Body<'_>) -> Result<HttpRequest<Vec<u8>>, StoreError> {
        let request = Request::new(self.path.clone());
        let manager = Some(MANAGER.to_owned());
        let post = PostParams { dry_run: false, field_manager: manager.clone() };
        let params = PatchParams { field_manager: manager, ..PatchParams::default() };
        let bytes = |body: &Value| body.to_string().into_bytes();
        let made = match body {
            Body::Get => request.get(&self.name, &GetParams::default()),
            Body::Create(body) => request.create(&post, bytes(body)),
            Body::Replace(body) => request.replace(&self.name, &post, bytes(body)),
            Body::Patch(patch) => request.patch(&self.name, &params, &Patch::Json::<()>(patch.clone())),
            Body::Merge(patch) => request.patch(&self.name, &params, &Patch::Merge(patch)),
            Body::ApplyStatus { manager, body } => {
                let params = PatchParams::apply(manager).force();
                request.patch_subresource("status", &self.name, &params, &Patch::Apply(body))
            }
            Body::Delete => request.delete(&self.name, &DeleteParams::default()),
        };
        made.map_err(|error| self.invalid(error.to_string()))
    }

    /// The seam's error for an answer that is none of success.
    fn refusal(&self, status: &Status, body: Body<'_>) -> StoreError {
        let (kind, key) = (self.kind, self.shown.clone());
        let details = status.details.as_ref();
        let message = status.message.clone();
        match (status.code, status.reason.as_str()) {
            // Without a name it is the kind that is not there.
            (404, _) if details.is_none_or(|details| details.name.is_empty()) => StoreError::Unavailable(format!(
                "the API server does not know {}: install the CRDs (vipkeeper crds | kubectl apply --server-side -f -)",
                self.plural
            )),
            (404, _) => StoreError::NotFound { kind, key },
            (409, "AlreadyExists") => StoreError::AlreadyExists { kind, key },
            (409, _) => StoreError::Conflict { kind, key },
            // Of a `test` that fails the API server gives no details; of a field that breaks a rule it does.
            (422, _) if matches!(body, Body::Patch(_)) && details.is_none_or(|details| details.causes.is_empty()) => {
                StoreError::TestFailed { kind, key, reason: message }
            }
            (422 | 400, _) => StoreError::Invalid { kind, key, reason: message },
            (401 | 403, _) => StoreError::Forbidden(message),
            (code, _) => StoreError::Unavailable(format!("{code} {message}")),
        }
    }
}

impl Lane {
    /// A lane of this width.
    pub(super) fn new(mut config: Config, width: usize) -> Result<Self, kube::Error> {
        // Who retries what is decided here, where it is known what may be done twice.
        config.default_retry = false;
        config.connect_timeout = Some(PATIENCE / 2);
        Ok(Self { client: Client::try_from(config)?, turns: Semaphore::new(width) })
    }

    /// Asks, and asks again while the server says that it is too busy: it has done nothing then.
    pub(super) async fn send(&self, target: &Target, body: Body<'_>) -> Result<Value, StoreError> {
        self.answer(|| target.request(body), |status| target.refusal(status, body)).await
    }

    /// All objects of a kind, and the version that the list is of.
    pub(super) async fn list(&self, target: &Target, params: ListParams) -> Result<(Vec<Value>, String), StoreError> {
        let mut objects = Vec::new();
        let mut page = params.limit(PAGE);
        loop {
            let request =
                || Request::new(target.path.clone()).list(&page).map_err(|error| target.invalid(error.to_string()));
            let mut answer = self.answer(request, |status| target.refusal(status, Body::Get)).await?;
            let Value::Array(items) = answer["items"].take() else {
                let plural = target.plural;
                return Err(StoreError::Unavailable(format!("the API server answered with no list of {plural}")));
            };
            objects.extend(items);
            let text = |field: &str| answer["metadata"][field].as_str().unwrap_or_default().to_owned();
            match text("continue") {
                end if end.is_empty() => return Ok((objects, text("resourceVersion"))),
                next => page = page.continue_token(&next),
            }
        }
    }

    /// The changes of a kind from a version on.
    pub(super) async fn follow(&self, target: &Target, version: &str) -> Result<Changes, Broken> {
        let params = WatchParams::default();
        let request = Request::new(target.path.clone()).watch(&params, version);
        let request = request.map_err(|error| Broken::Other(StoreError::Unavailable(error.to_string())))?;
        let late = |_| Broken::Other(StoreError::Unavailable(format!("no answer within {} s", PATIENCE.as_secs())));
        match timeout(PATIENCE, self.client.request_events::<Value>(request)).await.map_err(late)? {
            Ok(changes) => Ok(changes.map(|change| change.map_err(Broken::from)).boxed()),
            Err(error) => Err(error.into()),
        }
    }

    async fn answer(
        &self,
        request: impl Fn() -> Result<HttpRequest<Vec<u8>>, StoreError>,
        refusal: impl Fn(&Status) -> StoreError,
    ) -> Result<Value, StoreError> {
        let deadline = Instant::now() + PATIENCE;
        let late = |_| StoreError::Unavailable(format!("no answer within {} s", PATIENCE.as_secs()));
        let _turn = timeout_at(deadline, self.turns.acquire()).await.map_err(late)?;
        loop {
            let answer = timeout_at(deadline, self.client.request::<Value>(request()?)).await.map_err(late)?;
            match answer {
                Ok(answer) => return Ok(answer),
                Err(kube::Error::Api(status)) if status.code == 429 && Instant::now() + busy(&status) < deadline => {
                    sleep(busy(&status)).await;
                }
                Err(kube::Error::Api(status)) => return Err(refusal(&status)),
                Err(error) => return Err(StoreError::Unavailable(reason(&error))),
            }
        }
    }
}

/// How long the server wants to be left alone.
fn busy(status: &Status) -> Duration {
    let seconds = status.details.as_ref().map(|details| details.retry_after_seconds).unwrap_or_default();
    if seconds == 0 { BUSY } else { Duration::from_secs(seconds.into()) }
}

/// An error with its causes in one line.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
