//! A document as an object of ours: its kind, its metadata, its spec.

use serde_json::{Map, Value, json};

use super::node::{Data, Entry, Node, join};
use super::problem::{Fault, ObjectRef};
use super::schema::{self, Found, Lines};
use crate::api::crd;
use crate::api::kind::{GROUP, Kind, VERSION};
use crate::api::rules::label::{LABEL_KEY, LABEL_VALUE};
use crate::api::rules::name::{is_label, is_subdomain};
use crate::api::rules::{Rule, Twin};

/// The namespace of an object that names none, as kubectl has it.
const DEFAULT_NAMESPACE: &str = "default";
/// The most bytes of all annotations of an object (Kubernetes' own limit).
const MAX_ANNOTATIONS: usize = 256 << 10;
/// What the store writes into metadata, so that no manifest may.
const STORE_FIELDS: &[&str] = &[
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
    "ownerReferences",
    "finalizers",
    "generateName",
];

/// An object, or why it is none.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Which object it is, if that can be read, be the rest wrong.
    pub(super) object: Option<ObjectRef>,
    /// The whole object with its defaults, if nothing is wrong.
    pub(super) body: Option<Value>,
    /// Whether it is an object of somebody else's, which is none of our business.
    pub(super) foreign: bool,
    /// What is wrong.
    pub(super) faults: Vec<Fault>,
    /// On which line each field stands.
    pub(super) lines: Lines,
}

/// Reads a document.
pub(super) fn read(root: &Node) -> Outcome {
    let mut found = Found::default();
    if !matches!(root.data, Data::Map(_)) {
        let message = format!(
            "is no object: it must be a map with apiVersion, kind, metadata and spec, not {}",
            root.type_name()
        );
        return Outcome { faults: vec![Fault::new(root.line, "", message)], ..Outcome::default() };
    }
    if is_foreign(root) {
        return Outcome { foreign: true, ..Outcome::default() };
    }
    let Some(kind) = kind_of(root, &mut found) else {
        return Outcome { faults: found.faults, lines: found.lines, ..Outcome::default() };
    };
    let (key, metadata) = metadata(root, kind, &mut found);
    let spec = spec(root, kind, &mut found);
    for entry in root.entries() {
        match entry.key.as_str() {
            "apiVersion" | "kind" | "metadata" | "spec" => {}
            "status" => found.faults.push(at(entry, "status", "is written by vipkeeper: leave it out")),
            other => {
                found.faults.push(at(entry, other, "is no field here: there are apiVersion, kind, metadata and spec"))
            }
        }
    }
    let body = match (metadata, spec) {
        (Some(metadata), Some(spec)) if found.faults.is_empty() => {
            Some(json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": metadata, "spec": spec}))
        }
        _ => None,
    };
    Outcome { object: key, body, foreign: false, faults: found.faults, lines: found.lines }
}

fn at(entry: &Entry, field: &str, message: &str) -> Fault {
    Fault::new(entry.value.line, field, message)
}

/// The text of a field that must be there.
fn required_text<'a>(map: &'a Node, path: &str, field: &str, what: &str, found: &mut Found) -> Option<&'a str> {
    let at = join(path, field);
    let Some(node) = map.get(field) else {
        found.faults.push(Fault::new(map.line, at, format!("is required: {what}")));
        return None;
    };
    found.lines.insert(at.clone(), node.line);
    if node.text().is_none() {
        let fault = Fault::new(node.line, at, format!("must be a string, not {}", node.type_name()));
        found.faults.push(if node.data == Data::Null { fault } else { fault.with_value(node.show()) });
    }
    node.text()
}

/// Whether neither the group nor the kind is ours: a Deployment beside a VirtualIP is no fault. A list might hold
/// objects of ours, so it is not passed over.
fn is_foreign(root: &Node) -> bool {
    let text = |field| root.get(field).and_then(Node::text);
    let (Some(version), Some(kind)) = (text("apiVersion"), text("kind")) else { return false };
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let is_ours = Kind::ALL.into_iter().any(|known| known.group() == GROUP && known.name().eq_ignore_ascii_case(kind));
    group != GROUP && !is_ours && !kind.ends_with("List") && !kind.is_empty() && !version.is_empty()
}

fn kind_of(root: &Node, found: &mut Found) -> Option<Kind> {
    let version = required_text(root, "", "apiVersion", &format!("{GROUP}/{VERSION}"), found);
    let kinds = "VirtualIP, AddressPool or UDPProbe";
    let kind = required_text(root, "", "kind", kinds, found);
    let (version, kind) = (version?, kind?);
    let ours = format!("{GROUP}/{VERSION}");
    let fault = |field: &str, message: String| {
        let line = root.get(field).map_or(root.line, |node| node.line);
        Fault::new(line, field, message).with_value(root.get(field).map(Node::show).unwrap_or_default())
    };
    let known = Kind::ALL.into_iter().find(|known| known.name() == kind);
    match known {
        Some(known) if known.user_written() && version == ours => return Some(known),
        Some(known) if known.user_written() => {
            found.faults.push(fault("apiVersion", format!("must be {ours}")));
        }
        Some(Kind::FailoverView) => {
            found.faults.push(fault("kind", "is written by vipkeeper alone: leave the object out".to_owned()));
        }
        _ if kind.ends_with("List") => {
            found.faults.push(fault("kind", "is a list: write each of its items as a document, after ---".to_owned()));
        }
        _ => found.faults.push(fault("kind", format!("must be {kinds}"))),
    }
    None
}

/// The object's name and its metadata, if each is right.
fn metadata(root: &Node, kind: Kind, found: &mut Found) -> (Option<ObjectRef>, Option<Value>) {
    let Some(node) = root.get("metadata") else {
        found.faults.push(Fault::new(root.line, "metadata", "is required: it holds the object's name"));
        return (None, None);
    };
    if !matches!(node.data, Data::Map(_)) {
        let message = format!("must be a map, not {}", node.type_name());
        found.faults.push(Fault::new(node.line, "metadata", message));
        return (None, None);
    }
    let before = found.faults.len();
    let name = name(node, found);
    let namespace = namespace(node, kind, found);
    let mut fields = Map::new();
    for entry in node.entries() {
        let path = join("metadata", &entry.key);
        found.lines.insert(path.clone(), entry.value.line);
        match entry.key.as_str() {
            "name" | "namespace" => {}
            "labels" => drop(fields.insert(entry.key.clone(), strings(&entry.value, &path, Some(&LABEL_VALUE), found))),
            "annotations" => {
                drop(fields.insert(entry.key.clone(), strings(&entry.value, &path, None, found)));
                check_annotations(entry, found);
            }
            field if STORE_FIELDS.contains(&field) => {
                found.faults.push(at(entry, &path, "is written by the store: leave it out"));
            }
            _ => {
                let message = "is no field here: there are name, namespace, labels and annotations";
                found.faults.push(at(entry, &path, message));
            }
        }
    }
    let object = match (name, namespace) {
        (Some(name), Ok(namespace)) => ObjectRef { kind, namespace, name },
        _ => return (None, None),
    };
    fields.insert("name".to_owned(), object.name.clone().into());
    if let Some(namespace) = &object.namespace {
        fields.insert("namespace".to_owned(), namespace.clone().into());
    }
    let right = found.faults.len() == before;
    (Some(object), right.then_some(Value::Object(fields)))
}

fn name(metadata: &Node, found: &mut Found) -> Option<String> {
    let name = required_text(metadata, "metadata", "name", "a name of the object's own", found)?;
    if is_subdomain(name) {
        return Some(name.to_owned());
    }
    let message = "must be a name as DNS has them (RFC 1123): at most 253 of a-z, 0-9, '-' and '.', with a letter or digit \
                   at both ends";
    fault_of(metadata, "name", message, found);
    None
}

fn namespace(metadata: &Node, kind: Kind, found: &mut Found) -> Result<Option<String>, ()> {
    if !kind.namespaced() {
        if metadata.get("namespace").is_some() {
            fault_of(
                metadata,
                "namespace",
                &format!("must be left out: {} is of the whole cluster", kind.name()),
                found,
            );
        }
        return Ok(None);
    }
    if metadata.get("namespace").is_none() {
        return Ok(Some(DEFAULT_NAMESPACE.to_owned()));
    }
    let namespace = required_text(metadata, "metadata", "namespace", "", found).ok_or(())?;
    if is_label(namespace) {
        return Ok(Some(namespace.to_owned()));
    }
    let message = "must be a DNS label (RFC 1123): at most 63 of a-z, 0-9 and '-', with a letter or digit at both ends";
    fault_of(metadata, "namespace", message, found);
    Err(())
}

fn fault_of(metadata: &Node, field: &str, message: &str, found: &mut Found) {
    if let Some(node) = metadata.get(field) {
        found.faults.push(Fault::new(node.line, join("metadata", field), message).with_value(node.show()));
    }
}

/// A map of strings with labels' keys.
fn strings(node: &Node, path: &str, value_rule: Option<&Rule>, found: &mut Found) -> Value {
    if !matches!(node.data, Data::Map(_)) {
        found.faults.push(Fault::new(node.line, path, format!("must be a map, not {}", node.type_name())));
    }
    for entry in node.entries() {
        let path = format!("{path}[{}]", entry.key);
        let text = entry.value.text();
        // Annotations may have upper case before the slash; labels may not.
        let key = if value_rule.is_some() { entry.key.clone() } else { entry.key.to_lowercase() };
        if !keeps(&LABEL_KEY, &key.into()) {
            found.faults.push(Fault::new(entry.value.line, path.clone(), LABEL_KEY.message));
        }
        if text.is_none() {
            let message = format!("must be a string, not {}: quote it", entry.value.type_name());
            found.faults.push(Fault::new(entry.value.line, path, message).with_value(entry.value.show()));
        } else if let Some(rule) = value_rule.filter(|rule| !keeps(rule, &entry.value.to_value())) {
            found.faults.push(Fault::new(entry.value.line, path, rule.message).with_value(entry.value.show()));
        }
    }
    node.to_value()
}

fn keeps(rule: &Rule, value: &Value) -> bool {
    match rule.twin {
        Twin::Value(twin) => twin(value),
        Twin::Change(_) => true,
    }
}

fn check_annotations(entry: &Entry, found: &mut Found) {
    let size = |e: &Entry| e.key.len() + e.value.text().map_or(0, str::len);
    let bytes: usize = entry.value.entries().iter().map(size).sum();
    if bytes > MAX_ANNOTATIONS {
        let message = format!("has {bytes} bytes: at most {MAX_ANNOTATIONS} are allowed");
        found.faults.push(at(entry, "metadata.annotations", &message));
    }
}

fn spec(root: &Node, kind: Kind, found: &mut Found) -> Option<Value> {
    let schema = &crd::of(kind)?.schema()["properties"]["spec"];
    // A VirtualIP needs nothing in its spec, but an empty one must be written, so that a lost one is seen.
    let Some(node) = root.get("spec") else {
        found.faults.push(Fault::new(
            root.line,
            "spec",
            "is required: it says what is wanted; {} if nothing in particular",
        ));
        return None;
    };
    schema::check(node, schema, "spec", found)
}
