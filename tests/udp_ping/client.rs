//! The client on the command line: what it counts, when the other end and the network do what they should not.

use std::process::Output;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::common::{Echo, PORT, SOON, pair, reflector, stamp_reply};
use crate::support::netns::{Netns, run};
use crate::support::process::{Process, VIPKEEPER};
use crate::support::segment::{Host, Segment};
use crate::support::{require, wait_until};

/// Runs the client to its end.
fn client(netns: &Netns, words: &str) -> Output {
    netns.command(VIPKEEPER).args(["udp-ping", "client"]).args(words.split_whitespace()).output().unwrap()
}

/// Starts the client.
fn start(netns: &Netns, words: &str) -> Process {
    let mut command = netns.command(VIPKEEPER);
    Process::start(command.args(["udp-ping", "client"]).args(words.split_whitespace()))
}

/// The last summary among JSON lines, in which the accounts are in order.
fn summary(text: &str) -> Value {
    let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let summary = lines.rfind(|line| line["type"] == "summary").unwrap_or_else(|| panic!("no summary: {text}"));
    let count = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!(count("sent"), count("received") + count("lost") + count("in_flight"), "{summary}");
    summary
}

/// Runs the client quietly and returns its summary.
fn measure(netns: &Netns, words: &str) -> Value {
    let output = client(netns, &format!("-q --json {words}"));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    summary(std::str::from_utf8(&output.stdout).unwrap())
}

fn counts<const N: usize>(summary: &Value, names: [&str; N]) -> [u64; N] {
    names.map(|name| summary[name].as_u64().unwrap_or_else(|| panic!("no {name} in {summary}")))
}

/// Runs the client with 600 of the original's probes against the original's server, which answers a probe, by its place
/// in the order of arrival, with what `script` says.
fn original_server(script: impl FnMut(usize, &[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Value {
    let (_segment, one, two) = pair();
    let _echo = Echo::start(&two.netns, &format!("0.0.0.0:{PORT}"), script);
    measure(&one.netns, &format!("--legacy -c 600 -i 0.002 -W 2 {}", two.ipv4()))
}

const ALL: [&str; 7] = ["sent", "received", "lost", "reordered", "duplicated", "late", "corrupted"];

#[test]
fn the_original_server_answers_all() {
    let summary = original_server(|_, probe| vec![probe.to_vec()]);
    assert_eq!(counts(&summary, ALL), [600, 600, 0, 0, 0, 0, 0]);
}

#[test]
fn one_swapped_pair_is_one_reordered_answer() {
    let mut held = Vec::new();
    let summary = original_server(move |place, probe| match place {
        50 => {
            held = probe.to_vec();
            Vec::new()
        }
        51 => vec![probe.to_vec(), std::mem::take(&mut held)],
        _ => vec![probe.to_vec()],
    });
    assert_eq!(counts(&summary, ALL), [600, 600, 0, 1, 0, 0, 0]);
}

#[test]
fn one_duplicate_is_one_duplicate() {
    let summary = original_server(|place, probe| vec![probe.to_vec(); if place == 50 { 2 } else { 1 }]);
    assert_eq!(counts(&summary, ALL), [600, 600, 0, 0, 1, 0, 0]);
}

#[test]
fn outages_of_256_and_of_300_probes_are_that_many_lost() {
    for outage in [256, 300] {
        let lost = move |place| (100..100 + outage).contains(&place);
        let summary = original_server(move |place, probe| if lost(place) { Vec::new() } else { vec![probe.to_vec()] });
        assert_eq!(counts(&summary, ALL), [600, 600 - outage as u64, outage as u64, 0, 0, 0, 0]);
    }
}

#[test]
fn a_lost_sequence_255_is_lost() {
    let summary = original_server(|_, probe| if probe[0] == 255 { Vec::new() } else { vec![probe.to_vec()] });
    let [sent, received, lost, ..] = counts(&summary, ALL);
    assert_eq!((sent, received + lost, lost), (600, 600, 2));
}

#[test]
fn a_total_outage_is_total_loss_and_exit_code_1() {
    let summary = original_server(|_, _| Vec::new());
    assert_eq!(counts(&summary, ALL), [600, 0, 600, 0, 0, 0, 0]);
    assert_eq!(summary["loss_ratio"], 1.0);
    let (_segment, one, two) = pair();
    let _echo = Echo::start(&two.netns, &format!("0.0.0.0:{PORT}"), |_, _| Vec::new());
    assert_eq!(client(&one.netns, &format!("-c 2 -i 0.01 -W 0.1 {}", two.ipv4())).status.code(), Some(1));
}

#[test]
fn late_and_altered_answers_are_told_apart_from_good_ones() {
    let (_segment, one, two) = pair();
    let mut held = Vec::new();
    let _echo = Echo::start(&two.netns, &format!("0.0.0.0:{PORT}"), move |place, probe| {
        let reply = stamp_reply(probe, place as u32);
        match place {
            20 => held = reply,
            // 20 was sent at least 120 probes of 10 ms before, and is remembered for twice the timeout of a second.
            140 => return vec![reply, std::mem::take(&mut held)],
            30 => return vec![[&reply[..30], &[!reply[30]], &reply[31..]].concat()],
            _ => return vec![reply],
        }
        Vec::new()
    });
    let summary = measure(&one.netns, &format!("-s 44 -c 300 -i 0.01 -W 1 {}", two.ipv4()));
    assert_eq!(counts(&summary, ALL), [300, 298, 2, 0, 0, 1, 1]);
}

#[test]
fn a_refusal_stops_nothing_and_the_answers_after_it_count() {
    let (_segment, one, two) = pair();
    let mut client = start(&one.netns, &format!("--json -i 0.02 -W 0.2 {}", two.ipv4()));
    client.wait_output(SOON, "\"type\":\"refused\"");
    let _reflector = reflector(&two.netns, &[]);
    wait_answers(&client, 20);
    client.signal(Signal::INT);
    assert_eq!(client.wait(SOON).code(), Some(0));
    let summary = summary(&client.output());
    let [refused, received, lost, duplicated] = counts(&summary, ["refused", "received", "lost", "duplicated"]);
    assert!(refused > 0 && received > 0 && lost >= refused && duplicated == 0, "{summary}");
}

#[test]
fn a_lost_route_and_a_restarted_reflector_are_loss_and_not_the_end() {
    let (_segment, one, two) = pair();
    let first = reflector(&two.netns, &[]);
    let mut client = start(&one.netns, &format!("--json -i 0.02 -W 0.2 {}", two.ipv4()));
    client.wait_output(SOON, "\"type\":\"answer\"");
    one.netns.ip("link set eth0 down");
    client.wait_output(SOON, "\"type\":\"not_sent\"");
    one.netns.ip("link set eth0 up");
    wait_answers(&client, 20);
    drop(first);
    client.wait_output(SOON, "\"type\":\"refused\"");
    let _second = reflector(&two.netns, &[]);
    wait_answers(&client, 20);
    client.signal(Signal::INT);
    assert_eq!(client.wait(SOON).code(), Some(0));
    let summary = summary(&client.output());
    let [lost, stray, corrupted] = counts(&summary, ["lost", "stray", "corrupted"]);
    assert!(lost > 0 && stray == 0 && corrupted == 0, "{summary}");
}

/// Waits for this many more answers: after 20, at 20 ms each, whatever was lost before is settled.
fn wait_answers(client: &Process, more: usize) {
    let answers = || client.output().matches("\"type\":\"answer\"").count();
    let before = answers();
    wait_until(SOON, "more answers", || answers() >= before + more);
}

/// Adds a rule that drops every n-th UDP packet that comes in, and counts them.
pub fn drop_every(netns: &Netns, matched: &str, n: u32) {
    require(&["nft"]);
    let rules = format!(
        "table inet t {{ chain c {{ type filter hook input priority 0; udp {matched} numgen inc mod {n} == 0 counter drop\n }}\n }}"
    );
    run(netns.command("nft").arg(rules));
}

/// How many packets the rule has dropped.
pub fn dropped(netns: &Netns) -> u64 {
    let listed = run(netns.command("nft").args(["list", "ruleset"]));
    let after = listed.split("counter packets ").nth(1).unwrap();
    after.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn loss_that_a_packet_filter_makes_is_reported_exactly_by_direction() {
    for size in ["-s 44", ""] {
        let (_segment, one, two) = pair();
        let _reflector = reflector(&two.netns, &[]);
        drop_every(&two.netns, &format!("dport {PORT}"), 10);
        drop_every(&one.netns, &format!("sport {PORT}"), 7);
        let summary = measure(&one.netns, &format!("{size} -c 500 -i 0.002 -W 3 {}", two.ipv4()));
        let (forward, backward) = (dropped(&two.netns), dropped(&one.netns));
        assert_eq!((forward, backward), (50, 65));
        let names = ["sent", "received", "lost", "lost_forward", "lost_backward", "duplicated", "late"];
        assert_eq!(counts(&summary, names), [500, 385, 115, 50, 65, 0, 0], "{size}");
    }
}

#[test]
fn loss_on_the_way_back_only_is_told_as_that() {
    let (_segment, one, two) = pair();
    let _reflector = reflector(&two.netns, &[]);
    drop_every(&one.netns, &format!("sport {PORT}"), 5);
    let summary = measure(&one.netns, &format!("-s 44 --ports 3 -c 299 -i 0.002 -W 3 {}", two.ipv4()));
    let [lost, forward, backward] = counts(&summary, ["lost", "lost_forward", "lost_backward"]);
    // Of each source port's last probes, a lost one has no answer after it.
    assert_eq!((lost, forward), (60, 0));
    assert!((57..=60).contains(&backward), "{summary}");
}

#[test]
fn source_ports_traffic_class_size_and_source_address_are_those_asked_for() {
    let (_segment, one, two) = pair();
    one.netns.ip("addr add 198.51.100.50/24 dev eth0");
    let capture = crate::support::capture::Capture::start(&two.netns, "eth0");
    let echo =
        Echo::start(&two.netns, &format!("0.0.0.0:{PORT}"), |place, probe| vec![stamp_reply(probe, place as u32)]);
    let target = two.ipv4();
    let output = client(&one.netns, &format!("-c 20 -i 0.01 --ports 4 -Q 0xb8 -s 300 -I 198.51.100.50 {target}"));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let seen = echo.seen();
    let ports: std::collections::BTreeSet<u16> = seen.iter().map(|(from, _)| from.port()).collect();
    assert_eq!((seen.len(), ports.len()), (20, 4));
    assert!(seen.iter().all(|(from, bytes)| from.ip().to_string() == "198.51.100.50" && bytes.len() == 300));
    capture.wait(SOON, "a probe in its class", |frame| {
        !frame.outgoing && frame.bytes[14] == 0x45 && frame.bytes[15] == 0xb8 && frame.bytes[23] == 17
    });
    let output = client(&one.netns, &format!("-c 1 -I eth0 {target}"));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn ipv6_and_several_targets_and_the_habits_of_ping() {
    let segment = Segment::new();
    let (one, two, three) = (segment.host("asks", 1), segment.host("answers", 2), segment.host("answers-too", 3));
    let _two = reflector(&two.netns, &["--node", "node-b"]);
    let _three = reflector(&three.netns, &["--node", "node-c"]);
    let mut client = start(&one.netns, &format!("-i 0.05 {} {}", two.ipv6(), three.ipv4()));
    client.wait_output(SOON, &format!("112 bytes from {} (node-b): seq=2 ttl=64 time=", two.ipv6()));
    client.wait_output(SOON, &format!("112 bytes from {} (node-c): seq=2 ttl=64 time=", three.ipv4()));
    client.signal(Signal::QUIT);
    client.wait_output(SOON, "packets, 0% loss, min/avg/p50/p99/max/mdev = ");
    client.signal(Signal::INT);
    assert_eq!(client.wait(SOON).code(), Some(0));
    client.wait_output(SOON, &format!("--- {} udp-ping statistics ---", three.ipv4()));
    client.wait_output(SOON, "received, 0% packet loss, ");
    client.wait_output(SOON, "rtt min/avg/p50/p99/max/mdev = ");
}

#[test]
fn exit_codes_are_those_of_ping() {
    let (_segment, one, two) = pair();
    let _reflector = reflector(&two.netns, &[]);
    let code = |words: &str| client(&one.netns, words).status.code();
    assert_eq!(code(&format!("-q -c 1 {}", two.ipv4())), Some(0));
    assert_eq!(code("-q -c 1 -W 0.1 198.51.100.99"), Some(1));
    assert_eq!(code(&format!("-q -c 1 -W 0.1 {} 198.51.100.99", two.ipv4())), Some(1), "one of two is silent");
    assert_eq!(code(&format!("-q -c 1000 -i 0.1 -w 0.5 {}", two.ipv4())), Some(1), "fewer than asked for in the time");
    for wrong in
        ["-c 0 192.0.2.1", "-c 1 no.such.name.invalid", "-i 0 192.0.2.1", "-Q 256 192.0.2.1", "", "-4 2001:db8::1"]
    {
        assert_eq!(code(wrong), Some(2), "{wrong}");
    }
}

#[test]
fn with_the_key_answers_count_and_without_it_there_are_none() {
    let (_segment, one, two) = pair();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(file("key"), "a shared secret").unwrap();
    std::fs::write(file("other"), "another").unwrap();
    let _reflector = reflector(&two.netns, &["--key-file", &file("key"), "--node", "node-b"]);
    let words = |key: &str| format!("--json -c 3 -i 0.01 -W 0.2 --key-file {} {}", file(key), two.ipv4());
    let good = client(&one.netns, &words("key"));
    let text = String::from_utf8(good.stdout).unwrap();
    assert!(text.contains("\"node\":\"node-b\""), "{text}");
    assert_eq!(counts(&summary(&text), ["sent", "received", "corrupted"]), [3, 3, 0]);
    let bad = client(&one.netns, &words("other"));
    assert_eq!(counts(&summary(std::str::from_utf8(&bad.stdout).unwrap()), ["sent", "received"]), [3, 0]);
    assert_eq!((good.status.code(), bad.status.code()), (Some(0), Some(1)));
}

#[test]
fn a_virtual_address_that_moves_is_told_with_both_nodes_and_the_gap() {
    let segment = Segment::new();
    let (one, two, three) = (segment.host("asks", 1), segment.host("former", 2), segment.host("next", 3));
    let _two = reflector(&two.netns, &["--node", "node-b"]);
    let _three = reflector(&three.netns, &["--node", "node-c"]);
    let hold = |host: &Host| {
        host.netns.ip("addr add 198.51.100.20/32 dev eth0");
        // The neighbour entry is what a gratuitous ARP would change.
        one.netns.ip(&format!(
            "neigh replace 198.51.100.20 lladdr {} dev eth0",
            crate::support::segment::mac_text(host.number)
        ));
    };
    hold(&two);
    let mut client = start(&one.netns, "--json -i 0.02 -W 0.2 198.51.100.20");
    client.wait_output(
        SOON,
        "\"type\":\"holder\",\"target\":\"198.51.100.20\",\"address\":\"198.51.100.20\",\"node\":\"node-b\"",
    );
    two.netns.ip("addr del 198.51.100.20/32 dev eth0");
    std::thread::sleep(Duration::from_millis(300));
    hold(&three);
    client.wait_output(SOON, "\"type\":\"holder_changed\"");
    client.signal(Signal::INT);
    client.wait(SOON);
    let text = client.output();
    let line = text.lines().find(|line| line.contains("holder_changed")).unwrap();
    let news: Value = serde_json::from_str(line).unwrap();
    assert_eq!((news["from"].as_str(), news["node"].as_str()), (Some("node-b"), Some("node-c")));
    let gap = news["gap_seconds"].as_f64().unwrap();
    assert!((0.3..2.0).contains(&gap), "{gap}");
    assert!(!text.contains("two_holders"), "{text}");
}

#[test]
fn a_name_that_gets_another_address_is_followed() {
    let segment = Segment::new();
    let (one, two, three) = (segment.host("asks", 1), segment.host("former", 2), segment.host("next", 3));
    let former = reflector(&two.netns, &["--node", "node-b"]);
    let _three = reflector(&three.netns, &["--node", "node-c"]);
    // `ip netns exec` puts the files of this folder in the place of those in /etc.
    let folder = std::path::Path::new("/etc/netns").join(one.netns.name());
    std::fs::create_dir_all(&folder).unwrap();
    let hosts = |host: &Host| std::fs::write(folder.join("hosts"), format!("{} mirror.test\n", host.ipv4())).unwrap();
    hosts(&two);
    std::fs::write(folder.join("nsswitch.conf"), "hosts: files\n").unwrap();
    let mut command = std::process::Command::new("ip");
    command.args([
        "netns",
        "exec",
        one.netns.name(),
        VIPKEEPER,
        "udp-ping",
        "client",
        "--json",
        "-i",
        "0.05",
        "-W",
        "0.2",
    ]);
    let mut client = Process::start(command.arg("mirror.test"));
    client.wait_output(SOON, "\"node\":\"node-b\"");
    hosts(&three);
    drop(former);
    client.wait_output(Duration::from_secs(20), "\"type\":\"moved\"");
    client.wait_output(SOON, "\"node\":\"node-c\"");
    client.signal(Signal::INT);
    assert_eq!(client.wait(SOON).code(), Some(0));
    let summary = summary(&client.output());
    assert_eq!(summary["address"], three.ipv4().to_string());
    std::fs::remove_dir_all(&folder).unwrap();
}
