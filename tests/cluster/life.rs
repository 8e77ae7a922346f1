//! The life of an installation on kubelets. One cluster for all, for it takes a while to start.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cleanliness::left_of;
use crate::images::IMAGE;
use crate::lab::{Lab, NODES, alone, mark};
use crate::support::capture::{Capture, Claim};
use crate::support::installed::{Installed, LIMIT, NAMESPACE, chart};
use crate::support::netns::run;
use crate::support::pinger::Pinger;
use crate::support::segment::INTERFACE;
use crate::support::{wait_for, wait_until};

/// The address of the tests.
const VIP: &str = "198.51.100.20";

/// The longest that an address may be without an answer after its node has failed. It takes less than a second on a quiet
/// machine; this is a busy one.
const FAILOVER: Duration = Duration::from_secs(10);

#[test]
fn an_installation_lives_on_kubelets() {
    let _alone = alone();
    let start = Instant::now();
    let mut cluster = Lab::start(NODES);
    let lab = &mut cluster;
    eprintln!("the cluster is ready after {:.1} s", start.elapsed().as_secs_f32());
    assert!(left_of(&mark()).len() > 20, "what is looked for at the end is there now");
    step("install", || installed(lab));
    step("an address", || an_address_answers(lab));
    step("rollout", || a_rollout_moves_nothing(lab));
    step("leader", || another_leads_when_the_leader_is_deleted(lab));
    step("kubelet", || an_agent_goes_on_without_its_kubelet(lab));
    step("readiness", || a_frozen_agent_is_not_ready_until_it_goes_on(lab));
    step("drain", || a_drained_node_gives_its_addresses_away(lab));
    step("crash", || a_crashed_node_is_replaced(lab));
    step("unplug", || an_unplugged_node_is_replaced(lab));
    step("upgrade", || an_upgrade_moves_nothing(lab));
    step("liveness", || a_hung_or_killed_agent_is_started_again(lab));
    step("gate out of reach", || a_rollout_ends_at_a_gate_out_of_reach(lab));
    step("uninstall", || nothing_is_left(lab));
    step("without bpffs", || nodes_without_bpffs_take_nftables(lab));
    step("uninstall", || nothing_is_left(lab));
    lab.kubectl(&["delete", "vip", "web", "--timeout=20s"]);
    drop(cluster);
    assert_eq!(left_of(&mark()), [""; 0]);
}

fn step(name: &str, work: impl FnOnce()) {
    let start = Instant::now();
    work();
    eprintln!("{name}: {:.1} s", start.elapsed().as_secs_f32());
}

fn values() -> [String; 2] {
    let (repository, tag) = IMAGE.rsplit_once(':').unwrap();
    [format!("--set=image.repository={repository}"), format!("--set=image.tag={tag}")]
}

fn helm(lab: &Lab, verb: &str, more: &[&str]) {
    helm_without_waiting(lab, verb, &[&["--wait", "--timeout=60s"], more].concat());
}

fn helm_without_waiting(lab: &Lab, verb: &str, more: &[&str]) {
    let values = values();
    let mut arguments = vec![verb, "vipkeeper", "-n", NAMESPACE];
    let chart = chart();
    if verb != "uninstall" {
        arguments.extend([chart.as_str(), &values[0], &values[1]]);
    }
    arguments.extend(more);
    lab.helm(&arguments);
}

fn pods(lab: &Lab, component: &str) -> Vec<Value> {
    let label = format!("app.kubernetes.io/component={component}");
    lab.get(&["pods", "-n", NAMESPACE, "-l", &label])["items"].as_array().cloned().unwrap_or_default()
}

/// The pod of the agent on a node.
fn agent(lab: &Lab, node: usize) -> Value {
    let pods = pods(lab, "agent");
    pods.into_iter().find(|pod| pod["spec"]["nodeName"] == lab.nodes[node].name.as_str()).unwrap_or_default()
}

fn container(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

fn installed(lab: &Lab) {
    helm(lab, "install", &["--create-namespace"]);
    let agents = pods(lab, "agent");
    assert_eq!(agents.len(), lab.nodes.len());
    for pod in agents.iter().chain(&pods(lab, "controller")) {
        assert_eq!((&container(pod)["ready"], &container(pod)["restartCount"]), (&json!(true), &json!(0)), "{pod}");
    }
    let spread: std::collections::BTreeSet<_> =
        pods(lab, "controller").iter().map(|pod| pod["spec"]["nodeName"].to_string()).collect();
    assert_eq!(spread.len(), 2, "the replicas are on different nodes");
    lab.helm(&["test", "vipkeeper", "-n", NAMESPACE, "--timeout=60s"]);
}

fn an_address_answers(lab: &Lab) {
    let capture = Capture::start(&lab.client.netns, INTERFACE);
    lab.vip("web", &json!({"address": VIP}));
    let (_, node) = lab.wait_held("web");
    let ip: IpAddr = VIP.parse().unwrap();
    let heard = capture.wait(LIMIT, "an announcement", |frame| {
        frame.speaks_as(ip) && matches!(frame.claim(), Some(Claim::Arp { sender, target, .. }) if sender == target)
    });
    assert_eq!(heard.source(), lab.nodes[node].host().mac());
    lab.wait_settled();
    assert_eq!(gates(lab), ["bpf"; 3]);
    assert!(Pinger::start(&lab.client.netns, VIP).lost().is_empty());
    // The agent serves on all addresses of its node, so on this one.
    let url = format!("http://{VIP}:9470/healthz");
    assert_eq!(run(lab.client.netns.command("curl").args(["-sf", "--max-time", "5", &url])), "ok\n");
    let agent = ["-n", NAMESPACE, "exec", "daemonset/vipkeeper-agent", "--", "/vipkeeper"];
    let why = lab.kubectl(&[&agent[..], &["why", "web", "-n", "default", "--store", "k8s"]].concat());
    assert!(lab.nodes.iter().all(|node| why.contains(&node.name)), "{why}");
}

/// What each node's addresses are shut off by.
fn gates(lab: &Lab) -> Vec<String> {
    let view = lab.view();
    let members = view["members"].as_object().unwrap();
    members.values().map(|member| member["gate"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Does something, after which the address is held by another node or by the same; nothing may be lost.
fn without_loss(lab: &Lab, work: impl FnOnce(usize)) -> (usize, usize) {
    lab.wait_settled();
    let before = lab.wait_held("web").1;
    let pinger = Pinger::start(&lab.client.netns, VIP);
    work(before);
    let after = lab.wait_held("web").1;
    lab.wait_alone(VIP, after);
    assert_eq!(pinger.lost(), [0; 0]);
    (before, after)
}

fn epoch(lab: &Lab) -> Value {
    lab.get(&["vip", "web"])["status"]["holder"]["epoch"].clone()
}

fn a_rollout_moves_nothing(lab: &Lab) {
    let right = epoch(lab);
    let (before, after) = without_loss(lab, |_| {
        lab.kubectl(&["-n", NAMESPACE, "rollout", "restart", "daemonset/vipkeeper-agent"]);
        lab.kubectl(&["-n", NAMESPACE, "rollout", "status", "daemonset/vipkeeper-agent", "--timeout=120s"]);
    });
    assert_eq!((after, epoch(lab)), (before, right));
}

fn another_leads_when_the_leader_is_deleted(lab: &Lab) {
    let leader = || {
        let lease = lab.get(&["lease", "-n", NAMESPACE, "vipkeeper-controller"]);
        lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
    };
    let first = leader();
    assert!(first.starts_with("vipkeeper-controller-"), "{first}");
    without_loss(lab, |_| {
        let start = Instant::now();
        lab.kubectl(&["-n", NAMESPACE, "delete", "pod", &first, "--wait=false"]);
        wait_until(LIMIT, "another leader", || !leader().is_empty() && leader() != first);
        eprintln!("another leads after {:.1} s", start.elapsed().as_secs_f32());
        lab.vip("more", &json!({"address": "198.51.100.21"}));
        lab.wait_held("more");
    });
    lab.kubectl(&["delete", "vip", "more", "--timeout=60s"]);
    lab.wait_gone("198.51.100.21");
    lab.kubectl(&["-n", NAMESPACE, "rollout", "status", "deployment/vipkeeper-controller", "--timeout=120s"]);
}

fn an_agent_goes_on_without_its_kubelet(lab: &Lab) {
    let (before, after) = without_loss(lab, |node| {
        let last = lab.sign_of_life(node);
        lab.nodes[node].stop_kubelet();
        lab.wait_not_ready(node);
        lab.nodes[node].start_kubelet();
        lab.wait_ready(node, &last);
    });
    assert_eq!(after, before);
}

/// Sends a signal to the agent of a node.
fn signal(lab: &Lab, node: usize, name: &str) {
    let agents = lab.nodes[node].processes("/vipkeeper agent");
    assert_eq!(agents.len(), 1, "{agents:?}");
    run(lab.nodes[node].command("kill").args([name, &agents[0]]));
}

fn wait_agent(lab: &Lab, node: usize, restarts: u32, ready: bool) {
    let what = format!("the agent of {} to be ready: {ready}, after {restarts} restarts", lab.nodes[node].name);
    wait_until(LIMIT, &what, || {
        let pod = agent(lab, node);
        container(&pod)["restartCount"] == restarts && container(&pod)["ready"] == ready
    });
}

fn a_frozen_agent_is_not_ready_until_it_goes_on(lab: &Lab) {
    let (_, holder) = lab.wait_held("web");
    let node = (holder + 1) % lab.nodes.len();
    signal(lab, node, "-STOP");
    wait_agent(lab, node, 0, false);
    signal(lab, node, "-CONT");
    wait_agent(lab, node, 0, true);
    lab.wait_alone(VIP, holder);
}

/// With the probes of the upgrade before it: the usual ones wait for a minute.
fn a_hung_or_killed_agent_is_started_again(lab: &Lab) {
    let (_, holder) = lab.wait_held("web");
    let node = (holder + 1) % lab.nodes.len();
    signal(lab, node, "-STOP");
    wait_agent(lab, node, 1, true);
    signal(lab, node, "-KILL");
    wait_agent(lab, node, 2, true);
    lab.wait_settled();
    lab.wait_alone(VIP, holder);
}

fn a_drained_node_gives_its_addresses_away(lab: &Lab) {
    let (before, after) = without_loss(lab, |node| {
        let name = &lab.nodes[node].name;
        lab.kubectl(&["drain", name, "--ignore-daemonsets", "--timeout=120s"]);
        lab.wait_held_by("web", &|holder| holder != node);
    });
    assert_ne!(after, before);
    lab.kubectl(&["uncordon", &lab.nodes[before].name]);
    lab.kubectl(&["-n", NAMESPACE, "rollout", "status", "deployment/vipkeeper-controller", "--timeout=120s"]);
}

/// Breaks the holder, and waits for another; nobody claims the address twice, and it is dark only for a while.
fn fail_over(lab: &mut Lab, what: &str, fault: impl FnOnce(&mut Lab, usize)) -> usize {
    lab.wait_settled();
    let (_, node) = lab.wait_held("web");
    let capture = Capture::start(&lab.client.netns, INTERFACE);
    let start = crate::support::capture::now();
    fault(lab, node);
    let ip: IpAddr = VIP.parse().unwrap();
    let old = mac(node);
    let heard = capture.wait(LIMIT, "another node to answer", |frame| frame.speaks_as(ip) && frame.source() != old);
    let dark = heard.at.saturating_sub(start);
    eprintln!("{what}: another answers after {:.3} s", dark.as_secs_f32());
    assert!(dark < FAILOVER, "{dark:?}");
    assert!(
        capture.speaking_as(ip).iter().all(|frame| frame.at < heard.at || frame.source() != old),
        "both claimed it"
    );
    assert_ne!(lab.wait_held_by("web", &|holder| holder != node).1, node);
    assert!(Pinger::start(&lab.client.netns, VIP).lost().is_empty());
    node
}

fn mac(node: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0, u8::try_from(node + 1).unwrap()]
}

fn a_crashed_node_is_replaced(lab: &mut Lab) {
    let node = fail_over(lab, "crash", Lab::crash);
    let holder = lab.wait_held("web").1;
    lab.wait_not_ready(node);
    lab.power_on(node);
    lab.wait_settled();
    lab.wait_alone(VIP, holder);
}

fn an_unplugged_node_is_replaced(lab: &mut Lab) {
    let node = fail_over(lab, "unplug", |lab, node| lab.segment.cut(lab.nodes[node].host()));
    let holder = lab.wait_held("web").1;
    let last = lab.sign_of_life(node);
    lab.segment.restore(lab.nodes[node].host());
    lab.wait_ready(node, &last);
    lab.wait_settled();
    lab.wait_alone(VIP, holder);
}

fn an_upgrade_moves_nothing(lab: &Lab) {
    let (before, after) = without_loss(lab, |_| {
        let crds = lab.helm(&["show", "crds", &chart()]);
        assert!(lab.plane().apply(&crds, &["--server-side", "--force-conflicts"]).status.success());
        helm(
            lab,
            "upgrade",
            &[
                "--set=log.level=debug",
                "--set=livenessProbe.periodSeconds=1,livenessProbe.timeoutSeconds=1,livenessProbe.failureThreshold=2",
            ],
        );
    });
    assert_eq!(after, before);
}

/// An agent that is not given the bpffs any more cannot take over the gate that its predecessor has left there, and says
/// so. It never gets ready, so the rollout goes no further than its node, and the others hold all addresses.
fn a_rollout_ends_at_a_gate_out_of_reach(lab: &Lab) {
    lab.wait_settled();
    helm_without_waiting(lab, "upgrade", &["--reuse-values", "--set=agent.bpffs.enabled=false"]);
    let reason = || {
        let waits = |pod: &Value| container(pod)["state"]["waiting"]["reason"] == "CrashLoopBackOff";
        let stuck = pods(lab, "agent").into_iter().find(waits)?;
        let log = lab.kubectl(&["logs", "-n", NAMESPACE, stuck["metadata"]["name"].as_str()?]);
        let node = (0..lab.nodes.len()).find(|node| stuck["spec"]["nodeName"] == lab.nodes[*node].name.as_str())?;
        log.contains("is not the bpffs that keeps it").then_some(node)
    };
    let stuck = wait_for(LIMIT, "an agent that says why it cannot start", reason);
    for node in (0..lab.nodes.len()).filter(|node| *node != stuck) {
        assert_eq!(container(&agent(lab, node))["ready"], true, "{node}");
    }
    let (_, holder) = lab.wait_held_by("web", &|holder| holder != stuck);
    assert!(Pinger::start(&lab.client.netns, VIP).lost().is_empty());
    helm(lab, "upgrade", &["--reuse-values", "--set=agent.bpffs.enabled=true"]);
    lab.wait_settled();
    lab.wait_alone(VIP, holder);
}

fn nodes_without_bpffs_take_nftables(lab: &mut Lab) {
    helm(lab, "install", &["--set=agent.bpffs.enabled=false"]);
    lab.wait_held("web");
    lab.wait_settled();
    assert_eq!(gates(lab), ["nft"; 3]);
    let node = fail_over(lab, "crash, behind nftables", Lab::crash);
    lab.wait_not_ready(node);
    lab.power_on(node);
    lab.wait_settled();
}

fn nothing_is_left(lab: &Lab) {
    helm(lab, "uninstall", &[]);
    lab.wait_gone(VIP);
    let kinds = "all,lease,secret,configmap,fview,role,rolebinding,serviceaccount,networkpolicy,pdb";
    let left = || {
        let all = lab.kubectl(&["get", kinds, "-n", NAMESPACE, "-o", "name"]);
        all.lines().filter(|line| line.contains("vipkeeper")).map(str::to_owned).collect::<Vec<_>>()
    };
    // Helm does not wait for pods whose owners it has deleted.
    wait_until(LIMIT, "all objects to go", || left().is_empty());
    for node in &lab.nodes {
        let addresses = node.host().netns.ip("-details -o addr show");
        assert!(!addresses.contains("proto 0x56"), "{addresses}");
        let pins = run(node.command("ls").arg("/sys/fs/bpf"));
        assert!(!pins.contains("vipkeeper"), "the gate of {}: {pins}", node.name);
        let tables = run(node.host().netns.command("nft").args(["list", "tables"]));
        assert!(!tables.contains("vipkeeper"), "the gate of {}: {tables}", node.name);
    }
    let whole = lab.kubectl(&["get", "clusterroles,clusterrolebindings", "-o", "name"]);
    assert!(!whole.contains("vipkeeper"), "{whole}");
}
