use std::process::Command;

use crate::node::{Node, SOON};
use crate::support::netns::run;
use crate::support::segment::INTERFACE;
use crate::support::wait_until;

#[test]
fn what_an_agent_asks_says_and_fails_to_say_is_counted() {
    let node = Node::new();
    let _agent = node.start(&[]);
    let value = |series: &str| node.metric(series).unwrap_or_default();
    let patches = "vipkeeper_store_requests_total{result=\"ok\",verb=\"patch\"}";
    let looks = "vipkeeper_controller_look_duration_seconds_count";
    let sent = |family: &str| value(&format!("vipkeeper_announcements_sent_total{{family=\"{family}\"}}"));
    let failed = |family: &str| value(&format!("vipkeeper_announcements_failed_total{{family=\"{family}\"}}"));
    let before = (value(patches), value(looks), sent("ipv4"), sent("ipv6"));
    node.apply("web", "198.51.100.20", "  announce: {interval: 100ms}\n");
    node.apply("six", "2001:db8:1::20", "  announce: {interval: 100ms}\n");
    node.wait_address("198.51.100.20", true);
    node.wait_address("2001:db8:1::20", true);
    wait_until(SOON, "announcements of both families", || sent("ipv4") > before.2 && sent("ipv6") > before.3);
    assert!(value(patches) > before.0 && value(looks) > before.1);
    assert_eq!((failed("ipv4"), failed("ipv6")), (0.0, 0.0));
    // A queue that takes nothing: the kernel says ENOBUFS (packet(7)).
    let mut tc: Command = node.host.netns.command("tc");
    run(tc.args(["qdisc", "add", "dev", INTERFACE, "root", "pfifo", "limit", "0"]));
    wait_until(SOON, "announcements that fail", || failed("ipv4") > 0.0 && failed("ipv6") > 0.0);
    let mut tc: Command = node.host.netns.command("tc");
    run(tc.args(["qdisc", "del", "dev", INTERFACE, "root"]));
    let after = (sent("ipv4"), sent("ipv6"));
    wait_until(SOON, "announcements that go out again", || sent("ipv4") > after.0 && sent("ipv6") > after.1);
}
