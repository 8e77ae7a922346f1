//! Alternatives: how many of several fields are given.

use serde_json::Value;

use super::{Rule, Twin};

/// One kind of health check.
pub const ONE_CHECK: Rule = Rule {
    cel: "[has(self.http), has(self.tcp), has(self.udp)].filter(given, given).size() == 1",
    message: "must have exactly one of http, tcp and udp",
    field: "",
    twin: Twin::Value(|check| given(check, &["http", "tcp", "udp"]) == 1),
};

/// One kind of target.
pub const ONE_TARGET: Rule = Rule {
    cel: "[has(self.host), has(self.service), has(self.podSelector), has(self.virtualIP)].filter(given, given).size() == 1",
    message: "must have exactly one of host, service, podSelector and virtualIP",
    field: "",
    twin: Twin::Value(|target| given(target, &["host", "service", "podSelector", "virtualIP"]) == 1),
};

/// Something to measure.
pub const SOME_TARGET: Rule = Rule {
    cel: "self.mesh || (has(self.targets) && size(self.targets) > 0)",
    message: "must name a target, or mesh must be true, or both",
    field: ".targets",
    twin: Twin::Value(|spec| {
        spec["mesh"] == true || spec.get("targets").and_then(Value::as_array).is_some_and(|targets| !targets.is_empty())
    }),
};

fn given(value: &Value, fields: &[&str]) -> usize {
    fields.iter().filter(|field| value.get(**field).is_some()).count()
}
