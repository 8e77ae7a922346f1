//! What every store does: one function of a test each, over a [`SharedStore`]. Names are the caller's, so that the tests
//! may share a store.

use std::pin::Pin;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::{Value, json};
use vipkeeper::api::VirtualIP;
use vipkeeper::api::kind::Kind;
use vipkeeper::store::{Change, Event, EventType, Key, Object, SharedStore, StoreError};

/// How long a store may take to say what it must say.
const LIMIT: Duration = Duration::from_secs(10);

macro_rules! contract {
    ($($test:ident),+ $(,)?) => {
        [$((stringify!($test), |store, namespace| Box::pin($test(store, namespace)))),+]
    };
}
/// A test of the contract: on this store, with objects of this namespace.
pub type Test = fn(SharedStore, String) -> Pin<Box<dyn Future<Output = ()>>>;

/// The tests by name.
pub const TESTS: &[(&str, Test)] = &contract![
    an_object_is_made_once,
    names_that_are_paths_are_refused,
    what_breaks_a_rule_is_refused_with_the_field,
    a_replace_needs_the_version_it_saw,
    of_racing_replaces_one_wins,
    a_patch_applies_as_a_whole_or_not_at_all,
    racing_patches_all_apply,
    a_patch_does_not_reach_the_status,
    what_the_store_gives_cannot_be_changed,
    each_manager_owns_its_part_of_the_status,
    an_apply_that_changes_nothing_writes_nothing,
    a_deletion_waits_for_the_finalizers,
    a_name_that_returns_is_another_object,
    a_list_is_in_the_order_of_keys,
    a_watch_begins_with_all_and_tells_every_change,
    two_watches_see_the_same,
    a_view_is_patched_under_tests,
    events_are_kept_and_counted,
];

fn vip(namespace: &str, name: &str, address: &str) -> Value {
    json!({
        "apiVersion": "vipkeeper.dev/v1alpha1", "kind": "VirtualIP",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {"address": address, "interface": "eth0"},
    })
}

fn patch(operations: Value) -> json_patch::Patch {
    serde_json::from_value(operations).unwrap()
}

async fn next(watch: &mut BoxStream<'static, Change>) -> Change {
    tokio::time::timeout(LIMIT, watch.next()).await.expect("the watch says something").expect("a watch never ends")
}

/// What the watch says next of the objects in this namespace.
async fn next_of(watch: &mut BoxStream<'static, Change>, namespace: &str) -> Change {
    loop {
        let change = next(watch).await;
        let key = match &change {
            Change::Reset(_) => return change,
            Change::Apply(object) => Some(&object.key),
            Change::Delete(key) => Some(key),
            Change::Invalid { key, .. } => key.as_ref(),
            Change::Lost(_) => None,
        };
        if key.is_some_and(|key| key.namespace.as_deref() == Some(namespace)) {
            return change;
        }
    }
}

pub async fn an_object_is_made_once(store: SharedStore, ns: String) {
    let key = Key::namespaced(&ns, "web");
    assert_eq!(store.get(Kind::VirtualIP, &key).await.unwrap(), None);
    let made = store.create(Kind::VirtualIP, vip(&ns, "web", "192.0.2.1")).await.unwrap();
    assert_eq!((made.kind, &made.key), (Kind::VirtualIP, &key));
    assert!(!made.uid().is_empty() && !made.resource_version().is_empty());
    assert_eq!(made.body["metadata"]["generation"], 1);
    let typed: VirtualIP = made.parse().unwrap();
    assert!(typed.metadata.creation_timestamp.is_some());
    assert_eq!(store.get(Kind::VirtualIP, &key).await.unwrap(), Some(made));
    let again = store.create(Kind::VirtualIP, vip(&ns, "web", "192.0.2.2")).await;
    assert!(matches!(again, Err(StoreError::AlreadyExists { .. })), "{again:?}");
}

pub async fn names_that_are_paths_are_refused(store: SharedStore, ns: String) {
    for name in ["../web", "web/../../etc", "Web", "a@1", ".", ""] {
        let made = store.create(Kind::VirtualIP, vip(&ns, name, "192.0.2.1")).await;
        assert!(made.is_err(), "{name:?}: {made:?}");
    }
    assert!(store.list(Kind::VirtualIP).await.unwrap().iter().all(|o| o.key.namespace.as_deref() != Some(&*ns)));
}

pub async fn what_breaks_a_rule_is_refused_with_the_field(store: SharedStore, ns: String) {
    let refused = |outcome: Result<Object, StoreError>, field: &str| match outcome {
        Err(StoreError::Invalid { reason, .. }) => assert!(reason.contains(field), "{field}: {reason}"),
        other => panic!("{field}: {other:?}"),
    };
    refused(store.create(Kind::VirtualIP, vip(&ns, "web", "192.0.2.300")).await, "spec.address");
    let made = store.create(Kind::VirtualIP, vip(&ns, "web", "192.0.2.1")).await.unwrap();
    assert_eq!(made.body["spec"]["announce"]["burst"], 6, "defaults are filled in");
    let mut body = made.body.clone();
    body["spec"]["address"] = "192.0.2.2".into();
    refused(store.replace(Kind::VirtualIP, body.into()).await, "spec.address");
    let set = patch(json!([{"op": "add", "path": "/spec/failback", "value": "Sometimes"}]));
    refused(store.patch(Kind::VirtualIP, &made.key, &set).await, "spec.failback");
    assert_eq!(store.get(Kind::VirtualIP, &made.key).await.unwrap(), Some(made));
}

pub async fn a_replace_needs_the_version_it_saw(store: SharedStore, ns: String) {
    let first = store.create(Kind::VirtualIP, vip(&ns, "web", "192.0.2.1")).await.unwrap();
    let mut body = first.body.clone();
    body["spec"]["interface"] = "eth1".into();
    let second = store.replace(Kind::VirtualIP, body.clone().into()).await.unwrap();
    assert_eq!(second.body["spec"]["interface"], "eth1");
    assert_eq!(second.body["metadata"]["generation"], 2);
    assert_ne!(second.resource_version(), first.resource_version());
    body["spec"]["interface"] = "eth2".into();
    let late = store.replace(Kind::VirtualIP, body.into()).await;
    assert!(matches!(late, Err(StoreError::Conflict { .. })), "{late:?}");
    let mut labels = second.body.clone();
    labels["metadata"]["labels"] = json!({"app": "other"});
    let third = store.replace(Kind::VirtualIP, labels.into()).await.unwrap();
    assert_eq!(third.body["metadata"]["generation"], 2, "metadata is no part of the generation");
    let mut absent = third.body;
    absent["metadata"]["name"] = "none".into();
    let absent = store.replace(Kind::VirtualIP, absent.into()).await;
    assert!(matches!(absent, Err(StoreError::NotFound { .. })), "{absent:?}");
}

pub async fn of_racing_replaces_one_wins(store: SharedStore, ns: String) {
    let first = store.create(Kind::VirtualIP, vip(&ns, "web", "192.0.2.1")).await.unwrap();
    let race = (0..8).map(|i| {
        let mut body = first.body.clone();
        body["spec"]["interface"] = format!("eth{i}").into();
        // Nobody's change is the empty one.
        body["spec"]["exclusive"] = true.into();
        store.replace(Kind::VirtualIP, body.into())
    });
    let outcomes = futures::future::join_all(race).await;
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1, "{won:?}");
    assert!(lost.iter().all(|lost| matches!(lost, Err(StoreError::Conflict { .. }))), "{lost:?}");
    let stored = store.get(Kind::VirtualIP, &first.key).await.unwrap();
    assert_eq!(stored, won.into_iter().next().unwrap().ok());
}

pub async fn a_patch_applies_as_a_whole_or_not_at_all(store: SharedStore, ns: String) {
    let key = Key::namespaced(&ns, "web");
    let made = store.create(Kind::VirtualIP, vip(&ns, "web", "192.0.2.1")).await.unwrap();
    let refused = store
        .patch(
            Kind::VirtualIP,
            &key,
            &patch(json!([
                {"op": "replace", "path": "/spec/interface", "value": "eth1"},
                {"op": "test", "path": "/spec/address", "value": "192.0.2.9"},
            ])),
        )
        .await;
    assert!(matches!(refused, Err(StoreError::TestFailed { .. })), "{refused:?}");
    let missing = store.patch(Kind::VirtualIP, &key, &patch(json!([{"op": "remove", "path": "/spec/pool"}]))).await;
    assert!(matches!(missing, Err(StoreError::TestFailed { .. })), "{missing:?}");
    assert_eq!(store.get(Kind::VirtualIP, &key).await.unwrap(), Some(made));
    let patched = store
        .patch(
            Kind::VirtualIP,
            &key,
            &patch(json!([
                {"op": "test", "path": "/spec/address", "value": "192.0.2.1"},
                {"op": "replace", "path": "/spec/interface", "value": "eth1"},
                {"op": "add", "path": "/metadata/annotations", "value": {"vipkeeper.dev/note": "moved"}},
            ])),
        )
        .await
        .unwrap();
    assert_eq!(patched.body["spec"]["interface"], "eth1");
    assert_eq!(patched.body["metadata"]["annotations"]["vipkeeper.dev/note"], "moved");
    let absent = store.patch(Kind::VirtualIP, &Key::namespaced(&ns, "none"), &patch(json!([]))).await;
    assert!(matches!(absent, Err(StoreError::NotFound { .. })), "{absent:?}");
}

pub async fn racing_patches_all_apply(store: SharedStore, ns: String) {
    let key = Key::namespaced(&ns, "web");
    let mut body = vip(&ns, "web", "192.0.2.1");
    body["metadata"]["annotations"] = json!({"n": "0"});
    store.create(Kind::VirtualIP, body).await.unwrap();
    // Fewer than the API server's own five attempts, so that each of them must succeed there as well.
    let race = (0..4).map(|i| {
        let (store, key) = (store.clone(), key.clone());
        async move {
            let set = patch(json!([{"op": "add", "path": format!("/metadata/annotations/k{i}"), "value": "v"}]));
            store.patch(Kind::VirtualIP, &key, &set).await
        }
    });
    for outcome in futures::future::join_all(race).await {
        outcome.unwrap();
    }
    let stored = store.get(Kind::VirtualIP, &key).await.unwrap().unwrap();
    assert_eq!(stored.body["metadata"]["annotations"].as_object().unwrap().len(), 5);
}

pub async fn a_patch_does_not_reach_the_status(store: SharedStore, ns: String) {
    let mut body = vip(&ns, "web", "192.0.2.1");
    body["status"] = json!({"address": "192.0.2.7"});
    let made = store.create(Kind::VirtualIP, body).await.unwrap();
    assert!(made.body.get("status").is_none_or(|status| status["address"].is_null()), "{}", made.body);
    let applied =
        store.apply_status(Kind::VirtualIP, &made.key, "controller", json!({"address": "192.0.2.1"})).await.unwrap();
    assert_eq!(applied.body["metadata"]["generation"], 1, "a status is no part of the generation");
    let set = patch(json!([{"op": "replace", "path": "/status/address", "value": "192.0.2.8"}]));
    let _ = store.patch(Kind::VirtualIP, &made.key, &set).await;
    let mut body = applied.body.clone();
    body["status"] = json!({"address": "192.0.2.9"});
    let replaced = store.replace(Kind::VirtualIP, body.into()).await.unwrap();
    assert_eq!(replaced.body["status"]["address"], "192.0.2.1");
    let stored = store.get(Kind::VirtualIP, &made.key).await.unwrap().unwrap();
    assert_eq!(stored.body["status"]["address"], "192.0.2.1");
}

pub async fn what_the_store_gives_cannot_be_changed(store: SharedStore, ns: String) {
    let made = store.create(Kind::VirtualIP, vip(&ns, "web", "192.0.2.1")).await.unwrap();
    let mut body = made.body.clone();
    body["metadata"]["creationTimestamp"] = "2001-01-01T00:00:00Z".into();
    body["metadata"]["generation"] = 70.into();
    body["metadata"]["labels"] = json!({"app": "other"});
    let replaced = store.replace(Kind::VirtualIP, body.into()).await.unwrap();
    assert_eq!(replaced.body["metadata"]["creationTimestamp"], made.body["metadata"]["creationTimestamp"]);
    assert_eq!(replaced.body["metadata"]["generation"], 1);
    let mut other = replaced.body;
    other["metadata"]["uid"] = "00000000-0000-4000-8000-000000000000".into();
    let other = store.replace(Kind::VirtualIP, other.into()).await;
    assert!(matches!(other, Err(StoreError::Conflict { .. } | StoreError::Invalid { .. })), "{other:?}");
}

pub async fn each_manager_owns_its_part_of_the_status(store: SharedStore, ns: String) {
    let key = Key::namespaced(&ns, "web");
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "Test", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let absent = store.apply_status(Kind::VirtualIP, &key, "controller", json!({"address": "192.0.2.1"})).await;
    assert!(matches!(absent, Err(StoreError::NotFound { .. })), "{absent:?}");
    store.create(Kind::VirtualIP, vip(&ns, "web", "192.0.2.1")).await.unwrap();
    let apply = |manager: &'static str, status: Value| store.apply_status(Kind::VirtualIP, &key, manager, status);
    let ours =
        json!({"address": "192.0.2.1", "conditions": [condition("Allocated", "True"), condition("Ready", "False")]});
    apply("controller", ours).await.unwrap();
    let holder = json!({"node": "a", "interface": "eth0", "mac": "02:00:00:00:00:01", "epoch": 1, "since": "2026-01-01T00:00:00Z"});
    apply("agent", json!({"holder": holder, "conditions": [condition("Conflict", "False")]})).await.unwrap();
    let after = apply("controller", json!({"address": "192.0.2.1", "conditions": [condition("Allocated", "True")]}));
    let status = after.await.unwrap().body["status"].clone();
    assert_eq!(status["holder"], holder);
    let types: Vec<&str> =
        status["conditions"].as_array().unwrap().iter().map(|c| c["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["Allocated", "Conflict"]);
    let after = apply("agent", json!({})).await.unwrap();
    assert_eq!(after.body["status"]["holder"], Value::Null);
    assert_eq!(after.body["status"]["address"], "192.0.2.1");
    let typed: VirtualIP = after.parse().unwrap();
    assert_eq!(typed.status.unwrap().conditions.len(), 1);
}

pub async fn an_apply_that_changes_nothing_writes_nothing(store: SharedStore, ns: String) {
    let key = Key::namespaced(&ns, "web");
    store.create(Kind::VirtualIP, vip(&ns, "web", "192.0.2.1")).await.unwrap();
    let status = json!({"address": "192.0.2.1"});
    let first = store.apply_status(Kind::VirtualIP, &key, "controller", status.clone()).await.unwrap();
    let second = store.apply_status(Kind::VirtualIP, &key, "controller", status).await.unwrap();
    assert_eq!(first.resource_version(), second.resource_version());
    let same = store.replace(Kind::VirtualIP, second.body.clone().into()).await.unwrap();
    assert_eq!(same.resource_version(), second.resource_version());
}

pub async fn a_deletion_waits_for_the_finalizers(store: SharedStore, ns: String) {
    let key = Key::namespaced(&ns, "web");
    let mut body = vip(&ns, "web", "192.0.2.1");
    body["metadata"]["finalizers"] = json!(["vipkeeper.dev/release"]);
    store.create(Kind::VirtualIP, body).await.unwrap();
    store.delete(Kind::VirtualIP, &key).await.unwrap();
    store.delete(Kind::VirtualIP, &key).await.unwrap();
    let going = store.get(Kind::VirtualIP, &key).await.unwrap().unwrap();
    assert!(!going.meta("deletionTimestamp").is_empty());
    let more = patch(json!([{"op": "add", "path": "/metadata/finalizers/-", "value": "vipkeeper.dev/more"}]));
    let more = store.patch(Kind::VirtualIP, &key, &more).await;
    assert!(more.is_err(), "no new finalizer on what is being deleted: {more:?}");
    let last = patch(json!([
        {"op": "test", "path": "/metadata/finalizers/0", "value": "vipkeeper.dev/release"},
        {"op": "remove", "path": "/metadata/finalizers/0"},
    ]));
    store.patch(Kind::VirtualIP, &key, &last).await.unwrap();
    assert_eq!(store.get(Kind::VirtualIP, &key).await.unwrap(), None);
    let gone = store.delete(Kind::VirtualIP, &key).await;
    assert!(matches!(gone, Err(StoreError::NotFound { .. })), "{gone:?}");
}

pub async fn a_name_that_returns_is_another_object(store: SharedStore, ns: String) {
    let first = store.create(Kind::VirtualIP, vip(&ns, "web", "192.0.2.1")).await.unwrap();
    store.delete(Kind::VirtualIP, &first.key).await.unwrap();
    let second = store.create(Kind::VirtualIP, vip(&ns, "web", "192.0.2.2")).await.unwrap();
    assert_ne!(first.uid(), second.uid());
    assert_eq!(second.body["metadata"]["generation"], 1);
    let late = store.replace(Kind::VirtualIP, first.body.into()).await;
    assert!(matches!(late, Err(StoreError::Conflict { .. })), "{late:?}");
}

pub async fn a_list_is_in_the_order_of_keys(store: SharedStore, ns: String) {
    for name in ["b", "c", "a"] {
        store.create(Kind::VirtualIP, vip(&ns, name, "192.0.2.1")).await.unwrap();
    }
    let listed = store.list(Kind::VirtualIP).await.unwrap();
    assert!(listed.is_sorted_by_key(|object| object.key.clone()));
    let names: Vec<&str> =
        listed.iter().filter(|o| o.key.namespace.as_deref() == Some(&*ns)).map(|o| o.key.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

pub async fn a_watch_begins_with_all_and_tells_every_change(store: SharedStore, ns: String) {
    let first = store.create(Kind::VirtualIP, vip(&ns, "one", "192.0.2.1")).await.unwrap();
    let mut watch = store.watch(Kind::VirtualIP).await.unwrap();
    let Change::Reset(all) = next(&mut watch).await else { panic!("a watch begins with all there is") };
    let ours: Vec<&Object> = all.iter().filter(|o| o.key.namespace.as_deref() == Some(&*ns)).collect();
    assert_eq!(ours, [&first]);
    let second = store.create(Kind::VirtualIP, vip(&ns, "two", "192.0.2.2")).await.unwrap();
    assert_eq!(next_of(&mut watch, &ns).await, Change::Apply(second.clone()));
    let status = json!({"address": "192.0.2.2"});
    let second = store.apply_status(Kind::VirtualIP, &second.key, "controller", status).await.unwrap();
    assert_eq!(next_of(&mut watch, &ns).await, Change::Apply(second.clone()));
    store.delete(Kind::VirtualIP, &second.key).await.unwrap();
    assert_eq!(next_of(&mut watch, &ns).await, Change::Delete(second.key));
}

pub async fn two_watches_see_the_same(store: SharedStore, ns: String) {
    let mut watches = [store.watch(Kind::VirtualIP).await.unwrap(), store.watch(Kind::VirtualIP).await.unwrap()];
    for watch in &mut watches {
        assert!(matches!(next(watch).await, Change::Reset(_)));
    }
    let made = store.create(Kind::VirtualIP, vip(&ns, "web", "192.0.2.1")).await.unwrap();
    for watch in &mut watches {
        assert_eq!(next_of(watch, &ns).await, Change::Apply(made.clone()));
    }
}

pub async fn a_view_is_patched_under_tests(store: SharedStore, ns: String) {
    let name = format!("{ns}-192.0.2.0-24");
    let view = json!({
        "apiVersion": "vipkeeper.dev/v1alpha1", "kind": "FailoverView", "metadata": {"name": name},
        "spec": {"counter": 0, "withdraw": false, "prefixes": {}, "members": {}, "assign": {}, "fences": {}},
    });
    let key = Key::cluster(&name);
    store.create(Kind::FailoverView, view).await.unwrap();
    let raise = |from: u64| {
        patch(json!([
            {"op": "test", "path": "/spec/counter", "value": from},
            {"op": "replace", "path": "/spec/counter", "value": from + 1},
        ]))
    };
    let raised = store.patch(Kind::FailoverView, &key, &raise(0)).await.unwrap();
    assert_eq!(raised.body["spec"]["counter"], 1);
    let late = store.patch(Kind::FailoverView, &key, &raise(0)).await;
    assert!(matches!(late, Err(StoreError::TestFailed { .. })), "{late:?}");
    store.delete(Kind::FailoverView, &key).await.unwrap();
}

pub async fn events_are_kept_and_counted(store: SharedStore, ns: String) {
    let object = store.create(Kind::VirtualIP, vip(&ns, "web", "192.0.2.1")).await.unwrap();
    let event = |reason: &'static str, event_type| Event {
        kind: object.kind,
        key: object.key.clone(),
        uid: object.uid().to_owned(),
        event_type,
        reason,
        message: format!("{reason} on node a"),
    };
    assert_eq!(store.events(&object).await.unwrap(), []);
    store.record(event("Held", EventType::Normal)).await.unwrap();
    store.record(event("Conflict", EventType::Warning)).await.unwrap();
    store.record(event("Conflict", EventType::Warning)).await.unwrap();
    let mut events = store.events(&object).await.unwrap();
    // Kubernetes keeps their times to the second, so these have no order.
    events.sort_by(|a, b| b.reason.cmp(&a.reason));
    let told: Vec<_> = events.iter().map(|e| (e.reason.as_str(), e.event_type, e.count)).collect();
    assert_eq!(told, [("Held", EventType::Normal, 1), ("Conflict", EventType::Warning, 2)]);
    assert_eq!(events[1].message, "Conflict on node a");
    assert!(events[1].first <= events[1].last);
}
