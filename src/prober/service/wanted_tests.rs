//! What is measured of which objects.

use serde_json::{Value, json};

use super::*;
use crate::store::{Change, Object};

fn object(kind: Kind, namespace: Option<&str>, name: &str, mut body: Value) -> Object {
    body["metadata"]["name"] = json!(name);
    if let Some(namespace) = namespace {
        body["metadata"]["namespace"] = json!(namespace);
    }
    body["apiVersion"] = json!(kind.api_version());
    body["kind"] = json!(kind.name());
    Object { kind, key: Key { namespace: namespace.map(str::to_owned), name: name.to_owned() }, body: body.into() }
}

fn world(kinds: &[(Kind, Vec<Object>)]) -> World {
    let mut world = World::default();
    for (kind, objects) in kinds {
        world.apply(*kind, Change::Reset(objects.clone()));
    }
    world
}

fn probe(spec: Value) -> Object {
    object(Kind::UDPProbe, Some("shop"), "p", json!({ "spec": spec }))
}

fn look(world: &World, cluster: bool) -> Plan {
    plan(world, &Names::default(), &Rules { me: "node-a", port: 7, degree: 2 }, cluster, false)
}

fn told(plan: &Plan) -> Vec<String> {
    plan.targets.keys().map(|place| format!("{} {} {}", place.kind, place.target, place.address)).collect()
}

#[test]
fn a_service_or_a_pod_selector_without_a_cluster_is_an_error_that_names_the_field() {
    let targets = json!([{"host": "192.0.2.1"}, {"service": {"name": "web"}}, {"podSelector": {}}]);
    let world = world(&[(Kind::UDPProbe, vec![probe(json!({ "targets": targets }))])]);
    let plan = look(&world, false);
    assert_eq!(told(&plan), ["host 192.0.2.1 192.0.2.1:7"], "the good target is measured all the same");
    let problems = &plan.problems[&Key::namespaced("shop", "p")];
    assert_eq!(problems.len(), 2);
    assert!(problems[0].message.starts_with("spec.targets[1].service: "), "{problems:?}");
    assert!(problems[1].message.starts_with("spec.targets[2].podSelector: "), "{problems:?}");
    assert!(!plan.kinds.contains(&Kind::Pod) && !plan.kinds.contains(&Kind::EndpointSlice));
}

#[test]
fn services_and_pods_are_those_of_the_namespace() {
    let slice = |namespace| {
        object(
            Kind::EndpointSlice,
            Some(namespace),
            "web-1",
            json!({
                "metadata": {"labels": {"kubernetes.io/service-name": "web"}},
                "ports": [{"port": 9000, "protocol": "UDP"}],
                "endpoints": [{"addresses": ["192.0.2.5"], "conditions": {"ready": true}}],
            }),
        )
    };
    let pod = |name, app| {
        object(
            Kind::Pod,
            Some("shop"),
            name,
            json!({
                "metadata": {"labels": {"app": app}}, "status": {"phase": "Running", "podIP": "192.0.2.6"},
            }),
        )
    };
    let targets = json!([{"service": {"name": "web"}}, {"podSelector": {"matchLabels": {"app": "db"}}}]);
    let world = world(&[
        (Kind::UDPProbe, vec![probe(json!({ "targets": targets }))]),
        (Kind::EndpointSlice, vec![slice("shop"), slice("other")]),
        (Kind::Pod, vec![pod("db-0", "db"), pod("web-0", "web")]),
    ]);
    let plan = look(&world, true);
    assert_eq!(told(&plan), ["service web 192.0.2.5:9000", "pod db-0 192.0.2.6:7"]);
    assert!(plan.problems.is_empty() && plan.kinds.contains(&Kind::Pod));
}

#[test]
fn a_virtual_ip_is_asked_who_answers_and_its_absence_is_a_problem() {
    let targets = json!([{"virtualIP": {"name": "web"}}, {"virtualIP": {"name": "none"}}]);
    let vip = object(Kind::VirtualIP, Some("shop"), "web", json!({"spec": {"address": "198.51.100.20"}}));
    let world = world(&[(Kind::UDPProbe, vec![probe(json!({ "targets": targets }))]), (Kind::VirtualIP, vec![vip])]);
    let plan = look(&world, false);
    assert_eq!(told(&plan), ["virtualip web 198.51.100.20:7"]);
    let settings = plan.targets.values().next().unwrap();
    assert!(settings.measure.holders && settings.size >= 112, "{settings:?}");
    let problems = &plan.problems[&Key::namespaced("shop", "p")];
    assert!(problems[0].message.starts_with("spec.targets[1].virtualIP.name \"none\""), "{problems:?}");
}

#[test]
fn a_mesh_is_the_next_nodes_of_the_ring() {
    let node = |n: u8| {
        let addresses =
            json!([{"type": "Hostname", "address": "x"}, {"type": "InternalIP", "address": format!("192.0.2.{n}")}]);
        object(Kind::Node, None, &format!("node-{n}"), json!({"status": {"addresses": addresses}}))
    };
    let nodes: Vec<Object> = (1..=5).map(node).chain([object(Kind::Node, None, "node-a", json!({}))]).collect();
    let world = world(&[(Kind::UDPProbe, vec![probe(json!({"mesh": true}))]), (Kind::Node, nodes)]);
    let plan = look(&world, false);
    assert_eq!(plan.targets.len(), 2);
    assert!(plan.targets.keys().all(|place| place.kind == TargetKind::Node && place.target != "node-a"));
}

#[test]
fn a_spec_becomes_the_settings_of_a_target() {
    let spec = json!({"targets": [{"host": "2001:db8::1"}], "interval": "250ms", "timeout": "500ms", "payloadSize": 300,
                      "dscp": 46, "sourcePorts": 8});
    let world = world(&[(Kind::UDPProbe, vec![probe(spec)])]);
    let plan = look(&world, false);
    let settings = plan.targets.values().next().unwrap();
    assert_eq!((settings.size, settings.tos, settings.measure.ports), (300, 46 << 2, 8));
    assert_eq!((settings.measure.interval.as_millis(), settings.measure.timeout.as_millis()), (250, 500));
}
