//! The service's metrics, read by Prometheus itself.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::internet::{IANA, Internet};
use crate::server::whois_text;
use crate::support::process::Process;
use crate::support::{require, wait_for};

#[test]
fn prometheus_reads_what_the_service_counts() {
    require(&["prometheus", "promtool", "curl"]);
    let net = Internet::new("prometheus");
    whois_text(&net.netns, IANA, "domain: COM\n");
    let _service = net.serve(&["--rdap", "off"]);
    for question in ["mac=68b5.99fc.d1df", "domain=a.com", "domain=a.com", "ip=x"] {
        net.ask(question);
    }
    let metrics = net.get("/metrics").body;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let checked = promtool.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && words.trim().is_empty(), "{words}");

    let config = "global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: lookup\n  static_configs: [{targets: ['127.0.0.1:8080']}]\n";
    fs::write(net.file("prometheus.yml"), config).unwrap();
    let mut command = net.command("prometheus");
    command
        .arg(format!("--config.file={}", net.file("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", net.file("tsdb").display()))
        .arg("--web.listen-address=127.0.0.1:9090");
    let _prometheus = Process::start(&mut command);
    let value = |query: &str| {
        let output = net
            .command("curl")
            .args(["-sG", "http://127.0.0.1:9090/api/v1/query", "--data-urlencode", &format!("query={query}")])
            .output()
            .unwrap();
        let json: Value = serde_json::from_slice(&output.stdout).ok()?;
        json["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    };
    for (query, expected) in [
        ("vipkeeper_lookup_requests_total{kind=\"mac\",code=\"ok\"}", "1"),
        ("vipkeeper_lookup_requests_total{kind=\"none\",code=\"invalid_ip\"}", "1"),
        ("vipkeeper_lookup_request_duration_seconds_count{kind=\"domain\"}", "2"),
        ("vipkeeper_lookup_cache_requests_total{result=\"hit\"}", "1"),
        ("vipkeeper_lookup_cache_requests_total{result=\"miss\"}", "1"),
        ("vipkeeper_lookup_upstream_requests_total{protocol=\"whois\",result=\"answer\"}", "1"),
        ("vipkeeper_lookup_upstream_duration_seconds_count{protocol=\"whois\"}", "1"),
        ("vipkeeper_lookup_cache_entries", "1"),
        ("up{job=\"lookup\"}", "1"),
    ] {
        let found = wait_for(Duration::from_secs(60), query, || value(query));
        assert_eq!(found, expected, "{query}");
    }
    let entries: f64 = value("vipkeeper_lookup_database_entries{database=\"vendors\"}").unwrap().parse().unwrap();
    assert!(entries > 40_000.0, "{entries}");
}
