//! The rules of the user's kinds, for objects that are written through the store rather than as manifests.

use serde_json::{Map, Value, json};

use super::change::invalid;
use crate::api::kind::Kind;
use crate::api::manifest::{self, Problem};
use crate::store::{Key, StoreError};

/// The object with its defaults, if it keeps the rules, and may follow on `old` where there is one.
pub(super) fn object(kind: Kind, key: &Key, mut body: Value, old: Option<&Value>) -> Result<Value, StoreError> {
    if !kind.user_written() {
        return Ok(body);
    }
    if old.is_some_and(|old| says_the_same(old, &body)) {
        return Ok(body);
    }
    let own: Map<String, Value> = ["name", "namespace", "labels", "annotations"]
        .into_iter()
        .filter_map(|field| Some((field.to_owned(), body["metadata"].get(field)?.clone())))
        .collect();
    let bare = json!({
        "apiVersion": kind.api_version(), "kind": kind.name(), "metadata": own, "spec": body["spec"],
    });
    let mut reading = manifest::read("", bare.to_string().as_bytes());
    let mut problems = reading.problems;
    let checked = reading.manifests.pop();
    if let (Some(old), Some(new)) = (old, &checked) {
        problems.extend(manifest::check_change(old, new));
    }
    match (problems.first(), checked) {
        (None, Some(checked)) => {
            body["spec"] = checked.body["spec"].clone();
            Ok(body)
        }
        (problem, _) => Err(invalid(kind, key, problem.map(told).unwrap_or_else(|| "it is no object".to_owned()))),
    }
}

/// Whether the rules, which `old` has kept, have nothing new to look at.
fn says_the_same(old: &Value, new: &Value) -> bool {
    let same = |field: &str| old["metadata"].get(field) == new["metadata"].get(field);
    old["spec"] == new["spec"] && same("labels") && same("annotations")
}

fn told(problem: &Problem) -> String {
    let value = problem.value.as_ref().map(|value| format!("{value}: ")).unwrap_or_default();
    format!("{}: {value}{}", problem.field, problem.message)
}
