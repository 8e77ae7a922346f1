//! `UDPProbe`: what the probers measure.
#![allow(unreachable_pub, reason = "the derive repeats each struct inside a function")]
#![allow(clippy::duplicated_attributes, reason = "printer columns share types and priorities")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::rules::duration::{PROBE_INTERVAL, PROBE_TIMEOUT};
use super::rules::name::{HOST, OBJECT_NAME};
use super::rules::one_of::{ONE_TARGET, SOME_TARGET};
use super::{Duration, Selector};

/// Which paths are measured, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "vipkeeper.dev",
    version = "v1alpha1",
    kind = "UDPProbe",
    plural = "udpprobes",
    singular = "udpprobe",
    shortname = "udpprobe",
    category = "vipkeeper",
    namespaced,
    status = "UDPProbeStatus",
    derive = "PartialEq",
    doc = "A measurement of loss, delay and order of UDP packets between probers and their targets.",
    printcolumn(
        name = "Targets",
        type_ = "integer",
        json_path = ".status.targets",
        description = "Paths that are measured."
    ),
    printcolumn(
        name = "Worst Loss",
        type_ = "number",
        json_path = ".status.worstLoss",
        description = "Lost share on the worst path, 0 to 1."
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether it is measured."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Mesh",
        type_ = "boolean",
        json_path = ".spec.mesh",
        priority = 1,
        description = "Whether all probers measure each other."
    ),
    printcolumn(
        name = "Interval",
        type_ = "string",
        json_path = ".spec.interval",
        priority = 1,
        description = "Time between two packets."
    )
)]
#[x_kube(validation = &SOME_TARGET)]
pub struct UDPProbeSpec {
    /// What is asked, by every prober.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub targets: Vec<ProbeTarget>,
    /// Whether every prober also asks every other one.
    #[serde(default)]
    pub mesh: bool,
    /// The time between two packets to a target, 10ms to 1h.
    #[serde(default = "one_second")]
    #[x_kube(validation = &PROBE_INTERVAL)]
    pub interval: Duration,
    /// After this time a packet without an answer counts as lost, 1ms to 1m.
    #[serde(default = "one_second")]
    #[x_kube(validation = &PROBE_TIMEOUT)]
    pub timeout: Duration,
    /// The size of a packet's UDP payload in octets, 44 (RFC 8762) to 8972.
    #[serde(default = "stamp_size")]
    #[schemars(range(min = 44, max = 8972))]
    pub payload_size: u16,
    /// The differentiated services code point of the packets (RFC 2474), 0 to 63.
    #[serde(default)]
    #[schemars(range(min = 0, max = 63))]
    pub dscp: u8,
    /// From how many source ports packets are sent in turn, 1 to 64, so that each path of a balanced network is taken.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 64))]
    pub source_ports: u8,
}

const fn one_second() -> Duration {
    Duration::from_secs(1)
}

const fn stamp_size() -> u16 {
    44
}

const fn four() -> u8 {
    4
}

impl Default for UDPProbeSpec {
    fn default() -> Self {
        Self {
            targets: Vec::new(),
            mesh: false,
            interval: one_second(),
            timeout: one_second(),
            payload_size: stamp_size(),
            dscp: 0,
            source_ports: four(),
        }
    }
}

/// Something to ask. Exactly one of host, service, podSelector and virtualIP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = &ONE_TARGET)]
pub struct ProbeTarget {
    /// An address or a DNS name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = &HOST)]
    pub host: Option<String>,
    /// Every ready endpoint of a Service of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ObjectName>,
    /// Every running pod of this namespace that has these labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<Selector>,
    /// The address of a VirtualIP of this namespace.
    #[serde(default, rename = "virtualIP", skip_serializing_if = "Option::is_none")]
    pub virtual_ip: Option<ObjectName>,
}

/// The name of an object of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectName {
    /// The object's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = &OBJECT_NAME)]
    pub name: String,
}

/// What was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct UDPProbeStatus {
    /// How many paths are measured, over all probers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub targets: Option<i64>,
    /// The share of packets that the worst path lost in the last minute, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst_loss: Option<f64>,
    /// What each prober says; it writes only its own entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub probers: Vec<ProberStatus>,
    /// Ready: the targets are measured; else why not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// What one prober says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProberStatus {
    /// The prober's name: its pod's or node's.
    pub name: String,
    /// How many paths it measures.
    #[schemars(range(min = 0))]
    pub targets: i64,
    /// The share of packets that its worst path lost in the last minute, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst_loss: Option<f64>,
    /// The target at the end of that path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst_target: Option<String>,
    /// When it said so.
    pub at: Time,
}
