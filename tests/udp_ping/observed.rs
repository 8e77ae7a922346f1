//! What operators see: rules and dashboard beside the chart, and a real Prometheus that scrapes a prober and a reflector.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{drop_every, dropped};
use crate::common::{METRICS, PORT, SOON, get, pair, reflector};
use crate::prober::{HTTP, Manifests, prober};
use crate::support::netns::{Netns, run};
use crate::support::process::{Process, VIPKEEPER};
use crate::support::segment::Host;
use crate::support::{require, wait_for, wait_until};

/// How long a busy machine may take to start a program and to have it do its first work.
const READY: Duration = Duration::from_secs(60);

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("charts/vipkeeper/files").join(name)
}

fn dashboard() -> Value {
    serde_json::from_str(&std::fs::read_to_string(file("udp-ping-dashboard.json")).unwrap()).unwrap()
}

/// The queries of the dashboard, with Grafana's variables filled in.
fn queries() -> Vec<String> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let fill = |query: &str| query.replace("$__rate_interval", "5m").replace("$probe", ".*").replace("$target", ".*");
    targets.map(|target| fill(target["expr"].as_str().unwrap())).collect()
}

/// The names of our metrics in a text, without what a histogram appends.
fn names(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == ':';
    let ours = text.split(|c| !word(c)).filter(|name| name.starts_with("vipkeeper_"));
    ours.map(|name| name.trim_end_matches("_bucket").to_owned()).collect()
}

#[test]
fn promtool_accepts_the_rules_and_every_query_of_the_dashboard() {
    require(&["promtool"]);
    run(Command::new("promtool").args(["check", "rules"]).arg(file("udp-ping-rules.yaml")));
    let rules: Vec<Value> =
        (0..).zip(queries()).map(|(n, query)| json!({"record": format!("panel:{n}"), "expr": query})).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dashboard.yaml");
    std::fs::write(&path, json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string()).unwrap();
    run(Command::new("promtool").args(["check", "rules"]).arg(path));
}

#[test]
fn the_alerts_fire_when_they_should_and_not_otherwise() {
    require(&["promtool"]);
    let folder = tempfile::tempdir().unwrap();
    let series = |name: &str, more: &str, values: &str| {
        let labels = format!("probe=\"shop/p\",kind=\"virtualip\",target=\"web\",address=\"192.0.2.1\"{more}");
        json!({"series": format!("vipkeeper_probe_{name}{{{labels}}}"), "values": values})
    };
    let alert = |name: &str, at: &str, fires: bool| {
        let labels = json!({"probe": "shop/p", "target": "web", "address": "192.0.2.1", "severity": "critical"});
        let mut expected = json!({"eval_time": at, "alertname": name, "exp_alerts": []});
        if fires {
            let summary = "VirtualIP web (192.0.2.1) is answered by two nodes at once";
            let description =
                "Probes of shop/p were answered by two nodes within a few seconds, in turn or both the same probe.";
            expected["exp_alerts"] =
                json!([{"exp_labels": labels, "exp_annotations": {"summary": summary, "description": description}}]);
        }
        expected
    };
    let ratio = |at: &str, value: f64| {
        let labels = "{__name__=\"vipkeeper:probe_loss:ratio5m\", address=\"192.0.2.1\", kind=\"virtualip\", probe=\"shop/p\", target=\"web\"}";
        let name = "vipkeeper:probe_loss:ratio5m";
        json!({"expr": name, "eval_time": at, "exp_samples": [{"labels": labels, "value": value}]})
    };
    let test = json!({
        "rule_files": [file("udp-ping-rules.yaml")],
        "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m",
            "input_series": [
                series("packets_sent_total", "", "0+60x30"),
                series("packets_lost_total", "", "0x10 0+6x20"),
                series("packets_received_total", "", "0+60x10 600+54x20"),
                series("holder_conflict", "", "0x5 1x2 0x30"),
            ],
            "alert_rule_test": [
                alert("VipkeeperVirtualIPTwoHolders", "4m", false),
                alert("VipkeeperVirtualIPTwoHolders", "7m", true),
                alert("VipkeeperVirtualIPTwoHolders", "10m", false),
                alert("VipkeeperProbeUnanswered", "25m", false),
            ],
            "promql_expr_test": [ratio("9m", 0.0), ratio("25m", 0.1)],
        }],
    });
    let path = folder.path().join("test.yaml");
    std::fs::write(&path, test.to_string()).unwrap();
    run(Command::new("promtool").args(["test", "rules"]).arg(path));
}

/// A VirtualIP that an agent may hold, and a probe of it.
fn virtual_ip() -> Manifests {
    let manifests = Manifests::new();
    let vip = "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata: {name: web, namespace: shop}\nspec: {address: 198.51.100.20}\n";
    std::fs::write(manifests.path().join("web.yaml"), vip).unwrap();
    let targets = json!([{"virtualIP": {"name": "web"}}]);
    manifests.probe("p", json!({"targets": targets, "interval": "20ms", "timeout": "200ms", "sourcePorts": 1}));
    manifests
}

#[test]
fn what_rules_and_dashboard_ask_for_is_exported() {
    let (_segment, one, two) = pair();
    let _reflector = reflector(&two.netns, &["--node", "node-b"]);
    two.netns.ip("addr add 198.51.100.20/32 dev eth0");
    let manifests = virtual_ip();
    let _prober = prober(&one.netns, &manifests, &[]);
    wait_until(SOON, "a holder", || get(&one.netns, HTTP, "/metrics").contains("node=\"node-b\""));
    let exported = get(&one.netns, HTTP, "/metrics") + &get(&two.netns, METRICS, "/metrics");
    let exported = names(&exported);
    let asked = names(&(std::fs::read_to_string(file("udp-ping-rules.yaml")).unwrap() + &queries().join(" ")));
    assert!(asked.len() > 15, "{asked:?}");
    assert_eq!(asked.difference(&exported).collect::<Vec<_>>(), Vec::<&String>::new());
}

/// An agent of node-b and a controller on the second host.
fn agent_and_controller(two: &Host, manifests: &Manifests) -> [Process; 2] {
    let store = format!("dir:{}", manifests.path().display());
    let start = |words: &[&str]| {
        let mut command = two.netns.command(VIPKEEPER);
        let process = Process::start(command.args(words).args(["--store", &store]));
        process.wait_output(READY, "health and metrics are served");
        process
    };
    let agent = start(&["agent", "--node", "node-b", "--gate", "none", "--listen", "[::]:9470"]);
    [agent, start(&["controller", "--listen", "[::]:9471"])]
}

/// A Prometheus in a namespace that scrapes each job's address every second.
struct Prometheus<'a> {
    netns: &'a Netns,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl<'a> Prometheus<'a> {
    fn start(netns: &'a Netns, jobs: &[(&str, &str)]) -> Self {
        let scraped =
            jobs.iter().map(|(name, address)| json!({"job_name": name, "static_configs": [{"targets": [address]}]}));
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [file("udp-ping-rules.yaml")],
            "scrape_configs": scraped.collect::<Vec<_>>(),
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prometheus.yaml");
        std::fs::write(&path, config.to_string()).unwrap();
        let mut command = netns.command("prometheus");
        command.arg(format!("--config.file={}", path.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg("--web.listen-address=127.0.0.1:9090");
        let process = Process::start(&mut command);
        process.wait_output(READY, "Server is ready to receive web requests");
        Self { netns, _process: process, _folder: folder }
    }

    /// The first series of a query's result; null if there is none.
    fn ask(&self, query: &str) -> Value {
        let encoded: String = query.bytes().map(|octet| format!("%{octet:02x}")).collect();
        let body = get(self.netns, "127.0.0.1:9090", &format!("/api/v1/query?query={encoded}"));
        let (start, end) = (body.find('{').unwrap(), body.rfind('}').unwrap());
        serde_json::from_str::<Value>(&body[start..=end]).unwrap()["data"]["result"][0].clone()
    }

    fn number(&self, query: &str) -> Option<f64> {
        self.ask(query)["value"][1].as_str().and_then(|text| text.parse().ok())
    }
}

#[test]
fn a_real_prometheus_tells_the_loss_that_was_made_and_who_holds_the_address() {
    require(&["prometheus"]);
    let (_segment, one, two) = pair();
    let manifests = virtual_ip();
    let _holding = agent_and_controller(&two, &manifests);
    wait_until(READY, "the address to be held", || two.has_address("198.51.100.20"));
    let _reflector = reflector(&two.netns, &["--node", "node-b"]);
    drop_every(&two.netns, &format!("dport {PORT}"), 5);
    let _prober = prober(&one.netns, &manifests, &[]);
    let at = |port: u16| format!("{}:{port}", two.ipv4());
    let jobs = [("agent", at(9470)), ("controller", at(9471)), ("reflector", at(9474)), ("prober", HTTP.to_owned())];
    let jobs: Vec<_> = jobs.iter().map(|(name, address)| (*name, address.as_str())).collect();
    let prometheus = Prometheus::start(&one.netns, &jobs);
    let number = |query: &str| prometheus.number(query);
    wait_until(READY, "200 settled probes as Prometheus has them", || {
        number("vipkeeper_probe_packets_received_total").is_some_and(|count| count > 160.0)
    });
    wait_until(READY, "all four to be scraped", || number("count(up == 1)") == Some(4.0));
    // Who holds the address: by its agent, by whom the controller says leads, by who answers the probes.
    let held = prometheus.ask("vipkeeper_vip_held{namespace=\"shop\",name=\"web\"} == 1");
    assert_eq!((&held["metric"]["job"], &held["metric"]["instance"]), (&json!("agent"), &json!(at(9470))));
    assert_eq!(number("vipkeeper_controller_leader{job=\"controller\"}"), Some(1.0));
    let holder = prometheus.ask("vipkeeper_probe_holder_info");
    assert_eq!((&holder["metric"]["node"], &holder["metric"]["target"]), (&json!("node-b"), &json!("web")));
    let ratio = wait_for(READY, "the recorded loss", || number("vipkeeper:probe_loss:ratio5m"));
    assert!((ratio - 0.2).abs() < 0.05, "{ratio}");
    // Every fifth that arrived was dropped: what is lost is what the packet filter counts, but for those under way.
    let lost = number("vipkeeper_probe_packets_lost_total").unwrap();
    let made = dropped(&two.netns) as f64;
    assert!(lost <= made && made - lost < 150.0, "{lost} of {made}");
    let forward = number("vipkeeper_probe_packets_lost_oneway_total{direction=\"forward\"}").unwrap();
    let backward = number("vipkeeper_probe_packets_lost_oneway_total{direction=\"backward\"}").unwrap();
    assert!(forward > 30.0 && backward == 0.0, "{forward} {backward}");
    // What the prober sent and the reflector never saw is the same loss, but for what was sent between two scrapes.
    let unseen =
        number("sum(vipkeeper_probe_packets_sent_total) - sum(vipkeeper_reflector_packets_total{result=\"answered\"})")
            .unwrap();
    assert!((unseen - lost).abs() < 150.0, "{unseen} and {lost}");
}
