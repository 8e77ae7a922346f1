//! An agent without a kernel: it registers, reports what it was given as held, and gives up what it must.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;
use vipkeeper::api::kind::Kind;
use vipkeeper::api::{FailoverView, VirtualIP};
use vipkeeper::core::membership::{Me, next, own_right, rights};
use vipkeeper::core::view::{Gate, Mode, ROOT, Registration, Right, View};
use vipkeeper::store::{Key, SharedStore, StoreError};

use crate::bed::Bed;

/// An agent that runs until it is dropped; what it held stays assigned.
pub struct Agent {
    task: JoinHandle<()>,
}

impl Agent {
    /// Registers node `name` on segment 198.51.100.0/24 and plays its agent.
    pub fn start(bed: &Bed, name: &str) -> Self {
        let (store, me) = (bed.store.clone(), me(name));
        Self { task: bed.runtime.spawn(async move { play(store, me).await }) }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The segment of all agents.
pub fn segment() -> Key {
    Key::cluster("198.51.100.0-24")
}

fn me(name: &str) -> Me {
    let registration = Registration {
        node: name.to_owned(),
        mode: Mode::Solo,
        address: "198.51.100.250".parse().unwrap(),
        port: 9473,
        mac: None,
        interface: "eth0".to_owned(),
        boot_id: "boot".to_owned(),
        gate: Gate::Bpf,
        rho: 10_000,
    };
    Me { registration, prefixes: BTreeSet::from(["198.51.100.0/24".to_owned()]), leaving: false }
}

async fn play(store: SharedStore, me: Me) {
    let mut reported: BTreeMap<String, Right> = BTreeMap::new();
    loop {
        let mut idle = true;
        let object = match store.get(Kind::FailoverView, &segment()).await.unwrap() {
            Some(object) => object,
            None => {
                let body = json!({
                    "apiVersion": Kind::FailoverView.api_version(),
                    "kind": "FailoverView",
                    "metadata": {"name": segment().name},
                    "spec": View::default(),
                });
                match store.create(Kind::FailoverView, body).await {
                    Ok(object) => object,
                    Err(StoreError::AlreadyExists { .. }) => continue,
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let view = object.parse::<FailoverView>().unwrap().spec.0;
        reported.retain(|uid, right| view.assign.get(uid).is_some_and(|entry| entry.holder.as_ref() == Some(right)));
        let standing = BTreeSet::new();
        if let Ok(Some((_, patch))) = next(&view, &me, &standing) {
            let patch = serde_json::from_value(patch.to_value(ROOT)).unwrap();
            match store.patch(Kind::FailoverView, &segment(), &patch).await {
                Ok(_) | Err(StoreError::TestFailed { .. } | StoreError::Conflict { .. }) => idle = false,
                Err(error) => panic!("{error}"),
            }
        }
        if let Some(right) = own_right(&view, &me) {
            for (uid, entry) in rights(&view, &me) {
                if reported.get(uid) != Some(&right) {
                    report(&store, &entry.name, &right).await;
                    reported.insert(uid.to_owned(), right.clone());
                    idle = false;
                }
            }
        }
        if idle {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn report(store: &SharedStore, name: &str, right: &Right) {
    let (namespace, name) = name.split_once('/').unwrap();
    let key = Key::namespaced(namespace, name);
    let object = store.get(Kind::VirtualIP, &key).await.unwrap().unwrap();
    let address = object.parse::<VirtualIP>().unwrap().status.unwrap_or_default().address;
    assert!(address.is_some(), "{key} is given to {right} and has no address");
    let holder = json!({"holder": {
        "node": right.node, "interface": "eth0", "mac": "02:00:00:00:00:01", "epoch": right.epoch,
        "since": "2026-01-01T00:00:00Z",
    }});
    match store.apply_status(Kind::VirtualIP, &key, "vipkeeper-agent", holder).await {
        Ok(_) | Err(StoreError::NotFound { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}
