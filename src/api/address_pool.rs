//! `AddressPool`: addresses to take for a `VirtualIP` that names none.
#![allow(unreachable_pub, reason = "the derive repeats each struct inside a function")]
#![allow(clippy::duplicated_attributes, reason = "printer columns share types and priorities")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::Selector;
use super::rules::range;

/// Which addresses there are, and for whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "vipkeeper.dev",
    version = "v1alpha1",
    kind = "AddressPool",
    plural = "addresspools",
    singular = "addresspool",
    shortname = "vippool",
    category = "vipkeeper",
    status = "AddressPoolStatus",
    derive = "PartialEq",
    doc = "Addresses to take for VirtualIPs that name none. No two pools may overlap.",
    printcolumn(name = "Total", type_ = "string", json_path = ".status.total", description = "Addresses in the pool."),
    printcolumn(
        name = "Allocated",
        type_ = "string",
        json_path = ".status.allocated",
        description = "Addresses taken."
    ),
    printcolumn(name = "Free", type_ = "string", json_path = ".status.free", description = "Addresses left."),
    printcolumn(
        name = "Auto Assign",
        type_ = "boolean",
        json_path = ".spec.autoAssign",
        description = "Whether VirtualIPs that name no pool may use it."
    ),
    printcolumn(
        name = "Priority",
        type_ = "integer",
        json_path = ".spec.priority",
        description = "Higher goes first."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Ranges",
        type_ = "string",
        json_path = ".spec.ranges",
        priority = 1,
        description = "The addresses."
    )
)]
pub struct AddressPoolSpec {
    /// The addresses: CIDRs without host bits (198.51.100.0/24), or first and last of one family
    /// (2001:db8:1::10-2001:db8:1::ff). They must not overlap each other or another pool's.
    #[schemars(schema_with = "range::ranges_schema")]
    pub ranges: Vec<String>,
    /// Addresses of the ranges that are never given out: single addresses, CIDRs, or first and last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "range::exclude_schema")]
    pub exclude: Vec<String>,
    /// Whether IPv4 addresses that end in .0 or .255 are left out, since some old clients cannot reach them.
    #[serde(default, rename = "avoidBuggyIPs")]
    pub avoid_buggy_ips: bool,
    /// Whether VirtualIPs that name no pool may take addresses from this one.
    #[serde(default = "yes")]
    pub auto_assign: bool,
    /// Of several pools that fit, the one with the highest priority is used first.
    #[serde(default)]
    pub priority: i32,
    /// The namespaces whose VirtualIPs may take addresses, by the namespace's labels. If omitted, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<Selector>,
    /// The Services that may take addresses, by the Service's labels. If omitted, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_selector: Option<Selector>,
}

const fn yes() -> bool {
    true
}

impl Default for AddressPoolSpec {
    fn default() -> Self {
        Self {
            ranges: Vec::new(),
            exclude: Vec::new(),
            avoid_buggy_ips: false,
            auto_assign: true,
            priority: 0,
            namespace_selector: None,
            service_selector: None,
        }
    }
}

/// What has become of a pool. Counts are decimal texts: an IPv6 range holds more addresses than a 64-bit number counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressPoolStatus {
    /// How many addresses can be given out in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
    /// How many are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocated: Option<String>,
    /// How many are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<String>,
    /// Ready: the pool gives out addresses; else why not, such as an overlap with an older pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
