//! What values must be: each rule once, with its CEL text for the API server and its Rust twin for a directory of YAML.
//!
//! The API server applies defaults, then structure (types, enums, bounds), then these. `manifest` does the same, and
//! finds the twin of a rule by the CEL text that it meets in the CRD: a rule in a CRD without a twin fails a test.

pub mod address;
pub mod duration;
pub mod label;
pub mod name;
pub mod one_of;
pub mod range;

use serde_json::{Value, json};

/// A rule about a value.
#[derive(Debug)]
pub struct Rule {
    /// The rule in CEL, as in `x-kubernetes-validations`.
    pub cel: &'static str,
    /// What the value must be, for a person.
    pub message: &'static str,
    /// The field that is at fault, relative to the value (`.address`); empty for the value itself.
    pub field: &'static str,
    /// The same rule in Rust.
    pub twin: Twin,
}

/// A rule in Rust.
#[derive(Debug, Clone, Copy)]
pub enum Twin {
    /// Whether a value keeps the rule.
    Value(fn(&Value) -> bool),
    /// Whether the change from the first value to the second keeps the rule.
    Change(fn(&Value, &Value) -> bool),
}

impl From<&Rule> for kube::core::Rule {
    fn from(rule: &Rule) -> Self {
        let kube_rule = Self::new(rule.cel).message(rule.message);
        if rule.field.is_empty() { kube_rule } else { kube_rule.field_path(rule.field) }
    }
}

/// Every rule.
pub const ALL: &[&Rule] = &[
    &address::ADDRESS_FORM,
    &address::ADDRESS_CANONICAL,
    &address::ADDRESS_UNICAST,
    &address::ADDRESS_HOST,
    &address::ADDRESS_IMMUTABLE,
    &address::ADDRESS_OR_POOL,
    &address::FAMILY_OF_ADDRESS,
    &duration::DURATION_FORM,
    &duration::ANNOUNCE_INTERVAL,
    &duration::CHECK_INTERVAL,
    &duration::CHECK_TIMEOUT,
    &duration::PROBE_INTERVAL,
    &duration::PROBE_TIMEOUT,
    &duration::TIMEOUT_WITHIN_INTERVAL,
    &label::LABEL_KEY,
    &label::LABEL_KEYS,
    &label::LABEL_VALUE,
    &label::LABEL_VALUE_LIST,
    &label::REQUIREMENT_VALUES,
    &name::HOST,
    &name::HTTP_PATH,
    &name::INTERFACE,
    &name::OBJECT_NAME,
    &one_of::ONE_CHECK,
    &one_of::ONE_TARGET,
    &one_of::SOME_TARGET,
    &range::RANGE_FORM,
    &range::EXCLUDE_FORM,
    &range::RANGE_CANONICAL,
    &range::RANGE_HOST_BITS,
    &range::RANGE_ONE_FAMILY,
    &range::RANGE_UPWARDS,
    &range::RANGE_UNICAST,
];

/// The rule with this CEL text.
#[must_use]
pub fn find(cel: &str) -> Option<&'static Rule> {
    ALL.iter().copied().find(|rule| rule.cel == cel)
}

/// Rules as `x-kubernetes-validations`.
pub(super) fn to_schema(rules: &[&Rule]) -> Value {
    rules.iter().map(|rule| json!({"rule": rule.cel, "message": rule.message})).collect()
}

/// The text of a value; the empty text if it is none, which structure has refused already.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
