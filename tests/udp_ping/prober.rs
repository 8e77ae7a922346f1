//! The prober: from resources in a directory to series, statuses and answers over HTTP.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use vipkeeper::api::kind::Kind;
use vipkeeper::store::dir::Dir;
use vipkeeper::store::{Key, Store};

use crate::client::{drop_every, dropped};
use crate::common::{Echo, PORT, SOON, get, pair, reflector, series};
use crate::reflector::check_metrics;
use crate::support::netns::Netns;
use crate::support::process::{Process, VIPKEEPER};
use crate::support::segment::{Host, Segment, mac_text};
use crate::support::{require, wait_until};

pub const HTTP: &str = "127.0.0.1:9472";

/// A directory of manifests.
pub struct Manifests(tempfile::TempDir);

impl Manifests {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a UDPProbe with this spec, whole or not at all.
    pub fn probe(&self, name: &str, spec: Value) {
        let body = json!({
            "apiVersion": "vipkeeper.dev/v1alpha1", "kind": "UDPProbe",
            "metadata": {"name": name, "namespace": "shop"}, "spec": spec,
        });
        let draft = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(draft.path(), body.to_string()).unwrap();
        std::fs::copy(draft.path(), self.path().join(format!(".{name}"))).unwrap();
        std::fs::rename(self.path().join(format!(".{name}")), self.path().join(format!("{name}.yaml"))).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.path().join(format!("{name}.yaml"))).unwrap();
    }

    /// Runs something on the store of this directory.
    fn store<T>(&self, work: impl AsyncFnOnce(Dir) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async { work(Dir::open(self.path(), None).unwrap()).await })
    }

    /// The status of a probe.
    fn status(&self, name: &str) -> Value {
        let object = self.store(async |store| store.get(Kind::UDPProbe, &Key::namespaced("shop", name)).await.unwrap());
        object.map_or(Value::Null, |object| object.body["status"].clone())
    }
}

/// Starts a prober on the manifests and waits until it is ready.
pub fn prober(netns: &Netns, manifests: &Manifests, words: &[&str]) -> Process {
    let mut command = netns.command(VIPKEEPER);
    let store = format!("dir:{}", manifests.path().display());
    command.args(["prober", "--store", &store, "--node", "prober-a", "--listen", HTTP]).args(words);
    let mut process = Process::start(&mut command);
    process.wait_output(SOON, "health and metrics are served");
    wait_until(SOON, "the prober to be ready", || {
        assert!(process.is_running(), "{}", process.output());
        get(netns, HTTP, "/readyz") == "ok\n"
    });
    process
}

/// The series of a target, asked for now.
fn value(netns: &Netns, name: &str, probe: &str, kind: &str, target: &str, address: &str) -> Option<f64> {
    let labels = format!("{{probe=\"shop/{probe}\",kind=\"{kind}\",target=\"{target}\",address=\"{address}\"}}");
    series(&get(netns, HTTP, "/metrics"), &format!("vipkeeper_probe_{name}{labels}"))
}

fn host_value(netns: &Netns, name: &str, probe: &str, host: &Host) -> Option<f64> {
    let address = host.ipv4().to_string();
    value(netns, name, probe, "host", &address, &address)
}

fn host_spec(hosts: &[&Host], interval: &str) -> Value {
    let targets: Vec<Value> = hosts.iter().map(|host| json!({"host": host.ipv4().to_string()})).collect();
    json!({"targets": targets, "interval": interval, "timeout": "200ms"})
}

#[test]
fn series_come_with_targets_and_go_with_them() {
    let segment = Segment::new();
    let (one, two, three) = (segment.host("prober", 1), segment.host("two", 2), segment.host("three", 3));
    let (_two, _three) = (reflector(&two.netns, &[]), reflector(&three.netns, &[]));
    let manifests = Manifests::new();
    let _prober = prober(&one.netns, &manifests, &[]);
    let sent = |host: &Host| host_value(&one.netns, "packets_sent_total", "p", host);
    assert_eq!(sent(&two), None);
    manifests.probe("p", host_spec(&[&two], "20ms"));
    wait_until(SOON, "series of the first target", || sent(&two).is_some_and(|sent| sent > 5.0));
    manifests.probe("p", host_spec(&[&two, &three], "20ms"));
    let before = sent(&two).unwrap();
    wait_until(SOON, "series of the second target", || sent(&three).is_some_and(|sent| sent > 5.0));
    assert!(sent(&two).unwrap() > before, "the first went on undisturbed");
    manifests.probe("p", host_spec(&[&three], "20ms"));
    wait_until(SOON, "the first to be gone", || sent(&two).is_none());
    assert!(!get(&one.netns, HTTP, "/metrics").contains(&two.ipv4().to_string()), "no series is left");
    manifests.remove("p");
    wait_until(SOON, "the second to be gone", || sent(&three).is_none());
    assert_eq!(series(&get(&one.netns, HTTP, "/metrics"), "vipkeeper_prober_targets"), Some(0.0));
}

#[test]
fn loss_is_exported_by_direction_as_it_was_made_and_promtool_finds_no_fault() {
    let (_segment, one, two) = pair();
    let _reflector = reflector(&two.netns, &[]);
    let manifests = Manifests::new();
    manifests.probe("p", host_spec(&[&two], "10ms"));
    drop_every(&two.netns, &format!("dport {PORT}"), 10);
    drop_every(&one.netns, &format!("sport {PORT}"), 7);
    let prober = prober(&one.netns, &manifests, &["--smokeping-names"]);
    let count = |name: &str| host_value(&one.netns, name, "p", &two).unwrap_or_default();
    wait_until(SOON, "300 probes", || count("packets_sent_total") >= 300.0);
    // What is sent from now on is lost on the way there, so that the packet filter's counts stand still.
    let rules = "table inet stop { chain c { type filter hook output priority 0; udp dport 32767 drop\n }\n }";
    crate::support::netns::run(one.netns.command("nft").arg(rules));
    let text = get(&one.netns, HTTP, "/metrics");
    check_metrics(&text);
    let address = two.ipv4();
    let labels = format!("probe=\"shop/p\",kind=\"host\",target=\"{address}\",address=\"{address}\"");
    let of = |text: &str, direction: &str| {
        let name = format!("vipkeeper_probe_packets_lost_oneway_total{{{labels},direction=\"{direction}\"}}");
        series(text, &name).unwrap()
    };
    let settled = |text: &str| {
        let counter = |name: &str| series(text, &format!("vipkeeper_probe_{name}{{{labels}}}")).unwrap();
        assert_eq!(
            counter("packets_sent_total"),
            counter("packets_received_total") + counter("packets_lost_total") + counter("packets_in_flight")
        );
        counter("packets_received_total")
    };
    wait_until(SOON, "all answers", || {
        let before = settled(&get(&one.netns, HTTP, "/metrics"));
        std::thread::sleep(Duration::from_millis(100));
        before == settled(&get(&one.netns, HTTP, "/metrics"))
    });
    let (there, back) = (dropped(&two.netns) as f64, dropped(&one.netns) as f64);
    assert!(there >= 25.0 && back >= 30.0, "{there} {back}");
    // Directions are told of what lies before the last answer: of each of the four source ports at most one is open.
    wait_until(SOON, "the directions", || {
        let text = get(&one.netns, HTTP, "/metrics");
        let (forward, backward) = (of(&text, "forward"), of(&text, "backward"));
        assert!(forward <= there && backward <= back, "{forward} of {there}, {backward} of {back}");
        there - forward <= 4.0 && back - backward <= 4.0
    });
    let text = get(&one.netns, HTTP, "/metrics");
    let smokeping =
        format!("smokeping_requests_total{{ip=\"{address}\",host=\"{address}\",source=\"prober-a\",tos=\"0\"}}");
    assert!(series(&text, &smokeping).unwrap() >= 300.0);
    assert!(text.contains("smokeping_response_duration_seconds_bucket{"));
    drop(prober);
}

#[test]
fn the_metrics_of_many_targets_are_whole_though_they_are_sent_as_they_are_made() {
    require(&["curl", "promtool"]);
    let segment = Segment::new();
    let one = segment.host("prober", 1);
    let _reflector = reflector(&one.netns, &[]);
    let manifests = Manifests::new();
    let hosts = |number: u8| (1..=32).map(move |host| json!({"host": format!("127.0.{number}.{host}")}));
    for number in 1..=6 {
        let targets: Vec<Value> = hosts(number).collect();
        manifests.probe(&format!("p{number}"), json!({"targets": targets, "interval": "1s", "timeout": "500ms"}));
    }
    let _prober = prober(&one.netns, &manifests, &[]);
    let text = || {
        let url = format!("http://{HTTP}/metrics");
        crate::support::netns::run(one.netns.command("curl").args(["-sSf", &url]))
    };
    wait_until(SOON, "192 targets", || text().contains("vipkeeper_prober_targets 192\n"));
    let text = text();
    assert!(text.len() > 512 << 10, "{} bytes are no long text", text.len());
    check_metrics(&text);
    for family in ["packets_sent_total{", "clock_steps_total{", "rtt_seconds_count{"] {
        let lines = text.lines().filter(|line| line.starts_with(&format!("vipkeeper_probe_{family}")));
        assert_eq!(lines.count(), 192, "{family}");
    }
}

#[test]
fn statuses_say_how_much_is_measured_and_which_field_is_wrong() {
    let (_segment, one, two) = pair();
    let _reflector = reflector(&two.netns, &[]);
    let manifests = Manifests::new();
    manifests.probe("good", host_spec(&[&two], "50ms"));
    let bad = json!({"targets": [{"host": two.ipv4().to_string()}, {"service": {"name": "web"}}]});
    manifests.probe("bad", bad);
    let _prober = prober(&one.netns, &manifests, &[]);
    let limit = Duration::from_secs(30);
    wait_until(limit, "the status of the good probe", || {
        let status = manifests.status("good");
        status["targets"] == 1 && status["worstLoss"] == 0.0 && status["conditions"][0]["status"] == "True"
    });
    let status = manifests.status("good");
    assert_eq!((&status["probers"][0]["name"], &status["probers"][0]["targets"]), (&json!("prober-a"), &json!(1)));
    wait_until(limit, "the status of the bad probe", || manifests.status("bad")["conditions"][0]["status"] == "False");
    let condition = manifests.status("bad")["conditions"][0].clone();
    assert_eq!((&condition["type"], &condition["reason"]), (&json!("Ready"), &json!("NoCluster")));
    assert!(condition["message"].as_str().unwrap().starts_with("spec.targets[1].service"), "{condition}");
    assert_eq!(manifests.status("bad")["targets"], 1, "the good target is measured");
}

#[test]
fn a_virtual_ip_that_moves_is_told_by_its_series() {
    let segment = Segment::new();
    let (one, two, three) = (segment.host("prober", 1), segment.host("former", 2), segment.host("next", 3));
    let _two = reflector(&two.netns, &["--node", "node-b"]);
    let _three = reflector(&three.netns, &["--node", "node-c"]);
    let hold = |host: &Host| {
        host.netns.ip("addr add 198.51.100.20/32 dev eth0");
        one.netns.ip(&format!("neigh replace 198.51.100.20 lladdr {} dev eth0", mac_text(host.number)));
    };
    hold(&two);
    let manifests = Manifests::new();
    let vip = "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata: {name: web, namespace: shop}\nspec: {address: 198.51.100.20}\n";
    std::fs::write(manifests.path().join("web.yaml"), vip).unwrap();
    let targets = json!([{"virtualIP": {"name": "web"}}]);
    manifests.probe("p", json!({"targets": targets, "interval": "20ms", "timeout": "200ms"}));
    let _prober = prober(&one.netns, &manifests, &[]);
    let labels = "probe=\"shop/p\",kind=\"virtualip\",target=\"web\",address=\"198.51.100.20\"";
    let text = || get(&one.netns, HTTP, "/metrics");
    let held = |node: &str| series(&text(), &format!("vipkeeper_probe_holder_info{{{labels},node=\"{node}\"}}"));
    let figure = |name: &str| series(&text(), &format!("vipkeeper_probe_holder_{name}{{{labels}}}")).unwrap();
    wait_until(SOON, "the first holder", || held("node-b") == Some(1.0));
    assert_eq!((figure("changes_total"), figure("conflict")), (0.0, 0.0));
    two.netns.ip("addr del 198.51.100.20/32 dev eth0");
    std::thread::sleep(Duration::from_millis(400));
    hold(&three);
    wait_until(SOON, "the next holder", || held("node-c") == Some(1.0));
    assert_eq!((held("node-b"), figure("changes_total"), figure("conflicts_total")), (None, 1.0, 0.0));
    let gap = figure("last_gap_seconds");
    assert!((0.4..2.0).contains(&gap), "{gap}");
    // Both have it now, and the way to them changes back and forth.
    two.netns.ip("addr add 198.51.100.20/32 dev eth0");
    for host in [&two, &three, &two, &three] {
        one.netns.ip(&format!("neigh replace 198.51.100.20 lladdr {} dev eth0", mac_text(host.number)));
        let node = if host.number == 2 { "node-b" } else { "node-c" };
        wait_until(SOON, "the other holder", || held(node) == Some(1.0));
    }
    assert_eq!(figure("conflict"), 1.0);
    assert!(figure("conflicts_total") >= 1.0);
}

#[test]
fn a_mesh_is_the_registered_nodes_but_oneself() {
    let segment = Segment::new();
    let (one, two, three) = (segment.host("prober", 1), segment.host("two", 2), segment.host("three", 3));
    let (_two, _three) = (reflector(&two.netns, &[]), reflector(&three.netns, &[]));
    let manifests = Manifests::new();
    manifests.probe("m", json!({"mesh": true, "interval": "20ms"}));
    let _prober = prober(&one.netns, &manifests, &[]);
    let register = |name: &str, host: &Host| {
        let body = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
            "status": {"addresses": [{"type": "InternalIP", "address": host.ipv4().to_string()}]},
        });
        let status = body["status"].clone();
        manifests.store(async |store| {
            store.create(Kind::Node, body).await.unwrap();
            store.apply_status(Kind::Node, &Key::cluster(name), "test", status).await.unwrap();
        });
    };
    register("prober-a", &one);
    register("node-b", &two);
    let received = |node: &str, host: &Host| {
        value(&one.netns, "packets_received_total", "m", "node", node, &host.ipv4().to_string())
    };
    wait_until(SOON, "the first node", || received("node-b", &two).is_some_and(|count| count > 3.0));
    register("node-c", &three);
    wait_until(SOON, "the second node", || received("node-c", &three).is_some_and(|count| count > 3.0));
    assert_eq!(series(&get(&one.netns, HTTP, "/metrics"), "vipkeeper_prober_targets"), Some(2.0));
    manifests.store(async |store| store.delete(Kind::Node, &Key::cluster("node-b")).await.unwrap());
    wait_until(SOON, "the first node to be gone", || received("node-b", &two).is_none());
}

#[test]
fn one_off_probes_answer_as_the_blackbox_exporter_does() {
    let (_segment, one, two) = pair();
    let _reflector = reflector(&two.netns, &[]);
    let _original = Echo::start(&two.netns, "0.0.0.0:40000", |_, probe| vec![probe.to_vec()]);
    let manifests = Manifests::new();
    let _prober = prober(&one.netns, &manifests, &[]);
    let ask = |query: &str| get(&one.netns, HTTP, &format!("/probe?{query}"));
    let text = ask(&format!("target={}&module=udp", two.ipv4()));
    check_metrics(&text);
    assert_eq!((series(&text, "probe_success"), series(&text, "probe_ip_protocol")), (Some(1.0), Some(4.0)));
    assert!(series(&text, "probe_udp_rtt_seconds").unwrap() < 0.1);
    assert!(series(&text, "probe_duration_seconds").unwrap() < 2.0);
    let text = ask(&format!("target=%5B{}%5D:{PORT}&module=udp", two.ipv6()));
    assert_eq!((series(&text, "probe_success"), series(&text, "probe_ip_protocol")), (Some(1.0), Some(6.0)));
    let text = ask(&format!("target={}:40000&module=udp_legacy", two.ipv4()));
    assert_eq!(series(&text, "probe_success"), Some(1.0));
    let text = ask("target=no.such.name.invalid&module=udp");
    assert_eq!((series(&text, "probe_success"), series(&text, "probe_ip_protocol")), (Some(0.0), Some(0.0)));
    let text = ask(&format!("target={}:9&module=udp", two.ipv4()));
    assert_eq!(series(&text, "probe_success"), Some(0.0));
    for (wrong, says) in [("module=udp", "target is missing"), ("target=x&module=icmp", "icmp"), ("target=x", "module")]
    {
        assert!(ask(wrong).contains(says), "{wrong}");
    }
}

#[test]
fn paths_tell_one_source_port_from_another() {
    let (_segment, one, two) = pair();
    let _reflector = reflector(&two.netns, &[]);
    let manifests = Manifests::new();
    manifests.probe("p", host_spec(&[&two], "20ms"));
    let _prober = prober(&one.netns, &manifests, &[]);
    let paths = || serde_json::from_str::<Value>(&get(&one.netns, HTTP, "/paths?probe=shop/p")).unwrap();
    wait_until(SOON, "probes from four ports", || {
        let paths = paths()["targets"][0]["paths"].clone();
        paths.as_array().is_some_and(|paths| {
            paths.len() == 4 && paths.iter().all(|path| path["counts"]["received"].as_u64() > Some(2))
        })
    });
    // One path in four goes bad: the packet filter knows it by its source port.
    let bad = paths()["targets"][0]["paths"][2]["sourcePort"].as_u64().unwrap();
    let rule = format!("table inet t {{ chain c {{ type filter hook input priority 0; udp sport {bad} drop\n }}\n }}");
    crate::support::netns::run(two.netns.command("nft").arg(rule));
    let lost = |path: usize| paths()["targets"][0]["paths"][path]["counts"]["lost"].as_u64().unwrap();
    wait_until(SOON, "loss on the third path", || lost(2) > 5);
    assert_eq!((lost(0), lost(1), lost(3)), (0, 0, 0));
    assert_eq!(
        serde_json::from_str::<Value>(&get(&one.netns, HTTP, "/paths?probe=no/such")).unwrap(),
        json!({"targets": []})
    );
}
