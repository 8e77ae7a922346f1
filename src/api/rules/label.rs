//! Keys and values of labels, as Kubernetes has them.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::name::is_subdomain;
use super::{Rule, Twin, text, to_schema};

macro_rules! key_form {
    () => {
        "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?\
         [A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
    };
}

macro_rules! value_form {
    () => {
        "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
    };
}

/// A label's key.
pub const LABEL_KEY: Rule = Rule {
    cel: concat!("self.matches('", key_form!(), "')"),
    message: "must be a label's key: at most 63 of A-Z, a-z, 0-9, '-', '_' and '.', or a DNS name, '/' and such a name",
    field: "",
    twin: Twin::Value(|value| is_key(text(value))),
};

/// Keys of a map of labels.
pub const LABEL_KEYS: Rule = Rule {
    cel: concat!("self.all(k, size(k) <= 317 && k.matches('", key_form!(), "'))"),
    message: "must have labels' keys: at most 63 of A-Z, a-z, 0-9, '-', '_' and '.', or a DNS name, '/' and such a name",
    field: "",
    twin: Twin::Value(|map| map.as_object().is_none_or(|map| map.keys().all(|key| key.len() <= 317 && is_key(key)))),
};

/// A label's value.
pub const LABEL_VALUE: Rule = Rule {
    cel: concat!("self.matches('", value_form!(), "')"),
    message: "must be a label's value: at most 63 of A-Z, a-z, 0-9, '-', '_' and '.', with a letter or digit at both ends",
    field: "",
    twin: Twin::Value(|value| is_value(text(value))),
};

/// Values of a requirement.
pub const LABEL_VALUE_LIST: Rule = Rule {
    cel: concat!("self.all(v, v.matches('", value_form!(), "'))"),
    message: "must be labels' values: at most 63 of A-Z, a-z, 0-9, '-', '_' and '.', with a letter or digit at both ends",
    field: "",
    twin: Twin::Value(|list| list.as_array().is_none_or(|list| list.iter().all(|value| is_value(text(value))))),
};

/// Values where the operator wants some, and none where it does not.
pub const REQUIREMENT_VALUES: Rule = Rule {
    cel: "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
    message: "must be given with In and NotIn, and not with Exists and DoesNotExist",
    field: ".values",
    twin: Twin::Value(|requirement| {
        let some = requirement.get("values").and_then(Value::as_array).is_some_and(|values| !values.is_empty());
        matches!(text(&requirement["operator"]), "In" | "NotIn") == some
    }),
};

/// The schema of a map of labels.
pub(in crate::api) fn labels_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "x-kubernetes-validations": to_schema(&[&LABEL_KEYS]),
        "additionalProperties": {
            "type": "string",
            "maxLength": 63,
            "x-kubernetes-validations": to_schema(&[&LABEL_VALUE]),
        },
    })
}

fn is_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && !name.is_empty() && is_value(name),
        None => !text.is_empty() && is_value(text),
    }
}

fn is_value(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.is_empty()
        || (bytes.len() <= 63
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values() {
        for good in ["edge", "node-role.kubernetes.io/control-plane", "A_b.c"] {
            assert!(is_key(good), "{good}");
        }
        for bad in ["", "/a", "a/", "A/b", "a/b/c", "-a", "a b", &"a".repeat(64)] {
            assert!(!is_key(bad), "{bad}");
        }
        assert!(is_value("") && is_value("true") && !is_value("a b") && !is_value("a.") && !is_value(&"a".repeat(64)));
    }
}
