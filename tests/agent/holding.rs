use std::time::{Duration, Instant};

use crate::node::{Node, SOON};
use crate::support::netns::run;
use crate::support::{wait_for, wait_until};

#[test]
fn an_address_from_yaml_is_reachable_and_its_status_says_who_holds_it() {
    let node = Node::new();
    let _agent = node.start(&[]);
    node.apply("web", "198.51.100.20", "");
    node.apply("web6", "2001:db8:1::20", "");
    for address in ["198.51.100.20", "2001:db8:1::20"] {
        node.wait_address(address, true);
        run(node.client.netns.command("ping").args(["-c", "3", "-i", "0.05", "-W", "2", address]));
    }
    let listed = node.host.netns.ip("-d addr show dev eth0");
    let line = listed.lines().find(|line| line.contains("198.51.100.20/32")).unwrap();
    assert!(line.contains("noprefixroute"), "{line}");
    wait_until(SOON, "the holder in the status", || node.vip("web")["status"]["holder"]["node"] == "node-a");
    wait_until(SOON, "Ready", || node.condition("web", "Ready") == "True");
    let status = node.vip("web")["status"].clone();
    assert_eq!(status["holder"]["interface"], "eth0");
    assert_eq!(status["holder"]["mac"], "02:00:00:00:00:01");
    assert_eq!(status["address"], "198.51.100.20");
    assert_eq!(node.metric("vipkeeper_vip_held{name=\"web\",namespace=\"shop\"}"), Some(1.0));
    let described = wait_for(SOON, "the event", || Some(node.describe("web")).filter(|text| text.contains("Holding")));
    assert!(described.contains("node-a answers for 198.51.100.20 on eth0"), "{described}");
}

#[test]
fn an_edit_and_a_delete_take_effect() {
    let node = Node::new();
    let _agent = node.start(&[]);
    node.apply("web", "198.51.100.20", "");
    node.apply("api", "198.51.100.21", "");
    node.wait_address("198.51.100.20", true);
    node.wait_address("198.51.100.21", true);
    node.delete("web");
    node.wait_address("198.51.100.20", false);
    assert!(node.host.has_address("198.51.100.21"), "nobody asked for that");
    node.apply("web", "198.51.100.22", "");
    node.wait_address("198.51.100.22", true);
}

#[test]
fn what_somebody_removes_is_put_back_within_50_ms() {
    let node = Node::new();
    let _agent = node.start(&[]);
    node.apply("web", "198.51.100.20", "");
    node.wait_address("198.51.100.20", true);
    let mut times: Vec<Duration> = (0..7)
        .map(|_| {
            node.host.netns.ip("addr del 198.51.100.20/32 dev eth0");
            let start = Instant::now();
            wait_for(SOON, "the address", || node.host.has_address("198.51.100.20").then(|| start.elapsed()))
        })
        .collect();
    times.sort();
    assert!(times[3] <= Duration::from_millis(50), "{times:?}");
    wait_until(SOON, "the count", || node.metric("vipkeeper_addresses_repaired_total") == Some(7.0));
}

#[test]
fn what_is_not_ours_is_never_touched() {
    let node = Node::new();
    for foreign in ["198.51.100.30/32", "198.51.100.31/24", "203.0.113.5/24"] {
        node.host.netns.ip(&format!("addr add {foreign} dev eth0"));
    }
    let before = node.host.netns.ip("-o addr show dev eth0");
    let agent = node.start(&["--release-on-exit"]);
    node.apply("taken", "198.51.100.31", "");
    node.apply("web", "198.51.100.20", "");
    node.wait_address("198.51.100.20", true);
    wait_until(SOON, "the reason", || node.describe("taken").contains("put there by something else"));
    node.delete("taken");
    node.delete("web");
    node.wait_address("198.51.100.20", false);
    drop(agent);
    assert_eq!(node.host.netns.ip("-o addr show dev eth0"), before);
}

#[test]
fn a_bad_manifest_stops_nothing_else() {
    let node = Node::new();
    let agent = node.start(&[]);
    node.apply("bad", "198.51.100.300", "");
    node.apply("web", "198.51.100.20", "");
    node.wait_address("198.51.100.20", true);
    wait_until(SOON, "the complaint", || agent.output().contains("198.51.100.300"));
    node.apply("web", "198.51.100.20", "  anounce: {}\n");
    wait_until(SOON, "the second complaint", || agent.output().contains("anounce"));
    assert!(node.host.has_address("198.51.100.20"), "what was accepted stays");
}
