use std::net::IpAddr;
use std::time::Duration;

use futures::StreamExt;
use vipkeeper::netlink::{Event, Netlink};

use crate::node::{Node, SOON};
use crate::support::capture::{Capture, Claim, Frame, now};
use crate::support::segment::INTERFACE;
use crate::support::{wait_for, wait_until};

/// Reads the kernel's word on when addresses appear in the node's namespace, on a thread of its own.
fn appearances(node: &Node) -> std::sync::mpsc::Receiver<(IpAddr, Duration)> {
    let (found, list) = std::sync::mpsc::channel();
    let (ready, started) = std::sync::mpsc::channel();
    let path = node.host.netns.path();
    std::thread::spawn(move || {
        let file = std::fs::File::open(path).unwrap();
        rustix::thread::move_into_link_name_space(
            std::os::fd::AsFd::as_fd(&file),
            Some(rustix::thread::LinkNameSpaceType::Network),
        )
        .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut monitor = Netlink::new().unwrap().monitor().unwrap();
            ready.send(()).unwrap();
            while let Some(event) = monitor.next().await {
                if let Event::Address(address) = event
                    && found.send((address.ip, now())).is_err()
                {
                    return;
                }
            }
        });
    });
    started.recv().unwrap();
    list
}

/// The median time from an address's appearance to its first announcement, over a few addresses.
fn median_delay(node: &Node, capture: &Capture, addresses: &[&str]) -> Duration {
    let appeared = appearances(node);
    let mut delays: Vec<Duration> = addresses
        .iter()
        .enumerate()
        .map(|(at, address)| {
            let ip: IpAddr = address.parse().unwrap();
            node.apply(&format!("{}{at}", if ip.is_ipv4() { "four" } else { "six" }), address, "");
            let first = capture.wait(SOON, "an announcement", |frame| frame.speaks_as(ip)).at;
            let stood = wait_for(SOON, "the address", || appeared.try_iter().find(|(seen, _)| *seen == ip)).1;
            first.saturating_sub(stood)
        })
        .collect();
    delays.sort();
    delays[delays.len() / 2]
}

#[test]
fn the_first_announcement_comes_within_10_ms_of_the_address() {
    let node = Node::new();
    let _agent = node.start(&[]);
    let capture = Capture::start(&node.client.netns, INTERFACE);
    let delay = median_delay(
        &node,
        &capture,
        &["198.51.100.20", "198.51.100.21", "198.51.100.22", "198.51.100.23", "198.51.100.24"],
    );
    assert!(delay <= Duration::from_millis(10), "{delay:?}");
    let delay = median_delay(&node, &capture, &["2001:db8:1::20", "2001:db8:1::21", "2001:db8:1::22"]);
    assert!(delay <= Duration::from_millis(10), "IPv6: {delay:?}");
}

fn broadcasts(capture: &Capture, ip: IpAddr) -> Vec<Frame> {
    let all = capture.speaking_as(ip);
    all.into_iter().filter(|frame| frame.destination()[0] & 1 == 1).collect()
}

#[test]
fn both_forms_are_sent_from_the_right_address_and_then_each_three_seconds() {
    let node = Node::new();
    let _agent = node.start(&[]);
    let capture = Capture::start(&node.client.netns, INTERFACE);
    let ip: IpAddr = "198.51.100.20".parse().unwrap();
    node.apply("web", "198.51.100.20", "");
    // The burst ends 4 s after the first; two periods follow.
    let operation = |frame: &Frame| match frame.claim() {
        Some(Claim::Arp { operation, .. }) => operation,
        _ => 0,
    };
    let requests =
        || -> Vec<Frame> { broadcasts(&capture, ip).into_iter().filter(|frame| operation(frame) == 1).collect() };
    wait_until(SOON, "two periods after the burst", || requests().len() >= 8);
    let all = broadcasts(&capture, ip);
    assert!(all.iter().all(|frame| frame.source() == node.host.mac()), "the link's own Ethernet address");
    assert_eq!(operation(&all[0]), 1, "the request form first (RFC 5227)");
    assert_eq!(operation(&all[1]), 2, "then the reply form");
    let times: Vec<f64> = requests().iter().map(|frame| (frame.at - all[0].at).as_secs_f64()).collect();
    let expected = [0.0, 0.05, 0.2, 1.0, 2.0, 4.0, 7.0, 10.0];
    for (time, expected) in times.iter().zip(expected) {
        assert!((time - expected).abs() < 0.3, "{times:?}");
    }
    assert!(capture.dropped() == 0);
}

#[test]
fn ipv6_is_advertised_to_all_nodes() {
    let node = Node::new();
    let _agent = node.start(&[]);
    let capture = Capture::start(&node.client.netns, INTERFACE);
    let ip: IpAddr = "2001:db8:1::20".parse().unwrap();
    node.apply("web", "2001:db8:1::20", "  announce: {interval: 300ms, burst: 1}\n");
    wait_until(SOON, "five advertisements", || broadcasts(&capture, ip).len() >= 5);
    let all = broadcasts(&capture, ip);
    let Some(Claim::Advertisement { .. }) = all[0].claim() else { panic!("{:?}", all[0].claim()) };
    assert_eq!(all[0].destination(), [0x33, 0x33, 0, 0, 0, 1]);
    assert_eq!(all[0].source(), node.host.mac());
}

#[test]
fn nothing_is_announced_any_more_once_it_is_released() {
    let node = Node::new();
    let _agent = node.start(&[]);
    let capture = Capture::start(&node.client.netns, INTERFACE);
    let ip: IpAddr = "198.51.100.20".parse().unwrap();
    let period = Duration::from_millis(200);
    node.apply("web", "198.51.100.20", "  announce: {interval: 200ms, burst: 1}\n");
    wait_until(SOON, "a few announcements", || broadcasts(&capture, ip).len() >= 6);
    node.delete("web");
    node.wait_address("198.51.100.20", false);
    let gone = now();
    // Another address is announced meanwhile: the wire and the capture are alive.
    let other: IpAddr = "198.51.100.21".parse().unwrap();
    node.apply("other", "198.51.100.21", "  announce: {interval: 200ms, burst: 1}\n");
    wait_until(SOON, "the other address", || {
        broadcasts(&capture, other).iter().filter(|frame| frame.at > gone + period).count() >= 10
    });
    let late = capture.speaking_as(ip).into_iter().filter(|frame| frame.at > gone + Duration::from_millis(20)).count();
    assert_eq!((late, capture.dropped()), (0, 0));
}

#[test]
fn an_edit_of_the_interval_takes_effect_without_a_gap() {
    let node = Node::new();
    let _agent = node.start(&[]);
    let capture = Capture::start(&node.client.netns, INTERFACE);
    let ip: IpAddr = "198.51.100.20".parse().unwrap();
    node.apply("web", "198.51.100.20", "  announce: {interval: 1h, burst: 1}\n");
    node.wait_address("198.51.100.20", true);
    wait_until(SOON, "the first announcement", || !broadcasts(&capture, ip).is_empty());
    capture.clear();
    node.apply("web", "198.51.100.20", "  announce: {interval: 200ms, burst: 1}\n");
    wait_until(SOON, "announcements at the new pace", || broadcasts(&capture, ip).len() >= 6);
    assert!(node.host.has_address("198.51.100.20"));
}

/// Neighbours that take no gratuitous announcement take a question: the gateway is asked at once, by unicast.
#[test]
fn the_gateway_is_asked_in_the_name_of_a_new_address() {
    let node = Node::new();
    for (command, address) in [("route", "198.51.100.2"), ("-6 route", "2001:db8:1::2")] {
        node.host.netns.ip(&format!("{command} add default via {address}"));
        let asked = node.host.netns.command("ping").args(["-c", "1", "-W", "5", address]).output().unwrap();
        assert!(asked.status.success());
    }
    let _agent = node.start(&[]);
    for (name, address, gateway) in
        [("four", "198.51.100.20", "198.51.100.2"), ("six", "2001:db8:1::20", "2001:db8:1::2")]
    {
        let capture = Capture::start(&node.client.netns, INTERFACE);
        let (ip, gateway): (IpAddr, IpAddr) = (address.parse().unwrap(), gateway.parse().unwrap());
        node.apply(name, address, "");
        let is_question = |frame: &Frame| {
            frame.destination() == node.client.mac()
                && match frame.claim() {
                    Some(Claim::Arp { operation: 1, sender, target, .. }) => {
                        (IpAddr::from(sender), IpAddr::from(target)) == (ip, gateway)
                    }
                    Some(Claim::Solicitation { source, target, option: Some(_) }) => {
                        (IpAddr::from(source), IpAddr::from(target)) == (ip, gateway)
                    }
                    _ => false,
                }
        };
        let question = capture.wait(SOON, "a question to the gateway", is_question);
        let first = broadcasts(&capture, ip).into_iter().next().unwrap();
        let delay = question.at.saturating_sub(first.at);
        assert!(delay < Duration::from_millis(300), "{address}: {delay:?} after the first word");
    }
}
