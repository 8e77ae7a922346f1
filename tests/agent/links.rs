use crate::node::{Node, SOON};
use crate::support::capture::Capture;
use crate::support::netns::run;
use crate::support::segment::INTERFACE;
use crate::support::wait_until;

fn reachable(node: &Node) {
    wait_until(SOON, "an answer from the VIP", || {
        node.client
            .netns
            .command("ping")
            .args(["-c", "1", "-W", "1", "198.51.100.20"])
            .output()
            .unwrap()
            .status
            .success()
    });
}

#[test]
fn a_link_that_loses_its_carrier_is_announced_again_when_it_has_it_back() {
    let node = Node::new();
    let _agent = node.start(&[]);
    node.apply("web", "198.51.100.20", "  announce: {interval: 1h, burst: 1}\n");
    node.wait_address("198.51.100.20", true);
    reachable(&node);
    node.segment.cut(&node.host);
    wait_until(SOON, "the reason", || node.describe("web").contains("has no carrier"));
    let capture = Capture::start(&node.client.netns, INTERFACE);
    node.segment.restore(&node.host);
    capture.wait(SOON, "an announcement", |frame| frame.speaks_as("198.51.100.20".parse().unwrap()));
    reachable(&node);
}

#[test]
fn a_link_that_goes_and_comes_back_gets_its_address_again() {
    let node = Node::new();
    let _agent = node.start(&[]);
    node.apply("web", "198.51.100.20", "");
    node.wait_address("198.51.100.20", true);
    node.host.netns.ip("link del eth0");
    node.segment.plug(&node.host.netns, INTERFACE, "again", 1);
    node.host.netns.ip("addr add 198.51.100.1/24 dev eth0");
    node.wait_address("198.51.100.20", true);
    reachable(&node);
}

#[test]
fn a_link_that_is_renamed_keeps_its_address() {
    let node = Node::new();
    let _agent = node.start(&[]);
    node.apply("web", "198.51.100.20", "");
    node.wait_address("198.51.100.20", true);
    run(node.host.netns.command("ip").args(["link", "set", "eth0", "down"]));
    run(node.host.netns.command("ip").args(["link", "set", "eth0", "name", "lan0"]));
    run(node.host.netns.command("ip").args(["link", "set", "lan0", "up"]));
    wait_until(SOON, "the new name in the status", || node.vip("web")["status"]["holder"]["interface"] == "lan0");
    reachable(&node);
}

#[test]
fn the_interface_is_chosen_by_name_by_glob_or_by_the_subnet() {
    let node = Node::new();
    node.segment.plug(&node.host.netns, "lan1", "second", 9);
    node.host.netns.ip("addr add 203.0.113.1/24 dev lan1");
    let _agent = node.start(&[]);
    node.apply("subnet", "203.0.113.20", "");
    node.apply("name", "198.51.100.20", "  interface: eth0\n");
    node.apply("glob", "203.0.113.21", "  interface: la*\n");
    let on = |link: &str, address: &str| {
        wait_until(SOON, &format!("{address} on {link}"), || {
            node.host.netns.ip(&format!("-o addr show dev {link}")).contains(&format!(" {address}/"))
        });
    };
    on("lan1", "203.0.113.20");
    on("eth0", "198.51.100.20");
    on("lan1", "203.0.113.21");
}
