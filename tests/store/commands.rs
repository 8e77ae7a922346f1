//! `vipkeeper get`, `describe` and `node` as a user sees them.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use vipkeeper::api::kind::Kind;
use vipkeeper::store::dir::Dir;
use vipkeeper::store::{Event, EventType, Key, Store};

use crate::support::process::VIPKEEPER;

const VIPS: &str = "\
apiVersion: vipkeeper.dev/v1alpha1
kind: VirtualIP
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {address: 192.0.2.1}
---
apiVersion: vipkeeper.dev/v1alpha1
kind: VirtualIP
metadata: {name: mail}
spec: {}
";

fn vipkeeper(folder: &Path, words: &str) -> Output {
    Command::new(VIPKEEPER)
        .args(words.split_whitespace())
        .env("VIPKEEPER_STORE", format!("dir:{}", folder.display()))
        .output()
        .unwrap()
}

/// What a command prints that succeeds.
fn printed(folder: &Path, words: &str) -> String {
    let output = vipkeeper(folder, words);
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The cells of a table.
fn cells(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect()
}

#[tokio::test]
async fn objects_are_shown_as_kubectl_shows_them() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("vips.yaml"), VIPS).unwrap();
    let output = vipkeeper(folder.path(), "get vip");
    assert!(output.status.success() && output.stdout.is_empty());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "No resources found in default namespace.\n");
    assert!(!folder.path().join(".vipkeeper").exists(), "who only looks writes nothing");

    let store = Dir::open(folder.path(), None).unwrap();
    drop(store.watch(Kind::VirtualIP).await.unwrap());
    let key = Key::namespaced("shop", "web");
    let since = "2026-01-01T00:00:00Z";
    let holder = json!({"node": "node-a", "interface": "eth0", "mac": "02:00:00:00:00:01", "epoch": 3, "since": since});
    let ready = json!({"type": "Ready", "status": "True", "reason": "Held", "message": "node-a answers", "lastTransitionTime": since});
    let status = json!({"address": "192.0.2.1", "holder": holder, "conditions": [ready]});
    let object = store.apply_status(Kind::VirtualIP, &key, "agent", status).await.unwrap();

    let table = printed(folder.path(), "get vip -A");
    let cells = cells(&table);
    assert_eq!(cells[0], ["NAMESPACE", "NAME", "ADDRESS", "NODE", "INTERFACE", "READY", "AGE"]);
    assert_eq!(cells[1][..2], ["default", "mail"]);
    assert_eq!(cells[2][..6], ["shop", "web", "192.0.2.1", "node-a", "eth0", "True"]);
    assert!(cells[2][6].ends_with('s'), "an age: {table}");
    let wide = printed(folder.path(), "get virtualips -n shop -o wide");
    assert!(wide.lines().next().unwrap().contains("EPOCH   LAST FAILOVER"), "{wide}");
    let one: Value = serde_json::from_str(&printed(folder.path(), "get vip web -n shop -o json")).unwrap();
    assert_eq!(one, *object.body);
    let all: Value = serde_yaml::from_str(&printed(folder.path(), "get vip -A -o yaml")).unwrap();
    assert_eq!((&all["kind"], all["items"].as_array().unwrap().len()), (&json!("List"), 2));
    let none = vipkeeper(folder.path(), "get vip none");
    assert_eq!(none.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&none.stderr), "vipkeeper: virtualips.vipkeeper.dev \"none\" not found\n");
    assert_eq!(vipkeeper(folder.path(), "get pods").status.code(), Some(2));

    let event = Event {
        kind: Kind::VirtualIP,
        key,
        uid: object.uid().to_owned(),
        event_type: EventType::Normal,
        reason: "Held",
        message: "node-a holds 192.0.2.1 on eth0".to_owned(),
    };
    store.record(event).await.unwrap();
    let text = printed(folder.path(), "describe vip web -n shop");
    for part in [
        "Name:         web",
        "Labels:       app=web",
        "  address: 192.0.2.1",
        "  Ready   True     Held",
        "node-a holds 192.0.2.1",
    ] {
        assert!(text.contains(part), "{part:?} in:\n{text}");
    }
}

#[tokio::test]
async fn nodes_are_marked_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let store = Dir::open(folder.path(), None).unwrap();
    let body = json!({"metadata": {"name": "node-a", "labels": {"rack": "a"}}});
    store.create(Kind::Node, body).await.unwrap();
    assert_eq!(printed(folder.path(), "node cordon node-a"), "node/node-a cordoned\n");
    assert_eq!(printed(folder.path(), "node cordon node-a"), "node/node-a unchanged\n");
    printed(folder.path(), "node taint node-a disk=broken:NoExecute");
    let table = printed(folder.path(), "node list -o wide");
    let rows = cells(&table);
    assert_eq!(rows[0], ["NAME", "STATUS", "TAINTS", "AGE", "LABELS"]);
    assert_eq!(rows[1][..3], ["node-a", "SchedulingDisabled", "disk=broken:NoExecute"]);
    assert_eq!(rows[1][4], "rack=a");
    printed(folder.path(), "node taint node-a disk-");
    printed(folder.path(), "node uncordon node-a");
    let node = store.get(Kind::Node, &Key::cluster("node-a")).await.unwrap().unwrap();
    assert_eq!(node.body["spec"], json!({}));
    let none = vipkeeper(folder.path(), "node cordon node-b");
    assert_eq!(none.status.code(), Some(1));
    assert_eq!(vipkeeper(folder.path(), "node taint node-a disk").status.code(), Some(2));
}
