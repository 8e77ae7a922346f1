//! What the chart renders.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::control_plane::{helm_program, succeed};
use crate::support::process::VIPKEEPER;

/// Sets of values under which the chart must render something good; each a name and arguments of helm.
pub const SETS: &[(&str, &[&str])] = &[
    ("defaults", &[]),
    (
        "everything",
        &[
            "--set=prober.enabled=true,lookup.enabled=true,agent.sidecars.udpPing.enabled=true,namespace.create=true",
            "--set=agent.realtime=true,lookup.offline=true,prober.kind=Deployment",
            "--set-json=lookup.databases={\"volume\":{\"configMap\":{\"name\":\"geo\"}},\"geo\":[\"city.mmdb\"],\
         \"vendors\":[\"oui.csv\"],\"networks\":[\"ours.txt\"]}",
            "--set-json=imagePullSecrets=[{\"name\":\"pull\"}]",
            "--set-json=commonLabels={\"team\":\"net\"}",
            "--set-json=networkPolicy.metricsFrom=[{\"namespaceSelector\":{}}]",
            "--set-json=networkPolicy.lookupFrom=[{\"podSelector\":{}}]",
            "--set-json=controller.extraEnv=[{\"name\":\"TZ\",\"value\":\"UTC\"}]",
        ],
    ),
    (
        "least",
        &[
            "--set=controller.replicas=1,rbac.create=false,rbac.aggregate=false,networkPolicy.enabled=false",
            "--set=agent.bpffs.enabled=false,uninstall.withdraw=false,controller.serviceAccount.create=false",
        ],
    ),
    ("other-names", &["--set=fullnameOverride=vips,nameOverride=keeper,agent.serviceAccount.name=node-agent"]),
    (
        "digest",
        &["--set=image.repository=registry.example/vipkeeper,image.digest=sha256:\
         e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
    ),
];

pub fn chart() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/charts/vipkeeper"))
}

pub fn helm(arguments: &[&str]) -> Output {
    Command::new(helm_program()).args(arguments).output().unwrap()
}

/// The objects that the chart renders with these arguments.
pub fn render(arguments: &[&str]) -> Vec<Value> {
    let chart = chart();
    let mut all = vec!["template", "vipkeeper", chart.to_str().unwrap(), "--namespace", "vipkeeper"];
    all.extend(arguments);
    objects(&succeed(helm(&all), &all))
}

pub fn objects(yaml: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(yaml);
    let values = documents.map(|document| <Value as serde::Deserialize>::deserialize(document).unwrap());
    values.filter(|value| !value.is_null()).collect()
}

pub fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The pods' specs of whatever runs pods.
pub fn pods(objects: &[Value]) -> Vec<(String, &Value)> {
    let spec = |object: &'_ Value| match object["kind"].as_str().unwrap() {
        "Pod" => Some("/spec"),
        "Deployment" | "DaemonSet" | "Job" => Some("/spec/template/spec"),
        _ => None,
    };
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    objects.iter().filter_map(|object| Some((name(object), object.pointer(spec(object)?)?))).collect()
}

#[test]
fn the_linter_has_no_complaint() {
    for (name, arguments) in SETS {
        let chart = chart();
        let mut all = vec!["lint", "--strict", chart.to_str().unwrap()];
        all.extend(*arguments);
        let output = helm(&all);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn names_and_labels_are_there_and_selectors_find_their_pods() {
    for (set, arguments) in SETS {
        let objects = render(arguments);
        for object in &objects {
            let at = format!("{set}: {} {}", object["kind"], object["metadata"]["name"]);
            assert!(object["metadata"]["labels"]["app.kubernetes.io/name"].is_string(), "{at}");
            if object["kind"] == "Deployment" || object["kind"] == "DaemonSet" {
                let wanted = object["spec"]["selector"]["matchLabels"].as_object().unwrap();
                let labels = &object["spec"]["template"]["metadata"]["labels"];
                assert!(wanted.iter().all(|(key, value)| &labels[key] == value) && wanted.len() == 3, "{at}");
                assert!(labels["helm.sh/chart"].is_null(), "{at}: a new chart alone restarts nothing");
            }
        }
        let mut keys: Vec<_> = objects
            .iter()
            .map(|o| format!("{} {} {}", o["kind"], o["metadata"]["namespace"], o["metadata"]["name"]))
            .collect();
        keys.sort();
        let count = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), count, "{set}: two objects of one name");
    }
}

#[test]
fn the_binary_knows_every_argument_of_the_chart() {
    for (set, arguments) in SETS {
        let objects = render(arguments);
        for (name, pod) in pods(&objects) {
            for container in pod["containers"].as_array().unwrap() {
                let words: Vec<_> = container["args"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
                let output = Command::new(VIPKEEPER).args(&words).arg("--help").output().unwrap();
                assert!(
                    output.status.success(),
                    "{set}: {name}: {words:?}: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
            }
        }
    }
}

#[test]
fn nobody_has_more_rights_than_the_role_needs() {
    for (set, arguments) in SETS {
        let objects = render(arguments);
        for (name, pod) in pods(&objects) {
            let is_agent = name.ends_with("-agent");
            assert_eq!(pod["hostNetwork"] == true, is_agent, "{set}: {name}");
            assert!(pod["hostPID"].is_null() && pod["hostIPC"].is_null());
            let paths: Vec<_> = pod["volumes"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|v| v["hostPath"]["path"].as_str())
                .collect();
            assert!(paths.is_empty() || (is_agent && paths == ["/sys/fs/bpf"]), "{set}: {name}: {paths:?}");
            for container in pod["containers"].as_array().unwrap() {
                let context = &container["securityContext"];
                let at = format!("{set}: {name}: {context}");
                assert_eq!(context["readOnlyRootFilesystem"], true, "{at}");
                assert_eq!(context["allowPrivilegeEscalation"], false, "{at}");
                assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault", "{at}");
                assert_eq!(context["capabilities"]["drop"], serde_json::json!(["ALL"]), "{at}");
                let mut expected = vec![];
                if container["name"] == "agent" {
                    expected.extend(["NET_ADMIN", "NET_RAW"]);
                    expected.extend((*set != "least").then_some("BPF"));
                    expected.extend((*set == "everything").then_some(["SYS_NICE", "IPC_LOCK"]).into_iter().flatten());
                } else {
                    assert_eq!(context["runAsNonRoot"], true, "{at}");
                }
                let added = context["capabilities"]["add"].as_array().cloned().unwrap_or_default();
                assert_eq!(added, expected, "{at}");
                assert!(container["resources"]["limits"]["cpu"].is_null(), "{at}: a throttled agent loses addresses");
            }
        }
    }
}

#[test]
fn ports_are_those_of_the_roles_and_probed() {
    let objects = render(SETS[1].1);
    for (role, port) in [("controller", 9471), ("agent", 9470), ("prober", 9472), ("lookup", 8080), ("udp-ping", 9474)]
    {
        let pods = pods(&objects);
        let container =
            pods.iter().flat_map(|(_, pod)| pod["containers"].as_array().unwrap()).find(|c| c["name"] == role);
        let container = container.unwrap_or_else(|| panic!("no container {role}"));
        for probe in ["livenessProbe", "readinessProbe"] {
            assert_eq!(container[probe]["httpGet"]["port"], port, "{role}");
        }
        let listen = container["env"].as_array().unwrap().iter().find(|e| e["name"] == "VIPKEEPER_LISTEN").unwrap();
        assert_eq!(listen["value"], format!("[::]:{port}"), "{role}");
    }
}

#[test]
fn the_plain_manifests_are_those_of_the_chart() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join("charts/render")).env("HELM", helm_program()).output().unwrap();
    let rendered = succeed(output, &["charts/render"]);
    let checked_in = fs::read_to_string(root.join("manifests/install.yaml")).unwrap();
    assert!(rendered == checked_in, "manifests/install.yaml is not what the chart says: run `make manifests`");
    assert!(!rendered.contains("helm.sh/") && !rendered.contains(": Helm"), "nothing of Helm's own is in it");
}
