//! `FailoverView`: the state of a segment as the store keeps it.
#![allow(unreachable_pub, reason = "the derive repeats each struct inside a function")]

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::core::view::View;

/// Who is a member of the segment, who holds what, who was fenced. Written by agents and the controller only.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(transparent)]
#[kube(
    group = "vipkeeper.dev",
    version = "v1alpha1",
    kind = "FailoverView",
    plural = "failoverviews",
    singular = "failoverview",
    shortname = "fview",
    category = "vipkeeper",
    derive = "PartialEq",
    doc = "The state of a segment, written by agents and the controller: not for users. Named by the segment.",
    printcolumn(
        name = "Counter",
        type_ = "integer",
        json_path = ".spec.counter",
        description = "The highest epoch given out."
    ),
    printcolumn(
        name = "Withdraw",
        type_ = "boolean",
        json_path = ".spec.withdraw",
        description = "Whether everything is being given up."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Prefixes",
        type_ = "string",
        json_path = ".spec.prefixes",
        priority = 1,
        description = "The segment's prefixes, each with the node that recorded it."
    )
)]
pub struct FailoverViewSpec(pub View);
