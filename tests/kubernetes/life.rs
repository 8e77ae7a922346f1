//! The life of VirtualIPs and of the installation, from `helm install` to `helm uninstall`.

use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::bed::{Bed, NODES};
use crate::support::capture::{Capture, Claim, Frame};
use crate::support::installed::{Installed, LIMIT, chart};
use crate::support::netns::run;
use crate::support::pinger::Pinger;
use crate::support::process::Process;
use crate::support::segment::{Host, INTERFACE};
use crate::support::wait_until;

#[test]
fn addresses_from_install_to_uninstall() {
    let mut bed = Bed::running(false);
    from_a_pool_to_the_wire(&bed);
    people_are_told(&bed);
    an_edit_moves_what_it_must(&bed);
    a_cordoned_node_is_emptied_and_nothing_is_lost(&bed);
    a_restart_of_all_agents_moves_nothing(&mut bed);
    an_upgrade_of_the_chart_moves_nothing(&bed);
    a_deleted_address_goes(&bed);
    an_uninstall_leaves_nothing(&mut bed);
}

/// Whether the frame announces the address, in one of the forms that caches take.
fn announces(frame: &Frame, address: &str) -> bool {
    let address: std::net::IpAddr = address.parse().unwrap();
    frame.speaks_as(address)
        && matches!(frame.claim(), Some(Claim::Arp { sender, target, .. }) if sender == target)
        && frame.destination() == [0xff; 6]
}

fn from_a_pool_to_the_wire(bed: &Bed) {
    let capture = Capture::start(&bed.client.netns, INTERFACE);
    bed.apply(&json!({
        "apiVersion": "vipkeeper.dev/v1alpha1", "kind": "AddressPool", "metadata": {"name": "public"},
        "spec": {"ranges": ["198.51.100.32/28"]},
    }));
    let only_b = json!({"matchLabels": {"kubernetes.io/hostname": "node-b"}});
    bed.vip("web", &json!({"nodeSelector": only_b}));
    bed.vip("fixed", &json!({"address": "198.51.100.60"}));
    let (address, node) = bed.wait_held("web");
    assert_eq!((address.as_str(), NODES[node]), ("198.51.100.32", "node-b"), "the pool's first, on the node selected");
    let mac = bed.hosts[node].mac();
    let heard = capture.wait(LIMIT, "an announcement", |frame| announces(frame, &address));
    assert_eq!(heard.source(), mac);
    assert_eq!(capture.dropped(), 0);
    bed.wait_alone(&address, node);
    assert!(Pinger::start(&bed.client.netns, &address).lost().is_empty());
    let (fixed, node) = bed.wait_held("fixed");
    assert_eq!(fixed, "198.51.100.60");
    bed.wait_alone(&fixed, node);
    let counts =
        || ["allocated", "free", "total"].map(|field| bed.get(&["vippool", "public"])["status"][field].clone());
    wait_until(LIMIT, "the pool's counts", || counts() == ["1", "15", "16"]);
}

fn people_are_told(bed: &Bed) {
    let line = bed.kubectl(&["get", "vip", "web", "--no-headers", "-o", "wide"]);
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[..5], ["web", "198.51.100.32", "node-b", "eth0", "True"], "{line}");
    assert!(words[6].parse::<u32>().is_ok_and(|epoch| epoch > 0), "the epoch: {line}");
    let parts = ["Type:                  Ready", "Assigned", "Holding", "node-b answers for 198.51.100.32 on eth0"];
    wait_until(LIMIT, "conditions and events", || {
        let told = bed.kubectl(&["describe", "vip", "web"]);
        parts.iter().all(|part| told.contains(part))
    });
    let why = run(bed.vipkeeper(bed.control(), "why", "vipkeeper-agent").arg("web"));
    assert!(why.contains("node-b") && why.contains("node-a"), "{why}");
}

fn an_edit_moves_what_it_must(bed: &Bed) {
    let (address, node) = bed.wait_held("web");
    bed.wait_settled();
    let pinger = Pinger::start(&bed.client.netns, &address);
    let only_c = json!({"matchLabels": {"kubernetes.io/hostname": "node-c"}});
    bed.vip("web", &json!({"nodeSelector": only_c}));
    let (same, now) = bed.wait_held_by("web", &|holder| holder != node);
    assert_eq!((same, NODES[now]), (address.clone(), "node-c"));
    bed.wait_alone(&address, now);
    assert_eq!(pinger.lost(), [0; 0], "a planned move loses nothing");
    // An address is no matter of taste: it cannot be edited.
    let patch = r#"{"spec":{"address":"198.51.100.61"}}"#;
    let output = bed.plane.kubectl().args(["patch", "vip", "fixed", "--type=merge", "-p", patch]).output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("spec.address"));
}

fn a_cordoned_node_is_emptied_and_nothing_is_lost(bed: &Bed) {
    let (address, node) = bed.wait_held("fixed");
    bed.wait_settled();
    let pinger = Pinger::start(&bed.client.netns, &address);
    bed.plane.run(&["cordon", NODES[node]]);
    let (_, now) = bed.wait_held_by("fixed", &|holder| holder != node);
    bed.wait_alone(&address, now);
    bed.plane.run(&["uncordon", NODES[node]]);
    // What shows that the controller has seen the node again: the only one that may have it.
    let only = json!({"matchLabels": {"kubernetes.io/hostname": NODES[node]}});
    bed.vip("back", &json!({"address": "198.51.100.62", "nodeSelector": only}));
    bed.wait_held_by("back", &|holder| holder == node);
    assert_eq!(bed.bearers(&address), [now], "an address does not go back by itself");
    assert_eq!(pinger.lost(), [0; 0], "a drain loses nothing");
    bed.plane.run(&["delete", "vip", "back", "--timeout=60s"]);
}

fn holders(bed: &Bed) -> Vec<(String, usize)> {
    ["web", "fixed"].map(|vip| bed.wait_held(vip)).to_vec()
}

/// One after the other, as a rollout does it.
fn a_restart_of_all_agents_moves_nothing(bed: &mut Bed) {
    let before = holders(bed);
    bed.wait_settled();
    let pingers: Vec<_> = before.iter().map(|(address, _)| Pinger::start(&bed.client.netns, address)).collect();
    let watched = |host: &Host| Process::start(host.netns.command("ip").args(["monitor", "address"]));
    let monitors: Vec<_> = bed.hosts.iter().map(watched).collect();
    for node in 0..NODES.len() {
        bed.agent(node).signal(Signal::TERM);
        assert!(bed.agent(node).wait(Duration::from_secs(20)).success());
        bed.start_agent(node);
        bed.wait_ready(node);
    }
    bed.wait_settled();
    for monitor in &monitors {
        assert!(!monitor.output().contains("Deleted"), "{}", monitor.output());
    }
    assert_eq!(holders(bed), before);
    for pinger in pingers {
        assert_eq!(pinger.lost(), [0; 0]);
    }
}

fn an_upgrade_of_the_chart_moves_nothing(bed: &Bed) {
    let before = holders(bed);
    let pinger = Pinger::start(&bed.client.netns, &before[0].0);
    let crds = bed.helm(&["show", "crds", &chart()]);
    assert!(bed.plane.apply(&crds, &["--server-side", "--force-conflicts"]).status.success());
    bed.helm(&["upgrade", "vipkeeper", &chart(), "-n", "vipkeeper", "--set=log.level=debug"]);
    assert_eq!(holders(bed), before);
    assert_eq!(pinger.lost(), [0; 0]);
}

fn a_deleted_address_goes(bed: &Bed) {
    let (address, _) = bed.wait_held("web");
    bed.plane.run(&["delete", "vip", "web", "--timeout=60s"]);
    bed.wait_gone(&address);
    wait_until(LIMIT, "the pool to have it back", || bed.get(&["vippool", "public"])["status"]["free"] == "16");
}

/// What a hook of `helm uninstall` runs, with the rights that the hook gives it: no job controller runs here.
fn hook(bed: &Bed, step: &str, arguments: &[&str]) {
    let rendered = bed.helm(&["template", "vipkeeper", &chart(), "-n", "vipkeeper", "-s", "templates/uninstall.yaml"]);
    let documents =
        rendered.split("\n---\n").filter(|text| text.contains(&format!("name: vipkeeper-withdraw-{step}\n")));
    let rights: Vec<&str> = documents.filter(|text| !text.contains("kind: Job")).collect();
    assert_eq!(rights.len(), 3, "{rendered}");
    let rights = rights.join("\n---\n");
    assert!(bed.plane.apply(&rights, &[]).status.success());
    run(bed.vipkeeper(bed.control(), "withdraw", &format!("vipkeeper-withdraw-{step}")).args(arguments));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rights).unwrap();
    bed.plane.run(&["delete", "-f", file.path().to_str().unwrap()]);
}

fn an_uninstall_leaves_nothing(bed: &mut Bed) {
    let (address, _) = bed.wait_held("fixed");
    hook(bed, "pre-delete", &["--timeout", "60s"]);
    assert!(bed.bearers(&address).is_empty(), "{:?}", bed.bearers(&address));
    let fixed = bed.get(&["vip", "fixed"]);
    assert_eq!(fixed["metadata"]["finalizers"], serde_json::Value::Null, "{fixed}");
    for node in 0..NODES.len() {
        assert!(bed.agent(node).is_running(), "the kubelet ends an agent, nobody else");
    }
    bed.helm(&["uninstall", "vipkeeper", "-n", "vipkeeper", "--no-hooks"]);
    for node in 0..NODES.len() {
        bed.agent(node).signal(Signal::TERM);
        assert!(bed.agent(node).wait(Duration::from_secs(20)).success());
    }
    bed.stop_controllers();
    hook(bed, "post-delete", &["--purge"]);

    for host in &bed.hosts {
        let listed = host.netns.ip("-details -o addr show");
        assert!(!listed.contains("proto 0x56"), "{listed}");
    }
    assert!(!bed.bpffs().join("vipkeeper").exists(), "the gate and its pins are gone");
    // The user's own object is without strings, and goes like any other.
    bed.plane.run(&["delete", "vip", "fixed", "--timeout=10s"]);
    bed.plane.run(&["delete", "vippool", "public", "--timeout=10s"]);
    assert_eq!(everything_of_ours(bed), ["customresourcedefinition.apiextensions.k8s.io"; 4]);
}

/// The kinds of all objects whose name or labels speak of us, once for each object.
fn everything_of_ours(bed: &Bed) -> Vec<String> {
    let kinds = bed.plane.run(&["api-resources", "--verbs=list", "-o", "name"]);
    let kinds: Vec<&str> = kinds
        .split_whitespace()
        .filter(|kind| !kind.starts_with("events") && !kind.starts_with("apiservices"))
        .collect();
    let all = bed.plane.run(&["get", &kinds.join(","), "-A", "-o", "name", "--ignore-not-found"]);
    let ours = all.lines().filter(|line| line.contains("vipkeeper") && !line.starts_with("namespace/"));
    ours.map(|line| line.split('/').next().unwrap().to_owned()).collect()
}

/// The programs are what the installation says they are.
#[test]
fn versions_agree() {
    let chart = std::fs::read_to_string(format!("{}/Chart.yaml", chart())).unwrap();
    let printed = run(Command::new(crate::support::process::VIPKEEPER).arg("--version"));
    let version = printed.trim().rsplit(' ').next().unwrap();
    assert!(chart.contains(&format!("appVersion: \"{version}\"")) || chart.contains(&format!("appVersion: {version}")));
}
