//! The values: all explained, all in the schema, and whatever else is refused.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::render::{chart, helm};

fn schema() -> Value {
    serde_json::from_str(&fs::read_to_string(chart().join("values.schema.json")).unwrap()).unwrap()
}

fn values() -> (String, Value) {
    let text = fs::read_to_string(chart().join("values.yaml")).unwrap();
    let values = serde_yaml::from_str(&text).unwrap();
    (text, values)
}

/// The paths of the fields that the schema knows by name, without those of Kubernetes' own objects.
fn known(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}/{name}");
        if !matches!(name.as_str(), "resources" | "updateStrategy" | "global") {
            known(field, &path, found);
        }
        found.insert(path);
    }
}

fn has(values: &Value, path: &str) -> bool {
    values.pointer(path).is_some()
}

#[test]
fn schema_and_values_have_the_same_fields() {
    let (_, values) = values();
    let mut paths = BTreeSet::new();
    known(&schema(), "", &mut paths);
    assert!(paths.len() > 100, "{}", paths.len());
    let missing: Vec<_> = paths.iter().filter(|path| !has(&values, path)).collect();
    assert!(missing.is_empty(), "in the schema, but without a default: {missing:?}");
}

/// A comment stands above each field that is no mere heading.
#[test]
fn every_value_is_explained() {
    let (text, _) = values();
    let mut paths = BTreeSet::new();
    known(&schema(), "", &mut paths);
    let mut open: Vec<(usize, String)> = Vec::new();
    let mut explained = false;
    let mut wrong = Vec::new();
    let mut seen = 0;
    for line in text.lines() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        if code.starts_with('#') || code.is_empty() || code.starts_with('-') {
            explained = code.starts_with('#');
            continue;
        }
        let (name, value) = code.split_once(':').unwrap();
        while open.last().is_some_and(|(above, _)| *above >= indent) {
            open.pop();
        }
        open.push((indent, name.to_owned()));
        let path: String = open.iter().map(|(_, name)| format!("/{name}")).collect();
        let heads_others = paths.iter().any(|other| other.starts_with(&format!("{path}/")));
        if paths.contains(&path) {
            seen += 1;
            let is_heading = heads_others && value.is_empty();
            if !explained && !is_heading {
                wrong.push(path);
            }
        }
        explained = false;
    }
    assert!(wrong.is_empty(), "without a comment: {wrong:?}");
    assert_eq!(seen, paths.len());
}

#[test]
fn wrong_values_are_refused_and_named() {
    for (value, named) in [
        ("agent.gat=bpf", "gat"),
        ("agents.port=1", "agents"),
        ("controller.replicas=0", "/controller/replicas"),
        ("controller.replicas=two", "/controller/replicas"),
        ("agent.port=70000", "/agent/port"),
        ("agent.sidecars.udpPing.port=32767", "/agent/sidecars/udpPing/port"),
        ("agent.sidecars.udpPing.port=30000", "/agent/sidecars/udpPing/port"),
        ("agent.bpffs.hostPath=bpf", "/agent/bpffs/hostPath"),
        ("agent.updateStrategy.type=Recreate", "/agent/updateStrategy/type"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("image.digest=sha256:1", "/image/digest"),
        ("image.repository=", "/image/repository"),
        ("log.format=xml", "/log/format"),
        ("livenessProbe.periodSeconds=0", "/livenessProbe/periodSeconds"),
        ("readinessProbe.httpGet.path=/", "httpGet"),
        ("prober.kind=StatefulSet", "/prober/kind"),
        ("lookup.service.type=ExternalName", "/lookup/service/type"),
        ("lookup.databases.geo={/etc/passwd}", "/lookup/databases/geo"),
        ("lookup.databases.geo={../etc/passwd}", "/lookup/databases/geo"),
        ("uninstall.timeout=60", "/uninstall/timeout"),
        ("networkPolicy.enabled=maybe", "/networkPolicy/enabled"),
        ("imagePullSecrets={pull}", "/imagePullSecrets"),
        ("fullnameOverride=A_B", "/fullnameOverride"),
    ] {
        let chart = chart();
        let output = helm(&["template", "vipkeeper", chart.to_str().unwrap(), "--set", value]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{value} is accepted");
        assert!(said.contains(named), "{value}: {said}");
    }
}
