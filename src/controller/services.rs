//! Services and their endpoints as decisions see them, and what is written for them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Service as ApiService, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::objects;
use crate::api::kind::Kind;
use crate::core::controller::{ADDRESSES, Endpoints, NewVip, Service, ServiceStatus};
use crate::core::ipam::Family;
use crate::store::Key;

/// The class of Services that are ours (`spec.loadBalancerClass`).
pub const CLASS: &str = "vipkeeper.dev/vip";
/// The annotation of a Service that names the `AddressPool` of its addresses.
pub const POOL: &str = "vipkeeper.dev/pool";
/// The label of an `EndpointSlice` that names its Service (discovery/v1, `LabelServiceName`).
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A Service; one that is not ours wants no family.
pub(super) fn service(key: &Key, service: ApiService) -> Service {
    let spec = service.spec.unwrap_or_default();
    let status = service.status.unwrap_or_default();
    let ingress = status.load_balancer.and_then(|balancer| balancer.ingress).unwrap_or_default();
    let conditions = objects::conditions(&status.conditions.unwrap_or_default());
    let annotations = service.metadata.annotations.clone().unwrap_or_default();
    Service {
        labels: service.metadata.labels.clone().unwrap_or_default(),
        families: if is_ours(&spec) { families(&spec) } else { Vec::new() },
        address: spec.load_balancer_ip.as_deref().and_then(|text| text.parse().ok()),
        pool: annotations.get(POOL).cloned(),
        local: spec.external_traffic_policy.as_deref() == Some("Local"),
        status: ServiceStatus {
            ingress: ingress.into_iter().filter_map(|one| one.ip?.parse::<IpAddr>().ok()).collect(),
            condition: conditions.into_iter().find(|condition| condition.kind == ADDRESSES),
        },
        meta: objects::meta(key, service.metadata),
    }
}

fn is_ours(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() == Some("LoadBalancer") && spec.load_balancer_class.as_deref() == Some(CLASS)
}

fn families(spec: &ServiceSpec) -> Vec<Family> {
    let of = |family: &String| match family.as_str() {
        "IPv4" => Some(Family::V4),
        "IPv6" => Some(Family::V6),
        _ => None,
    };
    spec.ip_families.iter().flatten().filter_map(of).collect()
}

/// The nodes with a ready endpoint in a slice.
pub(super) fn endpoints(key: &Key, slice: EndpointSlice) -> Endpoints {
    let labels = slice.metadata.labels.unwrap_or_default();
    let namespace = key.namespace.clone().unwrap_or_default();
    let service = labels.get(SERVICE_NAME).map(|name| format!("{namespace}/{name}")).unwrap_or_default();
    // What says nothing is ready (discovery/v1, EndpointConditions).
    let ready = |ready: Option<bool>| ready.unwrap_or(true);
    let nodes = slice.endpoints.into_iter().flatten();
    let nodes = nodes.filter(|one| ready(one.conditions.as_ref().and_then(|conditions| conditions.ready)));
    Endpoints { name: key.to_string(), service, nodes: nodes.filter_map(|one| one.node_name).collect() }
}

/// The `VirtualIP` of a Service, as it is made.
pub(super) fn new_vip(key: &Key, new: &NewVip) -> Value {
    let mut spec = json!({ "ipFamily": new.family.as_str() });
    if let Some(address) = new.address {
        spec["address"] = address.to_string().into();
    } else if let Some(pool) = &new.pool {
        spec["pool"] = pool.clone().into();
    }
    let owner = json!({
        "apiVersion": Kind::Service.api_version(),
        "kind": Kind::Service.name(),
        "name": new.service,
        "uid": new.owner,
        "controller": true,
        "blockOwnerDeletion": false,
    });
    json!({
        "apiVersion": Kind::VirtualIP.api_version(),
        "kind": Kind::VirtualIP.name(),
        "metadata": {"namespace": key.namespace, "name": key.name, "ownerReferences": [owner]},
        "spec": spec,
    })
}

/// The uid of the Service that owns a `VirtualIP`.
pub(super) fn owner(references: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference]) -> Option<String> {
    let owning = references.iter().find(|one| one.controller == Some(true) && one.kind == Kind::Service.name());
    owning.map(|one| one.uid.clone())
}

/// The status of a Service: the addresses, as kube-proxy and `kubectl get service` read them.
pub(super) fn status(status: &ServiceStatus, conditions: Vec<Value>) -> Value {
    let ingress: Vec<_> = status.ingress.iter().map(|ip| json!({"ip": ip.to_string(), "ipMode": "VIP"})).collect();
    let mut body: BTreeMap<&str, Value> = BTreeMap::from([("conditions", conditions.into())]);
    body.insert("loadBalancer", json!({ "ingress": ingress }));
    json!(body)
}
