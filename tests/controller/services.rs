//! Services of type LoadBalancer, as an API server would have them: on any store, past the manifests.

use serde_json::{Value, json};
use vipkeeper::api::kind::Kind;
use vipkeeper::store::Key;

use crate::agent::Agent;
use crate::bed::{Bed, LIMIT, shop};
use crate::support::{wait_for, wait_until};

fn service(class: &str) -> Value {
    json!({
        "type": "LoadBalancer", "loadBalancerClass": class, "ipFamilies": ["IPv4"],
        "externalTrafficPolicy": "Local", "ports": [{"port": 80}],
    })
}

/// Endpoints on one node.
fn slice(bed: &Bed, service: &str, node: &str) {
    let body = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("{service}-1"), "namespace": "shop",
            "labels": {"kubernetes.io/service-name": service}},
        "endpoints": [
            {"addresses": ["10.0.0.1"], "nodeName": node, "conditions": {"ready": true}},
            {"addresses": ["10.0.0.2"], "nodeName": "node-a", "conditions": {"ready": false}},
        ],
        "ports": [{"port": 80}],
    });
    bed.runtime.block_on(bed.store.create(Kind::EndpointSlice, body)).unwrap();
}

#[test]
fn a_service_gets_an_address_on_a_node_with_an_endpoint_and_gives_it_back() {
    let bed = Bed::new();
    bed.apply_pool("public", json!({"ranges": ["198.51.100.0/29"]}));
    let _controller = bed.controller("one");
    let _agents = ["node-a", "node-b"].map(|node| Agent::start(&bed, node));
    slice(&bed, "web", "node-b");
    bed.create(Kind::Service, &shop("web"), &service("vipkeeper.dev/vip"));
    bed.create(Kind::Service, &shop("other"), &service("example.com/other"));
    bed.wait_condition("web-ipv4", "Ready", "True", "Held");
    assert_eq!(bed.status("web-ipv4").holder.map(|holder| holder.node).as_deref(), Some("node-b"));
    let ingress = wait_for(LIMIT, "the address in the Service's status", || {
        let object = bed.get(Kind::Service, &shop("web"))?;
        object.body["status"]["loadBalancer"]["ingress"].as_array().filter(|list| !list.is_empty()).cloned()
    });
    assert_eq!(ingress, [json!({"ip": "198.51.100.0", "ipMode": "VIP"})]);
    let vip = bed.get(Kind::VirtualIP, &shop("web-ipv4")).unwrap();
    let owner = &vip.body["metadata"]["ownerReferences"][0];
    let service = bed.get(Kind::Service, &shop("web")).unwrap();
    assert_eq!((owner["kind"].as_str(), owner["uid"].as_str()), (Some("Service"), Some(service.uid())));
    let all = bed.runtime.block_on(bed.store.list(Kind::VirtualIP)).unwrap();
    assert_eq!(all.len(), 1, "a Service of another class gets nothing: {all:?}");

    bed.runtime.block_on(bed.store.delete(Kind::Service, &shop("web"))).unwrap();
    wait_until(LIMIT, "the end of its VirtualIP", || bed.get(Kind::VirtualIP, &shop("web-ipv4")).is_none());
    let view = bed.get(Kind::FailoverView, &Key::cluster("198.51.100.0-24")).unwrap();
    assert_eq!(view.body["spec"]["assign"], json!({}));
}
