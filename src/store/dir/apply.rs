//! Server-side apply of a status: each manager owns the fields that it applied last, and only those.
//!
//! As the API server does it with `force`: what a manager no longer says goes, unless another says it too; what it says
//! anew is taken from those who say otherwise. Lists that the schema declares as maps are merged item by item.

use serde_json::{Map, Value, json};

use crate::api::crd;
use crate::api::kind::Kind;

/// The schema of a value, as far as it is known.
type Schema<'a> = Option<&'a Value>;

/// The status after `manager` applied `status`; the managers' records change with it.
pub(super) fn apply(
    kind: Kind,
    mut before: Value,
    managers: &mut Vec<(String, Value)>,
    manager: &str,
    status: &Value,
) -> Value {
    let schema = crd::of(kind).map(|definition| &definition.schema()["properties"]["status"]);
    let at = managers.iter().position(|(name, _)| name == manager);
    let former = at.map(|at| managers[at].1.clone()).unwrap_or(json!({}));
    {
        let others = managers.iter().filter(|(name, _)| name != manager).map(|(_, said)| said);
        let keepers: Vec<&Value> = std::iter::once(status).chain(others).collect();
        prune(&mut before, &former, &keepers, schema);
    }
    merge(&mut before, status, schema);
    for (_, said) in managers.iter_mut().filter(|(name, _)| name != manager) {
        disown(said, status, schema);
    }
    match at {
        Some(at) => managers[at].1 = status.clone(),
        None => managers.push((manager.to_owned(), status.clone())),
    }
    before
}

fn property<'a>(schema: Schema<'a>, field: &str) -> Schema<'a> {
    let schema = schema?;
    schema["properties"].get(field).or_else(|| schema.get("additionalProperties"))
}

/// The fields that tell the items of a list apart; `None` if the list is one value. Conditions are told apart by type
/// in every kind.
fn item_keys(schema: Schema<'_>, items: &[Value]) -> Option<Vec<String>> {
    if let Some(schema) = schema {
        let keys = schema["x-kubernetes-list-map-keys"].as_array()?;
        return Some(keys.iter().filter_map(Value::as_str).map(str::to_owned).collect());
    }
    let conditions =
        !items.is_empty() && items.iter().all(|item| item["type"].is_string() && item["status"].is_string());
    conditions.then(|| vec!["type".to_owned()])
}

fn items<'a>(schema: Schema<'a>) -> Schema<'a> {
    schema.and_then(|schema| schema.get("items"))
}

fn same_item(keys: &[String], one: &Value, other: &Value) -> bool {
    keys.iter().all(|key| one.get(key) == other.get(key))
}

/// Removes from `value` what `former` has and none of `keepers`.
fn prune(value: &mut Value, former: &Value, keepers: &[&Value], schema: Schema<'_>) {
    match (value, former) {
        (Value::Object(fields), Value::Object(former)) => {
            for (name, former) in former {
                let keepers: Vec<&Value> = keepers.iter().filter_map(|keeper| keeper.get(name)).collect();
                if keepers.is_empty() {
                    fields.remove(name);
                } else if let Some(value) = fields.get_mut(name) {
                    prune(value, former, &keepers, property(schema, name));
                }
            }
        }
        (Value::Array(list), Value::Array(former)) => {
            let Some(keys) = item_keys(schema, former) else { return };
            for former in former {
                let keepers: Vec<&Value> = keepers
                    .iter()
                    .filter_map(|keeper| keeper.as_array()?.iter().find(|item| same_item(&keys, item, former)))
                    .collect();
                if keepers.is_empty() {
                    list.retain(|item| !same_item(&keys, item, former));
                } else if let Some(item) = list.iter_mut().find(|item| same_item(&keys, item, former)) {
                    prune(item, former, &keepers, items(schema));
                }
            }
        }
        _ => {}
    }
}

/// Puts `said` into `value`.
fn merge(value: &mut Value, said: &Value, schema: Schema<'_>) {
    match (&mut *value, said) {
        (Value::Object(fields), Value::Object(said)) => {
            for (name, said) in said {
                match fields.get_mut(name) {
                    Some(value) => merge(value, said, property(schema, name)),
                    None => _ = fields.insert(name.clone(), said.clone()),
                }
            }
        }
        (Value::Array(list), Value::Array(said)) => {
            let Some(keys) = item_keys(schema, said) else {
                list.clone_from(said);
                return;
            };
            for said in said {
                match list.iter_mut().find(|item| same_item(&keys, item, said)) {
                    Some(item) => merge(item, said, items(schema)),
                    None => list.push(said.clone()),
                }
            }
        }
        _ => value.clone_from(said),
    }
}

/// Removes from what another manager said what `said` says otherwise.
fn disown(other: &mut Value, said: &Value, schema: Schema<'_>) {
    match (other, said) {
        (Value::Object(other), Value::Object(said)) => {
            for (name, said) in said {
                let Some(theirs) = other.get_mut(name) else { continue };
                if mergeable(theirs, said, property(schema, name)) {
                    disown(theirs, said, property(schema, name));
                } else if theirs != said {
                    other.remove(name);
                }
            }
        }
        (Value::Array(other), Value::Array(said)) => {
            let Some(keys) = item_keys(schema, said) else { return };
            for theirs in other {
                if let Some(said) = said.iter().find(|item| same_item(&keys, item, theirs)) {
                    disown(theirs, said, items(schema));
                }
            }
        }
        _ => {}
    }
}

/// Whether two values are merged part by part rather than one taking the other's place.
fn mergeable(one: &Value, other: &Value, schema: Schema<'_>) -> bool {
    match (one, other) {
        (Value::Object(_), Value::Object(_)) => true,
        (Value::Array(_), Value::Array(said)) => item_keys(schema, said).is_some(),
        _ => false,
    }
}

/// A status without fields that are null, which say the same as no field.
pub(super) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name, without_nulls(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    /// The paths of the leaves of a status without lists, each with its value.
    fn leaves(value: &Value, path: &str, found: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                fields.iter().for_each(|(name, value)| leaves(value, &format!("{path}/{name}"), found));
            }
            Value::Object(_) => {}
            leaf => _ = found.insert(path.to_owned(), leaf.clone()),
        }
    }

    fn flat(value: &Value) -> BTreeMap<String, Value> {
        let mut found = BTreeMap::new();
        leaves(value, "", &mut found);
        found
    }

    fn status() -> impl Strategy<Value = Value> {
        let part = proptest::collection::btree_map("[ab]", 0..3_i64, 0..3);
        proptest::collection::btree_map("[xyz]", part, 0..3).prop_map(|parts| json!(parts))
    }

    proptest! {
        /// Said by a model that keeps for each path its value and who owns it.
        #[test]
        fn a_field_stands_while_somebody_owns_it(steps in proptest::collection::vec((0..3_usize, status()), 1..12)) {
            let names = ["one", "two", "three"];
            let (mut managers, mut merged) = (Vec::new(), json!({}));
            let mut model: BTreeMap<String, (Value, BTreeSet<usize>)> = BTreeMap::new();
            for (who, said) in steps {
                merged = apply(Kind::Node, merged, &mut managers, names[who], &said);
                let said = flat(&said);
                for (path, (_, owners)) in &mut model {
                    if !said.contains_key(path) {
                        owners.remove(&who);
                    }
                }
                for (path, value) in said {
                    let field = model.entry(path).or_insert_with(|| (value.clone(), BTreeSet::new()));
                    if field.0 != value {
                        *field = (value, BTreeSet::new());
                    }
                    field.1.insert(who);
                }
                model.retain(|_, (_, owners)| !owners.is_empty());
                let expected: BTreeMap<String, Value> =
                    model.iter().map(|(path, (value, _))| (path.clone(), value.clone())).collect();
                prop_assert_eq!(flat(&merged), expected);
            }
        }
    }

    fn run(steps: &[(&str, Value)]) -> Value {
        let mut managers = Vec::new();
        let mut status = json!({});
        for (manager, said) in steps {
            status = apply(Kind::VirtualIP, status, &mut managers, manager, said);
        }
        status
    }

    #[test]
    fn what_a_manager_no_longer_says_goes_and_others_fields_stay() {
        let status = run(&[
            ("controller", json!({"address": "192.0.2.1", "observedGeneration": 1})),
            ("agent", json!({"holder": {"node": "a", "epoch": 1}})),
            ("controller", json!({"address": "192.0.2.1"})),
        ]);
        assert_eq!(status, json!({"address": "192.0.2.1", "holder": {"node": "a", "epoch": 1}}));
        let status = run(&[
            ("controller", json!({"address": "192.0.2.1"})),
            ("agent", json!({"holder": {"node": "a"}})),
            ("agent", json!({})),
        ]);
        assert_eq!(status, json!({"address": "192.0.2.1"}));
    }

    #[test]
    fn conditions_are_a_map_by_type() {
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status});
        let status = run(&[
            ("controller", json!({"conditions": [condition("Allocated", "True"), condition("Ready", "False")]})),
            ("agent", json!({"conditions": [condition("Conflict", "True")]})),
            ("controller", json!({"conditions": [condition("Allocated", "True")]})),
        ]);
        assert_eq!(status, json!({"conditions": [condition("Allocated", "True"), condition("Conflict", "True")]}));
    }

    #[test]
    fn who_said_it_last_has_it_and_takes_it_away() {
        let one = ("one", json!({"holder": {"node": "a", "epoch": 1}}));
        let two = ("two", json!({"holder": {"node": "b"}}));
        assert_eq!(run(&[one.clone(), two.clone()]), json!({"holder": {"node": "b", "epoch": 1}}));
        // `node` was taken from the first: it goes with the second, and the first's rest stays.
        assert_eq!(run(&[one, two, ("two", json!({}))]), json!({"holder": {"epoch": 1}}));
    }

    #[test]
    fn what_two_say_alike_stays_until_both_are_silent() {
        let said = json!({"address": "192.0.2.1"});
        assert_eq!(run(&[("one", said.clone()), ("two", said.clone()), ("one", json!({}))]), said);
        assert_eq!(run(&[("one", said.clone()), ("two", said), ("one", json!({})), ("two", json!({}))]), json!({}));
    }

    #[test]
    fn fields_that_are_null_say_nothing() {
        assert_eq!(without_nulls(json!({"a": null, "b": [{"c": null, "d": 1}]})), json!({"b": [{"d": 1}]}));
    }
}
