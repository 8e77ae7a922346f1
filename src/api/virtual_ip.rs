//! `VirtualIP`: an address that one node of a segment answers for.
#![allow(unreachable_pub, reason = "the derive repeats each struct inside a function")]
#![allow(clippy::duplicated_attributes, reason = "printer columns share types and priorities")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;
use super::Selector;
use super::rules::address::{
    ADDRESS_CANONICAL, ADDRESS_FORM, ADDRESS_HOST, ADDRESS_IMMUTABLE, ADDRESS_OR_POOL, ADDRESS_UNICAST,
    FAMILY_OF_ADDRESS,
};
use super::rules::duration::{ANNOUNCE_INTERVAL, CHECK_INTERVAL, CHECK_TIMEOUT, TIMEOUT_WITHIN_INTERVAL};
use super::rules::name::{HTTP_PATH, INTERFACE, OBJECT_NAME};
use super::rules::one_of::ONE_CHECK;

/// What is wanted of a virtual IP address.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "vipkeeper.dev",
    version = "v1alpha1",
    kind = "VirtualIP",
    plural = "virtualips",
    singular = "virtualip",
    shortname = "vip",
    category = "vipkeeper",
    namespaced,
    status = "VirtualIPStatus",
    derive = "PartialEq",
    doc = "A virtual IP address: one node answers for it, and when that node dies another does.",
    printcolumn(name = "Address", type_ = "string", json_path = ".status.address", description = "The address."),
    printcolumn(
        name = "Node",
        type_ = "string",
        json_path = ".status.holder.node",
        description = "The node that holds it."
    ),
    printcolumn(
        name = "Interface",
        type_ = "string",
        json_path = ".status.holder.interface",
        description = "The interface of that node."
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether a node answers for it."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Epoch",
        type_ = "integer",
        json_path = ".status.holder.epoch",
        priority = 1,
        description = "The epoch of the holder's right."
    ),
    printcolumn(
        name = "Last Failover",
        type_ = "date",
        json_path = ".status.lastFailover.at",
        priority = 1,
        description = "How long ago it last changed its node."
    )
)]
#[x_kube(validation = &ADDRESS_IMMUTABLE, validation = &ADDRESS_OR_POOL, validation = &FAMILY_OF_ADDRESS)]
pub struct VirtualIPSpec {
    /// The address: a unicast IPv4 or IPv6 address in canonical text, optionally with a prefix length
    /// (198.51.100.20, 2001:db8::20/64). Immutable once set. If omitted, one is taken from a pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(
        validation = &ADDRESS_FORM,
        validation = &ADDRESS_CANONICAL,
        validation = &ADDRESS_UNICAST,
        validation = &ADDRESS_HOST
    )]
    pub address: Option<String>,
    /// The AddressPool to take the address from. If omitted, and no address is given, any pool that assigns
    /// automatically and selects this namespace will do, the one of highest priority first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = &OBJECT_NAME)]
    pub pool: Option<String>,
    /// The family of an address from a pool. If omitted, the family that the pool has, IPv4 first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_family: Option<IpFamily>,
    /// The interface that the address is put on: a name, or a glob with * and ? (eth0, eth*). If omitted, the one whose
    /// subnet contains the address, else the one of the default route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 31))]
    #[x_kube(validation = &INTERFACE)]
    pub interface: Option<String>,
    /// The nodes that may hold the address. If omitted, every node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<Selector>,
    /// Nodes that should rather hold the address than others: the weights of all that match a node are added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub preferred_nodes: Vec<PreferredNodes>,
    /// Whether the address moves back when a preferred node returns.
    #[serde(default)]
    pub failback: Failback,
    /// How the holder makes the address known to its neighbours.
    #[serde(default)]
    pub announce: Announce,
    /// A check on the holder. If it fails the address moves to a node where it may succeed; if it fails everywhere,
    /// nothing moves. If omitted, only nodes are watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// What the holder does when the API server does not answer, as long as it still hears the other nodes.
    #[serde(default)]
    pub on_api_outage: OnApiOutage,
    /// Whether a successor waits until the former holder is closed for certain.
    #[serde(default)]
    pub failover_policy: FailoverPolicy,
    /// Whether nodes other than the holder must not even accept packets for the address. A planned move then interrupts
    /// it for a moment.
    #[serde(default)]
    pub exclusive: bool,
}

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum IpFamily {
    /// 32-bit addresses.
    IPv4,
    /// 128-bit addresses.
    IPv6,
}

/// Nodes that should rather hold an address than others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreferredNodes {
    /// How much these nodes are preferred, 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub weight: u8,
    /// Which nodes these are.
    pub node_selector: Selector,
}

/// Whether an address moves back when a preferred node returns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Failback {
    /// It stays where it is.
    #[default]
    Never,
    /// It moves to a node that is preferred more, without a gap.
    WhenPreferred,
}

/// How a holder makes its address known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Announce {
    /// The time between two announcements while the address is held, 100ms to 1h.
    #[serde(default = "Announce::default_interval")]
    #[x_kube(validation = &ANNOUNCE_INTERVAL)]
    pub interval: Duration,
    /// How many announcements follow each other fast after a takeover, 1 to 16: at once, after 50 ms, 200 ms, 1 s, 2 s,
    /// 4 s, and from then on each interval.
    #[serde(default = "Announce::default_burst")]
    #[schemars(range(min = 1, max = 16))]
    pub burst: u8,
}

impl Announce {
    const fn default_interval() -> Duration {
        Duration::from_secs(3)
    }

    const fn default_burst() -> u8 {
        6
    }
}

impl Default for Announce {
    fn default() -> Self {
        Self { interval: Self::default_interval(), burst: Self::default_burst() }
    }
}

/// A check that the holder of an address runs against it. Exactly one of http, tcp and udp.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = &ONE_CHECK, validation = &TIMEOUT_WITHIN_INTERVAL)]
pub struct HealthCheck {
    /// An HTTP GET that must be answered with a status from 200 to 399.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,
    /// A TCP connection that must be accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<PortCheck>,
    /// A UDP datagram that must not be answered with "port unreachable".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp: Option<PortCheck>,
    /// The time between two checks, 100ms to 1h.
    #[serde(default = "HealthCheck::default_interval")]
    #[x_kube(validation = &CHECK_INTERVAL)]
    pub interval: Duration,
    /// How long an answer may take, 10ms to 1m and no longer than interval.
    #[serde(default = "HealthCheck::default_timeout")]
    #[x_kube(validation = &CHECK_TIMEOUT)]
    pub timeout: Duration,
    /// How many checks in a row must fail before the address moves, 1 to 100.
    #[serde(default = "HealthCheck::default_failure_threshold")]
    #[schemars(range(min = 1, max = 100))]
    pub failure_threshold: u8,
}

impl HealthCheck {
    const fn default_interval() -> Duration {
        Duration::from_secs(1)
    }

    const fn default_timeout() -> Duration {
        Duration::from_millis(500)
    }

    const fn default_failure_threshold() -> u8 {
        3
    }
}

/// An HTTP GET.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpCheck {
    /// The TCP port, 1 to 65535.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// The path, from its slash.
    #[serde(default = "HttpCheck::default_path")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = &HTTP_PATH)]
    pub path: String,
}

impl HttpCheck {
    fn default_path() -> String {
        "/".to_owned()
    }
}

/// A port to ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortCheck {
    /// The port, 1 to 65535.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}

/// What a holder does when the API server does not answer, as long as it still hears the other nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum OnApiOutage {
    /// It keeps the address.
    #[default]
    Hold,
    /// It gives the address up.
    Release,
}

/// Whether a successor waits until the former holder is closed for certain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum FailoverPolicy {
    /// It waits: never two nodes answer.
    #[default]
    Safe,
    /// It takes over at once: for up to the gate time two nodes may answer.
    Fast,
}

/// What has become of a virtual IP address.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VirtualIPStatus {
    /// The address, given or taken from a pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Who answers for the address; written by the holder itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// The last time that another node took over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failover: Option<LastFailover>,
    /// The nodes on which the health check has failed; written by the holder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["node".into()]))]
    pub health: Vec<NodeHealth>,
    /// Allocated: an address is found. Ready: a node answers for it. Conflict: a stranger claims it too. Healthy: its
    /// health check passes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Who answers for an address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// The node's name.
    pub node: String,
    /// The interface that has the address.
    pub interface: String,
    /// The Ethernet address that neighbours are told; empty on a link without one.
    pub mac: String,
    /// The epoch of the node's right in the segment.
    #[schemars(range(min = 0))]
    pub epoch: i64,
    /// Since when the node has held the address.
    pub since: Time,
}

/// What the health check of an address has found on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeHealth {
    /// The node's name.
    pub node: String,
    /// Whether the check fails there, or failed when the address left.
    pub failing: bool,
    /// How often it began to fail there; the node is left out for 30 s, and for twice as long after each further time.
    pub failures: u32,
}

/// How an address came from one node to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastFailover {
    /// The node that had it.
    pub from: String,
    /// The node that took it.
    pub to: String,
    /// Why, in one word.
    pub reason: String,
    /// How long nobody answered for the address, as far as the successor can tell.
    pub duration: Duration,
    /// When the successor had it.
    pub at: Time,
}
