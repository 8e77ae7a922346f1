//! What is no authentic, new heartbeat of the segment changes nothing and is counted.

use std::net::UdpSocket;

use serde_json::Value;

use crate::node::{Node, SOON};
use crate::support::capture::Capture;
use crate::support::process::{Process, VIPKEEPER};
use crate::support::{wait_for, wait_until};

const PORT: u16 = 9473;
/// Octets of a heartbeat packet, and where its UDP payload begins in a frame.
const LENGTH: usize = 112;
const PAYLOAD: usize = 14 + 20 + 8;

/// What others go by: who is a member with which right, and who has what.
fn standing(node: &Node) -> Value {
    let view = node.view();
    let members = view["members"].as_object().cloned().unwrap_or_default();
    let rights: Vec<Value> =
        members.values().map(|it| serde_json::json!([it["epoch"], it["state"], it["modeSeq"]])).collect();
    serde_json::json!([rights, view["assign"]])
}

#[test]
fn what_is_forged_replayed_or_cut_changes_nothing_and_is_counted() {
    let node = Node::new();
    let second = node.segment.host("second", 3);
    node.apply("web", "198.51.100.20", "");
    let first = node.start(&["--gate", "nft"]);
    node.wait_address("198.51.100.20", true);
    let mut command = second.netns.command(VIPKEEPER);
    let _second = Process::start(command.args(["run", "--gate", "nft", "--node", "node-b", "--store", &node.store()]));
    wait_until(SOON, "both nodes to watch each other", || {
        let members = node.view()["members"].as_object().cloned().unwrap_or_default();
        members.len() == 2
            && members
                .values()
                .all(|it| it["mode"] == "peers" && it["watchers"].as_object().is_some_and(|all| all.len() == 1))
    });
    let capture = Capture::start(node.segment.bridge(), node.host.port());
    let heartbeat = wait_for(SOON, "a heartbeat to the first node", || {
        let port = PORT.to_be_bytes();
        let to_it = |bytes: &[u8]| {
            bytes.len() == PAYLOAD + LENGTH && bytes[30..34] == node.host.ipv4().octets() && bytes[36..38] == port
        };
        // As an attacker sees it who can only listen: 1 is a heartbeat.
        capture.frames().into_iter().find(|frame| to_it(&frame.bytes) && frame.bytes[PAYLOAD + 1] == 1)
    });
    let heartbeat = heartbeat.bytes[PAYLOAD..].to_vec();
    let before = standing(&node);
    let changed = |at: usize, value: u8| {
        let mut bytes = heartbeat.clone();
        bytes[at] ^= value;
        bytes
    };
    let forgeries = [
        ("replayed", heartbeat.clone()),
        ("length", heartbeat[..LENGTH - 1].to_vec()),
        ("length", [&heartbeat[..], &[0]].concat()),
        ("length", Vec::new()),
        ("version", changed(0, 2)),
        ("key", changed(2, 0x80)),
        // Another epoch, another sequence number, another word, another tag.
        ("forged", changed(31, 1)),
        ("forged", changed(32, 1)),
        ("forged", changed(1, 4)),
        ("forged", changed(LENGTH - 1, 1)),
    ];
    let attacker = node.client.netns.run(|| UdpSocket::bind("198.51.100.2:0").unwrap());
    for (_, bytes) in &forgeries {
        attacker.send_to(bytes, (node.host.ipv4(), PORT)).unwrap();
    }
    for reason in ["replayed", "length", "version", "key", "forged"] {
        let sent = forgeries.iter().filter(|(why, _)| *why == reason).count();
        let series = format!("vipkeeper_heartbeats_rejected_total{{reason=\"{reason}\"}}");
        wait_until(SOON, &series, || {
            node.metric(&series).is_some_and(|count| count >= f64::from(u8::try_from(sent).unwrap()))
        });
        assert_eq!(node.metric(&series), Some(f64::from(u8::try_from(sent).unwrap())), "{reason}");
    }
    assert_eq!(standing(&node), before);
    assert!(node.host.has_address("198.51.100.20"));
    assert!(
        !first.output().contains("suspected") && !first.output().contains("right to hold is lost"),
        "{}",
        first.output()
    );
}
