//! `vipkeeper vip` as a user runs it, seen from the wire and from the kernel.

use std::net::IpAddr;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::capture::{Capture, Claim, Frame};
use crate::support::process::{Process, VIPKEEPER};
use crate::support::segment::{Host, INTERFACE, Segment};
use crate::support::{capture, wait_until};

const LIMIT: Duration = Duration::from_secs(10);
const V4: &str = "198.51.100.20";
const V6: &str = "2001:db8:1::20";

fn vip(host: &Host, words: &[&str]) -> Process {
    Process::start(host.netns.command(VIPKEEPER).args(["vip", "--interface", INTERFACE]).args(words))
}

fn is_request(frame: &Frame) -> bool {
    matches!(frame.claim(), Some(Claim::Arp { operation: 1, sender, target, .. }) if sender == target)
}

fn is_reply(frame: &Frame) -> bool {
    matches!(frame.claim(), Some(Claim::Arp { operation: 2, sender, target, .. }) if sender == target)
}

fn is_advertisement(frame: &Frame) -> bool {
    matches!(frame.claim(), Some(Claim::Advertisement { .. }))
}

/// When the kernel put an address on eth0, by the clock of captures: the command's addresses are watched by `ip monitor`.
struct Watch {
    monitor: Process,
}

impl Watch {
    fn start(host: &Host) -> Self {
        let monitor = Process::start(host.netns.command("ip").args(["-ts", "monitor", "address"]));
        // It prints nothing at its start: a change that it shows says that it listens.
        wait_until(LIMIT, "ip monitor to listen", || {
            host.netns.ip("addr add 192.0.2.99/32 dev lo");
            host.netns.ip("addr del 192.0.2.99/32 dev lo");
            monitor.output().contains("192.0.2.99")
        });
        Self { monitor }
    }

    /// The time of the line that says that `address` is there.
    fn appeared(&self, address: &str) -> Duration {
        self.monitor.wait_output(LIMIT, &format!("{address}/"));
        let output = self.monitor.output();
        let line = output.lines().find(|line| line.contains(&format!("{address}/")) && !line.contains("Deleted"));
        let stamp = line.unwrap().trim_start_matches('[').split(']').next().unwrap().to_owned();
        let date = jiff::civil::DateTime::strptime("%Y-%m-%dT%H:%M:%S%.f", &stamp).unwrap();
        let time = date.to_zoned(jiff::tz::TimeZone::system()).unwrap().timestamp();
        Duration::from_nanos(u64::try_from(time.as_nanosecond()).unwrap())
    }
}

#[test]
fn both_families_are_announced_at_once_each_three_seconds_and_never_after_release() {
    let segment = Segment::new();
    let (node, other) = (segment.host("node", 1), segment.host("other", 2));
    let capture = Capture::start(&other.netns, INTERFACE);
    let mut process = vip(&node, &[&format!("{V4}/32"), V6]);
    process.wait_output(LIMIT, &format!("{V6}/128 added to eth0, announced from 02:00:00:00:00:01"));
    process.wait_output(LIMIT, &format!("{V4}/32 added to eth0, announced from 02:00:00:00:00:01"));

    for (ip, forms) in [(V4, &[is_request as fn(&Frame) -> bool, is_reply][..]), (V6, &[is_advertisement])] {
        let address: IpAddr = ip.parse().unwrap();
        for form in forms {
            let first = capture.wait(LIMIT, ip, |frame| frame.speaks_as(address) && form(frame));
            assert_eq!(first.source(), node.mac());
            match first.claim().unwrap() {
                Claim::Arp { operation, sender_mac, target_mac, .. } => {
                    assert_eq!(first.destination(), [0xff; 6]);
                    assert_eq!(sender_mac, node.mac());
                    assert_eq!(target_mac, if operation == 1 { [0; 6] } else { node.mac() });
                }
                Claim::Advertisement { overrides, option, source, .. } => {
                    assert_eq!(first.destination(), [0x33, 0x33, 0, 0, 0, 1]);
                    assert_eq!((overrides, option, IpAddr::from(source)), (true, Some(node.mac()), address));
                }
                Claim::Solicitation { .. } => unreachable!("not one of the forms"),
            }
        }
    }

    // The last of the burst is 4 s after the first; then one each 3 s.
    let periodic = |ip: &str, form: fn(&Frame) -> bool| -> Vec<Duration> {
        let all: Vec<_> = capture.speaking_as(ip.parse().unwrap()).into_iter().filter(form).collect();
        all.iter().map(|frame| frame.at).skip(5).collect()
    };
    wait_until(Duration::from_secs(20), "three periodic announcements", || {
        periodic(V4, is_request).len() >= 4 && periodic(V6, is_advertisement).len() >= 4
    });
    for times in [periodic(V4, is_request), periodic(V4, is_reply), periodic(V6, is_advertisement)] {
        for pair in times.windows(2) {
            let period = pair[1].checked_sub(pair[0]).unwrap();
            assert!((2700..=3300).contains(&period.as_millis()), "a period of {period:?}: {times:?}");
        }
    }
    assert!(node.has_address(V4) && node.has_address(V6));

    process.signal(Signal::TERM);
    assert!(process.wait(LIMIT).success());
    let released = capture::now();
    assert!(!node.has_address(V4) && !node.has_address(V6));
    assert!(process.output().contains("198.51.100.20/32 removed from eth0"));
    std::thread::sleep(Duration::from_millis(3500));
    for ip in [V4, V6] {
        let late = capture.speaking_as(ip.parse().unwrap()).into_iter().find(|frame| frame.at > released);
        assert!(late.is_none(), "{late:?}");
    }
    assert_eq!(capture.dropped(), 0);
}

#[test]
fn the_first_announcement_follows_within_ten_milliseconds() {
    let segment = Segment::new();
    let (node, other) = (segment.host("node", 1), segment.host("other", 2));
    for ip in [V4, V6] {
        // Of five runs the middle one counts: other work on the machine can hold up any single one.
        let mut delays: Vec<Duration> = (0..5)
            .map(|_| {
                let watch = Watch::start(&node);
                let capture = Capture::start(&other.netns, INTERFACE);
                let mut process = vip(&node, &[ip]);
                let first = capture.wait(LIMIT, ip, |frame| frame.speaks_as(ip.parse().unwrap()));
                // `ip monitor` stamps what it prints, so it may be behind the wire.
                let delay = first.at.saturating_sub(watch.appeared(ip));
                process.signal(Signal::TERM);
                assert!(process.wait(LIMIT).success());
                delay
            })
            .collect();
        delays.sort_unstable();
        assert!(delays[2] <= Duration::from_millis(10), "{ip} was announced after {delays:?}");
    }
}

#[test]
fn each_signal_ends_it_and_takes_the_addresses_away_even_when_nothing_can_be_sent() {
    let segment = Segment::new();
    let node = segment.host("node", 1);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        node.netns.ip("link set eth0 down");
        let mut process = vip(&node, &[V4, "198.51.100.21/32", V6]);
        process.wait_output(LIMIT, "announcing failed, and is tried again: sent 0 of");
        process.wait_output(LIMIT, "2001:db8:1::20/128 added to eth0");
        assert!(node.has_address(V4) && node.has_address("198.51.100.21") && node.has_address(V6));
        node.netns.ip("link set eth0 up");
        process.wait_output(LIMIT, "announcing again");
        node.netns.ip("link set eth0 down");
        process.signal(signal);
        assert!(process.wait(LIMIT).success(), "{}", process.output());
        assert!(!node.has_address(V4) && !node.has_address("198.51.100.21") && !node.has_address(V6));
    }
}

#[test]
fn an_address_of_somebody_else_is_left_alone_and_nothing_is_held() {
    let segment = Segment::new();
    let node = segment.host("node", 1);
    node.netns.ip(&format!("addr add {V4}/32 dev {INTERFACE}"));
    let before = node.netns.ip("addr show dev eth0");
    let mut process = vip(&node, &["198.51.100.21", V4]);
    assert_eq!(process.wait(LIMIT).code(), Some(3));
    wait_until(LIMIT, "its message", || {
        process.output().contains("198.51.100.20/32 is on eth0 already and not ours (without a mark)")
    });
    assert_eq!(node.netns.ip("addr show dev eth0"), before);
}

#[test]
fn what_a_killed_run_left_is_taken_over_and_what_somebody_removes_comes_back() {
    let segment = Segment::new();
    let (node, other) = (segment.host("node", 1), segment.host("other", 2));
    let mut killed = vip(&node, &[V4, "--json"]);
    killed.wait_output(
        LIMIT,
        r#"{"event":"added","address":"198.51.100.20/32","interface":"eth0","mac":"02:00:00:00:00:01"}"#,
    );
    killed.signal(Signal::KILL);
    killed.wait(LIMIT);
    assert!(node.has_address(V4));
    let process = vip(&node, &[V4, "--json"]);
    process.wait_output(LIMIT, r#"{"event":"kept","address":"198.51.100.20/32""#);

    let capture = Capture::start(&other.netns, INTERFACE);
    node.netns.ip(&format!("addr del {V4}/32 dev {INTERFACE}"));
    process.wait_output(LIMIT, r#"{"event":"restored","address":"198.51.100.20/32","interface":"eth0"}"#);
    capture.wait(LIMIT, "it to be announced again", |frame| is_request(frame) && frame.speaks_as(V4.parse().unwrap()));
    assert!(node.has_address(V4));

    node.netns.ip("link del eth0");
    process.wait_output(LIMIT, r#"{"event":"link-gone","interface":"eth0"}"#);
    capture.clear();
    segment.plug(&node.netns, INTERFACE, "again", 7);
    let frame = capture.wait(LIMIT, "it to be announced from the new link", |frame| {
        is_request(frame) && frame.speaks_as(V4.parse().unwrap())
    });
    assert_eq!(frame.source(), [2, 0, 0, 0, 0, 7]);
}

#[test]
fn another_host_that_claims_the_address_is_told_of_and_answered_once() {
    let segment = Segment::new();
    let (node, other) = (segment.host("node", 1), segment.host("other", 9));
    let process = vip(&node, &[V4, "--interval", "1h"]);
    process.wait_output(LIMIT, "added to eth0");
    let capture = Capture::start(&node.netns, INTERFACE);
    // The burst is over after 4 s: what is said afterwards is the defence.
    wait_until(LIMIT, "the end of the burst", || {
        capture.speaking_as(V4.parse().unwrap()).iter().any(is_reply)
            && capture::now().saturating_sub(last(&capture)) > Duration::from_millis(2500)
    });
    capture.clear();
    let announcement = [
        &[0xff; 6][..],
        &other.mac(),
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &other.mac(),
        &[198, 51, 100, 20, 0, 0, 0, 0, 0, 0, 198, 51, 100, 20],
    ]
    .concat();
    for _ in 0..5 {
        capture::send_frame(&other.netns, INTERFACE, &announcement);
    }
    process.wait_output(LIMIT, "02:00:00:00:00:09 claims 198.51.100.20 too; defending it");
    capture.wait(LIMIT, "five claims", {
        let mut claims = 0;
        move |frame| {
            claims += u32::from(frame.source() == [2, 0, 0, 0, 0, 9] && is_request(frame));
            claims >= 5
        }
    });
    let ours =
        |capture: &Capture| capture.speaking_as(V4.parse().unwrap()).iter().filter(|frame| frame.outgoing).count();
    wait_until(LIMIT, "the defence", || ours(&capture) > 0);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(ours(&capture), 1, "one defence in ten seconds");
}

/// When the address was last spoken for.
fn last(capture: &Capture) -> Duration {
    capture.speaking_as(V4.parse().unwrap()).iter().map(|frame| frame.at).max().unwrap_or_default()
}

#[test]
fn wrong_use_is_said_with_the_value() {
    let segment = Segment::new();
    let node = segment.host("node", 1);
    for (words, code, message) in [
        (&["198.51.100.300"][..], 2, "198.51.100.300"),
        (&["224.0.0.1"], 2, "224.0.0.1: not an address of a host"),
        (&["198.51.100.0/24"], 2, "198.51.100.0/24: this is a whole network"),
        (&[V4, "198.51.100.20/32"], 2, "198.51.100.20 is given twice"),
        (&[V4, "--interval", "1ms"], 2, "--interval 1ms: at least 50ms"),
        (&[V4, "--interval", "3"], 2, "no duration"),
        (&[], 2, "required"),
    ] {
        let mut process = vip(&node, words);
        assert_eq!(process.wait(LIMIT).code(), Some(code), "{words:?}: {}", process.output());
        wait_until(LIMIT, message, || process.output().contains(message));
    }
    let mut process = Process::start(node.netns.command(VIPKEEPER).args(["vip", "--interface", "eth7", V4]));
    assert_eq!(process.wait(LIMIT).code(), Some(3));
    wait_until(LIMIT, "its message", || process.output().contains("no interface eth7; there are: lo, eth0"));
}
