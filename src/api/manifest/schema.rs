//! A value against the schema of its CRD, as an API server checks it: defaults, structure, then rules.
//!
//! It says more than an API server where that can be said safely: an unknown field, and a field without a value, are
//! errors.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::node::{Data, Entry, Node, join, show};
use super::problem::Fault;
use crate::api::rules::{self, Rule, Twin};

/// The keywords of our schemas that this module follows, and those that say nothing about a value.
#[cfg(test)]
const KNOWN: &[&str] = &[
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "default",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "x-kubernetes-validations",
    "description",
    "title",
    "format",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
];

/// On which line each field stands.
pub(super) type Lines = BTreeMap<String, u32>;

/// Checks a value, and gives it as JSON with the defaults filled in, unless its structure is wrong.
pub(super) fn check(node: &Node, schema: &Value, path: &str, found: &mut Found) -> Option<Value> {
    found.lines.insert(path.to_owned(), node.line);
    let value = match (&node.data, schema["type"].as_str().unwrap_or_default()) {
        (Data::Map(entries), "object") => map(node, entries, schema, path, found),
        (Data::List(items), "array") => list(node, items, schema, path, found),
        (Data::Text(text), "string") => string(node, text, schema, path, found),
        (Data::Bool(value), "boolean") => Some(Value::Bool(*value)),
        (Data::Number(number), "integer") if number.is_i64() || number.is_u64() => number_in(node, schema, path, found),
        (Data::Number(_), "number") => number_in(node, schema, path, found),
        (_, wanted) => {
            found.fault(node, path, wrong_type(node, wanted));
            None
        }
    }?;
    for rule in rules_of(schema) {
        if let Twin::Value(twin) = rule.twin
            && !twin(&value)
        {
            found.rule(node.line, broken(rule, &value, path));
        }
    }
    Some(value)
}

/// What a check has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) faults: Vec<Fault>,
    pub(super) lines: Lines,
}

impl Found {
    fn fault(&mut self, node: &Node, path: &str, message: impl Into<String>) {
        let fault = Fault::new(node.line, path, message);
        self.faults.push(if node.data == Data::Null { fault } else { fault.with_value(node.show()) });
    }

    /// Adds a broken rule, whose field may stand on a line of its own.
    fn rule(&mut self, line: u32, fault: Fault) {
        let line = self.lines.get(&fault.field).copied().unwrap_or(line);
        self.faults.push(Fault { line, ..fault });
    }
}

fn wrong_type(node: &Node, wanted: &str) -> String {
    let wanted = match wanted {
        "object" => "a map",
        "array" => "a list",
        "string" => "a string",
        "boolean" => "true or false",
        "integer" => "a whole number",
        _ => "a number",
    };
    match (&node.data, wanted) {
        (Data::Null, _) => format!("has no value: give {wanted}, or leave the field out"),
        (Data::Number(_) | Data::Bool(_), "a string") => {
            format!("must be a string, not {}: quote it", node.type_name())
        }
        (Data::Text(text), "true or false") if matches!(text.as_str(), "true" | "false") => {
            format!("must be {wanted}, not a string: write it without quotes")
        }
        (Data::Text(text), "a whole number" | "a number") if text.parse::<f64>().is_ok() => {
            format!("must be {wanted}, not a string: write it without quotes")
        }
        _ => format!("must be {wanted}, not {}", node.type_name()),
    }
}

fn map(node: &Node, entries: &[Entry], schema: &Value, path: &str, found: &mut Found) -> Option<Value> {
    let none = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&none);
    let extra = schema.get("additionalProperties").filter(|extra| extra.is_object());
    let mut right = bound(node, schema, path, "maxProperties", entries.len(), "entries", found);
    let mut fields = Map::new();
    for entry in entries {
        let at = if extra.is_some() { format!("{path}[{}]", entry.key) } else { join(path, &entry.key) };
        let Some(schema) = properties.get(&entry.key).or(extra) else {
            found.faults.push(Fault::new(entry.value.line, at, unknown(&entry.key, properties)));
            continue;
        };
        match check(&entry.value, schema, &at, found) {
            Some(value) => drop(fields.insert(entry.key.clone(), value)),
            None => right = false,
        }
    }
    for (name, schema) in properties {
        if let (false, Some(default)) = (fields.contains_key(name), schema.get("default")) {
            fields.insert(name.clone(), filled(default, schema));
        }
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if node.get(name).is_none() && !fields.contains_key(name) {
            let about = properties.get(name).and_then(|schema| schema["description"].as_str()).unwrap_or_default();
            let message = format!("is required: {}", first_sentence(about));
            found.faults.push(Fault::new(node.line, join(path, name), message));
            right = false;
        }
    }
    right.then_some(Value::Object(fields))
}

fn first_sentence(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.split(". ").next().unwrap_or_default().trim_end_matches('.').to_owned()
}

/// A default with the defaults of what is below it.
fn filled(default: &Value, schema: &Value) -> Value {
    let Value::Object(given) = default else { return default.clone() };
    let mut fields = given.clone();
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if let (false, Some(default)) = (fields.contains_key(name), schema.get("default")) {
            fields.insert(name.clone(), filled(default, schema));
        }
    }
    Value::Object(fields)
}

fn list(node: &Node, items: &[Node], schema: &Value, path: &str, found: &mut Found) -> Option<Value> {
    let mut right = bound(node, schema, path, "maxItems", items.len(), "items", found)
        && bound(node, schema, path, "minItems", items.len(), "items", found);
    let mut values = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        match check(item, &schema["items"], &format!("{path}[{index}]"), found) {
            Some(value) => values.push(value),
            None => right = false,
        }
    }
    right.then_some(Value::Array(values))
}

fn string(node: &Node, text: &str, schema: &Value, path: &str, found: &mut Found) -> Option<Value> {
    let length = text.chars().count();
    let right = bound(node, schema, path, "minLength", length, "characters", found)
        && bound(node, schema, path, "maxLength", length, "characters", found);
    let Some(words) = schema["enum"].as_array() else { return right.then(|| text.into()) };
    if words.iter().any(|word| word == text) {
        return right.then(|| text.into());
    }
    let words: Vec<_> = words.iter().filter_map(Value::as_str).collect();
    found.fault(node, path, format!("must be one of {}", words.join(", ")));
    None
}

/// Whether a count is within the bound that the schema has under `keyword`.
fn bound(node: &Node, schema: &Value, path: &str, keyword: &str, count: usize, what: &str, found: &mut Found) -> bool {
    let Some(limit) = schema[keyword].as_u64() else { return true };
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    if keyword.starts_with("min") && count < limit {
        let message =
            if count == 0 { "must not be empty".to_owned() } else { format!("must have at least {limit} {what}") };
        found.fault(node, path, message);
        return false;
    }
    if keyword.starts_with("max") && count > limit {
        found.fault(node, path, format!("has {count} {what}: at most {limit} are allowed"));
        return false;
    }
    true
}

fn number_in(node: &Node, schema: &Value, path: &str, found: &mut Found) -> Option<Value> {
    let value = node.to_value();
    let number = value.as_f64()?;
    // A format is a bound as well: the API server refuses what does not fit.
    let format = match schema["format"].as_str() {
        Some("int32") => Some((i32::MIN.into(), i32::MAX.into())),
        _ => None,
    };
    let least = schema["minimum"].as_f64().or(format.map(|(least, _): (f64, f64)| least));
    let most = schema["maximum"].as_f64().or(format.map(|(_, most)| most));
    if least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most) {
        return Some(value);
    }
    let message = match (least, most) {
        (Some(least), Some(most)) => format!("must be from {least} to {most}"),
        (Some(least), None) => format!("must be at least {least}"),
        (_, most) => format!("must be at most {}", most.unwrap_or_default()),
    };
    found.fault(node, path, message);
    None
}

fn unknown(key: &str, properties: &Map<String, Value>) -> String {
    let names: Vec<&str> = properties.keys().map(String::as_str).collect();
    match names.iter().map(|name| (distance(key, name), name)).min() {
        Some((distance, name)) if distance <= 2.max(key.len() / 3) => {
            format!("is no field here: did you mean {name}?")
        }
        _ => format!("is no field here: there are {}", names.join(", ")),
    }
}

/// How many letters two words differ by, whatever their case (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().take(64).collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (j, y) in b.iter().enumerate() {
            let Some(cell) = row.get_mut(j + 1) else { continue };
            let here = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            diagonal = *cell;
            left = here;
            *cell = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// The rules of a schema.
fn rules_of(schema: &Value) -> impl Iterator<Item = &'static Rule> {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    rules.filter_map(|rule| rules::find(rule["rule"].as_str()?))
}

fn broken(rule: &Rule, value: &Value, path: &str) -> Fault {
    let blamed = rule.field.trim_start_matches('.');
    let field = if blamed.is_empty() { path.to_owned() } else { join(path, blamed) };
    let value = if blamed.is_empty() { Some(value) } else { value.get(blamed) };
    let fault = Fault::new(0, field, rule.message);
    match value {
        Some(value) => fault.with_value(show(value)),
        None => fault,
    }
}

/// The rules about a change that the step from one value to another breaks.
pub(super) fn check_change(old: &Value, new: &Value, schema: &Value, path: &str, found: &mut Vec<Fault>) {
    for rule in rules_of(schema) {
        if let Twin::Change(twin) = rule.twin
            && !twin(old, new)
        {
            found.push(broken(rule, new, path));
        }
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if let (Some(old), Some(new)) = (old.get(name), new.get(name)) {
            check_change(old, new, schema, &join(path, name), found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::crd;

    fn each_schema(schema: &Value, visit: &mut impl FnMut(&Value)) {
        visit(schema);
        for child in schema["properties"].as_object().into_iter().flatten().map(|(_, child)| child) {
            each_schema(child, visit);
        }
        for child in [&schema["items"], &schema["additionalProperties"]] {
            if child.is_object() {
                each_schema(child, visit);
            }
        }
    }

    #[test]
    fn every_keyword_and_every_rule_of_our_schemas_is_followed() {
        for definition in crd::all() {
            each_schema(definition.schema(), &mut |schema| {
                for keyword in schema.as_object().into_iter().flatten().map(|(keyword, _)| keyword) {
                    assert!(KNOWN.contains(&keyword.as_str()), "{keyword} in {schema}");
                }
                for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                    let cel = rule["rule"].as_str().unwrap_or_default();
                    let twin = rules::find(cel);
                    assert!(twin.is_some(), "no twin of {cel}");
                    assert_eq!(
                        rule.get("fieldPath").and_then(Value::as_str).unwrap_or_default(),
                        twin.map_or("", |t| t.field)
                    );
                }
            });
        }
    }

    #[test]
    fn near_names_are_offered() {
        let schema =
            crd::of(crate::api::kind::Kind::VirtualIP).map(|d| d.schema()["properties"]["spec"]["properties"].clone());
        let properties = schema.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
        for (key, name) in
            [("adress", "address"), ("nodeselector", "nodeSelector"), ("failBak", "failback"), ("ipfamly", "ipFamily")]
        {
            let message = unknown(key, &properties);
            assert!(message.ends_with(&format!("did you mean {name}?")), "{message}");
        }
        assert!(unknown("x", &properties).contains("there are address, "), "{}", unknown("x", &properties));
    }
}
