//! The chart against a real API server: everything is accepted, each role may do what it must and nothing else, and an
//! upgrade and an uninstall leave what they should.

use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::render::{SETS, chart, pods, render};
use crate::support::control_plane::{ControlPlane, helm_program, succeed};

/// One plane for the file: the tests within do not meet, and each takes a namespace of its own.
#[test]
fn an_api_server_takes_the_chart() {
    let plane = ControlPlane::start();
    every_set_is_accepted(&plane);
    installed_upgraded_and_removed(&plane);
    pods_without_rights_pass_the_strictest_policy(&plane);
}

fn helm(plane: &ControlPlane, arguments: &[&str]) -> Output {
    Command::new(helm_program()).env("KUBECONFIG", plane.kubeconfig()).args(arguments).output().unwrap()
}

/// Applies objects as a dry run, in a namespace that is there.
fn dry_run(plane: &ControlPlane, objects: &[Value]) -> Output {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    plane.apply(&list.to_string(), &["--server-side", "--dry-run=server", "--validate=strict"])
}

fn every_set_is_accepted(plane: &ControlPlane) {
    plane.run(&["create", "namespace", "vipkeeper"]);
    for (set, arguments) in SETS {
        // A pod is taken only beside a service account that is there already; it is tried below.
        let objects: Vec<_> = render(arguments).into_iter().filter(|object| object["kind"] != "Pod").collect();
        let output = dry_run(plane, &objects);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{set}: {said}");
        assert!(!said.contains("Warning"), "{set}: {said}");
    }
    plane.run(&["delete", "namespace", "vipkeeper", "--wait=false"]);
    let finalized =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "vipkeeper"}, "spec": {"finalizers": []}});
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), finalized.to_string()).unwrap();
    // No controller runs that would do it.
    plane.run(&["replace", "--raw", "/api/v1/namespaces/vipkeeper/finalize", "-f", file.path().to_str().unwrap()]);
}

fn installed_upgraded_and_removed(plane: &ControlPlane) {
    let chart = chart();
    let chart = chart.to_str().unwrap();
    let install = [
        "install",
        "vipkeeper",
        chart,
        "-n",
        "vipkeeper",
        "--create-namespace",
        "--set=prober.enabled=true,lookup.enabled=true",
    ];
    let notes = succeed(helm(plane, &install), &install);
    assert!(notes.contains("kubectl get vip -A -o wide"), "{notes}");
    plane.run(&["wait", "--for=condition=Established", "--timeout=60s", "-f", &format!("{chart}/crds")]);
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests");
    plane.run(&["apply", "-f", &format!("{examples}/pool.yaml"), "-f", &format!("{examples}/virtualip.yaml")]);

    each_role_may_do_its_work_and_nothing_else(plane);

    // The stated path of an upgrade: CRDs first, then the chart.
    let crds = succeed(helm(plane, &["show", "crds", chart]), &["show", "crds"]);
    let output = plane.apply(&crds, &["--server-side", "--force-conflicts"]);
    succeed(output, &["apply", "the CRDs"]);
    let upgrade = ["upgrade", "vipkeeper", chart, "-n", "vipkeeper", "--set=controller.replicas=3"];
    succeed(helm(plane, &upgrade), &upgrade);
    assert_eq!(plane.run(&["get", "deployment", "-n", "vipkeeper", "-o", "jsonpath={.items[*].spec.replicas}"]), "3");
    assert_eq!(plane.run(&["get", "vip", "web", "-o", "jsonpath={.spec.address}"]), "198.51.100.20");

    // Without pods nobody would answer the hook.
    let uninstall = ["uninstall", "vipkeeper", "-n", "vipkeeper", "--no-hooks"];
    succeed(helm(plane, &uninstall), &uninstall);
    let left = plane.run(&[
        "get",
        "clusterrole,clusterrolebinding",
        "-A",
        "-o",
        "name",
        "-l",
        "app.kubernetes.io/name=vipkeeper",
    ]);
    assert_eq!(left, "", "nothing of the chart is left");
    assert_eq!(
        plane.run(&["get", "vip", "web", "-o", "jsonpath={.spec.address}"]),
        "198.51.100.20",
        "what users made stays"
    );
}

/// What a role asks of the API: verb, resource, namespace (empty for the whole cluster).
type Call = (&'static str, &'static str, &'static str);

const MAY: &[(&str, &[Call])] = &[
    (
        "controller",
        &[
            ("watch", "virtualips.vipkeeper.dev", ""),
            ("patch", "virtualips.vipkeeper.dev", ""),
            ("patch", "virtualips.vipkeeper.dev/status", ""),
            ("watch", "addresspools.vipkeeper.dev", ""),
            ("patch", "addresspools.vipkeeper.dev/status", ""),
            ("watch", "failoverviews.vipkeeper.dev", ""),
            ("get", "failoverviews.vipkeeper.dev", ""),
            ("patch", "failoverviews.vipkeeper.dev", ""),
            ("watch", "nodes", ""),
            ("create", "virtualips.vipkeeper.dev", "shop"),
            ("delete", "virtualips.vipkeeper.dev", "shop"),
            ("watch", "services", ""),
            ("patch", "services/status", "shop"),
            ("watch", "endpointslices.discovery.k8s.io", ""),
            ("create", "secrets", "vipkeeper"),
            ("get", "secrets/vipkeeper-heartbeat", "vipkeeper"),
            ("create", "events", "shop"),
            ("get", "events", "shop"),
            ("create", "leases.coordination.k8s.io", "vipkeeper"),
            ("update", "leases.coordination.k8s.io/vipkeeper-controller", "vipkeeper"),
            ("get", "leases.coordination.k8s.io/vipkeeper-controller", "vipkeeper"),
        ],
    ),
    (
        "agent",
        &[
            ("watch", "virtualips.vipkeeper.dev", ""),
            ("patch", "virtualips.vipkeeper.dev/status", "shop"),
            ("watch", "failoverviews.vipkeeper.dev", ""),
            ("get", "failoverviews.vipkeeper.dev", ""),
            ("create", "failoverviews.vipkeeper.dev", ""),
            ("patch", "failoverviews.vipkeeper.dev", ""),
            ("watch", "nodes", ""),
            ("get", "secrets/vipkeeper-heartbeat", "vipkeeper"),
            ("patch", "events", "shop"),
        ],
    ),
    (
        "prober",
        &[
            ("watch", "udpprobes.vipkeeper.dev", ""),
            ("patch", "udpprobes.vipkeeper.dev/status", "shop"),
            ("watch", "virtualips.vipkeeper.dev", ""),
            ("watch", "endpointslices.discovery.k8s.io", ""),
            ("watch", "pods", ""),
            ("watch", "nodes", ""),
            ("watch", "failoverviews.vipkeeper.dev", ""),
        ],
    ),
    (
        "lookup",
        &[
            ("watch", "virtualips.vipkeeper.dev", ""),
            ("watch", "addresspools.vipkeeper.dev", ""),
            ("watch", "nodes", ""),
        ],
    ),
];

/// What nobody of ours may do.
const NOBODY_MAY: &[Call] = &[
    ("get", "secrets", "shop"),
    ("list", "secrets", ""),
    ("watch", "configmaps", "shop"),
    ("create", "pods", "vipkeeper"),
    ("create", "pods/exec", "vipkeeper"),
    ("patch", "nodes", ""),
    ("delete", "nodes", ""),
    ("patch", "services", "shop"),
    ("get", "secrets/another", "vipkeeper"),
    ("update", "secrets/vipkeeper-heartbeat", "vipkeeper"),
    ("update", "virtualips.vipkeeper.dev", "shop"),
    ("delete", "failoverviews.vipkeeper.dev", ""),
    ("patch", "addresspools.vipkeeper.dev", ""),
    ("create", "leases.coordination.k8s.io", "shop"),
    ("update", "leases.coordination.k8s.io/another", "vipkeeper"),
    ("delete", "leases.coordination.k8s.io/vipkeeper-controller", "vipkeeper"),
    ("update", "leases.coordination.k8s.io/kube-scheduler", "kube-system"),
    ("create", "clusterrolebindings.rbac.authorization.k8s.io", ""),
    ("escalate", "clusterroles.rbac.authorization.k8s.io", ""),
    ("impersonate", "users", ""),
];

fn each_role_may_do_its_work_and_nothing_else(plane: &ControlPlane) {
    let mut wrong = Vec::new();
    for (role, calls) in MAY {
        wrong.extend(
            calls.iter().filter(|call| !may(plane, role, **call)).map(|call| format!("{role} may not {call:?}")),
        );
        let others = MAY.iter().filter(|(other, _)| other != role).flat_map(|(_, calls)| calls.iter());
        let foreign = others.filter(|call| writes(call) && !calls.iter().any(|own| (own.0, own.1) == (call.0, call.1)));
        let never = NOBODY_MAY.iter().chain(foreign);
        wrong.extend(never.filter(|call| may(plane, role, **call)).map(|call| format!("{role} may {call:?}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether a call changes something. Events are everybody's who is not named.
fn writes(call: &Call) -> bool {
    !matches!(call.0, "get" | "list" | "watch") && !call.1.starts_with("events")
}

fn may(plane: &ControlPlane, role: &str, (verb, resource, namespace): Call) -> bool {
    let (mut resource, mut name) = (resource.to_owned(), String::new());
    let mut subresource = String::new();
    if let Some((whole, rest)) = resource.clone().split_once('/') {
        resource = whole.to_owned();
        if matches!(rest, "status" | "exec") { subresource = rest.to_owned() } else { name = rest.to_owned() }
    }
    let (resource, group) = resource.split_once('.').unwrap_or((&resource, ""));
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": format!("system:serviceaccount:vipkeeper:vipkeeper-{role}"),
            "groups": ["system:serviceaccounts", "system:serviceaccounts:vipkeeper", "system:authenticated"],
            "resourceAttributes": {
                "verb": verb, "group": group, "resource": resource, "subresource": subresource,
                "name": name, "namespace": namespace,
            },
        },
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), review.to_string()).unwrap();
    let answer = plane.run(&["create", "-f", file.path().to_str().unwrap(), "-o", "jsonpath={.status.allowed}"]);
    answer == "true"
}

fn pods_without_rights_pass_the_strictest_policy(plane: &ControlPlane) {
    plane.run(&["create", "namespace", "strict"]);
    plane.run(&["label", "namespace", "strict", "pod-security.kubernetes.io/enforce=restricted"]);
    let objects = render(SETS[1].1);
    let pods = pods(&objects);
    assert!(pods.len() >= 6, "{}", pods.len());
    for (name, spec) in pods {
        let mut spec = spec.clone();
        let fields = spec.as_object_mut().unwrap();
        fields.remove("serviceAccountName");
        fields.insert("serviceAccount".to_owned(), "default".into());
        fields.insert("automountServiceAccountToken".to_owned(), false.into());
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod", "namespace": "strict"}, "spec": spec});
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "strict"}});
        plane.apply(&account.to_string(), &[]);
        let output = dry_run(plane, &[pod]);
        let said = String::from_utf8_lossy(&output.stderr);
        if name.ends_with("-agent") {
            assert!(said.contains("violates PodSecurity"), "{name}: {said}");
        } else {
            assert!(output.status.success(), "{name}: {said}");
        }
    }
}
