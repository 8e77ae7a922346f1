//! The Kubernetes store on a real API server.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use rustix::process::Signal;
use serde_json::json;
use vipkeeper::api::kind::Kind;
use vipkeeper::store::k8s::Kubernetes;
use vipkeeper::store::{Change, Key, Object, SharedStore, StoreError};

use crate::contract::TESTS;
use crate::support::control_plane::ControlPlane;

const LIMIT: Duration = Duration::from_secs(60);

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

async fn connect(kubeconfig: &Path) -> Kubernetes {
    Kubernetes::connect(Some(kubeconfig), None).await.unwrap()
}

fn plane() -> ControlPlane {
    let plane = ControlPlane::start();
    plane.install_crds();
    plane
}

fn vip(name: &str) -> serde_json::Value {
    json!({"metadata": {"name": name, "namespace": "default"}, "spec": {"address": "192.0.2.1"}})
}

/// Waits for a change of which `wanted` makes something.
async fn wait<T>(watch: &mut BoxStream<'static, Change>, wanted: impl Fn(Change) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = wanted(watch.next().await.expect("a watch never ends")) {
                return found;
            }
        }
    };
    tokio::time::timeout(LIMIT, found).await.expect("the watch says it")
}

fn names(objects: &[Object]) -> Vec<&str> {
    objects.iter().map(|object| object.key.name.as_str()).collect()
}

#[test]
fn the_contract_holds() {
    let plane = plane();
    for (name, test) in TESTS {
        eprintln!("{name}");
        let namespace: String = name.replace('_', "-").chars().take(60).collect();
        plane.run(&["create", "namespace", &namespace]);
        run(async {
            let store: SharedStore = Arc::new(connect(&plane.kubeconfig()).await);
            test(store, namespace).await;
        });
    }
}

#[test]
fn a_watch_outlives_a_killed_and_a_frozen_api_server() {
    let mut plane = plane();
    run(async {
        let store = connect(&plane.kubeconfig()).await;
        let store: SharedStore = Arc::new(store);
        store.create(Kind::VirtualIP, vip("one")).await.unwrap();
        let mut watch = store.watch(Kind::VirtualIP).await.unwrap();
        let first = wait(&mut watch, |change| if let Change::Reset(all) = change { Some(all) } else { None }).await;
        assert_eq!(names(&first), ["one"]);

        plane.api_server.signal(Signal::KILL);
        wait(&mut watch, |change| matches!(change, Change::Lost(_)).then_some(())).await;
        let refused = store.get(Kind::VirtualIP, &Key::namespaced("default", "one")).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
        plane.restart_api_server();
        let again = wait(&mut watch, |change| if let Change::Reset(all) = change { Some(all) } else { None }).await;
        assert_eq!(again, first);

        plane.api_server.signal(Signal::STOP);
        let late = store.create(Kind::VirtualIP, vip("two")).await;
        assert!(matches!(late, Err(StoreError::Unavailable(_))), "{late:?}");
        plane.api_server.signal(Signal::CONT);
        // What was asked while it stood may or may not be done; either way the store says so.
        match store.create(Kind::VirtualIP, vip("two")).await {
            Ok(_) | Err(StoreError::AlreadyExists { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        wait(&mut watch, |change| match change {
            Change::Apply(object) => (object.key.name == "two").then_some(()),
            Change::Reset(all) => names(&all).contains(&"two").then_some(()),
            _ => None,
        })
        .await;
    });
}
