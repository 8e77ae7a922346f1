use std::time::Duration;

use crate::node::{Node, SOON};
use crate::support::capture::{Capture, send_frame};
use crate::support::segment::INTERFACE;
use crate::support::wait_until;

/// An ARP announcement of 198.51.100.20 by a host with this Ethernet address (RFC 5227 section 2.3).
fn announcement(mac: [u8; 6]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend([198, 51, 100, 20]);
    frame.extend([0; 6]);
    frame.extend([198, 51, 100, 20]);
    frame.resize(60, 0);
    frame
}

#[test]
fn a_foreign_claim_is_reported_and_answered_once() {
    let node = Node::new();
    let agent = node.start(&[]);
    node.apply("web", "198.51.100.20", "  announce: {interval: 1h, burst: 1}\n");
    node.wait_address("198.51.100.20", true);
    wait_until(SOON, "the status", || node.condition("web", "Conflict") == "False");
    let capture = Capture::start(&node.client.netns, INTERFACE);
    for _ in 0..5 {
        send_frame(&node.client.netns, INTERFACE, &announcement([2, 0, 0, 0, 0, 2]));
    }
    wait_until(SOON, "the condition", || node.condition("web", "Conflict") == "True");
    wait_until(SOON, "the count", || node.metric("vipkeeper_address_conflicts_total") == Some(1.0));
    assert!(node.describe("web").contains("02:00:00:00:00:02 claims 198.51.100.20"));
    let own = node.host.mac();
    let ip = "198.51.100.20".parse().unwrap();
    capture.wait(SOON, "the defence", |frame| frame.source() == own && frame.speaks_as(ip));
    assert_eq!(node.metric("vipkeeper_address_defences_total"), Some(1.0), "once in ten seconds (RFC 5227)");
    assert_eq!(agent.output().matches("another host claims the address").count(), 1, "one line a transition");
    assert!(node.host.has_address("198.51.100.20"));
}

#[test]
fn an_address_in_use_is_not_installed_while_its_owner_answers_and_not_refused_for_ever() {
    let node = Node::new();
    node.client.netns.ip("addr add 198.51.100.20/32 dev eth0");
    let _agent = node.start(&[]);
    node.apply("web", "198.51.100.20", "");
    wait_until(SOON, "the reason", || node.describe("web").contains("02:00:00:00:00:02 answers for the address"));
    assert!(!node.host.has_address("198.51.100.20"));
    node.client.netns.ip("addr del 198.51.100.20/32 dev eth0");
    wait_until(Duration::from_secs(20), "the address", || node.host.has_address("198.51.100.20"));
}
