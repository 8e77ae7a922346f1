//! What is to be measured: from the objects, by rules that do no IO.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::names::Names;
use super::world::World;
use crate::api::kind::Kind;
use crate::api::{ProbeTarget, Selector as ApiSelector, UDPProbeSpec};
use crate::core::probe::{self, neighbours};
use crate::core::selector::Selector;
use crate::prober::engine::TargetSettings;
use crate::store::Key;
use crate::wire::stamp::tlv;
use crate::wire::stamp::{AUTH_LEN, LEN};

/// Octets of the TLV that seals the others in the authenticated mode.
const SEAL: usize = tlv::HEADER + 16;

/// What a target was named by: a closed set, for a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TargetKind {
    Host,
    Service,
    Pod,
    VirtualIp,
    Node,
}

impl TargetKind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Service => "service",
            Self::Pod => "pod",
            Self::VirtualIp => "virtualip",
            Self::Node => "node",
        }
    }
}

impl fmt::Display for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A target: what makes its series one and the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Its probe, whose targets share this.
    pub(super) probe: Arc<Key>,
    pub(super) kind: TargetKind,
    pub(super) target: String,
    pub(super) address: SocketAddr,
}

/// How targets are found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) me: &'a str,
    pub(super) port: u16,
    pub(super) degree: usize,
}

/// Why something of a probe is not measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// A word for the condition, from a closed set.
    pub(super) reason: &'static str,
    /// The field, and what is wrong.
    pub(super) message: String,
}

/// What is to be measured, and what must be known for it.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) targets: BTreeMap<Place, TargetSettings>,
    /// How many targets each probe has.
    pub(super) counts: BTreeMap<Key, i64>,
    pub(super) problems: BTreeMap<Key, Vec<Problem>>,
    pub(super) kinds: BTreeSet<Kind>,
    pub(super) hosts: BTreeSet<String>,
}

/// The targets of all probes.
pub(super) fn plan(world: &World, names: &Names, rules: &Rules<'_>, cluster: bool, authenticated: bool) -> Plan {
    let mut plan = Plan { kinds: BTreeSet::from([Kind::UDPProbe]), ..Plan::default() };
    for (key, probe) in &world.probes {
        let mut finder = Finder { world, names, rules, cluster, key, plan: &mut plan };
        let mut found = Vec::new();
        for (number, target) in probe.spec.targets.iter().enumerate() {
            found.extend(finder.target(target).unwrap_or_else(|mut problem| {
                problem.message = format!("spec.targets[{number}]{}", problem.message);
                finder.problem(problem);
                Vec::new()
            }));
        }
        if probe.spec.mesh {
            found.extend(finder.mesh());
        }
        let shared = Arc::new(key.clone());
        for (kind, target, address) in found {
            let settings = settings(&probe.spec, kind, address, authenticated);
            let place = Place { probe: Arc::clone(&shared), kind, target, address };
            if plan.targets.insert(place, settings).is_none() {
                *plan.counts.entry(key.clone()).or_default() += 1;
            }
        }
    }
    plan
}

fn settings(spec: &UDPProbeSpec, kind: TargetKind, address: SocketAddr, authenticated: bool) -> TargetSettings {
    let holders = kind == TargetKind::VirtualIp;
    let base = if authenticated { AUTH_LEN } else { LEN };
    // Who answers stands in a TLV: a packet of a VirtualIP always has room for it.
    let named = base + tlv::HEADER + tlv::RESPONDER_MAX + if authenticated { SEAL } else { 0 };
    let size = spec.payload_size.max(if holders { named as u16 } else { base as u16 });
    TargetSettings {
        address,
        size,
        tos: spec.dscp << 2,
        legacy: false,
        limit: None,
        measure: probe::Settings {
            interval: spec.interval.0,
            timeout: spec.timeout.0,
            ports: spec.source_ports,
            spread: true,
            holders,
        },
    }
}

type Found = (TargetKind, String, SocketAddr);

struct Finder<'a> {
    world: &'a World,
    names: &'a Names,
    rules: &'a Rules<'a>,
    cluster: bool,
    key: &'a Key,
    plan: &'a mut Plan,
}

impl Finder<'_> {
    fn problem(&mut self, problem: Problem) {
        self.plan.problems.entry(self.key.clone()).or_default().push(problem);
    }

    fn at(&self, ip: IpAddr) -> SocketAddr {
        SocketAddr::new(ip, self.rules.port)
    }

    /// The targets that an entry names; the problem's message begins with the field below the entry.
    fn target(&mut self, target: &ProbeTarget) -> Result<Vec<Found>, Problem> {
        if let Some(host) = &target.host {
            return self.host(host);
        }
        if let Some(vip) = &target.virtual_ip {
            return self.virtual_ip(&vip.name);
        }
        if let Some(service) = &target.service {
            self.needs_cluster(".service", Kind::EndpointSlice)?;
            return Ok(self.service(&service.name));
        }
        if let Some(selector) = &target.pod_selector {
            self.needs_cluster(".podSelector", Kind::Pod)?;
            return self.pods(selector);
        }
        Err(Problem {
            reason: "Invalid",
            message: ": names none of host, service, podSelector and virtualIP".to_owned(),
        })
    }

    fn needs_cluster(&mut self, field: &str, kind: Kind) -> Result<(), Problem> {
        if !self.cluster {
            let message = format!("{field}: needs a Kubernetes API, and the store is a directory");
            return Err(Problem { reason: "NoCluster", message });
        }
        self.plan.kinds.insert(kind);
        Ok(())
    }

    fn host(&mut self, host: &str) -> Result<Vec<Found>, Problem> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![(TargetKind::Host, host.to_owned(), self.at(ip))]);
        }
        self.plan.hosts.insert(host.to_owned());
        match self.names.address(host) {
            Some(Ok(ip)) => Ok(vec![(TargetKind::Host, host.to_owned(), self.at(ip))]),
            Some(Err(error)) => Err(Problem { reason: "Unresolved", message: format!(".host {host:?}: {error}") }),
            None => Ok(Vec::new()),
        }
    }

    fn virtual_ip(&mut self, name: &str) -> Result<Vec<Found>, Problem> {
        self.plan.kinds.insert(Kind::VirtualIP);
        let namespace = self.key.namespace.clone().unwrap_or_default();
        let wrong =
            |what: &str| Err(Problem { reason: "NoTargets", message: format!(".virtualIP.name {name:?}: {what}") });
        match self.world.vips.get(&Key::namespaced(namespace, name)) {
            Some(Some(ip)) => Ok(vec![(TargetKind::VirtualIp, name.to_owned(), self.at(*ip))]),
            Some(None) => wrong("it has no address yet"),
            None if self.world.is_read(Kind::VirtualIP) => wrong("no such VirtualIP in this namespace"),
            None => Ok(Vec::new()),
        }
    }

    fn service(&self, name: &str) -> Vec<Found> {
        let slices = self
            .world
            .slices
            .iter()
            .filter(|(key, slice)| key.namespace == self.key.namespace && slice.service == name);
        slices
            .flat_map(|(_, slice)| {
                let port = slice.port.unwrap_or(self.rules.port);
                slice.addresses.iter().map(move |ip| (TargetKind::Service, name.to_owned(), SocketAddr::new(*ip, port)))
            })
            .collect()
    }

    fn pods(&self, selector: &ApiSelector) -> Result<Vec<Found>, Problem> {
        // Both types have the shape of Kubernetes' LabelSelector.
        let read = serde_json::to_value(selector).and_then(serde_json::from_value::<Selector>);
        let selector =
            read.map_err(|error| Problem { reason: "Invalid", message: format!(".podSelector: {error}") })?;
        let pods = self
            .world
            .pods
            .iter()
            .filter(|(key, pod)| key.namespace == self.key.namespace && selector.matches(&pod.labels));
        Ok(pods.map(|(key, pod)| (TargetKind::Pod, key.name.clone(), self.at(pod.address))).collect())
    }

    fn mesh(&mut self) -> Vec<Found> {
        self.plan.kinds.extend([Kind::Node, Kind::FailoverView]);
        let nodes: BTreeMap<&str, Option<IpAddr>> = self.world.nodes().collect();
        let mut found = Vec::new();
        for name in neighbours(self.rules.me, nodes.keys().copied(), self.rules.degree) {
            match nodes.get(name).copied().flatten() {
                Some(ip) => found.push((TargetKind::Node, name.to_owned(), self.at(ip))),
                None => self.problem(Problem {
                    reason: "NoAddress",
                    message: format!(
                        "spec.mesh: node {name:?} has no address, in its status or as a member of a segment"
                    ),
                }),
            }
        }
        found
    }
}

#[cfg(test)]
#[path = "wanted_tests.rs"]
mod tests;
