//! Alerts and dashboard: they speak of metrics that exist, and the alerts fire when they should.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::render::{chart, of_kind, render};
use crate::support::control_plane::succeed;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The names of ours in a text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("vipkeeper_")).map(str::to_owned).collect()
}

#[test]
fn rules_and_dashboard_name_only_metrics_that_exist() {
    let metrics = fs::read_to_string(root().join("src/metrics.rs")).unwrap();
    let metrics = metrics.split("#[cfg(test)]").next().unwrap();
    // The counters of probes stand there without what they all begin with.
    let probes = |name: &str| {
        name.strip_prefix("vipkeeper_probe_").is_some_and(|rest| metrics.contains(&format!("(\"{rest}\"")))
    };
    let exist = |name: &str| metrics.contains(&format!("\"{name}\"")) || probes(name);
    let bare = |name: &str| {
        let parts = ["_bucket", "_sum", "_count"];
        parts.iter().find_map(|part| name.strip_suffix(part)).map(str::to_owned)
    };
    for file in ["rules/vipkeeper.yaml", "dashboards/vipkeeper.json"] {
        let named = names(&fs::read_to_string(chart().join(file)).unwrap());
        assert!(named.len() > 5, "{file}: {named:?}");
        let missing: Vec<_> =
            named.iter().filter(|name| !exist(name) && !bare(name).is_some_and(|bare| exist(&bare))).collect();
        assert!(missing.is_empty(), "{file} names metrics that src/metrics.rs does not: {missing:?}");
    }
}

#[test]
fn the_alerts_fire_when_they_should() {
    let rules = chart().join("rules/vipkeeper.yaml");
    for arguments in [vec!["check", "rules", rules.to_str().unwrap()], vec!["test", "rules", "tests/chart/rules.yaml"]]
    {
        let output = Command::new("promtool").args(&arguments).current_dir(root()).output();
        let output = output.unwrap_or_else(|error| panic!("promtool: {error}: apt-get install prometheus"));
        succeed(output, &arguments);
    }
}

#[test]
fn every_alert_has_a_test() {
    let rules: Value =
        serde_yaml::from_str(&fs::read_to_string(chart().join("rules/vipkeeper.yaml")).unwrap()).unwrap();
    let tests = fs::read_to_string(root().join("tests/chart/rules.yaml")).unwrap();
    for rule in rules["groups"][0]["rules"].as_array().unwrap() {
        let alert = rule["alert"].as_str().unwrap();
        assert!(tests.contains(&format!("alertname: {alert}\n")), "tests/chart/rules.yaml says nothing of {alert}");
    }
}

#[test]
fn monitors_rules_and_dashboard_are_made_when_asked_for() {
    let kinds = ["PodMonitor", "ServiceMonitor", "PrometheusRule"];
    let none = render(&[]);
    assert!(kinds.iter().all(|kind| of_kind(&none, kind).is_empty()));
    let all = render(&[
        "--set=monitoring.podMonitor.enabled=true,monitoring.serviceMonitor.enabled=true,lookup.enabled=true",
        "--set=monitoring.prometheusRule.enabled=true,monitoring.dashboard.enabled=true,prober.enabled=true",
        "--set=agent.sidecars.udpPing.enabled=true,monitoring.podMonitor.labels.release=prometheus",
    ]);
    assert_eq!(of_kind(&all, "PodMonitor").len(), 3);
    assert_eq!(of_kind(&all, "ServiceMonitor").len(), 1);
    let ports: BTreeSet<&str> = crate::render::pods(&all)
        .into_iter()
        .flat_map(|(_, pod)| pod["containers"].as_array().unwrap())
        .flat_map(|container| container["ports"].as_array().into_iter().flatten())
        .filter_map(|port| port["name"].as_str())
        .collect();
    for monitor in of_kind(&all, "PodMonitor") {
        assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
        for endpoint in monitor["spec"]["podMetricsEndpoints"].as_array().unwrap() {
            assert!(ports.contains(endpoint["port"].as_str().unwrap()), "{endpoint}");
        }
    }
    let rules: Value =
        serde_yaml::from_str(&fs::read_to_string(chart().join("rules/vipkeeper.yaml")).unwrap()).unwrap();
    assert_eq!(of_kind(&all, "PrometheusRule")[0]["spec"], rules);
    let dashboard = of_kind(&all, "ConfigMap")[0]["data"]["vipkeeper.json"].as_str().unwrap();
    let dashboard: Value = serde_json::from_str(dashboard).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() >= 8);
}
