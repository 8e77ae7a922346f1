//! What the store says, reduced to what a prober needs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::Value;
use tracing::warn;

use crate::api::kind::Kind;
use crate::api::{FailoverView, UDPProbe, VirtualIP};
use crate::core::selector::Labels;
use crate::store::{Change, Key, Object};

/// The label of an `EndpointSlice` that names its Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// The name of a Service's port at which a reflector listens, where it has several.
const PORT_NAME: &str = "udp-ping";

/// The objects that matter, by kind and name.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) probes: BTreeMap<Key, UDPProbe>,
    pub(super) vips: BTreeMap<Key, Option<IpAddr>>,
    pub(super) pods: BTreeMap<Key, Pod>,
    pub(super) slices: BTreeMap<Key, Slice>,
    /// Addresses that nodes have themselves.
    nodes: BTreeMap<String, Option<IpAddr>>,
    /// Addresses that nodes have as members of segments.
    members: BTreeMap<Key, BTreeMap<String, IpAddr>>,
    read: BTreeSet<Kind>,
}

/// A running pod.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) labels: Labels,
    pub(super) address: IpAddr,
}

/// Ready endpoints of a Service.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) service: String,
    pub(super) port: Option<u16>,
    pub(super) addresses: Vec<IpAddr>,
}

impl World {
    /// Whether all objects of a kind were read once.
    pub(super) fn is_read(&self, kind: Kind) -> bool {
        self.read.contains(&kind)
    }

    /// The registered nodes with their addresses, where they are known.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (&str, Option<IpAddr>)> {
        self.nodes.iter().map(|(name, own)| {
            let member = || self.members.values().find_map(|members| members.get(name)).copied();
            (name.as_str(), own.or_else(member))
        })
    }

    /// Takes in a change.
    pub(super) fn apply(&mut self, kind: Kind, change: Change) {
        match change {
            Change::Reset(objects) => {
                self.clear(kind);
                self.read.insert(kind);
                objects.iter().for_each(|object| self.put(object));
            }
            Change::Apply(object) => self.put(&object),
            Change::Delete(key) => self.delete(kind, &key),
            Change::Invalid { key, reason } => {
                let name = key.map(|key| key.to_string()).unwrap_or_default();
                warn!(kind = kind.name(), name, reason, "an invalid object is ignored; what was accepted of it stays");
            }
            Change::Lost(reason) => {
                warn!(kind = kind.name(), reason, "the store does not answer; what is known stays in force");
            }
        }
    }

    fn clear(&mut self, kind: Kind) {
        match kind {
            Kind::UDPProbe => self.probes.clear(),
            Kind::VirtualIP => self.vips.clear(),
            Kind::Pod => self.pods.clear(),
            Kind::EndpointSlice => self.slices.clear(),
            Kind::Node => self.nodes.clear(),
            Kind::FailoverView => self.members.clear(),
            _ => {}
        }
    }

    fn delete(&mut self, kind: Kind, key: &Key) {
        match kind {
            Kind::UDPProbe => drop(self.probes.remove(key)),
            Kind::VirtualIP => drop(self.vips.remove(key)),
            Kind::Pod => drop(self.pods.remove(key)),
            Kind::EndpointSlice => drop(self.slices.remove(key)),
            Kind::Node => drop(self.nodes.remove(&key.name)),
            Kind::FailoverView => drop(self.members.remove(key)),
            _ => {}
        }
    }

    fn put(&mut self, object: &Object) {
        let key = object.key.clone();
        if !object.meta("deletionTimestamp").is_empty() {
            return self.delete(object.kind, &key);
        }
        match object.kind {
            Kind::UDPProbe => match object.parse::<UDPProbe>() {
                Ok(probe) => drop(self.probes.insert(key, probe)),
                Err(error) => warn!(%error, "a probe that does not parse is ignored; what was accepted of it stays"),
            },
            Kind::VirtualIP => match object.parse::<VirtualIP>() {
                Ok(vip) => drop(self.vips.insert(key, vip_address(&vip))),
                Err(error) => warn!(%error, "an address that does not parse is ignored"),
            },
            Kind::Pod => match pod(&object.body) {
                Some(pod) => drop(self.pods.insert(key, pod)),
                None => drop(self.pods.remove(&key)),
            },
            Kind::EndpointSlice => match slice(&object.body) {
                Some(slice) => drop(self.slices.insert(key, slice)),
                None => drop(self.slices.remove(&key)),
            },
            Kind::Node => drop(self.nodes.insert(key.name, node_address(&object.body))),
            Kind::FailoverView => match object.parse::<FailoverView>() {
                Ok(view) => {
                    let members = view.spec.0.members.into_iter();
                    self.members.insert(key, members.map(|(name, member)| (name, member.address)).collect());
                }
                Err(error) => warn!(%error, "a view that does not parse is ignored"),
            },
            _ => {}
        }
    }
}

/// The address that was allocated, else the one that was asked for.
fn vip_address(vip: &VirtualIP) -> Option<IpAddr> {
    let allocated = vip.status.as_ref().and_then(|status| status.address.as_deref());
    let text = allocated.or(vip.spec.address.as_deref())?;
    text.split('/').next()?.parse().ok()
}

fn address(value: &Value) -> Option<IpAddr> {
    value.as_str()?.parse().ok()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn pod(body: &Value) -> Option<Pod> {
    if body["status"]["phase"] != "Running" {
        return None;
    }
    let labels = serde_json::from_value(body["metadata"]["labels"].clone()).unwrap_or_default();
    Some(Pod { labels, address: address(&body["status"]["podIP"])? })
}

fn slice(body: &Value) -> Option<Slice> {
    let service = body["metadata"]["labels"][SERVICE_LABEL].as_str()?.to_owned();
    let udp: Vec<&Value> = items(&body["ports"]).iter().filter(|port| port["protocol"] == "UDP").collect();
    let port = udp.iter().find(|port| port["name"] == PORT_NAME).or_else(|| udp.first());
    let port = port.and_then(|port| u16::try_from(port["port"].as_u64()?).ok());
    let ready = items(&body["endpoints"]).iter().filter(|endpoint| endpoint["conditions"]["ready"] != false);
    let addresses = ready.filter_map(|endpoint| address(items(&endpoint["addresses"]).first()?)).collect();
    Some(Slice { service, port, addresses })
}

fn node_address(body: &Value) -> Option<IpAddr> {
    let addresses = items(&body["status"]["addresses"]);
    let of =
        |kind: &str| addresses.iter().find(|entry| entry["type"] == kind).and_then(|entry| address(&entry["address"]));
    of("InternalIP").or_else(|| of("ExternalIP"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_slice_the_ready_endpoints_and_the_udp_port_count() {
        let body = json!({
            "metadata": {"labels": {"kubernetes.io/service-name": "web"}},
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "x", "port": 5, "protocol": "UDP"},
                      {"name": "udp-ping", "port": 32767, "protocol": "UDP"}],
            "endpoints": [
                {"addresses": ["192.0.2.1"], "conditions": {"ready": true}},
                {"addresses": ["192.0.2.2"], "conditions": {"ready": false}},
                {"addresses": ["192.0.2.3"], "conditions": {}}],
        });
        let addresses = vec!["192.0.2.1".parse().unwrap(), "192.0.2.3".parse().unwrap()];
        assert_eq!(slice(&body), Some(Slice { service: "web".into(), port: Some(32767), addresses }));
        assert_eq!(slice(&json!({"metadata": {}})), None);
    }

    #[test]
    fn a_pod_that_does_not_run_is_none() {
        let body = |phase: &str| json!({"metadata": {"labels": {"app": "web"}}, "status": {"phase": phase, "podIP": "192.0.2.9"}});
        assert_eq!(pod(&body("Running")).map(|pod| pod.labels["app"].clone()), Some("web".into()));
        assert_eq!(pod(&body("Pending")), None);
    }
}
