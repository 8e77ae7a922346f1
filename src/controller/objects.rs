//! The store's objects as decisions see them.

use std::net::IpAddr;
use std::str::FromStr;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition as ApiCondition, ObjectMeta};

use super::services;
use crate::api::kind::Kind;
use crate::api::{self, AddressPool, FailoverView, VirtualIP};
use crate::core::controller::{
    Condition, Id, Listing, Meta, Node as SeenNode, Object as Seen, Offer, Pool, PoolStatus, Segment, Status, Vip, Wish,
};
use crate::core::health::Record;
use crate::core::ipam::{Family, NAMESPACE_LABEL, Range};
use crate::core::placement::{Failback, Preference};
use crate::core::view::Right;
use crate::store::{Key, Object, StoreError};

/// The kinds that the controller watches.
pub(super) const WATCHED: [Kind; 6] =
    [Kind::VirtualIP, Kind::AddressPool, Kind::Node, Kind::FailoverView, Kind::Service, Kind::EndpointSlice];

/// The kind and the key of an object.
pub(super) fn place(id: &Id) -> (Kind, Key) {
    match id {
        Id::Vip(name) => (Kind::VirtualIP, namespaced(name)),
        Id::Service(name) => (Kind::Service, namespaced(name)),
        Id::Endpoints(name) => (Kind::EndpointSlice, namespaced(name)),
        Id::Pool(name) => (Kind::AddressPool, Key::cluster(name)),
        Id::Node(name) => (Kind::Node, Key::cluster(name)),
        Id::View(name) => (Kind::FailoverView, Key::cluster(name)),
    }
}

fn namespaced(name: &str) -> Key {
    let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
    Key::namespaced(namespace, name)
}

/// What decisions call an object; `None` for kinds that are not watched.
pub(super) fn id(kind: Kind, key: &Key) -> Option<Id> {
    match kind {
        Kind::VirtualIP => Some(Id::Vip(key.to_string())),
        Kind::AddressPool => Some(Id::Pool(key.name.clone())),
        Kind::Node => Some(Id::Node(key.name.clone())),
        Kind::FailoverView => Some(Id::View(key.name.clone())),
        Kind::Service => Some(Id::Service(key.to_string())),
        Kind::EndpointSlice => Some(Id::Endpoints(key.to_string())),
        _ => None,
    }
}

/// An object of a watched kind.
pub(super) fn seen(object: &Object) -> Result<Seen, StoreError> {
    match object.kind {
        Kind::VirtualIP => object.parse().map(|vip| Seen::Vip(self::vip(&object.key, vip))),
        Kind::AddressPool => object.parse().map(|pool| Seen::Pool(self::pool(pool))),
        Kind::Node => object.parse().map(|node| Seen::Node(self::node(&object.key, node))),
        Kind::FailoverView => {
            let view = object.parse::<FailoverView>()?;
            Ok(Seen::View(Segment { meta: meta(&object.key, view.metadata), view: view.spec.0 }))
        }
        Kind::Service => object.parse().map(|service| Seen::Service(services::service(&object.key, service))),
        Kind::EndpointSlice => object.parse().map(|slice| Seen::Endpoints(services::endpoints(&object.key, slice))),
        other => Err(StoreError::Malformed {
            kind: other.name(),
            key: object.key.to_string(),
            reason: "the controller does not watch this kind".to_owned(),
        }),
    }
}

/// All objects of a watched kind; those that do not parse are left out.
pub(super) fn listing(kind: Kind, objects: impl Iterator<Item = Seen>) -> Listing {
    let (mut vips, mut pools, mut nodes, mut views) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut services, mut endpoints) = (Vec::new(), Vec::new());
    for object in objects {
        match object {
            Seen::Vip(vip) => vips.push(vip),
            Seen::Pool(pool) => pools.push(pool),
            Seen::Node(node) => nodes.push(node),
            Seen::View(view) => views.push(view),
            Seen::Service(service) => services.push(service),
            Seen::Endpoints(slice) => endpoints.push(slice),
        }
    }
    match kind {
        Kind::VirtualIP => Listing::Vips(vips),
        Kind::AddressPool => Listing::Pools(pools),
        Kind::Node => Listing::Nodes(nodes),
        Kind::Service => Listing::Services(services),
        Kind::EndpointSlice => Listing::Endpoints(endpoints),
        _ => Listing::Views(views),
    }
}

pub(super) fn meta(key: &Key, meta: ObjectMeta) -> Meta {
    Meta {
        uid: meta.uid.unwrap_or_default(),
        name: key.to_string(),
        version: meta.resource_version.unwrap_or_default(),
        generation: meta.generation.unwrap_or_default(),
        created: meta.creation_timestamp.map_or(0, |time| time.0.as_microsecond()),
        deleting: meta.deletion_timestamp.is_some(),
        finalizers: meta.finalizers.unwrap_or_default(),
    }
}

fn vip(key: &Key, vip: VirtualIP) -> Vip {
    let status = vip.status.unwrap_or_default();
    let holder = status.holder.as_ref().map(|holder| {
        let epoch = u64::try_from(holder.epoch).unwrap_or_default();
        (Right::new(&holder.node, epoch), holder.interface.clone())
    });
    Vip {
        owner: services::owner(vip.metadata.owner_references.as_deref().unwrap_or_default()),
        meta: meta(key, vip.metadata),
        wish: wish(key, vip.spec),
        status: Status {
            address: status.address.as_deref().and_then(|text| ip(text).ok()),
            conditions: conditions(&status.conditions),
            generation: status.observed_generation,
        },
        holder,
        health: status
            .health
            .into_iter()
            .map(|one| (one.node, Record { failing: one.failing, failures: one.failures }))
            .collect(),
    }
}

/// An address without the prefix length that may stand behind it.
fn ip(text: &str) -> Result<IpAddr, String> {
    let address = text.split('/').next().unwrap_or(text);
    address.parse().map_err(|_| format!("{text:?} is no IP address"))
}

fn wish(key: &Key, spec: api::VirtualIPSpec) -> Result<Wish, String> {
    let namespace = key.namespace.clone().unwrap_or_default();
    let preferred = spec.preferred_nodes.into_iter().map(|preferred| {
        let selector = preferred.node_selector.into_core();
        Ok(Preference { weight: u32::from(preferred.weight), selector: named("preferredNodes", selector)? })
    });
    Ok(Wish {
        namespace: [(NAMESPACE_LABEL.to_owned(), namespace)].into(),
        service: None,
        only: None,
        address: named("address", spec.address.as_deref().map(ip).transpose())?,
        pool: spec.pool,
        family: spec.ip_family.map(|family| match family {
            api::IpFamily::IPv4 => Family::V4,
            api::IpFamily::IPv6 => Family::V6,
        }),
        interface: spec.interface,
        nodes: named("nodeSelector", spec.node_selector.map(api::Selector::into_core).transpose())?,
        preferred: preferred.collect::<Result<_, String>>()?,
        failback: match spec.failback {
            api::Failback::Never => Failback::Never,
            api::Failback::WhenPreferred => Failback::WhenPreferred,
        },
        gated: spec.failover_policy == api::FailoverPolicy::Safe,
        checked: spec.health_check.is_some(),
    })
}

fn pool(pool: AddressPool) -> Pool {
    let status = pool.status.unwrap_or_default();
    let name = pool.metadata.name.clone().unwrap_or_default();
    Pool {
        meta: meta(&Key::cluster(name), pool.metadata),
        offer: offer(pool.spec),
        status: PoolStatus {
            conditions: conditions(&status.conditions),
            total: status.total,
            allocated: status.allocated,
            free: status.free,
            generation: status.observed_generation,
        },
    }
}

fn offer(spec: api::AddressPoolSpec) -> Result<Offer, String> {
    let ranges = |texts: Vec<String>| texts.iter().map(|text| Range::from_str(text)).collect::<Result<_, _>>();
    let parsed = |field, texts| named(field, ranges(texts).map_err(|error| error.to_string()));
    Ok(Offer {
        ranges: parsed("ranges", spec.ranges)?,
        exclude: parsed("exclude", spec.exclude)?,
        avoid_buggy: spec.avoid_buggy_ips,
        auto_assign: spec.auto_assign,
        priority: spec.priority,
        namespaces: named("namespaceSelector", spec.namespace_selector.map(api::Selector::into_core).transpose())?,
        services: named("serviceSelector", spec.service_selector.map(api::Selector::into_core).transpose())?,
    })
}

/// An error that names the field of the spec.
fn named<T>(field: &str, result: Result<T, String>) -> Result<T, String> {
    result.map_err(|error| format!("spec.{field}: {error}"))
}

fn node(key: &Key, node: Node) -> SeenNode {
    let spec = node.spec.unwrap_or_default();
    let taints = spec.taints.unwrap_or_default();
    let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
    SeenNode {
        name: key.name.clone(),
        labels: node.metadata.labels.unwrap_or_default(),
        cordoned: spec.unschedulable.unwrap_or_default(),
        no_execute: taints.into_iter().filter(|taint| taint.effect == "NoExecute").map(|taint| taint.key).collect(),
        ready: conditions.iter().find(|condition| condition.type_ == "Ready").map(|ready| ready.status == "True"),
    }
}

pub(super) fn conditions(conditions: &[ApiCondition]) -> Vec<Condition> {
    conditions
        .iter()
        .map(|condition| Condition {
            kind: condition.type_.clone(),
            holds: condition.status == "True",
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            generation: condition.observed_generation.unwrap_or_default(),
            since: Some(condition.last_transition_time.0.to_string()),
        })
        .collect()
}
